"""Recipes: a published method as YAML, resolved into objects and verl's own keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from leanthink.algorithms import AnyAdvantage, Loss
from leanthink.core.code import check_keys_trusted, look_in
from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.core.limits import Limit, check_limit
from leanthink.core.reward import Reward
from leanthink.core.stopping import StopBias
from leanthink.core.text import as_label
from leanthink.recipe.defaults import DEFAULTS
from leanthink.recipe.keys import AGENTS, KEYS, PARTS, PROSE, Profile, check_keys_whole, check_keys_written, in_tree
from leanthink.recipe.lengths import resolved
from leanthink.recipe.nodes import build, describe
from leanthink.recipe.overrides import apply_overrides, scaled_to_cpu
from leanthink.recipe.registry import name_of
from leanthink.recipe.yaml import read_yaml


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method: what a response is worth, how that becomes gradients, and verl's settings.

    Attributes:
        name: the file's name without its ending, on one line.
        reward: the reward tree.
        advantage: the advantage estimator.
        loss: the policy loss.
        limit: how long a training response may become; None for verl's ``data.max_response_length``, which is also the
            most that any limit allows.
        stop: what ends the thinking of training responses sooner; None for the policy alone.
        agent: ``tools`` for responses of several turns with tools, by verl's tool agent loop; None for one turn.
        verl: verl's own configuration keys, dotted, as the paper sets them.
        cpu: keys for the CPU profile, which replace those of ``verl`` and the testbed's sizes there; those that begin
            with ``reward.``, ``advantage.``, ``loss.``, ``limit.`` or ``stop.`` change the recipe's tree, as lengths in
            tokens must.
        description: one line for ``leanthink list``.
        reference: the paper's ``title``, ``paper`` (its arXiv id) and ``where`` in it.
        wrong_may_beat_correct: declares that the paper's reward can rank a wrong response above a correct one.
        accepts: the advice that the recipe takes knowingly, as its paper does, by code (see `leanthink.recipe.advice`),
            each with the reason.
        family: the kind of method, as the tables of recipes are ordered; a word of your own for a recipe of your own.
        rests_on: how well its source is known, one of ``RESTS_ON`` in `leanthink.recipe.keys`; empty where nobody says.
        kept: what of the paper is kept: formula, constants, settings.
        differs: what is not as in the paper, not confirmed, or not stated there.
        use_when: the situation it is made for.
        not_when: the situation it does harm or nothing in.
        cost: what it costs beyond a step of GRPO with as many rollouts.
        paper_result: the paper's headline numbers, or that none could be confirmed.
    """

    name: str
    reward: Reward
    advantage: AnyAdvantage = DEFAULTS["advantage"]
    loss: Loss = DEFAULTS["loss"]
    limit: Limit | None = None
    stop: StopBias | None = None
    agent: str | None = None
    verl: Mapping[str, Any] = field(default_factory=dict)
    cpu: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    reference: Mapping[str, str] = field(default_factory=dict)
    wrong_may_beat_correct: bool = False
    accepts: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    rests_on: str = ""
    kept: str = ""
    differs: str = ""
    use_when: str = ""
    not_when: str = ""
    cost: str = ""
    paper_result: str = ""

    def parts(self) -> dict[str, Any]:
        """Its parts as nodes that build them again: what a training run carries with it."""
        return {part: describe(getattr(self, part)) for part in PARTS if getattr(self, part) is not None}

    def to_node(self) -> dict[str, Any]:
        """The whole recipe as YAML would hold it; ``recipe_from`` builds an equal one."""
        node: dict[str, Any] = {"description": self.description, "reference": dict(self.reference)}
        if self.wrong_may_beat_correct:
            node["wrong_may_beat_correct"] = True
        if self.accepts:
            node["accepts"] = dict(self.accepts)
        if self.agent is not None:
            node["agent"] = self.agent
        prose = {key: getattr(self, key) for key in PROSE if getattr(self, key)}
        return {**node, **self.parts(), "verl": dict(self.verl), "cpu": dict(self.cpu), **prose}


def recipe_from(node: Any, name: str, profile: Profile = "gpu") -> Recipe:
    """The recipe a YAML node stands for; lengths that are shares are of the profile's response limit.

    Raises:
        ConfigError: an unknown key, a missing reward, a term in its place, prose that is no paragraph, what is no key
            of a trainer's, or a node that does not build.
    """
    name = as_label(name)  # it stands in commands to be pasted, and in errors
    place = f"recipe {name}"
    if not isinstance(node, Mapping):
        raise ConfigError(
            f"{place}: {type(node).__name__} instead of a mapping; a recipe has the keys {', '.join(KEYS)}"
        )
    for key in node:
        if key not in KEYS:
            raise ConfigError(f"{place}: no key {key!r:.80}; {did_you_mean(key, KEYS)}")
    if node.get("reward") is None:
        raise ConfigError(f"{place}: 'reward' is missing; give a reward such as 'reward: correct'")
    node = resolved(node, place, profile)
    built = {part: build(node[part], part, f"{place}, {part}") for part in PARTS if node.get(part) is not None}
    settings: dict[str, Any] = {}
    for key in ("verl", "cpu", "reference", "accepts"):
        value = {} if node.get(key) is None else node[key]
        if not isinstance(value, Mapping) or not all(isinstance(inner, str) for inner in value):
            raise ConfigError(f"{place}, {key}: {value!r:.80} is no mapping; give {{key: value}}")
        settings[key] = dict(value)
    for key in ("verl", "cpu"):
        check_keys_written(settings[key], f"{place}, {key}", trainers=key == "verl")
        keys = {inner: value for inner, value in settings[key].items() if not in_tree(inner)}
        check_keys_trusted(keys, f"{place}, {key}")
        check_keys_whole(keys, f"{place}, {key}")
    agent = node.get("agent")
    if agent is not None and agent not in AGENTS:
        raise ConfigError(f"{place}, agent: {agent!r:.80} is not allowed; give {' or '.join(AGENTS)}, or nothing")
    settings |= {key: _paragraph(node.get(key), f"{place}, {key}") for key in PROSE}
    if built["reward"].is_term and node.get("wrong_may_beat_correct") is not True:
        raise ConfigError(
            f"{place}: its reward is {name_of(type(built['reward']))}, a term, which alone can rank a wrong response "
            f"above a correct one; add it to correctness, as in {_as_sum(describe(built['reward']))}, or declare "
            "'wrong_may_beat_correct: true'"
        )
    if built.get("limit") is not None:
        check_limit(built["limit"], built["reward"], f"{place}, limit")
    declared = node.get("wrong_may_beat_correct", False)
    if not isinstance(declared, bool):
        raise ConfigError(f"{place}: wrong_may_beat_correct is {declared!r:.80}; give true or false")
    return Recipe(
        name=name,
        description=str(node.get("description") or ""),
        wrong_may_beat_correct=declared,
        agent=agent,
        **settings,
        **built,
    )


def _as_sum(term: Any) -> str:
    """A reward that a term may stand in, as one would write it."""
    return yaml.safe_dump(
        {"reward": {"sum": {"correct": "correct", "length": term}}}, default_flow_style=True, sort_keys=False, width=999
    ).strip()[1:-1]


def _paragraph(value: Any, place: str) -> str:
    """Text of one paragraph, as it stands in a table or a list; empty where nothing is said."""
    if value is None:
        return ""
    cure = "write one paragraph, in quotes or folded below '>-'"
    if not isinstance(value, str):
        raise ConfigError(f"{place}: {value!r:.80} is no text; {cure}")
    text = value.strip()
    if "\n" in text:
        raise ConfigError(f"{place}: {text!r:.80} has {len(text.splitlines())} lines; {cure}")
    return text


def recipe_names() -> list[str]:
    """The names of the recipes that ship with the library."""
    folder = resources.files("leanthink") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name: str | Path, overrides: Iterable[str] = (), profile: Profile = "gpu") -> Recipe:
    """A recipe by name, or from a YAML file, with ``key=value`` changes applied.

    Keys that begin with ``reward.``, ``advantage.``, ``loss.``, ``limit.`` or ``stop.`` (or are one of these) change
    the recipe's tree; every other key is verl's own and wins over both profiles. Lengths that the recipe states as
    shares (see `leanthink.recipe.lengths`) follow ``data.max_response_length``. With the profile ``cpu``, the tree is
    that of the CPU testbed: the recipe's ``cpu`` block may change it, and the overrides come after.

    A class of one's own may lie beside the file.

    Raises:
        ConfigError: no such recipe, or one that does not build.

    >>> load_recipe("trle", ["reward.sigmoid_length.alpha=0.4"]).reward
    SigmoidLength(alpha=0.4, eps=1e-07, ddof=0, check_eos=True)
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        node, label = read_yaml(Path(text)), Path(text).stem
        look_in(Path(text).parent)
    elif text in recipe_names():
        node = read_yaml(Path(str(resources.files("leanthink") / "recipes" / f"{text}.yaml")))
        label = text
    else:
        raise ConfigError(
            f"no recipe {text!r:.80}; {did_you_mean(text, recipe_names())} (your own: a path ending in .yaml)"
        )
    place = f"recipe {as_label(label)}"
    if profile == "cpu":
        node = scaled_to_cpu(node, place)
    return recipe_from(apply_overrides(node, overrides, place), label, profile)
