r"""Answers that mean harm: floods, hangs, broken text, code. None may hurt a neighbour, none may be run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from answers import BROKEN, INJECTIONS, SLOW
from leanthink.verify import Verdict, Verifier
from leanthink.verify.judge import judge

DEADLINE = 2.0
LATE = 3.0  # seconds a thread may notice the deadline late, on a machine that has other work


def boxed(answer: str) -> str:
    return rf"<think>hm</think> \boxed{{{answer}}}"


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    """One whose shortcuts are off: every answer goes through a worker."""
    with Verifier(workers=2, deadline=DEADLINE, shortcuts=False) as verifier:
        yield verifier


def test_a_flood_of_slow_answers_hides_no_correct_one() -> None:
    slow = [("0.5", boxed(SLOW[number % 4] + f" + {number}")) for number in range(12)]
    right = [(rf"x^2 + {number} x", boxed(rf"x (x + {number})")) for number in range(200)]
    with Verifier(workers=2, deadline=DEADLINE + 1, shortcuts=False) as verifier:
        judged = verifier.check_many(slow + right)
        assert {judgement.code for judgement in judged[:12]} == {"unknown/timeout"}
        assert [judgement.correct for judgement in judged[12:]] == [1.0] * 200
        assert {judgement.judge for judgement in judged[12:]} == {"math-verify"}
        assert verifier.counts["workers_replaced"] == 12


TOO_MUCH = [
    *SLOW,
    "7^{10^{12}}",
    "(x+1)^{1000000}",
    r"\prod_{k=1}^{10^8} k",
    r"4 + 0 \cdot 9^{9^9}",
    "2^{100000} - 2^{100000} + 4",
    r"\frac{(10^7)!}{(10^7-1)!}",
    r"\log(9^{9^9})",
    "((3!)!)!",
    "9!!!!!",
    "10^{-10^{10}}",
    "4 + 0" * 1_000,
    "0." + "4" * 3_000,
    "1:" * 150 + "9^{9^9}",
    "1:" * 150_000 + "1",
]


@pytest.mark.parametrize(
    "gold",
    ["4", "0.5", r"\frac{1}{2}", "x + 1", r"2\sqrt{3}", "(1, 2)", r"\text{even}", "x = 4", "18 dollars", "3:4:5"],
)
def test_an_answer_too_large_to_calculate_is_wrong_and_costs_no_worker(gold: str) -> None:
    with Verifier(workers=1) as verifier:
        for answer in TOO_MUCH:
            judgement = verifier.check(gold, boxed(answer))
            assert judgement.verdict is Verdict.WRONG, (answer[:50], judgement)
            assert judgement.seconds < 1, answer[:50]
        assert verifier.worker_pids == ()


def test_what_is_unreasonable_may_be_unknown() -> None:
    with Verifier(unreasonable="unknown") as verifier:
        assert verifier.check("4", boxed("9^{9^9}")).code == "unknown/unreasonable"
        assert verifier.check("4", boxed("5")).code == "wrong/not_equal"


def test_a_gold_answer_too_large_to_calculate_is_not_the_answers_fault() -> None:
    with Verifier() as verifier:
        assert verifier.check("9^{9^9}", boxed("9^{9^9}")).code == "correct/equal"
        assert verifier.check("9^{9^9}", boxed("5")).code == "wrong/not_equal"
        assert verifier.check("2^{1000000}", boxed("4^{500000}")).code == "correct/equal"
        assert verifier.check("2^{1000000}", boxed("2^{1000001}")).code == "wrong/not_equal"
        assert verifier.check("(10^9)!", boxed("(1000000001)!")).code == "unknown/gold_unreasonable"


def test_slow_answers_end_by_their_deadline() -> None:
    with Verifier(workers=2, deadline=DEADLINE) as verifier:
        for answer, judgement in zip(
            SLOW, verifier.check_many([("0.7", boxed(answer)) for answer in SLOW]), strict=True
        ):
            assert judgement.verdict is not Verdict.CORRECT, answer[:50]
            assert judgement.seconds < DEADLINE + LATE, answer[:50]


def test_broken_text_gets_a_verdict(verifier: Verifier) -> None:
    pairs = [pair for text in BROKEN for pair in (("7", boxed(text)), ("7", text), (text, boxed("x")))]
    for (gold, response), judgement in zip(pairs, verifier.check_many(pairs), strict=True):
        assert judgement.verdict is not Verdict.CORRECT, (gold[:50], response[:50])
        assert judgement.seconds < DEADLINE + LATE, (gold[:50], response[:50])


def test_a_sum_of_twenty_thousand_is_not_read_by_its_end(verifier: Verifier) -> None:
    ones = "1+" * 19_999 + "1"
    assert verifier.check("20000", boxed(ones)).verdict is not Verdict.WRONG
    assert judge("1500", "1+" * 1499 + "1", "boxed")[:2] == ("unknown", "judge_error: nested too deep for the judge")
    assert verifier.check("2048", ones).code == "wrong/unmarked"


def test_answers_are_not_run(verifier: Verifier, tmp_path: Path) -> None:
    path = tmp_path / "touched"
    for attack in INJECTIONS:
        answer = attack.format(path=path)
        for response in (boxed(answer), f"Final answer: {answer}", f"The answer is 7 {answer}"):
            assert verifier.check("97", response).verdict is not Verdict.CORRECT, answer
        assert verifier.check(answer, boxed("97")).verdict is not Verdict.CORRECT, answer
    assert not path.exists()


WATCHED = """
import json, re, sys
sys.path.insert(0, {tests!r})
from answers import INJECTIONS
from leanthink.verify.judge import judge

events, watching = [], False

def watch(name, args):
    if not watching:
        return
    if name in ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect"):
        events.append([name, repr(args)])
    elif name == "open" and set(str(args[1])) & set("wax+"):
        events.append([name, repr(args)])
    elif name == "compile" and args[0] is not None:
        events.append([name, args[0].decode() if isinstance(args[0], bytes) else str(args[0])])

sys.addaudithook(watch)
for round in (False, True):  # the first round imports
    watching = round
    for attack in ["1+2", *INJECTIONS]:
        answer = attack.format(path={path!r})
        for form in ("boxed", "text", "search"):
            judge("6", answer, form)
            judge("6", "so it is 2^3 + 1 and " + answer, form)
        judge(answer, "6", "boxed")
watching = False
print(json.dumps(events))
"""


def test_nothing_but_arithmetic_is_ever_compiled(tmp_path: Path) -> None:
    """math-verify reads `2^3 + 1` in running text through sympy's parser, which compiles: digits and operators only."""
    code = WATCHED.format(tests=str(Path(__file__).parents[1] / "support"), path=str(tmp_path / "touched"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    events = json.loads(done.stdout)
    assert {name for name, _ in events} <= {"compile"}
    sources = {source for _, source in events}
    arithmetic = re.compile(r"(?:Integer|Float|Rational|[\d\s().*/+'-])*")
    assert {source for source in sources if not arithmetic.fullmatch(source)} == {"from sympy import *"}  # its own
    assert len(sources) > 1


def test_a_worker_has_a_limit_of_memory() -> None:
    with Verifier(workers=1, deadline=20, memory_mb=1024, shortcuts=False) as verifier:
        verifier.check("2x", boxed("x+x"))
        limits = Path(f"/proc/{verifier.worker_pids[0]}/limits").read_text()
        assert f"Max address space         {1024 << 20}" in limits
        assert verifier.check("7", boxed(r"\operatorname{zeros}(40000, 40000)")).verdict is not Verdict.CORRECT
        assert verifier.check("3x", boxed("x+2x")).correct == 1


def test_nothing_is_left_behind() -> None:
    """Neither file descriptors nor threads nor processes, though workers die on the way."""

    def held() -> tuple[int, int, set[str]]:
        children = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children")
        return len(os.listdir("/proc/self/fd")), threading.active_count(), set(children.read_text().split())

    before = held()
    for _ in range(2):
        with Verifier(workers=2, deadline=1, shortcuts=False) as verifier:
            verifier.check_many([("0.5", boxed(answer)) for answer in SLOW[:4]] + [("2x", boxed("x+x"))])
    assert held() == before


PROGRAM = """
import asyncio, multiprocessing, threading
from leanthink.verify import Verifier

def work(queue):
    with Verifier(workers=1, deadline=60) as verifier:
        async def ask():
            return await asyncio.gather(*(verifier.acheck("2x", r"\\boxed{%dx+x}" % n) for n in range(4)))
        queue.put([judgement.correct for judgement in asyncio.run(ask())])
        thread = threading.Thread(target=lambda: queue.put(verifier.check("3x", r"\\boxed{x+2x}").correct))
        thread.start()
        thread.join()

if __name__ == "__main__":
    for method in ("spawn", "forkserver", "fork"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=work, args=(queue,), daemon=True)
        process.start()
        print(method, queue.get(timeout=200), queue.get(timeout=200))
        process.join()
        assert process.exitcode == 0
"""


def test_in_spawned_and_daemonic_processes(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=400)
    told = "[0.0, 1.0, 0.0, 0.0] 1.0"
    assert done.stdout.splitlines() == [f"{method} {told}" for method in ("spawn", "forkserver", "fork")], done.stderr
