"""YAML text → plain values, with the place of each one: the only part that knows YAML.

Scalars stay what the person meant. A number that YAML writes in more than one way (`010`, `22:00`,
`1.10`), a date or a truth value is never silently taken for text: it becomes `Unquoted`, and
whoever wants text says how to quote it. Aliases and merge keys work, within bounds; other tags,
duplicate keys, keys that are not text and keys without a value are problems. It opens no files.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer

try:
    from yaml import CSafeLoader
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import SafeLoader as CSafeLoader  # type: ignore[assignment]

from backupd.config.secrets import is_one_secret
from backupd.config.syntax import NotYamlError, describe

DEEPEST = 30
MOST_VALUES = 50_000
"""Far above any real policy; a document whose aliases multiply passes it at once."""

_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "int": "a number",
    "float": "a number",
    "bool": "a truth value",
    "timestamp": "a date",
}
_SCALAR_TAGS = {_TAG + kind for kind in ("str", "value", "null", *_KINDS)}
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_READ_DIFFERENTLY = re.compile(r"[\t\ufeff!]|\?(?:\s|$)")
"""Where libyaml and PyYAML's own parser may differ: tabs, byte order marks, tags, complex keys."""
_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Unquoted:
    """A plain scalar that is neither text nor a plain whole number: what YAML takes it for."""

    raw: str
    kind: str


@dataclass
class Spot:
    """Where one value stands, and how it was written.

    `value` is a text, number, truth value, `Unquoted`, or None where nothing usable stands; for a
    mapping or list it is an empty one, and `children` hold the parts.
    """

    line: int
    value: object = None
    raw: str | None = None
    comment: str = ""
    children: dict[str | int, Spot] = field(default_factory=dict)

    def plain(self) -> object:
        """The value with all that it holds; keys without a usable value are left out."""
        if isinstance(self.value, dict):
            return {
                step: child.plain()
                for step, child in self.children.items()
                if child.value is not None
            }
        if isinstance(self.value, list):
            return [child.plain() for child in self.children.values()]
        return self.value


@dataclass(frozen=True)
class Finding:
    """One thing wrong, before the file's name is known: `at` leads from the root to the value."""

    line: int
    at: tuple[str | int, ...]
    cause: str


@dataclass(frozen=True)
class Document:
    """A read document: its plain value, where everything stands, and what is wrong with it."""

    root: Spot
    findings: list[Finding]


class _Bounded(Composer):
    """Gives up on a document nested too deeply, before the stack does."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            parser: Any = self  # what parses is mixed in below
            line = parser.peek_event().start_mark.line + 1
            raise NotYamlError(line, f"is nested deeper than {DEEPEST} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Exact(_Bounded, yaml.SafeLoader):
    """PyYAML's own parser, whose words `describe` knows."""


class _Fast(_Bounded, CSafeLoader):
    """libyaml's, eight times as fast; composed in Python, since its own composing in C crashes on
    a document nested too deeply."""

    def __init__(self, text: str) -> None:
        CSafeLoader.__init__(self, text)
        self.anchors: dict[str, yaml.Node] = {}


def read(text: str) -> Document:
    """The document that `text` holds. Raises NotYamlError if it is not YAML, or passes a bound."""
    if not _READ_DIFFERENTLY.search(text):
        # Whatever is wrong is told by the exact parser, and so is the place of what is missing.
        with suppress(yaml.YAMLError, NotYamlError):
            document = _read(text, _Fast)
            if not document.findings and document.root.value is not None:
                return document
    try:
        return _read(text, _Exact)
    except yaml.YAMLError as error:
        raise describe(error, text) from error


def _read(text: str, loader: type[_Fast] | type[_Exact]) -> Document:
    node = loader(text).get_single_node()
    if node is None:
        raise NotYamlError(1, "is empty; start from config.example.yaml")
    reader = _Reader(text)
    root = reader.spot(node, ())
    return Document(root, reader.findings)


class _Reader:
    """Walks the composed nodes once and gathers what is wrong on the way."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.findings: list[Finding] = []
        self.count = 0
        self.depth = 0

    def spot(self, node: yaml.Node, at: tuple[str | int, ...]) -> Spot:
        """The place and plain value of `node`, and of all that it holds."""
        self.depth += 1
        try:
            return self._spot(node, at)
        finally:
            self.depth -= 1

    def _spot(self, node: yaml.Node, at: tuple[str | int, ...]) -> Spot:
        line = node.start_mark.line + 1
        self.count += 1
        # A mapping that merges itself goes deeper without a step in `at`.
        if max(len(at), self.depth // 2) > DEEPEST or self.count > MOST_VALUES:
            raise NotYamlError(line, "has aliases (*name) that repeat themselves without end")
        if is_one_secret(at) and not isinstance(node, yaml.ScalarNode):
            # What stands below may be pieces of the secret: no path and no problem may name them.
            return Spot(line, value=[])
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return self._sequence(node, at)
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALAR_TAGS:
            return self._scalar(node)
        cause = "has a YAML tag (!…), which a policy never needs; remove it, or quote the text"
        self.findings.append(Finding(line, at, cause))
        return Spot(line)

    def _scalar(self, node: yaml.ScalarNode) -> Spot:
        kind = node.tag.removeprefix(_TAG)
        mark = node.end_mark
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        raw = str(node.value)
        spot = Spot(node.start_mark.line + 1, raw, raw, line[mark.column :].strip())
        if kind == "null":
            spot.value = None
        elif kind == "int" and _WHOLE_NUMBER.fullmatch(raw):
            spot.value = int(raw)
        elif kind == "bool" and raw.lower() in _TRUTH:
            spot.value = _TRUTH[raw.lower()]
        elif kind in _KINDS:
            spot.value = Unquoted(raw, _KINDS[kind])
        return spot

    def _sequence(self, node: yaml.SequenceNode, at: tuple[str | int, ...]) -> Spot:
        spot = Spot(node.start_mark.line + 1, value=[])
        for index, child in enumerate(node.value):
            spot.children[index] = self.spot(child, (*at, index))
            self._refuse_nothing(spot.children[index], (*at, index))
        return spot

    def _mapping(self, node: yaml.MappingNode, at: tuple[str | int, ...]) -> Spot:
        spot = Spot(node.start_mark.line + 1, value={})
        own: dict[str, int] = {}
        for key_node, child in self._pairs(node, at):
            line = key_node.start_mark.line + 1
            key = self._key(key_node, at)
            if key is None:
                continue
            if "://" in key:
                # Not named: the address of a service is a secret.
                cause = "has an address where a key is expected; write it after a key and ': '"
                self.findings.append(Finding(line, at, cause))
                continue
            if key in own:
                cause = f"stands twice, also in line {own[key]}; remove one"
                self.findings.append(Finding(line, (*at, key), cause))
                continue
            own[key] = line
            spot.children[key] = self.spot(child, (*at, key))
            # A mapping begins below its key; the key is where a person looks.
            spot.children[key].line = line
            self._refuse_nothing(spot.children[key], (*at, key))
        self._merge(node, spot, at)
        return spot

    def _refuse_nothing(self, spot: Spot, at: tuple[str | int, ...]) -> None:
        if spot.raw is not None and spot.value is None:
            what = "the '-'" if isinstance(at[-1], int) else "the key"
            cause = f"has no value; give it one, or remove {what}"
            self.findings.append(Finding(spot.line, at, cause))

    def _pairs(
        self, node: yaml.MappingNode, at: tuple[str | int, ...]
    ) -> list[tuple[yaml.Node, yaml.Node]]:
        return [pair for pair in node.value if pair[0].tag != _TAG + "merge"]

    def _key(self, node: yaml.Node, at: tuple[str | int, ...]) -> str | None:
        """The key, as text even where YAML sees none, so that what is below it is read too."""
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode):
            self.findings.append(Finding(line, at, "has a list or mapping for a key; write a text"))
            return None
        raw = str(node.value)
        if node.tag not in {_TAG + "str", _TAG + "value"}:
            kind = _KINDS.get(node.tag.removeprefix(_TAG), "nothing")
            cause = f'the key is read as {kind}, not as text; write "{raw}"'
            self.findings.append(Finding(line, (*at, raw), cause))
        return raw

    def _merge(self, node: yaml.MappingNode, spot: Spot, at: tuple[str | int, ...]) -> None:
        """Add what `<<` brings, which never replaces what the mapping says itself."""
        for key_node, value in node.value:
            if key_node.tag != _TAG + "merge":
                continue
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in sources:
                if not isinstance(source, yaml.MappingNode):
                    line = value.start_mark.line + 1
                    cause = "merges something that is not a mapping; write <<: *name"
                    self.findings.append(Finding(line, (*at, "<<"), cause))
                    continue
                for key, child in self.spot(source, at).children.items():
                    spot.children.setdefault(key, child)
