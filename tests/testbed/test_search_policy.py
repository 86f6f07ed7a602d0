"""The shipped search policy: it needs to think, wastes half of what it writes, and knows no inverse."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from leanthink.testbed import policy_path, verify_policy
from leanthink.testbed.evaluate import evaluate, prompt_ids
from leanthink.testbed.front import front, step_gain
from leanthink.testbed.generate import Sampling, generate
from leanthink.testbed.search import Search, SearchQuestion, questions, read_response, right_candidate
from leanthink.testbed.tokenizer import build_tokenizer

TASK = Search()


@pytest.fixture(scope="module")
def policy() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(policy_path("search")).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(TASK)


@pytest.fixture(scope="module")
def responses(policy: Any, tokenizer: Any) -> list[tuple[SearchQuestion, str]]:
    asked = list(questions("test", 350, 5))
    found = generate(
        policy,
        [prompt_ids(tokenizer, question) for question in asked],
        Sampling(max_new_tokens=TASK.max_response_tokens),
        eos_token_ids=[tokenizer.eos_token_id],
        generator=torch.Generator().manual_seed(0),
    )
    texts = [tokenizer.decode(one.token_ids, skip_special_tokens=True) for one in found]
    return list(zip(asked, texts, strict=True))


def test_the_manifest_is_of_the_shipped_files_and_the_task() -> None:
    folder = policy_path("search")
    manifest = verify_policy(folder)
    assert set(manifest["sha256"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert manifest["task"] == {name: getattr(TASK, name) for name in manifest["task"]}
    assert "--testbed search" in manifest["command"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000


def test_it_is_right_often_enough_and_half_of_its_tokens_are_waste() -> None:
    manifest = verify_policy(policy_path("search"))
    overall = manifest["free"]["overall"]
    assert manifest["held_out"]["questions"] >= 512
    assert 0.6 <= overall["accuracy"] <= 0.8
    assert overall["recheck_share"] >= 0.45
    assert overall["truncation_rate"] < 0.02
    # With one try, K = 2 is as good as it was, and of eight candidates a quarter is right.
    banned = manifest["wait_banned"]["by_difficulty"]
    assert banned["2"]["accuracy"] > 0.85 and banned["8"]["accuracy"] < 0.4


def test_it_does_what_its_manifest_says(policy: Any, tokenizer: Any) -> None:
    stated = verify_policy(policy_path("search"))["free"]["overall"]
    found = evaluate(policy, tokenizer, items=list(questions("test", 280, 5)), task=TASK).overall
    assert abs(found.accuracy - stated["accuracy"]) < 4 * found.accuracy_error
    assert abs(found.mean_tokens - stated["mean_tokens"]) < 4 * found.mean_tokens_error


def test_it_knows_the_products_and_keeps_the_form(responses: list[tuple[SearchQuestion, str]]) -> None:
    readings = [read_response(question, text) for question, text in responses]
    assert sum(reading.well_formed for reading in readings) >= 0.87 * len(readings)  # docs/explanation/testbed.md
    right = tries = 0
    for (question, text), reading in zip(responses, readings, strict=True):
        words = text.split()
        for number, candidate in enumerate(reading.tries):
            if candidate not in reading.tries[:number]:  # what is tried again may be misread
                tries += 1
                right += words[2 + 4 * number] == str(TASK.result(candidate, question.multiplier))
    assert right >= 0.985 * tries


def test_its_first_try_is_right_by_chance(responses: list[tuple[SearchQuestion, str]]) -> None:
    firsts = [
        (reading.first_right, 1 / question.difficulty)
        for question, text in responses
        if (reading := read_response(question, text)).first_right is not None
    ]
    chance = sum(share for _, share in firsts)
    error = sum(share * (1 - share) for _, share in firsts) ** 0.5
    assert abs(sum(right or 0 for right, _ in firsts) - chance) < 4 * error


def test_no_policy_is_beyond_the_front_and_this_one_is_far_from_it() -> None:
    overall = verify_policy(policy_path("search"))["free"]["overall"]
    found = front(dict.fromkeys(TASK.difficulties, 1.0)).distance(overall["mean_tokens"], overall["accuracy"])
    assert found.tokens_above > 8 and (found.accuracy_below or 0) > 0.15


@pytest.mark.parametrize("candidates", [4, 8])
def test_an_answer_asked_for_behind_t_failures_is_right_as_calculated(
    policy: Any, tokenizer: Any, candidates: int
) -> None:
    """What a probe finds: the probability of the right answer behind a cut, over questions, and its gains by try."""
    pool = [one for one in questions("test", 560, 6) if one.difficulty == candidates]
    accuracy = []
    for failed in range(3):
        kept = [one for one in pool if right_candidate(one) not in one.candidates[:failed]]
        accuracy.append(_answered(policy, tokenizer, kept, failed))
        error = (accuracy[-1] * (1 - accuracy[-1]) / len(kept)) ** 0.5
        assert accuracy[-1] == pytest.approx(1 / (candidates - failed), abs=4 * error + 0.02)
    gains = [later - before for before, later in itertools.pairwise(accuracy)]
    for failed, gain in enumerate(gains):
        assert gain == pytest.approx(step_gain(candidates, failed, success=False), abs=0.25)
    found = [one for one in pool if right_candidate(one) == one.candidates[0]]
    assert _answered(policy, tokenizer, found, 1) > 0.95


def _answered(policy: Any, tokenizer: Any, asked: list[SearchQuestion], tried: int) -> float:
    """Mean probability of the right answer behind so many first tries, all of them written as they are."""
    total = 0.0
    for question in asked:
        tries = [
            f"{c} {TASK.result(c, question.multiplier)} {'yes' if c == right_candidate(question) else 'no'}"
            for c in question.candidates[:tried]
        ]
        text = " ".join(["<think>", *([" wait ".join(tries)] if tries else []), "</think>", r"\boxed{"])
        ids = torch.tensor([[*prompt_ids(tokenizer, question), *tokenizer.encode(text)]])
        with torch.no_grad():
            probabilities = torch.softmax(policy(input_ids=ids).logits[0, -1], dim=-1)
        total += float(probabilities[tokenizer.convert_tokens_to_ids(str(right_candidate(question)))])
    return total / len(asked)
