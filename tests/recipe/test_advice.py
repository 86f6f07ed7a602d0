"""Combinations that work against themselves are told; all others are not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from leanthink.algorithms import (
    AdaptiveTopK,
    AnyAdvantage,
    BatchNorm,
    DifficultyWeight,
    Drpo,
    FilterTopK,
    Gae,
    Grpo,
    Loss,
    NoBaseline,
    OutcomeAndSteps,
    PpoClip,
    ReinforcePp,
    Rloo,
)
from leanthink.cli import main
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import AdviceWarning
from leanthink.core.reward import Reward, RewardN, Scope
from leanthink.core.schedules import Linear, Stairs
from leanthink.recipe import advice as module
from leanthink.recipe.advice import advice, depends_on_length, warn
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.rewards import (
    AdaptiveStepLength,
    CollapseGuard,
    Correct,
    Counted,
    EarlyExit,
    Format,
    Gate,
    HarmonizingLength,
    HistoryLength,
    KimiLength,
    LambdaSwitch,
    MaxBudget,
    PassRateLength,
    QuantileBudget,
    Scale,
    ShortestCorrectLength,
    SigmoidLength,
    SoftOverlong,
    StepLength,
    StepwiseGain,
    Sum,
    ThinkOutcome,
    TopPassRate,
    Truncation,
)

FILTER = {"algorithm.filter_groups.enable": True, "algorithm.filter_groups.metric": "acc"}
STD, DROPPED = "divides by the group's standard deviation", "drops every group whose responses are all correct"
UNDONE, UNSEEN = "undoes in part that each early exit", "drops groups before QuantileBudget sees them"
ONE = {"actor_rollout_ref.rollout.n": 1}
WELL_FORMED = ThinkOutcome(right=2.0, wrong=1.0, no_box=0.0, no_block=0.0)


@dataclass(frozen=True, kw_only=True)
class Odd(Reward):
    """Somebody's own reward: a price for every token, on a column that holds text."""

    price: float = 1e-9
    column: str = ""

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({self.column} - {""})

    def score(self, batch: RolloutBatch) -> RewardN:
        if self.column and any(not isinstance(value, str) for value in batch.values(self.column)):
            raise ArithmeticError("no text")
        return batch.correct - self.price * batch.length


@dataclass(frozen=True, kw_only=True)
class FirstCome(Reward):
    """Somebody's own reward: of a group, the earlier row earns more, whatever its length."""

    scope = Scope.GROUP
    reads_order = True

    def score(self, batch: RolloutBatch) -> RewardN:
        return batch.correct / (1 + torch.arange(len(batch)))


@pytest.mark.parametrize(
    "reward",
    [
        HarmonizingLength(),
        HistoryLength(),
        KimiLength(),
        LambdaSwitch(top_fraction=0.01, shaped=SigmoidLength(alpha=0.01), plain=Correct()),
        LambdaSwitch(mode="threshold", threshold=1.0, shaped=SigmoidLength(alpha=0.01), plain=Correct()),
        PassRateLength(beta=1e-9),
        ShortestCorrectLength(),
        SigmoidLength(alpha=0.01),
        SoftOverlong(limit=20_480, buffer=4096),
        SoftOverlong(limit=96, buffer=20),
        Sum(correct=Correct(), length=Scale(by=Stairs(values=(0.0, 0.5), boundaries=(2000,)), of=KimiLength())),
        Scale(by=Linear(start=1.0, stop=0.0, steps=10), of=KimiLength()),
        Gate(column="budget", of=KimiLength()),
        Gate(column="at_most", negate=True, of=KimiLength()),
        StepLength(target=4000),
        StepLength(target=4000, valid=WELL_FORMED),
        AdaptiveStepLength(lower_bound=1000, interval=1000, monitor_freq=1, valid=WELL_FORMED),
        QuantileBudget(longest=16_384),
        EarlyExit(),
        Counted(of=MaxBudget(alpha=0.3), counts="thinking"),
        Odd(),
    ],
    ids=lambda reward: repr(reward)[:70],
)
def test_length_terms_of_every_kind_are_seen(reward: Reward) -> None:
    assert depends_on_length(reward)


@pytest.mark.parametrize(
    "reward",
    [
        Correct(),
        Sum(correct=Correct(), format=Format()),
        Gate(column="correct", negate=True, of=KimiLength()),
        Scale(by=0.0, of=KimiLength()),
        SigmoidLength(alpha=0.0),
        LambdaSwitch(top_fraction=0.0, shaped=SigmoidLength(alpha=0.5), plain=Correct()),
        TopPassRate(),
        FirstCome(),
        Sum(correct=Correct(), form=WELL_FORMED),
    ],
    ids=lambda reward: repr(reward)[:70],
)
def test_what_does_not_look_at_the_length_of_correct_responses_is_left_alone(reward: Reward) -> None:
    assert not depends_on_length(reward)
    assert advice(Recipe(name="mine", reward=reward, advantage=Grpo(scale="std")), FILTER) == []


def test_a_reward_that_cannot_be_tried_out_is_left_alone() -> None:
    assert not depends_on_length(Odd(column="tag"))


@pytest.mark.parametrize(
    ("advantage", "keys", "expected"),
    [
        (Grpo(scale="std"), {}, [STD]),
        (Grpo(scale="none"), {}, []),
        (Rloo(), {}, []),
        (NoBaseline(), {}, []),
        (Rloo(), FILTER, [DROPPED]),
        (Rloo(), {"algorithm.filter_groups.enable": True}, [DROPPED]),
        (Rloo(), {**FILTER, "algorithm.filter_groups.enable": False}, []),
        (Rloo(), {**FILTER, "algorithm.filter_groups.metric": "reward"}, []),
        (Grpo(scale="std"), FILTER, [STD, DROPPED]),
        (FilterTopK(k=3), {}, [STD]),
        (DifficultyWeight(stage="easy"), {}, [STD]),
        (DifficultyWeight(stage="easy"), FILTER, [STD, DROPPED]),
        (DifficultyWeight(stage="hard"), FILTER, []),  # what is always solved has the weight 0
        (OutcomeAndSteps(scale="std"), {}, [STD]),
        (OutcomeAndSteps(), {}, []),
        (BatchNorm(level="response"), {}, []),
    ],
    ids=str,
)
def test_advice_says_what_and_why(advantage: Any, keys: dict[str, Any], expected: list[str]) -> None:
    recipe = Recipe(name="mine", reward=SigmoidLength(alpha=0.2), advantage=advantage)
    given = advice(recipe, keys)
    assert [text in one for one, text in zip(given, expected, strict=True)] == [True] * len(expected)
    assert all(one.startswith("recipe mine: ") for one in given)
    assert advice(Recipe(name="mine", reward=SigmoidLength(alpha=0.2), advantage=advantage, verl=keys)) == given


def test_a_rule_is_a_function_in_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(recipe: Recipe, keys: Any) -> str | None:
        return "too long a name" if len(recipe.name) > 3 else None

    monkeypatch.setattr(module, "RULES", (*module.RULES, rule))
    assert advice(load_recipe("grpo")) == ["recipe grpo: too long a name [rule]"]


def test_it_is_a_warning_of_its_own_kind() -> None:
    with pytest.warns(AdviceWarning, match=STD) as seen:
        warn(load_recipe("trle", ["advantage=grpo"]))
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn(load_recipe("grpo"))


SHOW_VERL = ("show", "trle", "--verl", "--profile", "gpu")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "grpo_lambda"), []),
        (("show", "grpo_lambda", "reward.lambda_switch.top_fraction=0.3"), [STD]),
        (("show", "grpo_lambda", "actor_rollout_ref.rollout.n=1"), ["is 1, and Grpo compares"]),
        ((*SHOW_VERL[:1], "grpo_lambda", *SHOW_VERL[2:], "actor_rollout_ref.rollout.n=1"), ["is 1, and Grpo compares"]),
        (("show", "trle", "algorithm.filter_groups.enable=true"), [DROPPED]),
        ((*SHOW_VERL, "algorithm.filter_groups.enable=true"), [DROPPED]),
        (SHOW_VERL, []),
    ],
    ids=" ".join,
)
def test_show_prints_each_advice_once_beside_its_output(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: list[str]
) -> None:
    assert main(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert out.startswith(("description:", "python -m verl"))
    lines = err.splitlines()
    assert len(lines) == len(expected)
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith("leanthink show: warning: recipe") and text in line


def test_score_prints_each_recipes_advice(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"group": 0, "length": 3, "correct": 1}\n{"group": 0, "length": 9, "correct": 1}\n')
    recipes = [word for name in ("alp", "trle", "hapo") for word in ("--recipe", name)]
    changes = [word for name in ("alp", "hapo") for word in ("--set", f"{name}:advantage.grpo.eps=1e-5")]
    assert main(["score", str(file), *recipes, *changes]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in lines] == ["recipe alp", "recipe hapo"]


def test_a_guard_that_sees_the_kept_groups_only_is_told() -> None:
    guarded = Sum(correct=Correct(), length=Scale(by=0.0, of=CollapseGuard(of=KimiLength())))
    for metric in ("acc", "acc_then_reward"):
        (text,) = advice(Recipe(name="mine", reward=guarded), {**FILTER, "algorithm.filter_groups.metric": metric})
        assert text.startswith("recipe mine: collapse_guard reads the accuracy of the batch")
        assert text.endswith("set algorithm.filter_groups.enable=false [guard_sees_kept_groups]")
    for keys in ({}, {**FILTER, "algorithm.filter_groups.enable": False}):
        assert advice(Recipe(name="mine", reward=guarded), keys) == []
    assert advice(Recipe(name="mine", reward=Correct()), FILTER) == []


def test_a_penalty_that_the_loss_never_reads_is_told() -> None:
    shaped = SigmoidLength(alpha=0.1)
    unread = Recipe(name="mine", reward=shaped, loss=Drpo(length_temperature=0.1, limit=96))
    assert [text for text in advice(unread) if "trains nothing" in text and "recipe mine" in text] == advice(unread)
    assert len(advice(unread)) == 1
    read = Recipe(name="mine", reward=shaped, loss=Drpo(length_temperature=0.1, preference="reward"))
    assert not any("trains nothing" in text for text in advice(read))
    assert advice(load_recipe("drpo")) == []


def test_what_divides_early_exits_by_the_standard_deviation_is_told_as_such() -> None:
    def of(reward: Reward, scale: Any) -> list[str]:
        return advice(Recipe(name="mine", reward=reward, advantage=Grpo(scale=scale)))

    for reward in (EarlyExit(), Sum(exits=EarlyExit(), format=Format())):
        assert [UNDONE in text and "scale=none" in text for text in of(reward, "std")] == [True]
        assert of(reward, "none") == []
    assert advice(load_recipe("s_grpo")) == []
    (text,) = advice(load_recipe("s_grpo", ["advantage=grpo"]))
    assert text.startswith("recipe s_grpo: ") and UNDONE in text


def test_a_filter_that_hides_groups_from_their_budgets_is_told_and_a_budget_has_no_strength() -> None:
    reward = QuantileBudget(longest=96)
    alone, within = (Recipe(name="mine", reward=one) for one in (reward, Sum(length=reward, more=KimiLength())))
    assert advice(alone) == [] and [STD in text for text in advice(within)] == [True]
    for recipe in (alone, within):
        for metric in ("acc", "acc_then_reward"):
            keys = {**FILTER, "algorithm.filter_groups.metric": metric}
            assert sum(UNSEEN in text and "enable=false" in text for text in advice(recipe, keys)) == 1
    assert advice(load_recipe("palu")) == []


def test_a_filter_on_correctness_hides_the_bonus_of_laser_and_the_exits_of_s_grpo() -> None:
    for name in ("laser", "laser_d", "laser_de", "s_grpo"):
        recipe = load_recipe(name, ["advantage.grpo.scale=none"])
        assert [DROPPED in text for text in advice(recipe, FILTER)] == [True], name


def test_a_reward_by_token_under_an_advantage_by_response_is_told() -> None:
    reward = Sum(correct=Correct(), steps=Scale(by=0.5, of=StepwiseGain()))
    for lossy in (Grpo(scale="none"), Rloo()):
        (text,) = advice(Recipe(name="mine", reward=reward, advantage=lossy))
        assert text.startswith("recipe mine: StepwiseGain pays single tokens")
        assert text.endswith(
            "the group's mean as the baseline, or advantage=reinforce_pp, or gae with a critic [placement_lost]"
        )
        (alone,) = (text for text in advice(Recipe(name="mine", reward=reward, advantage=lossy), ONE) if "pays" in text)
        assert "; set advantage=reinforce_pp" in alone
    for fine in (ReinforcePp(), Gae()):
        assert advice(Recipe(name="mine", reward=reward, advantage=fine)) == []


@pytest.mark.parametrize(
    "reward", [SigmoidLength(alpha=0.1), EarlyExit(), Sum(correct=Correct(), steps=StepwiseGain())]
)
def test_an_advantage_that_the_loss_does_not_read_is_not_advised_on(reward: Reward) -> None:
    """Its own loss's weights are no group's deviation, and groups that are all right have no objective to lose."""
    loss = Drpo(length_temperature=0.1, preference="reward")
    for advantage in (Grpo(scale="std"), OutcomeAndSteps(scale="std"), Gae()):
        told = advice(Recipe(name="mine", reward=reward, advantage=advantage, loss=loss), FILTER)
        assert not any(name in text for text in told for name in ("the advantage", DROPPED)), told
    kept = Recipe(name="mine", reward=SigmoidLength(alpha=0.1), loss=replace(loss, keep_all_correct=True))
    assert [DROPPED in text for text in advice(kept, FILTER)] == [True]


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        (Correct(), True),
        (Sum(correct=Correct(), format=Format()), True),
        (Truncation(), False),  # the cut are paid less
        (SigmoidLength(alpha=0.1), False),
        (Odd(column="tag"), False),  # cannot be tried
    ],
    ids=repr,
)
def test_a_loss_that_prefers_by_a_reward_without_length_is_told(reward: Reward, told: bool) -> None:
    loss = Drpo(length_temperature=0.1, preference="reward")
    texts = advice(Recipe(name="mine", reward=reward, loss=loss), {"data.max_response_length": 96})
    assert ["nothing shortens them; set loss.drpo.preference=linear loss.drpo.limit=96 " in text for text in texts] == [
        True
    ] * told
    assert advice(Recipe(name="mine", reward=Correct(), loss=Drpo(length_temperature=None, preference="reward"))) == []


PLACED = Sum(correct=Correct(), steps=StepwiseGain())


@pytest.mark.parametrize(
    ("advantage", "loss", "reward", "told"),
    [
        (Grpo(), PpoClip(), Correct(), "its advantage is 0"),
        (Rloo(), PpoClip(), Correct(), "its advantage is 0"),
        (FilterTopK(k=2), PpoClip(), Correct(), "its advantage is 0"),
        (AdaptiveTopK(), PpoClip(), Correct(), "its advantage is 0"),
        (DifficultyWeight(), PpoClip(), Correct(), "its advantage is 0"),
        (BatchNorm(singleton="own"), PpoClip(), Correct(), "its advantage is 0"),
        (OutcomeAndSteps(), PpoClip(), Correct(), "its advantage is 0"),
        (OutcomeAndSteps(), PpoClip(), PLACED, "its outcome counts 0, and only single tokens teach"),
        (Gae(), Drpo(length_temperature=0.1, limit=96), Correct(), "Drpo compares"),
        (BatchNorm(), PpoClip(), Correct(), None),
        (NoBaseline(), PpoClip(), Correct(), None),
        (ReinforcePp(), PpoClip(), Correct(), None),
        (Gae(), PpoClip(), Correct(), None),
        (Grpo(), Drpo(length_temperature=0.1, limit=96, keep_all_correct=True), Correct(), None),
    ],
    ids=str,
)
def test_a_group_of_one_is_told_where_responses_are_compared(
    advantage: AnyAdvantage, loss: Loss, reward: Reward, told: str | None
) -> None:
    recipe = Recipe(name="mine", reward=reward, advantage=advantage, loss=loss)
    texts = [text for text in advice(recipe, ONE) if text.endswith("[group_of_one]")]
    assert [told in text for text in texts if told] == [True] * (told is not None) and len(texts) == (told is not None)
    if told:
        assert ("advantage=reinforce_pp" in texts[0]) == isinstance(loss, PpoClip)
    for keys in ({}, {"actor_rollout_ref.rollout.n": 2}):
        assert not any(text.endswith("[group_of_one]") for text in advice(recipe, keys))
