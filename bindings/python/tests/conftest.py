"""Models and programs that the tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from albert_candle import Embedder

REPOSITORY = Path(__file__).resolve().parents[3]
FIXTURES = REPOSITORY / "crates" / "albert-tasks" / "tests" / "fixtures"

#: The first sentences of scripts/sentences.txt, and texts that are hard to read.
HARD = ["", " ", "x", "東京 and 😀 emoji", "Zoë\tand\nRenée", "[MASK] [SEP]", "word " * 700]


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    text = (REPOSITORY / "scripts" / "sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()[:120]


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture(scope="session")
def command() -> str:
    """The path of albert-cli, compiled from the same sources."""
    binary = Path(os.environ.get("ALBERT_CLI", REPOSITORY / "target" / "release" / "albert-cli"))
    if not binary.exists():
        pytest.skip(f"no {binary}: build it with cargo build --release, or set ALBERT_CLI")
    return str(binary)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lists what was skipped, and why, so that no one takes it for passed."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"SKIPPED {report.nodeid}: {reason}", yellow=True)
