#!/usr/bin/env bash
# Checks and times a folder that scripts/gpu-pack.sh made, on the machine's GPU, in less than 8 minutes:
#
#   ./gpu-check.sh OUT                         # parity, then the comparison with PyTorch
#   ./gpu-check.sh OUT --device cpu --small    # a trial of the way, on any machine; its figures mean nothing
#
# Into OUT go machine.txt, parity.txt, results.json and table.md; what it shows is also in log.txt. The exit code is 1
# where anything failed, but everything that can be done is done. Python 3.10 runs the comparison; PyTorch is compared with
# where `python3` has it (PYTHON names another one).
set -uo pipefail
out=${1:?usage: gpu-check.sh OUT [--device cuda|cpu] [--small]}
shift
device=cuda small=()
while (($#)); do
    case $1 in
        --device) device=${2:?--device: expected cuda or cpu}; shift ;;
        --small) small=(--small) ;;
        *) echo "gpu-check.sh: unknown option \`$1\`" >&2; exit 2 ;;
    esac
    shift
done
[[ $device == cuda || $device == cpu ]] || { echo "gpu-check.sh: expected the device cuda or cpu, found \`$device\`" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec > >(tee "$out/log.txt") 2>&1
# All of it together stays below 480 seconds.
readonly TEST_SECONDS=45 COMMAND_SECONDS=15 COMPARE_SECONDS=240
failed=()
check() { # NAME COMMAND…
    local name=$1
    shift
    echo "== $name"
    "$@" || { echo "FAILED: $name (status $?)"; failed+=("$name"); }
}

# PyTorch's wheels bring the libraries that the programs need, where no CUDA toolkit does.
wheels=$("$python" - <<'END' 2> /dev/null
import glob, sysconfig
print(":".join(sorted(glob.glob(sysconfig.get_path("purelib") + "/nvidia/*/lib"))))
END
)
[[ -z $wheels ]] || export LD_LIBRARY_PATH=$wheels${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

{
    echo "commit $(cat "$here/commit")"
    date -u
    uname -srm
    grep -m1 'model name' /proc/cpuinfo
    nvidia-smi || echo 'no nvidia-smi'
    "$python" --version || echo "no $python"
    "$python" -c 'import torch; print("PyTorch", torch.__version__, "CUDA", torch.version.cuda)' || echo 'no PyTorch'
} > "$out/machine.txt" 2>&1
cat "$out/machine.txt"

export ALBERT_TEST_DEVICE=$device CARGO_MANIFEST_DIR=$here/crate
parity() { timeout "$TEST_SECONDS" "$here/bin/$1" 2>&1 | tee -a "$out/parity.txt"; }
own_kernels() { ALBERT_GPU_KERNELS=everywhere "$@"; }
: > "$out/parity.txt"
check "parity" parity device
check "parity with kernels of our own" own_kernels parity device
check "gradients and a training step" parity gradients
verify() { timeout "$COMMAND_SECONDS" "$here/bin/albert-cli" verify --device cpu --against "$1"; }
for other in "device=$device" "device=$device,dtype=f16" "device=$device,dtype=bf16"; do
    check "verify $other" verify "$other"
done
# `1`: on the GPU alone, what it is compared with stays as it is.
for other in "device=$device" "device=$device,dtype=bf16"; do
    ALBERT_GPU_KERNELS=1 check "verify $other with kernels of our own" verify "$other"
done
check "embed" timeout "$COMMAND_SECONDS" "$here/bin/albert-cli" embed --device "$device" --format table \
    'A quick test'

check "comparison" timeout $((COMPARE_SECONDS + 10)) "$python" "$here/compare/compare.py" --engine "$here/bin/engine" \
    --out "$out" --device "$device" --seconds "$COMPARE_SECONDS" "${small[@]}"

if ((${#failed[@]})); then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
echo 'everything passed'
