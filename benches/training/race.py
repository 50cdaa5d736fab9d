"""Times a training step of albert-model next to PyTorch's: same shapes, one machine, in turn.

    cargo build --release --workspace --bin training
    python benches/training/race.py [--shapes small,base] [--kinds transformers,masked] [--rounds 7] [--threads 2]

Every engine lives in a process of its own and waits while another one works; the rounds go through the engines in
turn, so that a slow moment of the machine falls on all of them. Printed are medians of wall time and of processor time,
which others on the machine hardly change, ratios of the medians, and peak memory. A step is forward, backward and AdamW
of masked language modeling and sentence order in f32, without dropout.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
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
        self.answer()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended before it answered")
        return json.loads(line)

    def step(self, steps: int):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.samples.append(self.answer())

    def median(self, key: str) -> float:
        return statistics.median(sample[key] for sample in self.samples)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def race(shape: str, kinds: list[str], rounds: int, threads: int):
    engines = [Engine("albert-model", [OURS, shape], threads)]
    engines += [Engine(f"PyTorch {kind}", [sys.executable, HERE / "torch_step.py", shape, kind], threads) for kind in kinds]
    for _ in range(rounds):
        for engine in engines:
            engine.step(1)
    ours = engines[0]
    print(f"\n{shape}, {threads} threads, medians of {rounds} rounds")
    print(f"{'':24}{'s':>8}{'tok/s':>8}{'CPU s':>8}{'x ours':>8}{'x ours CPU':>12}{'RSS MB':>8}{'RSS':>7}{'loss':>9}")
    for engine in engines:
        seconds, processor = engine.median("seconds"), engine.median("processor_seconds")
        memory = engine.median("peak_mb")
        print(f"{engine.name:24}{seconds:8.3f}{TOKENS[shape] / seconds:8.0f}{processor:8.3f}"
              f"{seconds / ours.median('seconds'):8.2f}{processor / ours.median('processor_seconds'):12.2f}"
              f"{memory:8.0f}{memory / ours.median('peak_mb'):7.1f}{engine.samples[-1]['loss']:9.3f}", flush=True)
        engine.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="small,base")
    parser.add_argument("--kinds", default="transformers,masked")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
          f"torch {version('torch')}, transformers {version('transformers')}")
    for shape in arguments.shapes.split(","):
        race(shape, arguments.kinds.split(","), arguments.rounds, arguments.threads)


main()
