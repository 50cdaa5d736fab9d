#!/usr/bin/env bash
# Makes the release archive of one platform: the program, completions, manual pages and licenses.
#
#     scripts/package.sh                                       # this machine's platform
#     scripts/package.sh x86_64-unknown-linux-gnu              # with `cargo zigbuild`: runs with glibc 2.17
#
# Writes dist/albert-cli-TARGET-vVERSION.tgz, the name that cargo-binstall expects, and its checksum.
# BINARY=FILE packs a program that is already built. Needs Python 3.11 or later.
set -euo pipefail
cd "$(dirname "$0")/.."

# The oldest glibc that Rust's standard library supports (CentOS 7, 2014).
glibc=2.17

target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
name=albert-cli-$target-v$version
binary=albert-cli
case $target in
    *-windows-*) binary=albert-cli.exe ;;
esac

if [ -z "${BINARY:-}" ]; then
    case $target in
        *-linux-gnu) cargo zigbuild --profile dist --locked --package albert-cli --target "$target.$glibc" ;;
        *) cargo build --profile dist --locked --package albert-cli --target "$target" ;;
    esac
    BINARY=target/$target/dist/$binary
fi

# No function of a newer glibc.
case $target in
    *-linux-gnu)
        newest=$(objdump -T "$BINARY" | grep -o 'GLIBC_2\.[0-9.]*' | sort -uV | tail -1)
        if [ "$(printf '%s\n' "GLIBC_$glibc" "$newest" | sort -V | tail -1)" != "GLIBC_$glibc" ]; then
            echo "$BINARY needs $newest: expected GLIBC_$glibc at most" >&2
            exit 1
        fi
        ;;
esac

rm -rf "dist/$name"
mkdir -p "dist/$name/completions"
cp "$BINARY" "dist/$name/$binary"
cp README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "dist/$name"
cp models/albert-mini-en/README.md "dist/$name/MODEL.md"
python3 scripts/third_party_licenses.py "$target" > "dist/$name/LICENSES-THIRD-PARTY.txt"

# RUN=PROGRAM makes completions and pages if the one that is packed does not run here.
run=${RUN:-dist/$name/$binary}
"$run" completions bash > "dist/$name/completions/albert-cli.bash"
"$run" completions zsh > "dist/$name/completions/_albert-cli"
"$run" completions fish > "dist/$name/completions/albert-cli.fish"
"$run" completions powershell > "dist/$name/completions/_albert-cli.ps1"
"$run" man --quiet --out "dist/$name/man/man1"

# The same bytes from the same files: in order, without the builder's name and the time of day.
python3 - "$name" <<'EOF'
import gzip, os, pathlib, subprocess, sys, tarfile

name = sys.argv[1]
commit = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True)
time = int(os.environ.get("SOURCE_DATE_EPOCH") or commit.stdout.strip() or 0)

def plain(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = time
    is_program = entry.isdir() or entry.name.endswith(("/albert-cli", "/albert-cli.exe"))
    entry.mode = 0o755 if is_program else 0o644
    return entry

with (
    open(f"dist/{name}.tgz", "wb") as file,
    gzip.GzipFile("", "wb", 9, file, mtime=time) as compressed,
    tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
):
    for path in sorted(pathlib.Path("dist", name).rglob("*")):
        archive.add(path, path.relative_to("dist"), recursive=False, filter=plain)
EOF
rm -r "dist/$name"
cd dist
if command -v sha256sum > /dev/null; then
    sha256sum "$name.tgz" > "$name.tgz.sha256"
else
    shasum -a 256 "$name.tgz" > "$name.tgz.sha256"
fi
cat "$name.tgz.sha256"
