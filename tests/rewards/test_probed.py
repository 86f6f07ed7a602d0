"""What is asked about a response."""

from __future__ import annotations

from typing import Any

import pytest

from leanthink.core.errors import ConfigError
from leanthink.rewards import Correct, Scale, StepwiseGain, Sum
from leanthink.rewards.probed import ProbePlan, probed_part
from leanthink.testbed.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
CLOSE = TOKENIZER.encode("</think>")
CUTTING: dict[str, Any] = {"markers": ("wait",), "skip_chars": 0, "min_gap_chars": 0}
TEXT = r"<think> 47 + 12 = 58 wait + 12 = 59 wait + 12 = 59 </think> \boxed{ 59 }"


def plan(text: str, opened: bool = False, **settings: Any) -> ProbePlan:
    part = StepwiseGain(**{**CUTTING, **settings})
    return part.plan(TOKENIZER.encode(text), TOKENIZER.decode, CLOSE, opened)


def shown(one: ProbePlan) -> list[str | None]:
    return [None if prefix is None else TOKENIZER.decode(prefix.token_ids) for prefix in one.prefixes]


def test_a_prefix_ends_before_each_re_check_and_is_closed() -> None:
    made = plan(TEXT)
    assert shown(made) == [
        "<think> 47 + 12 = 58 </think>",
        "<think> 47 + 12 = 58 wait + 12 = 59 </think>",
        "<think> 47 + 12 = 58 wait + 12 = 59 wait + 12 = 59 </think>",
    ]
    words = TEXT.split()
    assert [words[token] for token in made.cut_tokens] == ["wait", "wait", "</think>"]
    assert [prefix.closing for prefix in made.prefixes if prefix] == [1, 1, 1]


def test_markers_after_the_thinking_are_ignored() -> None:
    assert len(plan(TEXT + " wait 4 wait").cut_tokens) == 3


def test_nothing_is_asked_where_nothing_is_cut() -> None:
    for text in (r"<think> 47 + 12 = 59 </think> \boxed{ 59 }", "wait 47 wait", ""):
        assert plan(text) == ProbePlan(cut_tokens=[], prefixes=[])


def test_a_prompt_that_opens_the_thinking() -> None:
    text = TEXT.removeprefix("<think> ")
    assert plan(text).prefixes == []
    made = plan(text, opened=True)
    assert shown(made)[0] == "47 + 12 = 58 </think>"
    assert made.cut_tokens == [token - 1 for token in plan(TEXT).cut_tokens]
    assert plan(text, opened=True, skip_chars=14).cut_tokens == made.cut_tokens[1:]  # counted from the response's start


def test_the_empty_thinking() -> None:
    made = plan(TEXT, probe_empty=True)
    assert shown(made)[0] == "<think> </think>" and made.cut_tokens[0] == 1
    assert made.cut_tokens[1:] == plan(TEXT).cut_tokens
    only = plan(r"<think> 47 </think> \boxed{ 59 }", probe_empty=True)
    assert shown(only) == ["<think> </think>", "<think> 47 </think>"] and only.cut_tokens == [1, 2]


@pytest.mark.parametrize(
    ("way", "last"),
    [("close", "<think> 47 + 12 = 58 wait + 12 </think>"), ("skip", None), ("code", "<think>")],
)
def test_thinking_that_was_never_closed(way: str, last: str | None) -> None:
    text = "<think> 47 + 12 = 58 wait + 12"
    made = plan(text, truncated_last_prefix=way)
    assert shown(made) == ["<think> 47 + 12 = 58 </think>", last]
    assert made.cut_tokens == [6, len(text.split())]


def test_vsrms_code_asks_from_the_prompts_own_tag() -> None:
    made = plan("47 + 12 = 58 wait + 12", opened=True, truncated_last_prefix="code")
    assert made.prefixes[-1] is not None and made.prefixes[-1].token_ids == [] and made.prefixes[-1].closing == 0


def test_limits_keep_cuts_at_both_ends() -> None:
    text = "<think> " + "4 wait " * 9 + "</think>"
    everywhere = plan(text).cut_tokens
    assert len(everywhere) == 10
    assert plan(text, max_cuts=3).cut_tokens == [everywhere[0], everywhere[4], everywhere[8], everywhere[9]]
    for most in (10, 14, 15, 30):
        asked = [prefix for prefix in plan(text, max_probes=most).prefixes if prefix]
        assert len(asked) * 5 <= most < (len(asked) + 1) * 5
    assert len(plan(text, max_probes=20, probe_empty=True).prefixes) == 4


def test_two_cuts_in_one_token_are_one() -> None:
    part = StepwiseGain(markers=("wait",), skip_chars=0, min_gap_chars=0)
    tokens = ["<think>", "4 ", "waitwait", " 5", "</think>"]
    made = part.plan(range(5), lambda ids: "".join(tokens[i] for i in ids), [4])
    assert made.cut_tokens == [2, 4]


def test_a_closing_tag_of_several_tokens_ends_within_one() -> None:
    part = StepwiseGain(markers=("wait",), skip_chars=0, min_gap_chars=0)
    tokens = ["<think>", "4 ", "wait", " 5.</", "think", ">\n\n", "5"]
    made = part.plan(range(7), lambda ids: "".join(tokens[i] for i in ids), [3, 4, 5])
    last = made.prefixes[-1]
    assert last is not None and (last.token_ids, last.closing) == ([0, 1, 2, 3, 4, 5], 3)
    assert made.cut_tokens == [2, 3]


def test_the_part_of_a_tree_that_reads_probes() -> None:
    steps = StepwiseGain(probes=3)
    assert probed_part(Sum(outcome=Correct(), steps=Scale(by=0.5, of=steps))) == steps
    assert probed_part(Correct()) is None
    assert probed_part(Sum(a=steps, b=Scale(by=0.5, of=StepwiseGain(probes=3)))) == steps
    with pytest.raises(ConfigError, match="2 different parts that read probes"):
        probed_part(Sum(a=steps, b=StepwiseGain(probes=4)))
