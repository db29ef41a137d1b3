"""MkDocs hooks: add the generated pages, and point links to files outside of `docs/` at something that exists."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs import reference  # noqa: E402  (needs the repository on the path)

# Files of the repository that are pages of the site.
COPIES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/results.md": "benchmark-results.md",
}
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are generated from the code and those that are copies of repository files."""
    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    for origin, path in COPIES.items():
        text = (ROOT / origin).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=rewrite_links(text, origin, path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page of `docs/` that lead out of it."""
    if page.file.src_uri in COPIES.values():
        return markdown
    return rewrite_links(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def rewrite_links(text: str, origin: str, page: str) -> str:
    """Replace each relative link of the repository file `origin`, which becomes the page `page` of the site.

    A link to a page of the site leads to that page. A link to another file of the repository becomes its path, as
    code. Any other link stays as it is, so that the strict build reports it.
    """
    folder = posixpath.dirname(origin)

    def replace(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        site = COPIES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if site is not None:
            relative = posixpath.relpath(site, posixpath.dirname(page) or ".")
            return f"[{match['text']}]({relative}{'#' + anchor if anchor else ''})"
        if os.path.lexists(ROOT / path):
            text = match["text"].strip("`")
            return f"`{path}`" if text in path else f"{match['text']} (`{path}`)"
        return match[0]

    pieces = _FENCE.split(text)
    pieces[::2] = [_LINK.sub(replace, piece) for piece in pieces[::2]]
    return "".join(pieces)
