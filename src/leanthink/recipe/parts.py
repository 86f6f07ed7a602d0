"""What a registered part is, in words: its docstring, arguments and defaults, read off the class."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.core.functions import short_name
from leanthink.core.reward import Composite, Reward, Scope
from leanthink.recipe.registry import REGISTRY, Kind, kind_of

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_WORDS: Final[Mapping[Any, str]] = {
    **{bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null", None: ""},
    **{Any: "", object: ""},
}
LOOKS_AT: Final[Mapping[str, str]] = {
    "response": "the response alone",
    "group": "its group",
    "batch": "the batch",
    "parts": "what its parts look at",
    "group or parts": "its group, or what its parts look at",
}
"""What a reward looks at, by `Part.scope`."""
_ROLE: Final = re.compile(r":(?:class|func|meth|mod|attr|data):`~?([\w.]+)`")
_ARGUMENT: Final = re.compile(r"(\w+): (.*)")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An argument of a part.

    Attributes:
        name: as recipes write it.
        kind: what it may be, in words; empty where the class does not declare it.
        default: its value in YAML's words; None where it must be given.
        text: what the docstring says of it.
    """

    name: str
    kind: str
    default: str | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a recipe.

    Attributes:
        kind: reward, advantage, loss, limit, stop or schedule.
        name: as recipes write it.
        scope: what a reward looks at, a key of `LOOKS_AT`; empty for other kinds.
        summary: the first paragraph of its docstring.
        text: the paragraphs behind it: formula, source, what differs.
        arguments: in the order of the class.
        example: of its use in Python; empty without one.
    """

    kind: Kind
    name: str
    scope: str
    summary: str
    text: tuple[str, ...]
    arguments: tuple[Argument, ...]
    example: str


def part_of(kind: Kind, name: str) -> Part:
    """A registered part.

    >>> part = part_of("reward", "sigmoid_length")
    >>> part.scope, part.arguments[1].name, part.arguments[1].default
    ('group', 'eps', '1e-07')
    """
    cls = REGISTRY[kind][name]
    prose, _, example = (inspect.getdoc(cls) or "").partition("\n>>> ")
    prose, _, told = prose.partition("\nArgs:\n")
    summary, *text = [_plain(one) for one in prose.strip().split("\n\n")]
    said = dict(_told(textwrap.dedent(told)))
    return Part(
        kind=kind,
        name=name,
        scope=_scope(cls),
        summary=summary,
        text=tuple(text),
        arguments=tuple(_arguments(cls, said)),
        example=f">>> {example}" if example else "",
    )


def parts(kinds: Sequence[Kind] = KINDS) -> Iterator[Part]:
    """All parts of some kinds, by kind and name."""
    return (part_of(kind, name) for kind in kinds for name in REGISTRY[kind])


def named(text: str) -> list[Part]:
    """The parts that a text names: ``drpo``, or ``loss.drpo`` where several kinds have the name.

    Raises:
        ConfigError: a kind is named that has no such part.

    >>> [part.kind for part in named("cosine")], named("nothing")
    (['schedule'], [])
    """
    kind, dot, name = text.rpartition(".")
    if not dot:
        return [part_of(one, text) for one in KINDS if text in REGISTRY[one]]
    for one in KINDS:
        if one == kind:
            if name not in REGISTRY[one]:
                raise ConfigError(f"there is no {kind} {name!r}; {did_you_mean(name, REGISTRY[one])}")
            return [part_of(one, name)]
    return []


def _told(text: str) -> Iterator[tuple[str, str]]:
    """Each argument with what is said of it; a line that stands further in goes on with the one before."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if blocks and (not line or line[0].isspace()):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    for block in blocks:
        found = _ARGUMENT.fullmatch(" ".join(" ".join(block).split()))
        if found is not None:
            yield found[1], _plain(found[2])


def _arguments(cls: type, said: dict[str, str]) -> Iterator[Argument]:
    hints = get_type_hints(cls)
    for name, parameter in inspect.signature(cls).parameters.items():
        any_name = parameter.kind is inspect.Parameter.VAR_KEYWORD  # as of `sum`: the parts of a mapping
        yield Argument(
            name="NAME" if any_name else name,
            kind="reward" if any_name else _kind(hints.get(name)),
            default=None if parameter.default is inspect.Parameter.empty else _value(parameter.default),
            text=said.get(name, ""),
        )


def _kind(hint: Any) -> str:
    """What a recipe may give for a hint, in words."""
    if hint in _WORDS:
        return _WORDS[hint]
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return " or ".join(map(str, inner))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_kind, inner)))
    if get_origin(hint) is not None:
        origin = get_origin(hint)
        words = ", ".join(_kind(one) for one in inner if one is not Ellipsis)
        return f"mapping of {words}" if issubclass(origin, Mapping) else f"list of {words}"
    return kind_of(hint) or "" if isinstance(hint, type) else ""


def _value(value: Any) -> str:
    """A default as a recipe would write it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if kind_of(type(value)) is not None:
        return short_name(type(value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value) if isinstance(value, str) and (value.split() != [value]) else str(value)


def _plain(text: str) -> str:
    """A paragraph in one line, without a documentation tool's markup."""
    text = _ROLE.sub(lambda role: role[1].rpartition(".")[2], " ".join(text.split()))
    return text.replace("``", "`")


def _scope(cls: type) -> str:
    """What a reward looks at by its class; a composite with defaults, or rewards of responses, for its parts."""
    if not issubclass(cls, Reward):
        return ""
    if not issubclass(cls, Composite):
        declared: Any = inspect.getattr_static(cls, "scope")
        return "response" if isinstance(declared, property) else str(declared.name).lower()
    scope = max(cls.own_scope, _made(cls).scope)
    return {Scope.RESPONSE: "parts", Scope.GROUP: "group or parts", Scope.BATCH: "batch"}[scope]


def _made(cls: type[Composite]) -> Reward:
    """A composite whose parts look at responses where it has none by default; such a part, where more is missing."""
    plain: Reward = REGISTRY["reward"]["correct"]()
    declared: Any = cls
    missing = [one for one in fields(declared) if one.init and one.default is one.default_factory is MISSING]
    if any(one.type != "Reward" for one in missing):
        return plain
    try:
        return cls(**{one.name: plain for one in missing})
    except ConfigError:  # it asks for one of several
        return plain
