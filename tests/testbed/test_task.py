from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from leanthink.core.errors import ConfigError
from leanthink.testbed.task import (
    Question,
    Task,
    Trace,
    answer,
    boxed_answer,
    questions,
    recheck_words,
    sample_question,
    sample_trace,
    split_of,
)

TASK = Task()


def traces(count: int, seed: int = 0) -> list[Trace]:
    rng = random.Random(seed)
    return [sample_trace(rng, question) for question in questions("train", count, seed)]


def read_trace(question: str, text: str) -> list[list[int]]:
    """Re-read a trace word by word, by its grammar alone; the results written at each step."""
    asked, words = question.split(), text.split()
    assert words.pop(0) == "<think>"
    assert words.pop(0) == asked[0]
    steps: list[list[int]] = []
    for i in range(1, len(asked) - 1, 2):
        results: list[int] = []
        while not results or words[0] == "wait":
            if results:
                words.pop(0)
            operator, operand, equals, result = (words.pop(0) for _ in range(4))
            assert (operator, operand, equals) == (asked[i], asked[i + 1], "=")
            results.append(int(result))
        steps.append(results)
    assert words == ["</think>", "\\boxed{", str(steps[-1][-1]), "}"]
    return steps


def test_traces_obey_the_grammar_and_compute_every_step() -> None:
    for trace in traces(500):
        text = trace.question.text
        steps = read_trace(text, trace.text)
        assert steps == [list(results) for results in trace.attempts]
        parts = text.split()
        value = int(parts[0])
        for number, (operator, operand, results) in enumerate(
            zip(parts[1:-1:2], parts[2:-1:2], steps, strict=True), start=1
        ):
            right = value + int(operand) if operator == "+" else value - int(operand)
            assert all(result == right for result in results[1:]), "a re-check repairs"
            if number < 3:
                assert results[0] == right
            else:
                assert abs(results[0] - right) <= 2
            assert all(21 <= result <= 99 for result in results)
            assert len(results) <= 4
            value = results[-1]
        assert trace.result == value


def test_the_answer_is_the_chain_computed_by_python() -> None:
    for question in questions("train", 300, seed=1):
        assert answer(question) == eval(question.text.removesuffix("="))


def test_first_attempts_of_hard_steps_are_wrong_half_the_time_and_rechecks_are_uniform() -> None:
    rechecks: Counter[int] = Counter()
    slips: Counter[int] = Counter()
    for trace in traces(3000):
        value = trace.question.numbers[0]
        for i, results in enumerate(trace.attempts):
            rechecks[len(results) - 1] += 1
            number = trace.question.numbers[i + 1]
            right = value + number if trace.question.operators[i] == "+" else value - number
            if i >= 2:
                slips[results[0] - right] += 1
            value = results[-1]
    steps, hard = rechecks.total(), slips.total()
    assert set(rechecks) == {0, 1, 2, 3} and set(slips) == {-2, -1, 0, 1, 2}
    assert all(abs(count / steps - 0.25) < 0.02 for count in rechecks.values())
    assert slips[0] / hard == pytest.approx(0.5, abs=0.03)


def test_traces_alone_show_what_the_testbed_is_for() -> None:
    """Long chains fail without re-checks, short ones never, and re-checks are over 40 % of the tokens."""
    found = traces(2000)
    words = sum(len(trace.text.split()) + 1 for trace in found)
    assert sum(recheck_words(trace.text) for trace in found) / words > 0.4
    for difficulty in TASK.difficulties:
        same = [trace for trace in found if trace.question.difficulty == difficulty]
        accuracy = sum(trace.result == answer(trace.question) for trace in same) / len(same)
        assert accuracy == 1 if difficulty <= 3 else 0.6 < accuracy < 0.93


def test_lengths_fit() -> None:
    lengths = [len(trace.text.split()) + 1 for trace in traces(3000)]
    assert sum(length > TASK.max_response_tokens for length in lengths) / len(lengths) < 0.005
    assert max(len(question.text.split()) for question in questions("train", 500, 0)) + 2 <= TASK.max_prompt_tokens


def test_splits_are_disjoint_stable_and_balanced() -> None:
    train, test = list(questions("train", 4000, 0)), list(questions("test", 640, 0))
    assert not set(train) & set(test)
    assert len(set(test)) == 640
    assert Counter(question.difficulty for question in test) == dict.fromkeys(range(2, 7), 128)
    assert set(question.difficulty for question in train) == set(TASK.difficulties)
    assert all(split_of(question) == "test" for question in test)
    known = {"30 + 12 =": "test", "55 - 7 + 13 =": "train"}
    for text, split in known.items():
        words = text.split()
        question = Question(numbers=tuple(map(int, words[0:-1:2])), operators=tuple(words[1:-1:2]))
        assert question.text == text
        assert split_of(question) == split


def test_the_same_seed_gives_the_same_questions_and_traces() -> None:
    assert traces(50, seed=3) == traces(50, seed=3)
    assert traces(50, seed=3) != traces(50, seed=4)
    assert list(questions("test", 20, 1)) == list(questions("test", 20, 1))
    assert list(questions("test", 20, 1)) != list(questions("test", 20, 2))


@pytest.mark.parametrize(
    ("response", "wanted"),
    [
        (r"<think> 30 + 12 = 42 </think> \boxed{ 42 }", 42),
        (r"<think> \boxed{ 41 } </think> \boxed{ 42 } and more", 42),
        (r"<think> 30 + 12 = 42 </think> 42", None),
        (r"<think> 30 + 12 = 42 </think> \boxed{ 42", None),
        (r"<think> 30 + 12 = 42 </think> \boxed{ wait }", None),
        (r"\boxed{ 42 }", None),
        ("", None),
    ],
)
def test_only_a_closed_box_after_the_thinking_counts(response: str, wanted: int | None) -> None:
    assert boxed_answer(response) == wanted


def test_recheck_words_agree_with_the_trace() -> None:
    for trace in traces(200):
        assert recheck_words(trace.text) == 5 * sum(len(results) - 1 for results in trace.attempts)
        assert recheck_words(trace.text) == 5 * len(re.findall("wait", trace.text))
    assert recheck_words("wait + </think> 1 2") == 2
    assert recheck_words("") == 0


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ConfigError, match=r"operands=7; use 2 to 6"):
        sample_question(random.Random(0), 7)
    with pytest.raises(ConfigError, match=r"did you mean 'test'"):
        list(questions("tset", 1, 0))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"count=9; the test split has only 2 questions"):
        tiny = Task(max_operands=2, smallest_start=30, largest_start=31, largest_operand=2, test_one_in=4)
        list(questions("test", 9, 0, tiny))
    with pytest.raises(ConfigError, match="widen the range"):
        sample_question(random.Random(0), 2, Task(smallest_start=60, largest=30))
