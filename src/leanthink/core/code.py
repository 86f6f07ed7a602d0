"""Code of one's own that a recipe names: what may be imported, and where it is looked for.

A recipe names code as ``pkg.mod:Name``, and by some of verl's keys. As with ``trust_remote_code`` of transformers, the
command line imports what a *file* names only with ``--trust-code``; what somebody types is theirs. A program that calls
the library runs code of its own anyway, so there everything may be named.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from leanthink.core.errors import TrustError

FOLDERS: Final = "LEANTHINK_CODE_PATH"
"""The variable that tells other processes, verl's workers among them, where the code of a recipe lies."""

SHIPPED: Final = frozenset(
    {
        "leanthink.rewards.redundant_thinking:until_first_mention",
        "leanthink.rewards.thinking_compression:until_answer",
        "leanthink.verl.rollout.reward_model:conciseness",
        "leanthink.testbed.scorer:few_rechecks",
    }
)
"""Functions of leanthink that a recipe may name; any other would be called with a response's text as its arguments."""

_NAME: Final = re.compile(r"[\w.]+:[\w.]+")
_KEY: Final = re.compile(
    r"(?:^|[._])(?:trust_remote_code|external_lib|custom|\w*class|cls|module|function|hook|command|cmd|fqn|executable"
    r"|runtime_env|py_modules|plugins?|sandbox_fusion|config_path|tool_path|tool_config)(?:$|[._])"
    r"|(?:^|\.)_target_$|^(?:hydra|ray_kwargs)(?:$|[./@])"
)
_FOLDERS: list[str] = []
_allowed: list[frozenset[str] | None] = [None]  # the innermost block decides; None: whatever is named


@contextmanager
def trusting(allowed: Iterable[str] | None) -> Iterator[None]:
    """Within, only these names of code may be imported; None for all of them."""
    _allowed.append(None if allowed is None else frozenset(allowed))
    try:
        yield
    finally:
        _allowed.pop()


def named_in(texts: Iterable[str]) -> set[str]:
    """The names of code, and of keys, in what somebody has typed.

    >>> sorted(named_in(["train", "mine.yaml", "reward=my.rewards:Mine", "data.custom_cls.path=a.py"]))
    ['data.custom_cls.path', 'my.rewards:Mine', 'reward']
    """
    names = {name for text in texts for name in _NAME.findall(text)}
    return names | {text.partition("=")[0].lstrip("+") for text in texts if "=" in text}


def check_trusted(name: str, place: str) -> None:
    """Refuse code that a file names and nobody has said to trust.

    Raises:
        TrustError: naming it and the place.
    """
    allowed = _allowed[-1]
    if allowed is None or name in allowed or name in SHIPPED:
        return
    raise TrustError(
        f"{place} names code to run, {name}; a file that names code can do whatever you can: read it, "
        "and give --trust-code if you trust it"
    )


def check_keys_trusted(keys: Mapping[str, Any], place: str) -> None:
    """Refuse keys of a trainer that name code, as ``data.custom_cls.path`` does.

    Raises:
        TrustError: naming key and place.
    """
    if _allowed[-1] is None:
        return
    for key, value in _flat(keys, ""):
        bare = key.lstrip("+~")
        if bare.partition(".")[0] == "leanthink":
            for text in (word for word in [bare, value] if isinstance(word, str) and _NAME.search(word)):
                check_trusted(text, f"{place}: {bare}")
        elif value not in (None, False, "") and _KEY.search(bare):
            typed = (bare[: match.start()] for match in re.finditer(r"\.|$", bare))
            if not any(name in (_allowed[-1] or ()) for name in typed):
                check_trusted(bare, place)


def _flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _flat(item, path)
    else:
        yield path, node


def names_own(node: Any) -> bool:
    """Whether a recipe's node names code that is not leanthink's.

    >>> names_own({"my.rewards:Mine": {}}), names_own({"scale": {"of": "correct"}})
    (True, False)
    """
    if isinstance(node, Mapping):
        return any(names_own(key) or names_own(value) for key, value in node.items())
    if isinstance(node, list | tuple):
        return any(map(names_own, node))
    return isinstance(node, str) and bool(_NAME.fullmatch(node)) and not node.startswith("leanthink.")


def look_in(folder: Path) -> None:
    """Look for code in a folder, too, behind everything that is installed; the folder of a recipe, say."""
    path = str(folder.absolute())
    if path not in _FOLDERS:
        _FOLDERS.append(path)


def folders() -> list[str]:
    """Where code of one's own is looked for, in order: beside the recipe, then in the current folder."""
    given = os.environ.get(FOLDERS, "").split(os.pathsep)
    return list(dict.fromkeys([*_FOLDERS, *filter(None, given), os.getcwd()]))


def import_named(name: str) -> ModuleType:
    """The module of a name; what is not installed is looked for in :func:`folders`, which go to the path's end."""
    top = name.partition(".")[0]
    if top and top not in sys.modules and importlib.util.find_spec(top) is None:
        sys.path += [folder for folder in folders() if folder not in sys.path]
        importlib.invalidate_caches()
    return importlib.import_module(name)
