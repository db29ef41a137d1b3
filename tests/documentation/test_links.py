"""Links of the pages lead to a page of the site, and in the repository to a file that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import hooks, reference

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / name for name in hooks.COPIES if (ROOT / name).exists()]
PAGES = [*SOURCES, *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize(
    ("text", "origin", "page", "expected"),
    [
        pytest.param("[a](docs/state.md#clocks)", "README.md", "index.md", "[a](state.md#clocks)", id="page"),
        pytest.param(
            "[a](../state.md)", "docs/how-to/red.md", "how-to/red.md", "[a](../state.md)", id="beside"
        ),
        pytest.param("[a](../README.md)", "docs/state.md", "state.md", "[a](index.md)", id="copy"),
        pytest.param("[LICENSE](LICENSE)", "README.md", "index.md", "`LICENSE`", id="its name"),
        pytest.param("[terms](../LICENSE)", "docs/state.md", "state.md", "terms (`LICENSE`)", id="file"),
        pytest.param("[a](no/such)", "README.md", "index.md", "[a](no/such)", id="broken"),
        pytest.param("[a](#b)", "README.md", "index.md", "[a](#b)", id="anchor"),
        pytest.param(
            "[a](https://b.example/c)", "README.md", "index.md", "[a](https://b.example/c)", id="host"
        ),
        pytest.param("```\n[a](LICENSE)\n```", "README.md", "index.md", "```\n[a](LICENSE)\n```", id="code"),
    ],
)
def test_links_are_rewritten_for_the_site(text: str, origin: str, page: str, expected: str) -> None:
    assert hooks.rewrite_links(text, origin, page) == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_linked_file_exists(page: Path) -> None:
    """Also for a reader of the repository; pages of the reference exist in the site alone."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in LINK.findall(text):
        path = target.partition("#")[0]
        if not path or "://" in path or path.startswith("mailto:"):
            continue
        file = (page.parent / path).resolve()
        generated = file.is_relative_to(ROOT / "docs") and str(file.relative_to(ROOT / "docs")) in {
            *reference.pages(),
            *hooks.COPIES.values(),
        }
        assert file.exists() or generated, f"{page.name}: {target}"
