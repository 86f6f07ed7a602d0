"""LC-R1, arXiv 2506.14755: its compress reward, and how a thinking is cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import OutcomeAndSteps, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import Correct, Format, LongestCorrectLength, Sum, ThinkingCompression
from leanthink.rewards.thinking_compression import (
    ANSWER_KEPT,
    END_TOKEN,
    KEPT_TOKENS,
    THINKING_TOKENS,
    final_answer,
    position_of,
    until_answer,
)
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.testing import Columns

EXAMPLES = [ThinkingCompression(), ThinkingCompression(gamma=0.5, kept="nonempty", opened_by_prompt=True)]
COLUMNS: Columns = {
    "answer_kept": lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double(),
    "kept_thinking_tokens": lambda generator, n: torch.randint(0, 40, (n,), generator=generator).double(),
    "thinking_end_token": lambda generator, n: torch.randint(-1, 60, (n,), generator=generator).double(),
    "thinking_tokens": lambda generator, n: torch.randint(40, 80, (n,), generator=generator).double(),
}
RECIPES = {
    "lc_r1": SpelledOut(
        reward=Sum(
            correct=Correct(),
            format=Format(),
            length=LongestCorrectLength(pay_wrong=False),
            compress=ThinkingCompression(gamma=1.0),
        ),
        advantage=OutcomeAndSteps(scale="none"),
        loss=PpoClip(low=0.2, high=0.2, aggregation="token-mean"),
        verl={
            "data.max_response_length": 8192,
            "actor_rollout_ref.rollout.n": 8,
            "actor_rollout_ref.actor.optim.lr": 2e-6,
            "actor_rollout_ref.actor.grad_clip": 0.1,
            "trainer.total_epochs": 1,
        },
    )
}

TOKENIZER = build_tokenizer()
RESPONSE = r"<think> 47 + 12 = 59 wait + 12 = 59 </think> \boxed{ 59 }"


def slow_compress_reward(before: float, after: float, correct: bool, answer_kept: bool) -> float:
    """arXiv 2506.14755, Eq. 11; a response that could not be cut has nothing removed."""
    if not correct or before == 0:
        return 0.0
    return 1 - after / before if answer_kept else -1.0


def test_the_compress_reward_agrees_with_the_loop_and_falls_on_the_tag(merged: RolloutBatch) -> None:
    generator = torch.Generator().manual_seed(0)
    count = len(merged)
    before_N = torch.randint(0, 9, (count,), generator=generator).double()
    after_N = (before_N * torch.rand(count, generator=generator)).floor()
    kept_N = torch.randint(0, 2, (count,), generator=generator).double()
    columns = {THINKING_TOKENS: before_N, KEPT_TOKENS: after_N, ANSWER_KEPT: kept_N, END_TOKEN: after_N + 1}
    batch = merged.replace(length=after_N + 3, **columns)
    total_N, placement = ThinkingCompression(gamma=0.5).place(batch)
    rows = zip(before_N.tolist(), after_N.tolist(), (batch.correct == 1).tolist(), kept_N.tolist(), strict=True)
    expected = [0.5 * slow_compress_reward(*row) for row in rows]
    torch.testing.assert_close(total_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert torch.equal(placement.token, after_N[placement.row].long() + 1)
    assert torch.equal(placement.amount, total_N[placement.row])


def compress(part: ThinkingCompression, text: str, question: str = "47 + 12 =") -> tuple[str, dict[str, float]]:
    ids = TOKENIZER.encode(text)
    left, columns = part.compress(ids, TOKENIZER.decode, question, part.find_extractor())
    return TOKENIZER.decode([ids[token] for token in left]), columns


def test_a_thinking_is_cut_behind_the_first_mention_of_the_answer() -> None:
    text, columns = compress(ThinkingCompression(), RESPONSE)
    assert text == r"<think> 47 + 12 = 59 </think> \boxed{ 59 }"
    assert columns == {THINKING_TOKENS: 10.0, KEPT_TOKENS: 5.0, ANSWER_KEPT: 1.0, END_TOKEN: 6.0}
    assert TOKENIZER.encode(text)[6] == TOKENIZER.encode("</think>")[0]


@pytest.mark.parametrize("text", ["<think> 47 + 12 = 59 wait", r"\boxed{ 59 }"], ids=["open", "none"])
def test_without_a_closed_thinking_nothing_is_cut_or_paid(text: str) -> None:
    whole, columns = compress(ThinkingCompression(), text)
    assert TOKENIZER.encode(whole) == TOKENIZER.encode(text)
    assert columns == {THINKING_TOKENS: 0.0, KEPT_TOKENS: 0.0, ANSWER_KEPT: 0.0, END_TOKEN: -1.0}


def test_an_empty_thinking_stays_empty() -> None:
    text, columns = compress(ThinkingCompression(), r"<think> </think> \boxed{ 59 }")
    assert text == r"<think> </think> \boxed{ 59 }"
    assert (columns[THINKING_TOKENS], columns[KEPT_TOKENS], columns[END_TOKEN]) == (0.0, 0.0, 1.0)


def nothing(question: str, thinking: str, answer: str) -> str:
    return ""


def rewritten(question: str, thinking: str, answer: str) -> str:
    return thinking.upper() + "!"


def test_an_extractor_of_ones_own_may_keep_nothing_but_not_rewrite() -> None:
    text, columns = compress(ThinkingCompression(extractor=f"{__name__}:nothing"), RESPONSE)
    assert text == r"<think> </think> \boxed{ 59 }"
    assert (columns[KEPT_TOKENS], columns[ANSWER_KEPT], columns[END_TOKEN]) == (0.0, 0.0, 1.0)
    with pytest.raises(BatchError, match="no beginning of"):
        compress(ThinkingCompression(extractor=f"{__name__}:rewritten"), RESPONSE)
    with pytest.raises(ConfigError, match="has no function 'missing'"):
        ThinkingCompression(extractor=f"{__name__}:missing").find_extractor()


@pytest.mark.parametrize(
    ("thinking", "answer", "expected"),
    [
        ("It is 5.5, no, 55. So 5.", r"\boxed{5}", "It is 5.5, no, 55. So 5"),
        ("No number here", r"\boxed{5}", "No number here"),
        ("Half: 1/2. Yes 1/2.", r"Thus $\boxed{1/2}$.", "Half: 1/2"),
        ("anything", "", "anything"),
    ],
)
def test_the_rule_finds_the_answer_as_a_word_of_its_own(thinking: str, answer: str, expected: str) -> None:
    assert until_answer("", thinking, answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"\[ \boxed{56} \]", "56"),
        (r"It is \(\boxed{56}\).", "56"),
        (r"\boxed{56} is the answer.", "56"),
        (r"\boxed{56} apples", "56"),
        (r"\boxed{5} \text{cm}", "5"),
        (r"\boxed{56}</answer>", "56"),
        (r"\fbox{56}", "56"),
        (r"\boxed 5 it is", "5"),
        (r"\boxed{1} or rather $\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\boxed{56} and \boxed{5", "56"),
        (r"\boxed{56} or \boxed{}", "56"),
        ("**56**", "56"),
        ("It is **56**.", "56"),
        ("So $56$.", "56"),
        (r"\[ 56 \]", "56"),
        (r"It is \(56\).", "56"),
        ("<answer>56</answer>", "56"),
        ("It is 56.<|im_end|>", "56"),
        ("It is .5", ".5"),
        ("", ""),
    ],
)
def test_the_final_answer_is_the_last_box_whatever_follows_it_or_the_last_word(answer: str, expected: str) -> None:
    assert final_answer(answer) == expected


@pytest.mark.parametrize(
    ("answer", "thinking", "mentioned"),
    [
        ("5,000", "so 5000 of them", "so 5000"),
        ("5000", "so 5,000 of them", "so 5,000"),
        (r"5{,}000.25", "5,000.25", "5,000.25"),
        ("5,000", "5,000,000", None),
        ("5000", "15,000", None),
        (r"\frac{1}{2}", "that is 1/2", "that is 1/2"),
        ("1/2", r"\dfrac{1}{2}, so", r"\dfrac{1}{2}"),
        ("1/2", "11/2 and 1/20", None),
        ("0.5", "one half", None),
    ],
)
def test_plain_numbers_are_mentioned_in_either_notation(answer: str, thinking: str, mentioned: str | None) -> None:
    end = position_of(answer, thinking)
    assert (None if end is None else thinking[:end]) == mentioned


def all_of_it(question: str, thinking: str, answer: str) -> str:
    return thinking


def first_word(question: str, thinking: str, answer: str) -> str:
    return thinking[:3]


RULE = ThinkingCompression().extractor


@pytest.mark.parametrize(
    ("kept", "extractor", "says", "reward"),
    [
        ("mention", RULE, "59", 0.5),
        ("mention", RULE, "61", 0.0),  # no mention, so nothing is cut: nothing is paid, and nothing is lost
        ("nonempty", RULE, "61", 0.0),
        ("mention", f"{__name__}:all_of_it", "59", 0.0),
        ("mention", f"{__name__}:all_of_it", "61", -1.0),  # Eq. 11 to the letter
        ("nonempty", f"{__name__}:all_of_it", "61", 0.0),
        ("mention", f"{__name__}:first_word", "59", -1.0),
        ("nonempty", f"{__name__}:first_word", "59", 0.9),
        ("mention", f"{__name__}:nothing", "59", -1.0),
        ("nonempty", f"{__name__}:nothing", "59", -1.0),
    ],
)
def test_what_a_right_answer_earns_by_the_rule_of_keeping(kept: Any, extractor: str, says: str, reward: float) -> None:
    part = ThinkingCompression(extractor=extractor, kept=kept)
    _, columns = compress(part, rf"<think> 47 + 12 = 59 wait + 12 = 59 </think> \boxed{{ {says} }}")
    batch = RolloutBatch.of(group=[0], length=[20], correct=[1], **{name: [value] for name, value in columns.items()})
    assert part.place(batch)[0].tolist() == pytest.approx([reward])


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"kept": "all"}, "kept is 'all'; give mention or nonempty"),
        ({"extractor": "nowhere"}, "'nowhere'"),
        ({"close_tag": ""}, "may not be empty"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        ThinkingCompression(**settings)
