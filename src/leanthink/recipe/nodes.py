"""From YAML nodes to objects and back. A node is a registry name, or ``{name: {argument: value}}``.

A user's own class is named ``"pkg.mod:Name"``.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from leanthink.algorithms.verls import ESTIMATORS, LOSSES, UNAVAILABLE
from leanthink.core import schedules
from leanthink.core.errors import ConfigError, TrustError, did_you_mean
from leanthink.core.functions import locate
from leanthink.core.reward import Reward
from leanthink.recipe.registry import BASES, REGISTRY, Kind, kind_of, name_of
from leanthink.rewards.counted import Counted, Counts

COUNTS: Final = "counts"
"""The argument that every reward takes in a recipe beside its own: what its length is the length of."""

_QUOTE: Final = "YAML reads on, off, yes and no as booleans and digits as numbers: quote it or choose another name"


def build(node: Any, kind: Kind, place: str | None = None) -> Any:
    """The object a node stands for.

    Args:
        node: a name, or a mapping of one name to its arguments.
        kind: what is expected there.
        place: where the node stands, for errors; the kind without one.

    Raises:
        ConfigError: naming the place, what was given, what is allowed and the cure.

    >>> build({"scale": {"by": 0.5, "of": "correct"}}, "reward")
    Scale(by=0.5, of=Correct(right=1.0, wrong=0.0))
    """
    if isinstance(node, BASES[kind]):
        return node
    place = kind if place is None else place
    name, arguments = _split(node, kind, place)
    cls = _find(name, kind, place)
    place = f"{place}.{name}"
    hints, required, open_hint = _parameters(cls)
    counts = {}
    if kind == "reward" and COUNTS in arguments and COUNTS not in hints and open_hint is None:
        counts[COUNTS] = _convert(arguments[COUNTS], Counts, f"{place}.{COUNTS}")
        arguments = {key: value for key, value in arguments.items() if key != COUNTS}
    built = {}
    for key, value in arguments.items():
        if not isinstance(key, str):
            raise ConfigError(f"{place}: argument name {key!r:.80} is no text; {_QUOTE}")
        if key not in hints and open_hint is None:
            takes = ", ".join(hints) or "no argument"
            hint = f"; {did_you_mean(key, hints)}" if hints else ""
            raise ConfigError(f"{place}: no argument {key!r:.80}; {name} takes {takes}{hint}")
        built[key] = _convert(value, hints.get(key, open_hint), f"{place}.{key}")
    missing = [key for key in required if key not in built]
    if missing:
        raise ConfigError(f"{place}: argument {missing[0]!r} is missing; give {place}.{missing[0]}")
    try:
        return Counted(of=cls(**built), **counts) if counts else cls(**built)
    except TrustError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place}: {error}") from error


def describe(value: Any) -> Any:
    """The node that builds ``value`` again; arguments at their default are left out.

    >>> describe(build({"scale": {"by": {"linear": {"start": 0, "stop": 1, "steps": 9}}}}, "reward", "reward"))
    {'scale': {'by': {'linear': {'start': 0.0, 'stop': 1.0, 'steps': 9}}}}
    """
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if not isinstance(value, tuple(base for bases in BASES.values() for base in bases)):
        return value
    if isinstance(value, Counted) and (short := _with_counts(value)) is not None:
        return short
    if isinstance(value, Reward) and _parameters(type(value))[2] is not None:  # named parts
        arguments = {name: describe(child) for name, child in value.children().items()}
    else:
        arguments = {
            field.name: describe(getattr(value, field.name))
            for field in dataclasses.fields(value)  # type: ignore[arg-type]
            if field.init and getattr(value, field.name) != field.default
        }
    name = name_of(type(value))
    return {name: arguments} if arguments else name


def _with_counts(value: Counted) -> dict[str, Any] | None:
    """The node of what is counted, with that as an argument; None where it takes no argument of that name."""
    hints, _, open_hint = _parameters(type(value.of))
    if COUNTS in hints or open_hint is not None:
        return None
    node = describe(value.of)
    name, arguments = (node, {}) if isinstance(node, str) else next(iter(node.items()))
    return {name: {**arguments, COUNTS: value.counts}}


def default_nodes(name: str, place: str) -> dict[str, Any]:
    """The arguments that a part has a default for, by name, each as the node of its default; ``name`` as in a recipe.

    Empty for a name that nothing has.

    Raises:
        ConfigError: a class of one's own that cannot be imported, or is no part of a recipe.

    >>> default_nodes("truncation", "here")
    {'kappa': 0.0, 'of': 'correct', 'rule': 'multiply', 'limit': None}
    """
    cls = next((table[name] for table in REGISTRY.values() if name in table), None)
    if cls is None:
        if ":" not in name:
            return {}
        cls = locate(name, place)
        if not isinstance(cls, type) or kind_of(cls) is None:
            bases = ", ".join(base.__name__ for bases in BASES.values() for base in bases)
            raise ConfigError(f"{place}: {name} is no part of a recipe; name a subclass of {bases}")
    made = {f.name: f.default_factory() for f in _fields(cls) if f.default_factory is not dataclasses.MISSING}
    given = {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    return {name: describe(value) for name, value in (given | made).items() if value is not inspect.Parameter.empty}


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()


def _split(node: Any, kind: Kind, place: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(node, str):
        return node, {}
    if not isinstance(node, Mapping) or len(node) != 1:
        given = f"{len(node)} names ({', '.join(map(str, node))})" if isinstance(node, Mapping) else repr(node)
        cure = "; to add up several, put them under 'sum'" if kind == "reward" and isinstance(node, Mapping) else ""
        raise ConfigError(f"{place}: {given}; give one {kind}, as a name or as {{name: {{argument: value}}}}{cure}")
    name, arguments = next(iter(node.items()))
    if not isinstance(name, str):
        raise ConfigError(f"{place}: name {name!r:.80} is no text; {_QUOTE}")
    if arguments is None:
        return name, {}
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"{place}.{name}: {arguments!r:.80} is no mapping; give arguments as {{argument: value}}")
    return name, arguments


def _find(name: str, kind: Kind, place: str) -> type:
    table = REGISTRY[kind]
    if name in table:
        return table[name]
    if kind in ("loss", "advantage") and name in UNAVAILABLE:
        raise ConfigError(f"{place}: verl's {name} cannot be a recipe's {kind}: {UNAVAILABLE[name]}")
    if twin := {"loss": LOSSES, "advantage": ESTIMATORS}.get(kind, {}).get(name):
        raise ConfigError(f"{place}: no {kind} {name!r}; what verl calls so is {twin!r} here")
    if ":" not in name:
        raise ConfigError(f"{place}: no {kind} {name!r:.80}; {did_you_mean(name, table)} (your own: 'pkg.mod:Name')")
    cls = locate(name, place)
    if not (isinstance(cls, type) and issubclass(cls, BASES[kind])):
        bases = " or ".join(base.__name__ for base in BASES[kind])
        raise ConfigError(f"{place}: {name} is no {kind}; subclass leanthink's {bases}")
    return cls


def _parameters(cls: Any) -> tuple[dict[str, Any], list[str], Any]:
    """Type hints by argument, the arguments without default, and the hint of ``**arguments`` if it takes any."""
    signature = inspect.signature(cls)
    hints = typing.get_type_hints(cls if dataclasses.is_dataclass(cls) else cls.__init__)
    open_hint = None
    by_name, required = {}, []
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            open_hint = typing.get_type_hints(cls.__init__).get(parameter.name, Any)
            continue
        by_name[parameter.name] = hints.get(parameter.name, Any)
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
    return by_name, required, open_hint


_SHARE: Final = ", or a share of the response limit, as '0.5 * max_response_length'"
_PLAIN: Final[Mapping[type, tuple[str, tuple[type, ...]]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("text", (str,)),
}


def _convert(value: Any, hint: Any, place: str) -> Any:
    """``value`` checked against, and built for, the type an argument asks for."""
    if hint is Any:
        return value
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, options, place)
    if origin is Literal:
        if not any(value == option and type(value) is type(option) for option in options):
            allowed = ", ".join(map(repr, options))
            raise ConfigError(f"{place}: {value!r:.80} is not allowed; give one of {allowed}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{place}: {value!r:.80} is no list; give a list in brackets")
        each = [options[0]] * len(value) if options[-1] is ... else options
        if len(each) != len(value):
            raise ConfigError(f"{place}: {value!r:.80} has {len(value)} entries; give {len(each)}")
        return tuple(_convert(item, of, f"{place}[{i}]") for i, (item, of) in enumerate(zip(value, each, strict=True)))
    for kind, bases in BASES.items():
        if isinstance(hint, type) and issubclass(hint, bases):
            built = build(value, kind, place)
            if not isinstance(built, hint):  # a kind may have several bases
                fitting = [name for name, cls in REGISTRY[kind].items() if issubclass(cls, hint)]
                raise ConfigError(
                    f"{place}: {name_of(type(built))} is no {hint.__name__}; give one of {', '.join(fitting)}"
                )
            return built
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{place}: {value!r:.80} is not finite; give a finite number")
        return float(value)  # 1 and 1.0 print differently, and names of columns are made of what prints
    if hint in _PLAIN:
        wanted, accepted = _PLAIN[hint]
        if (
            hint in (int, float)
            and isinstance(value, Mapping)
            and value
            and value.keys() <= REGISTRY["schedule"].keys()
        ):
            raise ConfigError(
                f"{place}: {value!r:.80} is a schedule, and this takes {wanted} only; in a class of your own, declare "
                "it `Number` and read it with `at(self.argument, batch.step)` (from leanthink import Number, at)"
            )
        if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
            share = _SHARE if hint in (int, float) and _means_a_share(value) else ""
            raise ConfigError(f"{place}: {value!r:.80} is not {wanted}; give {wanted}{share}")
    return value


def _means_a_share(value: Any) -> bool:
    """Whether text that is no share of the response limit may be meant as one (see `leanthink.recipe.lengths`)."""
    return isinstance(value, str) and "length" in value


def _convert_union(value: Any, options: tuple[Any, ...], place: str) -> Any:
    if value is None and type(None) in options:
        return None
    if schedules.Schedule in options and isinstance(value, Mapping | str | schedules.Schedule):
        if _means_a_share(value):
            raise ConfigError(f"{place}: {value!r:.80} is not a number; give a number, a schedule{_SHARE}")
        return build(value, "schedule", place)
    wanted = [option for option in options if option not in (type(None), schedules.Schedule)]
    for option in wanted[:-1]:
        try:
            return _convert(value, option, place)
        except ConfigError:
            continue
    return _convert(value, wanted[-1], place)
