#!/usr/bin/env bash
# Builds with the feature `cuda` and gathers, in one archive, what scripts/gpu-check.sh needs on a machine with a GPU and
# without Rust or internet:
#
#   eval "$(scripts/cuda-toolkit.sh target/cuda-toolkit)"     # where no CUDA toolkit is installed
#   scripts/gpu-pack.sh target/gpu-check.tar.gz
#
# There: tar xzf gpu-check.tar.gz && gpu-check/gpu-check.sh OUT
set -euo pipefail
archive=$(realpath -m "${1:?usage: gpu-pack.sh ARCHIVE.tar.gz}")
cd "$(dirname "$0")/.."
readonly LARGEST_MB=64

# One command for all of them: Candle is built once.
built=$(cargo build --release --locked --workspace --features cuda --target-dir target/cuda --bin albert-cli --bin engine \
    --test device --test gradients --message-format json-render-diagnostics | python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        print(message["target"]["name"], message["executable"])')

folder=target/gpu-check
rm -rf "$folder"
mkdir -p "$folder"/{bin,compare,crate/tests} "$(dirname "$archive")"
while read -r name program; do strip -o "$folder/bin/$name" "$program"; done <<< "$built"
cp -r crates/albert-model/tests/fixtures "$folder/crate/tests/"
rm -rf "$folder"/crate/tests/fixtures/layouts
cp benches/gpu/*.py "$folder/compare/"
cp scripts/gpu-check.sh "$folder/"
git rev-parse HEAD > "$folder/commit"
tar czf "$archive" -C target gpu-check

size=$(du -m "$archive" | cut -f1)
echo "$archive: $size MB, $(du -sm "$folder" | cut -f1) MB unpacked"
((size <= LARGEST_MB)) || { echo "gpu-pack.sh: expected at most $LARGEST_MB MB" >&2; exit 1; }
