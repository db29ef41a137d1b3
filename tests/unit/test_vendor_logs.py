"""Routine messages of vendor libraries stay out of task logs."""

from __future__ import annotations

import logging

import pytest
import structlog
from structlog.testing import capture_logs

from airflow_pipeline_provider.observability.vendor_logs import HOOKS, VENDORS, vendor_warnings_only


@pytest.mark.parametrize("vendor", sorted({*VENDORS} - {*HOOKS}))
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


def by_structlog(name: str) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        logging.getLogger(name), wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
    )
    return logger


@pytest.mark.parametrize("vendor", HOOKS)
@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param(logging.NOTSET, ["a warning"], id="warnings only"),
        pytest.param(logging.INFO, ["routine", "a warning"], id="the library's own level is kept"),
    ],
)
def test_a_hook_that_logs_by_structlog_logs_warnings_only(vendor: str, own: int, expected: list[str]) -> None:
    library = logging.getLogger(vendor)
    library.setLevel(own)
    try:
        with capture_logs() as captured:
            log = by_structlog(f"{vendor}.amazon.AwsHook")
            with vendor_warnings_only():
                log.info("routine")
                log.warning("a warning")
                by_structlog("mycompany.hooks.Hook").info("of another hook")
            log.info("after the block")
    finally:
        library.setLevel(logging.NOTSET)
    assert [event["event"] for event in captured] == [*expected, "of another hook", "after the block"]
