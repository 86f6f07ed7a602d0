"""What a registered part is, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward, RewardN
from leanthink.core.schedules import Number
from leanthink.recipe import parts
from leanthink.recipe.registry import REGISTRY


@dataclass(frozen=True, kw_only=True)
class Priced(Reward):
    """A price, of :class:`leanthink.rewards.Correct` and ``x``
    in two lines.

    ``r = -price``, see :func:`price`.

    Args:
        price: for
            each token.
        words: that cost: none, or more.

    >>> Priced(price=1.0).words
    (' ',)
    """

    price: Number
    words: tuple[str, ...] = (" ",)
    sign: Literal["up", "down"] | None = None

    def score(self, batch: RolloutBatch) -> RewardN:
        """None is asked for."""
        raise NotImplementedError


def test_a_part_is_read_off_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY["reward"], "priced", Priced)
    part = parts.part_of("reward", "priced")
    assert (part.scope, part.summary) == ("response", "A price, of Correct and `x` in two lines.")
    assert part.text == ("`r = -price`, see price.",)
    assert part.arguments == (
        parts.Argument(name="price", kind="number or schedule", default=None, text="for each token."),
        parts.Argument(name="words", kind="list of text", default='[" "]', text="that cost: none, or more."),
        parts.Argument(name="sign", kind="up or down or null", default="null", text=""),
    )
    assert part.example == ">>> Priced(price=1.0).words\n(' ',)"


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("correct", "response"),
        ("kimi_length", "group"),
        ("sum", "parts"),
        ("clip", "parts"),  # it asks for a bound
        ("group_normalize", "group or parts"),
        ("adaptive_step_length", "group or parts"),  # it asks for numbers
        ("lambda_switch", "batch"),  # its ranking, by default
        ("lazy_length", "batch"),
    ],
)
def test_what_a_reward_looks_at(name: str, scope: str) -> None:
    assert parts.part_of("reward", name).scope == scope


@pytest.mark.parametrize("part", list(parts.parts()), ids=lambda part: f"{part.kind}.{part.name}")
def test_every_argument_says_what_it_may_be(part: parts.Part) -> None:
    assert part.summary and "``" not in part.summary and ":class:" not in " ".join(part.text)
    assert [one.name for one in part.arguments if not one.kind] == []


def test_parts_are_named_alone_or_with_their_kind() -> None:
    assert [(one.kind, one.name) for one in parts.named("drpo")] == [("loss", "drpo")]
    assert [(one.kind, one.name) for one in parts.named("loss.drpo")] == [("loss", "drpo")]
    assert parts.named("recipe.yaml") == parts.named("no_such") == []
    with pytest.raises(ConfigError, match="there is no loss 'drppo'; did you mean 'drpo'"):
        parts.named("loss.drppo")
