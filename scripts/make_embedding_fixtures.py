"""Writes the reference answers for what follows the network: modules, windows and precisions of embeddings.

    python scripts/make_embedding_fixtures.py            # under sentence-transformers 6.2
    python scripts/make_embedding_fixtures.py --old      # under sentence-transformers 2.7: the folder that it writes

Needs transformers, sentence-transformers, numpy and torch, and the tiny model of make_task_fixtures.py. A folder
OUT/CASE has what sentence-transformers saves of its modules, without the network, which is the tiny model's, and
reference.json the vectors. OUT/windows.json and OUT/precision.json hold the rest. Run the one without --old last:
it also computes the old folder again. The script prints the versions it ran with.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Dropout, LayerNorm, Normalize, Pooling, Transformer

from tiny import write_json

TINY = Path("crates/albert-tasks/tests/fixtures/tiny")
MAX_LENGTH = 40
TEXTS = ["She opened the door.", "", "Nobody knew what the letter said: 25 apples and the Café!", "the river " * 30]
LONG = "The train leaves the station and the river runs through the town. A man is playing a guitar. " * 5
PROMPT = "the king said: "
ACTIVATIONS = ["Tanh", "Identity", "ReLU", "GELU", "Sigmoid", "SiLU", "LeakyReLU", "ReLU6", "Hardswish", "Mish"]
VERSIONS = {module.__name__: module.__version__ for module in (transformers, sentence_transformers, torch, numpy)}


def dense(size: int, out: int, activation, **options) -> Dense:
    module = Dense(size, out, activation_function=activation, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5)
    return module


def layer_norm(size: int) -> LayerNorm:
    module = LayerNorm(size)
    with torch.no_grad():
        module.norm.weight.normal_(1, 0.3)
        module.norm.bias.normal_(0, 0.3)
    return module


def build(modules: list, **options) -> SentenceTransformer:
    model = SentenceTransformer(modules=modules, device="cpu", **options)
    model.max_seq_length = MAX_LENGTH
    return model.eval()


def save(model: SentenceTransformer, folder: Path, binary: bool = False) -> None:
    """Keeps what is not the network's: modules.json, the modules' folders, prompts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        model.save(temporary, **({"safe_serialization": False} if binary else {}))
        for path in Path(temporary).iterdir():
            if path.is_dir():
                shutil.copytree(path, folder / path.name)
            elif path.name in ("modules.json", "config_sentence_transformers.json"):
                shutil.copy(path, folder / path.name)
    (folder / "config_sentence_transformers.json").exists() or write_json(folder / "config_sentence_transformers.json", {})


def write_case(out: Path, name: str, model: SentenceTransformer, binary: bool = False, dim: int = 5) -> None:
    save(model, out / name, binary)
    write_json(out / name / "reference.json", {
        "versions": VERSIONS,
        "texts": TEXTS,
        "vectors": model.encode(TEXTS).tolist(),
        "normalized": model.encode(TEXTS, normalize_embeddings=True).tolist(),
        "dim": dim,
        "cut": [vector[:dim] for vector in model.encode(TEXTS).tolist()],
    })


def write_modules(out: Path) -> None:
    torch.manual_seed(11)
    network = Transformer(str(TINY))
    write_case(out, "dense", build([network, Pooling(24, "mean"), dense(24, 16, torch.nn.Tanh()), Normalize()]))
    write_case(out, "many", build([
        network, Pooling(24, ("cls", "mean")), dense(48, 48, torch.nn.GELU(), use_residual=True), layer_norm(48),
        dense(48, 20, torch.nn.Identity(), bias=False, use_residual=True), Normalize(), dense(20, 12, torch.nn.Mish()),
        Dropout(0.5)]))
    model = build([network, Pooling(24, "lasttoken"), dense(24, 24, torch.nn.Sigmoid())],
                  prompts={"query": PROMPT, "passage": ""}, default_prompt_name="query", truncate_dim=9)
    write_case(out, "prompted", model, binary=True)

    model = build([network, Pooling(24, "mean"), dense(24, 6, torch.nn.Tanh())])
    model[2].load_state_dict(dense(24, 6, None).state_dict())
    vectors = {}
    for name in ACTIVATIONS:
        model[2].activation_function = getattr(torch.nn, name)()
        vectors[sentence_transformers.util.fullname(model[2].activation_function)] = model.encode(TEXTS).tolist()
    save(model, out / "activations")
    write_json(out / "activations/reference.json", {"versions": VERSIONS, "texts": TEXTS, "activations": vectors})

    old = json.loads((out / "old/reference.json").read_text())
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copytree(TINY, temporary, dirs_exist_ok=True)
        shutil.copytree(out / "old", temporary, dirs_exist_ok=True)
        again = SentenceTransformer(temporary, device="cpu").encode(TEXTS)
    print("old folder, largest difference between the versions:", abs(again - numpy.array(old["vectors"])).max())


def write_old(out: Path) -> None:
    torch.manual_seed(12)
    network = Transformer(str(TINY), max_seq_length=MAX_LENGTH)
    pooling = Pooling(24, pooling_mode_mean_tokens=True, pooling_mode_max_tokens=True, pooling_mode_weightedmean_tokens=True)
    model = build([network, pooling, dense(72, 16, torch.nn.Tanh()), Normalize()])
    write_case(out, "old", model, binary=True)


def windows_of(network, special: tuple, prompt: list, text: list, stride: int) -> tuple:
    """Each token's vectors, one for each window that it is in, and its weight there; the windows' poolers and shares."""
    room = MAX_LENGTH - 2 - len(prompt)
    starts = [0]
    while starts[-1] + room < len(text):
        starts.append(starts[-1] + room - stride)
    holds = [range(start, min(start + room, len(text))) for start in starts]
    count = [sum(token in window for window in holds) for token in range(len(text))]
    tokens = [[] for _ in range(2 + len(prompt) + len(text))]
    poolers = []
    for window in holds:
        share = sum(1 / count[token] for token in window) / len(text)
        ids = [special[0], *prompt, *(text[token] for token in window), special[1]]
        places = [*range(1 + len(prompt)), *(1 + len(prompt) + token for token in window), len(tokens) - 1]
        weights = [share] * (1 + len(prompt)) + [1 / count[token] for token in window] + [share]
        with torch.no_grad():
            output = network(torch.tensor([ids]))
        for place, weight, vector in zip(places, weights, output.last_hidden_state[0].double()):
            tokens[place].append((weight, vector))
        poolers.append((share, output.pooler_output[0].double()))
    return tokens, poolers, sum(len(window) + 2 + len(prompt) for window in holds)


def write_windows(out: Path) -> None:
    network = transformers.AlbertModel.from_pretrained(TINY).eval()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(TINY)
    cut = lambda text: tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    total = lambda weighted: sum(weight * vector for weight, vector in weighted)
    cases = []
    for stride, prompt, skip in [(0, "", 0), (12, "", 0), (37, "", 0), (7, PROMPT, 0), (7, PROMPT, 1)]:
        ids = cut(prompt)
        assert cut(prompt + LONG) == ids + cut(LONG)
        tokens, poolers, entered = windows_of(network, (2, 3), ids, cut(LONG), stride)
        skipped = (1 + len(ids)) * skip
        merged = torch.stack([total(token) for token in tokens])[skipped:]
        position = torch.arange(1, len(tokens) + 1).double()[skipped:, None]
        cases.append({
            "stride": stride, "prompt": prompt, "include_prompt": not skip, "tokens": entered,
            "vectors": {
                "mean": merged.mean(0).tolist(),
                "mean-sqrt-len": (merged.sum(0) / len(merged) ** 0.5).tolist(),
                "weighted-mean": ((position * merged).sum(0) / position.sum()).tolist(),
                "cls": merged[0].tolist(),
                "last": merged[-1].tolist(),
                "pooler": total(poolers).tolist(),
                "max": torch.stack([vector for token in tokens[skipped:] for _, vector in token]).max(0).values.tolist(),
            },
        })
    write_json(out / "windows.json", {"versions": VERSIONS, "text": LONG, "cases": cases})


def write_precision(out: Path) -> None:
    random = numpy.random.default_rng(13)
    calibration = random.normal(0, 1, (40, 11)).astype(numpy.float32)
    calibration[:, 3] = 0.25
    embeddings = random.normal(0, 1.5, (12, 11)).astype(numpy.float32)
    embeddings[0], embeddings[1], embeddings[2] = calibration.min(0), calibration.max(0), 0
    quantize = sentence_transformers.quantize_embeddings
    write_json(out / "precision.json", {
        "versions": VERSIONS,
        "calibration": calibration.tolist(),
        "embeddings": embeddings.tolist(),
        "quantized": {name: quantize(embeddings, name, calibration_embeddings=calibration).tolist()
                      for name in ("int8", "uint8", "binary", "ubinary")},
    })


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-tasks/tests/fixtures/embeddings"))
    parser.add_argument("--old", action="store_true")
    arguments = parser.parse_args()
    print(VERSIONS)
    if arguments.old:
        return write_old(arguments.out)
    write_modules(arguments.out)
    write_windows(arguments.out)
    write_precision(arguments.out)


if __name__ == "__main__":
    main()
