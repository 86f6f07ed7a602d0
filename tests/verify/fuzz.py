r"""The long check, beside the tests: `make fuzz`, or `pytest -s tests/verify/fuzz.py --hypothesis-seed=7`.

At least 20,000 different random pairs of gold answer and answer, judged with and without shortcuts, and more than 200
answers that mean harm, in several places each. No shortcut may contradict the judge, no judgement may come late,
nothing may be left behind.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from answers import BROKEN, INJECTIONS, LETTERS, SLOW, number_pairs, respelt, texts
from leanthink.verify import Judgement, Verdict, Verifier
from leanthink.verify.shortcuts import shortcut

DEADLINE = 3.0
LATE = 3.0  # seconds a thread may notice the deadline late, on a machine that has other work
PAIRS = 20_000

anything = st.one_of(texts, texts, st.text(st.characters(max_codepoint=127), max_size=12), st.text(max_size=8))
pairs = st.one_of(
    number_pairs(),
    texts.flatmap(lambda text: st.tuples(st.just(text), respelt(text))),
    st.tuples(anything, anything),
    st.tuples(st.sampled_from(LETTERS), st.sampled_from(LETTERS)),
)
seen: Counter[str] = Counter()
distinct: set[tuple[str, str]] = set()


def held() -> tuple[int, int, set[str]]:
    """File descriptors, threads and children of this process."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), set(children)


@pytest.fixture(scope="module")
def verifiers() -> Iterator[tuple[Verifier, Verifier]]:
    """One with shortcuts and one without; nothing of them may be left behind."""
    before = held()
    started = time.monotonic()
    with Verifier(deadline=DEADLINE) as fast, Verifier(deadline=DEADLINE, shortcuts=False) as slow:
        yield fast, slow
        print(f"\n{time.monotonic() - started:.0f} s; with shortcuts {fast.counts}; without {slow.counts}")
    assert held() == before
    print(
        f"{len(distinct)} different pairs", *(f"{number:>7} {name}" for name, number in sorted(seen.items())), sep="\n"
    )


def in_time(judgement: Judgement) -> bool:
    return judgement.seconds < DEADLINE + LATE


@settings(max_examples=PAIRS * 3 // 2, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(pair=pairs)
def test_random_answers(verifiers: tuple[Verifier, Verifier], pair: tuple[str, str]) -> None:
    if pair in distinct:
        return
    distinct.add(pair)
    gold, answer = pair
    fast, slow = (verifier.check(gold, f"\\boxed{{{answer}}}") for verifier in verifiers)
    seen[f"pairs decided by {fast.judge}"] += 1
    seen[f"pairs judged {slow.code}"] += 1
    assert in_time(fast) and in_time(slow)
    whole = fast.extracted == answer.strip() and "box" not in gold  # the box held the answer, and all of it
    if not whole or (decided := shortcut(gold.strip(), answer.strip())) is None:
        return
    seen[f"shortcut {decided[0]}"] += 1
    if slow.verdict is Verdict.UNKNOWN:
        seen["shortcuts where the judge is at a loss"] += 1
    else:
        assert decided[1] == (slow.verdict is Verdict.CORRECT), (fast, slow)


def test_there_were_enough_of_them() -> None:
    assert len(distinct) >= PAIRS


def variants(answer: str) -> list[str]:
    return [answer, f"-{answer}", rf"\frac{{{answer}}}{{7}}", f"({answer}, 1)", rf"x = {answer}", rf"\sqrt{{{answer}}}"]


def test_harm(verifiers: tuple[Verifier, Verifier], tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    injections = [attack.format(path=touched) for attack in INJECTIONS]
    harm = [variant for answer in SLOW for variant in variants(answer)] + BROKEN + injections
    seen["harmful answers"] = len(harm)
    checks = [("97", rf"\boxed{{{answer}}}") for answer in harm]
    checks += [("97", f"Final answer: {answer}") for answer in BROKEN + injections]
    checks += [(answer, r"\boxed{97}") for answer in BROKEN + injections]
    for (gold, response), judgement in zip(checks, verifiers[1].check_many(checks), strict=True):
        seen[f"harm: {judgement.code}"] += 1
        assert judgement.verdict is not Verdict.CORRECT, (gold[:100], response[:100])
        assert in_time(judgement), (gold[:100], response[:100])
    assert not touched.exists()
    assert len(harm) >= 200
