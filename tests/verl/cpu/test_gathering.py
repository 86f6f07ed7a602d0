"""What comes within a moment travels together, in its order, and each asker gets its own answer or its own error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from leanthink.core.errors import DependencyError
from leanthink.verl.cpu import gathering
from leanthink.verl.cpu.gathering import Gathered, GatheringClient, GatheringQueue, gather_puts


class Recorder:
    """Hands on by noting what came; answers each item with its double, and what is negative with an error."""

    def __init__(self) -> None:
        self.came: list[list[int]] = []
        self.held: dict[int, asyncio.Event] = {}

    async def __call__(self, items: Sequence[int]) -> list[int | BaseException]:
        self.came.append(list(items))
        for item in items:
            if item in self.held:
                await self.held[item].wait()
        return [2 * item if item >= 0 else ValueError(f"no {item}") for item in items]


async def outcomes(*asked: Awaitable[Any]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)


def test_what_comes_within_a_moment_is_handed_on_once_in_order() -> None:
    async def main() -> tuple[list[Any], list[list[int]]]:
        recorder = Recorder()
        gathered = Gathered(recorder)

        async def late(item: int, after: float) -> int:
            await asyncio.sleep(after)
            return await gathered.ask(item)

        return await outcomes(*(late(item, 0.002 * item) for item in range(5))), recorder.came

    assert asyncio.run(main()) == ([0, 2, 4, 6, 8], [[0, 1, 2, 3, 4]])


def test_an_error_among_the_answers_is_raised_to_its_asker_alone() -> None:
    async def main() -> list[Any]:
        gathered = Gathered(Recorder())
        return await outcomes(*map(gathered.ask, (3, -1, 4)))

    first, second, third = asyncio.run(main())
    assert (first, third) == (6, 8) and isinstance(second, ValueError) and str(second) == "no -1"


def test_an_error_of_the_whole_is_raised_to_all_and_the_next_goes_out_again() -> None:
    async def main() -> tuple[list[Any], int]:
        broken = [True]

        async def hand_on(items: Sequence[int]) -> Sequence[int]:
            if broken.pop() if broken else False:
                raise OSError("gone")
            return items

        gathered: Gathered[int, int] = Gathered(hand_on)
        return await outcomes(gathered.ask(1), gathered.ask(2)), await gathered.ask(3)

    failed, later = asyncio.run(main())
    assert [repr(error) for error in failed] == ["OSError('gone')"] * 2 and later == 3


def test_too_few_answers_fail_instead_of_waiting_for_ever() -> None:
    async def main() -> list[Any]:
        async def hand_on(items: Sequence[int]) -> Sequence[int]:
            return items[1:]

        gathered: Gathered[int, int] = Gathered(hand_on)
        return await outcomes(gathered.ask(1), gathered.ask(2))

    assert all(isinstance(error, ValueError) for error in asyncio.run(main()))


def test_whoever_no_longer_waits_takes_nothing_from_the_others() -> None:
    async def main() -> tuple[list[Any], bool]:
        gathered = Gathered(Recorder())
        given_up, waiting = (asyncio.create_task(gathered.ask(item)) for item in (1, 2))
        await asyncio.sleep(0)
        given_up.cancel()
        return await outcomes(waiting), given_up.cancelled()

    assert asyncio.run(main()) == ([4], True)


def test_what_comes_later_does_not_wait_for_the_answers_to_what_came_before() -> None:
    async def main() -> tuple[list[int], list[list[int]]]:
        recorder = Recorder()
        recorder.held[1] = asyncio.Event()
        gathered = Gathered(recorder)
        slow = asyncio.create_task(gathered.ask(1))
        while not recorder.came:
            await asyncio.sleep(0.001)
        answers = [await asyncio.wait_for(gathered.ask(2), 10)]
        recorder.held[1].set()
        return [*answers, await slow], recorder.came

    assert asyncio.run(main()) == ([4, 2], [[1], [2]])


def test_the_first_waits_no_longer_than_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PATIENCE", 0.05)

    async def main() -> list[list[int]]:
        recorder = Recorder()
        gathered = Gathered(recorder)
        first = asyncio.create_task(gathered.ask(0))
        rest = []
        while not first.done():  # another one in every moment: without patience it would never go out
            rest.append(asyncio.create_task(gathered.ask(len(rest) + 1)))
            await asyncio.sleep(gathering.MOMENT / 4)
        await outcomes(*rest)
        return recorder.came

    came = asyncio.run(main())
    assert came[0][0] == 0 and [item for items in came for item in items] == list(range(sum(map(len, came))))


class Servers:
    """A client of verl's with servers of ours behind it."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []
        self.released: list[tuple[str, str | None]] = []
        self.config = "verl's"

    async def _acquire_server(self, request_id: str, **asked: Any) -> tuple[str, Any]:
        assert asked["prompt_ids"] is not None
        server = SimpleNamespace(generate_all=SimpleNamespace(remote=self._generate_all))
        return f"server of {request_id}", server

    def _release_server(self, server_id: str, request_id: str | None = None) -> None:
        self.released.append((server_id, request_id))

    async def _generate_all(self, asked: Sequence[dict[str, Any]]) -> list[Any]:
        self.asked.append(list(asked))
        if any(one["prompt_ids"] == [0] for one in asked):
            raise OSError("the server is gone")
        return [
            SimpleNamespace(token_ids=one["prompt_ids"], extra_fields={"global_steps": 7})
            if one["prompt_ids"]
            else ValueError("no prompt")
            for one in asked
        ]


def test_requests_are_shared_among_the_servers_and_answered_one_by_one() -> None:
    async def main() -> tuple[list[Any], Servers]:
        servers = Servers()
        client = GatheringClient(servers, 2)
        assert client.config == "verl's"
        prompts = ([1], [], [3], [4], [5])
        asked = (client.generate(f"r{i}", prompt_ids=ids, sampling_params={}) for i, ids in enumerate(prompts))
        return await outcomes(*asked), servers

    answers, servers = asyncio.run(main())
    assert [len(asked) for asked in servers.asked] == [3, 2]
    assert servers.asked[0][2] == {"request_id": "r2", "prompt_ids": [3], "sampling_params": {}}
    assert sorted(servers.released) == [("server of r0", "r0"), ("server of r3", "r3")]
    assert isinstance(answers.pop(1), ValueError)
    assert [answer.token_ids for answer in answers] == [[1], [3], [4], [5]]
    steps = {"global_steps": 7, "min_global_steps": 7, "max_global_steps": 7}
    assert all(answer.extra_fields == steps for answer in answers)


def test_a_server_that_is_gone_is_released_and_told_to_all_whom_it_was_to_answer() -> None:
    async def main() -> tuple[list[Any], Servers]:
        servers = Servers()
        client = GatheringClient(servers, 2)
        asked = (client.generate(f"r{i}", prompt_ids=[i], sampling_params={}) for i in range(4))
        return await outcomes(*asked), servers

    answers, servers = asyncio.run(main())
    assert [repr(answer) for answer in answers[:2]] == ["OSError('the server is gone')"] * 2
    assert [answer.token_ids for answer in answers[2:]] == [[2], [3]]
    assert sorted(servers.released) == [("server of r0", "r0"), ("server of r2", "r2")]


class Queue:
    """Notes the puts; one that names a key "bad" fails."""

    def __init__(self) -> None:
        self.puts: list[dict[str, Any]] = []

    async def async_kv_put(self, key: str, partition_id: str, tag: Any = None) -> None:
        raise AssertionError("a put of its own")

    async def async_kv_batch_put(self, keys: Any, partition_id: str, fields: Any = None, tags: Any = None) -> None:
        self.puts.append({"keys": keys, "partition_id": partition_id, "fields": fields, "tags": tags})
        if "bad" in keys:
            raise OSError("the queue is full")

    async def async_kv_list(self) -> str:
        return "verl's"


def stacked(fields: list[Any]) -> tuple[str, list[Any]]:
    return "stacked", fields


def put_all(queue: GatheringQueue, key: str, partition: str = "train", **field: int) -> Awaitable[None]:
    return queue.async_kv_batch_put(keys=[key], partition_id=partition, fields=[field], tags=[{"of": key}])


def test_puts_of_the_same_fields_and_partition_are_one() -> None:
    async def main() -> list[dict[str, Any]]:
        inner = Queue()
        queue = GatheringQueue(inner, stacked)
        assert await queue.async_kv_list() == "verl's"
        two = [{"x": 5}, {"x": 6}]
        told = await outcomes(
            put_all(queue, "a", x=1),
            queue.async_kv_put(key="p", partition_id="train", tag={"status": "running"}),
            put_all(queue, "b", x=2),
            put_all(queue, "c", x=3, y=4),
            put_all(queue, "v", "val", x=7),
            queue.async_kv_batch_put(keys=["d", "e"], partition_id="train", fields=two, tags=[{}, {"of": "e"}]),
            queue.async_kv_put(key="q", partition_id="train", tag={"status": "running"}),
        )
        assert told == [None] * 7
        return inner.puts

    running = {"status": "running"}
    assert asyncio.run(main()) == [
        {
            "keys": ["a", "b", "d", "e"],
            "partition_id": "train",
            "fields": ("stacked", [{"x": 1}, {"x": 2}, {"x": 5}, {"x": 6}]),
            "tags": [{"of": "a"}, {"of": "b"}, {}, {"of": "e"}],
        },
        {"keys": ["p", "q"], "partition_id": "train", "fields": None, "tags": [running, running]},
        {"keys": ["c"], "partition_id": "train", "fields": ("stacked", [{"x": 3, "y": 4}]), "tags": [{"of": "c"}]},
        {"keys": ["v"], "partition_id": "val", "fields": ("stacked", [{"x": 7}]), "tags": [{"of": "v"}]},
    ]


def test_a_put_that_fails_is_told_to_those_who_were_in_it() -> None:
    async def main() -> list[Any]:
        queue = GatheringQueue(Queue(), stacked)
        return await outcomes(put_all(queue, "bad", x=1), put_all(queue, "a", x=1), put_all(queue, "b", y=1))

    first, second, third = asyncio.run(main())
    assert isinstance(first, OSError) and isinstance(second, OSError) and third is None


def worker_of(**names: Any) -> type[Any]:
    """A class whose method knows these names, as one that was sent by value does."""
    known: dict[str, Any] = dict(names)
    exec("async def _agent_loop_postprocess(self): return tq, list_of_dict_to_tensordict", known)
    return type("Worker", (), {"_agent_loop_postprocess": known["_agent_loop_postprocess"]})


def test_a_worker_puts_through_the_gatherer_however_often_it_is_told() -> None:
    def list_of_dict_to_tensordict(list_of_dicts: list[Any]) -> Any:
        return stacked(list_of_dicts)

    inner = Queue()
    worker = worker_of(tq=inner, list_of_dict_to_tensordict=list_of_dict_to_tensordict)
    gather_puts(worker)
    gather_puts(worker)
    queue, made = asyncio.run(worker()._agent_loop_postprocess())
    assert isinstance(queue, GatheringQueue) and made([{"x": 1}]) == [{"x": 1}]
    asyncio.run(put_all(queue, "a", x=1))
    assert inner.puts[0]["fields"] == ("stacked", [{"x": 1}])


def _takes_nothing() -> None: ...


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ({}, r"transfer_queue\.async_kv_put"),
        ({"tq": Queue()}, "list_of_dict_to_tensordict"),
        ({"tq": SimpleNamespace(async_kv_put=Queue().async_kv_put)}, r"transfer_queue\.async_kv_batch_put"),
        ({"tq": Queue(), "list_of_dict_to_tensordict": _takes_nothing}, "list_of_dicts"),
    ],
)
def test_another_verl_is_refused(names: dict[str, Any], missing: str) -> None:
    with pytest.raises(DependencyError, match=missing):
        gather_puts(worker_of(**names))


def test_verls_own_worker_is_as_it_is_taken_to_be() -> None:
    pytest.importorskip("verl")
    from leanthink.verl.cpu.agents import CpuAgentLoopWorker

    method: Callable[..., Any] = CpuAgentLoopWorker._agent_loop_postprocess
    before = {name: method.__globals__[name] for name in ("tq", "list_of_dict_to_tensordict")}
    try:
        gather_puts(CpuAgentLoopWorker)
        assert isinstance(method.__globals__["tq"], GatheringQueue)
    finally:
        method.__globals__.update(before)
