from __future__ import annotations

import random
from collections import Counter

import pytest

from leanthink.core.errors import ConfigError
from leanthink.testbed.front import plan_points
from leanthink.testbed.rows import rows
from leanthink.testbed.search import (
    Search,
    SearchQuestion,
    questions,
    read_response,
    right_candidate,
    sample_question,
    sample_trace,
    split_of,
)
from leanthink.testbed.tokenizer import SPECIAL, build_tokenizer, vocabulary

QUESTION = SearchQuestion(candidates=(21, 42, 13), multiplier=91, target=119)
"""91 * 21, 91 * 42 and 91 * 13 are 68, 39 and 19 mod 97."""


def test_exactly_one_candidate_is_right_and_its_place_says_nothing() -> None:
    rng = random.Random(0)
    places: Counter[int] = Counter()
    for _ in range(4000):
        question = sample_question(rng, 4)
        results = [100 + question.multiplier * candidate % 97 for candidate in question.candidates]
        assert results.count(question.target) == 1 and len(set(question.candidates)) == 4
        assert [candidate % 10 for candidate in question.candidates] == [1, 2, 3, 4]
        places[results.index(question.target)] += 1
        assert question.candidates[results.index(question.target)] == right_candidate(question)
    assert all(880 < places[place] < 1120 for place in range(4))


def test_candidates_multipliers_and_results_share_no_number() -> None:
    task = Search()
    by_place = [{task.candidate(ten, place) for ten in range(task.tens)} for place in range(task.max_candidates)]
    candidates = set().union(*by_place)
    assert len(candidates) == task.tens * task.max_candidates and max(candidates) < task.modulus
    assert all({c % 10 for c in numbers} == {place + 1} for place, numbers in enumerate(by_place))
    multipliers = {task.first_multiplier + index for index in range(task.multipliers)}
    results = {task.result(c, m) for c in candidates for m in multipliers}
    assert not candidates & multipliers and not (candidates | multipliers) & results
    assert all(multiplier % task.modulus for multiplier in multipliers)
    for multiplier in multipliers:
        assert len({task.result(c, multiplier) for c in candidates}) == len(candidates)


def test_every_word_is_a_token_and_the_longest_prompt_fits() -> None:
    task, tokenizer = Search(), build_tokenizer(Search())
    assert len(vocabulary(task)) == len(SPECIAL) + len(task.words) == len({*SPECIAL, *task.words})
    rng = random.Random(1)
    for question in questions("train", 100, 0):
        text = sample_trace(rng, question).text
        ids = tokenizer.encode(text)
        assert len(ids) == len(text.split()) and tokenizer.unk_token_id not in ids
        messages = [{"role": "user", "content": question.text}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        assert len(prompt) <= task.max_prompt_tokens and tokenizer.unk_token_id not in prompt


def test_splits_are_disjoint_seeded_and_the_held_out_one_balanced() -> None:
    test, train = list(questions("test", 70, 0)), list(questions("train", 300, 0))
    assert len(set(test)) == 70 and not set(test) & set(train)
    assert {split_of(question) for question in test} == {"test"}
    assert Counter(question.difficulty for question in test) == dict.fromkeys(range(2, 9), 10)
    assert test == list(questions("test", 70, 0)) and test != list(questions("test", 70, 1))


@pytest.mark.parametrize(
    ("response", "tries", "waste", "repetitions", "first_right", "well_formed"),
    [
        (r"<think> </think> \boxed{ 21 }", (), 0, 0, None, True),
        (r"<think> 21 168 no wait 42 139 no </think> \boxed{ 13 }", (21, 42), 0, 0, False, True),
        # The last candidate could only be it: a try and its wait.
        (r"<think> 21 168 no wait 42 139 no wait 13 119 yes </think> \boxed{ 13 }", (21, 42, 13), 4, 0, False, True),
        # Found, and found again.
        (r"<think> 13 119 yes wait 13 119 yes wait 13 119 yes </think> \boxed{ 13 }", (13, 13, 13), 8, 2, True, True),
        # A failure again, and what is tried behind the right one.
        (r"<think> 21 168 no wait 21 168 no wait 13 119 yes wait 42 139 no </think> \boxed{ 13 }",
         (21, 21, 13, 42), 8, 1, False, True),
        # What is no try ends the reading: a number that is no candidate, a missing verdict, no answer, more behind it.
        (r"<think> 31 168 no </think> \boxed{ 21 }", (), 0, 0, None, False),
        (r"<think> 21 168 no 42 139 no </think> \boxed{ 13 }", (21,), 0, 0, False, False),
        (r"<think> 21 168 no wait 42", (21,), 0, 0, False, False),
        (r"<think> 21 168 no </think> \boxed{ 99 }", (21,), 0, 0, False, False),
        (r"<think> 21 168 no </think> \boxed{ 42 } }", (21,), 0, 0, False, False),
        ("", (), 0, 0, None, False),
    ],
)  # fmt: skip
def test_responses_are_read_by_hand(
    response: str, tries: tuple[int, ...], waste: int, repetitions: int, first_right: bool | None, well_formed: bool
) -> None:
    reading = read_response(QUESTION, response)
    assert (reading.tries, reading.waste, reading.repetitions) == (tries, waste, repetitions)
    assert (reading.first_right, reading.well_formed) == (first_right, well_formed)


def test_traces_read_back_as_they_were_written() -> None:
    rng = random.Random(2)
    for question in questions("train", 500, 3):
        trace = sample_trace(rng, question)
        reading = read_response(question, trace.text)
        assert reading.well_formed
        assert reading.tries == tuple(one.candidate for one in trace.tries)
        assert reading.repetitions == len(reading.tries) - len(set(reading.tries))


def test_without_waste_and_early_answers_a_trace_is_the_best_search() -> None:
    best = Search(no_try=0, early=0, repeat_failure=0, repeat_success=0, try_last=0)
    rng = random.Random(3)
    words = 0
    for _ in range(6000):
        question = sample_question(rng, 5, best)
        trace = sample_trace(rng, question, best)
        assert trace.answer == right_candidate(question) and read_response(question, trace.text).waste == 0
        words += len(trace.text.split()) + 1
    assert words / 6000 == pytest.approx(plan_points(5)[-1][0], abs=0.25)


def test_a_misread_try_gets_the_other_verdict() -> None:
    task = Search(misread=1.0, repeat_failure=0.5, repeat_success=0.5)
    rng = random.Random(4)
    seen = Counter()
    for question in questions("train", 300, 4, task):
        known: set[int] = set()
        for one in sample_trace(rng, question, task).tries:
            right = one.candidate == right_candidate(question)
            seen[one.success == right, one.candidate in known] += 1
            assert one.success == (one.result == question.target)
            known.add(one.candidate)
    assert set(seen) == {(True, False), (False, True)}  # first tries are read right, here all others wrong


def test_rows_are_what_verl_reads() -> None:
    first = next(rows("test", 1, 0, Search()))
    assert first["data_source"] == "leanthink/testbed-search"
    found = first["prompt"][0]["content"].split()
    multiplier, target = int(found[-4]), int(found[-2])
    right = [c for c in found[:-5] if 100 + int(c) * multiplier % 97 == target]
    assert [first["reward_model"]["ground_truth"]] == right
    assert first["extra_info"]["difficulty"] == len(found[:-5]) == 2


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="candidates=9; use 2 to 8"):
        sample_question(random.Random(0), 9)
    with pytest.raises(ConfigError, match="split='dev'"):
        next(questions("dev", 1, 0))  # type: ignore[arg-type]
