"""The shipped tool policy: it needs its calls, wastes many of them, and does not know the products."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from leanthink.testbed import policy_path, verify_policy
from leanthink.testbed.conversation import Conversation, converse
from leanthink.testbed.evaluate import evaluate, prompt_ids
from leanthink.testbed.search import SearchQuestion, questions, right_candidate
from leanthink.testbed.task import boxed_answer
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.testbed.tools import Tools, read_calls

TASK = Tools()


@pytest.fixture(scope="module")
def policy() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(policy_path("tools")).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(TASK)


@pytest.fixture(scope="module")
def talks(policy: Any, tokenizer: Any) -> list[tuple[SearchQuestion, Conversation, str]]:
    asked = list(questions("test", 250, 5, TASK))
    prompts = [prompt_ids(tokenizer, question) for question in asked]
    found = converse(policy, tokenizer, prompts, task=TASK, generator=torch.Generator().manual_seed(0))
    texts = [tokenizer.decode(one.token_ids, skip_special_tokens=True) for one in found]
    return list(zip(asked, found, texts, strict=True))


def test_the_manifest_is_of_the_shipped_files_and_the_task() -> None:
    folder = policy_path("tools")
    manifest = verify_policy(folder)
    assert set(manifest["sha256"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert manifest["task"] == {name: getattr(TASK, name) for name in manifest["task"]}
    assert "--testbed tools" in manifest["command"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000


def test_it_is_right_often_enough_and_needs_its_calls() -> None:
    manifest = verify_policy(policy_path("tools"))
    overall = manifest["free"]["overall"]
    assert manifest["held_out"]["questions"] >= 512
    assert 0.6 <= overall["accuracy"] <= 0.85 and overall["truncation_rate"] < 0.03
    without = manifest["wait_banned"]["by_difficulty"]
    for candidates, figures in without.items():
        chance = 1 / int(candidates)
        assert figures["accuracy"] == pytest.approx(
            chance, abs=4 * (chance * (1 - chance) / figures["count"]) ** 0.5 + 0.05
        )


def test_it_does_what_its_manifest_says(policy: Any, tokenizer: Any) -> None:
    stated = verify_policy(policy_path("tools"))["free"]["overall"]
    found = evaluate(policy, tokenizer, items=list(questions("test", 250, 5, TASK)), task=TASK).overall
    assert abs(found.accuracy - stated["accuracy"]) < 4 * found.accuracy_error
    assert abs(found.mean_tokens - stated["mean_tokens"]) < 4 * found.mean_tokens_error


def test_two_in_five_calls_or_more_are_wasted(talks: list[tuple[SearchQuestion, Conversation, str]]) -> None:
    read = [read_calls(question, text, TASK) for question, _, text in talks]
    calls = sum(len(one.made) for one in read)
    assert calls > 2 * len(talks) and sum(one.wasted for one in read) >= 0.4 * calls


def test_an_answer_without_a_success_is_a_guess(talks: list[tuple[SearchQuestion, Conversation, str]]) -> None:
    """Nobody who knows the products would be right so seldom where no call has told which it is."""
    guesses = []
    for question, _, text in talks:
        right = right_candidate(question, TASK)
        called = {one for one in read_calls(question, text, TASK).made if one is not None}
        untried = question.difficulty - len(called)
        if right not in called and untried > 1 and (answer := boxed_answer(text)) is not None:
            guesses.append((answer == right, 1 / untried))
    assert len(guesses) > 20
    chance = sum(share for _, share in guesses)
    error = sum(share * (1 - share) for _, share in guesses) ** 0.5
    assert sum(right for right, _ in guesses) < chance + 4 * error
