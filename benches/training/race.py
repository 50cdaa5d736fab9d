"""Times a training step of albert-model next to PyTorch's: same shapes, one machine, in turn.

    cargo build --release --workspace --bin training
    python benches/training/race.py [--seconds 420] [--shapes small,base] [--kinds transformers,masked,compiled] [--threads 2]

It takes about `--seconds` in all. Every engine lives in a process of its own and waits while another one works; rounds go
through the engines in turn, so that a slow moment of the machine falls on all of them. A line is printed for every sample,
and for every shape a table of medians: wall time, processor time (which others on the machine hardly change), their ratios to
albert-model's, and peak memory. A step is forward, backward and AdamW of masked language modeling and sentence order in f32,
without dropout. The share of the peak is that of fused multiply-adds in registers, measured before each sample on as many
threads: operations of the step, unread rows not counted, over processor time. An engine that does not start in
`--start-seconds` is left out; `torch.compile` is the one that may.
"""

import argparse
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
OURS = HERE.parent.parent / "target/release/training"
TOKENS = {"small": 32 * 64, "base": 8 * 128}


class Engine:
    def __init__(self, name: str, command: list, threads: int):
        environment = {**os.environ, "THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self.name, self.samples = name, []
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def answer(self, seconds: float) -> dict | None:
        """Waits for a line; `None` if there is none in time."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended before it answered")
        return json.loads(line)

    def step(self, seconds: float) -> dict | None:
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        sample = self.answer(seconds)
        if sample is not None:
            self.samples.append(sample)
        return sample

    def median(self, key: str) -> float:
        return statistics.median(sample[key] for sample in self.samples)

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


def race(shape: str, kinds: list[str], seconds: float, start_seconds: float, threads: int):
    end = time.monotonic() + seconds
    commands = {"albert-model": [OURS, shape]}
    commands |= {f"PyTorch {kind}": [sys.executable, HERE / "torch_step.py", shape, kind] for kind in kinds}
    engines = []
    # One after another: while one starts, nothing else competes with it.
    for name, command in commands.items():
        start, engine = time.monotonic(), Engine(name, command, threads)
        if engine.answer(start_seconds) is None:
            print(f"{shape} {name:24} not ready after {time.monotonic() - start:.0f} s, left out", flush=True)
            engine.close()
        else:
            engines.append(engine)
    is_over = False
    while not is_over:
        # A round that has begun is finished, so that medians are over the same moments.
        for engine in engines:
            sample = engine.step(60)
            if sample is None:
                raise SystemExit(f"{engine.name}: no step in 60 s")
            print(f"{shape} {engine.name:24}{sample['seconds']:8.3f} s{sample['processor_seconds']:8.3f} CPU-s", flush=True)
        is_over = time.monotonic() >= end
    table(shape, engines, threads)
    for engine in engines:
        engine.close()


def table(shape: str, engines: list[Engine], threads: int):
    ours = engines[0]
    print(f"\n{shape}, {threads} threads, medians of {len(ours.samples)} rounds")
    print(f"{'':24}{'s':>8}{'tok/s':>8}{'CPU s':>8}{'x ours':>8}{'x ours CPU':>12}{'RSS MB':>8}{'RSS':>7}{'loss':>9}")
    for engine in engines:
        seconds, processor = engine.median("seconds"), engine.median("processor_seconds")
        memory = engine.median("peak_mb")
        print(f"{engine.name:24}{seconds:8.3f}{TOKENS[shape] / seconds:8.0f}{processor:8.3f}"
              f"{seconds / ours.median('seconds'):8.2f}{processor / ours.median('processor_seconds'):12.2f}"
              f"{memory:8.0f}{memory / ours.median('peak_mb'):7.1f}{engine.samples[-1]['loss']:9.3f}")
    operations, peak = ours.samples[0]["operations"], max(sample["thread_peak"] for sample in ours.samples)
    share = operations / ours.median("processor_seconds") / peak
    print(f"albert-model: {operations / 1e9:.1f} GFLOP a step, {peak / 1e9:.1f} GFLOP/s of a thread at most, "
          f"{100 * share:.0f} % of it by processor time\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="small,base")
    parser.add_argument("--kinds", default="transformers,masked,compiled")
    parser.add_argument("--seconds", type=float, default=420, help="for all shapes together")
    parser.add_argument("--start-seconds", type=float, default=90, help="for an engine to be ready")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{processor()}, Python {platform.python_version()}, torch {version('torch')}, transformers {version('transformers')}")
    shapes = arguments.shapes.split(",")
    for shape in shapes:
        race(shape, arguments.kinds.split(","), arguments.seconds / len(shapes), arguments.start_seconds, arguments.threads)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


main()
