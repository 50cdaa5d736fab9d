"""The list of what is wrong with each hostile file, to which both stages add."""

import json
from pathlib import Path


def write_reasons(folder: Path, reasons: dict[str, str]) -> None:
    path = folder / "cases.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(dict(sorted((known | reasons).items())), indent=1) + "\n")
