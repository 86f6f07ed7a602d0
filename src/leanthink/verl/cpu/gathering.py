"""Few large messages between processes in place of many small ones.

With a small model a step's time goes into messages, not into arithmetic: for each response verl asks a balancer for a
server, sends one call, and puts the outcome into its queue with four more. What comes within a moment travels together
here, by the same functions of verl and in the same order.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from leanthink.verl.cpu.compat import require_parameters

MOMENT: Final = 0.01
"""Seconds without another item after which those that wait are handed on."""

PATIENCE: Final = 0.5
"""Seconds that the first of them waits at most."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gathered(Generic[Item, Answer]):
    """Hands on together what comes within a moment; to be used in one event loop.

    ``hand_on`` gets the items in the order in which they came and answers each in its place; an exception among the
    answers is raised to the one who asked, an exception of ``hand_on`` itself to all.
    """

    def __init__(self, hand_on: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BaseException]]]) -> None:
        self._hand_on = hand_on
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._senders: set[asyncio.Task[None]] = set()

    async def ask(self, item: Item) -> Answer:
        """The answer to one item."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if len(self._waiting) == 1:
            sender = asyncio.create_task(self._send())
            self._senders.add(sender)  # the loop itself holds tasks weakly
            sender.add_done_callback(self._senders.discard)
        return await answer

    async def _send(self) -> None:
        await self._gather()
        sent, self._waiting = self._waiting, []
        told: list[tuple[asyncio.Future[Answer], Answer | BaseException]]
        try:
            answers = await self._hand_on([item for item, _ in sent])
            told = list(zip((future for _, future in sent), answers, strict=True))
        except Exception as error:
            told = [(future, error) for _, future in sent]
        for future, answer in told:
            if future.done():  # whoever asked was cancelled meanwhile
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        latest, known = loop.time() + PATIENCE, 0
        while known < len(self._waiting) and loop.time() < latest:
            known = len(self._waiting)
            await asyncio.sleep(MOMENT)


class GatheringClient:
    """verl's client of the rollout servers; what is asked within a moment is one call to each of our servers."""

    def __init__(self, client: Any, servers: int) -> None:
        """Takes verl's ``LLMServerClient``, and how many servers there are."""
        self._client = client
        self._servers = servers
        self._asked: Gathered[dict[str, Any], Any] = Gathered(self._generate)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def generate(self, request_id: str, **asked: Any) -> Any:
        """One generation, with verl's arguments."""
        return await self._asked.ask({"request_id": request_id, **asked})

    async def _generate(self, asked: Sequence[dict[str, Any]]) -> list[Any]:
        size = math.ceil(len(asked) / self._servers)
        shares = [asked[start : start + size] for start in range(0, len(asked), size)]
        answered = await asyncio.gather(*map(self._ask_one, shares), return_exceptions=True)
        return [
            answer
            for share, answers in zip(shares, answered, strict=True)
            for answer in ([answers] * len(share) if isinstance(answers, BaseException) else answers)
        ]

    async def _ask_one(self, asked: Sequence[dict[str, Any]]) -> list[Any]:
        first: str = asked[0]["request_id"]
        server_id, server = await self._client._acquire_server(**asked[0])
        try:
            answers: list[Any] = await server.generate_all.remote(asked)
        finally:
            self._client._release_server(server_id, request_id=first)
        for answer in answers:  # as verl's client does
            if not isinstance(answer, BaseException):
                steps = answer.extra_fields.get("global_steps")
                answer.extra_fields.setdefault("min_global_steps", steps)
                answer.extra_fields.setdefault("max_global_steps", steps)
        return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Put:
    partition_id: str
    keys: Sequence[str]
    tags: Sequence[Mapping[str, Any]]
    fields: Sequence[Mapping[str, Any]] | None


class GatheringQueue:
    """The module ``transfer_queue``, as an agent loop worker uses it: puts of a moment are one put.

    Whoever puts waits until it is done, so that nothing of a key overtakes what was put under it before.
    """

    def __init__(self, queue: Any, stacked: Callable[[list[Mapping[str, Any]]], Any]) -> None:
        """Takes the module, and verl's function that makes one batch of the fields of several responses."""
        self._queue = queue
        self._stacked = stacked
        self._puts: Gathered[_Put, None] = Gathered(self._put)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def async_kv_put(self, *, key: str, partition_id: str, tag: Mapping[str, Any]) -> None:
        """Put a tag."""
        await self._puts.ask(_Put(partition_id=partition_id, keys=[key], tags=[tag], fields=None))

    async def async_kv_batch_put(
        self,
        *,
        keys: Sequence[str],
        partition_id: str,
        fields: Sequence[Mapping[str, Any]],
        tags: Sequence[Mapping[str, Any]],
    ) -> None:
        """Put tags and fields, these not stacked yet."""
        await self._puts.ask(_Put(partition_id=partition_id, keys=keys, tags=tags, fields=fields))

    async def _put(self, puts: Sequence[_Put]) -> list[BaseException | None]:
        alike: dict[tuple[str, frozenset[str] | None], list[int]] = {}
        for place, put in enumerate(puts):
            names = None if put.fields is None else frozenset(name for row in put.fields for name in row)
            alike.setdefault((put.partition_id, names), []).append(place)
        outcomes: list[BaseException | None] = [None] * len(puts)
        for (partition_id, names), places in alike.items():
            together = [puts[place] for place in places]
            fields = [row for put in together for row in put.fields or ()]
            try:
                await self._queue.async_kv_batch_put(
                    keys=[key for put in together for key in put.keys],
                    partition_id=partition_id,
                    tags=[dict(tag) for put in together for tag in put.tags],
                    **({} if names is None else {"fields": self._stacked(fields)}),
                )
            except Exception as error:
                for place in places:
                    outcomes[place] = error
        return outcomes


def gather_puts(worker: type[Any]) -> None:
    """Let verl's agent loop workers in this process put into their queue by `GatheringQueue`.

    Args:
        worker: a class of them. What its methods know is changed, not their module: Ray sends such a class by value,
            and a method that was sent no longer reads its module's names.

    Raises:
        DependencyError: they do not look as in verl 0.9.
    """
    known = inspect.unwrap(worker._agent_loop_postprocess).__globals__
    queue, stacked = known.get("tq"), known.get("list_of_dict_to_tensordict")
    if isinstance(queue, GatheringQueue):
        return
    put, put_all = (getattr(queue, name, None) for name in ("async_kv_put", "async_kv_batch_put"))
    require_parameters(put, "transfer_queue.async_kv_put", {"key", "partition_id", "tag"})
    require_parameters(put_all, "transfer_queue.async_kv_batch_put", {"keys", "partition_id", "fields", "tags"})
    require_parameters(stacked, "verl.utils.tensordict_utils.list_of_dict_to_tensordict", {"list_of_dicts"})
    known.update(tq=GatheringQueue(queue, stacked), list_of_dict_to_tensordict=list)
