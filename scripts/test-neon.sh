#!/usr/bin/env bash
# Runs the tests of the kernels, or of the crates that are named, on NEON in an emulator: on an x86-64 machine with qemu-aarch64
# and aarch64-linux-gnu-gcc (Debian's qemu-user and gcc-aarch64-linux-gnu), and a toolchain with the standard
# library of aarch64-unknown-linux-gnu (`rustup target add`, or RUSTC naming another compiler that has it).
# Two tests of albert-model start themselves again, which needs qemu-user-binfmt.
#
#   scripts/test-neon.sh [CRATE...]      # without their doc tests
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
${RUSTC:-rustc} --version
qemu-aarch64 --version | head -1
crates=()
for crate in "${@:-albert-kernels}"; do
    crates+=(--package "$crate")
done
cargo test --release --locked --no-fail-fast "${crates[@]}" --lib --tests --target "$target" --target-dir target/neon
