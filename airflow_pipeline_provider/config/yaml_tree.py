"""Parse YAML text into a tree with the file and the line of every value.

The tree is built from the events of libyaml's parser, not by a PyYAML constructor, for three reasons. Every value
keeps its line. Nesting is limited before anything recurses: PyYAML's C composer crashes the process on a few
thousand brackets. And plain scalars follow the YAML 1.2 core schema, as in editors: YAML 1.1 silently reads
`country: NO` as `false`, `12:30:00` as 45000 and `010` as 8. So only `true` and `false` are booleans, digits with a
leading zero stay text, and days stay text until a field parses them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from airflow_pipeline_provider.config.problems import Problem, dotted, shorten

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 20_000
MAX_PROBLEMS = 50

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE: object = type("Merge", (str,), {})("<<")  # the merge key, unlike a quoted "<<"
_CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS.update(dict.fromkeys(("true", "True", "TRUE"), True))
_CONSTANTS.update(dict.fromkeys(("false", "False", "FALSE"), False))
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,300})|0x[0-9a-fA-F]{1,200}|0o[0-7]{1,200}")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")


class YamlError(Exception):
    """The text is not valid YAML, or not supported, for the reasons in `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


@dataclass
class Node:
    """A value with its position.

    `value` is a scalar, a dict of nodes or a list of nodes. `line` counts from 1; in a mapping it is the key's line.
    """

    value: Any
    line: int
    file: str | None


@dataclass(frozen=True)
class Template:
    """A text whose variables `config.variables` replaces; `plain` if it has neither quotes nor a tag."""

    text: str
    plain: bool


class _OpenCollection:
    """A mapping or list whose end has not been parsed yet."""

    __slots__ = ("anchor", "key", "key_line", "merges", "node")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node, self.anchor = node, anchor
        self.key: Any = None
        self.key_line: int | None = None  # set between a key and its value
        self.merges: list[Node] = []


class _TreeBuilder:
    def __init__(self, file: str | None) -> None:
        self.file = file
        self.stack: list[_OpenCollection] = []
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.merged = 0

    def problem(self, message: str, line: int, *last: str | int) -> None:
        path = [p for o in self.stack if (p := self._position(o)) is not None]
        self.problems.append(Problem(dotted([*path, *last]), message, self.file, line))
        if len(self.problems) >= MAX_PROBLEMS:
            raise YamlError(self.problems)

    @staticmethod
    def _position(collection: _OpenCollection) -> str | int | None:
        if isinstance(collection.node.value, list):
            return len(collection.node.value)
        return collection.key if collection.key_line is not None else None

    def open(self, event: Any, value: object) -> None:
        line = event.start_mark.line + 1
        expected = "map" if isinstance(value, dict) else "seq"
        if event.tag not in (None, "!", _TAG + expected):
            self.problem(f"the tag {_short_tag(event.tag)} is not supported", line)
        if len(self.stack) >= MAX_DEPTH:
            raise YamlError([Problem("", f"is nested deeper than {MAX_DEPTH} levels", self.file, line)])
        if value == {} and self._awaits_key():
            self.problem("a key must be text, got a mapping (text like {{ … }} needs quotes)", line)
            raise YamlError(self.problems)
        if value == [] and self._awaits_key():
            self.problem("a key must be text, got a list (text that starts with [ needs quotes)", line)
            raise YamlError(self.problems)
        self.stack.append(_OpenCollection(Node(value, line, self.file), event.anchor))

    def second_document(self, event: Any) -> None:
        self.problem(
            "contains a second document (---): write each pipeline in its own file", event.start_mark.line + 1
        )
        raise YamlError(self.problems)

    def _awaits_key(self) -> bool:
        return (
            bool(self.stack)
            and isinstance(self.stack[-1].node.value, dict)
            and self.stack[-1].key_line is None
        )

    def close(self) -> None:
        done = self.stack.pop()
        for merged in done.merges:
            self.merged += len(merged.value)
            if self.merged > MAX_VALUES:  # a few lines of YAML can expand to gigabytes
                message = f"merges more than {MAX_VALUES} keys by '<<'"
                raise YamlError([Problem("", message, self.file, done.node.line)])
            for key, child in merged.value.items():
                done.node.value.setdefault(key, child)
        self.add(done.node, done.anchor)

    def alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if self._awaits_key():
            self.problem(f"a key must be text, got the alias *{shorten(event.anchor)}", line)
            raise YamlError(self.problems)
        target = self.anchors.get(event.anchor)
        if target is None:
            self.problem(
                f"the alias *{shorten(event.anchor)} has no anchor before it, or is inside its own; "
                "text that starts with * needs quotes",
                line,
            )
            target = Node(None, line, self.file)
        self.add(Node(target.value, line, self.file), None)

    def scalar(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if "\0" in event.value:
            self.problem("contains the character NUL (\\0), which names and databases do not accept", line)
        if self._awaits_key():
            self.key(event, line)
            return
        value: object
        try:
            if ("${" in event.value or "{{" in event.value) and event.tag in (None, "!", _TAG + "str"):
                value = Template(event.value, event.tag is None and event.implicit[0])
            else:
                value = _resolve(event)
        except ValueError as error:
            self.problem(str(error), line)
            value = event.value
        self.add(Node(value, line, self.file), event.anchor)

    def key(self, event: Any, line: int) -> None:
        top = self.stack[-1]
        plain = event.implicit[0] and event.tag is None
        if plain and not isinstance(_resolve(event), str):
            self.problem(f"a key must be text: write '{shorten(event.value)}' in quotes", line, event.value)
        top.key, top.key_line = event.value, line
        if plain and event.value == "<<":
            top.key = _MERGE
            return
        if event.value in top.node.value:
            top.key_line = None
            first = top.node.value[event.value].line
            self.problem(f"is defined twice, first in line {first}: remove one", line, event.value)
            top.key_line = line

    def add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
            return
        if top.key is _MERGE:
            self.merge(top, node)
        else:
            top.node.value[top.key] = Node(node.value, top.key_line or node.line, self.file)
        top.key_line = None

    def merge(self, top: _OpenCollection, node: Node) -> None:
        parts = node.value if isinstance(node.value, list) else [node]
        if all(isinstance(part.value, dict) for part in parts):
            top.merges.extend(parts)
        else:
            self.problem("must be a mapping to merge, or a list of mappings", node.line)


def _short_tag(tag: str) -> str:
    return shorten(tag.replace(_TAG, "!!"))


def _resolve(event: Any) -> object:
    text: str = event.value
    if event.tag is None:
        return plain_value(text) if event.implicit[0] else text
    kind = event.tag.removeprefix(_TAG)
    if event.tag in ("!", _TAG + "str"):
        return text
    value = plain_value(text)
    matches = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}.get(kind)
    if matches is None:
        raise ValueError(f"the tag {_short_tag(event.tag)} is not supported")
    if not isinstance(value, matches) or (isinstance(value, bool) and kind != "bool"):  # type: ignore[arg-type]
        raise ValueError(f"must be of type {kind}, got {text[:40]!r}")
    return float(value) if kind == "float" else value


def plain_value(text: str) -> Any:
    """Return the YAML value of a scalar without quotes and tag."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text, 16 if text.startswith("0x") else 8 if text.startswith("0o") else 10)
    if _FLOAT.fullmatch(text):
        number = float(text)
        # infinity is not valid JSON, and such an exponent is probably a name, for example a Git commit hash
        return number if abs(number) < float("inf") else text
    return text


def read_yaml(data: bytes, file: str | None = None) -> Node | None:
    """Return the tree of one document, None for an empty file; raise YamlError with all problems found."""
    builder = _TreeBuilder(file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = (
            f"is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}; save it as UTF-8"
        )
        raise YamlError([Problem("", message, file, line)]) from None
    try:
        _build(_Loader(text), builder)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        place = mark.line + 1 if mark is not None else None
        problem = Problem("", f"is not valid YAML: {_hint(text, error) or what}", file, place)
        raise YamlError([problem, *builder.problems]) from None
    except yaml.YAMLError as error:
        raise YamlError([Problem("", f"is not valid YAML: {str(error).splitlines()[0]}", file)]) from None
    if builder.problems:
        raise YamlError(builder.problems)
    if builder.root is not None:
        _check_expanded_size(builder.root, file)
    return builder.root


def _hint(text: str, error: yaml.MarkedYAMLError) -> str | None:
    """Return how to fix a common syntax error, None if only libyaml's message is available."""
    mark = error.problem_mark or error.context_mark
    lines = _LINE_END.split(text)
    if mark is None or mark.line >= len(lines):
        return None
    line = lines[mark.line]
    at = line[mark.column : mark.column + 1]
    if "\t" in line[: len(line) - len(line.lstrip())] or at == "\t":
        return "a tab cannot indent a line: use spaces"
    if at in ("@", "`", "%"):
        return f"text that starts with {at} needs quotes"
    if error.context == "while scanning an alias":
        return "text that starts with * needs quotes"
    if error.context == "while scanning an anchor":
        return "text that starts with & needs quotes"
    if "${" in line:
        return "text with ${…} inside { } or [ ] needs quotes"
    return None


def _build(events: Any, builder: _TreeBuilder) -> None:
    documents = values = 0
    while (event := events.get_event()) is not None:
        values += 1
        if values > 3 * MAX_VALUES:  # up to three events each: a key, its value, the end of a collection
            raise YamlError([Problem("", f"contains more than {MAX_VALUES} values", builder.file)])
        if isinstance(event, yaml.ScalarEvent):
            builder.scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            builder.open(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            builder.open(event, [])
        elif isinstance(event, yaml.CollectionEndEvent):
            builder.close()
        elif isinstance(event, yaml.AliasEvent):
            builder.alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                builder.second_document(event)
        elif isinstance(event, yaml.StreamEndEvent):
            return


def _check_expanded_size(root: Node, file: str | None) -> None:
    """Raise YamlError if the aliases make the tree too large or too deep."""
    count = 0
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            limit = (
                f"more than {MAX_VALUES} values" if count > MAX_VALUES else f"more than {MAX_DEPTH} levels"
            )
            message = f"has {limit} after its aliases are expanded"
            raise YamlError([Problem("", message, file, node.line)])
        children = node.value.values() if isinstance(node.value, dict) else node.value
        if isinstance(children, str) or not hasattr(children, "__iter__"):
            continue
        stack.extend((child, depth + 1) for child in children)


def plain(node: Node) -> Any:
    """Return the tree as dicts, lists and scalars."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    return [plain(child) for child in value] if isinstance(value, list) else value


def from_plain(value: object) -> Node:
    """Return a tree without lines or file for dicts, lists and scalars."""
    if isinstance(value, dict):
        return Node({key: from_plain(child) for key, child in value.items()}, 0, None)
    return Node([from_plain(child) for child in value] if isinstance(value, list | tuple) else value, 0, None)
