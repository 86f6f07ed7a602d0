"""The tool task: its conversations, what is read off them, its lessons; the sampled ones against a slow reader."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from leanthink.testbed.conversation import converse
from leanthink.testbed.evaluate import prompt_ids
from leanthink.testbed.lessons import Course, lesson_batches
from leanthink.testbed.rows import rows
from leanthink.testbed.search import SearchQuestion, questions, right_candidate, sample_question, split_of
from leanthink.testbed.task import boxed_answer
from leanthink.testbed.tokenizer import build_tokenizer, vocabulary
from leanthink.testbed.tool_lessons import TOOL_COURSE, ToolTeacher
from leanthink.testbed.tools import (
    FAILED,
    RESULT,
    Tools,
    answered,
    calls_in,
    numbers_in,
    product,
    read_calls,
    sample_turns,
)
from leanthink.testbed.training import IGNORED

TASK = Tools()
QUESTION = SearchQuestion(candidates=(21, 42, 13), multiplier=91, target=139)


def conversations(count: int, task: Tools = TASK) -> list[tuple[SearchQuestion, list[Any]]]:
    rng = random.Random(3)
    drawn = [sample_question(rng, rng.choice(task.difficulties), task) for _ in range(count)]
    return [(question, sample_turns(rng, question, task)) for question in drawn]


def as_read(turns: list[Any]) -> str:
    return " ".join(f"{one.written} {RESULT} {one.returned}" if one.returned else one.written for one in turns)


def wasted_slowly(question: SearchQuestion, turns: list[Any], task: Tools = TASK) -> tuple[int, int]:
    """Calls, and those among them that cannot have told anything, turn by turn from the definition."""
    calls = wasted = 0
    open_ = set(question.candidates)
    for turn in turns:
        if turn.returned is None:
            continue
        calls += 1
        told = turn.written.split()[turn.written.split().index("<tool>") + 1 : -1]
        if len(told) != 2 or int(told[0]) not in open_ or len(open_) == 1:
            wasted += 1
            continue
        success = task.result(int(told[0]), question.multiplier) == question.target
        open_ = {int(told[0])} if success else open_ - {int(told[0])}
    return calls, wasted


def test_the_calculator_and_its_calls() -> None:
    assert product([13, 91]) == 119 and answered("13 91") == "119"
    assert answered("13") == answered("13 91 91") == FAILED
    for numbers in ([], [1], [1, 2, 3]):
        with pytest.raises(ValueError, match="give two numbers"):
            product(numbers)
    assert numbers_in("13 91") == [13, 91] and numbers_in("yes") == []
    assert calls_in("<tool> 1 2 </tool> <tool> 3 </tool> <tool> 4 5") == ["1 2", "3"]
    assert calls_in("</tool> 1 2") == []


def test_what_is_wasted_is_what_a_slow_reader_finds() -> None:
    seen = []
    for question, turns in conversations(400, Tools(forgets=0.1)):
        read = read_calls(question, as_read(turns), TASK)
        assert (len(read.made), read.wasted) == wasted_slowly(question, turns)
        seen.append(read.wasted)
    assert min(seen) == 0 and max(seen) > 4


@pytest.mark.parametrize(
    ("conversation", "made", "wasted"),
    [
        (r"<think> </think> \boxed{ 21 }", (), 0),
        ("<think> </think> <tool> 42 91 </tool> <result> 139", (42,), 0),
        ("<think> </think> <tool> 42 91 </tool> <result> 139 <think> yes </think> <tool> 21 91 </tool>", (42, 21), 1),
        ("<think> </think> <tool> 21 92 </tool> <result> 189", (None,), 1),  # another multiplier
        ("<think> </think> <tool> 22 91 </tool> <result> 162", (None,), 1),  # of no candidate
        ("<think> </think> <tool> 21 </tool> <result> <think> </think> <tool> 21 91 </tool>", (None, 21), 1),
        ("<think> </think> <tool> 21 91", (), 0),  # cut
        ("", (), 0),
    ],
)
def test_calls_of_a_conversation(conversation: str, made: tuple[int | None, ...], wasted: int) -> None:
    read = read_calls(QUESTION, conversation, TASK)
    assert (read.made, read.wasted) == (made, wasted)
    assert (read.words > 0) == (wasted > 0)


def test_traces_are_right_where_they_say_so_and_waste_half_of_their_calls() -> None:
    calls = wasted = right = 0
    drawn = conversations(1500)
    for question, turns in drawn:
        read = read_calls(question, as_read(turns), TASK)
        calls, wasted = calls + len(read.made), wasted + read.wasted
        given = boxed_answer(turns[-1].written)
        right += given == right_candidate(question, TASK)
        if "yes" in turns[-1].written.split():
            assert given == right_candidate(question, TASK)
        assert len(turns) <= TASK.max_turns and all((one.returned is None) == (one is turns[-1]) for one in turns)
    assert 0.45 < wasted / calls < 0.6 and 0.7 < right / len(drawn) < 0.85


def test_every_word_is_a_token_and_results_have_a_role() -> None:
    tokenizer = build_tokenizer(TASK)
    for question, turns in conversations(60):
        text = f"{question.text} {as_read(turns)}".replace(FAILED, "")
        ids = tokenizer.encode(text)
        assert len(ids) == len(text.split()) and tokenizer.unk_token_id not in ids
    messages = [
        {"role": "user", "content": "21 42"},
        {"role": "assistant", "content": "<think>"},
        {"role": "tool", "content": "168"},
    ]
    shown = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert shown == "<user> 21 42 <assistant> <think> <eos> <result> 168 <assistant>"


def test_questions_fit_and_are_held_out() -> None:
    tokenizer = build_tokenizer(TASK)
    assert max(len(prompt_ids(tokenizer, one)) for one in questions("test", 640, 0, TASK)) <= TASK.max_prompt_tokens
    train = {row["prompt"][0]["content"] for row in rows("train", 400, 0, TASK)}
    assert not train & {row["prompt"][0]["content"] for row in rows("test", 400, 0, TASK)}
    assert next(rows("test", 1, 0, TASK))["data_source"] == "leanthink/testbed-tools"


def test_lessons_teach_what_the_policy_writes_and_no_result() -> None:
    words = list(vocabulary(TASK))
    for number in range(40):
        teacher = ToolTeacher(TASK, number)
        for name, lesson in teacher.lessons.items():
            ids, labels = lesson()
            told = [words[identity] for identity in ids]
            learnt = [label != IGNORED for label in labels]
            asked = told[1 : told.index("?") + 1]
            times = asked.index("times")
            question = SearchQuestion(
                candidates=tuple(map(int, asked[:times])),
                multiplier=int(asked[times + 1]),
                target=int(asked[times + 3]),
            )
            assert split_of(question, TASK) == "train"
            results = [place for place, word in enumerate(told) if word == RESULT]
            assert not any(learnt[place] or learnt[place + 1] for place in results)
            for place in results:
                behind = [word for word in told[place + 2 : place + 5] if word in ("yes", "no")]
                if told[place + 1] != "<unk>" and behind:
                    assert (behind[0] == "yes") == (int(told[place + 1]) == question.target), name
    course = Course(steps=4, phases=((2, {"verdicts": 0.5, "calls": 0.5}), (4, {"conversations": 1.0})))
    sizes = [
        sum(len(inputs) for inputs, _ in parts) for parts in lesson_batches(course, ToolTeacher(TASK, 0).lessons, 0)
    ]
    assert sizes == [course.batch_size] * 4
    assert all(sum(shares.values()) == pytest.approx(1.0) for _, shares in TOOL_COURSE.phases)
    assert TOOL_COURSE.phases[-1][0] == TOOL_COURSE.steps


class Scripted:
    """In the place of sampling: what each conversation writes, turn by turn."""

    def __init__(self, tokenizer: Any, scripts: list[list[str]]) -> None:
        self.tokenizer, self.scripts, self.turn = tokenizer, scripts, 0

    def __call__(self, model: Any, prompts: Any, sampling: Any, **given: Any) -> list[Any]:
        found = []
        self.going = [one for one in self.scripts if len(one) > self.turn]
        assert len(prompts) == len(self.going)
        for script, limits in zip(self.going, sampling, strict=True):
            ids = self.tokenizer.encode(f"{script[self.turn]} <eos>")[: limits.max_new_tokens]
            whole = ids[-1:] == [self.tokenizer.eos_token_id]
            found.append(type("Reply", (), {"token_ids": ids, "stop_reason": "stop" if whole else "length"}))
        self.turn += 1
        return found


def test_conversations_go_on_while_something_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = build_tokenizer(TASK)
    call, answer = "<think> </think> <tool> 21 91 </tool>", r"<think> yes </think> \boxed{ 42 }"
    scripts = [[call, answer], [answer], [call] * 12, [" ".join(["yes"] * 200)]]
    monkeypatch.setattr("leanthink.testbed.conversation.generate", Scripted(tokenizer, scripts))
    prompts = [prompt_ids(tokenizer, QUESTION)] * 4
    twice, once, endless, long = converse(None, tokenizer, prompts, task=TASK, generator=torch.Generator())
    told = tokenizer.decode(twice.token_ids, skip_special_tokens=True)
    assert told == f"{call} <result> 168 {answer}" and not twice.cut
    assert sum(twice.written) == len(f"{call} {answer}".split()) + 2 and len(twice.written) == len(twice.token_ids)
    assert not once.cut and all(once.written)
    assert endless.cut and sum(endless.written) == 12 * 7
    assert long.cut and len(long.token_ids) == TASK.max_response_tokens
