"""What is said of prompts and of the context before verl starts."""

import sys

import pytest

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.testbed.effort import Effort
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verl.start.launch import Job
from leanthink.verl.start.prompts import context_notice, prompt_notice, tokenizer_of
from model_folders import save_program

TOKENIZER = build_tokenizer()


def job(recipe="grpo", *overrides, model=None, **keys):
    return Job(
        recipe=load_recipe(recipe, list(overrides), profile="cpu"),
        profile="cpu",
        model=model or str(policy_path()),
        train_files=("t",),
        val_files=("v",),
        folder="c",
        gpus=1,
        extra={key.replace("__", "."): value for key, value in keys.items()},
    )


def prompts(*texts):
    return [[{"role": "user", "content": text}] for text in texts]


def tokens(text):
    return len(TOKENIZER.encode(f"<user> {text} <assistant>"))


def test_prompts_that_are_too_long_are_told():
    long = " + ".join("1" * 12) + " ="
    (told,) = prompt_notice(job(), "a.parquet", prompts("1 + 1 =", long), TOKENIZER)
    assert told.startswith("1 of 2 prompts looked at in a.parquet have more tokens than data.max_prompt_length = 16")
    assert f"(the longest {tokens(long)}," in told and "raise data.max_prompt_length" in told
    assert list(prompt_notice(job(), "a", prompts("1 + 1 ="), TOKENIZER)) == []
    assert list(prompt_notice(job(data__max_prompt_length=40), "a", prompts(long), TOKENIZER)) == []
    assert list(prompt_notice(job(), "a", [], TOKENIZER)) == []


def test_an_instruction_of_a_mode_counts():
    """Half of the responses are sampled behind it, whatever the file's own lengths are."""
    question = prompts("10 + 12 =")
    added = "reward.mode_switch_reward.short_instruction='1 + 2 + 3 + 4 + 5 + 6'"
    assert list(prompt_notice(job("adaptive_deep"), "a", question, TOKENIZER)) == []
    (told,) = prompt_notice(job("adaptive_deep", added), "a", question, TOKENIZER)
    assert f"the longest {tokens('1 + 2 + 3 + 4 + 5 + 6 10 + 12 =')}," in told


def test_a_stated_limit_counts_at_its_longest():
    question = prompts("1 + 2 + 3 + 4 + 5 + {token_limit} =")
    lengths = {"data__max_prompt_length": tokens("1 + 2 + 3 + 4 + 5 + 96 =")}
    assert list(prompt_notice(job("thinkprune", **lengths), "a", question, TOKENIZER)) == []
    lengths = {"data__max_prompt_length": lengths["data__max_prompt_length"] - 1}
    (told,) = prompt_notice(job("thinkprune", **lengths), "a", question, TOKENIZER)
    assert told.startswith("1 of 1")


def test_a_large_file_is_looked_at_throughout():
    many = prompts(*["1 + 1 ="] * 2400, " + ".join("1" * 12) + " =")
    (told,) = prompt_notice(job(), "a", many, TOKENIZER)
    assert told.startswith("1 of 801 prompts")


def test_a_context_that_is_too_short_is_told():
    assert list(context_notice(job())) == []
    (told,) = context_notice(job(data__max_response_length=400))
    assert told.startswith("the engine's context is 256 tokens, less than data.max_prompt_length")
    assert "= 16 + 400" in told
    (told,) = context_notice(job(actor_rollout_ref__rollout__max_model_len=100))
    assert "is 100 tokens" in told


@pytest.mark.parametrize("name", ["nobody/nothing", "hdfs://a/b"])
def test_of_a_model_that_is_not_here_nothing_is_told(name):
    assert tokenizer_of(job(model=name)) is None
    assert list(context_notice(job(model=name))) == []


def test_of_a_damaged_model_nothing_is_told(tmp_path):
    for name in ("tokenizer_config.json", "config.json"):
        (tmp_path / name).write_text("[]")
    assert tokenizer_of(job(model=str(tmp_path))) is None
    assert list(context_notice(job(model=str(tmp_path)))) == []


def test_a_program_of_the_model_is_run_where_verls_key_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked whether to run it"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "copies"))
    monkeypatch.setattr("sys.path", [*sys.path])
    model = str(save_program(tmp_path / "m"))
    assert tokenizer_of(job(model=model)) is None
    assert list(context_notice(job(model=model))) == []
    assert not (tmp_path / "ran").exists()
    trusting = job(model=model, actor_rollout_ref__model__trust_remote_code=True)
    assert tokenizer_of(trusting) is None  # what it runs makes no tokenizer
    assert (tmp_path / "ran").exists()


def test_a_rows_own_arguments_for_the_template_count_and_have_to_be_read():
    question = "21 12 13 14 15 16 17 18 times 91 is 112 ?"
    info = {"chat_template_kwargs": {"reasoning_effort": "low"}}
    with_levels = build_tokenizer(Effort())
    assert list(prompt_notice(job(), "a", prompts(question), with_levels, [info])) == []
    shorter = job(data__max_prompt_length=15)
    (told,) = prompt_notice(shorter, "a", prompts(question), with_levels, [info])
    assert "the longest 16," in told
    assert list(prompt_notice(shorter, "a", prompts(question), with_levels, [{}])) == []
    with pytest.raises(ConfigError, match="'reasoning_effort', which the model's does not read"):
        list(prompt_notice(job(), "a", prompts(question), TOKENIZER, [info]))
