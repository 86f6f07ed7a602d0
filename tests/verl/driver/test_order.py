"""The order of a batch is its own, whatever order responses came in."""

import random

import pytest
from transfer_queue import KVBatchMeta

from leanthink.recipe.definition import load_recipe
from leanthink.verl.driver import shaping
from leanthink.verl.driver.shaping import Shaper, ShapingReplayBuffer
from leanthink.verl.rollout.facts import RESPONSE_KEY, response_key
from leanthink.verl.settings import Settings

NAMES = {f"{uid}_{session}_0": response_key(uid, [session, 7]) for uid in "ab" for session in range(4)}


def ordered(monkeypatch, tmp_path, seed, sort_by_length=False):
    """The responses by name, and the lengths, after they came in some order, padding among them."""
    keys = [*NAMES, "pad_0", "pad_1"]
    random.Random(seed).shuffle(keys)
    batch = KVBatchMeta(
        keys=keys,
        tags=[{"is_padding": key.startswith("pad"), "seq_len": 9 - 2 * (key[-3:-2] == "1")} for key in keys],
        partition_id="train",
    )

    def get(keys, partition_id, select_fields):
        assert select_fields == ["extra_fields"]
        return {"extra_fields": [{"reward_extra_info": {RESPONSE_KEY: NAMES[key]}} for key in keys]}

    monkeypatch.setattr(shaping.tq, "kv_batch_get", get)
    buffer = object.__new__(ShapingReplayBuffer)
    buffer.shaper = Shaper(Settings.of(load_recipe("grpo"), sort_by_length=sort_by_length), tmp_path)
    buffer._order(batch)
    assert sorted(batch.keys) == sorted(keys)
    return [NAMES.get(key, "pad") for key in batch.keys], [tag["seq_len"] for tag in batch.tags]


@pytest.mark.parametrize("sort_by_length", [False, True])
def test_it_does_not_depend_on_who_came_first(monkeypatch, tmp_path, sort_by_length):
    found = {tuple(ordered(monkeypatch, tmp_path, seed, sort_by_length)[0]) for seed in range(20)}
    assert len(found) == 1
    (names,) = found
    if not sort_by_length:  # prompts stay together, padding comes last
        assert list(names) == [*sorted(NAMES.values()), "pad", "pad"]


def test_lengths_rise_where_they_are_to(monkeypatch, tmp_path):
    lengths = ordered(monkeypatch, tmp_path, 3, sort_by_length=True)[1]
    assert lengths == sorted(lengths) and len(set(lengths)) == 2


def test_responses_are_told_apart_by_prompt_and_tokens():
    assert len({response_key(prompt, tokens) for prompt in "ab" for tokens in ([1], [2], [1, 2], [])}) == 8


def test_scoring_goes_group_by_group_in_an_order_that_is_drawn_anew_for_each_step():
    facts = [{RESPONSE_KEY: response_key(f"p{row % 7}", [row])} for row in range(28)]
    first = {}
    for step in range(1, 40):
        for run in (1, 2):  # verl's ids are new in every run
            uids = [f"{random.Random(f'{run} {row % 7}').random()}" for row in range(28)]
            order = shaping._group_order(facts, uids, step)
            rows = sorted(range(28), key=order.__getitem__)
            assert first.setdefault(step, rows) == rows
            groups = [row % 7 for row in rows]
            assert groups == sorted(groups, key=groups.index)  # each in one piece
    assert {rows[0] % 7 for rows in first.values()} == set(range(7))
