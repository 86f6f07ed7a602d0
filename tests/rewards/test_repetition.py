"""Repetition penalties, arXiv 2502.03373, Appendix C.2, and its code."""

from __future__ import annotations

import random

import pytest

import oracles_length as oracles
from leanthink.core.errors import ConfigError
from leanthink.rewards import Repetition, WordRepetition
from leanthink.rewards.repetition import repeated


def test_worked_example() -> None:
    tokens = [5, 6, 7, 5, 6, 7, 8, 5, 6]
    dense = [-0.05 * flag for flag in repeated(tokens, size=3)]
    assert dense == pytest.approx([0, 0, 0, -0.05, -0.05, -0.05, 0, 0, 0], abs=1e-6)
    assert Repetition(size=3, penalty=-0.05).measure(tokens) == pytest.approx(-0.15, abs=1e-6)


def test_worked_example_words() -> None:
    assert WordRepetition(max_penalty=-1, size=2).measure("so it so It so it") == pytest.approx(-0.6, abs=1e-6)


def test_agrees_with_the_loop() -> None:
    draw = random.Random(5)
    for _ in range(1000):
        tokens = [draw.randrange(draw.choice((1, 2, 3, 9))) for _ in range(draw.randrange(25))]
        size = draw.randint(1, 6)
        slow = oracles.dense_repetition(tokens, size, -0.05)
        assert [-0.05 * flag for flag in repeated(tokens, size)] == slow
        assert Repetition(size=size).measure(tokens) == pytest.approx(sum(slow), abs=1e-9)
        text = " ".join(draw.choice("AaBb") for _ in tokens)
        slow_word = oracles.word_repetition(text, size, -2.0)
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


@pytest.mark.parametrize(
    ("settings", "fact"), [({"size": 0}, "size is 0"), ({"penalty": 0.05}, "penalty is 0.05; .* 0 or less")]
)
def test_wrong_settings_are_refused(settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        Repetition(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"word_repetition: .*{fact}"):
        WordRepetition(**{"max_penalty": settings.get("penalty", -1), "size": settings.get("size", 20)})  # type: ignore[arg-type]
