"""Mask secrets in log output: by the name of the field, by patterns in the text, and by registered value.

The fencing token is not a secret: a field `token` is shown if it is a whole number, and masked if it is text.

A registered value is found in the forms that other systems write: URL-quoted, in JSON, in HTML, quoted for SQL, in
base64. `pattern_of` matches a value in which each character may be escaped differently, so that it needs no complete
list of forms. `forms_of` is such a list for Airflow's masker, which accepts texts but no patterns.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Mapping, Set
from functools import lru_cache
from html.entities import codepoint2name
from typing import Any
from urllib.parse import quote, quote_plus

from airflow_pipeline_provider.core.wording import counted

MASK = "***"
SHORTEST_SECRET = 3
_DEEPEST = 12
_LONGEST = 20_000

_NAMES = (
    r"password|passwd|passphrase|pwd|secret|credential|authorization|cookie|"
    r"api[_-]?key|private[_-]?key|access[_-]?key|account[_-]?key|signature|sas[_-]?token|"
    r"bearer|connection[_-]?string"
)
# short words are names only as the last word of a name: `http_auth`, and not `author` or `auth_backend`
_WORDS = r"(?<![A-Za-z0-9])(?:auth|pass|pw|sig)(?![\w-])"
_SECRET_NAME = re.compile(rf"{_NAMES}|{_WORDS}", re.IGNORECASE)
_TOKEN_NAME = re.compile(r"token", re.IGNORECASE)

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_URL_PASSWORD = re.compile(r"(://[^\s:/@]{0,256}):[^\s]{1,1024}@")
_URL_TOKEN = re.compile(r"(?i)(https?://)[^\s:/?#@]{1,256}@")
# a value may be on the next line, if that is indented; else a name without a value would mask what follows it
_GAP = r"[ \t]{0,40}[:=][ \t]{0,40}(?:\r?\n[ \t]{1,40}(?!#))?"
_HEADER = re.compile(rf"(?i)(authorization[\"']?{_GAP}[\"']?)(?:(?:bearer|basic|apikey)\s+)?[^\s\"',;}}]+")
_SCHEME = re.compile(r"\b(Bearer|ApiKey)\s+[^\s\"',;}]{6,}")
# the match starts at the name, and its end is bounded, so that it is linear on any text
_NAME = rf"(?:(?:{_NAMES})[\w-]{{0,40}}|{_WORDS})\\?[\"']?"
_QUOTED_PAIR = re.compile(rf"({_NAME}{_GAP})(\\?[\"'])(.*?)(?:\2|\Z)", re.IGNORECASE | re.DOTALL)
_PAIR = re.compile(rf"({_NAME}{_GAP})(?!\\?[\"'])[^\s\"',;&}})\]]+", re.IGNORECASE)
_TOKEN_PAIR = re.compile(
    rf"(token[\w-]{{0,40}}\\?[\"']?{_GAP}\\?[\"']?)(?![0-9]{{1,18}}\b)[^\s\"',;&}})\]\\]+", re.IGNORECASE
)

_WORD = re.compile(_WORDS, re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[ \t]*([^\r\n]*)")
# begins with all before the name, so that it is linear as a match from the beginning
_NAME_IN_COMMENT = re.compile(
    rf".*?(?:(?:{_NAMES}|token)[\w-]*[\"']?|\bpw\b|{_WORDS}[ \t]{{0,40}}(?=[:=]))[ \t]*[:=]?[ \t]*",
    re.IGNORECASE,
)

# What each pattern above has in each of its matches, URLs and the short words apart; casefolded.
_STEMS = (
    *(
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "credential",
        "authorization",
        "cookie",
        "signature",
    ),
    *("bearer", "token", "private key", "connectionstring", "connection_string", "connection-string"),
    *(f"{of}{dash}key" for of in ("api", "private", "access", "account") for dash in ("", "_", "-")),
)

_lock = threading.Lock()
_registered: re.Pattern[str] | None = None
_values: frozenset[str] = frozenset()


def register_secret(value: str | None) -> None:
    """Mask this value in all further output, in every form of `pattern_of`; ignore fewer than 3 characters."""
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
        text = _mask_urls(text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _QUOTED_PAIR.sub(rf"\1\2{MASK}\2", text)
    text = _PAIR.sub(rf"\1{MASK}", text)
    return _TOKEN_PAIR.sub(rf"\1{MASK}", text)


def _mask_urls(text: str) -> str:
    """Mask what is before the @ of a URL: a password, and without one the user of http, which is a token."""
    return _URL_TOKEN.sub(rf"\1{MASK}@", _URL_PASSWORD.sub(rf"\1:{MASK}@", text))


def redact_yaml(text: str) -> str:
    """Mask the secrets of a YAML text, in values of any style, and comments with a secret's name; all else stays.

    Most texts hold no word of a secret's name, which is found out quickly: this runs whenever a DAG file is parsed.
    """
    folded = text.casefold()
    if "\\" not in text and not any(stem in folded for stem in _STEMS) and not _WORD.search(text):
        text = redact_values(text)  # a name may also be written with escapes, hence the backslash
        return _mask_urls(text) if "@" in text else text
    return redact_text(_mask_comments(_mask_nodes(text)), cut=False)


def _mask_comments(text: str) -> str:
    """Mask what follows a secret's name in a comment, and the comments that are indented below it.

    A comment behind a masked value, and one that ends with the name, is masked whole.
    """
    lines = text.split("\n")
    below: int | None = None  # the column of the comment that had a name
    for number, line in enumerate(lines):
        found = _COMMENT.search(line)
        if found is None:
            below = None
            continue
        before, said = line[: found.start(1)], found[1].rstrip()
        column, alone = len(before), not line[: found.start()].strip()
        if alone and below is not None and (column > below or said.startswith("- ") or not said):
            kept = ""
        elif MASK in before:
            kept, below = "", column
        elif name := _NAME_IN_COMMENT.match(said):
            kept, below = ("" if name.end() == len(said) and said[-1] not in ":=" else name[0]), column
        else:
            below = None
            continue
        if len(kept) < len(said):
            lines[number] = before + kept + MASK + line[found.start(1) + len(said) :]
    return "\n".join(lines)


def _mask_nodes(text: str) -> str:
    """Mask what is below a key with a secret's name: a scalar, a block of lines, a mapping or a list."""
    import yaml

    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return text
    spans: set[tuple[int, int]] = set()
    left, seen = [root], set()
    while left:
        node = left.pop()
        if node is None or id(node) in seen:  # an alias is the node that it names
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            named = {key.value: value.value for key, value in node.value if isinstance(key.value, str)}
            for key, value in node.value:
                name = key.value
                if name == "value":  # {name: Authorization, value: X}
                    name = next((named[of] for of in ("name", "key", "header") if of in named), name)
                if isinstance(name, str) and is_secret(name, _plain(value)):
                    spans.add((value.start_mark.index, _end_of(value)))
                else:
                    left.append(value)
    pieces, done = [], 0
    for start, end in sorted(spans):
        if start >= done:  # else it is inside of the one before
            masked = text[start:end]
            pieces += [text[done:start], MASK, masked[len(masked.rstrip()) :]]
            done = end
    return "".join([*pieces, text[done:]])


def _end_of(node: Any) -> int:
    """Return where the node's text ends; a block of YAML ends where the next begins, behind comments on that."""
    if isinstance(node.value, str) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end_of(last[1] if isinstance(last, tuple) else last)


def _plain(node: Any) -> object:
    """Return the node's value as far as `is_secret` asks for it."""
    kind = node.tag.rpartition(":")[2]
    return None if kind == "null" else 1 if kind == "int" else node.value


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


# A short password, or one such as "airflow", is only masked as a whole word, so that messages stay readable.
_PLAIN_WORD = re.compile(r"[A-Za-z]{1,12}|.{1,5}", re.DOTALL)
_PERCENT = re.compile("%[0-9A-F]{2}")
_HEX4 = re.compile(r"\\u[0-9a-f]{4}")
# The shortest value that is found in any letter case, and inside a longer base64 text. A shorter value would match
# parts of unrelated words.
_SHORTEST_EMBEDDED = 8


def forms_of(value: str) -> set[str]:
    """Return the value as each encoder writes it (URL, JSON, Python, HTML, SQL, base64, hex), and in other cases."""
    data = value.encode("utf-8", "surrogatepass")
    percent = {quote(value, safe="", errors="replace"), quote(value, errors="replace")}
    percent |= {quote_plus(value, errors="replace")}
    in_json = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms = {*_cases(value), *percent, *in_json}
    forms |= {_PERCENT.sub(lambda found: found[0].lower(), form) for form in percent}
    forms |= {quote(form, safe="") for form in percent}
    forms |= {form.replace("/", "\\/") for form in in_json}
    forms |= {_HEX4.sub(lambda found: rf"\u{found[0][2:].upper()}", form) for form in in_json}
    forms |= {html.escape(value), html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}
    forms |= {repr(value)[1:-1], ascii(value)[1:-1], repr(data)[2:-1]}
    forms |= {value.replace("'", "''"), value.replace("\\", "\\\\").replace("'", "\\'")}
    forms |= {data.hex(), data.hex().upper(), data.decode("latin-1")}
    forms |= {encode(data).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return forms


def pattern_of(value: str) -> str:
    """Return a regular expression that matches the value in every form, in linear time."""
    if _PLAIN_WORD.fullmatch(value):
        return rf"(?<![\w-]){re.escape(value)}(?![\w-])"
    data = value.encode("utf-8", "surrogatepass")
    others = {data.hex(), data.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        others.add(encode(data).decode().rstrip("="))
        if len(value) >= _SHORTEST_EMBEDDED:
            others |= {_embedded(encode(b"\0" * before + data).decode(), before) for before in (1, 2)}
            others.add(_embedded(encode(data).decode(), 0))
    longest_first = sorted(others, key=len, reverse=True)
    return "|".join([*_written(value), *map(re.escape, longest_first)])


def _cases(value: str) -> tuple[str, ...]:
    """Return the value, and if it is long enough, also in upper and in lower case."""
    if len(value) < _SHORTEST_EMBEDDED or _PLAIN_WORD.fullmatch(value):
        return (value,)
    return tuple(dict.fromkeys((value, value.upper(), value.lower())))


def _written(value: str) -> list[str]:
    """Return patterns for the value and its cases, whose characters may be escaped."""
    cases = _cases(value)
    if len(cases) == 1:
        return ["".join(map(_character, value))]
    # ASCII letters match without regard to case; the escapes of other letters do not, and "ß" has two in upper case
    return [f"(?i:{''.join(map(_character, case))})" for case in (cases[:1] if value.isascii() else cases)]


def _embedded(encoded: str, before: int) -> str:
    """Remove the characters of a base64 text that also depend on the bytes before and after the value."""
    first = {0: 0, 1: 2, 2: 3}[before]
    padding = len(encoded) - len(encoded.rstrip("="))
    last = {0: 0, 1: 2, 2: 3}[padding]
    return encoded[first : len(encoded) - last] if last else encoded[first:]


@lru_cache(maxsize=512)
def _character(character: str) -> str:
    """Return a pattern for one character: itself, or one of its escapes."""
    if character.isascii() and character.isalnum():
        return character  # no encoder escapes these
    code, utf8 = ord(character), character.encode("utf-8", "surrogatepass")
    utf16 = character.encode("utf-16-be", "surrogatepass")
    units = [utf16[n : n + 2].hex() for n in range(0, len(utf16), 2)]
    forms = [
        "".join(f"%(?:25){{0,3}}{byte:02x}" for byte in utf8),
        "".join(rf"\\{{1,4}}u{unit}" for unit in units),
        "".join(rf"\\{{1,4}}x{byte:02x}" for byte in utf8),
        rf"\\{{1,4}}x{code:02x}",
        rf"\\{{1,4}}u{code:08x}",
        rf"&(?:amp;){{0,2}}\#(?:0{{0,6}}{code}|x0{{0,6}}{code:x});",
    ]
    if code in codepoint2name:
        forms.append(rf"&(?:amp;){{0,2}}{codepoint2name[code]};")
    if character == "'":
        forms.append("&(?:amp;){0,2}apos;")
    itself = re.escape(character)
    plain = [rf"\\{{1,4}}{itself}", itself]
    if character in "\"'`":
        plain.insert(0, itself * 2)
    if character == " ":
        plain.append(r"(?:\+|%(?:25){0,3}2[Bb])")
    if character in _LETTER_ESCAPES:
        plain.insert(0, rf"\\{{1,4}}{_LETTER_ESCAPES[character]}")
    if len(utf8) > 1:
        plain.append(re.escape(utf8.decode("latin-1")))
    return f"(?:(?i:{'|'.join(forms)})|{'|'.join(plain)})"


_LETTER_ESCAPES = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
