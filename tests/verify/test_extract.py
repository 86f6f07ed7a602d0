r"""Where the answer stands, and where it does not."""

from __future__ import annotations

import pytest
from math_verify import LatexExtractionConfig, parse

from leanthink.verify import extract_answer
from leanthink.verify.extract import SEARCH_TAIL, TAIL, Found, find_answer
from leanthink.verify.search import value_in
from timing import is_within

T = "</think>"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        # thinking
        (rf"<think>\boxed{{3}}{T} So \boxed{{4}}.", "4"),
        (rf"<think>\boxed{{3}}{T} I do not know.", None),
        (rf"\boxed{{3}}? yes{T} I do not know.", None),
        (rf"so{T}\boxed{{4}}", "4"),
        (r"<think>It is \boxed{3}", None),
        (r"It is \boxed{3}", "3"),
        (rf"{T}\boxed{{3}} <think> or \boxed{{4}}", "3"),
        (rf"{T}\boxed{{3}} <think> or \boxed{{4}}{T}.", "3"),
        (rf"a{T}b{T}\boxed{{3}}", "3"),
        (rf"<think>{T}", None),
        ("", None),
        # boxes
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\left\{ x \mid x > \frac{1}{2} \right.}", r"\left\{ x \mid x > \frac{1}{2} \right."),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {5}", "5"),
        ("\\boxed\n{5}", "5"),
        (r"\boxed 5", "5"),
        (r"$\boxed5$", "5"),
        (r"\boxed 42.", "42"),
        (r"\boxed\frac{1}{2}$", r"\frac{1}{2}"),
        (r"\fbox{5}", "5"),
        (r"\\boxed{5}", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{x = \boxed{5}}", "5"),
        (r"\boxed{5", None),
        (r"\boxed{5 and \frac{1}{2}", None),
        (r"\boxed{3} then a long way on, \boxed{4", "3"),
        (r"answer is 3. \boxed{}", None),
        (r"\boxed{3}. The answer stands in \boxed{}.", "3"),
        (r"put it in \boxed format", None),
        # several boxes
        (r"\boxed{3} and \boxed{4}", "3,4"),
        (r"$\boxed{3}$ and $\boxed{4}$", "3,4"),
        (r"$\boxed{3}$, that is to say $\boxed{4}$", "4"),
        (r"\boxed{3}. On second thoughts it is this number: \boxed{4}", "4"),
        (r"\boxed{3} \boxed{3}", "3"),
        (r"\boxed{3}. " + "Let me check this again. " * 20 + r"\boxed{4}", "4"),
        # other marks
        ("<answer>42</answer>", "42"),
        ("<answer> $\\frac12$ </answer> done", r"\frac12"),
        ("<answer>1</answer> no <answer>2</answer>", "2"),
        ("<answer>42", None),
        ("She makes 9 * 2 = 18.\n#### 18", "18"),
        ("#### $1,234.50\n", "1,234.50"),
        ("#### Step 3\nsum", None),
        ("#### 3. Solve it\nsum", None),
        ("The final answer is $\\frac{1}{2}$. I hope it is correct.", r"\frac{1}{2}"),
        ("**Final Answer:** 3.5", "3.5"),
        ("**Final Answer**: **12**.", "12"),
        ("the final answer to the problem is 7.", "7"),
        (r"\boxed{5} The final answer is 6.", "6"),
        ("The answer is 42.", None),
    ],
)
def test_marked_answers(response: str, answer: str | None) -> None:
    assert extract_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{12}", "12"),
        (r"so \boxed 12", None),
        (r"so \boxed 12 is", "12"),
        ("the final answer is 12", None),
        ("the final answer is 12.", None),  # perhaps 12.5
        ("the final answer is 12. And", "12"),
        ("the final answer is 12\nAnd", "12"),
        ("#### 12", None),
        ("#### 12\n", "12"),
        ("<answer>12</answer>", "12"),
        ("x = 12", None),
    ],
)
def test_a_cut_mark_is_no_mark(response: str, answer: str | None) -> None:
    assert extract_answer(response, truncated=True) == answer


@pytest.mark.parametrize(
    ("response", "truncated", "required", "found"),
    [
        ("so x = 12", False, False, Found(text="so x = 12", form="search")),
        ("so x = 12", False, True, Found(reason="unmarked")),
        ("so x = 12", True, False, Found(reason="truncated")),
        ("<think>so x = 12", False, False, Found(reason="unfinished_thinking")),
        (f"<think>so x = 12{T} ", False, False, Found(reason="empty")),
        (r"so x = 12 \boxed{ }", False, False, Found(reason="empty_box")),
        ("Final answer: 12 apples", False, False, Found(text="12 apples", form="text")),
    ],
)
def test_reasons_and_forms(response: str, truncated: bool, required: bool, found: Found) -> None:
    options = {"thinking_end": T, "require_thinking_end": False}
    assert find_answer(response, truncated=truncated, require_marked=required, **options) == found


def test_other_tags_and_prompt_opened_thinking() -> None:
    assert extract_answer(r"[THINK]\boxed{3}[/THINK]\boxed{4}", thinking_end="[/THINK]") == "4"
    assert extract_answer(r"[THINK]\boxed{3}", thinking_end="[/THINK]") is None
    assert extract_answer(r"\boxed{3}<|end|>\boxed{4}", thinking_end="<|end|>") == "4"
    assert extract_answer(r"I think \boxed{3}", require_thinking_end=True) is None


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{3} and \boxed{4}",
        r"\boxed{3}, \boxed{4}, \boxed{5}",
        r"\boxed{3} \boxed{4}",
        r"\boxed{3} aaaaaaaaaaaa \boxed{4}",
        r"$\boxed{3}$ and $\boxed{4}$",
        r"$x=\boxed{3}$ or $y=\boxed{4}$",
        r"$\boxed{3}$ aaaaaa, aaaaaa $\boxed{4}$",
        r"\(\boxed{3}\), \(\boxed{4}\)",
        r"\boxed{3} " + "a" * 80 + r", \boxed{4}",
        r"\boxed{3}, " + "a" * 40 + r", \boxed{3}",
        r"\boxed{x = \boxed{5}}",
        r"$$\boxed{3} \text{ and } \boxed{4}$$",
    ],
)
def test_several_boxes_as_math_verify_reads_them(text: str) -> None:
    latex = [LatexExtractionConfig()]
    ours = parse(rf"\boxed{{{extract_answer(text)}}}", latex, parsing_timeout=None)
    assert ours[0] == parse(text, latex, parsing_timeout=None)[0]


@pytest.mark.parametrize(
    "unit",
    [
        "x = {3}. ",
        r"\boxed{",
        r"\boxed{1}",
        "<think>",
        T,
        "final answer ",
        "#### 1,",
        "$",
        "<answer>",
        r"\boxed 1,1",
        "}{",
        "\n",
        "\nQuestion ",
        "\n#### 1 ",
        "Answer: ",
        "5 or ",
        "((1 ",
        "...",
        r"\(",
        r"\[",
        r"\(a",
        "not 1 ",
        ", ",
        "\u00a0",
        "\nQ:",
    ],
)
def test_long_and_hostile_text_is_cheap(unit: str) -> None:
    assert is_within(2, extract_answer, unit * (300_000 // len(unit)))  # it takes hundredths
    for before, behind in (("", ""), ("1 ", " 2"), ("a I 1) ", " a")):
        assert is_within(2, value_in, before + unit * (TAIL // len(unit)) + behind)


@pytest.mark.parametrize(
    "text", ["#### 1" + " " * 20_000 + "x", "answer " + "\nQ:" * 10_000, "final answer is " + "\n" * 30_000]
)
def test_marks_are_looked_for_in_linear_time(text: str) -> None:
    assert is_within(2, extract_answer, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"It is \(3\), or \(4 \( 5\)", r"3 or 4 \( 5"),
        (r"It is \( \( 7\) \[ 8", r"8"),
        (r"It is \(\) and \[9\]", "9"),
        ("It is (1)))", "(1)"),
        ("I think a I 5 a I", "5"),
        ("Not 3 not\u00a04", None),
        ("It is 3 never \u00a0 4", "3"),
        ("cannot 4", "4"),
        ("3\u00a0 , \u00a0 and 4", "3, 4"),
        ("3 and/or 4", "3 or 4"),
    ],
)
def test_the_value_of_a_sentence_by_hand(text: str, value: str | None) -> None:
    assert value_in(text) == value


@pytest.mark.parametrize(
    ("line", "answer"), [("#### 18 . ", "18"), ("#### 18..", "18"), ("####\t$18 \t.", "18"), ("#### 3. Solve", None)]
)
def test_a_line_of_hashes_ends_before_its_stop(line: str, answer: str | None) -> None:
    assert extract_answer(line) == answer == extract_answer(f"{line}\nmore")


def test_only_the_tail_counts() -> None:
    assert extract_answer(r"\boxed{3}" + " no" * 100_000) is None
    assert extract_answer("no " * 100_000 + r"\boxed{3}") == "3"


@pytest.mark.parametrize("command", [r"\boxed", r"\fbox"])
def test_a_box_that_reaches_into_the_tail_is_followed_to_its_start(command: str) -> None:
    long = "1+" * TAIL + "1"
    assert extract_answer(rf"\boxed{{3}} so {command}{{{long}}}. That was it.") == long
    assert extract_answer(rf"\boxed{{3}} so {command}{{{long}") is None
    assert extract_answer(rf"{command}{{{long}}} or rather \boxed{{4}}.") == "4"
    assert extract_answer(rf"{command}{{3}} " + "x = {3}. " * TAIL) is None


def test_a_long_unmarked_response_is_searched_by_whole_sentences() -> None:
    options = {"thinking_end": T, "require_thinking_end": False, "require_marked": False, "truncated": False}
    assert find_answer("1+" * SEARCH_TAIL + "1", **options) == Found(reason="unmarked")
    found = find_answer("1 + " * SEARCH_TAIL + "1. So x = 7", **options)
    assert found == Found(text="So x = 7", form="search")
    assert find_answer("x\n" * SEARCH_TAIL, **options).reason == ""


@pytest.mark.parametrize("said", ["The final answer is 18", "#### 18"])
def test_what_was_cut_is_the_next_question_not_the_answer_before_it(said: str) -> None:
    assert extract_answer(f"{said}\nQuestion: What is 2 + 2", truncated=True) == "18"
    assert extract_answer(said, truncated=True) is None
