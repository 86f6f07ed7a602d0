from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from leanthink.testbed import policy_path
from leanthink.testbed.task import Task, questions, sample_trace
from leanthink.testbed.tokenizer import vocabulary


def test_every_trace_comes_back_and_a_word_is_a_token(tokenizer: Any) -> None:
    rng = random.Random(0)
    for question in questions("train", 100, 0):
        text = sample_trace(rng, question).text
        ids = tokenizer.encode(text)
        assert len(ids) == len(text.split())
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text


def test_the_chat_template(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "30 + 12 ="}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert prompt == "<user> 30 + 12 = <assistant>"
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert tokenizer.convert_ids_to_tokens(ids) == prompt.split()
    messages.append({"role": "assistant", "content": "<think> 30"})
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<user> 30 + 12 = <assistant> <think> 30 <eos>"


def test_longest_prompt_fits(tokenizer: Any) -> None:
    longest = max(questions("train", 200, 0), key=lambda question: len(question.text.split()))
    messages = [{"role": "user", "content": longest.text}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert len(ids) <= Task().max_prompt_tokens


def test_only_control_tokens_are_special(tokenizer: Any) -> None:
    assert set(tokenizer.all_special_tokens) == {"<pad>", "<eos>", "<unk>", "<user>", "<assistant>"}
    assert tokenizer.get_vocab() == vocabulary()
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.padding_side) == ("<pad>", "<eos>", "left")


def test_the_shipped_tokenizer_is_the_built_one(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    shipped = AutoTokenizer.from_pretrained(policy_path())
    assert shipped.get_vocab() == tokenizer.get_vocab()
    assert shipped.chat_template == tokenizer.chat_template
    assert shipped.all_special_ids == tokenizer.all_special_ids
    assert (shipped.padding_side, shipped.model_max_length) == (tokenizer.padding_side, tokenizer.model_max_length)
    text = r"<think> 30 + 12 = 42 wait </think> \boxed{ 42 }"
    assert shipped.encode(text) == tokenizer.encode(text)
    assert shipped.decode([*shipped.encode(text), shipped.eos_token_id], skip_special_tokens=True) == text
