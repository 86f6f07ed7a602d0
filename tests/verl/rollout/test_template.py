"""A chat template that opens the thinking, and rewards that know it or do not."""

import asyncio
from types import SimpleNamespace

import pytest

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.rewards import (
    AdaptThinkReward,
    EarlyExit,
    Format,
    ModeOutcome,
    ModeSwitchReward,
    Scale,
    Sum,
    ThinkOutcome,
)
from leanthink.testbed.tokenizer import CHAT_TEMPLATE, build_tokenizer
from leanthink.training import check_opening, end_of_prompt
from leanthink.training.template import check_tokens
from leanthink.verl.rollout import facts
from leanthink.verl.settings import Settings

OPENING = CHAT_TEMPLATE.replace("<assistant>{% endif -%}", "<assistant> <think>{{ '\\n' }}{% endif -%}")
OPENED, CLOSED = "<user> 1 + 1 = <assistant> <think>\n", "<user> 1 + 1 = <assistant>"


class Config(dict):
    def __init__(self, template=None, arguments=None, **nodes):
        super().__init__(data={"apply_chat_template_kwargs": arguments}, **nodes)
        self.actor_rollout_ref = SimpleNamespace(model=SimpleNamespace(path="nowhere", custom_chat_template=template))


@pytest.fixture
def tokenizer():
    return build_tokenizer()


def test_the_prompt_is_rendered_as_the_trainer_renders_it(tokenizer):
    assert end_of_prompt(tokenizer) == CLOSED
    assert end_of_prompt(tokenizer, OPENING) == OPENED
    switched = OPENING.replace("if add_generation_prompt", "if add_generation_prompt and thinking")
    assert end_of_prompt(tokenizer, switched, {"thinking": True}) == OPENED
    assert end_of_prompt(tokenizer, switched) == "<user> 1 + 1 ="
    tokenizer.chat_template = None
    assert end_of_prompt(tokenizer) == ""


def test_a_template_that_renders_no_plain_question_is_told(tokenizer, caplog):
    assert end_of_prompt(tokenizer, "{{ raise_exception('a system message is missing') }}") == ""
    assert "a system message is missing" in caplog.text


REWARD = Sum(base=ThinkOutcome(), form=Scale(by=0.5, of=Format(opened_by_prompt=True)))


def test_each_part_that_expects_otherwise_is_named_with_its_override():
    with pytest.raises(ConfigError, match=r"add reward\.sum\.base\.think_outcome\.opened_by_prompt=true \(lean"):
        check_opening(REWARD, OPENED)
    with pytest.raises(ConfigError, match=r"add reward\.sum\.form\.scale\.of\.format\.opened_by_prompt=false \(lean"):
        check_opening(REWARD, CLOSED)
    check_opening(REWARD, "")
    check_opening(Sum(base=ThinkOutcome()), CLOSED)
    check_opening(Format(open_tag="<think>\n", opened_by_prompt=True), OPENED)
    with pytest.raises(ConfigError, match=r"has begun with '<think>' already; take it out of the template"):
        check_opening(ModeSwitchReward(), OPENED)


@pytest.mark.parametrize("count", [0, 2])
def test_a_token_is_one_to_the_model_not_none_and_not_two(count):
    class Splitting:
        unk_token_id = None

        def encode(self, text, add_special_tokens):
            return list(range(count))

    with pytest.raises(ConfigError, match=rf"reward\.mode_outcome: .<short>. is {count} tokens of this model"):
        check_tokens(ModeOutcome(), Splitting())


def test_a_model_without_the_tokens_is_refused(tokenizer):
    with pytest.raises(ConfigError, match=r"reward\.mode_outcome: .<short>. is an unknown token of this model"):
        check_tokens(ModeOutcome(), tokenizer)
    with pytest.raises(ConfigError, match=r"reward\.adapt_think_reward: 'Alright' is an unknown token"):
        check_tokens(AdaptThinkReward(), tokenizer)
    with pytest.raises(ConfigError, match=r"'<think> 47' is 2 tokens of this model"):
        check_tokens(ModeSwitchReward(long_opening="<think> 47"), tokenizer)
    for name in ("adaptive_deep", "adaptthink", "hbpo", "thinkless"):
        check_tokens(load_recipe(name, profile="cpu").reward, tokenizer)


def overrides(reward):
    try:
        check_opening(reward, OPENED)
    except ConfigError as error:
        return str(error).partition("; add ")[2].partition(" (")[0].split()
    return []


@pytest.mark.parametrize("name", recipe_names())
def test_the_overrides_it_names_put_every_recipe_right(name):
    if name in ("adaptive_deep", "hbpo", "thinkless"):  # their responses begin the thinking
        with pytest.raises(ConfigError, match="has begun with '<think>' already; take it out of the template"):
            check_opening(load_recipe(name).reward, OPENED)
        return
    changes = overrides(load_recipe(name).reward)
    assert bool(changes) == (name in RECIPES_WITH_FORM)
    assert not overrides(load_recipe(name, changes).reward)


RECIPES_WITH_FORM = {
    *("curriculum", "laser", "laser_d", "laser_de", "lc_r1", "long_short", "s_grpo", "surrogate", "vl_cogito"),
    *("decs", "short_rl", "vsrm_ppo", "vsrm_rpp"),
}


@pytest.fixture
def finder(tokenizer, monkeypatch):
    monkeypatch.setattr(facts, "end_ids", lambda path, eos: frozenset({eos}))

    def make(recipe, template=OPENING, **options):
        node = Settings.of(load_recipe(recipe), **options).node()
        return facts.fact_finder(Config(template=template, leanthink=node), tokenizer)

    return make


def test_a_worker_finds_it_out_unless_told_not_to_look(finder):
    with pytest.raises(ConfigError, match=r"opened_by_prompt=true .*leanthink.check_template=false"):
        finder("laser")
    finder("laser", check_template=False)


@pytest.mark.parametrize(
    ("options", "prompt", "right"),
    [
        ({}, "<user> 1 <assistant>", 1.0),
        ({}, "<user> 1 <assistant> <think>", 0.0),  # cut off in its thinking
        ({}, "<user> 1 <assistant> <think> </think>", 1.0),  # thinking switched off
        ({"thinking_end": "</thought>"}, "<user> 1 <assistant> <think>", 1.0),
        ({"thinking_end": "wait"}, "<user> 1 <assistant> wait", 1.0),  # no telling what would open it
        ({"require_thinking_end": True}, "<user> 1 <assistant>", 0.0),
    ],
)
def test_a_response_is_judged_behind_its_own_prompt(finder, tokenizer, options, prompt, right):
    response, before = (tokenizer.encode(text, add_special_tokens=False) for text in (r"4 = \boxed{ 4 }", prompt))
    columns = {"raw_prompt": [], "reward_model": {"ground_truth": "4"}}
    sampled = facts.response_of(response, columns, {"truncated": True}, before)
    found = asyncio.run(finder("grpo", verify=options).find(sampled))
    assert (found["acc"], found["unknown"], found["length"]) == (right, 0.0, 5.0)


def test_an_early_exit_finds_the_thinking_it_is_told_of():
    words = ["a", "b", "</think>", "c"]

    def decode(ids):
        return " ".join(words[i] for i in ids)

    assert EarlyExit().cuts([0, 1, 2, 3], decode, 8) == []
    assert EarlyExit(opened_by_prompt=True).cuts([0, 1, 2, 3], decode, 8) == [1, 2]
