"""Length of the response, of its thinking, or of its answer, for any reward."""

from __future__ import annotations

import json

import pytest
import torch

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError, MissingColumnError
from leanthink.core.placement import token_rewards
from leanthink.recipe.advice import depends_on_length
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.nodes import build, describe
from leanthink.rewards import (
    Correct,
    Counted,
    ExactBudget,
    Format,
    HistoryLength,
    KimiLength,
    LazyLength,
    MaxBudget,
    QuantileBudget,
    Sum,
    TokenRepetition,
)
from leanthink.testing import check_reward
from oracles import Numbers

EXAMPLES = [
    Counted(of=KimiLength(), counts="thinking"),
    Counted(of=MaxBudget(alpha=0.002), counts="answer"),
    Counted(of=TokenRepetition(size=2), counts="thinking"),
    Counted(of=HistoryLength(), counts="response"),
]
COLUMNS = {"thinking_length": lambda generator, n: torch.randint(0, 9000, (n,), generator=generator).double()}

BATCH = RolloutBatch.of(
    group=[0] * 4, length=[100, 100, 90, 40], correct=[1, 1, 0, 1], thinking_length=[80, 60, 90, 10]
)


def test_every_length_in_it_is_that_of_what_counts() -> None:
    """The extremes, too: thinking of 10 to 90 tokens, answers of 0 to 40."""
    thinking_N = Counted(of=KimiLength(), counts="thinking")(BATCH)[0]
    assert thinking_N.tolist() == pytest.approx([0.5 - 70 / 80, 0.5 - 50 / 80, -0.5, 0.5])
    answer_N = Counted(of=KimiLength(), counts="answer")(BATCH)[0]
    assert answer_N.tolist() == pytest.approx([0.5 - 20 / 40, -0.5, 0.0, 0.5 - 30 / 40])
    assert torch.equal(Counted(of=KimiLength(), counts="response")(BATCH)[0], KimiLength()(BATCH)[0])


def slow_price(length: Numbers, thinking: Numbers, counts: str, alpha: float, budget: float) -> list[float]:
    result = []
    for tokens, thought in zip(length, thinking, strict=True):
        thought = tokens if thought > tokens else thought
        counted = {"response": tokens, "thinking": thought, "answer": tokens - thought}[counts]
        result.append(-alpha * abs(counted - budget))
    return result


@pytest.mark.parametrize("counts", ["response", "thinking", "answer"])
def test_agrees_with_the_loop(merged: RolloutBatch, counts: str) -> None:
    thinking_N = torch.randint(0, 9000, (len(merged),), generator=torch.Generator().manual_seed(1)).double()
    batch = merged.replace(thinking_length=thinking_N, budget=[700.0] * len(merged))
    given_N = Counted(of=ExactBudget(alpha=0.5), counts=counts)(batch)[0]  # type: ignore[arg-type]
    expected = slow_price(merged.length.tolist(), thinking_N.tolist(), counts, 0.5, 700)
    assert given_N.tolist() == pytest.approx(expected)


def test_in_a_recipe_it_is_an_argument_of_every_reward() -> None:
    node = {"kimi_length": {"counts": "thinking"}}
    reward = build(node, "reward")
    assert reward == Counted(of=KimiLength(), counts="thinking") and describe(reward) == node
    wrapped = {"counted": {"of": {"sum": {"a": "correct"}}, "counts": "answer"}}
    assert describe(build(wrapped, "reward")) == wrapped
    recipe = load_recipe("lcpo_exact", ["reward.sum.budget.exact_budget.counts=thinking"])
    assert recipe.reward == Sum(correct=Correct(), budget=Counted(of=ExactBudget(alpha=0.0003), counts="thinking"))
    assert recipe.reward.requires == {"budget", "thinking_length"}
    again = load_recipe("lcpo_exact", [f"reward={json.dumps(describe(recipe.reward))}"])
    assert again.reward == recipe.reward


def test_a_part_named_counts_is_a_part() -> None:
    assert build({"sum": {"counts": "correct"}}, "reward") == Sum(counts=Correct())


def test_what_falls_on_tokens_that_do_not_count_is_neither_paid_nor_charged() -> None:
    reward = TokenRepetition(size=2, penalty=-1.0, discount=1.0)
    batch = RolloutBatch.of(group=[0, 0], length=[10, 10], correct=[1, 1], thinking_length=[5, 10]).replace(
        **{reward.column: ["3:7", "3:7"]}
    )
    paid = {}
    for counts in ("thinking", "answer"):
        result = Counted(of=reward, counts=counts).breakdown(batch)  # type: ignore[arg-type]
        assert result.placement is not None
        paid[counts] = token_rewards(result.reward, batch.length, result.placement)
        torch.testing.assert_close(paid[counts].sum(-1), result.reward)
    assert paid["thinking"][0].nonzero().flatten().tolist() == [3, 4]
    assert paid["answer"][0].nonzero().flatten().tolist() == [5, 6]
    assert paid["thinking"][1].nonzero().flatten().tolist() == [3, 4, 5, 6] and not paid["answer"][1].any()
    whole = reward.breakdown(batch)
    torch.testing.assert_close(
        paid["thinking"] + paid["answer"], token_rewards(whole.reward, batch.length, whole.placement)
    )


def test_advice_knows_that_it_looks_at_length() -> None:
    assert all(depends_on_length(Counted(of=KimiLength(), counts=counts)) for counts in ("thinking", "answer"))  # type: ignore[arg-type]


def test_a_form_inside_it_is_measured_on_the_whole_response() -> None:
    check_reward(Counted(of=LazyLength(valid=Format()), counts="thinking"), COLUMNS, rounds=3)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"format": {"counts": "thinking"}}, "but Format is measured on the whole response; leave it out"),
        ({"quantile_budget": {"longest": 9, "counts": "answer"}}, "become limits of whole responses"),
        (
            {"counted": {"of": {"sum": {"a": "kimi_length", "b": "token_repetition"}}, "counts": "thinking"}},
            "a part of Sum pays single tokens, and others may read lengths; give counts to each part by itself",
        ),
        ({"kimi_length": {"counts": "thoughts"}}, r"kimi_length\.counts: 'thoughts' is not allowed; give one of"),
    ],
)
def test_what_cannot_be_counted_so_is_refused(node: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build(node, "reward")
    assert Counted(of=QuantileBudget(longest=9), counts="response").counts == "response"


def test_the_length_of_the_thinking_is_asked_for_by_name() -> None:
    with pytest.raises(MissingColumnError, match="thinking_length"):
        Counted(of=KimiLength(), counts="thinking")(RolloutBatch.of(group=[0], length=[1], correct=[1]))
