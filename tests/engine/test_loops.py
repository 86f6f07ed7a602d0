"""Every agent loop against verl's own vLLM server: what it says of a response is what vLLM says of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from statistics import mean

import pytest
import ray
import torch

from engine_server import (
    CONTEXT,
    EOS,
    OTHER_END,
    PARAMS,
    PROMPT_LIMIT,
    RESPONSE_LIMIT,
    SUMS,
    Engine,
    Sampled,
    config_of,
    running,
)
from leanthink.rewards.mode_switch_reward import MODE
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verl import NAME
from leanthink.verl.rollout.loops import loop_of
from leanthink.verl.rollout.probes import PROBED
from leanthink.verl.rollout.room import context_of
from leanthink.verl.rollout.thinking import THINKING_FIELD

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

TOKENIZER = build_tokenizer()
CLOSE = TOKENIZER.convert_tokens_to_ids("</think>")
ENDLESS = {**PARAMS, "logit_bias": {EOS: -100.0, OTHER_END: -100.0}}
STOP = "stop={{stop_bias: {{bias: {bias}, at_least: {least}}}}}"
ANEW = {"algorithm.rollout_correction.bypass_mode": False}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with running(tmp_path_factory.mktemp("engine")) as one:
        yield one


def agree(sampled: list[Sampled], cut_at_the_marker: int | None = None) -> Counter:
    """Each flag against vLLM's word for the last request, and the layout that the trainer needs."""
    for one in sampled:
        output = one.output
        assert len(output.response_ids) == len(output.response_mask) == len(output.response_logprobs)
        assert len(output.response_ids) <= one.fields["limit"]
        at_marker = len(output.response_ids) == one.fields["limit"] and output.response_ids[-1] == cut_at_the_marker
        assert one.fields["truncated"] == (one.finish == "length" or at_marker), (one.fields, one.finish)
    return Counter(one.finish for one in sampled)


def test_the_limit_is_the_servers_own(engine: Engine):
    _, config = config_of(engine.model, "grpo")
    theirs = ray.get(engine.server.get_rollout_config.remote())
    assert config.actor_rollout_ref.rollout.max_model_len is None
    assert context_of(config) == theirs.max_model_len == CONTEXT


@pytest.mark.parametrize("asked", [None, 1, 8, 12, 40, 300])
def test_truncation_is_what_vllm_says(engine: Engine, asked):
    _, config = config_of(engine.model, "thinkprune")
    fields = {} if asked is None else {"leanthink_limit": asked}
    sampled = engine.sample(config, NAME, n=4, **fields)
    finished = agree(sampled)
    assert len(sampled) == 4 * len(SUMS) and set(finished) <= {"stop", "length"}
    for one in sampled:
        prompt = len(one.output.prompt_ids)
        assert one.fields["limit"] == min(asked or RESPONSE_LIMIT, CONTEXT - prompt)
        if one.finish == "length":
            assert len(one.output.response_ids) == one.fields["limit"]
    if asked in (1, 8):  # a sum takes more
        assert finished["length"] > 0
    if asked in (None, 300):
        assert finished["stop"] > len(sampled) / 2


@pytest.mark.parametrize("asked", [None, 300])
def test_a_response_that_the_context_ends_is_truncated(engine: Engine, asked):
    _, config = config_of(engine.model, "grpo")
    fields = {} if asked is None else {"leanthink_limit": asked}
    sampled = engine.sample(config, NAME, params=ENDLESS, **fields)
    assert agree(sampled) == {"length": len(SUMS)}
    for one in sampled:
        assert len(one.output.prompt_ids) + len(one.output.response_ids) == CONTEXT
        assert one.fields["truncated"] is True and one.fields["limit"] == len(one.output.response_ids)


def test_an_end_token_of_config_json_ends_a_response(engine: Engine):
    """There is no generation_config.json; vLLM then takes both end tokens of config.json, and so do we."""
    _, config = config_of(engine.model, "grpo")
    bias = {**PARAMS, "logit_bias": {OTHER_END: 100.0}}
    sampled = engine.sample(config, NAME, params=bias, leanthink_limit=1)
    assert agree(sampled) == {"stop": len(SUMS)}
    assert {tuple(one.output.response_ids) for one in sampled} == {(OTHER_END,)}


def test_log_probabilities_are_those_of_transformers(engine: Engine):
    from transformers import AutoModelForCausalLM

    _, config = config_of(engine.model, "grpo")
    sampled = engine.sample(config, NAME, n=2)
    model = AutoModelForCausalLM.from_pretrained(engine.model, dtype=torch.float32).eval()
    for one in sampled:
        prompt, response = one.output.prompt_ids, one.output.response_ids
        with torch.no_grad():
            logits_TV = model(torch.tensor([[*prompt, *response]])).logits[0]
        at_T = torch.arange(len(response)) + len(prompt) - 1
        expected_T = logits_TV[at_T].log_softmax(-1)[torch.arange(len(response)), torch.tensor(response)]
        torch.testing.assert_close(torch.tensor(one.output.response_logprobs), expected_T, atol=1e-4, rtol=0)


def probes_of(one: Sampled) -> list:
    return [reply for asked, reply in one.calls if asked["sampling_params"].get("logprobs") is False]


def test_probes(engine: Engine):
    recipe, config = config_of(engine.model, "vsrm_rpp")
    sampled = engine.sample(config, loop_of(recipe), n=4)
    assert sum(len(probes_of(one)) for one in sampled) > 0
    for one in sampled:
        found, replies = one.fields[PROBED], probes_of(one)
        assert found["asked"] == len(replies) and found["unknown"] == 0
        assert found["truncated"] == sum(reply.extra_fields["finish_reason"] == "length" for reply in replies)
        assert found["written_tokens"] == sum(len(reply.token_ids) for reply in replies)
        assert all(reply.log_probs is None for reply in replies)


def test_probes_of_a_long_thinking_find_it_cached_and_end_with_the_context(engine: Engine):
    """They may take 300 tokens, never end by themselves, and the context has 256; thinking fills the limit of 120."""
    tokens = "reward.sum.steps.stepwise_gain.probe_tokens=300"
    recipe, config = config_of(engine.model, "vsrm_rpp", tokens)
    thinking = {**ENDLESS, "logit_bias": {**ENDLESS["logit_bias"], CLOSE: -100.0}}
    sampled = engine.sample(config, loop_of(recipe), n=2, params=thinking, leanthink_limit=120)
    asked = sum(one.fields[PROBED]["asked"] for one in sampled)
    assert asked > 0
    assert sum(one.fields[PROBED]["truncated"] for one in sampled) == asked
    for one in sampled:
        for call, reply in one.calls[1:]:
            assert call["sampling_params"]["max_tokens"] == 300
            assert len(call["prompt_ids"]) + len(reply.token_ids) == CONTEXT
    cached = [reply.extra_fields["num_cached_tokens"] for one in sampled for reply in probes_of(one)]
    assert max(cached) >= 32, "a block of the response's own"


@pytest.mark.parametrize("asked", [None, 6])
def test_serial_exits(engine: Engine, asked):
    recipe, config = config_of(engine.model, "s_grpo", **{"actor_rollout_ref.rollout.n": 5})
    fields = {} if asked is None else {"leanthink_limit": asked}
    sampled = engine.sample(config, loop_of(recipe), n=5, **fields)
    exits = [one for one in sampled if one.fields["exit_order"] < 4]
    assert len(sampled) - len(exits) == len(SUMS) and (exits or asked)
    agree([one for one in sampled if one.calls])
    for one in exits:
        if one.calls:
            assert 0 in one.output.response_mask, "the inducer was not sampled"
        else:  # the limit left no room for an answer
            assert one.fields["truncated"] is True and len(one.output.response_ids) == asked


@pytest.mark.parametrize("asked", [None, 10, 1])
def test_modes(engine: Engine, asked):
    recipe, config = config_of(engine.model, "adaptive_deep")
    n = int(config.actor_rollout_ref.rollout.n)
    fields = {} if asked is None else {"leanthink_limit": asked}
    sampled = engine.sample(config, loop_of(recipe), n=n, **fields)
    assert Counter(one.fields[MODE] for one in sampled) == {1.0: n // 2 * len(SUMS), 0.0: n // 2 * len(SUMS)}
    assert all(one.output.response_mask[0] == 0 for one in sampled)
    if asked == 1:  # the opening fills it, whatever the engine writes behind
        assert all(one.fields["truncated"] and len(one.output.response_ids) == 1 for one in sampled)
    else:
        agree(sampled)


def test_an_instruction_may_make_a_prompt_too_long(engine: Engine):
    told = "reward.mode_switch_reward.long_instruction='1 + 2 + 3 + 4 + 5 + 6'"
    recipe, config = config_of(engine.model, "adaptive_deep", told)
    n = int(config.actor_rollout_ref.rollout.n)
    sampled = engine.sample(config, loop_of(recipe), n=n)
    agree(sampled)
    for one in sampled:
        read = len(one.calls[0][0]["prompt_ids"]) - 1  # but for the opening
        assert one.fields["prompt_cut"] > 0 and read == PROMPT_LIMIT if one.fields[MODE] else read < PROMPT_LIMIT
        assert len(one.output.prompt_ids) < PROMPT_LIMIT
    assert {one.fields["prompt_cut"] for one in sampled if not one.fields[MODE]} == {0}


def test_a_prompt_that_is_too_long_is_cut_and_counted(engine: Engine):
    _, config = config_of(engine.model, "grpo")
    question = " + ".join("1" * 12) + " ="
    whole = len(TOKENIZER.encode(f"<user> {question} <assistant>"))
    (one,) = engine.sample(config, NAME, questions=[question])
    assert len(one.output.prompt_ids) == PROMPT_LIMIT
    assert one.fields["prompt_cut"] == whole - PROMPT_LIMIT > 0
    agree([one])


def test_compression(engine: Engine):
    recipe, config = config_of(engine.model, "lc_r1")
    sampled = engine.sample(config, loop_of(recipe), n=2)
    agree(sampled)
    kept = [(one.fields["kept_thinking_tokens"], one.fields["thinking_tokens"]) for one in sampled]
    assert all(left <= all_ for left, all_ in kept) and any(left < all_ for left, all_ in kept)
    for one in sampled:
        written = len(one.calls[-1][1].token_ids)
        assert (
            written - len(one.output.response_ids) == one.fields["thinking_tokens"] - one.fields["kept_thinking_tokens"]
        )


def thinking(one: Sampled) -> int:
    ids = one.output.response_ids
    return ids.index(CLOSE) + 1 if CLOSE in ids else len(ids)


def test_a_stop_bias_ends_thinking_sooner(engine: Engine):
    means = []
    for bias in (0.0, 3.0, 8.0):
        recipe, config = config_of(engine.model, "grpo", STOP.format(bias=bias, least=4), **ANEW)
        sampled = engine.sample(config, loop_of(recipe), n=6)
        agree(sampled, cut_at_the_marker=CLOSE)
        assert all(1 <= len(one.calls) <= 3 for one in sampled)
        means.append(mean(map(thinking, sampled)))
    assert means[0] > means[1] + 1 > means[2] + 1, means


@pytest.mark.parametrize("asked", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("least", [0, 4])
def test_a_stop_bias_keeps_to_the_limit(engine: Engine, asked, least):
    recipe, config = config_of(engine.model, "grpo", STOP.format(bias=8.0, least=least), **ANEW)
    sampled = engine.sample(config, loop_of(recipe), n=2, leanthink_limit=asked)
    agree(sampled, cut_at_the_marker=CLOSE)
    assert all(len(one.output.response_ids) <= asked for one in sampled)


@pytest.mark.parametrize("budget", [1, 4, 10, 200])
def test_a_budget_of_thinking_holds_to_the_token(engine: Engine, budget):
    limit = f"limit={{thinking: {{at_most: {budget}, answer: 6, closing: </think>}}}}"
    recipe, config = config_of(engine.model, "grpo", limit)
    sampled = engine.sample(config, loop_of(recipe), n=4, **{THINKING_FIELD: budget})
    agree(sampled)
    forced = [one for one in sampled if one.fields["forced"]]
    assert len(forced) == len(sampled) if budget == 1 else len(forced) < len(sampled) if budget == 200 else forced
    for one in sampled:
        ids, mask = one.output.response_ids, one.output.response_mask
        assert thinking(one) <= budget + int(one.fields["forced"])
        if one.fields["forced"]:
            assert ids[budget] == CLOSE and mask.count(0) == 1 and mask[budget] == 0
            assert one.output.response_logprobs[budget] == 0.0 and len(ids) <= budget + 1 + 6
        else:
            assert 0 not in mask


async def _all_but(engine: Engine, config, resuming: bool, then) -> list:
    """Sessions that never end by themselves, with something done to the server while they run."""
    before = await engine.server.begun.remote()
    running = asyncio.ensure_future(engine.sessions(config, NAME, n=4, params=ENDLESS, resuming=resuming))
    while await engine.server.begun.remote() < before + 4 * len(SUMS):
        assert not running.done()
        await asyncio.sleep(0.01)
    assert not running.done()
    await then(running)
    return await running


@pytest.mark.parametrize("resuming", [False, True])
def test_interrupted_requests(engine: Engine, resuming):
    """verl interrupts requests for new weights; its async client goes on with them, and its other one does not."""
    _, config = config_of(engine.model, "grpo")

    async def interrupt(_) -> None:
        await engine.server.abort_all_requests.remote()
        await asyncio.sleep(0.5)
        await engine.server.resume_generation.remote()

    sampled = asyncio.run(_all_but(engine, config, resuming, interrupt))
    assert not [one for one in sampled if isinstance(one, BaseException)]
    assert all(one.fields["truncated"] for one in sampled)
    whole = [len(one.output.prompt_ids) + len(one.output.response_ids) == CONTEXT for one in sampled]
    assert all(whole) if resuming else not all(whole)


def test_cancelled_requests_leave_the_server_well(engine: Engine):
    _, config = config_of(engine.model, "grpo")

    async def cancel(running) -> None:
        running.cancel()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_all_but(engine, config, False, cancel))
    agree(engine.sample(config, NAME, n=2))


def test_a_server_that_dies_fails_its_responses(engine: Engine):
    """The last test: no response of a dead server is taken for one."""
    _, config = config_of(engine.model, "grpo")

    async def die(_) -> None:
        ray.kill(engine.server)

    done = asyncio.run(_all_but(engine, config, False, die))
    assert len(done) == 4 * len(SUMS)
    assert all(isinstance(one, ray.exceptions.RayActorError) for one in done), done[0]
