"""Changes to a recipe's node: ``key=value`` of a command line, and what its ``cpu`` block says of its tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.recipe.defaults import DEFAULTS
from leanthink.recipe.keys import AGENT, KEYS, PARTS, check_key, check_keys_written, in_tree, tree_keys
from leanthink.recipe.nodes import default_nodes, describe
from leanthink.recipe.yaml import parse_yaml


def scaled_to_cpu(node: Any, place: str) -> Any:
    """A copy of a recipe's node whose tree is changed as its ``cpu`` block says."""
    if not isinstance(node, Mapping) or not isinstance(node.get("cpu"), Mapping):
        return node  # what is wrong with it is told where the recipe is built
    changed = _copy(node)
    for key, value in tree_keys({str(key): value for key, value in node["cpu"].items()}).items():
        check_key(key, f"{place}, cpu")
        _set_in_tree(changed, key.split("."), value, f"{place}, cpu: {key}")
    return changed


def read_override(text: str) -> tuple[str, Any]:
    """The key of ``key=value``, and the value, which is YAML.

    Raises:
        ConfigError: the text is no override, or its key is none.

    >>> read_override("data.train_batch_size=8")
    ('data.train_batch_size', 8)
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{text!r:.80} is no override; write key=value, as in reward.sigmoid_length.alpha=0.1")
    check_key(key, "an override")
    content = parse_yaml(value, f"override {key}")
    check_keys_written({key: content}, f"override {key}")
    return key, content


def apply_overrides(node: Any, overrides: Iterable[str], place: str) -> Any:
    """A copy of a recipe's node with ``key=value`` changes; values are YAML.

    What the recipe accepts, it accepts of its own reward and advantage: not once either is changed.
    """
    if not isinstance(node, Mapping):
        return node
    given, node = node, _copy(node)
    for override in overrides:
        key, value = read_override(override)
        path = key.split(".")
        if key == AGENT:
            node[key] = value
        elif in_tree(key):
            _set_in_tree(node, path, value, f"{place}: override {key}")
        elif path[0] in KEYS and path[0] not in PARTS:
            raise ConfigError(
                f"{place}: override {key}: only {', '.join(PARTS)} and verl's own keys can be overridden; "
                "write verl's keys as verl does, as in data.train_batch_size=8"
            )
        else:
            for block in ("verl", "cpu"):
                keys = {} if node.get(block) is None else node[block]
                node[block] = {**keys, key: value} if isinstance(keys, Mapping) else keys
    if any(node.get(part) != given.get(part) for part in ("reward", "advantage")):
        node.pop("accepts", None)
    return node


def _copy(node: Any) -> Any:
    """A copy in which nothing is shared, so that a change under one YAML alias leaves the others alone."""
    if isinstance(node, Mapping):
        return {key: _copy(value) for key, value in node.items()}
    return [_copy(value) for value in node] if isinstance(node, list) else node


def _set_in_tree(node: dict[str, Any], path: list[str], value: Any, place: str) -> None:
    """Change a part in place; one left to its default is written out first, and one that is not there begun."""
    if node.get(path[0]) is None:
        if path[0] in DEFAULTS:
            node[path[0]] = describe(DEFAULTS[path[0]])
        elif len(path) > 2:  # limit.per_step.at_most=4000, where there is no limit
            node[path[0]] = path[1]
    _set(node, path, value, place)


def _set(node: dict[str, Any], path: list[str], value: Any, place: str) -> None:
    here = node
    for depth, name in enumerate(path[:-1]):
        where = ".".join(path[:depth]) or "the top"
        if depth and name not in here:
            left_out = default_nodes(path[depth - 1], place) if depth % 2 == 0 else {}  # arguments of a part
            if name not in left_out:
                known = map(str, [*here, *left_out])
                raise ConfigError(f"{place}: nothing named {name!r} at {where}; {did_you_mean(name, known)}")
            here[name] = left_out[name]
        below = here.get(name)
        if below is None:  # `{correct: }` before reward.correct.right=2
            below = {}
        elif below == path[depth + 1]:  # `reward: correct` before it
            below = {below: {}}
        if not isinstance(below, dict):
            raise ConfigError(
                f"{place}: {'.'.join(path[: depth + 1])} is {below!r:.80}, which has no {path[depth + 1]!r}"
            )
        here[name] = below
        here = below
    here[path[-1]] = value
