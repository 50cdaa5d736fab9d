"""Times albert-model beside PyTorch, ONNX Runtime and OpenVINO: same weights, same tokens, one run.

    cargo build --release --workspace --bin engine
    python benches/peers/prepare.py --out FOLDER
    python benches/peers/peers.py FOLDER [--rounds 7] [--threads 2] [--engines NAME,…] [--cases NAME,…]

Every engine lives in a process of its own and waits while another works; the rounds go through the
engines in turn, so that a slow moment of the machine falls on all of them. Printed are medians, and
ratios of medians. Then, each in fresh processes: peak memory of a run of 32×128, and the time from
start to the first answer of 1×16. The machine should do nothing else.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OURS = {"albert-model f32": "f32", "albert-model int8": "int8"}
OUR_ENGINE = ROOT / "target/release/engine"
PEERS = ["PyTorch", "ONNX Runtime", "OpenVINO"]
DTYPES = ["f32", "int8"]
COLD_STARTS = 5
# Both sum 768 or 3072 terms in f32, 12 layers deep, in orders of their own.
LARGEST_DIFFERENCE = 1e-4


class Engine:
    """A process that answers with the seconds a case took."""

    def __init__(self, name: str, folder: Path, threads: int):
        if name in OURS:
            command = [OUR_ENGINE, folder, OURS[name]]
        else:
            command = [sys.executable, HERE / "engine.py", name, folder, str(threads)]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self.name = name
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment,
        )

    def run(self, case: str, output: str | None = None) -> dict:
        self.process.stdin.write(json.dumps({"case": case, "output": output}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended before it answered {case}")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def gflop(batches: list[list[list[int]]]) -> float:
    """Multiply-adds, times two, of the tokens themselves: padding does not count as work."""
    hidden, intermediate, layers, embedding = 768, 3072, 12, 128
    linear = 2 * (layers * (4 * hidden * hidden + 2 * hidden * intermediate) + embedding * hidden)
    attention = 4 * layers * hidden
    return sum(len(row) * linear + len(row) ** 2 * attention for rows in batches for row in rows) / 1e9


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def agreement(engines: list[Engine], reference: Engine, case: str) -> None:
    """Every f32 engine computes the same; of int8 the cosine to it is told."""
    print(f"\nagreement with {reference.name} on {case}")
    with tempfile.TemporaryDirectory() as folder:
        outputs = {}
        for engine in engines:
            path = os.path.join(folder, "output.npy")
            engine.run(case, path)
            outputs[engine.name] = np.load(path).astype(np.float64)
    expected = outputs[reference.name]
    for name, found in outputs.items():
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
        cosine = ((found * expected).sum(-1) / norms).min()
        print(f"  {name:20} largest difference {difference:.1e} of the scale, lowest cosine {cosine:.6f}")
        if name.endswith("f32") and difference > LARGEST_DIFFERENCE:
            raise SystemExit(f"{name} computes something else than {reference.name}")


def best_peer(medians: dict[str, float], dtype: str) -> float | None:
    peers = (seconds for name, seconds in medians.items() if name not in OURS and name.endswith(dtype))
    return min(peers, default=None)


def table(title: str, rows: list[list[str]]) -> None:
    print(f"\n{title}\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|---|" + "--:|" * (len(rows[0]) - 1))
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    all_engines = [*OURS, *(f"{peer} {dtype}" for dtype in DTYPES for peer in PEERS)]
    parser.add_argument("--engines", default=",".join(all_engines))
    parser.add_argument("--cases")
    parser.add_argument("--skip-processes", action="store_true", help="no memory and no cold starts")
    args = parser.parse_args()
    cases = json.loads((args.folder / "cases.json").read_text())
    chosen = args.cases.split(",") if args.cases else list(cases)
    names = args.engines.split(",")

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    print(f"{cpu_name()}, {args.threads} threads, {args.rounds} rounds, commit {commit.stdout.strip()}")
    packages = ["torch", "transformers", "onnxruntime", "openvino"]
    print(", ".join(f"{package} {version(package)}" for package in packages))

    shutil.rmtree(args.folder / "model-int8", ignore_errors=True)
    subprocess.run([OUR_ENGINE, args.folder, "convert"], check=True)
    engines = [Engine(name, args.folder, args.threads) for name in names]
    reference = next((engine for engine in engines if engine.name == "PyTorch f32"), engines[0])
    agreement(engines, reference, chosen[0])

    samples = {case: {name: [] for name in names} for case in chosen}
    for case in chosen:
        for round_ in range(args.rounds + 1):
            for engine in engines:
                seconds = engine.run(case)["seconds"]
                if round_ > 0:  # the first round warms caches and allocators
                    samples[case][engine.name].append(seconds)
    for engine in engines:
        engine.close()

    medians = {
        case: {name: statistics.median(taken) for name, taken in samples[case].items()} for case in chosen
    }
    rows = [["milliseconds", *chosen]]
    for name in names:
        rows.append([name, *(f"{medians[case][name] * 1e3:.1f}" for case in chosen)])
    table("Time, medians", rows)
    rows = [["GFLOP/s", *chosen]]
    for name in names:
        rows.append([name, *(f"{gflop(cases[case]['batches']) / medians[case][name]:.0f}" for case in chosen)])
    table("Speed, of the tokens themselves", rows)
    rows = [["times as fast as the best peer", *chosen]]
    for name, dtype in OURS.items():
        if name in names and any(best_peer(medians[case], dtype) for case in chosen):
            rows.append([name, *(f"{best_peer(medians[case], dtype) / medians[case][name]:.2f}" for case in chosen)])
    table("Ratio", rows)

    if args.skip_processes:
        return
    rows = [["fresh process", "peak memory at 32×128, MB", "start to first 1×16, ms"]]
    for name in names:
        engine = Engine(name, args.folder, args.threads)
        peak_mb = engine.run("32x128")["peak_mb"]
        engine.close()
        starts = []
        for _ in range(COLD_STARTS):
            started = time.perf_counter()
            engine = Engine(name, args.folder, args.threads)
            engine.run("1x16")
            starts.append(time.perf_counter() - started)
            engine.close()
        rows.append([name, f"{peak_mb:.0f}", f"{statistics.median(starts) * 1e3:.0f}"])
    table("Memory and start", rows)


if __name__ == "__main__":
    main()
