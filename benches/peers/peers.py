"""Times albert-model against PyTorch, ONNX Runtime and OpenVINO: same weights, same tokens, one run.

    cargo build --release --workspace --bin engine
    python benches/peers/prepare.py --out FOLDER
    python benches/peers/peers.py FOLDER [--seconds 60] [--threads 2] [--json FILE]
                                         [--engines NAME,…] [--cases NAME,…]

Every engine lives in a process of its own and waits while another works. The rounds go through the
engines in turn, so that a slow moment of the machine falls on all of them, and each round measures the
machine's own ceiling too. Cases run from short to long, each for about `--seconds`, and each is printed
and written to the JSON Lines file as soon as it is measured. Then, in fresh processes: peak memory, and
the time from start to the first answer. The machine should do nothing else.
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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OURS = {"albert-model f32": "f32", "albert-model int8": "int8"}
OUR_ENGINE = ROOT / "target/release/engine"
PEERS = ["PyTorch", "ONNX Runtime", "OpenVINO"]
DTYPES = ["f32", "int8"]
# ONNX Runtime with fastembed's batches: it differs from "ONNX Runtime f32" in texts alone.
TEXTS_ONLY = ["fastembed f32"]
PACKAGES = ["torch", "transformers", "sentence-transformers", "onnxruntime", "openvino", "tokenizers"]
MIN_ROUNDS, MAX_ROUNDS = 3, 50
COLD_STARTS = 3
TEXTS_CASE = "texts end to end"
# Both sum 384 to 3072 terms in f32, up to 12 layers deep, each in its own order.
LARGEST_DIFFERENCE = 1e-4


class Engine:
    """A process that answers requests, one JSON line each."""

    def __init__(self, name: str, folder: Path, threads: int):
        if name in OURS:
            command = [OUR_ENGINE, folder, OURS[name]]
        else:
            command = [sys.executable, HERE / "engine.py", name, folder, str(threads)]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self.name, self.folder = name, folder
        self.dtype = name.rsplit(" ", 1)[1]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment,
        )

    def ask(self, request: dict) -> dict:
        line = ""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            raise SystemExit(f"{self.name} ended before it answered {json.dumps(request)}")
        return json.loads(line)

    def run(self, case: str, output: str | None = None) -> dict:
        if case == TEXTS_CASE:
            return self.ask({"texts": str(self.folder / "texts.txt"), "output": output})
        return self.ask({"case": case, "output": output})

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Report:
    """Prints people's lines, and writes a JSON line for each record when a file is given."""

    def __init__(self, path: Path | None):
        self.file = path.open("w", encoding="utf-8") if path else None

    def say(self, line: str = "") -> None:
        print(line, flush=True)

    def record(self, **fields) -> None:
        if self.file:
            self.file.write(json.dumps(fields) + "\n")
            self.file.flush()


def gflop(folder: Path, batches: list[list[list[int]]]) -> float:
    """Returns the operations on the tokens themselves, in units of 1e9: padding is no work."""
    config = json.loads((folder / "model/config.json").read_text())
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    layers = config["num_hidden_layers"]
    projection = config.get("embedding_size", 0) * hidden  # ALBERT alone has one
    linear = 2 * (layers * (4 * hidden * hidden + 2 * hidden * intermediate) + projection)
    attention = 4 * layers * hidden
    return sum(len(row) * linear + len(row) ** 2 * attention for rows in batches for row in rows) / 1e9


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def check_agreement(report: Report, engines: list[Engine], reference: Engine, case: str) -> None:
    """Ends the run unless every f32 engine gives the reference's output; reports int8's cosine."""
    report.say(f"\nagreement with {reference.name} on {case}")
    outputs = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines:
            path = os.path.join(folder, "output.npy")
            engine.run(case, path)
            outputs[engine.name] = np.load(path).astype(np.float64)
    expected = outputs[reference.name]
    for name, found in outputs.items():
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
        # Positions of padding may be zeros.
        cosines = ((found * expected).sum(-1) / np.where(norms > 0, norms, 1))[norms > 0]
        report.say(
            f"  {name:20} largest difference {difference:.1e} of the scale, "
            f"lowest cosine {cosines.min():.6f}"
        )
        report.record(
            agreement=case, engine=name, largest_difference=difference, lowest_cosine=float(cosines.min())
        )
        if name.endswith("f32") and difference > LARGEST_DIFFERENCE:
            raise SystemExit(f"{name} computes something else than {reference.name}")


def measure(case: str, engines: list[Engine], ceiling: Engine | None, seconds: float) -> tuple[dict, dict]:
    """Returns each engine's samples and the best ceiling for each type, over rounds that fill `seconds`."""
    # The first round warms caches and allocators, and shows how long a round takes.
    started = time.perf_counter()
    for engine in engines:
        engine.run(case)
    round_seconds = time.perf_counter() - started
    rounds = int(min(max(seconds / round_seconds, MIN_ROUNDS), MAX_ROUNDS))
    samples = {engine.name: [] for engine in engines}
    peaks = dict.fromkeys(DTYPES, 0.0)
    for _ in range(rounds):
        if ceiling:
            answer = ceiling.ask({"ceiling": True})
            peaks = {dtype: max(peaks[dtype], answer[dtype]) for dtype in DTYPES}
        for engine in engines:
            samples[engine.name].append(engine.run(case)["seconds"])
    return samples, peaks


def report_case(report: Report, case: str, samples: dict, peaks: dict, work: float | None, texts: int) -> None:
    rounds = len(next(iter(samples.values())))
    report.say(f"\n{case}, {rounds} rounds\n")
    speed = "texts/s" if work is None else "GFLOP/s"
    report.say(f"| engine | median ms | best ms | {speed} | of the ceiling | albert-model is faster by |")
    report.say("|---|--:|--:|--:|--:|--:|")
    medians = {name: statistics.median(taken) for name, taken in samples.items()}
    for name, seconds in medians.items():
        dtype = name.rsplit(" ", 1)[1]
        per_second = (texts if work is None else work) / seconds
        share = None
        if work is not None and peaks[dtype]:
            share = per_second * 1e9 / peaks[dtype]
        ours = medians.get(f"albert-model {dtype}")
        ratio = seconds / ours if ours and name not in OURS else None
        report.say(
            f"| {name} | {seconds * 1e3:.1f} | {min(samples[name]) * 1e3:.1f} | {per_second:.0f} "
            f"| {'' if share is None else f'{share:.0%}'} | {'' if ratio is None else f'{ratio:.2f}×'} |"
        )
        report.record(
            case=case, engine=name, median_seconds=seconds, best_seconds=min(samples[name]),
            samples=samples[name], per_second=per_second, unit=speed, share_of_ceiling=share,
            ceiling_operations_per_second=peaks[dtype] or None,
        )


def report_processes(report: Report, args: argparse.Namespace, names: list[str], has_texts: bool) -> None:
    """Peak memory and cold starts, each in fresh processes."""
    memory_case = TEXTS_CASE if has_texts else "32x128"
    first = "vector of a text" if has_texts else "1x16"
    report.say(f"\n| fresh process | peak memory, {memory_case}, MB | start to the first {first}, ms |")
    report.say("|---|--:|--:|")
    for name in names:
        engine = Engine(name, args.folder, args.threads)
        peak_mb = engine.run(memory_case)["peak_mb"]
        engine.close()
        starts = []
        for _ in range(COLD_STARTS):
            started = time.perf_counter()
            engine = Engine(name, args.folder, args.threads)
            engine.ask({"texts": str(args.folder / "first.txt")} if has_texts else {"case": "1x16"})
            starts.append(time.perf_counter() - started)
            engine.close()
        report.say(f"| {name} | {peak_mb:.0f} | {statistics.median(starts) * 1e3:.0f} |")
        report.record(process=name, peak_mb=peak_mb, memory_case=memory_case, start_seconds=starts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="time for each case, all engines together")
    parser.add_argument("--threads", type=int, default=2)
    all_engines = [*OURS, *(f"{peer} {dtype}" for dtype in DTYPES for peer in PEERS), *TEXTS_ONLY]
    parser.add_argument("--engines", default=",".join(all_engines))
    parser.add_argument("--cases", help="names separated by commas")
    parser.add_argument("--json", type=Path, help="write records to this file, one JSON object per line")
    parser.add_argument("--skip-processes", action="store_true", help="no memory and no cold starts")
    args = parser.parse_args()
    names = args.engines.split(",")
    if unknown := set(names) - set(all_engines):
        parser.error(f"unknown engines {sorted(unknown)}; known are {all_engines}")
    report = Report(args.json)

    cases = json.loads((args.folder / "cases.json").read_text())
    work = {case: gflop(args.folder, entry["batches"]) for case, entry in cases.items()}
    chosen = sorted(work, key=work.get)
    has_texts = (args.folder / "texts.txt").exists()
    texts = len((args.folder / "texts.txt").read_text().splitlines()) if has_texts else 0
    if has_texts:
        chosen.append(TEXTS_CASE)
    if args.cases:
        wanted = args.cases.split(",")
        if unknown := set(wanted) - set(chosen):
            parser.error(f"unknown cases {sorted(unknown)}; known are {chosen}")
        chosen = [case for case in chosen if case in wanted]

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    commit = commit.stdout.strip()
    report.say(f"{cpu_name()}, {args.threads} threads, commit {commit}")
    report.say(", ".join(f"{package} {number}" for package, number in versions().items()))
    report.record(cpu=cpu_name(), threads=args.threads, commit=commit, versions=versions(), cases=chosen)

    if "albert-model int8" in names:
        shutil.rmtree(args.folder / "model-int8", ignore_errors=True)
        subprocess.run([OUR_ENGINE, args.folder, "convert"], check=True)
        copy_missing(args.folder / "model", args.folder / "model-int8")
    engines = [Engine(name, args.folder, args.threads) for name in names]
    for engine in engines:
        instructions = engine.ask({"describe": True})["instructions"]
        report.say(f"  {engine.name:20} instructions: {instructions}")
        report.record(engine=engine.name, instructions=instructions)
    ceiling = next((engine for engine in engines if engine.name in OURS), None)
    encoders = [engine for engine in engines if engine.name not in TEXTS_ONLY]
    reference = next((engine for engine in encoders if engine.name == "PyTorch f32"), encoders[0])

    check_agreement(report, encoders, reference, next(case for case in chosen if case != TEXTS_CASE)
                    if chosen != [TEXTS_CASE] else TEXTS_CASE)
    for case in chosen:
        taking_part = engines if case == TEXTS_CASE else encoders
        if case == TEXTS_CASE and len(chosen) > 1:
            check_agreement(report, taking_part, reference, case)
        samples, peaks = measure(case, taking_part, ceiling, args.seconds)
        report_case(report, case, samples, peaks, work.get(case), texts)
    for engine in engines:
        engine.close()
    if not args.skip_processes:
        processes = names if has_texts else [engine.name for engine in encoders]
        report_processes(report, args, processes, has_texts)


def copy_missing(source: Path, target: Path) -> None:
    """Copies the tokenizer and the pooling settings; weights and configuration are there."""
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        is_weights = path.suffix in {".safetensors", ".bin", ".onnx", ".h5", ".ot"}
        if path.is_file() and not copy.exists() and not is_weights:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


if __name__ == "__main__":
    main()
