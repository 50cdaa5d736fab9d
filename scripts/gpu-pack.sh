#!/usr/bin/env bash
# Builds with the feature `cuda` and gathers, in one folder of about 50 MB, what scripts/gpu-check.sh needs on a
# machine with a GPU and without Rust or internet:
#
#   eval "$(scripts/cuda-toolkit.sh target/cuda-toolkit)"     # where no CUDA toolkit is installed
#   scripts/gpu-pack.sh target/gpu-check
#
# Then copy the folder there and run `./gpu-check.sh OUT` in it.
set -euo pipefail
folder=${1:?usage: gpu-pack.sh FOLDER}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.."
readonly LARGEST_MB=64

export CARGO_TARGET_DIR=target/cuda
cargo build --release --locked --workspace --features cuda --bin albert-cli --bin engine
tests=$(cargo test --release --locked --workspace --features cuda --test device --test gradients --no-run \
    --message-format json | python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["kind"] == ["test"]:
        print(message["executable"])')

rm -rf "$folder"/{bin,compare,crate,gpu-check.sh}
mkdir -p "$folder"/{bin,compare,crate/tests}
for program in "$CARGO_TARGET_DIR"/release/{albert-cli,engine} $tests; do
    name=$(basename "$program")
    strip -o "$folder/bin/${name%-????????????????}" "$program"
done
cp -r crates/albert-model/tests/fixtures "$folder/crate/tests/"
rm -rf "$folder"/crate/tests/fixtures/layouts
cp benches/gpu/*.py "$folder/compare/"
cp scripts/gpu-check.sh "$folder/"
git rev-parse HEAD > "$folder/commit"

size=$(du -sm "$folder" | cut -f1)
echo "$folder: $size MB"
((size <= LARGEST_MB)) || { echo "gpu-pack.sh: expected at most $LARGEST_MB MB" >&2; exit 1; }
