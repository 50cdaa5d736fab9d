#!/usr/bin/env bash
# Assembles in a folder what building with `--features cuda` needs, where no CUDA toolkit is installed
# and whether or not there is a GPU: nvcc 13.0 and its headers from NVIDIA's Python wheels (about 100 MB),
# and stand-ins for the libraries (scripts/cuda/stand_ins.py), with which one program starts with and
# without a driver. Linux on x86-64.
#
#   cargo fetch
#   eval "$(scripts/cuda-toolkit.sh target/cuda-toolkit)"
#   cargo build --release --features cuda --target-dir target/cuda
#
# Writes the environment to standard output, everything else to standard error. Needs python3 with
# pip, gcc, g++ and ar. Versions are fixed at CUDA 13.0: a driver refuses PTX from a compiler newer
# than itself.
set -euo pipefail

folder=${1:?usage: cuda-toolkit.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
[[ "$(uname -sm)" == "Linux x86_64" ]] || { echo "cuda-toolkit.sh: expected Linux on x86-64, found $(uname -sm)" >&2; exit 1; }
for tool in python3 gcc g++ ar cargo; do
    command -v "$tool" > /dev/null || { echo "cuda-toolkit.sh: \`$tool\` is not on the PATH" >&2; exit 1; }
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [[ ! -e "$folder/complete" ]]; then
    echo "fetching nvcc 13.0 into $folder" >&2
    wheels=$(mktemp -d "$folder/wheels.XXXXXX")
    trap 'rm -rf "$wheels"' EXIT
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-deps --no-compile --only-binary=:all: --target "$wheels" \
        nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
        nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 >&2
    cp -al "$wheels/nvidia/cu13/." "$folder/"
    ln -sfn lib "$folder/lib64"
    # Linked by its plain name, the runtime becomes part of the program.
    ln -f "$folder/lib/libcudart_static.a" "$folder/lib/libcudart.a"
    touch "$folder/complete"
fi

# Their functions are those that the bindings in Cargo.lock name.
cudarc=$(cd "$here/.." && cargo metadata --format-version 1 --locked --offline --features albert-cli/cuda |
    python3 -c 'import json, os, sys
print(next(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"))')
python3 "$here/cuda/stand_ins.py" "$cudarc" "$folder/lib/stubs" >&2

cat <<END
export CUDA_HOME='$folder'
export CUDARC_CUDA_VERSION=13000
export CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-80}
export CUDAFORGE_THREADS=\${CUDAFORGE_THREADS:-$(nproc)}
export NVCC='$here/cuda/nvcc-light'
END
