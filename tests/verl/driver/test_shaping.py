import json
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.rewards import Correct, StepwiseGain, Sum
from leanthink.training import Shaper
from leanthink.verl.driver import shaping
from leanthink.verl.driver.filtering import BoundedRefill, filtering_arguments, prompts_a_step
from leanthink.verl.driver.shaping import _Shaping
from leanthink.verl.rollout.probes import PROBED, Probed
from leanthink.verl.settings import Settings
from made_facts import fact

STEPS = Recipe(name="steps", reward=Sum(correct=Correct(), steps=StepwiseGain()))


class Queue:
    """What the sampler reads from and writes to TransferQueue."""

    def __init__(self, rows):
        self.rows, self.written = rows, {}

    def kv_batch_get(self, keys, partition_id, select_fields):
        assert set(select_fields) <= {"extra_fields", "uid"}  # nothing by token is read
        return {name: [row[name] for row in self.rows] for name in select_fields}

    def kv_batch_put(self, keys, partition_id, fields):
        for name in fields.keys():  # noqa: SIM118 - no mapping
            if name not in self.written:
                self.written[name] = [None if name == "rm_scores" else row[name].tolist() for row in self.rows]
            for key, values in zip(keys, fields[name].unbind(), strict=True):
                self.written[name][int(key[1:])] = values.tolist()


def sampled(monkeypatch, recipe, rows, rollouts=None):
    queue = Queue(rows)
    monkeypatch.setattr(shaping, "tq", queue)
    buffer = object.__new__(shaping.ShapingReplayBuffer)
    buffer._group_loss = None
    buffer._rollouts = rollouts
    buffer.shaper = Shaper(Settings.of(recipe))
    keys = [f"k{number}" for number in range(len(rows))]
    tags = [{"response_len": len(row["response_mask"])} for row in rows]
    batch = SimpleNamespace(keys=keys, tags=tags, partition_id="train")
    return buffer._shape(batch, 1), queue.written


def row(length, facts, **more):
    mask = torch.ones(length, dtype=torch.int64)
    extra_fields = {"reward_extra_info": {**facts, "length": float(length)}, **more}
    return {"response_mask": mask, "loss_mask": mask, "extra_fields": extra_fields, "uid": "a"}


def test_placed_rewards_are_written_to_their_tokens(monkeypatch):
    probed = Probed(cut_tokens=[1, 3], probe_accuracies=[0.0, 1.0], asked=10, seconds=2.0).node()
    rows = [
        row(4, fact(), **{PROBED: probed}),
        row(2, fact(acc=0.0), **{PROBED: Probed().node()}),
        row(3, fact(0.0, unknown=1.0), **{PROBED: probed}),
    ]
    metrics, written = sampled(monkeypatch, STEPS, rows)
    assert written["rm_scores"] == [[0.0, 1.0, 0.0, 1.0], [0.0, 0.0], [0.0, 0.0, 0.0]]
    assert written["response_mask"] == written["loss_mask"] == [[1, 1, 1, 1], [1, 1], [0, 0, 0]]
    assert metrics["leanthink/probe/count"] == 20.0 and metrics["leanthink/part/steps"] == 0.5


def test_plain_rewards_are_written_to_the_last_token(monkeypatch):
    metrics, written = sampled(monkeypatch, load_recipe("grpo"), [row(3, fact()), row(1, fact(acc=0.0))])
    assert written == {"rm_scores": [[0.0, 0.0, 1.0], [0.0]]}
    assert not any("probe" in name for name in metrics)


def test_kept_rollouts_carry_facts_rewards_and_parts_by_response(monkeypatch, tmp_path):
    rows = [row(4, fact()), row(2, fact(0.0, unknown=1.0)), row(3, fact(acc=0.0))]
    sampled(monkeypatch, load_recipe("kimi"), rows, rollouts=tmp_path / "rollouts")
    lines = (tmp_path / "rollouts" / "shaped" / "1.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [json.loads(line) for line in lines]
    assert [(one["uid"], one["acc"], one["unknown"]) for one in kept] == [("k0", 1, 0), ("k1", 0, 1), ("k2", 0, 0)]
    assert [one.get("reward") for one in kept] == [1.0, None, 0.0]
    assert [one.get("advantage") for one in kept] == [0.5, None, -0.5]
    assert kept[0]["parts"] == {"correct": 1.0, "length": 0.0}


@pytest.mark.parametrize("partition", ["val", "train"])
@pytest.mark.parametrize("buffer_class", [shaping.ShapingReplayBuffer, shaping.ShapingReplayBufferAsync])
def test_validation_is_handed_on_as_it_came_and_teaches_the_state_nothing(monkeypatch, buffer_class, partition):
    rows = [row(4, fact(prompt_key="p")), row(2, fact(acc=1.0, prompt_key="p"))]
    queue, keys = Queue(rows), ["k0", "k1"]
    monkeypatch.setattr(shaping, "tq", queue)
    tags = [{"response_len": 4, "seq_len": 9}, {"response_len": 2, "seq_len": 7}]
    batch = SimpleNamespace(keys=keys, tags=tags, partition_id=partition, reorder=lambda order: None)
    verls = buffer_class.__mro__[2]
    monkeypatch.setattr(verls, "sample", lambda self, **asked: (batch, {"verls": asked["batch_size"]}))
    buffer = object.__new__(buffer_class)
    buffer._group_loss = buffer._rollouts = None
    buffer._sort_by_length = False
    buffer._refill, buffer._told_apart = SimpleNamespace(asked=3), {}
    buffer.shaper = Shaper(Settings.of(load_recipe("hapo")))
    before = repr(buffer.shaper.states)
    given, metrics = buffer.sample(1, partition, 2)
    assert given is batch and metrics["verls"] == 2
    learnt = repr(buffer.shaper.states) != before
    assert (bool(queue.written), learnt, len(metrics) > 1) == ((True,) * 3 if partition == "train" else (False,) * 3)


def test_a_response_that_was_not_probed_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"response k0 was not probed.*agent_loop_manager_class"):
        sampled(monkeypatch, STEPS, [row(3, fact())])


def test_failed_probes_stop_the_run(monkeypatch):
    failed = Probed(cut_tokens=[1, 2], probe_accuracies=[None, None], asked=10, unknown=10)
    with pytest.raises(BatchError, match="100% of the probes are unknown"):
        sampled(monkeypatch, STEPS, [row(3, fact(), **{PROBED: failed.node()})])


def test_groups_are_filtered_on_raw_correctness_only():
    run = {"sync_refill_failed_groups": False, "train_batch_size": 4, "gen_batch_size": None}
    arguments = filtering_arguments({**run, "filter_groups": {"enable": True, "metric": "acc"}}, object())
    assert (arguments["filter_groups_metric"], arguments["gen_batch_size"]) == ("acc", 1)
    assert (
        filtering_arguments({**run, "filter_groups": {"enable": False, "metric": "reward"}}, object())["gen_batch_size"]
        == 4
    )
    kept = filtering_arguments({**run, "filter_groups": {"enable": True, "metric": "acc_then_reward"}}, object())
    assert (kept["filter_groups_metric"], kept["gen_batch_size"]) == ("acc", 1)
    with pytest.raises(ConfigError, match="set it to acc"):
        filtering_arguments({**run, "filter_groups": {"enable": True, "metric": "reward"}}, object())


def test_generating_for_ever_is_an_error():
    run = {"train_batch_size": 16, "filter_groups": {"enable": True, "metric": "acc", "max_num_gen_batches": 2}}
    asked = []
    refill = BoundedRefill(asked.append, prompts_a_step(run))
    for prompts in (20, 12):
        refill(prompts)
    with pytest.raises(BatchError, match=r"33 prompts .* all right or all wrong.*max_num_gen_batches \(now 32 prompts"):
        refill(1)
    refill.asked = 0  # the next step
    refill(8)
    assert asked == [20, 12, 8]
    unbounded = BoundedRefill(asked.append, prompts_a_step({**run, "filter_groups": None}))
    unbounded(10**6)
    assert asked[-1] == 10**6


def test_settings_without_our_node():
    with pytest.raises(ConfigError, match="has no 'leanthink' node"):
        Settings.read({"trainer": {}})


def test_settings_survive_the_configuration():
    settings = Settings.of(load_recipe("kimi"), unknown="wrong", truncated="mask", verify={"deadline": 2.0})
    assert Settings.read(settings.node()) == settings
    assert Settings.read(Settings.of(load_recipe("dler")).node()).build().limit == load_recipe("dler").limit
    assert settings.build().reward == load_recipe("kimi").reward


@pytest.mark.parametrize(
    ("option", "value"), [("unknown", "zero"), ("truncated", "drop"), ("max_unknown", 1.5), ("poll_interval", 0)]
)
def test_options_out_of_range(option, value):
    with pytest.raises(ConfigError, match=option):
        Settings.of(load_recipe("grpo"), **{option: value})


GUARDED = {"sum": {"correct": "correct", "length": {"collapse_guard": {"of": "kimi_length"}}}}


@pytest.mark.parametrize("overrides", [[f"reward={json.dumps(GUARDED)}"], ["reward.lambda_switch.top_fraction=0.5"]])
def test_a_reward_of_the_whole_batch_cannot_tell_one_group_apart(tmp_path, monkeypatch, overrides):
    monkeypatch.setattr(shaping.dispatch, "use", lambda shaper: None)
    filtering = {"enable": True, "metric": "acc_then_reward"}
    run = {"resume_mode": "disable", "checkpoints": str(tmp_path), "train_batch_size": 4, "filter_groups": filtering}
    node = Settings.of(load_recipe("grpo_lambda", overrides)).node()
    with pytest.raises(ConfigError, match=r"recipe grpo_lambda reads the whole batch; filter with metric acc"):
        shaping.ShapingReplayBuffer(sampler_kwargs={"leanthink": node, "run": run}, refill_fn=print)


class Alike:
    """What verl's replay buffer says of finished groups: three that are all right or all wrong."""

    def _terminal_eviction_reasons(self, global_steps, partition_id):
        return set(), {"long", "short", "wrong"}, {"failed"}, Counter({1.0: 2, 0.0: 1})


class Sampler(_Shaping, Alike):
    pass


@pytest.mark.parametrize("keeps", [True, False])
def test_all_correct_groups_stay_where_the_reward_tells_them_apart(monkeypatch, keeps):
    lengths = {"long_0_0": 900, "long_1_0": 2500, "short_0_0": 900, "short_1_0": 1500}
    asked = []

    def kv_batch_get(*, keys, partition_id, select_fields):
        asked.append(keys)
        return {"extra_fields": [{"reward_extra_info": fact(length=lengths[key])} for key in keys]}

    monkeypatch.setattr(shaping.tq, "kv_batch_get", kv_batch_get)
    sampler = object.__new__(Sampler)
    sampler.shaper = Shaper(Settings.of(load_recipe("da_dler")))
    sampler._keeps_all_correct, sampler._told_apart, sampler._easy = keeps, {}, None
    sampler.partitions = {"train": dict.fromkeys([*lengths, "wrong_0_0", "wrong_1_0"])}
    sampler._dapo_classification_cache = {"train": {"long": 1.0, "short": 1.0, "wrong": 0.0}}
    for _ in range(2):  # verl asks again and again while it waits
        stale, alike, failed, counts = sampler._terminal_eviction_reasons(1, "train")
    assert (stale, failed) == (set(), {"failed"})
    assert alike == ({"short", "wrong"} if keeps else {"long", "short", "wrong"})
    assert counts == ({1.0: 1, 0.0: 1} if keeps else {1.0: 2, 0.0: 1})
    assert sorted(asked) == ([["long_0_0", "long_1_0"], ["short_0_0", "short_1_0"]] if keeps else [])


@pytest.mark.parametrize(
    ("kappa", "kept"), [(0.0, set()), (0.2, {"e1"}), (0.34, {"e1", "e2"}), (0.9, {"e1", "e2", "e3"})]
)
def test_always_solved_groups_stay_up_to_the_share_that_the_reward_says(kappa, kept):
    """Four mixed groups: one easy one at a share of 0.2, two at 0.34, all three at 0.9; wrong ones go."""
    easy = {"e1", "e2", "e3"}

    class Solved:
        def _terminal_eviction_reasons(self, global_steps, partition_id):
            return set(), {*easy, "wrong"}, set(), Counter({1.0: 3, 0.0: 1})

    class WithEasy(_Shaping, Solved):
        pass

    sampler = object.__new__(WithEasy)
    recipe = load_recipe("decs", [f"reward.easy_share.start_share={kappa}"])
    sampler.shaper = Shaper(Settings.of(recipe))
    sampler._keeps_all_correct, sampler._easy = False, shaping.easy_part(recipe.reward)
    mixed = {f"m{number}": None for number in range(4)}
    sampler._dapo_classification_cache = {"train": {**dict.fromkeys(easy, 1.0), "wrong": 0.0, **mixed}}
    _, alike, _, counts = sampler._terminal_eviction_reasons(1, "train")
    assert alike == {*easy, "wrong"} - kept
    assert counts == Counter({1.0: 3, 0.0: 1}) - Counter({1.0: len(kept)})


def test_who_says_how_many_easy_groups_stay_is_the_whole_reward():
    assert shaping.easy_part(load_recipe("grpo").reward) is None
    hidden = load_recipe("grpo", ["reward={sum: {decs: {easy_share: {}}, form: format}}"]).reward
    with pytest.raises(ConfigError, match="easy_share is a part of Sum; let it be the whole reward"):
        shaping.easy_part(hidden)


def test_who_takes_no_part_is_a_group_of_its_own_to_verls_estimators(monkeypatch):
    rows = [row(3, fact()), row(2, fact(0.0, unknown=1.0)), row(1, fact(acc=0.0))]
    put = []

    class Written(Queue):
        def kv_batch_put(self, keys, partition_id, fields):
            put.append(fields)

    monkeypatch.setattr(shaping, "tq", Written(rows))
    buffer = object.__new__(shaping.ShapingReplayBuffer)
    buffer._group_loss = buffer._rollouts = None
    buffer.shaper = Shaper(Settings.of(load_recipe("grpo", ["advantage=opo"])))
    buffer._shape(SimpleNamespace(keys=["k0", "k1", "k2"], tags=[{"response_len": 3}] * 3, partition_id="train"), 1)
    assert [str(getattr(uid, "data", uid)) for uid in put[-1]["uid"]] == ["a", "a/k1", "a"]


def test_a_reward_falls_on_the_last_token_that_the_policy_wrote(monkeypatch):
    """Behind a tool's message, or a forced end without an answer, the last token is masked."""
    rows = [row(4, fact(), leanthink_last=2), row(2, fact())]
    _, written = sampled(monkeypatch, load_recipe("grpo"), rows)
    assert written["rm_scores"] == [[0.0, 1.0, 0.0, 0.0], [0.0, 1.0]]


def test_a_loss_of_groups_is_told_who_takes_part_what_was_right_and_what_it_asked_for(monkeypatch):
    """One verdict is unknown, one right, one wrong: no two columns of what is handed over are alike."""
    rows = [row(3, fact()), row(2, fact(0.0, unknown=1.0)), row(1, fact(acc=0.0))]
    asked, given = [], []

    class Reading(Queue):
        def kv_batch_get(self, keys, partition_id, select_fields):
            asked.append(tuple(select_fields))
            return {name: [one.get(name, name) for one in self.rows] for name in select_fields}

    queue = Reading(rows)
    monkeypatch.setattr(shaping, "tq", queue)
    buffer = object.__new__(shaping.ShapingReplayBuffer)
    buffer._rollouts = None
    written = lambda step: given.append(step) or {"loss/seen": 2.0}  # noqa: E731
    buffer._group_loss = SimpleNamespace(reads=("sampled",), write=written)
    buffer.shaper = Shaper(Settings.of(load_recipe("grpo", ["reward={scale: {by: 3, of: correct}}"])))
    tags = [{"response_len": length} for length in (3, 2, 1)]
    metrics = buffer._shape(SimpleNamespace(keys=["k0", "k1", "k2"], tags=tags, partition_id="train"), 1)
    (step,) = given
    assert metrics["leanthink/loss/seen"] == 2.0
    assert {"response_mask", "sampled"} <= set(asked[0]) and step.data["sampled"] == ["sampled"] * 3
    assert step.keys == ["k0", "k1", "k2"] and step.uids == ["a"] * 3
    assert step.takes_part_N.tolist() == [True, False, True]
    assert step.correct_N.tolist() == [1.0, 0.0, 0.0]
    assert step.reward_N.tolist() == [3.0, 0.0, 0.0]
    assert [one["unknown"] for one in step.facts] == [0, 1, 0]
    assert queue.written["response_mask"] == [[1, 1, 1], [0, 0], [1]]


def test_groups_that_go_for_another_reason_are_not_counted_among_the_mixed():
    """Of four mixed groups one is stale and one has failed: beside the two that are left, one easy one is a third."""

    class Solved:
        def _terminal_eviction_reasons(self, global_steps, partition_id):
            return {"m0"}, {"e1", "e2", "e3"}, {"m1"}, Counter({1.0: 3})

    class WithEasy(_Shaping, Solved):
        pass

    sampler = object.__new__(WithEasy)
    recipe = load_recipe("decs", ["reward.easy_share.start_share=0.34"])
    sampler.shaper = Shaper(Settings.of(recipe))
    sampler._keeps_all_correct, sampler._easy = False, shaping.easy_part(recipe.reward)
    values = {**dict.fromkeys(("e1", "e2", "e3"), 1.0), **{f"m{number}": None for number in range(4)}}
    sampler._dapo_classification_cache = {"train": values}
    assert sampler._terminal_eviction_reasons(1, "train")[1] == {"e2", "e3"}


def test_a_step_begins_with_nothing_of_the_step_before(monkeypatch):
    """Neither what was asked for in place of filtered prompts, nor which groups an earlier state told apart."""
    monkeypatch.setattr(shaping, "tq", Queue([row(4, fact())]))
    batch = SimpleNamespace(
        keys=["k0"], tags=[{"response_len": 4}], partition_id="train", reorder=lambda order: None
    )  # fmt: skip
    asked = []
    buffer = object.__new__(shaping.ShapingReplayBuffer)

    def sample(self, **given):
        asked.append(self._refill.asked)
        return batch, {}

    monkeypatch.setattr(shaping.ReplayBuffer, "sample", sample)
    buffer._group_loss = buffer._rollouts = None
    buffer._sort_by_length = False
    buffer._refill, buffer._told_apart = SimpleNamespace(asked=3), {"a": True}
    buffer.shaper = Shaper(Settings.of(load_recipe("grpo")))
    buffer.sample(1, "train", 1)
    assert asked == [0] and buffer._told_apart == {}
