import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from leanthink import RolloutBatch, StatefulReward
from leanthink.errors import BatchError, ConfigError, MissingColumnError, StateError
from leanthink.recipe import Recipe, load_recipe
from leanthink.rewards import Correct, StepwiseGain, Sum
from leanthink.scoring import score_step
from leanthink.verl import shaping
from leanthink.verl.checkpoint import FILE, load_state, save_state
from leanthink.verl.probes import PROBED, Probed
from leanthink.verl.settings import Settings
from leanthink.verl.shaping import Shaper, _filtering


@dataclass(frozen=True, kw_only=True)
class Counting(StatefulReward):
    """Pays the number of responses seen before this step."""

    is_term = True

    def init(self):
        return {"seen": 0}

    def update(self, batch, state):
        return torch.full((len(batch),), float(state["seen"])), {"seen": state["seen"] + len(batch)}


STATEFUL = Recipe(name="counting", reward=Sum(correct=Correct(), seen=Counting()))
NODE = {"sum": {"correct": "correct", "seen": f"{__name__}:Counting"}}


def fact(acc=1.0, length=10.0, unknown=0.0, truncated=0.0, **more):
    base = {"acc": acc, "unknown": unknown, "truncated": truncated, "length": length, "verify_seconds": 0.0}
    return {**base, "pred": "", "reason": "unknown/timeout" if unknown else "correct/equal", "difficulty": "", **more}


def shaper(recipe, tmp_path, resume_from=None, **options):
    built = Shaper.__new__(Shaper)
    built.__init__(Settings.of(load_recipe("grpo"), **options), tmp_path, resume_from)
    built.recipe = recipe
    return built


def test_shaping_is_scoring_of_the_same_batch(tmp_path):
    recipe = load_recipe("trle")
    facts = [fact(length=n) for n in (8, 12, 20)] + [fact(acc=0.0, length=9), fact(length=30, truncated=1.0)]
    uids = ["a", "b", "a", "b", "a"]
    reward_N, takes_part_N, metrics, _ = Shaper(Settings.of(recipe), tmp_path).shape(facts, uids, step=1)
    batch = RolloutBatch.of(
        group=uids, length=[8, 12, 20, 9, 30], correct=[1, 1, 1, 0, 1], truncated=[0, 0, 0, 0, 1], step=0
    )
    torch.testing.assert_close(reward_N, score_step(recipe, batch).reward)
    assert takes_part_N.all()
    assert metrics["accuracy"] == pytest.approx(0.8)
    assert metrics["truncated_share"] == pytest.approx(0.2)


STEPS = Recipe(name="steps", reward=Sum(correct=Correct(), steps=StepwiseGain()))


def test_where_a_reward_falls_is_counted_in_rows_of_the_whole_batch(tmp_path):
    probes = {"cut_tokens": [2, 5], "probe_accuracies": [0.0, 1.0]}
    none = {"cut_tokens": [], "probe_accuracies": []}
    facts = [fact(0.0, unknown=1.0, **none), fact(**none), fact(**probes)]
    shaped = shaper(STEPS, tmp_path).shape(facts, ["a", "a", "b"], step=1)
    assert shaped.reward_N.tolist() == [0.0, 1.0, 2.0]
    assert (shaped.placement.row.tolist(), shaped.placement.token.tolist()) == ([2], [2])
    assert shaper(load_recipe("grpo"), tmp_path).shape([fact()], ["a"], step=1).placement is None


class Queue:
    """What the sampler reads from and writes to TransferQueue."""

    def __init__(self, rows):
        self.rows, self.written = rows, {}

    def kv_batch_get(self, keys, partition_id, select_fields):
        jagged = lambda name: torch.nested.as_nested_tensor([row[name] for row in self.rows], layout=torch.jagged)  # noqa: E731
        lists = {name: [row[name] for row in self.rows] for name in ("extra_fields", "uid")}
        return {"rm_scores": jagged("rm_scores"), "response_mask": jagged("response_mask"), **lists}

    def kv_batch_put(self, keys, partition_id, fields):
        self.written = {name: [row.tolist() for row in fields[name].unbind()] for name in fields.keys()}  # noqa: SIM118


def sampled(monkeypatch, tmp_path, recipe, rows):
    queue = Queue(rows)
    monkeypatch.setattr(shaping, "tq", queue)
    buffer = object.__new__(shaping.ShapingReplayBuffer)
    buffer.shaper = shaper(recipe, tmp_path)
    keys = [f"k{number}" for number in range(len(rows))]
    batch = SimpleNamespace(keys=keys, tags=[{} for _ in keys], partition_id="train")
    return buffer._shape(batch, 1), queue.written


def row(length, facts, **more):
    scores, mask = torch.zeros(length), torch.ones(length, dtype=torch.int64)
    extra_fields = {"reward_extra_info": {**facts, "length": float(length)}, **more}
    return {"rm_scores": scores, "response_mask": mask, "extra_fields": extra_fields, "uid": "a"}


def test_placed_rewards_are_written_to_their_tokens(monkeypatch, tmp_path):
    probed = Probed(cut_tokens=[1, 3], probe_accuracies=[0.0, 1.0], asked=10, seconds=2.0).node()
    rows = [
        row(4, fact(), **{PROBED: probed}),
        row(2, fact(acc=0.0), **{PROBED: Probed().node()}),
        row(3, fact(0.0, unknown=1.0), **{PROBED: probed}),
    ]
    metrics, written = sampled(monkeypatch, tmp_path, STEPS, rows)
    assert written["rm_scores"] == [[0.0, 1.0, 0.0, 1.0], [0.0, 0.0], [0.0, 0.0, 0.0]]
    assert written["response_mask"] == written["loss_mask"] == [[1, 1, 1, 1], [1, 1], [0, 0, 0]]
    assert metrics["leanthink/probe/count"] == 20.0 and metrics["leanthink/part/steps"] == 0.5


def test_plain_rewards_are_written_to_the_last_token(monkeypatch, tmp_path):
    metrics, written = sampled(monkeypatch, tmp_path, load_recipe("grpo"), [row(3, fact()), row(1, fact(acc=0.0))])
    assert written == {"rm_scores": [[0.0, 0.0, 1.0], [0.0]]}
    assert not any("probe" in name for name in metrics)


def test_a_response_that_was_not_probed_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"response k0 was not probed.*agent_loop_manager_class"):
        sampled(monkeypatch, tmp_path, STEPS, [row(3, fact())])


def test_failed_probes_stop_the_run(monkeypatch, tmp_path):
    failed = Probed(cut_tokens=[1, 2], probe_accuracies=[None, None], asked=10, unknown=10)
    with pytest.raises(BatchError, match="100% of the probes are unknown"):
        sampled(monkeypatch, tmp_path, STEPS, [row(3, fact(), **{PROBED: failed.node()})])


def test_an_unknown_verdict_leaves_its_groups_statistics_alone(tmp_path):
    recipe = load_recipe("trle")
    facts = [fact(length=8), fact(length=20), fact(acc=0.0, unknown=1.0, length=500)]
    with_unknown, takes_part_N, metrics, _ = Shaper(Settings.of(recipe), tmp_path).shape(facts, ["a"] * 3, step=1)
    without, *_ = Shaper(Settings.of(recipe), tmp_path).shape(facts[:2], ["a"] * 2, step=1)
    torch.testing.assert_close(with_unknown[:2], without)
    assert takes_part_N.tolist() == [True, True, False]
    assert metrics["unknown_share"] == metrics["unknown/timeout"] == pytest.approx(1 / 3)
    assert metrics["accuracy"] == 1.0


def test_unknown_counts_as_wrong_if_asked(tmp_path):
    settings = Settings.of(load_recipe("grpo"), unknown="wrong")
    reward_N, takes_part_N, *_ = Shaper(settings, tmp_path).shape([fact(), fact(0.0, unknown=1.0)], ["a", "a"], step=1)
    assert reward_N.tolist() == [1.0, 0.0]
    assert takes_part_N.all()


def test_too_many_unknown_verdicts_stop_the_run_with_their_reasons(tmp_path):
    facts = [fact(0.0, unknown=1.0), fact(0.0, unknown=1.0), fact()]
    with pytest.raises(BatchError, match=r"67% of the verdicts are unknown.*2 x unknown/timeout.*max_unknown"):
        Shaper(Settings.of(load_recipe("grpo")), tmp_path).shape(facts, ["a"] * 3, step=1)


def test_a_column_the_data_lack_is_named(tmp_path):
    recipe = Recipe(name="mine", reward=load_recipe("grpo", ["reward={gate: {column: budget, of: correct}}"]).reward)
    with pytest.raises(MissingColumnError, match="needs the column 'budget'"):
        Shaper(Settings.of(recipe), tmp_path).shape([fact()], ["a"], step=1)


def test_state_goes_on_after_a_resume(tmp_path):
    facts, uids = [fact(), fact(acc=0.0)], ["a", "a"]
    straight = shaper(STATEFUL, tmp_path)
    rewards = [straight.shape(facts, uids, step)[0] for step in (1, 2, 3)]

    first = shaper(STATEFUL, tmp_path)
    for step in (1, 2):
        first.shape(facts, uids, step)
    folder = tmp_path / "global_step_2"
    folder.mkdir()
    save_state(folder, first.settings, first.state, step=2)
    resumed = shaper(STATEFUL, tmp_path).shape(facts, uids, step=3)[0]
    torch.testing.assert_close(resumed, rewards[2])

    elsewhere = shaper(STATEFUL, tmp_path / "other", resume_from=folder).shape(facts, uids, step=3)[0]
    torch.testing.assert_close(elsewhere, rewards[2])


def test_checkpoint_without_our_state(tmp_path):
    (tmp_path / "global_step_4").mkdir()
    with pytest.raises(StateError, match=r"has no reward state.*resume_path"):
        shaper(STATEFUL, tmp_path).shape([fact()], ["a"], step=5)


def test_checkpoint_of_another_recipe(tmp_path):
    save_state(tmp_path, Settings.of(load_recipe("kimi")), {}, step=1)
    with pytest.raises(StateError, match="belongs to recipe kimi, this run trains trle"):
        load_state(tmp_path, Settings.of(load_recipe("trle")))


def test_broken_state_file(tmp_path):
    (tmp_path / FILE).write_text("{", encoding="utf-8")
    with pytest.raises(StateError, match="is no JSON"):
        load_state(tmp_path, Settings.of(load_recipe("trle")))


def test_saved_state_is_plain_json(tmp_path):
    save_state(tmp_path, Settings.of(load_recipe("trle")), {"seen": {"seen": 4}}, step=7)
    content = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert (content["step"], content["state"]) == (7, {"seen": {"seen": 4}})
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_groups_are_filtered_on_raw_correctness_only():
    run = {"sync_refill_failed_groups": False, "train_batch_size": 4, "gen_batch_size": None}
    arguments = _filtering({**run, "filter_groups": {"enable": True, "metric": "acc"}}, object())
    assert (arguments["filter_groups_metric"], arguments["gen_batch_size"]) == ("acc", 1)
    assert _filtering({**run, "filter_groups": {"enable": False, "metric": "reward"}}, object())["gen_batch_size"] == 4
    with pytest.raises(ConfigError, match="set it to acc"):
        _filtering({**run, "filter_groups": {"enable": True, "metric": "reward"}}, object())


def test_settings_without_our_node():
    with pytest.raises(ConfigError, match="has no 'leanthink' node"):
        Settings.read({"trainer": {}})


def test_settings_survive_the_configuration():
    settings = Settings.of(load_recipe("kimi"), unknown="wrong", verify={"deadline": 2.0})
    assert Settings.read(settings.node()) == settings
    assert settings.build().reward == load_recipe("kimi").reward


@pytest.mark.parametrize(("option", "value"), [("unknown", "zero"), ("max_unknown", 1.5), ("poll_interval", 0)])
def test_options_out_of_range(option, value):
    with pytest.raises(ConfigError, match=option):
        Settings.of(load_recipe("grpo"), **{option: value})
