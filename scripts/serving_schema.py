"""Runs schemathesis against `albert-cli serve`: the built-in model, and a small model for each task.

    python3 scripts/serving_schema.py --binary target/release/albert-cli [--max-examples 40] [--seed 1]

Requests that /openapi.json allows must be answered, others refused, and every answer must have its
described form. Ends with an error if schemathesis finds anything.

    pip install schemathesis
"""

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from serving_clients import start, stop

FIXTURES = Path("crates/albert-tasks/tests/fixtures")

# The times that the positions of the zero-shot model are repeated: with its own 40, a hypothesis that
# the description allows would be refused as too long.
REPEATS = 100

# The models together have every route. LONG is the zero-shot model with more positions.
SERVERS = {
    "the built-in model": [],
    "the built-in model, with token ids": ["--allow-ids"],
    "a tagger": ["--model", FIXTURES / "pipelines/entities"],
    "a model of question answering": ["--model", FIXTURES / "pipelines/question"],
    "a classifier": ["--model", FIXTURES / "pipelines/topics"],
    "a model of zero-shot classification": ["--model", "LONG"],
    "a reranker": ["--model", FIXTURES / "pipelines/single"],
}


def lengthen(source, folder):
    """Copies a model of one safetensors file with REPEATS times its positions."""
    shutil.copytree(source, folder)
    path = folder / "model.safetensors"
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:start]), b""
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        values = content[start + begin : start + end]
        if name.endswith("position_embeddings.weight"):
            values *= REPEATS
            tensor["shape"][0] *= REPEATS
        tensor["data_offsets"] = [len(data), len(data) + len(values)]
        data += values
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    for name, key in {"config.json": "max_position_embeddings", "tokenizer_config.json": "model_max_length"}.items():
        settings = json.loads((folder / name).read_text())
        settings[key] *= REPEATS
        (folder / name).write_text(json.dumps(settings))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default="target/release/albert-cli")
    parser.add_argument("--max-examples", default="40")
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    tested = [Path(sys.executable).with_name("schemathesis"), "run", "--max-examples", arguments.max_examples]
    tested += ["--seed", arguments.seed]

    print(f"schemathesis {importlib.metadata.version('schemathesis')}, seed {arguments.seed}")
    failed = []
    models = tempfile.TemporaryDirectory()
    long = Path(models.name) / "long"
    lengthen(FIXTURES / "pipelines/nli", long)
    for name, options in SERVERS.items():
        options = [long if option == "LONG" else option for option in options]
        server, url = start(arguments.binary, *options)
        try:
            # schemathesis keeps files of its own where it runs.
            with tempfile.TemporaryDirectory() as folder:
                command = [*tested, url + "/openapi.json"]
                run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        finally:
            stop(server)
        lines = [line for line in run.stdout.splitlines() if line.strip()]
        print(f"{name}: {lines[-1].strip('= ') if lines else 'no output'}", flush=True)
        if run.returncode != 0:
            failed.append(name)
            print(run.stdout[-20_000:], run.stderr[-2_000:], flush=True)
    if failed:
        sys.exit(f"found something with {', '.join(failed)}")


if __name__ == "__main__":
    main()
