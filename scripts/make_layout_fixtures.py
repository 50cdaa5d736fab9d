"""Writes one small ALBERT in every layout that checkpoints come in, and files that a reader must refuse.

Two stages, since torch with transformers 4.46.3 and TensorFlow seldom live in one environment. The first clears the
folder and leaves, under --work, weights that the second turns into TensorFlow bundles:

    python scripts/make_layout_fixtures.py --stage torch         # transformers 4.46.3, torch, safetensors
    python scripts/make_layout_fixtures.py --stage tensorflow    # tensorflow 2, safetensors

OUT/NAME holds one layout each. OUT/expected.safetensors has `input.*` and `output.*` for all layouts of the one model;
a folder with a model of its own has its own expected.safetensors. Weights are rounded to seven bits of mantissa, which
f16, bf16, f32 and f64 all hold exactly: one set of numbers and one tolerance serve every precision.
OUT/hostile holds what must be refused, and why in cases.json. OUT/VERSIONS.txt says what wrote it.
"""

import argparse
import tempfile
from pathlib import Path


def record(out: Path, stage: str, versions: str) -> None:
    """Puts this stage's line into VERSIONS.txt, in place of an older one."""
    path = out / "VERSIONS.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    lines = [line for line in lines if not line.startswith(f"{stage}:")] + [f"{stage}: {versions}"]
    path.write_text("\n".join(sorted(lines, reverse=True)) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=["torch", "tensorflow"], required=True)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-model/tests/fixtures/layouts"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "albert-layouts",
                        help="where the first stage leaves weights for the second")
    arguments = parser.parse_args()
    if arguments.stage == "torch":
        from layouts import torch_files as stage
    else:
        from layouts import tensorflow_bundles as stage
    versions = stage.write(arguments.out, arguments.work)
    record(arguments.out, arguments.stage, versions)
    files = [file for file in arguments.out.rglob("*") if file.is_file()]
    print(f"{arguments.stage}: {versions}\n{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
