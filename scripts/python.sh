#!/usr/bin/env bash
# Builds the wheel of bindings/python, installs it into a fresh virtual environment, and runs its
# tests: pytest, the examples in docstrings, and mypy.
#
#   scripts/python.sh                     # the release profile, for this machine's Python
#   scripts/python.sh --engines           # also Spark, Ray, Dask, LangChain, LlamaIndex and chromadb
#   WHEEL_OPTIONS="--profile dist --zig --compatibility manylinux2014" scripts/python.sh
#
# PYTHON names the interpreter, VENV keeps the environment in that folder. Tests that compare with
# the command take target/release/albert-cli, or ALBERT_CLI.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
packages=(numpy pyarrow pytest mypy polars duckdb pandas)
if [ "${1:-}" = --engines ]; then
    packages+=(pyspark "ray[data]" "dask[dataframe]" langchain-core llama-index-core chromadb)
fi
venv=${VENV:-$(mktemp -d)/venv}
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check "maturin>=1.9,<2" "${packages[@]}"

wheels=bindings/python/target/wheels
rm -f "$wheels"/*.whl
# shellcheck disable=SC2086
"$venv/bin/maturin" build --manifest-path bindings/python/Cargo.toml --locked \
    --interpreter "$venv/bin/python" --out "$wheels" ${WHEEL_OPTIONS:---release}
"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheels"/*.whl
ls -l "$wheels"

"$venv/bin/python" -c 'import albert_candle, numpy, platform
print("albert-candle", albert_candle.__version__, "numpy", numpy.__version__, "Python", platform.python_version())'
cd bindings/python
"$venv/bin/python" -m pytest -q
package=$("$venv/bin/python" -c 'import albert_candle, os; print(os.path.dirname(albert_candle.__file__))')
"$venv/bin/python" -m pytest -q --doctest-modules -p no:cacheprovider "$package"/{__init__,_embedder,_pipeline,_tasks,_tokenizer}.py
"$venv/bin/python" -m mypy python/albert_candle
