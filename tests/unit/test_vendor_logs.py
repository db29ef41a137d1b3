"""Routine messages of vendor libraries stay out of task logs."""

from __future__ import annotations

import logging

import pytest

from airflow_pipeline_provider.observability.vendor_logs import VENDORS, vendor_warnings_only


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("root", "own", "expected"),
    [
        pytest.param(logging.INFO, logging.NOTSET, ["a warning"], id="warnings only"),
        pytest.param(logging.DEBUG, logging.NOTSET, ["routine", "a warning"], id="debug logging shows all"),
        pytest.param(
            logging.INFO, logging.INFO, ["routine", "a warning"], id="the library's own level is kept"
        ),
    ],
)
def test_a_vendor_library_logs_warnings_only(
    caplog: pytest.LogCaptureFixture, vendor: str, root: int, own: int, expected: list[str]
) -> None:
    caplog.set_level(root)
    library = logging.getLogger(vendor)
    before = library.level
    library.setLevel(own)
    try:
        with vendor_warnings_only():
            child = logging.getLogger(f"{vendor}.connection")
            child.info("routine")
            child.warning("a warning")
        assert library.level == own
    finally:
        library.setLevel(before)
    assert [record.message for record in caplog.records] == expected
