"""Whether an answer can be read: F_ans of arXiv 2505.19439."""

from __future__ import annotations

import pytest
import torch
from sympy.parsing.sympy_parser import implicit_multiplication_application, parse_expr, standard_transformations

from leanthink.core.errors import ConfigError
from leanthink.rewards import Readable
from leanthink.rewards.readable import answer_in, well_formed
from leanthink.testing import Columns
from timing import is_within

EXAMPLES = [Readable(), Readable(opened_by_prompt=True)]
COLUMNS: Columns = {Readable().column: lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double()}


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"So it is \boxed{4}.", "4"),  # the paper's prompt has no tags
        (r"\boxed{4} or \boxed{5}", "5"),
        (r"\boxed{\frac{1}{2}} apples", r"\frac{1}{2}"),
        ("It is 4.", None),
        (r"\boxed{4", None),
        (r"\boxed{}", None),
        (r"<think> 3 </think> \boxed{4}", "4"),
        (r"<think> \boxed{3} </think> 4", None),
        (r"<think> \boxed{3}", None),
        (r"a </think> \boxed{3} </think> 4", None),  # the last closing tag counts
        (r"<think> a </think> \boxed{4} <think> \boxed{5}", "4"),
        (r"<answer> \boxed{3} or \boxed{4} </answer>", "4"),
        (r"<answer> \(3\) or \(4\) </answer>", "4"),
        ("<answer> **4**. </answer>", "4"),
        (r"\boxed{3} <answer> 4 </answer>", "4"),
        (r"\boxed{3} </answer>", "3"),
        (r"<answer> \boxed{4}", "4"),
    ],
)
def test_where_the_answer_stands(response: str, answer: str | None) -> None:
    assert answer_in(response, "<think>", "</think>") == answer


def test_a_prompt_may_open_the_thinking() -> None:
    assert Readable(opened_by_prompt=True).measure(r"3? \boxed{3}") == 0.0
    assert Readable(opened_by_prompt=True).measure(r"3? </think> \boxed{4}") == 1.0


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (r"\frac{1}{2}", True),
        (r"\dfrac12", True),
        (r"-\sqrt[3]{5} + 2x^{10}", True),
        (r"\left( 3, \frac{\pi}{2} \right)", True),
        (r"(-\infty, 5] \cup \{7\}", True),
        (r"5 \text{ cm}^2", True),
        (r"90^\circ", True),
        (r"\$18.00", True),
        (r"50\%", True),
        (r"5{,}000", True),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", True),
        (r"|x| \le 3", True),
        (r"\text{(B)}", True),
        (r"\pm 3", True),
        (r"\frac{1}{", False),
        (r"\frac{}{2}", False),
        (r"\cdot 3", False),
        (r"3 \times", False),
        (r"\{3)", False),
        (r"\text{}", False),
        ("???", False),
        ("...", False),
        ("", False),
        ("  $ $ ", False),
    ],
)
def test_the_form_of_latex(answer: str, accepted: bool) -> None:
    assert well_formed(answer) is accepted


PLAIN = [
    *("5", "-5", "0.5", ".5", "5.", "1/2", "2x + 3", "x^2 - 1", "x = 5", "(1, 2)", "[1, 2]", "{1, 2}", "3!", "a*b"),
    *("2**3", "x < 3", "x != 3", "sqrt(2)", "2(x + 1)", "", "???", "2 +", "* 3", "3 * / 4", "(3", "3)", "(3]]"),
    *("()(", "3 = ", "a , , b", "#"),
]  # fmt: skip


@pytest.mark.parametrize("answer", PLAIN)
def test_the_form_of_plain_notation_agrees_with_sympy(answer: str) -> None:
    text = answer.replace("^", "**")
    text = text if "!=" in text else text.replace("=", "==")
    try:
        parse_expr(text, transformations=(*standard_transformations, implicit_multiplication_application))
        accepted = True
    except Exception:
        accepted = False
    assert well_formed(answer) is accepted


def test_no_answer_takes_long() -> None:
    def measure() -> None:
        for text in ("9^" * 50_000 + "9", "(" * 100_000, "{" * 50_000 + "1" + "}" * 50_000, "<answer>" * 20_000):
            Readable().measure(f"<answer>{text}</answer>")
            Readable().measure(rf"\boxed{{{text}}}")

    assert is_within(5, measure)


@pytest.mark.parametrize("settings", [{"open_tag": ""}, {"close_tag": ""}])
def test_empty_tags_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="may not be empty"):
        Readable(**settings)  # type: ignore[arg-type]
