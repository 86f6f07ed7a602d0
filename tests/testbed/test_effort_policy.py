"""The effort task and its shipped policy, which reads the level and repeats by it."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import torch

from leanthink.testbed import policy_path, verify_policy
from leanthink.testbed.effort import LEVELS, Effort
from leanthink.testbed.generate import Sampling, generate
from leanthink.testbed.lessons import Teacher
from leanthink.testbed.search import Search, questions, sample_question, sample_trace
from leanthink.testbed.tokenizer import build_tokenizer, vocabulary

TASK = Effort()


def prompt(tokenizer: Any, text: str, level: str | None) -> list[int]:
    told = {} if level is None else {LEVELS.argument: level}
    ids: list[int] = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=False, **told
    )
    return ids


def test_the_manifest_is_of_the_shipped_files_and_the_task() -> None:
    folder = policy_path("effort")
    manifest = verify_policy(folder)
    assert set(manifest["sha256"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert manifest["task"] == {name: getattr(TASK, name) for name in manifest["task"]}
    assert "--testbed effort" in manifest["command"] and 0.6 <= manifest["free"]["overall"]["accuracy"] <= 0.8
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000


def test_the_template_puts_the_level_before_the_question_and_prompts_fit() -> None:
    tokenizer = build_tokenizer(TASK)
    text = max((one.text for one in questions("test", 300, 0, TASK)), key=lambda text: len(text.split()))
    told = [tokenizer.decode(prompt(tokenizer, text, level)) for level in (*LEVELS.levels, None)]
    assert told == [f"<user> {level}{text} <assistant>" for level in ("low ", "medium ", "high ", "")]
    assert len(prompt(tokenizer, text, "low")) <= TASK.max_prompt_tokens
    assert list(vocabulary(TASK))[: len(vocabulary(Search()))] == list(vocabulary(Search()))


def test_lessons_state_a_level_mostly_and_any() -> None:
    teacher, words = Teacher(TASK, 0), list(vocabulary(TASK))
    seconds = [words[teacher.lessons["traces"]()[0][1]] for _ in range(400)]
    counts = [seconds.count(level) for level in LEVELS.levels]
    assert all(80 < count < 160 for count in counts) and 15 < 400 - sum(counts) < 80


def test_traces_repeat_less_at_low_and_more_at_high() -> None:
    lengths = []
    for level in LEVELS.levels:
        rng, task = random.Random(0), TASK.at(level)
        asked = [sample_question(rng, rng.choice(task.difficulties), task) for _ in range(3000)]
        lengths.append(sum(len(sample_trace(rng, question, task).text.split()) for question in asked) / len(asked))
    low, medium, high = lengths
    assert 6 < medium - low < 9 and 17 < high - medium < 26  # each repetition may be followed by another
    assert TASK.at("medium") == TASK.at(None) == TASK


def test_the_policy_thinks_longer_at_each_higher_level() -> None:
    from transformers import AutoModelForCausalLM

    tokenizer, policy = build_tokenizer(TASK), AutoModelForCausalLM.from_pretrained(policy_path("effort")).eval()
    asked = list(questions("test", 210, 5, TASK))
    means, errors = [], []
    for level in LEVELS.levels:
        found = generate(
            policy,
            [prompt(tokenizer, question.text, level) for question in asked],
            Sampling(max_new_tokens=TASK.max_response_tokens),
            eos_token_ids=[tokenizer.eos_token_id],
            generator=torch.Generator().manual_seed(1),
        )
        lengths = torch.tensor([float(len(one.token_ids)) for one in found])
        means.append(float(lengths.mean()))
        errors.append(float(lengths.std()) / len(found) ** 0.5)
    for lower, higher in pairwise(range(3)):
        assert means[higher] - means[lower] > 2 * (errors[lower] ** 2 + errors[higher] ** 2) ** 0.5
