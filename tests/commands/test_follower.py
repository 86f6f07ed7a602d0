"""What a training shows in a pipe: signs of life until the first step, and means beside what jumps."""

from __future__ import annotations

import threading
import time

from leanthink.commands.follower import RUNNING, STARTING, Follower
from leanthink.terminal import Terminal


def row(step: int, accuracy: float, tokens: float) -> dict[str, float]:
    return {"step": step, "leanthink/accuracy": accuracy, "leanthink/length/all": tokens, "timing_s/step": 2.0}


def test_step_lines_have_a_running_mean() -> None:
    console = Terminal(width=80, force_terminal=False)
    with console.capture() as capture, Follower(console, 70, every=1000) as follower:
        follower.on_step({"step": 0, "leanthink/accuracy": 0.1})  # the evaluation before
        for step in range(1, RUNNING + 3):
            follower.on_step(row(step, step % 2, 10.0 * step))
    first, *lines = capture.get().splitlines()
    assert first.startswith("first step done after ")
    assert lines[0] == "step 1  accuracy 100%  tokens 10.0  seconds 2.0"
    assert lines[1] == "step 2  accuracy 0%  tokens 20.0  seconds 2.0  (mean of 2: accuracy 50%, tokens 15.0)"
    tokens = sum(10.0 * step for step in range(3, RUNNING + 3)) / RUNNING
    assert lines[-1].endswith(f"(mean of {RUNNING}: accuracy 50%, tokens {tokens:.1f})")


def test_a_pipe_shows_signs_of_life_until_the_first_step() -> None:
    console, now = Terminal(width=80, force_terminal=False), iter(range(0, 10_000, 20))
    with console.capture():
        pass
    lines: list[str] = []
    said = threading.Event()
    follower = Follower(console, None, every=0.01, clock=lambda: next(now))
    follower.say = lambda text: (lines.append(text), said.set())  # type: ignore[method-assign]
    with follower:
        assert said.wait(60)
        follower.on_step(row(1, 1, 10))
        time.sleep(0.05)
        begun = len(lines)
        time.sleep(0.1)
    assert lines[0] == f"{STARTING}: 20 s" and lines[-1].startswith("step 1  ")
    assert len(lines) == begun  # no more of them once it trains


def test_a_terminal_shows_a_bar_instead() -> None:
    console = Terminal(width=80, force_terminal=True)
    with console.capture() as capture, Follower(console, 70, every=0.01) as follower:
        time.sleep(0.1)
        follower.on_step(row(1, 1, 10))
    assert "step 1" not in capture.get() and f"{STARTING}: " not in capture.get()
