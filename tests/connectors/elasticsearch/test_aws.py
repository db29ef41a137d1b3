"""Source elasticsearch against OpenSearch on AWS: a server that checks each signature with botocore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.elasticsearch import credentials
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.testing.source_kit import WINDOW, read_all, rows_of
from tests.connectors.elasticsearch.answers import DOCUMENTS, Fault, Replay
from tests.connectors.elasticsearch.places import CONN_ID, make

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session-token+/="
AWS = "aws_under_test"


def aws(**more: Any) -> str:
    extra = {"region_name": "eu-central-1", **more.pop("extra", {})}
    return json.dumps({"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra, **more})


@pytest.fixture(autouse=True)
def connected(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps({"conn_type": "elasticsearch", "host": replay.url})
    )
    monkeypatch.setenv(f"AIRFLOW_CONN_{AWS.upper()}", aws())
    version = {"number": "2.11.0", "distribution": "opensearch"}
    replay.answers["GET /"] = 200, {"version": version}
    replay.answers["POST /i/_search/point_in_time"] = 200, {"pit_id": "os"}


@pytest.fixture(params=["es", "aoss"])
def source(request: pytest.FixtureRequest) -> Iterator[ElasticsearchSource]:
    source = make("i", page_size=20, aws_conn_id=AWS, aws_service=request.param, compress=True)
    yield source
    source.close()


def check_signature(
    replay: Replay, number: int, service: str, *, region: str = "eu-central-1", token: str | None = None
) -> None:
    """Compute the signature of a request as it was received, and compare."""
    method, target, raw, headers = replay.received[number]
    signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"host", "x-amz-date"} <= set(signed)
    kept = {
        name: headers[name] for name in signed if name not in ("host", "x-amz-date", "x-amz-security-token")
    }
    request = AWSRequest(method, f"http://{headers['host']}{target}", headers=kept, data=raw)
    auth = SigV4Auth(Credentials(KEY, SECRET, token), service, region)
    request.context["timestamp"] = headers["x-amz-date"]
    auth._modify_request_before_signing(request)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    scope = f"{headers['x-amz-date'][:8]}/{region}/{service}/aws4_request"
    assert f"Credential={KEY}/{scope}" in headers["authorization"]
    assert headers["authorization"].endswith(f"Signature={signature}")
    datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007


def test_every_request_is_signed_as_it_is_sent(replay: Replay, source: ElasticsearchSource) -> None:
    source.check()
    assert len(rows_of(read_all(source, WINDOW, 2))) >= DOCUMENTS
    service = source.options.aws_service
    assert {method for method, *_ in replay.received} == {"GET", "POST", "DELETE"}
    for number in range(len(replay.received)):
        check_signature(replay, number, service)
    hashes = [headers.get("x-amz-content-sha256") for *_, headers in replay.received]
    assert all(hashes) if service == "aoss" else not any(hashes)


def test_a_path_and_a_query_that_need_quoting_are_signed_as_they_are_sent(replay: Replay) -> None:
    for answer in ("field_caps", "search"):
        replay.answers[f"{'GET' if answer == 'field_caps' else 'POST'} /a~%C3%BC,b*/_{answer}"] = (
            replay.answer("GET" if answer == "field_caps" else "POST", f"/i/_{answer}", {"size": 0})
        )
    source = make(["a~ü", "b*"], aws_conn_id=AWS, time_field="ts")
    source.count(WINDOW)
    assert "%C3%BC,b*" in replay.received[0][1]
    for number in range(len(replay.received)):
        check_signature(replay, number, "es")
    source.close()


def test_a_session_token_is_sent_and_signed(
    replay: Replay, source: ElasticsearchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{AWS.upper()}", aws(extra={"aws_session_token": TOKEN}))
    source.count(WINDOW)
    assert replay.received[0][3]["x-amz-security-token"] == TOKEN
    check_signature(replay, 0, source.options.aws_service, token=TOKEN)


EXPIRED: Fault = (403, {"message": "The security token included in the request is expired"})


def test_an_expired_token_is_read_again_from_the_connection(
    replay: Replay, source: ElasticsearchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{AWS.upper()}", aws(extra={"aws_session_token": "old-token"}))
    source.count(WINDOW)
    replay.answers["POST /i/_search"] = EXPIRED
    with pytest.raises(TransientError, match="is expired"):
        source.count(WINDOW)
    monkeypatch.setenv(f"AIRFLOW_CONN_{AWS.upper()}", aws(extra={"aws_session_token": TOKEN}))
    del replay.answers["POST /i/_search"]
    assert source.count(WINDOW) == DOCUMENTS
    assert replay.received[-1][3]["x-amz-security-token"] == TOKEN


def test_a_signature_that_is_refused_is_a_clear_error(replay: Replay, source: ElasticsearchSource) -> None:
    reason = "The request signature we calculated does not match the signature you provided."
    replay.answers["GET /i/_field_caps"] = 403, {"message": reason}
    with pytest.raises(FatalError, match="signature we calculated") as caught:
        source.check()
    assert SECRET not in str(caught.value)


def test_opensearch_serverless_reports_no_version(replay: Replay) -> None:
    replay.answers["GET /"] = 404, b""
    source = make("i", page_size=20, aws_conn_id=AWS, aws_service="aoss")
    assert len(rows_of(read_all(source, WINDOW))) == DOCUMENTS
    source.close()


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (json.dumps({"conn_type": "http", "host": "x"}), "type 'http': expected aws"),
        (
            json.dumps({"conn_type": "aws", "login": KEY, "password": SECRET}),
            "no region.*set the extra region_name",
        ),
    ],
    ids=["another type", "no region"],
)
def test_aws_connections_that_cannot_sign(
    replay: Replay, source: ElasticsearchSource, monkeypatch: pytest.MonkeyPatch, connection: str, words: str
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"AIRFLOW_CONN_{AWS.upper()}", connection)
    with pytest.raises(FatalError, match=words):
        source.count(WINDOW)
    assert replay.received == []


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("search-x-abc.us-east-1.es.amazonaws.com", "us-east-1"),
        ("abc.ap-northeast-1.aoss.amazonaws.com", "ap-northeast-1"),
        ("vpc-x.us-gov-west-1.es.amazonaws.com", "us-gov-west-1"),
        ("es.example.com", None),
    ],
)
def test_the_region_of_a_host(host: str, region: str | None) -> None:
    found = credentials._REGION.search(host)
    assert (found and found[1]) == region


def test_a_login_and_a_signature_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", "elasticsearch://me:secret-word@127.0.0.1:9")
    with pytest.raises(FatalError, match=r"a login or api_key, and `source\.aws_conn_id` is set"):
        make("i", aws_conn_id=AWS).count(WINDOW)


def test_the_service_is_es_or_aoss() -> None:
    with pytest.raises(ValidationError, match="aws_service"):
        make("i", aws_conn_id=AWS, aws_service="s3")
