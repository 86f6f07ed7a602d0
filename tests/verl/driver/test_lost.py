import logging
import os
import threading
import time
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError

from leanthink.verl.driver import lost


class Died(ActorDiedError):
    """Ray makes its own from what it knows of the actor; only the words matter here."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def __str__(self):
        return self.words


def controller(monkeypatch, *answers):
    """An actor's handle that answers so, one question after another."""
    left = list(answers)

    def get(asked, timeout):
        assert asked == "asked" and timeout == 7
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray, "get", get)
    return SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda: "asked")), left


def test_a_queue_that_died_ends_the_run_and_says_what_ray_says(monkeypatch, caplog):
    slept, ended = [], []
    monkeypatch.setattr(lost.time, "sleep", slept.append)
    gone = Died("its node has died,\n  as a machine does")
    unavailable = ActorUnavailableError("out of reach", None)
    actor, left = controller(monkeypatch, True, GetTimeoutError(), unavailable, True, gone)
    with caplog.at_level(logging.ERROR):
        lost.watch(actor, ended.append, every=7, grace=11)
    assert ended == [1] and not left
    assert slept == [7, 7, 7, 7, 11]
    assert "its node has died, as a machine does" in caplog.text
    assert "the same command goes on from the last checkpoint" in caplog.text


def test_a_queue_that_verl_closed_ends_nothing(monkeypatch):
    closed = Died("The actor is dead because it was killed by `ray.kill`.")
    actor, left = controller(monkeypatch, closed)
    lost.watch(actor, lambda status: pytest.fail("the run is over, and well"), every=7)
    assert not left


def test_a_queue_of_another_name_is_told_and_stops_no_run(monkeypatch, caplog):
    def get_actor(name, namespace):
        raise ValueError(f"Failed to look up actor {name!r} of {namespace}")

    monkeypatch.setattr(ray, "get_actor", get_actor)
    lost.end_without_queue()
    assert "no watch over TransferQueue" in caplog.text and "'TransferQueueController'" in caplog.text


def test_the_controller_is_watched_by_a_thread_that_ends_with_the_process(monkeypatch):
    watched = []
    monkeypatch.setattr(ray, "get_actor", lambda name, namespace: (name, namespace))
    monkeypatch.setattr(lost, "watch", lambda actor, end: watched.append((actor, end, threading.current_thread())))
    lost.end_without_queue()
    while not watched:
        time.sleep(0.01)
    (actor, end, thread), *_ = watched
    assert actor == ("TransferQueueController", "transfer_queue") and end is os._exit and thread.daemon
