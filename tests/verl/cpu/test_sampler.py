from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from leanthink.testbed.generate import Sampling
from leanthink.verl.cpu import sampler
from leanthink.verl.cpu.sampler import Completion, Request, sample
from leanthink.verl.cpu.server import ServerConfig, load_model

EOS = 1


def load(path: str):
    model, _ = load_model(ServerConfig(model_path=path, prompt_length=16, response_length=16))
    return model


def requests(count: int = 12, **options) -> list[Request]:
    return [
        Request(
            prompt_ids=[5 + i % 7] * (1 + i % 5),
            sampling=Sampling(max_new_tokens=4 + i % 9, temperature=0.5 + 0.25 * (i % 4), **options),
            seed=i,
            stop_ids=frozenset({EOS, 6, 7}),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("name", ["llama", "qwen"])
def test_log_probs_are_those_of_one_pass_over_the_whole_text(name: str, request: pytest.FixtureRequest) -> None:
    model = load(request.getfixturevalue(name))
    asked = requests()
    done = dict(sample(model, asked))
    assert sorted(done) == list(range(len(asked)))
    for index, answer in done.items():
        prompt, tokens = list(asked[index].prompt_ids), answer.token_ids
        with torch.no_grad():
            logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        scaled = logits / asked[index].sampling.temperature
        expected = scaled.log_softmax(-1)[torch.arange(len(tokens)), tokens]
        torch.testing.assert_close(torch.tensor(answer.log_probs), expected, atol=1e-4, rtol=1e-4)


def test_a_response_does_not_depend_on_its_batch(llama: str) -> None:
    model = load(llama)
    asked = requests()
    together = dict(sample(model, asked))
    alone = {index: dict(sample(model, [one]))[0] for index, one in enumerate(asked)}
    assert {i: a.token_ids for i, a in together.items()} == {i: a.token_ids for i, a in alone.items()}


@pytest.mark.parametrize("name", ["llama", "qwen"])
def test_shared_prompts_and_batches_of_like_length_change_no_response(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As probes come: long prompts of many lengths, each asked several times, beside requests that write more."""
    monkeypatch.setattr(sampler, "READ_PROMPTS", 4)
    model = load(request.getfixturevalue(name))
    long = [
        Request(prompt_ids=[5 + i % 7, *range(8, 20 + i)], sampling=Sampling(max_new_tokens=3), seed=9 * i + n)
        for n in range(3)
        for i in range(11)
    ]
    asked = [*requests(), *long, *requests(3)]
    batches = list(sampler._batches(asked))
    assert sorted(index for batch in batches for index in batch) == list(range(len(asked)))
    assert [len({tuple(asked[i].prompt_ids) for i in batch}) for batch in batches[1:]] == [
        4,
        4,
        4,
    ]  # one of the others reads more, too
    together = dict(sample(model, asked))
    for index, one in enumerate(asked):
        alone = dict(sample(model, [one]))[0]
        assert together[index].token_ids == alone.token_ids
        assert together[index].log_probs == pytest.approx(alone.log_probs, abs=1e-4)


def test_seeds_tell_equal_requests_apart(llama: str) -> None:
    model = load(llama)
    asked = [Request(prompt_ids=[5], sampling=Sampling(max_new_tokens=12), seed=i) for i in range(8)]
    assert len({tuple(answer.token_ids) for _, answer in sample(model, asked)}) > 1
    same = [Request(prompt_ids=[5], sampling=Sampling(max_new_tokens=12), seed=3) for _ in range(3)]
    assert len({tuple(answer.token_ids) for _, answer in sample(model, same)}) == 1


def test_a_response_ends_at_a_stop_token_or_at_its_limit(llama: str) -> None:
    asked = requests(40)
    reasons = set()
    for index, answer in sample(load(llama), asked):
        stop_ids, limit = asked[index].stop_ids, asked[index].sampling.max_new_tokens
        assert not stop_ids & set(answer.token_ids[:-1])
        assert len(answer.token_ids) == len(answer.log_probs) <= limit
        assert answer.finish_reason == ("stop" if answer.token_ids[-1] in stop_ids else "length")
        assert answer.finish_reason == "stop" or len(answer.token_ids) == limit
        reasons.add(answer.finish_reason)
    assert reasons == {"stop", "length"}


def test_an_end_at_the_very_limit_is_an_end(llama: str) -> None:
    model = load(llama)
    every = frozenset(range(model.config.vocab_size))
    asked = [
        Request(prompt_ids=[5, 9], sampling=Sampling(max_new_tokens=1), seed=1, stop_ids=ids)
        for ids in (every, frozenset())
    ]
    assert [answer.finish_reason for _, answer in sorted(sample(model, asked))] == ["stop", "length"]


def test_greedy_takes_the_likeliest_token(llama: str) -> None:
    model = load(llama)
    asked = [Request(prompt_ids=[5, 9], sampling=Sampling(max_new_tokens=6, temperature=0.0), seed=s) for s in (1, 2)]
    first, second = (answer for _, answer in sample(model, asked))
    assert first.token_ids == second.token_ids
    text = [5, 9]
    for token in first.token_ids:
        with torch.no_grad():
            assert int(model(torch.tensor([text])).logits[0, -1].argmax()) == token
        text.append(token)


def test_top_k_of_one_is_greedy_and_leaves_its_neighbours_alone(llama: str) -> None:
    model = load(llama)
    filtered = Request(prompt_ids=[5, 9], sampling=Sampling(max_new_tokens=6, top_k=1), seed=1)
    greedy = Request(prompt_ids=[5, 9], sampling=Sampling(max_new_tokens=6, temperature=0.0))
    free = Request(prompt_ids=[5, 9], sampling=Sampling(max_new_tokens=6), seed=2)
    done = dict(sample(model, [filtered, greedy, free]))
    assert done[0].token_ids == done[1].token_ids
    assert done[2].token_ids == dict(sample(model, [free]))[0].token_ids


def test_answers_come_as_they_end(llama: str) -> None:
    asked = [Request(prompt_ids=[5], sampling=Sampling(max_new_tokens=n), seed=n) for n in (9, 1, 5)]
    assert [index for index, _ in sample(load(llama), asked)] == [1, 2, 0]


def test_an_abort_ends_what_is_left(llama: str) -> None:
    asked = [Request(prompt_ids=[5], sampling=Sampling(max_new_tokens=n), seed=n) for n in (2, 20, 20)]
    done: dict[int, Completion] = {}
    for index, answer in sample(load(llama), asked, aborted=lambda: 0 in done):
        done[index] = answer
    assert [done[i].finish_reason for i in range(3)] == ["length", "aborted", "aborted"]
    assert len(done[1].token_ids) == len(done[1].log_probs) == 3


def test_a_bias_shifts_the_rows_that_have_one(llama: str) -> None:
    model = load(llama)
    plain = requests()
    biased = [replace(one, logit_bias={9: 100.0}) if index % 2 else one for index, one in enumerate(plain)]
    before, after = dict(sample(model, plain)), dict(sample(model, biased))
    for index, one in enumerate(biased):
        if index % 2:
            assert after[index].token_ids == [9] * one.sampling.max_new_tokens
            assert after[index].log_probs == pytest.approx([0.0] * one.sampling.max_new_tokens, abs=1e-4)
        else:
            assert after[index].token_ids == before[index].token_ids
