"""External stages on a real S3 endpoint: CREATE STAGE, LIST and COPY INTO, where fakesnow falls short."""

from __future__ import annotations

import re
import threading
from typing import Any, NamedTuple

import boto3
import botocore.exceptions
import fakesnow.copy_into as copy_into
import fakesnow.cursor as cursor
import fakesnow.transforms as transforms
import s3fs
import snowflake.connector.errors as errors
import sqlglot
from fakesnow.transforms import stage
from sqlglot import exp


class S3(NamedTuple):
    """The S3 endpoint that external stages read from."""

    endpoint: str
    key: str
    secret: str
    region: str

    def filesystem(self) -> s3fs.S3FileSystem:
        return s3fs.S3FileSystem(
            key=self.key,
            secret=self.secret,
            endpoint_url=self.endpoint,
            client_kwargs={"region_name": self.region},
            use_listings_cache=False,
        )

    def check(self, url: str, key: str, secret: str) -> None:
        """Raise Snowflake's error when these credentials may not list the stage's location."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )
        try:
            client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except botocore.exceptions.ClientError as e:
            status, code = e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Code"]
            message = f"Failure using stage area. Cause: [{code} (Status Code: {status}; Error Code: {code})]"
            raise errors.ProgrammingError(msg=message, errno=91003, sqlstate="22000") from None


class Stage(NamedTuple):
    """What CREATE STAGE says beyond its URL (fakesnow keeps only that)."""

    credentials: tuple[str, str] | None
    file_format: list[exp.Expr] | None


def _aws_keys(properties: list[Any]) -> tuple[str, str] | None:
    found = {p.name.upper(): p.args["value"].name for p in properties if isinstance(p, exp.Property)}
    return (found["AWS_KEY_ID"], found.get("AWS_SECRET_KEY", "")) if "AWS_KEY_ID" in found else None


def install(s3: S3) -> None:
    """Replace the functions; call once, before the first connection."""
    stages: dict[str, Stage] = {}
    _readers()
    _describe_temporary_tables()
    _external_stages(s3, stages)
    _copy(s3, stages)


def _readers() -> None:
    """A path such as dt=2025-01-01/ is only a path: no columns out of it."""
    for reader in (copy_into.ReadParquet, copy_into.ReadCSV):

        def read_expression(self: Any, url: str, stock: Any = reader.read_expression) -> exp.Expr:
            call = stock(self, url)
            call.append("expressions", self.make_eq("hive_partitioning", False))
            return call

        reader.read_expression = read_expression


def _describe_temporary_tables() -> None:
    """COPY INTO a temporary table."""
    stock = copy_into._describe_table

    def _describe_table(table: exp.Table, conn: Any, database: Any, schema: Any) -> list[tuple[str, str]]:
        temporary = "SELECT 1 FROM duckdb_tables() WHERE temporary AND table_name = ?"
        if conn.execute(temporary, [table.name]).fetchone():
            return [(r[0], r[1]) for r in conn.execute(f'DESCRIBE temp."{table.name}"').fetchall()]
        return stock(table, conn, database, schema)

    copy_into._describe_table = _describe_table


def _external_stages(s3: S3, stages: dict[str, Stage]) -> None:
    """CREATE STAGE keeps credentials and file format; LIST works on an s3:// stage."""
    stock_create, stock_list = transforms.create_stage, transforms.list_stage

    def create_stage(expression: exp.Expr, database: str | None, schema: str | None) -> exp.Expr:
        result = stock_create(expression, database, schema)
        if result is not expression:
            table = expression.find(exp.Table)
            parts = expression.args.get("properties") or []
            keys = next(
                (_aws_keys(p.expressions) for p in parts if isinstance(p, exp.CredentialsProperty)), None
            )
            formats = next((p.expressions for p in parts if isinstance(p, exp.FileFormatProperty)), None)
            stages[f"{table.catalog or database}.{table.db or schema}.{table.name}"] = Stage(keys, formats)
        return result

    def list_stage(expression: exp.Expr, database: Any, schema: Any, table_stages: Any) -> exp.Expr:
        if not isinstance(expression, exp.ListStage) or expression.args.get("pattern") is not None:
            return stock_list(expression, database, schema, table_stages)
        name = expression.this.name.strip("'").removeprefix("@")
        url = copy_into.stage_url_from_var(
            name, table_stages._duck_conn, database, schema, table_stages, exp.Table()
        )
        if not url.startswith("s3://"):
            return stock_list(expression, database, schema, table_stages)
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        client = boto3.client(
            "s3",
            s3.region,
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.key,
            aws_secret_access_key=s3.secret,
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        rows = [
            (
                f"s3://{bucket}/{o['Key']}",
                o["Size"],
                o["ETag"].strip('"'),
                f"{o['LastModified']:%a, %d %b %Y %H:%M:%S GMT}",
            )
            for page in pages
            for o in page.get("Contents", [])
        ]
        columns = ("name", "size", "md5", "last_modified")
        values = exp.values(rows or [("", 0, "", "")], alias="t", columns=columns)
        return exp.select(*columns).from_(values).where("TRUE" if rows else "FALSE")

    transforms.create_stage, transforms.list_stage = create_stage, list_stage


def _copy(s3: S3, stages: dict[str, Stage]) -> None:
    """COPY INTO: stage and inline credentials are checked, PATTERN, METADATA$FILENAME, FORCE = FALSE."""
    stock_copy, stock_glob = copy_into.copy_into, copy_into._source_glob
    running = threading.local()

    def _source_glob(source: str, conn: Any) -> list[str]:
        urls = stock_glob(source, conn)
        pattern = getattr(running, "pattern", None)
        return [u for u in urls if re.fullmatch(pattern, u.removeprefix(source))] if pattern else urls

    def copy(
        conn: Any, database: Any, schema: Any, expr: exp.Copy, table_stages: Any, params: Any = None
    ) -> str:
        options = {p.this.name.upper(): p for p in expr.args.get("params", [])}
        for literal in expr.args["files"][0].find_all(exp.Literal):
            if isinstance(literal.parent, exp.Table) and literal.name.startswith(
                "@"
            ):  # FROM '@stage' is FROM @stage
                literal.replace(exp.var(literal.name))
        source = copy_into._from_source(expr)
        keys, url = (
            _aws_keys((expr.args.get("credentials") or exp.Credentials()).args.get("credentials") or []),
            source,
        )
        if source.startswith("@"):
            name = ".".join(stage.parts_from_var(source[1:].partition("/")[0], database, schema))
            known = stages.get(name, Stage(None, None))
            keys = keys or known.credentials
            url = copy_into.stage_url_from_var(
                source[1:], conn, database, schema, table_stages, copy_into._extract_table(expr.this)
            )
            if known.file_format and "FILE_FORMAT" not in options:
                expr.append(
                    "params", exp.CopyParameter(this=exp.var("FILE_FORMAT"), expressions=known.file_format)
                )
        if keys and url.startswith("s3://"):
            s3.check(url, *keys)

        running.pattern = options["PATTERN"].expression.name if "PATTERN" in options else None
        off = {k for k in ("FORCE", "PURGE") if k in options and options[k].expression == exp.false()}
        if off or running.pattern:
            drop = off | {"PATTERN"}
            expr.set("params", [p for p in expr.args["params"] if p.this.name.upper() not in drop])
        format_ = options.get("FILE_FORMAT") or next(
            (p for p in expr.args["params"] if p.name.upper() == "FILE_FORMAT"), None
        )
        if format_ and "JSON" in format_.sql().upper():
            for parameter in list(
                expr.args["files"][0].find_all(exp.Parameter)
            ):  # $1 is the whole JSON value
                parameter.replace(exp.column("json"))
        metadata = {
            "METADATA$FILENAME": "regexp_replace(filename, '^s3://[^/]+/', '')",
            "METADATA$FILE_ROW_NUMBER": "file_row_number + 1",
        }
        for column in list(expr.find_all(exp.Column)):
            if column.name.upper() in metadata:
                column.replace(sqlglot.parse_one(metadata[column.name.upper()], read="duckdb"))
        return stock_copy(conn, database, schema, expr, table_stages, params)

    copy_into._source_glob, cursor.copy_into = _source_glob, copy
