"""A notice as text and as HTML."""

from __future__ import annotations

from airflow_pipeline_provider.core.notices import Notice

NOTICE = Notice(
    kind="failure",
    pipeline="flights",
    title="flights failed",
    reason="1 < 2 rows\nin <load>",
    command="airflow-pipelines history flights",
    link="https://airflow.example.com/?a=1&b=2",
)


def test_text_has_each_part_on_lines_of_its_own() -> None:
    assert NOTICE.text.splitlines() == [
        "flights failed",
        "1 < 2 rows",
        "in <load>",
        "Command: airflow-pipelines history flights",
        "Page: https://airflow.example.com/?a=1&b=2",
    ]


def test_html_is_escaped_and_links_the_page() -> None:
    assert NOTICE.html.splitlines() == [
        "<p><b>flights failed</b></p>",
        "<p>1 &lt; 2 rows<br>in &lt;load&gt;</p>",
        "<p>Command: <code>airflow-pipelines history flights</code></p>",
        '<p>Page: <a href="https://airflow.example.com/?a=1&amp;b=2">'
        "https://airflow.example.com/?a=1&amp;b=2</a></p>",
    ]
