"""The Python examples of docs/python.md and docs/engines.md."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest
from conftest import REPOSITORY

#: The packages of docs/engines.md, which only ``scripts/python.sh --engines`` installs.
ENGINES = ("pyspark", "duckdb", "polars", "dask", "ray", "chromadb", "langchain_core")


def blocks(page: str) -> list[tuple[int, str]]:
    """Returns the Python blocks of a page in docs/ with the lines where they begin."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text[: block.start(1)].count("\n"), block[1]) for block in found]


def run(page: str, line: int, source: str, namespace: dict[str, object]) -> None:
    """Runs a block so that the lines of its errors are those of the page."""
    exec(compile("\n" * line + source, page, "exec"), namespace)


def test_the_examples_of_the_python_page_run():
    pytest.importorskip("pyarrow")
    namespace: dict[str, object] = {}
    for line, source in blocks("python.md"):
        run("docs/python.md", line, source, namespace)
    assert "embedder" in namespace


@pytest.mark.parametrize("block", blocks("engines.md"), ids=lambda block: f"line-{block[0]}")
def test_the_examples_of_the_engines_page_run(block, monkeypatch):
    line, source = block
    imported = [name for name in ENGINES if re.search(rf"^(import|from) {name}\b", source, re.M)]
    assert imported
    for name in imported:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"no {name}: run scripts/python.sh --engines")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    run("docs/engines.md", line, source, {})
