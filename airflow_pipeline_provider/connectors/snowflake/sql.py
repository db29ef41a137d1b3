# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` and quoted, paths are escaped)
"""Build the statements that only Snowflake has: COPY, PUT, stages and session parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow_pipeline_provider.connectors.sql_dialect import ObjectName, TargetDialect
from airflow_pipeline_provider.connectors.sql_tables import ENVELOPE_COLUMNS
from airflow_pipeline_provider.exceptions import ConfigError

FILES_A_COPY = 1_000  # the most that Snowflake takes in FILES = (...)
LOCK_TIMEOUT_SECONDS = 600  # its default is twelve hours

DIALECT = TargetDialect(
    name="snowflake",
    placeholder="%s",
    text="VARCHAR",
    instant="TIMESTAMP_TZ",  # an instant whatever the reader's session timezone is
    body="VARIANT",
    integer="NUMBER(38,0)",
    body_json="TO_JSON({})",
    keep_grants=" COPY GRANTS",
    folds_to_upper=True,
    ddl_commits=True,
)

_COLUMNS = ", ".join(f'"{name}"' for name in ENVELOPE_COLUMNS)
MAX_BODY_BYTES = 128 * 2**20  # of a VARIANT since Snowflake's release 9.17
OLD_MAX_BODY_BYTES = 16 * 2**20  # before it, and of a VARCHAR whose length is not written
MAX_DEPTH = 950  # of BODY; Snowflake documents no limit, common JSON parsers end at about 1,000 levels


class CopyOptions(NamedTuple):
    """Options of the pipeline file for the COPY of the parts."""

    max_document_size: int = MAX_BODY_BYTES
    vectorized_scanner: bool = True


# one storage under several names
_SCHEMES = {
    "s3a": "s3",
    "s3n": "s3",
    "s3gov": "s3",
    "s3china": "s3",
    "s3compat": "s3",
    "gcs": "gs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}


def literal(text: str) -> str:
    """Return a string constant; backslashes are escapes in Snowflake."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def set_session(tag: dict[str, str], statement_seconds: int) -> str:
    """Return the statement that sets the session's time zone, time limits and query tag."""
    return (
        f"ALTER SESSION SET TIMEZONE = 'UTC' LOCK_TIMEOUT = {min(LOCK_TIMEOUT_SECONDS, statement_seconds)} "
        f"STATEMENT_TIMEOUT_IN_SECONDS = {statement_seconds} "
        f"QUERY_TAG = {literal(json.dumps(tag, ensure_ascii=False)[:2000])}"
    )


def create_staged(name: ObjectName) -> str:
    """Return the statement that creates a table of this session, which drops it when it ends, even by a crash."""
    types = (DIALECT.text, DIALECT.instant, DIALECT.text, DIALECT.body)
    columns = ", ".join(f'"{c}" {t} NOT NULL' for c, t in zip(ENVELOPE_COLUMNS, types, strict=True))
    return f"CREATE TEMPORARY TABLE {name} ({columns})"


def copy_files(
    into: ObjectName, stage: ObjectName, files: Sequence[str], options: CopyOptions
) -> Iterator[str]:
    """Yield COPY statements that load exactly these files of an external stage (paths below its URL)."""
    for start in range(0, len(files), FILES_A_COPY):
        listed = ", ".join(literal(file) for file in files[start : start + FILES_A_COPY])
        yield _copy(into, stage, f"FILES = ({listed}) ", options)


def copy_all(into: ObjectName, stage: ObjectName, options: CopyOptions) -> str:
    """Return the COPY that loads everything in a temporary internal stage."""
    return _copy(into, stage, "", options)


def _copy(into: ObjectName, stage: ObjectName, files: str, options: CopyOptions) -> str:
    length = f"({MAX_BODY_BYTES})" if options.max_document_size > OLD_MAX_BODY_BYTES else ""
    scanner = " USE_VECTORIZED_SCANNER = TRUE" if options.vectorized_scanner else ""
    # Parquet's timestamps are instants only with USE_LOGICAL_TYPE, and the session's timezone is UTC. The vectorized
    # scanner always uses logical types, and requires an ON_ERROR that is ABORT_STATEMENT or SKIP_FILE.
    return (
        f"COPY INTO {into} ({_COLUMNS}) FROM (SELECT $1:RECORD_ID::VARCHAR, $1:EVENT_TIME::TIMESTAMP_TZ, "
        f"$1:SOURCE_NAME::VARCHAR, PARSE_JSON($1:BODY::VARCHAR{length}) FROM @{stage}) {files}"
        f"FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE{scanner}) "
        "ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
    )


def put_file(path: str, stage: ObjectName) -> str:
    """Return the statement that uploads one local file unchanged."""
    url = "'file://" + path.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"PUT {url} @{stage} AUTO_COMPRESS = FALSE OVERWRITE = FALSE"


def show(kind: str, name: ObjectName) -> str:
    """Return the statement that lists objects of a kind ("TABLES") like this one.

    LIKE accepts any character for `_`: compare the names.
    """
    inside = f" IN SCHEMA {name.schema}" if name.schema else ""
    return f"SHOW {kind} LIKE {literal(name.last)}{inside}"


def show_below(kind: str, name: ObjectName) -> str:
    """Return the statement that lists objects of a kind whose names begin with this one and `_`."""
    inside = f" IN SCHEMA {name.schema}" if name.schema else ""
    return f"SHOW {kind} LIKE {literal(f'{name.last}%')}{inside}"


def show_in_schema(kind: str, schema: ObjectName) -> str:
    """Return the statement that lists all objects of a kind in a schema."""
    return f"SHOW {kind} IN SCHEMA {schema}"


def list_file(stage: ObjectName, path: str) -> str:
    """Return the statement that lists a file of a stage, and files whose names begin with its path."""
    return f"LIST {literal(f'@{stage}/{path}')}"


def path_in_stage(stage: ObjectName, stage_url: str, base: str) -> str:
    """Return the path of the stage's base below the external stage's URL: "" or "flights/".

    Raises:
        ConfigError: The base is not below the URL.
    """
    theirs, ours = _normal(stage_url), _normal(base)
    if ours == theirs:
        return ""
    if not ours.startswith(f"{theirs}/"):
        raise ConfigError(
            f"target.external_stage: {'.'.join(stage.parts)} reads {stage_url}, and stage.path {base} is not below "
            "it: move stage.path, name another external stage, or leave external_stage out to upload with PUT"
        )
    return ours[len(theirs) + 1 :] + "/"


def _normal(url: str) -> str:
    """Return `scheme://bucket/folder` for comparison: azure://account.host/container/x is abfs://container/x."""
    scheme, _, rest = url.partition("://")
    scheme = _SCHEMES.get(scheme, scheme)
    if scheme == "azure" and ".core.windows.net" in rest.partition("/")[0]:
        rest = rest.partition("/")[2]
    return f"{scheme}://{rest.strip('/')}"
