"""What a step of thinking is worth on the search task, measured on the shipped policy as VSRM's probes measure it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from leanthink.testbed import policy_path
from leanthink.testbed.evaluate import prompt_ids
from leanthink.testbed.front import step_gain
from leanthink.testbed.search import (
    Search,
    SearchQuestion,
    right_candidate,
    sample_question,
    split_of,
)
from leanthink.testbed.task import BOX

TASK = Search()
ASKED = 200
"""Held-out questions a place."""


@pytest.fixture(scope="module", name="policy")
def _policy():
    path = policy_path("search")
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(path)


def drawn(rng: random.Random, candidates: int, failed: int, found: bool) -> SearchQuestion:
    """A held-out question whose first candidates fail, and whose next one is the right one or may be."""
    while True:
        question = sample_question(rng, candidates)
        place = question.candidates.index(right_candidate(question))
        if split_of(question) == "test" and (place == failed if found else place >= failed):
            return question


def cut(question: SearchQuestion, tries: int) -> list[str]:
    """The thinking as far as so many tries, closed."""
    words = ["<think>"]
    for place, candidate in enumerate(question.candidates[:tries]):
        result = TASK.result(candidate, question.multiplier)
        verdict = "yes" if result == question.target else "no"
        words += [*(["wait"] if place else []), str(candidate), str(result), verdict]
    return [*words, "</think>"]


def accuracy(policy, questions: Sequence[SearchQuestion], tries: int) -> float:
    """How probable the right answer is from there, in the mean: without the error of sampling answers."""
    model, tokenizer = policy
    right = [tokenizer.convert_tokens_to_ids([BOX, str(right_candidate(one))]) for one in questions]
    thought = [[*prompt_ids(tokenizer, one), *tokenizer.convert_tokens_to_ids(cut(one, tries))] for one in questions]
    ids_QT = torch.tensor([before + answer for before, answer in zip(thought, right, strict=True)])
    with torch.inference_mode():
        logprobs_Q2V = model(ids_QT).logits[:, -3:-1].log_softmax(-1)
    return float(logprobs_Q2V.gather(-1, torch.tensor(right)[:, :, None]).sum(1).exp().mean())


def test_a_trys_gain_is_the_calculated_one(policy) -> None:
    """Within 0.05 in the mean over places; at the last of four tries the policy itself forgets what is left."""
    rng = random.Random(0)
    apart = []
    for candidates in range(2, 7):
        guess = [
            accuracy(policy, [drawn(rng, candidates, failed, found=False) for _ in range(ASKED)], failed)
            for failed in range(candidates)
        ]
        for failed in range(candidates):
            found = accuracy(policy, [drawn(rng, candidates, failed, found=True) for _ in range(ASKED)], failed + 1)
            apart.append(found - guess[failed] - step_gain(candidates, failed, success=True))
        for failed in range(candidates - 1):
            gain = guess[failed + 1] - guess[failed]
            apart.append(gain - step_gain(candidates, failed, success=False))
    assert len(apart) == 35 and max(map(abs, apart)) < 0.2
    assert fmean(map(abs, apart)) < 0.05 and abs(fmean(apart)) < 0.02, apart
