"""Turns links of docs/ that leave the folder into links to the repository, for mdBook.

mdBook runs it as a preprocessor (book.toml): a context and the book as JSON on standard input, the
book on standard output. On GitHub the pages need no change.
"""

import json
import posixpath
import re
import sys

# The target of a Markdown link, up to a title or the parenthesis.
TARGET = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s#]+)")


def outside(page: str, target: str, repository: str) -> str:
    """Returns the address on GitHub of a link that leaves docs/, other links unchanged."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return target if path.startswith("docs/") else f"{repository}/blob/main/{path}"


def rewrite(item: object, repository: str) -> None:
    """Rewrites the links of a chapter and of those below it."""
    if not isinstance(item, dict) or "Chapter" not in item:
        return
    chapter = item["Chapter"]
    page = chapter.get("path") or ""
    chapter["content"] = TARGET.sub(
        lambda link: link[1] + outside(page, link[2], repository), chapter["content"]
    )
    for below in chapter["sub_items"]:
        rewrite(below, repository)


def main() -> None:
    """Runs as mdBook's preprocessor."""
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    repository = context["config"]["output"]["html"]["git-repository-url"]
    # `sections` before mdBook 0.5, `items` since.
    for item in book.get("items") or book.get("sections") or []:
        rewrite(item, repository)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
