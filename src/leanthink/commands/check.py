"""``leanthink check``: does a reward, or an advantage, keep what every one of them promises? In plain words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from leanthink.algorithms import Advantage, TokenAdvantage
from leanthink.commands import trust
from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.core.functions import locate
from leanthink.core.reward import Reward, Scope
from leanthink.recipe.advice import depends_on_length
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.nodes import build
from leanthink.recipe.registry import REGISTRY, Kind, kind_of
from leanthink.recipe.yaml import parse_yaml, read_yaml
from leanthink.testing import ContractError, check_advantage, check_reward, check_token_advantage

BROKEN: Final = 3

PROMISES: Final[Mapping[str, tuple[str, str]]] = {  # words of the contract test: what they mean, and the usual cure
    "must pickle": (
        "it cannot travel to other processes, or be written into a recipe",
        "make it a frozen, keyword-only dataclass at the top of a module, its arguments numbers, texts or other parts",
    ),
    "pickled or built again": (
        "a copy of it is not equal to it, so a run could not be continued with the same recipe",
        "keep everything that decides its value in the fields of a frozen dataclass",
    ),
    "every batch has a finite value": (
        "it fails on a batch that training can bring: empty, a group of one, all right, all wrong, or all truncated",
        "handle the batch shown; the functions in leanthink.core.groups bear all of these",
    ),
    "update gives a new state": (
        "there is nothing to go on with after a step",
        "end update with `return reward_N, state`: the rewards first, then a new dict with the keys of init()",
    ),
    "one finite float64 number per response": (
        "the gradient would be not a number, or the values would not belong to the responses",
        "return torch.float64 of shape (N,); guard divisions with clamp(min=...), and mind groups with nobody in them",
    ),
    "the batch is not changed": ("whatever reads the batch after it sees other numbers", "work on a new tensor"),
    "the state that goes in is not changed": (
        "a run that is killed and goes on would count twice",
        "return a new dict instead of changing the one given",
    ),
    "deterministic": (
        "the same responses get another value each time, so nothing can be reproduced",
        "take randomness out, or draw it from a column of the batch",
    ),
    "JSON gives the state back": (
        "the state would not survive a checkpoint",
        "keep numbers, texts, lists and dicts with text keys in it; no tensors. What is empty in init() may grow, by "
        "numbers; all else keeps its keys, and passes its own wrong_state",
    ),
    "permuting the responses": (
        "a response's value depends on where it stands in the batch",
        "use batch.group and the functions in leanthink.core.groups instead of positions",
    ),
    "groups do not leak": (
        "what one prompt's responses earn depends on other prompts",
        "compute per group, or declare `scope = Scope.BATCH` where that is meant",
    ),
    "responses do not leak": (
        "what a response earns depends on the others of its prompt",
        "declare `scope = Scope.GROUP` where that is meant",
    ),
    "never scores below a wrong one": (
        "training would pay the policy for a short wrong answer instead of a long right one",
        "bound the penalty; `is_term = True` where it is only ever added to another reward",
    ),
    "must not change it": ("it remembers something in itself", "keep what it remembers in its state (StatefulReward)"),
    "it sums to 0 over a group": (
        "responses of a prompt are pushed up or down as a whole",
        "subtract the group's mean, or say --not-centred where that is meant",
    ),
    "exactly 0 where rewards are equal": (
        "a group without any difference still moves the policy",
        "subtract the group's mean, or say --not-centred where that is meant",
    ),
    "inputs are not changed": ("whatever reads them after it sees other numbers", "work on new tensors"),
    "keeps all that it has chosen": (
        "in training it would choose again among those it chose, without its memory",
        "let `__call__` leave nobody out whom `select` may choose",
    ),
    "chooses alike": (
        "a run that is killed and goes on would leave out other responses",
        "decide by the arguments of `select` alone, and return a new dict of numbers, lists and dicts for its state",
    ),
    "0 where the mask is 0": ("tokens that are no part of the response would be trained on", "multiply by the mask"),
    "empty mask takes no part": (
        "a response without a verdict moves the others",
        "compute means over the tokens of the mask only",
    ),
    "padding changes nothing": ("its value depends on the batch's longest response", "compute over the mask only"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    trust.add_argument(parser)
    add(
        "what",
        metavar="pkg.mod:Name",
        help="a class, a registered name, {name: {argument: value}}, or a .yaml",
    )
    add("overrides", nargs="*", metavar="argument=value", help="its arguments; keys of the recipe where it is one")
    add(
        "--column",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="how to draw a column it requires: whole numbers from LOW to HIGH; repeatable",
    )
    add("--rounds", type=int, default=20, help="random batches for each training step looked at (default: 20)")
    add("--wrong-may-beat-correct", action="store_true", help="do not ask that right scores at least as well as wrong")
    add("--not-centred", action="store_true", help="do not ask that an advantage sums to 0 over a group")


def run(args: argparse.Namespace, console: Console) -> int:
    """Check; 0 where all promises are kept, 3 where one is broken, 1 where it cannot even be made."""
    if args.rounds < 1:
        raise ConfigError(f"--rounds is {args.rounds}; give 1 or more")
    columns = dict(map(_column, args.column))
    code = 0
    for thing, may in _things(args.what, args.overrides):
        may = may or args.wrong_may_beat_correct
        show = _printer(console)
        show(f"{thing!r}")
        try:
            if isinstance(thing, Reward):
                needed = thing.requires - set(columns)
                check_reward(thing, columns, wrong_may_beat_correct=may, rounds=args.rounds)
                _describe(thing, may, show)
            elif isinstance(thing, Advantage):
                check_advantage(thing, centred=not args.not_centred, rounds=args.rounds)
            elif isinstance(thing, TokenAdvantage):
                check_token_advantage(thing, rounds=args.rounds)
            else:
                show("  verl's own estimator: nothing of ours to check")
                continue
        except ContractError as error:
            if isinstance(thing, Reward) and "give how to draw it" in str(error):
                name = sorted(name for name in needed if repr(name) in str(error))[0]
                raise ConfigError(
                    f"{type(thing).__name__} requires the column {name!r}; say how to draw it, as in "
                    f"--column {name}=100:4000"
                ) from error
            _explain(error, show)
            code = BROKEN
        else:
            show("  ok: it keeps every promise")
    return code


def _printer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def _explain(error: ContractError, show: Callable[[str], None]) -> None:
    """The broken promise, what it would do in training, the usual cure, and the batch that shows it."""
    text, _, batch = str(error).partition("\n")
    meaning, cure = next((words for key, words in PROMISES.items() if key in text), ("", ""))
    show(f"  BROKEN: {text.split('broken promise: ')[-1]}")
    if meaning:
        show(f"  that means: {meaning}")
        show(f"  cure: {cure}")
    if batch:
        show(f"  seen on: {batch.strip()}")


def _describe(reward: Reward, may: bool, show: Callable[[str], None]) -> None:
    """What the checks found out about a reward that is fine."""
    scope = {
        Scope.RESPONSE: "each response by itself",
        Scope.GROUP: "the responses of a prompt together",
        Scope.BATCH: "the whole batch",
    }
    show(f"  looks at: {scope[reward.scope]}{', and what it remembers' if reward.reads_state else ''}")
    show(f"  length: {'right responses earn by it' if depends_on_length(reward) else 'right responses earn the same'}")
    if reward.is_term:
        show("  it is a term: right above wrong was not asked; check the reward it is added to")
    elif may:
        show("  right above wrong was not asked")


def _column(text: str) -> tuple[str, Callable[[torch.Generator, int], torch.Tensor]]:
    name, equals, span = text.partition("=")
    low, colon, high = span.partition(":")
    try:
        if not (name and equals and colon):
            raise ValueError
        first, last = int(low), int(high)
        if last < first:
            raise ValueError
    except ValueError:
        raise ConfigError(f"--column {text}: write NAME=LOW:HIGH with whole numbers, as in budget=100:4000") from None
    return name, lambda generator, n: torch.randint(first, last + 1, (n,), generator=generator).double()


def _things(what: str, overrides: list[str]) -> list[tuple[Any, bool]]:
    """What is to be checked, each with whether it declares that wrong may beat correct."""
    if what.endswith((".yaml", ".yml")):
        node = read_yaml(Path(what))
        if isinstance(node, Mapping) and "reward" in node:
            recipe = load_recipe(what, overrides)
            return [(recipe.reward, recipe.wrong_may_beat_correct), (recipe.advantage, False)]
        if overrides:
            raise ConfigError(f"{what} holds no recipe, so {overrides[0]!r} has no place in it; change the file")
        return [(_part(node, what), False)]
    node = parse_yaml(what, "what to check") if what.lstrip().startswith("{") else what
    if overrides:
        if not isinstance(node, str):
            raise ConfigError(f"{overrides[0]!r} beside {what}; write the arguments in one place")
        node = {node: dict(_argument(text) for text in overrides)}
    return [(_part(node, "the class to check"), False)]


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{text!r} is no argument; write name=value, as in alpha=0.2")
    return name, parse_yaml(value, f"argument {name}")


def _part(node: Any, place: str) -> Any:
    """The reward or advantage that a node stands for, whichever it is."""
    name = str(next(iter(node)) if isinstance(node, Mapping) and node else node)
    if ":" in name:
        cls = locate(name, place)
        kind = kind_of(cls) if isinstance(cls, type) else None
        if kind not in ("reward", "advantage"):
            given = f"a {kind}" if kind else "neither a reward nor an advantage"
            raise ConfigError(f"{place}: {name} is {given}; check takes subclasses of leanthink.Reward or Advantage")
        return build(node, kind, place)
    kinds: tuple[Kind, ...] = ("reward", "advantage")
    for kind in kinds:
        if name in REGISTRY[kind]:
            return build(node, kind, place)
    hint = did_you_mean(name, [*REGISTRY["reward"], *REGISTRY["advantage"]])
    raise ConfigError(f"{place}: no reward or advantage {name!r}; {hint} (your own: pkg.mod:Name)")
