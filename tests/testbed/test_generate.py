from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch

from leanthink.core.errors import ConfigError
from leanthink.testbed.decoding import Decoder, HFDecoder, LlamaDecoder
from leanthink.testbed.generate import Generation, Sampling, choose, generate, kept_tokens

EOS = 1
DECODERS = [HFDecoder, LlamaDecoder]


def prompts(count: int, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(5, 100) for _ in range(rng.randint(1, 9))] for _ in range(count)]


def sample(model: Any, count: int = 12, seed: int = 0, **given: Any) -> list[Generation]:
    sampling = given.pop("sampling", Sampling(max_new_tokens=20))
    generator = torch.Generator().manual_seed(seed)
    return generate(model, prompts(count), sampling, eos_token_ids=[EOS], generator=generator, **given)


def full_log_probs(model: Any, prompt: list[int], response: list[int], temperature: float) -> torch.Tensor:
    """From one forward pass over the whole, unpadded sequence."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.double() / temperature, dim=-1).gather(1, torch.tensor(response)[:, None])[:, 0]


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_greedy_is_what_transformers_generates(
    request: pytest.FixtureRequest, kind: str, decoder: type[Decoder]
) -> None:
    model = request.getfixturevalue(kind)
    if decoder is LlamaDecoder and kind != "llama":
        assert not LlamaDecoder.supports(model)
        return
    found = sample(model, 5, sampling=Sampling(max_new_tokens=20, temperature=0), decoder=decoder)
    for prompt, generation in zip(prompts(5), found, strict=True):
        ids = torch.tensor([prompt])
        wanted = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20, use_cache=True
        )
        assert generation.token_ids == wanted[0, len(prompt) :].tolist()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_log_probs_are_those_of_a_full_forward_pass(llama: Any, decoder: type[Decoder], temperature: float) -> None:
    sampling = Sampling(max_new_tokens=20, temperature=temperature, top_p=0.9, top_k=30)
    for prompt, generation in zip(prompts(12), sample(llama, sampling=sampling, decoder=decoder), strict=True):
        wanted = full_log_probs(llama, prompt, generation.token_ids, temperature)
        torch.testing.assert_close(torch.tensor(generation.log_probs).double(), wanted, atol=1e-4, rtol=0)


def test_greedy_log_probs_are_at_temperature_one(llama: Any) -> None:
    found = sample(llama, sampling=Sampling(max_new_tokens=20, temperature=0))
    for prompt, generation in zip(prompts(12), found, strict=True):
        wanted = full_log_probs(llama, prompt, generation.token_ids, 1.0)
        torch.testing.assert_close(torch.tensor(generation.log_probs).double(), wanted, atol=1e-4, rtol=0)


def test_both_decoders_agree_on_the_shipped_policy(policy: Any, tokenizer: Any) -> None:
    ids = [tokenizer.encode(f"<user> {a} + 12 - {b} + 3 = <assistant>") for a, b in ((30, 8), (41, 5), (55, 19))]
    assert LlamaDecoder.supports(policy)
    found = [
        generate(
            policy,
            [*ids, ids[0][2:]],
            Sampling(),
            eos_token_ids=[tokenizer.eos_token_id],
            generator=torch.Generator().manual_seed(0),
            decoder=decoder,
        )
        for decoder in DECODERS
    ]
    for one, other in zip(*found, strict=True):
        assert one.token_ids == other.token_ids and one.stop_reason == other.stop_reason
        torch.testing.assert_close(torch.tensor(one.log_probs), torch.tensor(other.log_probs), atol=1e-4, rtol=0)


@pytest.mark.parametrize("decoder", DECODERS)
def test_stop_reasons_and_per_row_limits(llama: Any, decoder: type[Decoder]) -> None:
    settings = [Sampling(max_new_tokens=1 + 3 * row) for row in range(12)]
    found = sample(llama, sampling=settings, decoder=decoder)
    for setting, generation in zip(settings, found, strict=True):
        ids = generation.token_ids
        assert len(ids) == len(generation.log_probs)
        assert EOS not in ids[:-1]
        assert generation.stop_reason == ("stop" if ids[-1] == EOS else "length")
        assert len(ids) <= setting.max_new_tokens
        if generation.stop_reason == "length":
            assert len(ids) == setting.max_new_tokens
    assert {generation.stop_reason for generation in sample(llama, 40)} == {"stop", "length"}


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_row_does_not_depend_on_when_its_neighbours_finish(llama: Any, decoder: type[Decoder]) -> None:
    """With a limit of 20 everywhere, and with short limits on other rows, a row samples the same tokens."""
    free = sample(llama, decoder=decoder)
    short = [Sampling(max_new_tokens=20 if row % 3 == 0 else 1 + row % 4) for row in range(12)]
    limited = sample(llama, sampling=short, decoder=decoder)
    assert [free[row].token_ids for row in range(0, 12, 3)] == [limited[row].token_ids for row in range(0, 12, 3)]


def test_the_same_seed_gives_the_same_responses(llama: Any) -> None:
    assert sample(llama, seed=1) == sample(llama, seed=1)
    assert sample(llama, seed=1) != sample(llama, seed=2)


def test_greedy_and_sampled_rows_share_a_batch(llama: Any) -> None:
    settings = [Sampling(max_new_tokens=20, temperature=float(row % 2)) for row in range(12)]
    greedy = sample(llama, sampling=Sampling(max_new_tokens=20, temperature=0))
    mixed = sample(llama, sampling=settings)
    assert [g.token_ids for g in mixed[::2]] == [g.token_ids for g in greedy[::2]]
    assert [g.token_ids for g in mixed[1::2]] == [g.token_ids for g in sample(llama)[1::2]]


def test_banned_tokens_are_never_sampled_and_the_rest_sums_to_one(llama: Any) -> None:
    banned = list(range(20, 90))
    found = sample(llama, banned_token_ids=banned)
    assert not {token for generation in found for token in generation.token_ids} & set(banned)
    prompt, generation = prompts(12)[0], found[0]
    with torch.no_grad():
        logits = llama(input_ids=torch.tensor([prompt])).logits[0, -1]
    logits[banned] = float("-inf")
    assert generation.log_probs[0] == pytest.approx(
        float(torch.log_softmax(logits, 0)[generation.token_ids[0]]), abs=1e-4
    )


def test_the_model_is_left_as_it_was(llama: Any) -> None:
    llama.train()
    sample(llama, 2)
    assert llama.training
    llama.eval()
    sample(llama, 2)
    assert not llama.training


def test_no_prompts_no_responses(llama: Any) -> None:
    assert generate(llama, [], Sampling(), eos_token_ids=[EOS]) == []


def slow_kept(probs: list[float], top_p: float, top_k: int) -> set[int]:
    order = sorted(range(len(probs)), key=lambda i: -probs[i])
    order = order[:top_k] if top_k > 0 else order
    total, kept, mass = sum(probs[i] for i in order), set(), 0.0
    for i in order:
        if kept and top_p < 1 and mass >= top_p * total:
            break
        kept.add(i)
        mass += probs[i]
    return kept


def test_filters_agree_with_a_slow_loop() -> None:
    torch.manual_seed(0)
    probs = torch.softmax(3 * torch.randn(200, 12), dim=-1).double()
    top_p, top_k = torch.rand(200).double().clamp(min=0.01), torch.randint(-1, 13, (200,))
    top_p[::5] = 1.0
    found = kept_tokens(probs, top_p, top_k)
    for row in range(200):
        wanted = slow_kept(probs[row].tolist(), float(top_p[row]), int(top_k[row]))
        assert set(found[row].nonzero().flatten().tolist()) == wanted


def test_a_mass_that_is_reached_needs_no_further_token() -> None:
    probs = torch.tensor([[0.5, 0.25, 0.25]]).double()
    for top_p, kept in ((0.5, [True, False, False]), (0.75, [True, True, False]), (0.76, [True, True, True])):
        assert kept_tokens(probs, torch.tensor([top_p]).double(), torch.tensor([0])).tolist() == [kept]


def test_choices_follow_the_distribution() -> None:
    logits = torch.tensor([1.0, float("-inf"), 0.0, 2.0, float("-inf")]).expand(40_000, -1)
    uniform = torch.rand(40_000, generator=torch.Generator().manual_seed(0))
    for temperature, top_k, allowed in ((1.0, 0, [0, 2, 3]), (2.0, 0, [0, 2, 3]), (1.0, 2, [0, 3])):
        heat, p, k = torch.full((40_000,), temperature), torch.ones(40_000), torch.full((40_000,), top_k)
        chosen, _ = choose(logits, uniform, heat, p, k)
        counts = Counter(chosen.tolist())
        weights = {i: float(torch.exp(logits[0, i] / temperature)) for i in allowed}
        assert set(counts) == set(allowed)
        for i in allowed:
            assert counts[i] / 40_000 == pytest.approx(weights[i] / sum(weights.values()), abs=0.01)


def test_the_ends_of_the_uniform_never_choose_an_impossible_token() -> None:
    logits = torch.tensor([[float("-inf"), 0.0, 0.0, 0.3, float("-inf")]]).expand(2, -1)
    uniform = torch.tensor([0.0, 1 - 2**-24])
    chosen, log_probs = choose(logits, uniform, torch.ones(2))
    assert chosen.tolist() == [1, 3]
    assert log_probs.isfinite().all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0; use a number at least 1"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_k": -2}, "top_k=-2"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sampling(**given)


def test_bad_calls_are_refused(llama: Any) -> None:
    with pytest.raises(ConfigError, match="1 samplings for 2 prompts"):
        generate(llama, [[5], [6]], [Sampling()], eos_token_ids=[EOS])
    with pytest.raises(ConfigError, match="prompt 1 is empty"):
        generate(llama, [[5], []], Sampling(), eos_token_ids=[EOS])
