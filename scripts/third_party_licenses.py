"""Prints the licenses of the crates that are compiled into albert-cli for a target.

    python3 scripts/third_party_licenses.py [TARGET]

Each crate with its version, its license expression, and the license files of its package; equal
texts are printed once. A crate without a license expression is an error.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

LICENSE = re.compile(r"(?i)^(licen[cs]e|copying|copyright|notice|unlicense)")


def linked_packages(target: str | None) -> list[dict]:
    """Returns the packages from which code is linked: no build scripts, macros or tests."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    if target:
        command += ["--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    # cargo metadata unites the features of the whole workspace: a few crates more than needed.
    waiting = [id for id, package in packages.items() if package["name"] == "albert-cli"]
    seen = set()
    while waiting:
        id = waiting.pop()
        is_macro = any("proc-macro" in t["kind"] for t in packages[id]["targets"])
        if id in seen or is_macro:
            continue
        seen.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    found = [packages[id] for id in seen if packages[id]["source"] is not None]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(package: dict) -> list[str]:
    """Returns the texts of a package's license files."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and LICENSE.match(path.name))
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]


def main() -> None:
    """Runs the script."""
    target = sys.argv[1] if len(sys.argv) > 1 else None
    users = collections.defaultdict(list)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    print("albert-cli contains code of these crates:\n")
    for package in linked_packages(target):
        name = f"{package['name']} {package['version']}"
        license = package["license"]
        if not license and not package["license_file"]:
            sys.exit(f"`{name}` states no license")
        print(f"{name}: {license or package['license_file']}")
        for text in texts(package):
            users[" ".join(text.split())].append((name, text))
    for same in users.values():
        names = list(dict.fromkeys(name for name, _ in same))
        print("\n" + "-" * 80 + f"\n{', '.join(names)}\n\n{same[0][1]}")


if __name__ == "__main__":
    main()
