"""Prints the Homebrew formula of a release from the archives' checksums.

    python3 scripts/homebrew_formula.py dist > albert-cli.rb
"""

import pathlib
import re
import sys
import tomllib

FORMULA = """\
class AlbertCli < Formula
  desc "ALBERT and BERT encoders from the shell: embeddings, search, masks, classifiers"
  homepage "{homepage}"
  version "{version}"
  license all_of: [{{ any_of: ["MIT", "Apache-2.0"] }}, "CC-BY-SA-4.0"]

{platforms}
  def install
    bin.install "albert-cli"
    man1.install Dir["man/man1/*.1"]
    bash_completion.install "completions/albert-cli.bash" => "albert-cli"
    zsh_completion.install "completions/_albert-cli"
    fish_completion.install "completions/albert-cli.fish"
    doc.install "README.md", "MODEL.md", "LICENSES-THIRD-PARTY.txt"
  end

  test do
    assert_match version.to_s, shell_output("#{{bin}}/albert-cli --version")
    assert_match "door", shell_output("#{{bin}}/albert-cli fill-mask 'She opened the [MASK] and walked in.'")
  end
end
"""

PLATFORMS = [
    ("macos", "arm", "aarch64-apple-darwin"),
    ("macos", "intel", "x86_64-apple-darwin"),
    ("linux", "arm", "aarch64-unknown-linux-gnu"),
    ("linux", "intel", "x86_64-unknown-linux-gnu"),
]


def checksum(folder: pathlib.Path, archive: str) -> str | None:
    """Returns an archive's SHA-256; `None` if the archive was not made."""
    file = folder / f"{archive}.sha256"
    if not file.exists():
        return None
    digest = file.read_text().split()[0]
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        sys.exit(f"`{file}`: expected a SHA-256, found `{digest}`")
    return digest


def main() -> None:
    """Runs the script."""
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    manifest = pathlib.Path(__file__).resolve().parent.parent / "Cargo.toml"
    package = tomllib.loads(manifest.read_text())["workspace"]["package"]
    version, repository = package["version"], package["repository"]
    blocks = []
    for system, processor, target in PLATFORMS:
        archive = f"albert-cli-{target}-v{version}.tgz"
        if digest := checksum(folder, archive):
            blocks.append(
                f"  on_{system} do\n    on_{processor} do\n"
                f'      url "{repository}/releases/download/v{version}/{archive}"\n'
                f'      sha256 "{digest}"\n    end\n  end\n'
            )
    if not blocks:
        sys.exit(f"`{folder}` has no checksum of an archive of version {version}")
    print(
        FORMULA.format(
            homepage=package["homepage"], version=version, platforms="\n".join(blocks)
        ),
        end="",
    )


if __name__ == "__main__":
    main()
