from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from leanthink.core.errors import ConfigError
from leanthink.verl.cpu import server as module
from leanthink.verl.cpu.reply import Reply
from leanthink.verl.cpu.server import GenerationError, GenerationServer, ServerConfig, load_weights, seed_of

FREE = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True, "ignore_eos": True}


@pytest.fixture
def config(llama: str) -> ServerConfig:
    return ServerConfig(model_path=llama, prompt_length=8, response_length=10, gather_pause=0.02)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are sampled."""
    sizes: list[int] = []

    def counted(model, requests, **options):
        sizes.append(len(requests))
        return original(model, requests, **options)

    original = module.sample
    monkeypatch.setattr(module, "sample", counted)
    return sizes


async def ask(server: GenerationServer, prompts: list[list[int]], **params) -> list[Reply]:
    calls = [server.generate(prompt, {**FREE, **params}, request_id=str(i)) for i, prompt in enumerate(prompts)]
    return await asyncio.gather(*calls)


def test_requests_that_come_together_are_one_batch(config: ServerConfig, batches: list[int]) -> None:
    async def main() -> list[Reply]:
        server = GenerationServer(config)
        return await ask(server, [[5, 6, 7]] * 50)

    replies = asyncio.run(main())
    assert batches == [50]
    assert all(len(reply.token_ids) == len(reply.log_probs) == 10 for reply in replies)
    assert {reply.stop_reason for reply in replies} == {"completed"}
    assert {reply.extra_fields["finish_reason"] for reply in replies} == {"length"}


def test_requests_that_trickle_in_are_one_batch(config: ServerConfig, batches: list[int]) -> None:
    async def main() -> None:
        server = GenerationServer(replace(config, gather_pause=0.5))
        calls = []
        for i in range(10):
            calls.append(asyncio.create_task(server.generate([5], FREE, str(i))))
            await asyncio.sleep(0.01)
        await asyncio.gather(*calls)

    asyncio.run(main())
    assert batches == [10]


def test_a_batch_waits_no_longer_than_its_limit(config: ServerConfig, batches: list[int]) -> None:
    async def main() -> None:
        server = GenerationServer(replace(config, gather_pause=5.0, gather_limit=0.1))
        await asyncio.wait_for(server.generate([5], FREE, "0"), 4)

    asyncio.run(main())
    assert batches == [1]


def test_a_step_is_expected_to_ask_for_as_much_as_the_last(config: ServerConfig, batches: list[int]) -> None:
    async def step(server: GenerationServer, count: int, gap: float) -> None:
        calls = []
        for i in range(count):
            calls.append(asyncio.create_task(server.generate([5], FREE, str(i))))
            await asyncio.sleep(gap)
        await asyncio.gather(*calls)

    async def main() -> float:
        server = GenerationServer(replace(config, gather_pause=0.05, gather_patience=30.0, gather_limit=60.0))
        weights = {name: tensor.clone().numpy() for name, tensor in server._targets.items()}
        await step(server, 5, 0.0)
        await server.load_weights(weights, 1)
        start = asyncio.get_running_loop().time()
        await step(server, 5, 0.1)  # slower than the pause, yet one batch, and no patience is spent after the fifth
        return asyncio.get_running_loop().time() - start

    assert asyncio.run(main()) < 20
    assert batches == [5, 5]


def test_a_batch_is_no_larger_than_the_configuration_says(config: ServerConfig, batches: list[int]) -> None:
    async def main() -> None:
        await ask(GenerationServer(replace(config, max_num_seqs=4)), [[5]] * 10)

    asyncio.run(main())
    assert batches == [4, 4, 2]


def test_every_request_has_its_own_limit(config: ServerConfig) -> None:
    async def main() -> list[int]:
        server = GenerationServer(config)
        replies = await asyncio.gather(
            server.generate([5], {**FREE, "max_tokens": 3}, "a"),
            server.generate([5], {**FREE, "max_new_tokens": 7}, "b"),
            server.generate([5], FREE, "c"),  # the configured response length
            server.generate([5] * 12, FREE, "d"),  # what the prompt leaves of prompt and response length
            server.generate([5] * 60, {**FREE, "max_tokens": 99}, "e"),  # what it leaves of the model's 64
        )
        return [len(reply.token_ids) for reply in replies]

    assert asyncio.run(main()) == [3, 7, 10, 6, 4]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stop": ["x"]}, "stop=.* is not supported; did you mean 'top_"),
        ({"repetition_penalty": 1.2}, "repetition_penalty=1.2 is not supported"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_p": 0.0}, "top_p=0.0"),
    ],
)
def test_what_is_not_supported_is_refused(config: ServerConfig, params: dict, message: str) -> None:
    async def main() -> None:
        await ask(GenerationServer(config), [[5]], **params)

    with pytest.raises(ConfigError, match=message):
        asyncio.run(main())


def test_a_prompt_without_room_is_refused(config: ServerConfig) -> None:
    async def main() -> None:
        await ask(GenerationServer(config), [[5] * 64])

    with pytest.raises(ConfigError, match="a prompt of 64 tokens; it must have 1 to 63"):
        asyncio.run(main())


def test_images_are_refused(config: ServerConfig) -> None:
    async def main() -> None:
        await GenerationServer(config).generate([5], FREE, "a", image_data=[object()])

    with pytest.raises(ConfigError, match="text only"):
        asyncio.run(main())


def test_a_failing_batch_fails_every_request_and_the_next_is_served(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args, **options):
        raise MemoryError("no room")

    async def main() -> list[Reply | BaseException]:
        server = GenerationServer(config)
        with monkeypatch.context() as patch:
            patch.setattr(module, "sample", broken)
            calls = [server.generate([5], FREE, str(i)) for i in range(3)]
            failed = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
        return [*failed, *await ask(server, [[5]])]

    *failed, served = asyncio.run(main())
    assert all(isinstance(error, GenerationError) and "no room" in str(error) for error in failed)
    assert isinstance(served, Reply)
    pickle.loads(pickle.dumps(failed[0]))  # Ray carries it to the caller


def test_the_same_requests_give_the_same_responses_in_any_order(config: ServerConfig) -> None:
    prompts = [[5], [5], [6, 7], [8], [5]]

    async def main(order: list[int], seed: int = 0) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        replies = await ask(GenerationServer(replace(config, seed=seed)), [prompts[i] for i in order])
        return sorted((tuple(prompts[i]), tuple(reply.token_ids)) for i, reply in zip(order, replies, strict=True))

    first = asyncio.run(main([0, 1, 2, 3, 4]))
    assert asyncio.run(main([4, 2, 1, 0, 3])) == first
    assert asyncio.run(main([0, 1, 2, 3, 4], seed=1)) != first
    assert len({tokens for prompt, tokens in first if prompt == (5,)}) == 3


def test_a_requests_own_seed_changes_its_draw(config: ServerConfig) -> None:
    async def main(seed: int | None) -> list[int]:
        return (await ask(GenerationServer(config), [[5, 6, 7]], seed=seed))[0].token_ids

    plain = asyncio.run(main(None))
    assert plain == asyncio.run(main(0)) != asyncio.run(main(1))


def test_seeds_differ_where_the_draw_should() -> None:
    seeds = {seed_of(*key, [1, 2]) for key in [(0, 0, 0, 1), (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 2)]}
    assert len(seeds | {seed_of(0, 0, 0, 1, [1, 3])}) == 6
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_new_weights_change_responses_and_their_version(config: ServerConfig) -> None:
    async def main() -> tuple[Reply, Reply, Reply]:
        server = GenerationServer(config)
        (before,) = await ask(server, [[5, 6]], temperature=0.0)
        old = {name: tensor.clone().numpy() for name, tensor in server._targets.items()}
        await server.load_weights({name: -value for name, value in old.items()}, 7)
        (after,) = await ask(server, [[5, 6]], temperature=0.0)
        await server.load_weights(old, 8)
        (again,) = await ask(server, [[5, 6]], temperature=0.0)
        return before, after, again

    before, after, again = asyncio.run(main())
    assert [reply.extra_fields["global_steps"] for reply in (before, after, again)] == [0, 7, 8]
    assert before.token_ids == again.token_ids != after.token_ids


def test_weights_wait_for_the_batch_that_uses_the_old_ones(config: ServerConfig) -> None:
    async def main() -> Reply:
        server = GenerationServer(replace(config, gather_pause=0.0))
        call = asyncio.create_task(server.generate([5], FREE, "a"))
        while server._idle.is_set():
            await asyncio.sleep(0)
        await server.load_weights({name: tensor.numpy() for name, tensor in server._targets.items()}, 3)
        return await call

    assert asyncio.run(main()).extra_fields["global_steps"] == 0


def test_an_abort_answers_at_once_and_holds_what_comes_after(config: ServerConfig) -> None:
    async def main() -> tuple[Reply, Reply, Reply, bool]:
        server = GenerationServer(replace(config, response_length=50, gather_pause=0.0))
        running = asyncio.create_task(server.generate([5], FREE, "a"))
        while server._idle.is_set():
            await asyncio.sleep(0)
        queued = asyncio.create_task(server.generate([6], FREE, "b"))
        await asyncio.sleep(0)
        await server.abort_all_requests()
        first, second = await asyncio.wait_for(asyncio.gather(running, queued), 10)
        later = asyncio.create_task(server.generate([7], {**FREE, "max_tokens": 2}, "c"))
        await asyncio.sleep(0.05)
        held = not later.done()
        await server.resume_generation()
        return first, second, await asyncio.wait_for(later, 10), held

    first, second, later, held = asyncio.run(main())
    assert first.stop_reason == second.stop_reason == "aborted"
    assert len(first.token_ids) < 50
    assert second.token_ids == []
    assert held
    assert (later.stop_reason, len(later.token_ids)) == ("completed", 2)


def test_a_rejecting_server_answers_aborted(config: ServerConfig) -> None:
    async def main() -> Reply:
        server = GenerationServer(config)
        await server.abort_all_requests(reject_request=True)
        return await asyncio.wait_for(server.generate([5], FREE, "a"), 5)

    assert asyncio.run(main()).stop_reason == "aborted"


def test_weights_are_copied_in_place() -> None:
    shared = torch.zeros(2, 2)
    targets = {"a": shared, "head": shared, "b": torch.zeros(3)}
    load_weights(targets, {"a": np.ones((2, 2), np.float32), "b": np.full(3, 2.0, np.float32)})
    assert targets["head"].tolist() == [[1, 1], [1, 1]]
    assert targets["b"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_weights_of_another_model_are_refused(names: list[str]) -> None:
    targets = {"a": torch.zeros(2), "b": torch.zeros(2)}
    with pytest.raises(GenerationError, match="do not fit the model"):
        load_weights(targets, {name: np.ones(2, np.float32) for name in names})


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        load_weights({"a": torch.zeros(2)}, {"a": np.ones(3, np.float32)})


def test_a_reply_becomes_verls_own_type() -> None:
    replica = pytest.importorskip("verl.workers.rollout.replica")
    reply = Reply(token_ids=[1, 2], log_probs=[-0.5, -1.0], stop_reason="completed", extra_fields={"global_steps": 3})
    output = pickle.loads(pickle.dumps(reply))
    assert isinstance(output, replica.TokenOutput)
    assert (output.token_ids, output.log_probs, output.num_preempted) == ([1, 2], [-0.5, -1.0], 0)
    output.extra_fields.setdefault("min_global_steps", 3)  # as verl's client does


def test_requests_of_one_call_are_one_batch_and_fail_one_by_one(config: ServerConfig, batches: list[int]) -> None:
    async def main() -> list[Reply | BaseException]:
        asked = [{"prompt_ids": ids, "sampling_params": FREE, "request_id": str(i)} for i, ids in enumerate(([5], [6]))]
        wrong = {"prompt_ids": [5], "sampling_params": {"tempreature": 1.0}, "request_id": "w"}
        return await GenerationServer(config).generate_all([asked[0], wrong, asked[1]])

    first, failed, second = asyncio.run(main())
    assert batches == [2] and isinstance(first, Reply) and isinstance(second, Reply)
    assert isinstance(failed, ConfigError) and "did you mean 'temperature'" in str(failed)
