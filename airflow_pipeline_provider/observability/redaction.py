"""Mask secrets in log output: by the name of the field, by patterns in the text, and by registered value.

The fencing token is not a secret: a field `token` is shown if it is a whole number, and masked if it is text.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Set
from typing import Any

from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.observability.secret_forms import pattern_of

MASK = "***"
SHORTEST_SECRET = 3
_DEEPEST = 12
_LONGEST = 20_000

_NAMES = (
    r"password|passwd|passphrase|pwd|secret|credential|authorization|cookie|"
    r"api[_-]?key|private[_-]?key|access[_-]?key|account[_-]?key|signature|sas[_-]?token|"
    r"bearer|connection[_-]?string"
)
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_TOKEN_NAME = re.compile(r"token", re.IGNORECASE)

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_URL_PASSWORD = re.compile(r"(://[^\s:/@]{0,256}):[^\s]{1,1024}@")
_HEADER = re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic|apikey)\s+)?[^\s\"',;}]+")
_SCHEME = re.compile(r"\b(Bearer|ApiKey)\s+[^\s\"',;}]{6,}")
# the match starts at the name, and its end is bounded, so that it is linear on any text
_REST = r"[\w-]{0,40}\\?[\"']?\s{0,8}[:=]\s{0,8}"
_QUOTED_PAIR = re.compile(rf"((?:{_NAMES}){_REST})(\\?[\"'])(.*?)(?:\2|\Z)", re.IGNORECASE | re.DOTALL)
_PAIR = re.compile(rf"((?:{_NAMES}){_REST})(?!\\?[\"'])[^\s\"',;&}})\]]+", re.IGNORECASE)
_TOKEN_PAIR = re.compile(rf"(token{_REST}\\?[\"']?)(?![0-9]{{1,18}}\b)[^\s\"',;&}})\]\\]+", re.IGNORECASE)

_lock = threading.Lock()
_registered: re.Pattern[str] | None = None
_values: frozenset[str] = frozenset()


def register_secret(value: str | None) -> None:
    """Mask this value in all further output, in every form of `secret_forms`; ignore fewer than 3 characters."""
    global _registered, _values
    if not isinstance(value, str) or len(value) < SHORTEST_SECRET:
        return
    with _lock:
        if value in _values:
            return
        _values |= {value}
        longest_first = sorted(_values, key=len, reverse=True)
        _registered = re.compile("|".join(map(pattern_of, longest_first)))


def forget_secrets() -> None:
    """Remove the registered values; for tests."""
    global _registered, _values
    with _lock:
        _registered, _values = None, frozenset()


def is_secret(name: str, value: object) -> bool:
    """Return whether a field of this name with this value must be masked."""
    if _SECRET_NAME.search(name):
        return value is not None
    harmless = value is None or (isinstance(value, int) and not isinstance(value, bool))
    return bool(_TOKEN_NAME.search(name)) and not harmless


def redact_values(text: str) -> str:
    """Mask registered values only, for messages of this package, which patterns might match."""
    return _registered.sub(MASK, text) if _registered else text


def redact_text(text: str, *, cut: bool = True) -> str:
    """Mask registered values and text that matches a secret's pattern; cut the text after 20,000 characters."""
    text = redact_values(text)
    if cut and len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    text = _KEY_BLOCK.sub(f"{MASK} private key {MASK}", text)
    if "@" in text:
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _QUOTED_PAIR.sub(rf"\1\2{MASK}\2", text)
    text = _PAIR.sub(rf"\1{MASK}", text)
    return _TOKEN_PAIR.sub(rf"\1{MASK}", text)


def redact(value: object, name: str = "", depth: int = 0) -> Any:
    """Return a copy for a log line, with secrets masked in mappings, lists and texts at any depth."""
    if is_secret(name, value):
        return MASK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{counted(len(value), 'byte')}>"
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {redact_text(str(key)): redact(child, str(key), depth + 1) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [redact(child, name, depth + 1) for child in value]
    if isinstance(value, Set):
        return sorted((redact(child, name, depth + 1) for child in value), key=str)
    return value
