r"""The verifier as a whole: real workers, deadlines, deaths and endings."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import isnan
from pathlib import Path

import pytest

from leanthink.core.errors import ConfigError, DataError, DependencyError
from leanthink.verify import Judgement, Verdict, Verifier, VerifierError

HANGS = "(10^9)!"  # busy in Python code
HOLDS_THE_LOCK = "9^{9^9}"  # busy inside one integer power

FAKE_MATH_VERIFY = r"""
import os, time
class LatexExtractionConfig: pass
class grader: sympy_numeric_eq = simplify = solve = None
class parser: latex2sympy = parse_expr = None
def slow(): time.sleep(600)
def parse(text, *args, **options): return [(text.removeprefix("\\boxed{").removesuffix("}"),)]
def verify(gold, answer, **options):
    gold, answer = gold[0], answer[0]
    if "sleep" in answer: slow()
    if "die" in answer: os._exit(3)
    if "fail" in answer: raise ValueError("on purpose")
    if "memory" in answer: raise MemoryError
    return gold == answer
"""


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    """One whose shortcuts are off: every answer goes through a worker."""
    with Verifier(workers=2, deadline=60, shortcuts=False) as verifier:
        yield verifier


@pytest.fixture
def fake_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Workers started from now on find this text as math-verify."""

    def install(source: str) -> None:
        (tmp_path / "math_verify.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


def boxed(answer: str) -> str:
    return rf"<think>hm</think> \boxed{{{answer}}}"


def alive(pid: int) -> bool:
    """Running, and not a zombie that somebody else must reap; one whose threads still end is not gone yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def run(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


def test_judgements() -> None:
    with Verifier(workers=1, deadline=60) as verifier:
        right = verifier.check("x^2-1", boxed("(x-1)(x+1)"))
        assert right == Judgement(
            verdict=Verdict.CORRECT, extracted="(x-1)(x+1)", judge="expression", reason="equal", seconds=1.0
        )
        assert right.seconds > 0
        assert verifier.check("7", boxed("8")) == Judgement(
            verdict=Verdict.WRONG, extracted="8", judge="number", reason="not_equal"
        )
        none = verifier.check("7", "<think>7")
        assert none == Judgement(
            verdict=Verdict.WRONG, extracted=None, judge="extraction", reason="unfinished_thinking"
        )
        assert verifier.check(r"Half, so $\boxed{50\%}$.", boxed(r"50\%")).correct == 1
        assert verifier.check(r"So $\boxed{7}$.", boxed("7")).judge == "number"
        assert verifier.check("4:30p..", boxed("4:30")).code == "wrong/not_equal_text"
        assert verifier.check("4:30 p.m.", boxed("4:30 p.m.")).correct == 1
        unknown = verifier.check("$", boxed("4:30"))
        assert isnan(unknown.correct)
        assert unknown.code == "unknown/gold_unparsable"
        assert verifier.check("18", "She has 18 apples.").extracted == "18"
        assert verifier.check("18", "She has 18 apples.", truncated=True).reason == "truncated"
        assert verifier.check_answer("x+x", "2x").correct == 1
        assert verifier.check_answer("x+x", " ").reason == "empty"


def test_order_duplicates_and_counts() -> None:
    with Verifier(workers=2, deadline=60, shortcuts=False) as verifier:
        pairs = [("2x", boxed(answer)) for answer in ("x+x", "x-x", "x+x", "x-x", r"\frac{4x}{2}")]
        pairs += [("3", boxed("3")), ("3", "<think>")]
        judged = verifier.check_many(pairs, truncated=[False] * 7)
        assert [judgement.correct for judgement in judged] == [1, 0, 1, 0, 1, 1, 0]
        assert all(judgement.seconds > 0 for judgement in judged)
        assert judged[0].seconds > judged[2].seconds  # asked for together, judged once
        assert verifier.check_many(pairs[:1])[0].seconds < judged[0].seconds
        counts = verifier.counts
        assert counts.pop("judged_seconds") > 0
        assert counts == {
            "correct/equal": 5,
            "wrong/not_equal": 2,
            "wrong/unfinished_thinking": 1,
            "cached": 3,
            "workers_replaced": 0,
        }


def test_the_cache_is_bounded() -> None:
    with Verifier(workers=1, deadline=60, cache_size=1, shortcuts=False) as verifier:
        cached = []
        for answer in ("x+x", "x+x", "x-x", "x+x"):
            verifier.check("2x", boxed(answer))
            cached.append(verifier.counts["cached"])
        assert cached == [0, 1, 1, 1]


def test_nothing_starts_before_it_is_needed() -> None:
    verifier = Verifier()
    assert verifier.check("-12", boxed(" -12 ")).correct == 1
    assert verifier.check("12", "I think 13").judge == "number"
    assert verifier.worker_pids == ()
    assert verifier.check(r"\sqrt{8}", boxed(r"2\sqrt{2}")).judge == "sympy"
    assert len(verifier.worker_pids) == 1
    verifier.close()
    other = Verifier()
    assert other.check("12", boxed("13")).judge == "number"
    assert other.worker_pids == ()
    other.close()


def test_the_import_is_light() -> None:
    code = "import sys, leanthink.verify; print({'math_verify', 'latex2sympy2_extended', 'antlr4'} & set(sys.modules))"
    assert run(code).stdout == "set()\n"


def test_a_hang_is_killed_and_the_others_finish() -> None:
    with Verifier(workers=2, deadline=3, shortcuts=False) as verifier:
        answers = [HANGS, *(rf"\frac{{{number}}}{{7}}" for number in range(20)), HOLDS_THE_LOCK]
        judged = verifier.check_many([(r"\frac{5}{7}", boxed(answer)) for answer in answers])
        assert [judged[0].code, judged[-1].code] == ["unknown/timeout"] * 2
        assert [judgement.correct for judgement in judged[1:-1]] == [float(number == 5) for number in range(20)]
        assert verifier.counts["workers_replaced"] == 2
        assert verifier.check("2x", boxed("x+x")).correct == 1


def test_the_deadline_counts_from_the_job_not_from_the_queue(fake_judge: Callable[[str], None]) -> None:
    fake_judge(FAKE_MATH_VERIFY.replace("time.sleep(600)", "time.sleep(1.5)"))
    with Verifier(workers=1, deadline=4, shortcuts=False) as verifier:
        judged = verifier.check_many([("gold", boxed(f"sleep {number}")) for number in range(4)])
        assert {judgement.reason for judgement in judged} == {"not_equal"}


def test_what_befalls_a_worker(fake_judge: Callable[[str], None]) -> None:
    fake_judge(FAKE_MATH_VERIFY)
    with Verifier(workers=1, deadline=1, shortcuts=False) as verifier:
        assert verifier.check("x", boxed("x")).correct == 1
        pids = verifier.worker_pids
        for answer, code in (("die", "worker_died"), ("sleep", "timeout"), ("memory", "memory")):
            assert verifier.check("x", boxed(answer)).code == f"unknown/{code}"
            assert wait_until(lambda: len(verifier.worker_pids) == 1)
            assert verifier.worker_pids != pids
            pids = verifier.worker_pids
        assert verifier.counts["workers_replaced"] == 4  # two died, as each job has a second try
        assert "exit status 3" in verifier.check("x", boxed("die")).reason
        failed = verifier.check("x", boxed("fail"))
        assert failed.reason == "judge_error: ValueError: on purpose"
        assert failed.verdict is Verdict.UNKNOWN


def test_a_time_out_is_not_remembered(fake_judge: Callable[[str], None], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    fake_judge(FAKE_MATH_VERIFY.replace("time.sleep(600)", f"os.path.exists({str(flag)!r}) or time.sleep(600)"))
    with Verifier(workers=1, deadline=1, shortcuts=False) as verifier:
        assert verifier.check("sleep", boxed("sleep")).code == "unknown/timeout"
        flag.touch()
        assert verifier.check("sleep", boxed("sleep")).correct == 1


def test_a_slow_start_is_not_counted_against_an_answer(fake_judge: Callable[[str], None]) -> None:
    fake_judge("import time; time.sleep(3)\n" + FAKE_MATH_VERIFY)
    with Verifier(workers=1, deadline=1, shortcuts=False) as verifier:
        assert verifier.check("x", boxed("x")).correct == 1


@pytest.mark.parametrize("near", ["0.500001", "0.49999", "0.50001", "1.000001/2"])
def test_numbers_that_are_near_are_not_equal(near: str) -> None:
    with Verifier(workers=1, deadline=60) as quick, Verifier(workers=1, deadline=60, shortcuts=False) as slow:
        for gold in ("0.5", r"\frac{1}{2}"):
            assert quick.check(gold, boxed(near)).verdict is slow.check(gold, boxed(near)).verdict is Verdict.WRONG


def test_the_same_text_found_otherwise_is_judged_for_itself() -> None:
    """What is remembered of a box is not what is said of a text that was searched for an answer."""
    with Verifier(workers=1, deadline=60, shortcuts=False) as verifier:
        text = "so 7 apples or 8"
        for _ in range(2):
            marked, searched = verifier.check("8", boxed(text)), verifier.check("8", text)
            assert (marked.verdict, searched.correct) == (Verdict.WRONG, 1)


def test_a_worker_killed_from_outside(fake_judge: Callable[[str], None], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    once = f"if not os.path.exists({str(flag)!r}): open({str(flag)!r}, 'w').close(); time.sleep(600)"
    fake_judge(FAKE_MATH_VERIFY.replace("def slow(): ", f"def slow():\n    {once}\ndef unused(): "))
    with Verifier(workers=1, deadline=60, shortcuts=False) as verifier:
        assert verifier.check("x", boxed("y")).verdict is Verdict.WRONG
        idle = verifier.worker_pids[0]
        os.kill(idle, signal.SIGKILL)
        assert wait_until(lambda: not alive(idle))
        assert verifier.check("x", boxed("z")).verdict is Verdict.WRONG
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(verifier.check, "x", boxed("sleep"))
            assert wait_until(flag.exists)
            os.kill(verifier.worker_pids[0], signal.SIGKILL)
            assert waiting.result().code == "wrong/not_equal"  # the second worker's verdict
        assert verifier.counts["workers_replaced"] == 2


def test_a_second_try_has_what_is_left_of_the_deadline(fake_judge: Callable[[str], None], tmp_path: Path) -> None:
    marks = f"open({str(tmp_path / 'flag')!r}, 'w').close(); time.sleep(600)"
    fake_judge(FAKE_MATH_VERIFY.replace("time.sleep(600)", marks))
    with Verifier(workers=1, deadline=6, shortcuts=False) as verifier, ThreadPoolExecutor() as threads:
        verifier.check("x", boxed("y"))
        waiting = threads.submit(verifier.check, "x", boxed("sleep"))
        assert wait_until((tmp_path / "flag").exists)
        time.sleep(2)
        os.kill(verifier.worker_pids[0], signal.SIGKILL)
        judgement = waiting.result()
        assert judgement.code == "unknown/timeout"
        assert 6 <= judgement.seconds < 7.5  # both tries together


def test_a_worker_that_cannot_start_is_an_error(fake_judge: Callable[[str], None]) -> None:
    fake_judge("raise ImportError('broken on purpose')")
    with Verifier(workers=1, shortcuts=False) as verifier, pytest.raises(DependencyError, match="broken on purpose"):
        verifier.check("x", boxed("y"))
    fake_judge("import os; os._exit(1)")
    with Verifier(workers=1, shortcuts=False) as verifier, pytest.raises(VerifierError, match="in a row died"):
        verifier.check("x", boxed("y"))


def test_close_ends_workers_and_answers_what_waits(fake_judge: Callable[[str], None]) -> None:
    fake_judge(FAKE_MATH_VERIFY)
    before = set(threading.enumerate())
    verifier = Verifier(workers=2, deadline=60, shortcuts=False)
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(verifier.check, "x", boxed(f"sleep {number}")) for number in range(4)]
        assert wait_until(lambda: len(verifier.worker_pids) == 2)
        pids = verifier.worker_pids
        time.sleep(0.5)
        verifier.close()
        assert {job.result().code for job in waiting} == {"unknown/closed"}
    verifier.close()
    assert verifier.worker_pids == ()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)  # no zombies either
    assert set(threading.enumerate()) <= before
    with pytest.raises(VerifierError, match="closed"):
        verifier.check("x", boxed("y"))


def test_a_forgotten_verifier_ends_its_workers() -> None:
    verifier = Verifier(workers=1, deadline=60, shortcuts=False)
    verifier.check("2x", boxed("x+x"))
    pids = verifier.worker_pids
    del verifier
    gc.collect()
    assert wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "os._exit(3)"])
def test_the_end_of_the_process_ends_its_workers(end: str) -> None:
    code = (
        "import os\nfrom leanthink.verify import Verifier\n"
        "verifier = Verifier(workers=1, shortcuts=False)\nassert verifier.check('2x', '\\\\boxed{x+x}').correct == 1\n"
        f"print(*verifier.worker_pids, flush=True)\n{end}\n"
    )
    program = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, timeout=120)
    assert program.stderr == ""
    assert wait_until(lambda: not any(alive(int(pid)) for pid in program.stdout.split()))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_parent_leaves_no_stuck_workers(end: signal.Signals) -> None:
    code = (
        "import threading\nfrom leanthink.verify import Verifier\n"
        "with Verifier(workers=2, deadline=600, shortcuts=False) as verifier:\n"
        "    verifier.check_many([('2x', '\\\\boxed{x+x}'), ('2x', '\\\\boxed{x-x}')])\n"
        "    threading.Timer(2, lambda: print(*verifier.worker_pids, flush=True)).start()\n"
        f"    verifier.check_many([('2', {boxed(HANGS)!r}), ('2', {boxed(HOLDS_THE_LOCK)!r})])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.send_signal(end)
        parent.communicate()
    assert len(pids) == 2
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 20)  # long before their deadline


def test_many_threads_and_event_loops(verifier: Verifier) -> None:
    pairs = [(r"\frac{3}{11}", boxed(rf"\frac{{{number % 7}}}{{11}}")) for number in range(40)]
    expected = [float(number % 7 == 3) for number in range(40)]

    async def gather() -> list[Judgement]:
        return await asyncio.gather(*(verifier.acheck(gold, response) for gold, response in pairs))

    with ThreadPoolExecutor(4) as threads:
        loops = [threads.submit(asyncio.run, gather()) for _ in range(2)]
        plain = threads.submit(verifier.check_many, pairs)
        for judged in (loops[0].result(), loops[1].result(), plain.result()):
            assert [judgement.correct for judgement in judged] == expected


def test_giving_up_disturbs_nobody(fake_judge: Callable[[str], None]) -> None:
    fake_judge(FAKE_MATH_VERIFY)

    async def scenario(verifier: Verifier) -> Judgement:
        hasty = asyncio.ensure_future(verifier.acheck("x", boxed("sleep")))
        patient = asyncio.ensure_future(verifier.acheck("x", boxed("sleep")))
        await asyncio.sleep(0.1)
        hasty.cancel()
        return await patient

    with Verifier(workers=1, deadline=1, shortcuts=False) as verifier:
        assert asyncio.run(scenario(verifier)).code == "unknown/timeout"


def test_long_responses(verifier: Verifier) -> None:
    assert verifier.check("0.5", "so x = 3. " * 20_000 + boxed(r"\frac12")).correct == 1
    assert verifier.check("0.5", "so x = 3. " * 20_000 + "the answer is 1/2").correct == 1
    with Verifier(workers=1, deadline=2) as hasty:
        assert hasty.check("x" * 200_000, boxed("y" * 20_000)).verdict is Verdict.UNKNOWN


def test_errors_say_what_to_do() -> None:
    for wrong in ({"workers": 0}, {"deadline": 0}, {"deadline": float("nan")}, {"memory_mb": 1}, {"thinking_end": ""}):
        with pytest.raises(ConfigError, match=r"verifier: .* give "):
            Verifier(**wrong)  # type: ignore[arg-type]
    verifier = Verifier()
    with pytest.raises(DataError, match=r"gold is int 5; give text"):
        verifier.check(5, "5")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="2 truncated flags for 1 pairs"):
        verifier.check_many([("5", "5")], truncated=[True, False])


def test_after_a_fork_the_workers_stay_with_the_parent() -> None:
    code = (
        "import os\nfrom leanthink.verify import Verifier, VerifierError\n"
        "verifier = Verifier(workers=1, shortcuts=False)\nverifier.check('2x', '\\\\boxed{x+x}')\n"
        "if (pid := os.fork()) == 0:\n"
        "    try:\n        verifier.check('2x', '\\\\boxed{x-x}')\n"
        "    except VerifierError as error:\n        verifier.close()\n        os._exit(7)\n"
        "    os._exit(1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7\n"
        "assert verifier.check('2x', '\\\\boxed{x-x}').correct == 0\n"
    )
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
