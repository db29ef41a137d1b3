"""Serve the page's modules from memory, with types, ETags and headers that forbid everything they do not need."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

router = APIRouter()


class StaticFile(NamedTuple):
    """The content of a file, with its headers."""

    content: bytes
    media_type: str
    etag: str


def read_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """Return the files that may be served, by their path below the folder; nothing else is ever opened."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.relative_to(folder).as_posix()] = StaticFile(content, TYPES[path.suffix], etag)
    return found


FILES = read_files()


@router.get("/static/{name:path}")
def static_file(name: str, request: Request) -> Response:
    """Return the file, or 304 when the browser has it; browsers ask each time, so an upgrade shows at once."""
    file = FILES.get(name)
    if file is None:
        raise HTTPException(404, f"there is no static file {name!r}")
    headers = {"ETag": file.etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("If-None-Match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
