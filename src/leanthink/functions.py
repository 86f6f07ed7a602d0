"""Functions that a recipe names as "pkg.mod:function"."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from leanthink.errors import ConfigError


def check_name(name: str, place: str) -> None:
    """Refuse what cannot name a function; whether there is one is only seen where it is called.

    Raises:
        ConfigError: naming the place.
    """
    if not all(name.partition(":")[::2]):
        raise ConfigError(f"{place} is {name!r}; give 'pkg.mod:function'")


def load_function(name: str, place: str) -> Callable[..., Any]:
    """The function of a name.

    Raises:
        ConfigError: naming the place and what is not there.

    >>> load_function("math:sqrt", "here")(4)
    2.0
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{place}: cannot import {module_name!r} ({error}); run from its folder or put it on PYTHONPATH"
        ) from error
    function: Callable[..., Any] | None = getattr(module, attribute, None)
    if function is None or not callable(function):
        raise ConfigError(f"{place}: module {module_name!r} has no function {attribute!r}; check the name after ':'")
    return function
