"""Our loop around verl's own tool agent loop, with the calculator of the testbed: facts, and what goes wrong."""

import random

import pytest
from verl.tools.schemas import ToolResponse

from leanthink.testbed.search import sample_question
from leanthink.testbed.tools import FAILED, RESULT, Tools, answered, calls_in, sample_turns
from leanthink.verl import LAST_FIELD, TURNS_FIELD
from verl_loops import TOKENIZER, TURNS, calculator, talk

TASK = Tools()
QUESTION = "21 42 13 times 91 is 139 ?"
PROMPT = TOKENIZER.encode(f"<user> {QUESTION} <assistant>")
FIRST = "<think> </think> <tool> 21 91 </tool> <eos>"
SECOND = "<think> no </think> <tool> 42 91 </tool> <eos>"
ANSWER = r"<think> yes </think> \boxed{ 42 } <eos>"


def counted_slowly(turns, room=TASK.max_response_tokens, most=TASK.max_turns):
    """What a conversation comes to, word by word, by the rules of the testbed alone."""
    row, mask, calls, failed, replies, cut = [], [], 0, 0, 0, False
    for number, turn in enumerate(turns, start=1):
        words = turn.split()[: room - len(row)] if len(row) < room else []
        replies += 1
        row += words
        mask += [1] * len(words)
        asked = calls_in(" ".join(words))
        whole = words[-1:] == ["<eos>"]
        if len(row) >= room or number == most or not asked:
            cut = not whole or (bool(asked) and (len(row) >= room or number == most))
            break
        calls += 1
        failed += answered(asked[0]) == FAILED
        tool = [RESULT, *answered(asked[0]).split(), "<assistant>"]
        if len(row) + len(tool) >= room:
            cut = True
            break
        row += tool
        mask += [0] * len(tool)
    return {
        "row": len(row),
        "mask": mask,
        "facts": (sum(mask), len(mask) - sum(mask), len(PROMPT), replies, calls, failed, cut),
    }


def found(output, prompt):
    fields = output.extra_fields
    written = sum(end - begin for begin, end in fields[TURNS_FIELD])
    names = ("tool_tokens", "assistant_turns", "tool_calls", "failed_calls")
    tool, turns, calls, failed = (fields[name] for name in names)
    assert fields["context_tokens"] == len(prompt) + len(output.response_ids)
    return written, tool, turns, calls, failed, fields["truncated"]


def test_facts_are_those_of_a_slow_count_over_many_conversations():
    rng = random.Random(0)
    seen = set()
    for number in range(150):
        question = sample_question(rng, rng.choice(TASK.difficulties), TASK)
        turns = [f"{turn.written} <eos>" for turn in sample_turns(rng, question, Tools(forgets=0.1))]
        changes = {}
        if number % 3 == 1:  # too few turns, or too little room
            changes = {f"{TURNS}.max_assistant_turns": 3}
        elif number % 3 == 2:
            changes = {"data.max_response_length": 40}
        room, most = changes.get("data.max_response_length", 144), changes.get(f"{TURNS}.max_assistant_turns", 12)
        output, _ = talk(question.text, turns, tuple(changes.items()))
        slow = counted_slowly(turns, room, most)
        written, tool, _, replies, calls, failed, cut = slow["facts"]
        prompt = TOKENIZER.encode(f"<user> {question.text} <assistant>")
        assert list(output.prompt_ids) == prompt
        assert output.response_mask == slow["mask"]
        assert found(output, prompt) == (written, tool, replies, calls, failed, cut)
        seen |= {("failed", failed > 0), ("cut", cut), ("calls", calls > 0)}
    assert len(seen) == 6  # each kind of conversation, and its contrary


def test_a_conversation_as_the_policy_and_the_tool_wrote_it():
    output, calls = talk(QUESTION, [FIRST, SECOND, ANSWER])
    text = TOKENIZER.decode(output.response_ids, skip_special_tokens=True)
    assert text == (
        "<think> </think> <tool> 21 91 </tool> <result> 168 <think> no </think> <tool> 42 91 </tool> <result> 139 "
        r"<think> yes </think> \boxed{ 42 }"
    )
    assert output.extra_fields[TURNS_FIELD] == [(0, 7), (10, 18), (21, 28)] and LAST_FIELD in output.extra_fields
    assert calls[1]["prompt_ids"] == [*PROMPT, *TOKENIZER.encode(f"{FIRST} <result> 168 <assistant>")]


def test_a_tool_that_is_unknown_is_a_failed_call_and_the_policy_goes_on():
    output, _ = talk(QUESTION, [FIRST, ANSWER], tools=[])
    assert found(output, PROMPT) == (14, 2 + 6, 2, 1, 1, False)  # "Unknown function ..." is six words


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError(), KeyError("x")])
def test_a_tool_that_raises_is_a_failed_call_and_the_policy_goes_on(error):
    def broken(numbers):
        raise error

    output, _ = talk(QUESTION, [FIRST, ANSWER], tools=[calculator(broken)])
    _, _, turns, calls, failed, cut = found(output, PROMPT)
    assert (turns, calls, failed, cut) == (2, 1, 1, False)


def test_a_call_without_its_multiplier_fails():
    output, _ = talk(QUESTION, ["<think> </think> <tool> 21 </tool> <eos>", ANSWER])
    assert found(output, PROMPT) == (13, 2 + len(FAILED.split()), 2, 1, 1, False)


def test_a_result_longer_than_verls_limit_is_shortened_and_counted_as_it_stands():
    def long(numbers):
        return ToolResponse(text=" ".join(["101"] * 100))

    output, _ = talk(QUESTION, [FIRST, ANSWER], ((f"{TURNS}.max_tool_response_length", 40),), tools=[calculator(long)])
    _, tool, _, _, failed, cut = found(output, PROMPT)
    assert 10 <= tool <= 16 and (failed, cut) == (0, False)  # 40 signs in two halves, and verl's remark between them


def test_a_result_for_which_there_is_no_room_ends_the_conversation_cut():
    def long(numbers):
        return " ".join(["101"] * 60)

    output, _ = talk(QUESTION, [FIRST, ANSWER], (("data.max_response_length", 40),), tools=[calculator(long)])
    assert found(output, PROMPT) == (7, 0, 1, 1, 0, True)  # verl drops what does not fit


@pytest.mark.parametrize(("limit", "written"), [(5, 5), (12, 12)])
def test_a_call_that_the_limit_cuts_is_none(limit, written):
    output, calls = talk(QUESTION, [FIRST, SECOND, ANSWER], leanthink_limit=limit)
    whole = limit > 7
    assert found(output, PROMPT) == (written, 3 * whole, 1 + whole, int(whole), 0, True)
    assert [call["sampling_params"]["max_tokens"] for call in calls] == ([12, 5] if whole else [5])


def test_an_empty_answer_behind_a_result_is_a_turn_without_a_token():
    output, _ = talk(QUESTION, [FIRST, ""])
    assert found(output, PROMPT) == (7, 3, 2, 1, 0, False)
    assert output.response_mask[-1] == 0 and output.extra_fields[LAST_FIELD] == 7


def test_calls_beyond_the_first_of_a_turn_are_not_made():
    twice = "<think> </think> <tool> 21 91 </tool> <tool> 42 91 </tool> <eos>"
    output, _ = talk(QUESTION, [twice, ANSWER])
    assert found(output, PROMPT) == (18, 3, 2, 1, 0, False)
