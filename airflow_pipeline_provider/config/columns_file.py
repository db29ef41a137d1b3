"""Add columns to a pipeline file: every other byte of it stays, and it is replaced in one step or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from airflow_pipeline_provider.config.yaml_tree import YamlError, plain, read_yaml
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

_BOM = b"\xef\xbb\xbf"
_EXPLAINED = "print the columns without --write and add them by hand"


def add_columns(
    path: Path, lines: Sequence[str], check: Callable[[Path], object], *, inherits: bool = False
) -> Path:
    """Add the items of a YAML list, as lines, to the key `columns` of the file, or to the file that it includes.

    `check` gets the path of a finished pipeline file, next to the old one, and raises where it is not valid.  With
    `inherits` the columns may be those of `defaults.yaml`, which a list in the file would replace.  Returns the path
    of the changed file.

    Raises:
        ConfigError: The list cannot be extended as text, or the file changed meanwhile; the file is as before.
        FatalError: The file or its folder is not writable.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        include = _include_of(root)
        if include is None:
            if inherits and _columns_of(root) is None:
                raise ConfigError(f"{path}: the columns are those of defaults.yaml: {_EXPLAINED}")
            _change(path, lines, check)
            return path
        listed = path.parent / str(include.value)
        _change(listed, lines, lambda changed: _check_included(path, text, include, changed, check))
        return listed
    except OSError as error:
        raise FatalError(
            f"{error.filename or path} cannot be written ({error.strerror or error}): {_EXPLAINED}"
        ) from None


def _change(path: Path, lines: Sequence[str], check: Callable[[Path], object]) -> None:
    if path.is_symlink():
        raise ConfigError(f"{path} is a link to {path.resolve()}: name that file, or {_EXPLAINED}")
    data = path.read_bytes()
    _replace(path, data, _extended(data, lines, str(path)), check)


def _columns_of(root: yaml.Node | None) -> yaml.Node | None:
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == "columns"), None)


def _include_of(root: yaml.Node | None) -> yaml.ScalarNode | None:
    """Return the path in `columns: {include: PATH}`."""
    columns = _columns_of(root)
    pairs = columns.value if isinstance(columns, yaml.MappingNode) else ()
    found = next((value for key, value in pairs if key.value == "include"), None)
    return found if isinstance(found, yaml.ScalarNode) and "${" not in found.value else None


def _check_included(
    path: Path, text: str, include: yaml.ScalarNode, changed: Path, check: Callable[[Path], object]
) -> None:
    """Check the pipeline file as if it included the changed file."""
    name = json.dumps(str(Path(include.value).parent / changed.name))
    text = text[: include.start_mark.index] + name + text[include.end_mark.index :]
    with _beside(path, text.encode()) as pipeline:
        check(pipeline)


def _extended(data: bytes, lines: Sequence[str], file: str) -> bytes:
    """Return the file's bytes with the items added, after comparing what both files mean."""
    bom = _BOM if data.startswith(_BOM) else b""
    new = bom + _insert(data[len(bom) :].decode(), lines, file).encode()
    before, after, added = _values(data), _values(new), _values("\n".join(lines).encode())
    if isinstance(before, dict):
        expected: object = {**before, "columns": [*(before.get("columns") or []), *added]}
    else:
        expected = [*(before or []), *added]
    if after != expected:
        raise ConfigError(f"{file}: the columns cannot be added as text to this layout: {_EXPLAINED}")
    return new


def _values(data: bytes) -> Any:
    with contextlib.suppress(YamlError):
        tree = read_yaml(data)
        return None if tree is None else plain(tree)
    return None


def _insert(text: str, lines: Sequence[str], file: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:  # an included file without columns so far
        return text + (newline if text and text[-1] != "\n" else "") + newline.join([*lines, ""])
    if not isinstance(root, yaml.CollectionNode) or root.flow_style or not root.value:
        raise ConfigError(f"{file} is written in brackets, which cannot be extended: {_EXPLAINED}")
    indent, found = root.start_mark.column, _columns_of(root)
    if isinstance(root, yaml.SequenceNode):
        at, block = _line_end(text, _end(root)), list(lines)
    elif found is None:
        at, block = _document_end(text), ["columns:", *(f"  {line}" for line in lines)]
    elif isinstance(found, yaml.SequenceNode) and found.value and not found.flow_style:
        at, block, indent = _line_end(text, _end(found)), list(lines), found.start_mark.column
    elif found.value in ("", "~", "null", []):
        start, end = found.start_mark.index, found.end_mark.index
        kept = text[:start].rstrip(" ") if end > start else text[:start]
        at = _line_end(text := kept + text[end:], len(kept))
        block = [f"  {line}" for line in lines]
    else:
        where = f"{file}, line {found.start_mark.line + 1}"
        raise ConfigError(f"{where}: columns is not a list with one item per line: {_EXPLAINED}")
    before = text[:at] + (newline if at and text[at - 1] != "\n" else "")
    return before + "".join(f"{' ' * indent}{line}{newline}" for line in block) + text[at:]


def _document_end(text: str) -> int:
    """Return where the document ends: at `...`, or at the end of the file."""
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.DocumentEndEvent) and event.explicit and event.start_mark is not None:
            return int(event.start_mark.index)
    return len(text)


def _end(node: yaml.Node) -> int:
    """Return where the text of a node ends; a block collection ends with its last value."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    """Return the start of the line after this position; the position itself where a line starts."""
    if at and text[at - 1] == "\n":
        return at
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _replace(path: Path, data: bytes, new: bytes, check: Callable[[Path], object]) -> None:
    """Write the new bytes next to the file, check them, and rename; a crash leaves the old file."""
    status = path.stat()
    with _beside(path, new) as written:
        written.chmod(status.st_mode & 0o7777)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            with contextlib.suppress(PermissionError):
                os.chown(written, status.st_uid, status.st_gid)
        check(written)
        if path.read_bytes() != data:
            raise ConfigError(f"{path} changed while the columns were inferred: run the command again")
        written.replace(path)


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """Write a hidden file into the folder of the path, and remove it unless the block renames it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield written
    finally:
        written.unlink(missing_ok=True)
