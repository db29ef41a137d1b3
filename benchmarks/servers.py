"""The servers that groups start: the replay server, and real ones by tests/services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.contract import Server, Settings
from benchmarks.harness import ROOT, output_of, say
from benchmarks.shapes import USUAL

ELASTICSEARCH_PORT, POSTGRES_PORT, S3_PORT = 39200, 39432, 39100
SERVICES = ROOT / "tests" / "services"
BULK_DOCUMENTS = 10_000


def start_replay(settings: Settings, opened: ExitStack, name: str, *arguments: object) -> None:
    """The replay server with these arguments, as `settings.servers[name]`."""
    process = subprocess.Popen(
        settings.module("replay_server", *arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    opened.callback(process.wait)
    opened.callback(process.terminate)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the replay server did not start (status {process.wait()})")
    settings.servers[name] = Server(name, json.loads(line)["url"], (process.pid,))


def start_elasticsearch(settings: Settings, opened: ExitStack) -> None:
    """The real one, as `settings.servers["elasticsearch"]`; its data outlives the run."""
    folder = settings.data / "elasticsearch"
    say("starting Elasticsearch ...")
    url = start_service(opened, "elasticsearch", ELASTICSEARCH_PORT, folder)["ELASTICSEARCH_URL"]
    pid = int((folder / "service.pid").read_text().split()[0])
    settings.servers["elasticsearch"] = Server("elasticsearch", url, (pid,))


def index_of(shape: str = USUAL, shards: int = 2) -> str:
    """The index of the real Elasticsearch with such documents in so many shards."""
    return "bench" if (shape, shards) == (USUAL, 2) else f"bench-{shape}-{shards}"


def fill_elasticsearch(settings: Settings, docs: int, shape: str = USUAL, shards: int = 2) -> None:
    """At least `docs` documents in that index, which are loaded once: contestants ask for a range of times."""
    url, index = settings.servers["elasticsearch"].url, index_of(shape, shards)
    if _loaded_as_now(url, index) < docs:
        say(f"loading {docs:,} {shape} documents into {shards} shards of Elasticsearch (once) ...")
        output_of(settings.module("servers", url, docs, index, shape, shards))


def start_postgres(
    settings: Settings, opened: ExitStack, name: str = "bench-postgres", port: int = POSTGRES_PORT
) -> None:
    """PostgreSQL with a data directory of this name, as `settings.servers["postgres"]`."""
    asked = f'. tests/services/lib/service.sh; printf %s "$(postgres_dir {name})"'
    folder = subprocess.run(
        ["bash", "-c", asked], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    url = start_service(opened, "postgres", port, Path(folder))["POSTGRES_URL"]
    settings.servers["postgres"] = Server("postgres", url, ())


def start_s3(settings: Settings, opened: ExitStack) -> None:
    """MinIO, as `settings.servers["s3"]`, whose URL is the name of a bucket; its keys go into the environment."""
    folder = settings.data / "s3"
    given = start_service(opened, "s3", S3_PORT, folder)
    os.environ.update(given)
    pid = int((folder / "service.pid").read_text().split()[0])
    settings.servers["s3"] = Server("s3", given["S3_BUCKET"], (pid,))


def start_service(
    opened: ExitStack, name: str, port: int, folder: Path, env: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What tests/services/NAME/start.sh prints; it is stopped with `opened`."""
    scripts = SERVICES / name
    started = subprocess.run(
        [scripts / "start.sh", "--port", str(port), "--data-dir", folder],
        env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    opened.callback(subprocess.check_call, [scripts / "stop.sh", "--data-dir", folder])
    return dict(line.split("=", 1) for line in started.stdout.split() if "=" in line)


def truth(settings: Settings, docs: int, padding: int = 0, shape: str = USUAL) -> dict[str, Any]:
    """Rows, digest and bytes of the first `docs` documents; computed once."""
    path: Path = settings.data / f"truth-{shape}-{docs}-{padding}-{_version()}.json"
    if not path.exists():
        path.write_text(json.dumps(output_of(settings.module("digest", "truth", docs, padding, shape))))
    known: dict[str, Any] = json.loads(path.read_text())
    return known


def _version() -> str:
    """Of the code that makes the documents."""
    code = b"".join((ROOT / "benchmarks" / name).read_bytes() for name in ("documents.py", "shapes.py"))
    return sha256(code).hexdigest()[:12]


def _loaded_as_now(url: str, index: str) -> int:
    """How many documents the index has that the present code made."""
    try:
        mapping = _ask(f"{url}/{index}/_mapping")[index]["mappings"]
        return _documents(url, index) if mapping.get("_meta") == {"documents": _version()} else 0
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return 0
        raise


def _documents(url: str, index: str) -> int:
    return int(_ask(f"{url}/{index}/_count")["count"])


def _ask(url: str, method: str = "GET", body: bytes | None = None, kind: str = "application/json") -> Any:
    request = urllib.request.Request(url, body, {"content-type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())


def load(url: str, docs: int, index: str = "bench", shape: str = USUAL, shards: int = 2) -> None:
    """Replace the index: shards of one segment each, no replica, nothing waiting to be merged."""
    from benchmarks.documents import MAPPING, Lines

    remove(url, index)
    made = {
        "settings": {**MAPPING["settings"], "number_of_shards": shards},
        "mappings": {**MAPPING["mappings"], "_meta": {"documents": _version()}},
    }
    _ask(f"{url}/{index}", "PUT", json.dumps(made).encode())
    lines = Lines(lambda number, _, source: b'{"index":{"_id":"log-%b"}}\n%b\n' % (number, source), shape)
    for first in range(0, docs, BULK_DOCUMENTS):
        body = b"".join(lines.write(first, min(BULK_DOCUMENTS, docs - first)))
        if _ask(f"{url}/{index}/_bulk", "POST", body, "application/x-ndjson")["errors"]:
            raise RuntimeError(f"{url} did not take the documents after {first:,}")
    for action in ("_refresh", "_forcemerge?max_num_segments=1", "_flush"):
        _ask(f"{url}/{index}/{action}", "POST")
    if (found := _documents(url, index)) != docs:
        raise RuntimeError(f"loaded {docs:,} documents, but the index holds {found:,}")


def remove(url: str, index: str) -> None:
    _ask(f"{url}/{index}?ignore_unavailable=true", "DELETE")


if __name__ == "__main__":
    url, docs, index, shape, shards = sys.argv[1:]
    load(url, int(docs), index, shape, int(shards))
