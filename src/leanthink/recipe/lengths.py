"""Lengths of a recipe that are shares of the response limit: the text ``0.8 * max_response_length`` for a number.

A share is resolved when the recipe is loaded, against ``data.max_response_length`` as it then is, an override of it
included, to a whole number of tokens. What is loaded, shown, trained and stored holds numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from leanthink.core.errors import ConfigError
from leanthink.recipe.keys import PARTS, Profile

LONGEST: Final = "data.max_response_length"
TESTBED_LONGEST: Final = 96
"""The response limit of the CPU profile's testbed, where neither a recipe nor an override sets another."""

_SHARE: Final = re.compile(r"(?:([0-9.eE+-]+) *\* *)?max_response_length")


def resolved(node: Any, place: str, profile: Profile = "gpu") -> Any:
    """A copy of a recipe's node whose shares of the response limit are tokens.

    Args:
        node: the recipe, overrides applied.
        place: where it stands, for errors.
        profile: whose response limit counts.

    Raises:
        ConfigError: a share that is none, or of a limit that is not set or no whole number.

    >>> node = {"limit": {"per_step": {"at_most": "0.5 * max_response_length"}}, "verl": {LONGEST: 4001}}
    >>> resolved(node, "here")["limit"]
    {'per_step': {'at_most': 2000}}
    """
    if not isinstance(node, Mapping):
        return node  # what is wrong with it is told where the recipe is built
    return {
        key: _resolved(value, f"{place}, {key}", node, profile) if key in PARTS else value
        for key, value in node.items()
    }


def _resolved(value: Any, place: str, node: Mapping[str, Any], profile: Profile) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(inner, f"{place}.{key}", node, profile) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, f"{place}[{row}]", node, profile) for row, inner in enumerate(value)]
    found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return value
    return max(1, round(_share(found[1], value, place) * _longest(value, place, node, profile)))


def _share(text: str | None, value: str, place: str) -> float:
    """Above 0 and up to 1: nothing beyond the limit is ever written."""
    try:
        share = 1.0 if text is None else float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError(
            f"{place}: {value!r} is no share of the response limit; give one above 0 and up to 1, as in "
            "'0.5 * max_response_length'"
        )
    return share


def _longest(value: str, place: str, node: Mapping[str, Any], profile: Profile) -> int:
    keys = node.get("cpu" if profile == "cpu" else "verl")
    longest = keys.get(LONGEST) if isinstance(keys, Mapping) else None
    if longest is None and profile == "cpu":
        longest = TESTBED_LONGEST
    if longest is None:
        raise ConfigError(
            f"{place}: {value!r} is a share of {LONGEST}, which the recipe does not set; set it under 'verl', as an "
            f"override {LONGEST}=8192, or give tokens"
        )
    if isinstance(longest, bool) or not isinstance(longest, int | float) or longest != int(longest) or longest < 1:
        raise ConfigError(
            f"{place}: {value!r} is a share of {LONGEST}, which is {longest!r:.80}; give a whole number there"
        )
    return int(longest)
