import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from verl import DataProto

from leanthink.recipe.definition import Recipe
from leanthink.rewards import (
    Conciseness,
    ConcisenessScore,
    Correct,
    Counted,
    Format,
    Gate,
    HistoryLength,
    KimiLength,
    MaxBudget,
    RedundantThinking,
    Repetition,
    Sum,
)
from leanthink.training import prompt_key
from leanthink.training.facts import asked
from leanthink.verl.rollout import facts
from leanthink.verl.settings import Settings

WORDS = ["<pad>", "<eos>", "<think>", "</think>", r"\boxed{", "}", "4", "5", "thus"]
RECIPE = Recipe(name="mine", reward=Gate(column="budget", of=Sum(correct=Correct(), form=Format())))


class Tokenizer:
    eos_token_id = 1

    def decode(self, ids, skip_special_tokens):
        assert not skip_special_tokens  # thinking tags are special tokens in some vocabularies
        return " ".join(WORDS[i] for i in ids)


class Config(dict):
    actor_rollout_ref = SimpleNamespace(model=SimpleNamespace(path="nowhere"))


@pytest.fixture
def manager(monkeypatch):
    monkeypatch.setattr(facts, "end_ids", lambda path, eos: frozenset({eos}))

    made = []

    def make(recipe=RECIPE, **options):
        made.append(
            facts.FactsRewardManager(Config(leanthink=Settings.of(recipe, **options).node()), Tokenizer(), None)
        )
        return made[-1]

    yield make
    for each in made:
        each.loop.close()  # verl opens one where none runs; in its workers one does


def response(text, *, gold="4", pad=0, truncated=False, extra_info=None, question="2 + 2 =", prompt="4 5"):
    ids, before = ([WORDS.index(word) for word in words.split()] for words in (text, prompt))
    batch = TensorDict(
        {
            "prompts": torch.tensor([[0, *before]]),
            "responses": torch.tensor([ids + [0] * pad]),
            "attention_mask": torch.tensor([[0] + [1] * len(before) + [1] * len(ids) + [0] * pad]),
        },
        batch_size=1,
    )
    columns = {
        "raw_prompt": np.array([[{"role": "user", "content": question}]]),
        "reward_model": np.array([{"ground_truth": gold}], dtype=object),
        "extra_info": np.array([{"budget": 7, "difficulty": 3} if extra_info is None else extra_info], dtype=object),
        "tool_extra_fields": np.array([{"truncated": truncated}], dtype=object),
    }
    return DataProto(batch=batch, non_tensor_batch=columns)


def run(manager, data):
    return asyncio.run(manager.run_single(data))


GOOD = r"<think> 5 </think> \boxed{ 4 } <eos>"


def test_facts_of_a_correct_response(manager):
    result = run(manager(), response(GOOD, pad=3))
    got = result["reward_extra_info"]
    assert result["reward_score"] == got["acc"] == 1.0
    assert (got["unknown"], got["truncated"], got["length"], got["pred"]) == (0.0, 0.0, 7.0, "4")
    assert (got["budget"], got["difficulty"], got[Format().column]) == (7, "3", 1.0)


@pytest.mark.parametrize(("prompt", "right"), [("4 5", 1.0), ("4 <think>", 0.0), ("<think> 5", 1.0)])
def test_a_prompt_that_opens_the_thinking_is_read_before_the_response(manager, prompt, right):
    """Cut off in its thinking there is no answer, whatever box stands in it."""
    result = run(manager(), response(r"thus \boxed{ 4 }", truncated=True, prompt=prompt))
    assert result["reward_score"] == right and result["reward_extra_info"]["unknown"] == 0


def test_what_is_measured_on_tokens_and_counted_in_thinking(manager):
    reward = Sum(max=Counted(counts="thinking", of=MaxBudget()), again=Repetition(size=1, penalty=-1))
    measured = run(
        manager(Recipe(name="mine", reward=reward)), response(r"<think> 5 5 </think> \boxed{ 4 } <eos>", pad=2)
    )
    got = measured["reward_extra_info"]
    assert (got["length"], got["thinking_length"], got["budget"]) == (8.0, 4.0, 7)
    assert got[Repetition(size=1, penalty=-1).column] == -1.0
    never_ends = run(manager(Recipe(name="mine", reward=reward)), response("<think> 5 5", truncated=True))
    assert never_ends["reward_extra_info"]["thinking_length"] == 3.0


def test_facts_of_a_truncated_response(manager):
    got = run(manager(), response("<think> 5 4", truncated=True))["reward_extra_info"]
    assert (got["acc"], got["unknown"], got["truncated"], got["pred"]) == (0.0, 0.0, 1.0, "")
    assert got["reason"] == "wrong/unfinished_thinking"


def test_the_limit_and_the_prompts_key_travel_with_the_response(manager):
    data = response(GOOD)
    data.non_tensor_batch["tool_extra_fields"][0] |= {"limit": 40, "prompt_key": "abc"}
    got = run(manager(), data)["reward_extra_info"]
    assert (got["limit"], got["prompt_key"]) == (40.0, "abc")
    assert not {"limit", "prompt_key"} & set(run(manager(), response(GOOD))["reward_extra_info"])


def test_what_a_prompt_lost_travels_with_the_response(manager):
    data = response(GOOD)
    data.non_tensor_batch["tool_extra_fields"][0]["prompt_cut"] = 3
    assert run(manager(), data)["reward_extra_info"]["prompt_cut"] == 3.0
    assert run(manager(), response(GOOD))["reward_extra_info"]["prompt_cut"] == 0.0


def test_what_is_answered_before_the_cut_counts(manager):
    """ThinkPrune: the box completed at token 2990 of 3000 counts; DLER's truncation reward pays nothing for it."""
    got = run(manager(), response(r"<think> 5 </think> \boxed{ 4 } thus", truncated=True))["reward_extra_info"]
    assert (got["acc"], got["truncated"]) == (1.0, 1.0)
    got = run(manager(), response(r"<think> 5 </think> \boxed{ 4", truncated=True))["reward_extra_info"]
    assert (got["acc"], got["truncated"]) == (0.0, 1.0)


def test_wrong_answer_is_wrong_and_not_shaped(manager):
    assert run(manager(), response(GOOD, gold="5"))["reward_score"] == 0.0


@pytest.mark.parametrize(
    ("question", "reason"), [("Write $4$ as a fraction.", "wrong/echo"), ("8 over 2", "correct/equal")]
)
def test_a_copy_of_the_question_is_no_answer(manager, question, reason):
    got = run(manager(), response(GOOD, gold=r"\frac{8}{2}", question=question))["reward_extra_info"]
    assert got["reason"] == reason


def test_a_failing_verifier_is_unknown_and_counted(manager, monkeypatch):
    broken = manager()

    async def explode(*_, **__):
        raise RuntimeError("boom")

    monkeypatch.setattr(broken._finder, "_verifier", SimpleNamespace(acheck=explode))
    got = run(broken, response(GOOD))["reward_extra_info"]
    assert (got["acc"], got["unknown"], got["reason"]) == (0.0, 1.0, "unknown/exception")


def test_a_response_without_gold_is_unknown(manager):
    data = response(GOOD)
    data.non_tensor_batch["reward_model"] = np.array([{}], dtype=object)
    assert run(manager(), data)["reward_extra_info"]["unknown"] == 1.0


def test_every_response_has_the_same_keys(manager):
    plain = manager(Recipe(name="plain", reward=Correct()))
    keys = [
        set(run(plain, data)["reward_extra_info"])
        for data in (response(GOOD), response("thus", truncated=True), response(GOOD, extra_info={}))
    ]
    assert keys[0] == keys[1] == keys[2]
    assert "reward" not in keys[0]  # verl counts a fact of that name twice


def test_a_prompt_is_known_again_by_its_text_or_by_the_datas_own_key(manager):
    remembering = manager(Recipe(name="remembering", reward=Sum(correct=Correct(), length=HistoryLength())))

    def key(**more):
        return run(remembering, response(GOOD, **more))["reward_extra_info"]["prompt_key"]

    assert key() == key(extra_info={"index": 9}, gold="5") != key(question="2 + 3 =")
    assert key(extra_info={"prompt_key": 0}) == "0"  # text, as the hash is
    assert "prompt_key" not in run(manager(), response(GOOD))["reward_extra_info"]


def test_an_image_in_a_prompt_does_not_break_its_key():
    content = [{"type": "image", "image": object()}, {"type": "text", "text": "What is it?"}]
    other = [{"type": "image", "image": object()}, {"type": "text", "text": "Where is it?"}]
    keys = [prompt_key([{"role": "user", "content": one}]) for one in (content, content, other)]
    assert keys[0] == keys[1] != keys[2]


def half(prompt, response):
    return 0.5 if "2 + 2" in prompt and "4" in response else 0.9


def gone(prompt, response):
    raise RuntimeError("scorer is gone")


def crf(scorer):
    part = ConcisenessScore(scorer=f"{__name__}:{scorer}")
    return part.column, Recipe(name="mine", reward=Conciseness(scores=part, alpha=0.5))


def test_a_correct_response_is_scored_with_its_prompt_and_a_wrong_one_is_not(manager):
    column, recipe = crf("half")
    made = manager(recipe)
    right = run(made, response(r"thus \boxed{ 4 }"))["reward_extra_info"]
    wrong = run(made, response(r"thus \boxed{ 5 }"))["reward_extra_info"]
    assert (right["acc"], right[column]) == (1.0, 0.5)
    assert wrong["acc"] == 0.0 and wrong[column] != wrong[column]  # NaN: not asked
    cut = run(made, response(r"thus \boxed{ 4 } thus", truncated=True))["reward_extra_info"]
    assert (cut["acc"], cut["truncated"]) == (1.0, 1.0) and cut[column] != cut[column]


def test_a_scorer_that_fails_makes_the_response_unknown(manager):
    column, recipe = crf("gone")
    made = manager(recipe)
    facts_ = run(made, response(r"thus \boxed{ 4 }"))["reward_extra_info"]
    assert (facts_["acc"], facts_["unknown"]) == (0.0, 1.0)
    assert facts_["reason"] == "unknown/exception" and column in facts_


def test_redundant_tokens_are_found_in_right_responses(manager):
    """`<think> 4 </think>`: with chunks at 5, what stands behind the first 4 is redundant."""
    reward = RedundantThinking(openers=("5",), joins=False)
    made = manager(Recipe(name="mine", reward=reward))
    right = run(made, response(r"<think> 4 5 5 </think> \boxed{ 4 } <eos>"))["reward_extra_info"]
    assert right[reward.column].startswith("2:4:0.333333:")
    wrong = run(made, response(r"<think> 4 5 </think> \boxed{ 5 } <eos>"))["reward_extra_info"]
    assert (wrong["acc"], wrong[reward.column]) == (0.0, "")
    cut = run(made, response(r"<think> 4 5 5 </think> \boxed{ 4 } 4", truncated=True))["reward_extra_info"]
    assert (cut["acc"], cut["truncated"], cut[reward.column]) == (1.0, 1.0, "")


def test_a_detector_that_fails_makes_the_response_unknown(manager):
    reward = RedundantThinking(detector=f"{__name__}:lost")
    facts_ = run(manager(Recipe(name="mine", reward=reward)), response(GOOD))["reward_extra_info"]
    assert (facts_["acc"], facts_["unknown"], facts_[reward.column]) == (0.0, 1.0, "")


def lost(question, thinking, answer):
    raise RuntimeError("detector is gone")


def with_turns(turns, text):
    data = response(text, pad=2)
    data.non_tensor_batch["tool_extra_fields"][0].update(
        {"leanthink_turns": turns, "context_tokens": 30.0, "tool_calls": 1.0, "tool_tokens": 2.0}
    )
    return data


def test_of_several_turns_the_policys_tokens_count_and_the_last_is_judged(manager):
    reward = Sum(correct=Correct(), price=Counted(of=KimiLength(), counts="thinking"), form=Format())
    made = manager(Recipe(name="mine", reward=reward))
    said = r"<think> 5 </think> 5 \boxed{ 4 } thus <think> 5 5 </think> \boxed{ 5 } <eos>"  # the tool says 4
    got = run(made, with_turns([(0, 4), (7, 15)], said))["reward_extra_info"]
    assert (got["acc"], got["length"], got["thinking_length"]) == (0.0, 12.0, 3.0 + 5.0)
    assert (got["context_tokens"], got["tool_calls"], got["tool_tokens"]) == (30.0, 1.0, 2.0)
    right = said.replace(r"\boxed{ 5 }", r"\boxed{ 4 }")
    assert run(made, with_turns([(0, 4), (7, 15)], right))["reward_extra_info"]["acc"] == 1.0
    assert run(made, with_turns([], "thus thus"))["reward_extra_info"]["length"] == 0.0


def test_an_answer_of_an_earlier_turn_is_none_and_what_a_tool_said_names_the_response(manager):
    made = manager()
    early = run(made, with_turns([(0, 3), (4, 6)], r"\boxed{ 4 } 5 thus <eos>"))["reward_extra_info"]
    assert early["acc"] == 0.0
    late = run(made, with_turns([(0, 1), (2, 6)], r"thus 5 \boxed{ 4 } <eos>"))["reward_extra_info"]
    other = run(made, with_turns([(0, 1), (2, 6)], r"thus 4 \boxed{ 4 } <eos>"))["reward_extra_info"]
    assert late["acc"] == other["acc"] == 1.0 and late["response_key"] != other["response_key"]


@pytest.mark.parametrize(("said", "right"), [("<think>", 0.0), ("5", 1.0)])
def test_a_turn_whose_thinking_the_template_opens_is_read_behind_the_tag(manager, said, right):
    data = with_turns([(0, 1), (2, 5)], rf"thus {said} \boxed{{ 4 }}")
    data.non_tensor_batch["tool_extra_fields"][0]["truncated"] = True
    assert run(manager(), data)["reward_score"] == right


def test_the_problem_is_what_the_user_says_last():
    """A system prompt may show a box, and an earlier question may ask for another."""
    said = [("system", "A"), ("user", "B"), ("assistant", "C"), ("user", "D")]
    assert asked([{"role": role, "content": content} for role, content in said]) == "D"
