"""What a recipe calls things: a class by its short name, functions and classes of one's own by "pkg.mod:name"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from leanthink.core.code import check_trusted, import_named
from leanthink.core.errors import ConfigError

_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def short_name(cls: type) -> str:
    """What a class is called in recipes: its name in snake case, unless it says ``registered_as = "..."`` itself.

    >>> from leanthink.core.limits import FromReward
    >>> short_name(FromReward)
    'from_reward'
    """
    return str(vars(cls).get("registered_as") or _WORDS.sub("_", cls.__name__).lower())


def full_name(cls: type) -> str:
    """``pkg.mod:Name``, as a recipe names a class of one's own."""
    return f"{cls.__module__}:{cls.__qualname__}"


def check_name(name: str, place: str) -> None:
    """Refuse what cannot name a function, or may not; whether there is one is only seen where it is called.

    Raises:
        ConfigError: naming the place.
    """
    if not all(name.partition(":")[::2]):
        raise ConfigError(f"{place} is {name!r}; give 'pkg.mod:function'")
    check_trusted(name, place)


def locate(name: str, place: str, what: str = "") -> Any:
    """What ``pkg.mod:Name`` names; ``what`` is how an error calls it.

    It is looked for where Python looks, then beside the recipe, then in the current folder (`leanthink.core.code`).

    Raises:
        ConfigError: there is no such module, or nothing of that name in it.
        TrustError: nobody has said to trust it.
    """
    module_name, _, attribute = name.partition(":")
    if what or module_name.partition(".")[0] != "leanthink":  # a class of ours is checked to be one
        check_trusted(name, place)
    try:
        found: Any = import_named(module_name)
    except (ImportError, TypeError, ValueError) as error:  # not there; a relative name; no name at all
        raise ConfigError(
            f"{place}: cannot import {module_name!r} ({error}); put it beside the recipe, run from its folder, or put "
            "it on PYTHONPATH"
        ) from error
    for step in attribute.split("."):
        if not hasattr(found, step):
            raise ConfigError(f"{place}: module {module_name!r} has no {what}{attribute!r}; check the name after ':'")
        found = getattr(found, step)
    return found


def load_function(name: str, place: str) -> Callable[..., Any]:
    """The function of a name.

    Raises:
        ConfigError: naming the place and what is not there.

    >>> load_function("math:sqrt", "here")(4)
    2.0
    """
    function: Callable[..., Any] = locate(name, place, "function ")
    if not callable(function):
        module_name, _, attribute = name.partition(":")
        raise ConfigError(f"{place}: module {module_name!r} has no function {attribute!r}; check the name after ':'")
    return function
