"""YAML as people mean it, read and written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from leanthink.core.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: 1e-6 is a number, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        seen = set()
        for key, _ in node.value:
            given = (key.tag, str(key.value))
            if given in seen:
                raise ConfigError(f"line {key.start_mark.line + 1}: key {key.value!r} is given twice; keep one")
            seen.add(given)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 wants a dot in 1e-6 and would make it text
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, place: str) -> Any:
    """The content of a YAML text.

    Raises:
        ConfigError: it is no YAML, or a key stands in it twice.

    >>> parse_yaml("{lr: 1e-6}", "here")
    {'lr': 1e-06}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: no valid YAML: {' '.join(str(error).split())}") from error
    except ConfigError as error:
        raise ConfigError(f"{place}, {error}") from error


def read_yaml(path: Path) -> Any:
    """The content of a YAML file."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is no UTF-8 text; save it as UTF-8") from error


class _Dumper(yaml.SafeDumper):
    """YAML as people read it: text too long for a line is folded below its key."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers  # text that would be read as a number is quoted


def _folded(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    folds = len(text) > 60 and " " in text and text == " ".join(text.split())
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">" if folds else None)


_Dumper.add_representer(str, _folded)


def format_yaml(node: Any) -> str:
    """A node as YAML text for a terminal of 80 columns; reading it gives the node again.

    >>> print(format_yaml({"kept": "The outcome of each response, whatever its length, and nothing else."}), end="")
    kept: >-
      The outcome of each response, whatever its length, and nothing else.
    """
    return yaml.dump(node, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=66)
