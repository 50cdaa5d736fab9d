"""Runs schemathesis against `albert-cli serve`: the built-in model, and a small model for each task.

    python3 scripts/serving_schema.py --binary target/release/albert-cli [--max-examples 40] [--seed 1]

Requests that /openapi.json allows must be answered, others refused, and every answer must have its
described form. Ends with an error if schemathesis finds anything.

    pip install schemathesis
"""

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

from serving_clients import start, stop

FIXTURES = Path("crates/albert-tasks/tests/fixtures")

# The models together have every route.
SERVERS = {
    "the built-in model": [],
    "the built-in model, with token ids": ["--allow-ids"],
    "a tagger": ["--model", FIXTURES / "pipelines/entities"],
    "a model of question answering": ["--model", FIXTURES / "pipelines/question"],
    "a classifier": ["--model", FIXTURES / "pipelines/topics"],
    "a model of zero-shot classification": ["--model", FIXTURES / "pipelines/nli"],
    "a reranker": ["--model", FIXTURES / "pipelines/single"],
}


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
    for name, options in SERVERS.items():
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
