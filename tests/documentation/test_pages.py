"""Every command block of README, tutorial and how-to pages runs, and prints what the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from osmem_server import OsmemServer

from airflow_pipeline_provider.cli.main import main
from tests.documentation.blocks import Shell, blocks_of, lines_of, matches, run_page
from tests.documentation.setups import SETUPS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "tutorial.md",
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
NOT_RUN = {
    "kubernetes.md": 1,
    "README.md": 3,
    "tutorial.md": 2,
    "backfill.md": 1,
    "certify.md": 2,
    "expectations.md": 1,
    "personal-data.md": 2,
    "monitoring.md": 1,
}


@pytest.fixture
def search_server() -> Iterator[str]:
    """Start a server that speaks Elasticsearch's protocol, the one of `make demo`."""
    server = OsmemServer.start(japanese=False)
    yield server.url
    server.close()
    assert server.process.stdout is not None
    server.process.stdout.close()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("AIRFLOW__CORE__DAGS_FOLDER", raising=False)
    return Shell(tmp_path, in_process, monkeypatch)


def in_process(arguments: Sequence[str]) -> tuple[int, str]:
    """Run `airflow-pipelines` in this process, where everything is imported already."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main(arguments)
        except SystemExit as error:  # argparse ends the process itself
            code = int(error.code or 0)
    return code, output.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_prints_what_the_page_shows(
    page: Path, shell: Shell, request: pytest.FixtureRequest
) -> None:
    text = page.read_text(encoding="utf-8")
    if "ELASTICSEARCH_URL" in text:
        shell.environment.setenv("ELASTICSEARCH_URL", request.getfixturevalue("search_server"))
    ran = run_page(text, shell, lambda name: SETUPS[name](shell))
    blocks = [block for block in blocks_of(text) if block.language == "sh"]
    assert ran + sum(block.not_run is not None for block in blocks) == len(blocks)


def test_blocks_that_are_not_run_are_counted() -> None:
    counted = {page.name: sum(b.not_run is not None for b in blocks_of(page.read_text())) for page in PAGES}
    assert {name: number for name, number in counted.items() if number} == NOT_RUN


def test_command_blocks_are_marked_as_sh() -> None:
    """A block in another language is not run, so it must not hold commands."""
    for page in PAGES:
        for block in blocks_of(page.read_text()):
            if block.language != "sh":
                assert not re.search(r"^\$? ?airflow[- ]pipelines \w", block.body, re.M), (
                    f"{page.name}: {block.body}"
                )


def test_python_examples_are_valid() -> None:
    for page in PAGES:
        for block in blocks_of(page.read_text()):
            if block.language == "python":
                compile(block.body, page.name, "exec")


# --- the runner itself


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("a b\n", "a   b\n", True),
        ("a … c\n", "a anything c\n", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n", "a\nb\n", False),
        ("a\nb\n", "a\n", False),
        ("3 rows\n", "4 rows\n", False),
    ],
)
def test_outputs_are_compared(expected: str, actual: str, same: bool) -> None:
    assert matches(expected, actual) is same


def test_a_command_goes_on_after_a_backslash_and_an_open_quote() -> None:
    assert list(lines_of("a \\\n  b\n# c\nd 'e\nf'\n")) == ["a    b", "d 'e\nf'"]


PAGE = """
<!-- exit: 3 -->
```sh
exit 3
```

```sh
echo one
```

```text
{output}
```
"""


def test_a_page_is_run(shell: Shell) -> None:
    assert run_page(PAGE.format(output="one"), shell, lambda name: None) == 2


@pytest.mark.parametrize("text", [PAGE.format(output="two"), PAGE.replace("exit 3", "exit 4")])
def test_a_page_that_is_wrong_is_noticed(text: str, shell: Shell) -> None:
    with pytest.raises(AssertionError):
        run_page(text, shell, lambda name: None)
