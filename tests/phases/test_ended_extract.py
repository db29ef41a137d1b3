"""A task that Airflow ends while its readers wait for a server."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta
from typing import NoReturn

import pytest

from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.testing.faults import hooked

from .conftest import Pipeline


def test_the_lease_does_not_wait_for_the_readers_of_a_slice(pipeline: Pipeline) -> None:
    """Airflow kills the process 5 seconds after the first signal, which may be before the readers end."""
    pipeline.seed("2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=7))
    runtime = pipeline.runtime(source={"slices": 3})
    claim = generate(runtime, pipeline.request()).claim
    assert claim is not None
    validated = validate(runtime, claim)
    assert [slice_.readers for slice_ in validated.slices] == [3]
    state, all_reading, released = pipeline.runtime().state, threading.Barrier(3), []

    def wait_for_a_server(point: str) -> None:
        if point != "extract.part_begun":
            return
        if all_reading.wait(20) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 20
        while state.leases() and time.monotonic() < deadline:
            time.sleep(0.01)
        released.append(not state.leases())

    def end(*_: object) -> NoReturn:
        raise SystemExit

    before = signal.signal(signal.SIGTERM, end)
    try:
        with hooked(wait_for_a_server), pytest.raises(SystemExit):
            extract(runtime, claim, validated.attempt or "", validated.slices[0])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(released) == 3
    assert all(released), "a reader still waited when the lease was released"
    assert state.leases() == []
