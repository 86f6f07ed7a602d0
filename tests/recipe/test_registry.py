from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from leanthink.algorithms import Advantage, Grpo, Loss, PpoClip, Rloo, TokenAdvantage, VerlAdvantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.limits import Limit
from leanthink.core.measured import TextReward
from leanthink.core.reward import Reward, RewardN
from leanthink.core.schedules import Cosine, Linear, Schedule, Stairs
from leanthink.core.stopping import StopBias
from leanthink.recipe.nodes import build, describe
from leanthink.recipe.registry import REGISTRY, Kind, name_of, table_of
from leanthink.recipe.yaml import format_yaml, parse_yaml, read_yaml
from leanthink.rewards import Clip, Correct, Format, Gate, KimiLength, Running, Scale, SigmoidLength, SoftOverlong, Sum


@dataclass(frozen=True, kw_only=True)
class Typed(Reward):
    """One argument of every type."""

    whole: int = 1
    number: float | None = None
    flag: bool = False
    word: str = ""
    mode: Literal["a", 1] = "a"
    many: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "x")
    either: int | str = 0
    part: Reward | None = None
    anything: Any = None

    def score(self, batch: RolloutBatch) -> RewardN:
        return torch.zeros_like(batch.length)


@dataclass(frozen=True, kw_only=True)
class Picky(Reward):
    """Refuses what is above 1, in its own words."""

    value: float

    def __post_init__(self) -> None:
        if self.value > 1:
            raise ValueError("value must not be above 1")

    def score(self, batch: RolloutBatch) -> RewardN:
        return torch.zeros_like(batch.length)


class Unfinished(Reward):
    """Lacks score."""


HERE = __name__

NODES: list[tuple[Any, Kind, Any]] = [
    ("correct", "reward", Correct()),
    ({"correct": None}, "reward", Correct()),
    ({"correct": {}}, "reward", Correct()),
    ({"correct": {"right": 2, "wrong": -1}}, "reward", Correct(right=2, wrong=-1)),
    (
        {"scale": {"by": {"linear": {"start": 0, "stop": 1, "steps": 9}}}},
        "reward",
        Scale(by=Linear(start=0, stop=1, steps=9)),
    ),
    ({"scale": {"by": 1}}, "reward", Scale(by=1.0, of=Running())),
    ({"clip": {"low": None, "high": 1}}, "reward", Clip(high=1)),
    (
        {"gate": {"column": "correct", "of": "kimi_length", "negate": True}},
        "reward",
        Gate(column="correct", of=KimiLength(), negate=True),
    ),
    (
        {"sum": {"a": "correct", "b": {"soft_overlong": {"limit": 9, "buffer": 1}}}},
        "reward",
        Sum(a=Correct(), b=SoftOverlong(limit=9, buffer=1)),
    ),
    (Correct(), "reward", Correct()),
    ({"sum": {"a": Correct()}}, "reward", Sum(a=Correct())),
    ("leanthink.rewards:Correct", "reward", Correct()),
    (
        {
            f"{HERE}:Typed": {
                "pair": [3, "y"],
                "many": [1, 2],
                "either": "z",
                "mode": 1,
                "part": "correct",
                "anything": {"a": [1]},
            }
        },
        "reward",
        Typed(pair=(3, "y"), many=(1.0, 2.0), either="z", mode=1, part=Correct(), anything={"a": [1]}),
    ),
    ("rloo", "advantage", Rloo()),
    ({"grpo": {"scale": "none"}}, "advantage", Grpo(scale="none")),
    ({"ppo_clip": {"high": 0.28}}, "loss", PpoClip(high=0.28)),
    ({"stairs": {"values": [0, 0.5], "boundaries": [20]}}, "schedule", Stairs(values=(0.0, 0.5), boundaries=(20,))),
]


@pytest.mark.parametrize(("node", "kind", "value"), NODES, ids=lambda value: str(value)[:50])
def test_a_node_builds_and_is_described_again(node: Any, kind: Kind, value: Any) -> None:
    assert build(node, kind, kind) == value
    assert build(describe(value), kind, kind) == value
    assert build(parse_yaml(str(describe(value)).replace("None", "null"), "here"), kind, kind) == value


WRONG: list[tuple[Any, Kind, list[str]]] = [
    ("corect", "reward", ["top: no reward 'corect'", "did you mean 'correct'", "pkg.mod:Name"]),
    (
        "zzzzzz",
        "reward",
        ["no reward 'zzzzzz'", "allowed: adapt_think_reward, adaptive_step_length"],
    ),
    ("grpo", "reward", ["no reward 'grpo'"]),
    ("correct", "advantage", ["no advantage 'correct'", "grpo"]),
    (
        {"sigmoid_length": {"alhpa": 0.1}},
        "reward",
        ["top.sigmoid_length: no argument 'alhpa'", "takes alpha, eps", "did you mean 'alpha'"],
    ),
    ({"kimi_length": {"weight": 1}}, "reward", ["no argument 'weight'", "takes no argument"]),
    ({"sigmoid_length": None}, "reward", ["top.sigmoid_length", "'alpha' is missing"]),
    ({"sigmoid_length": {}}, "reward", ["'alpha' is missing", "give top.sigmoid_length.alpha"]),
    ({"soft_overlong": {"buffer": 5}}, "reward", ["'limit' is missing"]),
    ({"sigmoid_length": {"alpha": "0.1"}}, "reward", ["top.sigmoid_length.alpha", "'0.1'"]),
    ({"sigmoid_length": {"alpha": [0.1]}}, "reward", ["top.sigmoid_length.alpha: [0.1] is not a number"]),
    ({"sigmoid_length": {"alpha": True}}, "reward", ["top.sigmoid_length.alpha: True is not a number"]),
    ({"sigmoid_length": {"alpha": None}}, "reward", ["top.sigmoid_length.alpha: None is not a number"]),
    ({"sigmoid_length": {"alpha": float("nan")}}, "reward", ["alpha: nan is not finite"]),
    ({"clip": {"high": float("inf")}}, "reward", ["top.clip.high: inf is not finite"]),
    ({"sigmoid_length": {"alpha": 0.1, "ddof": 0.5}}, "reward", ["ddof: 0.5 is not a whole number"]),
    ({"sigmoid_length": {"alpha": 0.1, "ddof": True}}, "reward", ["ddof: True is not a whole number"]),
    ({"sigmoid_length": {"alpha": 0.1, "check_eos": 1}}, "reward", ["check_eos: 1 is not true or false"]),
    ({"sigmoid_length": {"alpha": 1.0}}, "reward", ["top.sigmoid_length", "alpha is 1.0", "less than 1"]),
    ({"format": {"open_tag": 3}}, "reward", ["top.format.open_tag: 3 is not text"]),
    ({"sigmoid_length": {"alpha": {"lineer": {}}}}, "reward", ["alpha: no schedule 'lineer'", "did you mean 'linear'"]),
    (
        {"sigmoid_length": {"alpha": {"linear": {"start": 0, "stop": 1}}}},
        "reward",
        ["alpha.linear", "'steps' is missing"],
    ),
    ({"sum": {"a": "correct", "b": {"scale": {"by": "x"}}}}, "reward", ["top.sum.b.scale.by"]),
    ({"sum": {"a": 3}}, "reward", ["top.sum.a: 3", "give one reward"]),
    ({"sum": {}}, "reward", ["top.sum", "no parts", "name at least one"]),
    ("sum", "reward", ["sum has no parts"]),
    ({"sum": {"of": "correct"}}, "reward", ["top.sum", "may not be named 'of'"]),
    ({"sum": {"a/b": "correct"}}, "reward", ["top.sum", "may not be named 'a/b'"]),
    ({"sum": {True: "correct"}}, "reward", ["top.sum", "True is no text", "quote it"]),
    ({"sum": {1: "correct"}}, "reward", ["top.sum", "1 is no text", "quote it"]),
    ({True: {}}, "reward", ["top: name True is no text", "on, off", "quote it"]),
    ({"gate": {True: "correct", "column": "correct"}}, "reward", ["True is no text"]),
    ({"correct": {}, "kimi_length": {}}, "reward", ["top: 2 names (correct, kimi_length)", "under 'sum'"]),
    ({}, "reward", ["top: 0 names", "give one reward"]),
    (None, "reward", ["top: None", "give one reward"]),
    (["correct"], "reward", ["top: ['correct']", "give one reward"]),
    ({"correct": [1, 0]}, "reward", ["top.correct: [1, 0] is no mapping"]),
    ({"correct": {"right": 0}}, "reward", ["top.correct", "right 0.0", "not above wrong"]),
    ({"grpo": {"scale": "both"}}, "advantage", ["top.grpo.scale: 'both'", "'std', 'none'"]),
    ({"grpo": {"scale": None}}, "advantage", ["top.grpo.scale: None"]),
    ({"grpo": {"ddof": 2}}, "advantage", ["top.grpo", "ddof 2", "0 or 1"]),
    *(
        (
            {name: {**more, "of": of}},
            "advantage",
            [f"top.{name}.of: {of} is no Advantage; give one of adaptive_top_k, b"],
        )
        for name, more in (("filter_top_k", {"k": 2}), ("adaptive_top_k", {}), ("difficulty_weight", {}))
        for of in ("gae", "outcome_and_steps", "reinforce_pp")
    ),
    ({"mode_switch": {"of": "drpo"}}, "loss", ["top.mode_switch.of"]),
    ({"ppo_clip": {"aggregation": "token_mean"}}, "loss", ["aggregation: 'token_mean'", "'token-mean'"]),
    ({"stairs": {"values": "0, 1", "boundaries": [1]}}, "schedule", ["values: '0, 1' is no list", "brackets"]),
    ({"stairs": {"values": [0, "x"], "boundaries": [1]}}, "schedule", ["values[1]: 'x' is not a number"]),
    ({"stairs": {"values": [0, 1], "boundaries": [1.5]}}, "schedule", ["boundaries[0]: 1.5 is not a whole number"]),
    ({f"{HERE}:Typed": {"pair": [1]}}, "reward", ["pair: [1] has 1 entries; give 2"]),
    ({f"{HERE}:Typed": {"mode": True}}, "reward", ["mode: True is not allowed", "'a', 1"]),
    ({f"{HERE}:Typed": {"part": {"clip": {}}}}, "reward", ["Typed.part.clip", "no bound"]),
    ({f"{HERE}:Picky": {"value": 2}}, "reward", ["Picky", "value must not be above 1"]),
    (f"{HERE}:Unfinished", "reward", ["Unfinished", "abstract"]),
    (f"{HERE}:Missing", "reward", [f"module '{HERE}' has no 'Missing'", "check the name"]),
    (f"{HERE}:HERE", "reward", ["is no reward", "subclass leanthink's Reward"]),
    ("leanthink.algorithms:Grpo", "reward", ["is no reward"]),
    ("no_such_module:X", "reward", ["cannot import 'no_such_module'", "PYTHONPATH"]),
    ("leanthink.nothing:X", "reward", ["cannot import 'leanthink.nothing'"]),
    (".relative:X", "reward", ["cannot import '.relative'"]),
    (":X", "reward", ["cannot import ''"]),
]


@pytest.mark.parametrize(("node", "kind", "facts"), WRONG, ids=lambda value: str(value)[:60])
def test_a_wrong_node_says_where_what_and_the_cure(node: Any, kind: Kind, facts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(node, kind, "top")
    message = str(caught.value)
    assert message.startswith("top")
    for fact in facts:
        assert fact in message


def test_a_number_that_is_given_a_schedule_says_how_to_declare_one() -> None:
    with pytest.raises(ConfigError, match=r"right: .* is a schedule, and this takes a number only; .* `Number`"):
        build({"correct": {"right": {"linear": {"start": 0, "stop": 1, "steps": 9}}}}, "reward", "top")
    with pytest.raises(ConfigError, match=r"top\.correct\.right: \{\} is not a number"):
        build({"correct": {"right": {}}}, "reward", "top")


def test_an_error_inside_a_users_module_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "breaks_on_import.py").write_text("import math\nmath.no_such_thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AttributeError, match="no_such_thing"):
        build("breaks_on_import:X", "reward", "top")
    assert "breaks_on_import" not in sys.modules


def test_numbers_become_floats_so_that_columns_keep_their_name() -> None:
    built = build({"format": {"kept": 2}}, "reward", "top")
    assert repr(built) == repr(Format(kept=2.0))
    assert build(describe(Format(kept=1)), "reward", "top").column == Format(kept=1).column


def test_the_registry_holds_final_classes_of_each_kind_in_order() -> None:
    advantages = (Advantage, TokenAdvantage, VerlAdvantage)
    bases = {"reward": Reward, "advantage": advantages, "loss": Loss, "limit": Limit}
    bases |= {"stop": StopBias, "schedule": Schedule}
    for kind, table in REGISTRY.items():
        assert list(table) == sorted(table)
        for name, cls in table.items():
            assert issubclass(cls, bases[kind]) and getattr(cls, "__final__", False), name
            assert name_of(cls) == name
            assert cls.__doc__
    names = [name for table in REGISTRY.values() for name in table]
    shared = {name for name in names if names.count(name) > 1}
    assert shared == {"gpg"}  # verl's; an override finds a part's defaults by its name alone, and these have no part


def test_argument_names_survive_yaml() -> None:
    for table in REGISTRY.values():
        for name, cls in table.items():
            for argument in getattr(cls, "__dataclass_fields__", {}):
                assert parse_yaml(argument, "here") == argument, f"{name}.{argument} is no text in YAML"


def test_every_public_reward_is_registered() -> None:
    from leanthink import algorithms, rewards
    from leanthink.core import limits, schedules

    public = {getattr(module, name) for module in (rewards, algorithms) for name in module.__all__}
    public |= {value for value in vars(schedules).values() if isinstance(value, type) and issubclass(value, Schedule)}
    public |= {value for value in vars(limits).values() if isinstance(value, type) and issubclass(value, Limit)}
    public.add(StopBias)
    bases = {Advantage, TokenAdvantage, VerlAdvantage, Limit, Loss, Schedule, Reward, TextReward}
    bases |= {rewards.ProbedReward, algorithms.PpoVariant, algorithms.VerlLoss}
    classes = {value for value in public if isinstance(value, type)} - bases
    assert classes == {cls for table in REGISTRY.values() for cls in table.values()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("-1E+3", -1000.0),
        ("5e2", 500.0),
        (".5e3", 500.0),
        ("1.e-3", 0.001),
        ("1.0e-6", 1e-6),
        ("1e", "1e"),
        ("e5", "e5"),
        ("0.5", 0.5),
        ("12", 12),
        ("", None),
        ("[1e-6, a]", [1e-6, "a"]),
        ("{a: {b: 1}, c: {b: 1}}", {"a": {"b": 1}, "c": {"b": 1}}),
        ("{1: a, '1': b}", {1: "a", "1": "b"}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
    ],
)
def test_yaml_as_people_mean_it(text: str, value: Any) -> None:
    assert parse_yaml(text, "here") == value


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("a: 1\nb: 2\na: 3", ["here", "line 3", "'a' is given twice", "keep one"]),
        ("x:\n  y: 1\n  y: 2", ["line 3", "'y'"]),
        ("{a: 1, a: 1}", ["line 1", "'a'"]),
        ("a: [1", ["here", "no valid YAML"]),
        ("a: b: c", ["here", "no valid YAML"]),
        ("!!python/object:os.system {}", ["here", "os.system to YAML; write plain lists and mappings"]),
    ],
)
def test_wrong_yaml_says_where(text: str, facts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "here")
    for fact in facts:
        assert fact in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.yaml.*check the path"):
        read_yaml(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigError, match=r"latin\.yaml.*UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match="is no file; give a file"):
        read_yaml(tmp_path)
    (tmp_path / "good.yaml").write_text("reward: correct # ± ok\n", encoding="utf-8")
    assert read_yaml(tmp_path / "good.yaml") == {"reward": "correct"}


def test_schedules_may_stand_for_any_number() -> None:
    node = {"sigmoid_length": {"alpha": {"cosine": {"start": 0.4, "stop": 0.1, "steps": 10}}}}
    assert build(node, "reward", "top") == SigmoidLength(alpha=Cosine(start=0.4, stop=0.1, steps=10))


LONG = "no word of this, however long the line becomes, is lost on the way"


@pytest.mark.parametrize(
    "text",
    ["", "1e-6", "yes", "3", "GRPO-λ: x", "a\n\nb", LONG, f" {LONG}", f"{LONG} ", f"- {LONG}", f"{LONG}\n\n{LONG}"],
)
def test_what_is_written_as_yaml_is_read_again(text: str) -> None:
    node = {"text": text, "deep": [{"number": 1e-6, "text": text}]}
    assert parse_yaml(format_yaml(node), "here") == node


@dataclass(frozen=True, kw_only=True)
class MyLength(Reward):
    def score(self, batch: RolloutBatch) -> RewardN:
        return -batch.length


@dataclass(frozen=True, kw_only=True)
class Renamed(MyLength):
    registered_as = "my_length"


def module(**exports: Any) -> types.ModuleType:
    made = types.ModuleType("made")
    vars(made).update(exports, __all__=list(exports))
    return made


def test_what_a_module_exports_has_a_short_name_by_its_class() -> None:
    found = table_of([module(MyLength=MyLength, Reward=Reward, helper=len, State=dict)])
    assert found["reward"] == {"my_length": MyLength} and not any(found[kind] for kind in found if kind != "reward")
    assert table_of([module(Renamed=Renamed)])["reward"] == {"my_length": Renamed}


def test_two_classes_of_one_name_are_an_error_that_names_both() -> None:
    with pytest.raises(ConfigError, match=r":MyLength and .*:Renamed are both the reward 'my_length'.*registered_as"):
        table_of([module(MyLength=MyLength, Renamed=Renamed)])


def test_a_node_needs_no_place() -> None:
    with pytest.raises(ConfigError, match=r"^reward: no reward 'corect'; did you mean 'correct'"):
        build("corect", "reward")
