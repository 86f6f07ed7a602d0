"""DECS, arXiv 2509.25827."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator

from collected import SpelledOut
from leanthink.algorithms import PositionNorm, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state, shown
from leanthink.core.errors import BatchError, ConfigError, StateError
from leanthink.core.placement import token_rewards
from leanthink.rewards import EasyShare, RedundantThinking
from leanthink.rewards.redundant_thinking import (
    Form,
    chunk_ends,
    next_easy_share,
    redundant_span,
    until_first_mention,
)
from made_batches import group_of
from oracles import Numbers

EXAMPLES = [
    RedundantThinking(),
    RedundantThinking(difference=0.3, longest=20_000, form="paper"),
    EasyShare(),
    EasyShare(of=RedundantThinking(share="tokens"), start_share=0.3, form="paper"),
]


def drawn(generator: Generator, n: int) -> list[str]:
    """Nothing found, nothing redundant, or some tokens among the first hundred."""
    kinds = torch.randint(0, 4, (n,), generator=generator).tolist()
    return ["" if kind == 0 else "-1:-1:1:1" if kind == 1 else f"{20 * kind}:{40 * kind}:0.5:0.25" for kind in kinds]


COLUMNS = {
    name: drawn
    for name in {
        example.column if isinstance(example, RedundantThinking) else example.of.column
        for example in (*EXAMPLES, RedundantThinking(difference=0.1, longest=16384))
    }
}
RECIPES = {
    "decs": SpelledOut(
        reward=EasyShare(rate=0.2, of=RedundantThinking(difference=0.1, longest=16384)),
        advantage=PositionNorm(),
        loss=PpoClip(low=0.2, high=0.2),
        verl={
            "data.train_batch_size": 64,
            "data.max_prompt_length": 1024,
            "data.max_response_length": 16384,
            "actor_rollout_ref.rollout.n": 16,
            "actor_rollout_ref.rollout.temperature": 0.6,
            "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": 2e-6,
            "algorithm.filter_groups.enable": True,
        },
    )
}


def advantages(lengths: Numbers, correct: list[int], spans: list[str], form: Form = "released") -> torch.Tensor:
    reward = RedundantThinking(form=form)
    batch = group_of(list(lengths), correct).replace(**{reward.column: spans})
    result = reward.breakdown(batch)
    reward_NT = token_rewards(result.reward, batch.length, result.placement)
    mask_NT = torch.arange(reward_NT.shape[1]) < batch.length[:, None]
    return PositionNorm()(reward_NT, mask_NT, batch.group)


def test_worked_example_of_an_all_right_group() -> None:
    lengths = [2000, 4000, 8000, 12000]
    spans = ["-1:-1:1:1", "1500:3800:0.5:0.4", "2000:7800:0.3:0.25", "6000:11800:0.5:0.5"]
    expected: dict[Form, dict[int, list[float]]] = {
        "paper": {
            1000: [0, 0, 0, 0],
            1700: [0.499992, -1.499976, 0.499992, 0.499992],
            3000: [0, -0.705647, -1.012718, 0.859183],
            7000: [0, 0, -0.730536, -0.991628],
        },
        "released": {
            1000: [0, 0, 0, 0],
            1700: [0.499959, -1.499877, 0.499959, 0.499959],
            3000: [0, -0.261105, -1.305527, 0.783316],
            7000: [0, 0, -0.499986, -1.166635],
        },
    }
    for form, columns in expected.items():
        value_NT = advantages(lengths, [1] * 4, spans, form)
        for j, values in columns.items():
            assert value_NT[:, j].tolist() == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("paper", [0.736484, 0.986517, -0.861500, -0.861500]),
        ("released", [0.826284, 0.904873, -0.865578, -0.865578]),
    ],
)
def test_worked_example_of_a_mixed_group(form: Form, expected: list[float]) -> None:
    spans = ["2000:7800:0.3:0.25", "-1:-1:1:1", "", ""]
    value_NT = advantages([8000, 8000, 8000, 8000], [1, 1, 0, 0], spans, form)
    assert value_NT[:, 4000].tolist() == pytest.approx(expected, abs=1e-6)


def test_worked_example_of_the_curriculum() -> None:
    needed, first = [0.44, 0.47, 0.52, 0.55, 0.61, 0.70], 0.5
    unclipped, kappa, before = [], 0.0, first
    for share in needed:
        kappa, before = next_easy_share(kappa, share, before, 0.2, least=None), share
        unclipped.append(kappa)
    assert unclipped == pytest.approx([-0.012, -0.006, 0.004, 0.010, 0.022, 0.040], abs=1e-9)
    clipped, kappa, before = [], 0.0, first
    for share, most in zip(needed, [0.3, 0.3, 0.3, 0.02, 0.3, 0.3], strict=True):
        kappa, before = next_easy_share(kappa, share, before, 0.2, most), share
        clipped.append(kappa)
    assert clipped == pytest.approx([0, 0.006, 0.016, 0.020, 0.032, 0.050], abs=1e-9)


@pytest.mark.parametrize(("kappa", "kept"), [(0.04, 5), (0.02, 2), (0.2, 30), (0.0, 0), (-0.1, 0), (1.0, 500)])
def test_worked_example_of_the_filter(kappa: float, kept: int) -> None:
    assert EasyShare().kept(120, 500, {"own": {"kappa": kappa, "needed": 0.5}}) == kept


def slow_values(length: int, right: bool, begin: int, end: int, form: Form) -> list[float]:
    """Eq. 9, token by token; the released form is 0.1 more."""
    if not right:
        return [0.0] * length
    low = 1.0 - 0.1 * length / 16384 + (0.1 if form == "released" else 0.0)
    return [low if 0 <= begin <= j < end else 1.1 for j in range(length)]


@pytest.mark.parametrize("form", ["paper", "released"])
def test_agrees_with_the_loop(form: Form) -> None:
    """A thousand batches of values by token."""
    generator = torch.Generator().manual_seed(2)
    reward = RedundantThinking(form=form)
    for _ in range(1000):
        n = int(torch.randint(1, 6, (1,), generator=generator))
        length = torch.randint(4, 12, (n,), generator=generator).tolist()
        right = torch.randint(2, (n,), generator=generator).tolist()
        begin = [int(torch.randint(-1, one - 3, (1,), generator=generator)) for one in length]
        end = [
            start if start < 0 else int(torch.randint(start + 1, one - 1, (1,), generator=generator))
            for start, one in zip(begin, length, strict=True)
        ]
        spans = [f"{a}:{b}:0.5:0.5" for a, b in zip(begin, end, strict=True)]
        batch = group_of(length, right).replace(**{reward.column: spans})
        result = reward.breakdown(batch)
        reward_NT = token_rewards(result.reward, batch.length, result.placement)
        for i in range(n):
            values = slow_values(length[i], bool(right[i]), begin[i], end[i], form)
            total = float(result.reward[i])
            assert total == pytest.approx(values[-1])
            running = torch.cumsum(reward_NT[i, : length[i] - 1], 0) + total
            assert running.tolist() == pytest.approx(values[:-1], abs=1e-12)


TEXT = "<think> a\nb 42 so. Wait, 42 it\nis. But maybe\nnot. Hmm, 42. </think> It is 42."


def pieces_of(text: str) -> list[str]:
    return [word if not number else f" {word}" for number, word in enumerate(text.split(" "))]


def test_all_chunks_up_to_the_first_with_the_answer_are_needed() -> None:
    pieces = pieces_of(TEXT)
    begin, end, chunks, tokens = redundant_span(pieces, "?", until_first_mention, ("<think>", "</think>", False))
    assert "".join(pieces[:begin]) == "<think> a\nb 42 so."
    assert pieces[end] == " </think>" and chunks == 0.25
    assert tokens == pytest.approx((begin - 1) / (end - 1))


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("<think> a\nb Wait, 42 </think> It is 42.", (-1, -1, 1.0, 1.0)),
        ("<think> a\nb Wait, 41 </think> It is 42.", (-1, -1, 0.0, 0.0)),
        ("It is 42.", (-1, -1, 0.0, 0.0)),
        ("<think> </think> It is 42.", (-1, -1, 0.0, 0.0)),
    ],
    ids=["in the last chunk", "nowhere", "no thinking", "empty thinking"],
)
def test_where_nothing_is_redundant(text: str, span: tuple[float, ...]) -> None:
    assert redundant_span(pieces_of(text), "?", until_first_mention, ("<think>", "</think>", False)) == span


def test_thinking_that_is_never_closed_is_redundant_to_the_end() -> None:
    """The last word is taken for the answer; what follows its first mention's chunk is of no use."""
    pieces = pieces_of("<think> 42 a\nb Wait, so\nit is 42")
    begin, end, chunks, _ = redundant_span(pieces, "?", until_first_mention, ("<think>", "</think>", False))
    assert pieces[begin] == " Wait," and end == len(pieces) and chunks == 0.5


def test_chunks_without_a_line_break_are_joined_to_the_next_but_for_the_last() -> None:
    text = "a\nb Wait c But d\ne Hmm"
    assert [text[:end] for end in chunk_ends(text)] == ["a\nb", "a\nb Wait c But d\ne", text]
    assert [text[:end] for end in chunk_ends(text, joins=False)] == [
        "a\nb",
        "a\nb Wait c",
        "a\nb Wait c But d\ne",
        text,
    ]
    assert chunk_ends("Let us see") == [10] and chunk_ends("await\nx") == [7]


def test_a_detector_that_invents_is_told() -> None:
    with pytest.raises(BatchError, match="no beginning of the thinking; return that as it stands there, or None"):
        redundant_span(pieces_of(TEXT), "?", lambda *_: "something else", ("<think>", "</think>", False))


def test_wrong_and_cut_responses_have_no_steps() -> None:
    reward = RedundantThinking()
    batch = group_of([50, 50, 50], [1, 0, 1], truncated=[0, 0, 1]).replace(**{reward.column: ["5:20:0.5:0.5"] * 3})
    total_N, placement = reward.place(batch)
    assert (
        total_N.tolist() == [1.1, 0, 1.1] and placement.row.tolist() == [0, 0] and placement.token.tolist() == [5, 20]
    )


def test_the_share_follows_what_is_needed() -> None:
    reward = EasyShare(rate=0.5)

    def batch(*shares: float) -> RolloutBatch:
        spans = [f"5:20:{share}:0.1" for share in shares]
        return group_of([50.0] * len(spans), [1] * len(spans)).replace(**{reward.of.column: spans})

    _, state = reward(batch(0.6, 0.8, 0.0))  # no chunk has the answer: left out
    assert state["own"] == {"kappa": pytest.approx(0.1), "needed": pytest.approx(0.7)}
    _, after = reward(batch(0.0), state)
    assert after == state
    assert dict(shown(reward, 0, state)) == {"kappa": pytest.approx(0.1), "needed": pytest.approx(0.7)}
    paper = EasyShare(rate=0.5, form="paper")
    _, state = paper(batch(0.8))
    assert state["own"] == {"kappa": 0.0, "needed": 0.8}
    assert paper(batch(0.6), state)[1]["own"]["kappa"] == 0.0
    assert paper.breakdown(batch(0.6), state).placement is not None


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: RedundantThinking(difference=0.0), r"difference is 0\.0"),
        (lambda: RedundantThinking(form="code"), "form is 'code'; give released or paper"),  # type: ignore[arg-type]
        (lambda: RedundantThinking(detector="nothing"), "detector"),
        (lambda: RedundantThinking(openers=()), r"openers is \(\); give one word or more"),
        (lambda: EasyShare(start_share=1.0), r"start_share 1\.0"),
        (lambda: EasyShare(rate=-1.0), r"rate is -1\.0"),
    ],
)
def test_wrong_settings_are_refused(make: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make()


def test_an_edited_state_and_a_wrong_column_are_told() -> None:
    with pytest.raises(StateError, match=r"needed is 2\.0"):
        check_state(EasyShare(), {"own": {"kappa": 0.0, "needed": 2.0}}, "state")
    with pytest.raises(BatchError, match="row 0: 'five' tells no redundant tokens"):
        RedundantThinking()(group_of([9.0], [1]).replace(**{RedundantThinking().column: ["five"]}))
