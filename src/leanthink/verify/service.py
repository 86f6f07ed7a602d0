"""The verifier: extraction here, judging in worker processes, every verdict counted."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from time import perf_counter
from types import TracebackType

from leanthink.core.errors import ConfigError, DataError, did_you_mean
from leanthink.verify.extract import SEARCH_TAIL, TAIL, Found, find_answer, gold_answer
from leanthink.verify.judge import REPAIRS
from leanthink.verify.pool import Pool, Reply, VerifierError
from leanthink.verify.tasks import TASKS, Decision, Question, decide_by, decide_plainly
from leanthink.verify.verdict import Judgement, Verdict

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A judgement on its way: the worker's reply, whether another call asked for it first, and the time so far."""

    found: Found
    future: Future[Reply]
    shared: bool
    question: Question
    seconds: float = 0.0


class Verifier:
    r"""Checks responses against gold answers; safe from many threads and event loops at once.

    Nothing starts before the first answer that needs a worker. Most never do (`leanthink.verify.shortcuts`); equal
    pairs of gold and answer are judged once, also when they arrive together, as the siblings of a prompt group do.

    Args:
        workers: Worker processes.
        deadline: Seconds a worker may spend on one pair, from the moment it gets it.
        thinking_end: The tag that closes the thinking.
        require_thinking_end: Without that tag there is no answer; set it for models whose prompt opens the thinking.
        require_marked: Only marked answers count. Otherwise an untruncated response without a mark counts by what
            math-verify finds in it.
        memory_mb: Address space of one worker; an expression that needs more is unknown.
        cache_size: Judged pairs remembered.
        task: What is asked of an answer: "math", "numeric", "choice", "exact" or a function of yours, "pkg.mod:fn"
            (`leanthink.verify.tasks`).
        relative_tolerance: Of a numeric answer, as a share of the gold answer.
        absolute_tolerance: Of a numeric answer, as a number; the larger tolerance counts.
        repair: Which of math-verify's faults are repaired (`leanthink.verify.judge`); default: all that are known.
        shortcuts: Without them every marked answer goes to math-verify and its repairs: no shortcuts, and no types.
            Where not all repairs are made, there are no types either.
        unevaluated: What an answer is that leaves undone what the gold answer does, or copies the problem: "wrong" or
            "accept".
        unreasonable: What an answer is that is too large to calculate, or that a worker does not come to an end of,
            where the gold answer is not at fault: "wrong" or "unknown".

    >>> with Verifier(workers=1) as verifier:
    ...     verifier.check("18", r"<think>10 + 8</think> \boxed{18}").verdict
    <Verdict.CORRECT: 'correct'>
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        deadline: float = 5.0,
        thinking_end: str = "</think>",
        require_thinking_end: bool = False,
        require_marked: bool = False,
        memory_mb: int = 2048,
        cache_size: int = 16_384,
        task: str = "math",
        relative_tolerance: float = 1e-6,
        absolute_tolerance: float = 0.0,
        repair: Collection[str] = REPAIRS,
        shortcuts: bool = True,
        unevaluated: str = "wrong",
        unreasonable: str = "wrong",
    ) -> None:
        for name, value, least in (
            ("workers", workers, 1),
            ("memory_mb", memory_mb, 512),
            ("cache_size", cache_size, 0),
        ):
            if value < least:
                raise ConfigError(f"verifier: {name} is {value}; give {least} or more")
        if not deadline > 0:
            raise ConfigError(f"verifier: deadline is {deadline}; give seconds greater than 0")
        if not thinking_end:
            raise ConfigError("verifier: thinking_end is empty; give the tag that closes the thinking, as '</think>'")
        for name, tolerance in (("relative", relative_tolerance), ("absolute", absolute_tolerance)):
            if not 0 <= tolerance < inf:
                raise ConfigError(f"verifier: {name}_tolerance is {tolerance}; give a finite number, 0 or more")
        if isinstance(repair, str) or (odd := [name for name in repair if name not in REPAIRS]):
            hint = f"give a list of {', '.join(REPAIRS)}" if isinstance(repair, str) else did_you_mean(odd[0], REPAIRS)
            raise ConfigError(f"verifier: repair is {repair!r}; {hint}")
        for name, chosen, allowed in (
            ("unevaluated", unevaluated, ("wrong", "accept")),
            ("unreasonable", unreasonable, ("wrong", "unknown")),
        ):
            if chosen not in allowed:
                raise ConfigError(f"verifier: {name} is {chosen!r}; give one of {', '.join(allowed)}")
        _collect_once()
        self._decide = decide_by(
            task,
            relative=relative_tolerance,
            absolute=absolute_tolerance,
            accept_unevaluated=unevaluated == "accept",
        )
        self.thinking_end = thinking_end
        self._typed = task == "math" and shortcuts and set(repair) == set(REPAIRS)
        self._unreasonable = Verdict(unreasonable)
        self._task = task
        self._shortcuts = shortcuts
        setup = {"task": task, "repair": list(repair), "tolerances": [relative_tolerance, absolute_tolerance]}
        self._new_pool = partial(Pool, workers=workers, deadline=float(deadline), memory_mb=memory_mb, setup=setup)
        self._find = partial(
            find_answer,
            thinking_end=thinking_end,
            require_thinking_end=require_thinking_end,
            require_marked=require_marked,
            search_tail=SEARCH_TAIL if task in TASKS else TAIL,
        )
        self._cache_size = cache_size
        self._cache: OrderedDict[_Key, Reply] = OrderedDict()
        self._in_flight: dict[_Key, Future[Reply]] = {}
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0
        self._lock = threading.RLock()  # guards everything written after construction
        self._pool: Pool | None = None
        self._closed = False

    def check(self, gold: str, response: str, *, truncated: bool = False, problem: str | None = None) -> Judgement:
        """Judge one response; waits for the worker. ``problem``: its text, so that a copy of it is no answer."""
        return self._settle(self._begin(gold, response, truncated, problem))

    def check_answer(self, gold: str, answer: str, *, problem: str | None = None) -> Judgement:
        """Judge an answer that stands alone already, as the content of a box does."""
        start = perf_counter()
        _check_text(gold=gold, answer=answer)
        found = Found(text=answer) if answer.strip() else Found(reason="empty")
        return self._settle(self._decided(gold, found, problem, start))

    def check_many(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        truncated: Sequence[bool] | None = None,
        problems: Sequence[str | None] | None = None,
    ) -> list[Judgement]:
        """Judge pairs of gold and response side by side; judgements in the order given."""
        pairs = list(pairs)
        flags = [False] * len(pairs) if truncated is None else list(truncated)
        if len(flags) != len(pairs):
            raise DataError(f"check_many: {len(flags)} truncated flags for {len(pairs)} pairs; give one for each")
        texts = [None] * len(pairs) if problems is None else list(problems)
        if len(texts) != len(pairs):
            raise DataError(f"check_many: {len(texts)} problems for {len(pairs)} pairs; give one for each")
        begun = [
            self._begin(gold, response, cut, problem)
            for (gold, response), cut, problem in zip(pairs, flags, texts, strict=True)
        ]
        return [self._settle(pending) for pending in begun]

    async def acheck(
        self, gold: str, response: str, *, truncated: bool = False, problem: str | None = None
    ) -> Judgement:
        """Judge one response without blocking the event loop; giving up waiting disturbs nobody else."""
        begun = self._begin(gold, response, truncated, problem)
        if isinstance(begun, _Pending):
            await asyncio.shield(asyncio.wrap_future(begun.future))
        return self._settle(begun)

    @property
    def counts(self) -> dict[str, float]:
        """What was answered so far.

        Counts by "verdict/reason"; `cached` answers that cost no job; `workers_replaced`; `judged_seconds` all
        judgements took.
        """
        with self._lock:
            replaced = self._pool.replaced if self._pool else 0
            return {**self._counts, "workers_replaced": replaced, "judged_seconds": self._seconds}

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The worker processes alive now; none before the first job."""
        return self._pool.pids() if self._pool else ()

    def close(self) -> None:
        """End the workers; what still waits is unknown, reason "closed". Collecting the verifier closes it too."""
        with self._lock:
            self._closed = True
            pool = self._pool
        if pool:
            pool.close()

    def __enter__(self) -> Verifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, gold: str, response: str, truncated: bool, problem: str | None) -> Judgement | _Pending:
        start = perf_counter()
        _check_text(gold=gold, response=response, problem=problem or "")
        return self._decided(gold, self._find(response, truncated=truncated), problem, start)

    def _decided(self, gold: str, found: Found, problem: str | None, start: float) -> Judgement | _Pending:
        """The judgement where no worker is needed, and otherwise the promise of one."""
        gold = gold_answer(gold)
        decision: Decision | Question | None = None
        if found.text is None:
            decision = Decision(Verdict.WRONG, "extraction", found.reason, None)
        elif self._typed or self._task in ("choice", "exact"):
            try:
                decision = self._decide(gold, found, problem)
            except Exception as error:  # a fault of ours, as in a worker: never a verdict on the answer
                told = f"judge_error: {type(error).__name__}: {error}"[:200]
                decision = Decision(Verdict.UNKNOWN, "types", told, found.text)
        elif self._shortcuts:
            decision = decide_plainly(gold, found) if self._task == "math" else self._decide(gold, found, problem)
        if decision is None:
            decision = Question(
                found.form, found.text or "", judge="math-verify" if self._task in TASKS else self._task
            )
        if isinstance(decision, Question):
            return self._ask(gold, found, decision, start)
        if decision.reason == "unreasonable":
            decision = decision._replace(verdict=self._unreasonable)
        return Judgement(**decision._asdict(), seconds=perf_counter() - start)

    def _ask(self, gold: str, found: Found, question: Question, start: float) -> _Pending:
        key = (_short(gold), _short(question.answer), question.form)
        with self._lock:
            if self._closed:
                raise VerifierError("verifier: it is closed; build a new one")
            if reply := self._cache.get(key):
                self._cache.move_to_end(key)
                future: Future[Reply] = Future()
                future.set_result(reply)
                return _Pending(found, future, True, question, perf_counter() - start)
            if flying := self._in_flight.get(key):
                return _Pending(found, flying, True, question, perf_counter() - start)
            job = {"gold": gold, "answer": question.answer, "form": question.form, "pairs": question.pairs}
            future = self._workers().submit(job)
            self._in_flight[key] = future
        future.add_done_callback(partial(self._remember, key))
        return _Pending(found, future, False, question, perf_counter() - start)

    def _workers(self) -> Pool:
        if self._pool is None:
            self._pool = self._new_pool()
            weakref.finalize(self, self._pool.close)  # at collection, and at exit
        elif self._pool.owner != os.getpid():
            raise VerifierError(
                f"verifier: process {self._pool.owner} started it and then forked; build one in each process"
            )
        return self._pool

    def _remember(self, key: _Key, future: Future[Reply]) -> None:
        with self._lock:
            self._in_flight.pop(key, None)
            if future.exception() is None and future.result().lasting:
                self._cache[key] = future.result()
                while len(self._cache) > self._cache_size:
                    self._cache.popitem(last=False)

    def _settle(self, begun: Judgement | _Pending) -> Judgement:
        if isinstance(begun, Judgement):
            judgement = begun
        else:
            reply = begun.future.result()
            searched = begun.found.form == "search"
            extracted = (reply.extracted or begun.question.answer) if searched else begun.found.text
            verdict, reason = Verdict(reply.verdict), reply.reason
            if begun.question.blame and reason.startswith(("timeout", "memory")):
                verdict, reason = self._unreasonable, f"unreasonable: {reason}"
            judgement = Judgement(
                verdict=verdict,
                extracted=None if searched and reason == "unmarked" else extracted,
                judge=begun.question.judge,
                reason=reason,
                seconds=begun.seconds + (0.0 if begun.shared else reply.seconds),
            )
        with self._lock:
            self._counts[judgement.code] += 1
            self._counts["cached"] += isinstance(begun, _Pending) and begun.shared
            self._seconds += judgement.seconds
        return judgement


@cache
def _collect_once() -> None:
    """Collect what importing left, a tenth of a second once, so that no answer is judged while the collector does."""
    gc.collect()


def _check_text(**texts: str) -> None:
    for name, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"verifier: {name} is {type(text).__name__} {text!r:.60}; give text, as str({name})")


def _short(text: str) -> str:
    """The text, or its digest when it is long: what the cache is keyed by."""
    return text if len(text) <= 128 else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
