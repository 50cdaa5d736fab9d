"""Times albert-model and PyTorch on a GPU: the same weights, the same tokens, one table.

    python compare.py --engine FILE --out FOLDER [--device cuda|cpu] [--small] [--seconds 300]

FILE is the program `engine` built with the feature `cuda`. Needs nothing but Python 3.10; the rows of PyTorch need
PyTorch, and are left out with a warning where it is missing. Writes the model and the tokens to FOLDER/work, and
results.json and table.md to FOLDER. Nothing is started after `--seconds`; what was left out is said.

Each engine runs in a process of its own, one after the other: every case twice to warm up, then ROUNDS times, of which
the median counts. TFLOP/s count the tokens themselves and not the padding, and the ceiling is the fastest product of two
large bf16 matrices by the library that `engine` takes its products from. With `--small` a tiny model and tiny cases try
the whole way in seconds; its figures mean nothing.
"""

import argparse
import json
import math
import os
import platform
import random
import selectors
import statistics
import subprocess
import sys
import time
from array import array
from pathlib import Path

from files import read_npy, write_safetensors

HERE = Path(__file__).resolve().parent
ROUNDS = 5
WARM_UP = 2
SHAPES = {"8x128": (8, 128), "64x128": (64, 128), "512x128": (512, 128), "64x512": (64, 512)}
SMALL_SHAPES = {"2x16": (2, 16), "3x40": (3, 40)}
# Sentences: 4 to 512 tokens, 20 in the median; sorted by length and padded in batches of at most this many tokens.
RAGGED_MEDIAN, RAGGED_SPREAD, BATCH_TOKENS = 20, 0.6, 32768
CONFIG = {
    "model_type": "albert", "vocab_size": 30000, "embedding_size": 128, "hidden_size": 768, "num_hidden_layers": 12,
    "num_hidden_groups": 1, "inner_group_num": 1, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu_new", "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0,
}
SMALL_CONFIG = CONFIG | {
    "vocab_size": 1000, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256,
}
# Half precision 12 layers deep, and f32 summed in another order.
LOWEST_COSINE = {"f32": 0.999999, "bf16": 0.999, "f16": 0.999}


class OutOfTime(Exception):
    pass


class Engine:
    """A process that answers with the seconds a case took."""

    def __init__(self, command: list, environment: dict, log: Path, deadline: float):
        self.deadline = deadline
        self.log = log.open("w")
        self.process = subprocess.Popen(
            list(map(str, command)), env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log, text=True,
        )
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def seconds(self, **asked: object) -> float:
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        if not self.selector.select(max(0.0, self.deadline - time.monotonic())):
            raise OutOfTime
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(f"ended with status {self.process.wait()}, see {self.log.name}")
        return json.loads(line)["seconds"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def write_model(folder: Path, config: dict) -> None:
    """Random weights, the same each time: speed does not depend on them."""
    e, h, i = config["embedding_size"], config["hidden_size"], config["intermediate_size"]
    layer = "encoder.albert_layer_groups.0.albert_layers.0."
    dense = {
        "encoder.embedding_hidden_mapping_in": (h, e), f"{layer}attention.query": (h, h), f"{layer}attention.key": (h, h),
        f"{layer}attention.value": (h, h), f"{layer}attention.dense": (h, h), f"{layer}ffn": (i, h), f"{layer}ffn_output": (h, i),
    }
    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    norms = {"embeddings.LayerNorm": e, f"{layer}attention.LayerNorm": h, f"{layer}full_layer_layer_norm": h}
    shapes = {f"embeddings.{table}_embeddings.weight": [config[size], e] for table, size in tables.items()}
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": list(shape), f"{name}.bias": [shape[0]]}
    uniform = random.Random(0).random
    width = 2 * math.sqrt(3) * 0.02  # a standard deviation of 0.02
    numbers = lambda shape, center=0.0: array("f", (center + width * (uniform() - 0.5) for _ in range(math.prod(shape))))
    tensors = {name: (shape, numbers(shape)) for name, shape in shapes.items()}
    for name, size in norms.items():
        tensors |= {f"{name}.weight": ([size], numbers([size], 1.0)), f"{name}.bias": ([size], numbers([size]))}
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def make_cases(config: dict, is_small: bool) -> dict:
    generator = random.Random(1)
    ids = lambda tokens: [2] + [generator.randrange(5, config["vocab_size"]) for _ in range(tokens - 2)] + [3]
    shapes = SMALL_SHAPES if is_small else SHAPES
    cases = {name: {"batches": [[ids(tokens) for _ in range(batch)]]} for name, (batch, tokens) in shapes.items()}
    count = 20 if is_small else 4096
    drawn = (int(generator.lognormvariate(math.log(RAGGED_MEDIAN), RAGGED_SPREAD)) for _ in range(count))
    rows = sorted((ids(min(max(tokens, 4), 512)) for tokens in drawn), key=len, reverse=True)
    batches, limit = [], 256 if is_small else BATCH_TOKENS
    while rows:
        fitting = max(1, limit // len(rows[0]))
        batches.append(rows[:fitting])
        rows = rows[fitting:]
    cases[f"{count} ragged"] = {"batches": batches}
    return cases


def gflop(config: dict, batches: list) -> float:
    """Multiply-adds, times two, of the tokens themselves."""
    e, h, i, layers = (config[key] for key in ["embedding_size", "hidden_size", "intermediate_size", "num_hidden_layers"])
    linear = 2 * (layers * (4 * h * h + 2 * h * i) + e * h)
    return sum(len(row) * linear + len(row) ** 2 * 4 * layers * h for rows in batches for row in rows) / 1e9


def lowest_cosine(expected: Path, found: Path, rows: list) -> float:
    """Over the tokens of a batch, padding left out."""
    (shape, a), (other_shape, b) = read_npy(expected), read_npy(found)
    if shape != other_shape:
        raise SystemExit(f"{found.name}: expected the shape {shape}, found {other_shape}")
    _, tokens, width = shape
    dot = lambda x, y: sum(map(float.__mul__, x, y))
    lowest = 1.0
    for row, ids in enumerate(rows[:8]):
        for token in range(len(ids)):
            at = (row * tokens + token) * width
            x, y = a[at : at + width], b[at : at + width]
            lowest = min(lowest, dot(x, y) / math.sqrt(dot(x, x) * dot(y, y)))
    return lowest


def measure(engine: Engine, cases: dict, outputs: Path) -> dict:
    outputs.mkdir(exist_ok=True)
    measured = {}
    for number, case in enumerate(cases):
        engine.seconds(case=case, output=str(outputs / f"{number}.npy"))
        for _ in range(WARM_UP - 1):
            engine.seconds(case=case, output=None)
        measured[case] = statistics.median(engine.seconds(case=case, output=None) for _ in range(ROUNDS))
    return measured


def pytorch() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    return torch.__version__


def gpu() -> str:
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no nvidia-smi"


def write_table(path: Path, results: dict, cases: dict, config: dict) -> None:
    lines = [f"{results['machine']}; {results['gpu']}; PyTorch {results['pytorch'] or 'is not installed'}", ""]
    ceiling = results["ceiling"]
    if ceiling:
        lines += [f"Ceiling: {ceiling['tflops']:.1f} TFLOP/s, a product of two {ceiling['size']}² matrices in {ceiling['dtype']}", ""]
    if results["small"]:
        lines += ["A trial of the script on a tiny model: these figures mean nothing.", ""]
    lines += ["tokens/s, TFLOP/s, % of the ceiling", "", "| | " + " | ".join(cases) + " |", "|---|" + "--:|" * len(cases)]
    for name, engine in results["engines"].items():
        cells = []
        for case, content in cases.items():
            seconds = engine.get("seconds", {}).get(case)
            if seconds is None:
                cells.append(engine.get("failed", "out of time"))
                continue
            tokens = sum(len(row) for rows in content["batches"] for row in rows)
            tflops = gflop(config, content["batches"]) / seconds / 1e3
            of_ceiling = f", {100 * tflops / ceiling['tflops']:.0f} %" if ceiling else ""
            cells.append(f"{tokens / seconds:,.0f}, {tflops:.2f}{of_ceiling}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if results["pytorch"] is None:
        lines += ["", "**PyTorch is not installed here: there is nothing to compare with.**"]
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seconds", type=float, default=300)
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    work = args.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    config = SMALL_CONFIG if args.small else CONFIG
    write_model(work / "model", config)
    cases = make_cases(config, args.small)
    (work / "cases.json").write_text(json.dumps(cases))

    torch_version = pytorch()
    ours = lambda dtype: [args.engine, work, dtype, args.device]
    theirs = lambda dtype, mode: [sys.executable, HERE / "torch_engine.py", work, dtype, args.device, mode]
    kernels = {"ALBERT_GPU_KERNELS": "everywhere"}  # on the CPU too, so that a trial goes the same way
    commands = {f"albert-model {dtype}": (ours(dtype), {}) for dtype in ["f32", "bf16"]}
    commands |= {f"albert-model, own kernels, {dtype}": (ours(dtype), kernels) for dtype in ["bf16", "f32"]}
    if torch_version is None:
        print("WARNING: PyTorch is not installed here: albert-model is measured alone", file=sys.stderr)
    else:
        for dtype in ["bf16", "f32"]:
            commands |= {f"PyTorch {mode} {dtype}": (theirs(dtype, mode), {}) for mode in ["eager", "compile"]}

    results = {
        "machine": f"{platform.machine()}, {platform.system()}", "gpu": gpu(), "device": args.device, "small": args.small,
        "pytorch": torch_version, "rounds": ROUNDS, "config": config, "ceiling": None, "engines": {},
    }
    failed = 0
    for name, (command, environment) in commands.items():
        print(name, file=sys.stderr, flush=True)
        dtype = name.split()[-1]
        engine = Engine(command, environment, work / f"{name}.log", deadline)
        found = results["engines"][name] = {}
        try:
            if name == "albert-model bf16" and not results["ceiling"]:
                results["ceiling"] = ceiling(engine, args)
            found["seconds"] = measure(engine, cases, work / name)
        except OutOfTime:
            print(f"WARNING: {name}: out of time", file=sys.stderr)
        except (EOFError, BrokenPipeError) as error:
            failed += 1
            found["failed"] = "failed"
            print(f"ERROR: {name}: {error}", file=sys.stderr)
        finally:
            engine.close()
        if "seconds" in found:
            # The first case has no padding, the last one has.
            for number in [0, len(cases) - 1]:
                rows = list(cases.values())[number]["batches"][0]
                cosine = lowest_cosine(work / "albert-model f32" / f"{number}.npy", work / name / f"{number}.npy", rows)
                found.setdefault("lowest_cosine", []).append(cosine)
                if not cosine >= LOWEST_COSINE[dtype]:
                    failed += 1
                    print(f"ERROR: {name} computes something else than albert-model f32: cosine {cosine:.6f}", file=sys.stderr)
        (args.out / "results.json").write_text(json.dumps(results, indent=1))
        write_table(args.out / "table.md", results, cases, config)
    print((args.out / "table.md").read_text())
    return 1 if failed else 0


def ceiling(engine: Engine, args: argparse.Namespace) -> dict:
    size = 512 if args.small else 8192
    seconds = min(engine.seconds(product=size) for _ in range(WARM_UP + ROUNDS))
    return {"size": size, "dtype": "bf16", "tflops": 2 * size**3 / seconds / 1e12}


if __name__ == "__main__":
    sys.exit(main())
