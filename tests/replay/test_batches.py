"""Texts to a batch, without a file and without a trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch

from leanthink.core.errors import BatchError, MissingColumnError
from leanthink.recipe.definition import Recipe
from leanthink.recipe.scoring import score_step
from leanthink.replay.batches import batch_from_texts
from leanthink.rewards import (
    Correct,
    Counted,
    Format,
    HistoryLength,
    KimiLength,
    RedundantThinking,
    Repetition,
    SigmoidLength,
    Sum,
)
from leanthink.verify import Verdict

TEXTS = [r"<think> 2+2 </think> \boxed{4}", r"wait wait wait \boxed{5}", r"\boxed{9}", r"\boxed{7}"]
GOLDS = ["4", 4, "9", "8"]
GROUPS = [("algebra", 1), ("algebra", 1), "other", "other"]
FORM = Sum(correct=Correct(), form=Format(), again=Repetition(size=1, penalty=-1))


def test_verdicts_lengths_groups_and_measured_columns() -> None:
    batch, rows, judgements, notices = batch_from_texts(TEXTS, GOLDS, GROUPS, reward=FORM, difficulty=[1, 1, 3, 3])
    assert rows == [0, 1, 2, 3] and [one.verdict for one in judgements] == ["correct", "wrong"] * 2
    assert batch.correct.tolist() == [1, 0, 1, 0] and batch.group.tolist() == [0, 0, 1, 1]
    assert batch.column("difficulty").tolist() == [1, 1, 3, 3]
    assert batch.values("prompt_key") == ["('algebra', 1)"] * 2 + ["other"] * 2
    assert batch.column("measured/format").tolist() == [1, 0, 0, 0]
    assert batch.column("measured/repetition(size=1, penalty=-1)")[1] == -2  # the second and the third "wait"
    assert batch.length[1] == len(["wait", "wait", "wait", "\\", "boxed", "{", "5", "}"])
    assert any("words and signs" in notice for notice in notices)
    reward_N = score_step(Recipe(name="mine", reward=FORM), batch).reward
    assert reward_N.isfinite().all() and reward_N[0] == 1 + 1 - 4  # "2", "<", "think", ">" again


def test_a_form_that_no_response_has_is_told() -> None:
    _, _, _, notices = batch_from_texts(TEXTS[1:], GOLDS[1:], GROUPS[1:], reward=FORM)
    assert any("measured/format looks for '</think>', and none of 3 responses has it: 100 %" in one for one in notices)
    _, _, _, notices = batch_from_texts(TEXTS, GOLDS, GROUPS, reward=FORM)
    assert not any("looks for" in one for one in notices)


def test_tokens_cuts_and_steps_as_given() -> None:
    cut = [False, True, False, False]
    batch, _, _, notices = batch_from_texts(
        TEXTS, GOLDS, GROUPS, token_ids=[[1, 2], [3, 3, 3], (4,), []], truncated=cut, step=7
    )
    assert batch.length.tolist() == [2, 3, 1, 0] and batch.truncated.tolist() == cut and batch.step == 7
    assert not any("words" in notice for notice in notices)


@pytest.mark.parametrize("made", [torch.tensor, numpy.array], ids=["torch", "numpy"])
def test_tokens_may_be_arrays(made: Callable[[list[int]], Any]) -> None:
    reward, ids = Repetition(), [[7, 8] * 60, list(range(120))]
    plain, arrays = (
        batch_from_texts(["1", "1"], ["1", "1"], ["a", "a"], reward=reward, token_ids=given).batch
        for given in (ids, [made(one) for one in ids])
    )
    assert reward(arrays)[0].tolist() == reward(plain)[0].tolist() != [0, 0]


def test_a_gold_that_cannot_be_read_leaves_its_responses_out_and_says_so() -> None:
    batch, rows, judgements, _ = batch_from_texts(["1", "2"], ["1", ""], ["a", "b"])
    assert rows == [0] and batch.correct.tolist() == [1]
    assert judgements[1].verdict is Verdict.UNKNOWN and judgements[1].reason


def test_a_reward_that_remembers_prompts_knows_them_by_their_names() -> None:
    reward = HistoryLength()
    first = batch_from_texts(["1", "1"], ["1", "1"], ["a", "b"], token_ids=[[1], [1, 1]]).batch
    again = batch_from_texts(["1"], ["1"], ["b"], token_ids=[[1]]).batch
    state = reward(first)[1]
    fresh, known = reward(again)[0], reward(again, state)[0]
    assert math.isfinite(known.item()) and known.item() != fresh.item()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"golds": ["4"]}, "gold: 1 entries for 4 texts; give one per text"),
        ({"groups": [0, 0, None, 1]}, "group, row 2: None; give a value per text, or leave the text out"),
        ({"golds": ["4", True, "9", "8"]}, "texts, line 2: 'gold' is True"),
        ({"texts": []}, "no texts; give at least one"),
        ({"truncated": [0, 2, 0, 0]}, "texts, line 2: 'truncated' is 2; give 0 or 1"),
    ],
)
def test_wrong_lists_say_where_what_and_the_cure(changes: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"texts": TEXTS, "golds": GOLDS, "groups": GROUPS, **changes}
    if not given["texts"]:
        given |= {"golds": [], "groups": []}
    with pytest.raises(ValueError) as caught:
        batch_from_texts(**given)
    assert str(caught.value).startswith(told)


def test_a_column_that_the_reward_needs_is_asked_for() -> None:
    from leanthink.rewards import MaxBudget

    with pytest.raises(MissingColumnError, match="no 'budget', which the reward needs"):
        batch_from_texts(TEXTS, GOLDS, GROUPS, reward=MaxBudget())
    assert issubclass(MissingColumnError, BatchError)


def test_the_shipped_rewards_score_it() -> None:
    batch = batch_from_texts(TEXTS, GOLDS, GROUPS).batch
    assert torch.equal(SigmoidLength(alpha=0.0)(batch)[0] > 0, batch.correct == 1)


def test_where_no_file_says_it_the_thinking_is_its_share_of_the_words() -> None:
    reward = Counted(of=KimiLength(), counts="thinking")
    texts = [r"<think> so so so </think> \boxed{4}", r"so \boxed{5}"]
    batch, _, _, notices = batch_from_texts(texts, golds=["4", "4"], groups=["a", "a"], reward=reward)
    thought, whole = batch.column("thinking_length").tolist(), batch.length.tolist()
    assert 0 < thought[0] < whole[0] and thought[1] == whole[1]
    assert any("share of words and signs up to '</think>'" in notice for notice in notices)
    known = batch_from_texts(texts, golds=["4", "4"], groups=["a", "a"], reward=reward, thinking_length=[3, 2])
    assert known.batch.column("thinking_length").tolist() == [3, 2]


def test_redundant_thinking_is_looked_for_in_words() -> None:
    reward = RedundantThinking(openers=("Wait",), joins=False)
    texts = [r"<think> It is 4. Wait, it is 4. </think> \boxed{4}"]
    batch = batch_from_texts(texts, golds=["4"], groups=["a"], reward=reward, truncated=[False]).batch
    begin, end, share, _ = str(batch.values(reward.column)[0]).split(":")
    assert 0 < int(begin) < int(end) < int(batch.length[0]) and float(share) == 0.5
