"""VSRM, arXiv 2508.10293."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch

import oracles
from collected import SpelledOut
from leanthink.algorithms import Gae, PpoClip, ReinforcePp
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.placement import token_rewards
from leanthink.rewards import Correct, Scale, SoftOverlong, StepwiseGain, Sum, ThinkOutcome
from leanthink.rewards.stepwise_gain import look_ahead, step_gains
from leanthink.testing import Columns

EXAMPLES = [StepwiseGain(), StepwiseGain(window=1, decay=1.0, placement="step_end", combine="overwrite")]
COLUMNS: Columns = {
    "cut_tokens": lambda generator, n: [
        torch.randint(0, 1200, (row % 5,), generator=generator).sort().values.tolist() for row in range(n)
    ],
    "probe_accuracies": lambda generator, n: [
        [None if share == 6 else share / 5 for share in torch.randint(0, 7, (row % 5,), generator=generator).tolist()]
        for row in range(n)
    ],
}

VSRM = Sum(
    outcome=ThinkOutcome(right=1.0, wrong=0.0, no_box=-9.5, no_block=-10.0),
    steps=StepwiseGain(
        skip_chars=1000,
        min_gap_chars=400,
        probes=5,
        probe_tokens=768,
        tolerance=1e-5,
        window=4,
        decay=0.7,
        placement="step_start",
    ),
)
STATED = {
    "data.train_batch_size": 256,
    "data.max_prompt_length": 768,
    "data.max_response_length": 7424,
    "actor_rollout_ref.rollout.n": 1,
    "actor_rollout_ref.rollout.temperature": 0.6,
    "actor_rollout_ref.rollout.top_p": 0.95,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "trainer.total_epochs": 3,
}
RECIPES = {
    "vsrm_ppo": SpelledOut(
        reward=VSRM,
        advantage=Gae(gamma=1.0, lam=1.0),
        loss=PpoClip(low=0.2, high=0.2, dual=3.0),
        verl={**STATED, "critic.optim.lr": 1e-5, "critic.cliprange_value": 0.5},
    ),
    "vsrm_rpp": SpelledOut(
        reward=VSRM, advantage=ReinforcePp(gamma=1.0), loss=PpoClip(low=0.2, high=0.2, dual=3.0), verl=STATED
    ),
}

A = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.6, 1.0, 1.0]
CUTS = [*range(300, 571, 30), 600]


def batch_of(
    accuracies: list[list[float | None]], cuts: list[list[int]], length: int | list[int] = 700, **more: Any
) -> RolloutBatch:
    lengths = [length] * len(cuts) if isinstance(length, int) else length
    correct = more.pop("correct", [1] * len(cuts))
    columns = {"cut_tokens": cuts, "probe_accuracies": accuracies, **more}
    return RolloutBatch.of(group=range(len(cuts)), length=lengths, correct=correct, **columns)


def by_token(reward: StepwiseGain | Sum, batch: RolloutBatch) -> torch.Tensor:
    result = reward.breakdown(batch)
    return token_rewards(result.reward, batch.length, result.placement)


def test_worked_example() -> None:
    batch = batch_of([A], [CUTS])
    total_N, placement = StepwiseGain().place(batch)
    expected = [0, 0.144060, 0.205800, 0.294000, 0.420000, 0.600000, -0.140000, -0.200000, 0.400000, 0]
    paid = dict(zip(placement.token.tolist(), placement.amount.tolist(), strict=True))
    assert [paid.get(token, 0.0) for token in CUTS[:-1]] == pytest.approx(expected, abs=1e-6)
    assert total_N.tolist() == pytest.approx([1.723860], abs=1e-6)
    plain_N, _ = StepwiseGain(window=0).place(batch)
    assert plain_N.tolist() == pytest.approx([0.8], abs=1e-6)


def test_worked_example_returns() -> None:
    reward_NT = by_token(Sum(outcome=Correct(), steps=StepwiseGain()), batch_of([A], [CUTS]))
    returns = oracles.returns(reward_NT[0].tolist())
    expected = {
        2.723860: (0, 300, 301),
        1.66: (450,),
        1.06: (451, 480),
        1.2: (481, 510),
        1.0: (570, 699),
    }
    for value, tokens in expected.items():
        assert [returns[token] for token in tokens] == pytest.approx([value] * len(tokens), abs=1e-6)


@pytest.mark.parametrize(("window", "first"), [(1, 0.0), (2, 0.245), (3, 0.245), (4, 0.245)])
def test_worked_example_with_the_empty_thinking_probed(window: int, first: float) -> None:
    accuracies = [0.25, 0.25, 0.25, 0.75, 0.75, 0.50, 0.50, 1.0, 1.0, 1.0]
    expected = [first, 0.35, 0.5, -0.175, -0.25, 0.35, 0.5, 0, 0]
    for given, wanted in ((accuracies, expected), (accuracies[1:], expected[1:])):  # and the code's reference
        gain_NK = step_gains(torch.tensor([given], dtype=torch.float64))
        assert look_ahead(gain_NK, window, 0.7, 1e-5)[0].tolist() == pytest.approx(wanted, abs=1e-6)
    total_N, _ = StepwiseGain(window=window).place(batch_of([accuracies], [list(range(10))]))
    assert total_N.tolist() == pytest.approx([1.275 if window == 1 else 1.52], abs=1e-6)


def test_worked_example_truncated() -> None:
    """The last prefix of VSRM's code, the bare opening tag, is never answered: the last step loses all."""
    batch = batch_of([[0.2, 0.2, 0.2, 0.8, 0.0]], [[10, 20, 30, 40, 50]], length=50, correct=[0])
    _, placement = StepwiseGain(truncated_last_prefix="code").place(batch)
    assert placement.amount.tolist() == pytest.approx([0.294, 0.42, 0.6, -0.8], abs=1e-6)


def slow_step_rewards(
    accuracies: Sequence[float | None], window: int = 4, decay: float = 0.7, tolerance: float = 1e-5
) -> list[float]:
    """``A_1..A_{M+1}`` to ``r_1..r_M``; an unknown accuracy makes the two gains that touch it flat."""
    gains = []
    for before, after in pairwise(accuracies):
        gains.append(0.0 if before is None or after is None else after - before)
    rewards = []
    for j, gain in enumerate(gains):
        if abs(gain) >= tolerance:
            rewards.append(gain)
            continue
        borrowed = 0.0
        for q in range(1, window + 1):
            if j + q < len(gains) and abs(gains[j + q]) >= tolerance:
                borrowed = decay**q * gains[j + q]
                break
        rewards.append(borrowed)
    return rewards


def slow_placed(
    cuts: Sequence[int], rewards: Sequence[float], length: int, placement: str, combine: str
) -> dict[int, float]:
    """What each token gets, less what falls behind the end, or on the last token where the outcome replaces it."""
    tokens: dict[int, float] = {}
    for j, reward in enumerate(rewards):
        token = cuts[j] if placement == "step_start" else max(cuts[j], cuts[j + 1] - 1)
        if token >= length or (combine == "overwrite" and token == length - 1) or reward == 0:
            continue
        tokens[token] = tokens.get(token, 0.0) + reward
    return tokens


def test_agrees_with_the_loop() -> None:
    draw = random.Random(0)
    rows: list[tuple[list[int], list[float | None], int]] = []
    for _ in range(1000):
        steps = draw.choice((0, 0, 1, 2, 5, 9))
        shares: list[float | None] = [
            draw.choice((0.0, 0.2, 0.2, 0.2, 0.6, 1.0, None)) for _ in range(steps + bool(steps))
        ]
        cuts = sorted(draw.choices(range(30), k=len(shares)))
        rows.append((cuts, shares, draw.choice((0, 1, 12, 25, 31))))
    batch = batch_of([row[1] for row in rows], [row[0] for row in rows], [row[2] for row in rows])
    for window, decay in ((4, 0.7), (0, 0.7), (1, 1.0), (9, 0.5)):
        for placement in ("step_start", "step_end"):
            for combine in ("add", "overwrite"):
                reward = StepwiseGain(window=window, decay=decay, placement=placement, combine=combine)  # type: ignore[arg-type]
                reward_NT = by_token(reward, batch)
                for row, (cuts, shares, length) in enumerate(rows):
                    steps = slow_step_rewards(shares, window, decay)
                    expected = slow_placed(cuts, steps, length, placement, combine)
                    given = {token: value for token, value in enumerate(reward_NT[row].tolist()) if abs(value) > 1e-12}
                    wanted = {token: value for token, value in expected.items() if abs(value) > 1e-12}
                    assert given == pytest.approx(wanted, abs=1e-9), (cuts, shares, length)


def test_without_look_ahead_the_steps_cancel_to_the_last_less_the_first_accuracy() -> None:
    assert StepwiseGain(window=0)(batch_of([[0.4, 0.0, 1.0, 0.6]], [[1, 2, 3, 4]]))[0].tolist() == pytest.approx([0.2])


def test_a_failed_probe_is_not_a_wrong_answer() -> None:
    """The two gains that touch it are flat; the one before them borrows what comes after."""
    shares: list[float | None] = [0.2, 0.2, None, 0.8, 1.0]
    _, placement = StepwiseGain().place(batch_of([shares], [[1, 2, 3, 4, 5]]))
    paid = dict(zip(placement.token.tolist(), placement.amount.tolist(), strict=True))
    assert paid == pytest.approx({1: 0.7**3 * 0.2, 2: 0.7**2 * 0.2, 3: 0.7 * 0.2, 4: 0.2})
    nan = batch_of([[float("nan") if share is None else share for share in shares]], [[1, 2, 3, 4, 5]])
    torch.testing.assert_close(StepwiseGain()(nan)[0], StepwiseGain()(batch_of([shares], [[1, 2, 3, 4, 5]]))[0])


def test_step_end_pays_the_token_before_the_next_cut() -> None:
    batch = batch_of([[0.0, 0.5, 1.0]], [[10, 20, 33]])
    assert StepwiseGain(placement="step_end").place(batch)[1].token.tolist() == [19, 32]
    assert StepwiseGain().place(batch)[1].token.tolist() == [10, 20]


def test_a_response_without_cuts_earns_nothing() -> None:
    total_N, placement = StepwiseGain().place(batch_of([[], [0.0, 1.0]], [[], [3, 9]]))
    assert total_N.tolist() == [0.0, 1.0] and placement.row.tolist() == [1]
    assert StepwiseGain()(batch_of([], []))[0].shape == (0,)


@pytest.mark.parametrize(("combine", "last"), [("add", 1.5), ("overwrite", 1.0)])
def test_the_outcome_beside_a_step_on_the_last_token(combine: Any, last: float) -> None:
    batch = batch_of([[0.5, 1.0]], [[9, 10]], length=10)
    reward_NT = by_token(Sum(outcome=Correct(), steps=StepwiseGain(combine=combine)), batch)
    assert reward_NT[0, 9] == last and reward_NT.sum() == last


def test_a_truncation_term_falls_on_the_last_token() -> None:
    """Steps, outcome and overlong punishment in one sum: only the steps fall on earlier tokens."""
    batch = batch_of([A, []], [CUTS, []], length=[700, 1000], correct=[1, 0])
    overlong = SoftOverlong(limit=1000, buffer=400)
    reward = Sum(outcome=Correct(), steps=Scale(by=0.5, of=StepwiseGain()), overlong=overlong)
    result = reward.breakdown(batch)
    assert result.reward.tolist() == pytest.approx([1 + 0.5 * 1.72386 - 0.25, -1.0], abs=1e-6)
    reward_NT = token_rewards(result.reward, batch.length, result.placement)
    assert reward_NT[0, 450].item() == pytest.approx(0.3) and reward_NT[0, 699].item() == pytest.approx(0.75)
    assert reward_NT[1].nonzero().tolist() == [[999]]
    torch.testing.assert_close(reward_NT.sum(-1), result.reward)


def test_columns_that_do_not_fit_name_the_row() -> None:
    with pytest.raises(BatchError, match="row 1: 2 cut_tokens and 3 probe_accuracies"):
        StepwiseGain().place(batch_of([[0.0, 1.0], [0.0, 1.0, 1.0]], [[1, 2], [1, 2]]))
    with pytest.raises(BatchError, match=r"column 'cut_tokens', row 0: .* is no list"):
        StepwiseGain().place(RolloutBatch.of(group=[0], length=[9], correct=[1], cut_tokens=[3], probe_accuracies=[[]]))


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"window": -1}, "window -1"),
        ({"decay": 0.0}, "decay 0.0"),
        ({"decay": 1.1}, "decay 1.1"),
        ({"markers": ()}, "markers is"),
        ({"markers": ("wait", "")}, "none of them empty"),
        ({"skip_chars": -1}, "skip_chars is -1"),
        ({"min_gap_chars": -1}, "min_gap_chars is -1"),
        ({"max_cuts": 0}, "max_cuts is 0"),
        ({"probes": 0}, "probes is 0"),
        ({"max_probes": 9}, "max_probes is 9; give 10 or more"),
        ({"max_probes": 14, "probe_empty": True}, "max_probes is 14; give 15 or more"),
        ({"probe_tokens": 0}, "probe_tokens is 0"),
        ({"probe_temperature": -0.1}, "probe_temperature is -0.1"),
        ({"probe_top_p": 0.0}, "probe_top_p is 0.0"),
        ({"close_tag": ""}, "close_tag is ''"),
        ({"open_tag": ""}, "open_tag is ''"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        StepwiseGain(**settings)


def test_a_list_of_markers_compares_with_a_tuple() -> None:
    assert StepwiseGain(markers=["wait"]) == StepwiseGain(markers=("wait",))  # type: ignore[arg-type]
