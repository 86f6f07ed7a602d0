"""HAPO, arXiv 2505.11225."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Hashable
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state, moved
from leanthink.core.errors import ConfigError, MissingColumnError, StateError
from leanthink.core.reward import State
from leanthink.recipe.definition import load_recipe
from leanthink.rewards import Correct, Freeze, HistoryLength, Scale, Sum
from leanthink.rewards.history_length import linear_history_length
from leanthink.testing import Columns, check_reward
from oracles import Flags, Groups, Numbers

EXAMPLES = [HistoryLength(), HistoryLength(mode="mean", shape="linear", floor=-0.2)]
COLUMNS: Columns = {
    "prompt_key": lambda generator, n: [f"p{key}" for key in torch.randint(0, 3, (n,), generator=generator).tolist()]
}
RECIPES = {
    "hapo": SpelledOut(
        reward=Sum(correct=Correct(), length=Scale(by=1.0, of=HistoryLength(floor=-0.7, mode="min", shape="cosine"))),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2, aggregation="seq-mean-token-mean"),
        verl={
            "data.max_prompt_length": 512,
            "data.max_response_length": 32768,
            "actor_rollout_ref.rollout.n": 2,
            "actor_rollout_ref.rollout.temperature": 0.7,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "actor_rollout_ref.actor.kl_loss_coef": 0.04,
            "trainer.total_epochs": 5,
        },
    )
}

HAPO = load_recipe("hapo").reward


def visit(length: list[float], correct: list[int], prompt: str = "p", step: int = 0) -> RolloutBatch:
    """Responses to one prompt."""
    return RolloutBatch.of(
        group=[step] * len(length), length=length, correct=correct, step=step, prompt_key=[prompt] * len(length)
    )


def after(reward: HistoryLength, *visits: RolloutBatch) -> State:
    state = reward.init()
    for batch in visits:
        _, state = reward(batch, state)
    return state


LENGTHS: list[float] = [400, 1000, 1400, 1900, 2500, 400, 1500, 2500]
VERDICTS = [1, 1, 1, 1, 1, 0, 0, 0]


def test_worked_example() -> None:
    _, state = HAPO(visit([1000], [1]))
    result = HAPO.breakdown(visit(LENGTHS, VERDICTS), state)
    term = [0.809017, 0.0, -0.587785, -0.7, -0.7, 0.0, -0.707107, -1.0]
    assert result.parts["length"].tolist() == pytest.approx(term, abs=1e-6)
    expected = [1.809017, 1.0, 0.412215, 0.3, 0.3, 0.0, -0.707107, -1.0]
    assert result.reward.tolist() == pytest.approx(expected, abs=1e-6)


def test_worked_example_first_encounter() -> None:
    batch = visit(LENGTHS, VERDICTS)
    assert torch.equal(HAPO(batch)[0], batch.correct)


def test_worked_example_mean_over_visits() -> None:
    reward = HistoryLength(mode="mean")
    visits = [visit([1000, 501], [1, 1]), visit([600, 5], [1, 0]), visit([700, 800], [1, 1])]
    means = [after(reward, *visits[:count])["length"]["p"] for count in (1, 2, 3)]
    assert means == pytest.approx([750.5, 2101 / 3, 720.2])
    assert after(reward, *visits)["count"] == {"p": 5}


def test_the_minimum_only_falls_and_only_by_correct_responses() -> None:
    reward = HistoryLength()
    visits = [visit([50], [0]), visit([900, 1000], [1, 1]), visit([1200], [1]), visit([30], [0]), visit([800], [1])]
    kept = [after(reward, *visits[:count])["length"].get("p") for count in range(6)]
    assert kept == [None, None, 900, 900, 900, 800]
    assert after(reward, *visits)["count"] == {}


def test_the_history_moves_after_the_batch_and_prompts_have_their_own() -> None:
    reward = HistoryLength()
    both = RolloutBatch.of(group=[0, 0, 1, 1], length=[100, 50, 30, 20], correct=[1, 1, 1, 0], prompt_key="aabb")
    first, state = reward(both)
    assert first.tolist() == [0.0] * 4 and state["length"] == {"a": 50, "b": 30}
    second, _ = reward(both, state)
    assert second.tolist() == pytest.approx([-0.7, 0.0, 0.0, 0.0], abs=1e-12)


def test_a_correct_response_of_100_000_tokens_is_a_history() -> None:
    reward = HistoryLength()
    batch = RolloutBatch.of(group=[0], length=[200_000], correct=[1], prompt_key=["p"])
    _, state = reward(batch)
    assert state["length"] == {"p": 200_000} and reward(batch.replace(length=[100_000]), state)[0].item() > 0


def test_a_response_without_tokens_does_not_end_a_prompts_history() -> None:
    reward = HistoryLength()
    state = after(reward, visit([0, 500], [1, 1]))
    assert state["length"] == {"p": 1}
    assert reward(visit([0, 1, 2], [1, 1, 1]), state)[0].tolist() == pytest.approx([1.0, 0.0, -0.7], abs=1e-12)


class SlowHistory:
    """arXiv 2505.11225: the length term, and what is remembered of each prompt."""

    def __init__(self, mode: str = "min", shape: str = "cosine", floor: float = -0.7, tolerance: float = 0.1) -> None:
        self.mode, self.shape, self.floor, self.tolerance = mode, shape, floor, tolerance
        self.seen: dict[Hashable, list[float]] = {}

    def h(self, prompt: Hashable) -> float | None:
        lengths = self.seen.get(prompt)
        if not lengths:
            return None
        return min(lengths) if self.mode == "min" else sum(lengths) / len(lengths)

    def term(self, length: float, correct: bool, h: float | None) -> float:
        if h is None:
            return 0.0
        if self.shape == "cosine":
            f = math.cos(min(math.pi / 2 * length / h, math.pi))
            return max(f, self.floor) if correct else min(f, 0.0)
        if correct and length < h:
            return 1 - length / h
        if length <= (1 + self.tolerance) * h:
            return 0.0
        return max(-(length - (1 + self.tolerance) * h) / h, self.floor if correct else -1.0)

    def step(self, length: Numbers, correct: Flags, prompt: Groups) -> list[float]:
        terms = [self.term(length[i], correct[i], self.h(prompt[i])) for i in range(len(length))]
        for i in range(len(length)):
            if correct[i]:
                self.seen.setdefault(prompt[i], []).append(max(length[i], 1))
        return terms


@pytest.mark.parametrize("mode", ["min", "mean"])
@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_agrees_with_the_loop_over_many_steps(batches: list[RolloutBatch], mode: Any, shape: Any) -> None:
    draw = random.Random(7)
    slow = SlowHistory(mode, shape)
    reward = HistoryLength(mode=mode, shape=shape)
    state = reward.init()
    for batch in batches:
        names = [f"prompt {draw.randrange(40)}" for _ in range(max(batch.num_groups, 1))]
        prompt = [names[code] for code in batch.group.tolist()]
        term_N, state = reward(batch.replace(prompt_key=prompt), json.loads(json.dumps(state)))
        expected = slow.step(batch.length.tolist(), (batch.correct == 1).tolist(), prompt)
        assert term_N.tolist() == pytest.approx(expected, rel=1e-7, abs=1e-7)
    assert state["length"] == pytest.approx({name: slow.h(name) for name in slow.seen}, rel=1e-9)


def test_the_linear_shape_has_a_flat_piece() -> None:
    length_N = torch.tensor([500.0, 1000, 1100, 1500, 9000, 500, 1100, 1500, 9000], dtype=torch.float64)
    correct_N = torch.tensor([1, 1, 1, 1, 1, 0, 0, 0, 0]) == 1
    given = linear_history_length(length_N, correct_N, torch.full_like(length_N, 1000)).tolist()
    assert given == pytest.approx([0.5, 0, 0, -0.4, -0.7, 0, 0, -0.4, -1], abs=1e-12)
    assert linear_history_length(length_N, correct_N, torch.full_like(length_N, math.nan)).tolist() == [0.0] * 9


def test_numbers_will_do_as_keys_and_the_same_prompt_twice_in_a_batch_is_one() -> None:
    numbered = RolloutBatch.of(group=[0, 1], length=[90, 40], correct=[1, 1], prompt_key=[7, 7])
    assert HistoryLength()(numbered)[1]["length"] == {"7": 40}
    assert HistoryLength()(numbered.replace(prompt_key=torch.tensor([7, 7])))[1]["length"] == {"7": 40}


def test_a_frozen_history_is_not_written() -> None:
    state = after(HistoryLength(), visit([100], [1]))
    frozen = Freeze(of=HistoryLength())
    assert frozen(visit([10], [1]), {"of": state})[1] == {"of": state}


def test_the_floor_keeps_correct_above_wrong_up_to_a_weight_of_1() -> None:
    keys = {"prompt_key": lambda generator, n: [f"p{k}" for k in torch.randint(3, (n,), generator=generator).tolist()]}
    check_reward(Sum(correct=Correct(), length=Scale(by=1.0, of=HistoryLength())), keys)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_above_wrong_holds_exactly_while_weight_times_floor_stays_below_1(shape: Any) -> None:
    def gap(weight: float, floor: float) -> float:
        """Of the worst right response, and the best wrong one."""
        reward = Sum(correct=Correct(), length=Scale(by=weight, of=HistoryLength(floor=floor, shape=shape)))
        _, state = reward(visit([100], [1]))
        right, wrong = reward(visit([9000, 1], [1, 0]), state)[0].tolist()
        return float(right - wrong)

    assert gap(1.0, -0.7) == pytest.approx(0.3) and gap(1.0, -0.99) > 0 and gap(1.4, -0.7) > 0
    assert gap(1.0, -1.0) == pytest.approx(0.0, abs=1e-12) and gap(1.5, -0.7) < 0


HISTORY = {"length": {"p": 30.0, "q": 40.5}, "count": {"p": 1, "q": 2}}


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        ({"count": {"p": 0, "q": 2}}, "count.p is 0; give a whole number, 1 or more"),
        ({"count": {"p": 1.5, "q": 2}}, "count.p is 1.5; give a whole number, 1 or more"),
        ({"count": {"q": 2}}, "'p' is in one of length and count only; give both, or neither"),
        ({"length": {"p": 30.0}}, "'q' is in one of length and count only"),
        ({"length": {"p": 0.5, "q": 3.0}}, "length.p is 0.5; give 1 token or more"),
    ],
    ids=str,
)
def test_an_edited_mean_must_have_its_count(edit: dict[str, Any], fact: str) -> None:
    check_state(HistoryLength(mode="mean"), HISTORY, "state")
    with pytest.raises(StateError, match=rf"state: {fact}.*earlier checkpoint"):
        check_state(HistoryLength(mode="mean"), {**HISTORY, **edit}, "state")


@pytest.mark.parametrize(("before", "after"), [("min", "mean"), ("mean", "min")])
def test_another_mode_starts_afresh_and_the_same_goes_on(before: Any, after: Any) -> None:
    saved = HISTORY if before == "mean" else {"length": {"p": 30.0}, "count": {}}
    state, told = moved(HistoryLength(mode=after), HistoryLength(mode=before), saved)
    assert state == {"length": {}, "count": {}}
    assert told == ["the reward starts afresh: what was saved under that name means nothing under its new settings"]
    state, told = moved(HistoryLength(mode=before, floor=-0.1), HistoryLength(mode=before), saved)
    assert state == saved and told == ["the reward goes on with the state saved under that name"]


def test_without_the_column_it_says_so() -> None:
    with pytest.raises(MissingColumnError, match="prompt_key"):
        HistoryLength()(RolloutBatch.of(group=[0], length=[5], correct=[1]))


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"floor": 0.5}, "floor is 0.5"),
        ({"floor": -1.5}, "floor is -1.5"),
        ({"tolerance": -0.1}, "tolerance -0.1"),
        ({"mode": "max"}, "mode is 'max'"),
        ({"shape": "step"}, "shape 'step'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        HistoryLength(**settings)
