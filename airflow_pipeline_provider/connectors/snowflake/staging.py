"""Copy the parts of a manifest into a table of the session, from an external stage or uploaded by PUT."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from airflow_pipeline_provider.connectors.base import Stage
from airflow_pipeline_provider.connectors.snowflake import sql
from airflow_pipeline_provider.connectors.snowflake.options import SnowflakeOptions
from airflow_pipeline_provider.connectors.snowflake.session import SnowflakeSession
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

_UNSAFE_FOR_PUT = set("*?[]{}'\"\\%")  # wildcards and quotes


def copy_parts(
    session: SnowflakeSession, options: SnowflakeOptions, manifest: Manifest, stage: Stage
) -> ObjectName:
    """Return the name of a new table of the session that holds the manifest's rows.

    Raises:
        DataError: COPY read another number of rows than the manifest has.
    """
    staged = _new_name("STAGED")
    session.execute(sql.create_staged(staged))
    copy = sql.CopyOptions(options.max_document_size, options.use_vectorized_scanner)
    if options.external_stage:
        external = sql.DIALECT.parse_name(options.external_stage)
        folder = folder_in_stage(session, options, external, stage)
        files = [folder + part.path for part in manifest.parts]
        statements = list(sql.copy_files(staged, external, files, copy))
    else:
        uploaded = _new_name("PARTS")
        session.execute(f"CREATE TEMPORARY STAGE {uploaded}")
        _upload(session, manifest, stage, uploaded)
        statements = [sql.copy_all(staged, uploaded, copy)]
    loaded = sum(session.copy(statement) for statement in statements)
    if loaded != manifest.rows:
        raise DataError(
            f"{sql.DIALECT.parse_name(options.table)}: expected {counted(manifest.rows, 'row')} in "
            f"{counted(len(manifest.parts), 'part')}, COPY read {loaded:,}; "
            "nothing was changed, extract the window again"
        )
    return staged


def folder_in_stage(
    session: SnowflakeSession, options: SnowflakeOptions, external: ObjectName, stage: Stage
) -> str:
    """Return the path of the stage's base below the external stage: "", or with a slash at its end.

    Raises:
        ConfigError: The base is not below the external stage's URL.
        FatalError: The external stage does not exist, or is an internal one.
    """
    if options.external_stage_path is not None:
        path = options.external_stage_path.strip("/")
        return f"{path}/" if path else ""
    rows = session.execute_dicts(sql.show("STAGES", external))
    found = [row for row in rows if row["name"] == external.last]
    name = ".".join(external.parts)
    if not found:
        raise FatalError(
            f"target.external_stage: {name} does not exist, or the connection's role may not use it; create "
            "it with a storage integration, grant USAGE on it, or leave external_stage out to upload with PUT"
        )
    if not found[0]["url"]:
        raise FatalError(
            f"target.external_stage: {name} is an internal stage; name one with a URL, or leave it out"
        )
    return sql.path_in_stage(external, found[0]["url"], stage.base)


def _upload(session: SnowflakeSession, manifest: Manifest, stage: Stage, uploaded: ObjectName) -> None:
    with tempfile.TemporaryDirectory(prefix="parts-") as folder:
        for part in manifest.parts:
            path = stage.url(part.path).removeprefix("file://")
            local = path.startswith("/") and not _UNSAFE_FOR_PUT & set(path)
            if not local:
                path = str(Path(folder, Path(part.path).name))
                with stage.open_read(part.path) as source, Path(path).open("wb") as copy:
                    shutil.copyfileobj(source, copy, 8 * 2**20)
            elif stage.size(part.path) is None:
                raise DataError(f"part {stage.url(part.path)} is gone; extract the window again")
            for row in session.execute_dicts(sql.put_file(path, uploaded)):
                if row["status"] != "UPLOADED":
                    raise TransientError(f"PUT of {part.path}: {row['status']} {row.get('message') or ''}")
            if not local:
                Path(path).unlink()


def _new_name(prefix: str) -> ObjectName:
    return sql.DIALECT.object_name(f"{prefix}_{uuid4().hex.upper()}")
