"""YAML as people mean it, read and written."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from leanthink.core.errors import ConfigError, DataError
from leanthink.files.reading import DEPTH, DIGITS, read_text

SIZE: Final = 1 << 20
"""The most that a YAML file may hold, in bytes: a recipe, a sweep."""
NODES: Final = 20_000
"""The most values that a file may stand for, once what its aliases name is written out."""

_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: 1e-6 is a number, a key given twice is an error, and all is within limits."""

    _deep = 0
    _nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node, no deeper than allowed."""
        if self._deep > DEPTH:
            raise ConfigError(f"line {self.line + 1}: more than {DEPTH} deep; write it flatter")
        self._deep += 1
        self._nodes += 1
        if self._nodes > NODES:
            raise ConfigError(f"line {self.line + 1}: more than {NODES:,} values; give fewer")
        try:
            return super().compose_node(parent, index)
        finally:
            self._deep -= 1

    def get_single_node(self) -> Any:
        """The whole document, checked before anything is built of it."""
        node = super().get_single_node()
        if node is not None and _measured(node, {}, 0)[0] > NODES:
            raise ConfigError(f"its aliases stand for more than {NODES:,} values; write fewer out")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        seen = set()
        for key, _ in node.value:
            given = (key.tag, str(key.value))
            if given in seen:
                raise ConfigError(f"line {key.start_mark.line + 1}: key {key.value!r} is given twice; keep one")
            seen.add(given)
        return super().construct_mapping(node, deep)


def _measured(node: yaml.Node, known: dict[int, tuple[int, int] | None], depth: int) -> tuple[int, int]:
    """How many values a node stands for, and how deep they lie; ``known`` holds None for what is being counted."""
    line = node.start_mark.line + 1
    if id(node) not in known:
        known[id(node)] = None
        _check(node)
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [one for pair in node.value for one in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        measured = [_measured(one, known, depth + 1) for one in inner]
        size = 1 + sum(size for size, _ in measured)
        known[id(node)] = (min(size, NODES + 1), 1 + max((height for _, height in measured), default=0))
    found = known[id(node)]
    if found is None:
        raise ConfigError(f"line {line}: an alias inside of what it names; write it out")
    if depth + found[1] > DEPTH + 1:
        raise ConfigError(f"line {line}: more than {DEPTH} deep with what aliases name; write it flatter")
    return found


def _check(node: yaml.Node) -> None:
    """Refuse what is neither text, number, true, false or null, nor made of these."""
    name, line = node.tag.rpartition(":")[2], node.start_mark.line + 1
    if node.tag not in _TAGS and name != "merge":
        cure = "put it in quotes" if isinstance(node, yaml.ScalarNode) else "write plain lists and mappings"
        raise ConfigError(f"line {line}: {str(node.value)!r:.60} is a {name} to YAML; {cure}")
    if isinstance(node, yaml.ScalarNode):
        if name in ("int", "float") and len(node.value) > DIGITS:
            raise ConfigError(f"line {line}: a number of {len(node.value)} signs; give up to {DIGITS}")
        if name == "str" and (wrong := _NO_TEXT.search(node.value)):
            raise ConfigError(f"line {line}: {wrong[0]!a} is no sign of a text; leave it out")


def _finite(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """A number within the range of a float."""
    whole = node.tag.endswith(":int")
    value: int | float = loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)
    if not abs(value) <= sys.float_info.max:
        raise ConfigError(
            f"line {node.start_mark.line + 1}: {node.value:.40} is no finite number; give one, or put it in quotes"
        )
    return value


_Loader.add_constructor("tag:yaml.org,2002:int", _finite)
_Loader.add_constructor("tag:yaml.org,2002:float", _finite)

_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")

_Loader.add_implicit_resolver(  # YAML 1.1 wants a dot in 1e-6 and would make it text
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, place: str) -> Any:
    """The content of a YAML text.

    Raises:
        ConfigError: it is no YAML, a key stands in it twice, or it is beyond the limits; with the line.

    >>> parse_yaml("{lr: 1e-6}", "here")
    {'lr': 1e-06}
    """
    try:
        if len(text) > SIZE:
            raise ConfigError(f"more than {SIZE:,} signs; give less")
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: no valid YAML: {' '.join(str(error).split()):.500}") from error
    except ConfigError as error:
        raise ConfigError(f"{place}, {error}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:  # a tag on what it does not fit, as !!int x
        raise ConfigError(f"{place}: no valid YAML: {error!s:.200}") from error


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ConfigError: it cannot be read, or as `parse_yaml`.
    """
    try:
        return parse_yaml(read_text(path, SIZE), str(path))
    except FileNotFoundError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
    except DataError as error:
        raise ConfigError(str(error)) from error


class _Dumper(yaml.SafeDumper):
    """YAML as people read it: text too long for a line is folded below its key."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers  # text that would be read as a number is quoted


def _folded(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    folds = len(text) > 60 and " " in text and text == " ".join(text.split())
    broken = any(sign in text for sign in "\x85\u2028\u2029")  # line breaks to PyYAML, which does not fold them back
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if broken else ">" if folds else None)


_Dumper.add_representer(str, _folded)


def format_yaml(node: Any) -> str:
    """A node as YAML text for a terminal of 80 columns; reading it gives the node again.

    >>> print(format_yaml({"kept": "The outcome of each response, whatever its length, and nothing else."}), end="")
    kept: >-
      The outcome of each response, whatever its length, and nothing else.
    """
    return yaml.dump(node, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=66)
