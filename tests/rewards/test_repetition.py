"""Repetition penalties, arXiv 2502.03373, Appendix C.2, and its code."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence

import pytest
import torch

from leanthink.algorithms import ReinforcePp
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.placement import token_rewards
from leanthink.rewards import CosineLength, Repetition, Sum, TokenRepetition, WordRepetition
from leanthink.rewards.repetition import discounted_return, repeated
from timing import is_within

EXAMPLES = [
    Repetition(size=1),
    Repetition(size=2, penalty=-1),
    TokenRepetition(size=1),
    TokenRepetition(size=2, penalty=-1, discount=1),
    WordRepetition(max_penalty=-1, size=1),
]


def test_worked_example() -> None:
    tokens = [5, 6, 7, 5, 6, 7, 8, 5, 6]
    dense = [-0.05 * flag for flag in repeated(tokens, size=3)]
    assert dense == pytest.approx([0, 0, 0, -0.05, -0.05, -0.05, 0, 0, 0], abs=1e-6)
    assert Repetition(size=3, penalty=-0.05).measure(tokens) == pytest.approx(-0.15, abs=1e-6)


def test_worked_example_words() -> None:
    assert WordRepetition(max_penalty=-1, size=2).measure("so it so It so it") == pytest.approx(-0.6, abs=1e-6)


def slow_dense_repetition(tokens: Sequence[int], size: int, penalty: float) -> list[float]:
    """arXiv 2502.03373, Appendix C.2, Algorithm 1, on token ids."""
    reward = [0.0] * len(tokens)
    for j in range(len(tokens) - size + 1):
        for earlier in range(j):  # was the n-gram at j seen before?
            if all(tokens[earlier + k] == tokens[j + k] for k in range(size)):
                for t in range(j, j + size):
                    reward[t] = penalty
                break
    return reward


def slow_word_repetition(text: str, size: int, max_penalty: float) -> float:
    """The released code's ``(1 - unique / total) * max_penalty``; too short a text gets 0 instead of an error."""
    words = text.lower().split()
    total, unique = 0, []
    for start in range(len(words)):
        if start + size <= len(words):
            total += 1
            if words[start : start + size] not in unique:
                unique.append(words[start : start + size])
    return (1 - len(unique) / total) * max_penalty if total else 0.0


def test_agrees_with_the_loop() -> None:
    draw = random.Random(5)
    for _ in range(1000):
        tokens = [draw.randrange(draw.choice((1, 2, 3, 9))) for _ in range(draw.randrange(25))]
        size = draw.choice((*range(1, 7), 11, 16, 25))
        slow = slow_dense_repetition(tokens, size, -0.05)
        assert [-0.05 * flag for flag in repeated(tokens, size)] == slow
        assert Repetition(size=size).measure(tokens) == pytest.approx(sum(slow), abs=1e-9)
        text = " ".join(draw.choice("AaBb") for _ in tokens)
        slow_word = slow_word_repetition(text, size, -2.0)
        assert WordRepetition(max_penalty=-2.0, size=size).measure(text) == pytest.approx(slow_word, abs=1e-9)


@pytest.mark.parametrize("tokens", [[], [1], [1, 1]])
def test_what_is_shorter_than_an_n_gram_gets_nothing(tokens: list[int]) -> None:
    assert Repetition(size=3).measure(tokens) == 0
    assert WordRepetition(max_penalty=-1, size=3).measure(" ".join(map(str, tokens))) == 0


def test_overlapping_repeats_are_paid_once() -> None:
    assert Repetition(size=2, penalty=-1).measure([4] * 10) == -9
    assert WordRepetition(max_penalty=-1, size=2).measure("a " * 10) == pytest.approx(-8 / 9)


def test_a_long_response_is_quick() -> None:
    """The worst case of a generation limit, well under the time its verification takes."""
    assert Repetition().measure(list(range(7168)) * 2) == pytest.approx(-0.05 * 7168)


LONG = {
    "one token": [1] * 60_000,
    "all different": list(range(60_000)),
    "two tokens": [1, 2] * 30_000,
    "twice": list(range(30_000)) * 2,
}


@pytest.mark.parametrize("size", [20, 8_000, 30_000, 10**300])
@pytest.mark.parametrize("form", LONG)
def test_neither_time_nor_memory_goes_by_the_size(form: str, size: int) -> None:
    tokens, text = LONG[form], " ".join(map(str, LONG[form]))
    reward = WordRepetition(max_penalty=-1, size=size)
    assert is_within(3, repeated, tokens, size) and is_within(3, reward.measure, text)
    tracemalloc.start()
    try:
        repeated(tokens, size)
        reward.measure(text)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("settings", "fact"), [({"size": 0}, "size is 0"), ({"penalty": 0.05}, "penalty is 0.05; .* 0 or less")]
)
def test_wrong_settings_are_refused(settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        Repetition(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"word_repetition: .*{fact}"):
        WordRepetition(**{"max_penalty": settings.get("penalty", -1), "size": settings.get("size", 20)})  # type: ignore[arg-type]


def batch_of(reward: TokenRepetition, spans: list[str], length: list[int], correct: list[int]) -> RolloutBatch:
    return RolloutBatch.of(group=[0] * len(length), length=length, correct=correct, **{reward.column: spans})


def returns_of(reward: TokenRepetition, batch: RolloutBatch, outcome_N: torch.Tensor) -> list[list[float]]:
    """The undiscounted returns of the rewards by token, the outcome on the last."""
    total_N, placement = reward.place(batch)
    reward_NT = token_rewards(total_N + outcome_N, batch.length, placement)
    return_NT = reward_NT.flip(-1).cumsum(-1).flip(-1)
    return [row[: int(n)].tolist() for row, n in zip(return_NT, batch.length, strict=True)]


def test_worked_example_of_two_discounts() -> None:
    reward = TokenRepetition(size=3, penalty=-0.05, discount=0.99)
    found = returns_of(reward, batch_of(reward, ["2:4"], [5], [1]), torch.tensor([2.0]).double())
    assert found[0] == pytest.approx([1.902480, 1.901495, 1.900500, 1.950000, 2.000000], abs=1e-6)


def slow_two_discounts(outcome: float, dense: list[float], discount: float) -> list[float]:
    """The return from each token on: the outcome at the last token, undiscounted, and discounted dense rewards."""
    count = len(dense)
    return [
        outcome + sum(discount ** (later - token) * dense[later] for later in range(token, count))
        for token in range(count)
    ]


@pytest.mark.parametrize("discount", [0.9, 0.99, 1.0])
def test_returns_are_those_of_the_slow_twin(discount: float) -> None:
    draw = random.Random(7)
    reward = TokenRepetition(size=2, penalty=-0.3, discount=discount)
    for _ in range(350):
        lines = [[draw.randrange(3) for _ in range(draw.randrange(1, 30))] for _ in range(draw.randint(1, 5))]
        spans, lengths = [reward.value_of("", line) for line in lines], [len(line) for line in lines]
        batch = batch_of(reward, spans, lengths, [1] * len(lines))
        outcome_N = torch.tensor([draw.uniform(-10, 2) for _ in lines], dtype=torch.float64)
        found = returns_of(reward, batch, outcome_N)
        for line, outcome, returns in zip(lines, outcome_N.tolist(), found, strict=True):
            slow = slow_two_discounts(outcome, slow_dense_repetition(line, 2, -0.3), discount)
            assert returns == pytest.approx(slow, abs=1e-9)


def test_returns_of_any_spans_are_those_of_the_loop() -> None:
    draw = random.Random(9)
    for _ in range(500):
        length, discount = draw.randrange(12), draw.choice((0.5, 0.99, 1.0))
        spans = [(draw.randrange(-3, 16), draw.randrange(-3, 18)) for _ in range(draw.randrange(4))]
        dense = [-0.3 * sum(start <= token < end for start, end in spans) for token in range(18)]
        slow = slow_two_discounts(0.0, dense, discount)
        found = discounted_return(spans, length, -0.3, discount).tolist()
        assert found == pytest.approx(slow[: length + 1], abs=1e-9)


def test_many_ranges_are_paid_in_time_in_proportion() -> None:
    reward = TokenRepetition(size=1)
    tokens = [token for new in range(20_000) for token in (0, new + 1)]
    batch = batch_of(reward, [reward.measure(tokens)], [len(tokens)], [0])
    assert is_within(3, reward.place, batch)


def test_it_adds_up_with_the_cosine_reward_and_reaches_an_advantage_by_token() -> None:
    repetition = TokenRepetition(size=3, discount=0.99)
    reward = Sum(cosine=CosineLength(limit=100), repetition=repetition)
    batch = batch_of(repetition, ["3:6", ""], [8, 5], [0, 1])
    whole = reward.breakdown(batch)
    assert whole.placement is not None
    reward_NT = token_rewards(whole.reward, batch.length, whole.placement)
    mask_NT = torch.arange(8) < batch.length[:, None]
    advantage_NT = ReinforcePp()(reward_NT, mask_NT, batch.group)
    assert bool((advantage_NT[0].diff()[3:6] > 0).all())  # each repeated token behind makes the return better
    assert advantage_NT[1, :5].unique().numel() == 1


def test_a_response_that_only_loops_has_the_geometric_floor() -> None:
    reward = TokenRepetition(size=1, penalty=-0.05, discount=0.99)
    total_N, _ = reward.place(batch_of(reward, ["0:10000"], [10_000], [0]))
    assert total_N.item() == pytest.approx(-5.0, abs=1e-6)


def test_ranges_are_found_and_those_behind_the_end_are_not_paid() -> None:
    reward = TokenRepetition(size=2, discount=1.0)
    assert reward.value_of("", [1, 2, 1, 2, 9, 8, 7, 9, 8]) == "2:4 7:9"
    assert reward.value_of("", [1, 2, 3]) == "" == reward.value_of("", [])


@pytest.mark.parametrize("text", ["3", "3:x", "3:4:5", 7.0])
def test_what_is_no_range_is_refused(text: object) -> None:
    reward = TokenRepetition()
    with pytest.raises(BatchError, match=r"token_repetition, row 1: .* give '3:6 20:31'"):
        reward.place(batch_of(reward, ["", text], [5, 5], [1, 1]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"size": 0}, "size is 0"), ({"penalty": 0.1}, "penalty is 0.1"), ({"discount": 0.0}, "discount is 0.0")],
)
def test_wrong_settings_by_token_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=f"token_repetition: {told}"):
        TokenRepetition(**settings)  # type: ignore[arg-type]
