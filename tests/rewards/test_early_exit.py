"""S-GRPO, arXiv 2505.07686."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import EarlyExit
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.testing import Columns
from oracles import Flags, Groups, Numbers, members

EXAMPLES = [EarlyExit(), EarlyExit(decay=1.5, include_full_path=False, inducer=" </think> ", places="steps")]
COLUMNS: Columns = {"exit_order": lambda generator, n: torch.randint(0, 6, (n,), generator=generator).double()}
RECIPES = {
    "s_grpo": SpelledOut(
        reward=EarlyExit(
            decay=2.0,
            inducer="Time is limited, stop thinking and start answering.\n</think>\n\n",
            include_full_path=True,
        ),
        advantage=Grpo(scale="none"),
        loss=PpoClip(low=0.2, high=0.2, aggregation="seq-mean-token-mean"),
        verl={
            "data.train_batch_size": 128,
            "actor_rollout_ref.rollout.n": 9,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
            "actor_rollout_ref.actor.optim.lr": 1e-6,
            "algorithm.filter_groups.enable": True,
            "algorithm.filter_groups.metric": "acc_then_reward",
        },
    )
}

TOKENIZER = build_tokenizer()


def group_of(flags: list[int]) -> RolloutBatch:
    count = len(flags)
    return RolloutBatch.of(group=[0] * count, length=[9] * count, correct=flags, exit_order=range(count))


@pytest.mark.parametrize(
    ("flags", "rewards", "advantages"),
    [
        ([0, 1, 1, 0, 1], [0, 1, 0.5, 0, 0.25], [-0.35, 0.65, 0.15, -0.35, -0.1]),
        ([1, 1, 1, 1, 1], [1, 0.5, 0.25, 0.125, 0.0625], [0.6125, 0.1125, -0.1375, -0.2625, -0.325]),
        ([0] * 5, [0.0] * 5, [0.0] * 5),
        ([0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [-0.2, -0.2, -0.2, -0.2, 0.8]),
        (
            [0, 1, 0, 0, 0, 1, 1, 0, 1],
            [0, 1, 0, 0, 0, 0.5, 0.25, 0, 0.125],
            [-0.208333, 0.791667, -0.208333, -0.208333, -0.208333, 0.291667, 0.041667, -0.208333, -0.083333],
        ),
    ],
)
def test_worked_examples(flags: list[int], rewards: list[float], advantages: list[float]) -> None:
    batch = group_of(flags)
    reward_N = EarlyExit()(batch)[0]
    assert reward_N.tolist() == pytest.approx(rewards, abs=1e-6)
    assert Grpo(scale="none")(reward_N, batch.group).tolist() == pytest.approx(advantages, abs=1e-6)


def slow_serial_rewards(correct: Flags, order: Numbers, group: Groups, decay: float) -> list[float]:
    """arXiv 2505.07686, Algorithm 1: walk each group in the order of its exits, equal ones in that of the rows."""
    result = [0.0] * len(correct)
    for of in members(group).values():
        right = 0
        for i in sorted(of, key=lambda i: order[i]):
            if correct[i]:
                right += 1
                result[i] = 1 / decay ** (right - 1)
    return result


@pytest.mark.parametrize("decay", [2.0, 1.5])
def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch, decay: float) -> None:
    order_N = torch.randint(0, 4, (len(merged),), generator=torch.Generator().manual_seed(4)).double()
    expected: list[float] = []
    start = 0
    for batch in batches:
        order = order_N[start : start + len(batch)].tolist()
        start += len(batch)
        expected += slow_serial_rewards((batch.correct == 1).tolist(), order, batch.group.tolist(), decay)
    given_N = EarlyExit(decay=decay)(merged.replace(exit_order=order_N))[0]
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_equal_places_count_each_in_the_order_of_the_rows() -> None:
    reward = EarlyExit()
    assert reward.reads_order
    assert reward(group_of([1, 1, 1]).replace(exit_order=[3, 3, 3]))[0].tolist() == [1.0, 0.5, 0.25]
    assert reward(group_of([1, 0, 1, 1]).replace(exit_order=[3, 1, 3, 1]))[0].tolist() == [0.5, 0.0, 0.25, 1.0]


@pytest.mark.parametrize("place", [float("nan"), float("inf")])
def test_a_place_is_a_number(place: float) -> None:
    with pytest.raises(BatchError, match=rf"column 'exit_order', row 1: {place:g} is not allowed; give the place"):
        EarlyExit()(group_of([1, 1]).replace(exit_order=[0.0, place]))


PATH = TOKENIZER.encode(r"<think> 47 + 12 = 59 wait = 59 </think> \boxed{ 59 }")


def test_cuts_are_places_of_the_thinking_each_once_and_the_same_every_time() -> None:
    part = EarlyExit()
    cuts = part.cuts(PATH, TOKENIZER.decode, 4)
    assert cuts == sorted(set(cuts)) and len(cuts) == 4
    assert cuts == part.cuts(PATH, TOKENIZER.decode, 4) != EarlyExit(seed=1).cuts(PATH, TOKENIZER.decode, 4)
    assert part.cuts(PATH, TOKENIZER.decode, 99) == list(range(2, 10))  # behind each of 8 tokens of thinking


def test_cuts_behind_steps() -> None:
    """Characters are tokens; a step ends behind its empty line."""
    text = "<think>one.\ntwo.\n\nthree \n \n\nfour</think>4\n\n5"

    def decode(ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    cuts = EarlyExit(places="steps").cuts([ord(sign) for sign in text], decode, 9)
    assert [text[:cut] for cut in cuts] == ["<think>one.\ntwo.\n\n", "<think>one.\ntwo.\n\nthree \n \n\n"]
    assert len(EarlyExit(places="steps").cuts([ord(sign) for sign in text], decode, 1)) == 1


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (["<think>\n\n", "a", "</think>"], []),  # nothing stands before it
        (["<think>", "a.\n\nb", "c", "\n\n", "</think>"], [2, 4]),
    ],
)
def test_a_step_needs_words_and_ends_with_a_token(words: list[str], places: list[int]) -> None:
    def decode(ids: Sequence[int]) -> str:
        return "".join(words[one] for one in ids)

    assert EarlyExit(places="steps").cuts(range(len(words)), decode, 9) == places


@pytest.mark.parametrize("text", [r"\boxed{ 59 }", r"<think> </think> \boxed{ 59 }"])
def test_without_a_thinking_there_is_nothing_to_cut(text: str) -> None:
    assert EarlyExit().cuts(TOKENIZER.encode(text), TOKENIZER.decode, 4) == []


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"decay": 1.0}, "decay is 1.0"),
        ({"inducer": "Stop."}, "does not close"),
        ({"open_tag": ""}, "may not be empty"),
        ({"places": "thoughts"}, "places is 'thoughts'; give tokens or steps"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        EarlyExit(**settings)
