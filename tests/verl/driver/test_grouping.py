import functools
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from leanthink.algorithms import Drpo
from leanthink.core.errors import BatchError, ConfigError, DependencyError
from leanthink.recipe.definition import load_recipe
from leanthink.rewards.opened import MODE
from leanthink.verl.driver import grouping
from leanthink.verl.driver.grouping import GroupLoss, StepBatch, WholeGroups, in_whole_groups
from leanthink.verl.settings import Settings
from leanthink.verl.update import losses

EXACT = Drpo(length_temperature=0.1, limit=96.0)


def batch_of(groups, rollouts, lost=()):
    """Rows in mixed order, as verl's buffer has them: keys ``uid_session_index``, some of them lost."""
    keys = [f"u{group}_{session}_0" for session in range(rollouts) for group in range(groups)]
    keys = [key for key in keys if key not in lost]
    tags = [{"seq_len": 10 + 7 * (row % 5), "is_padding": False} for row in range(len(keys))]
    return KVBatchMeta(keys=keys, tags=tags, partition_id="train")


def pad(batch, rows):
    """As verl pads: empty rows at the end."""
    keys = [f"pad_{row}_0" for row in range(len(batch), rows)]
    tags = [{"seq_len": 128, "is_padding": True} for _ in keys]
    return KVBatchMeta(keys=batch.keys + keys, tags=batch.tags + tags, partition_id=batch.partition_id)


def uids(keys):
    return [key.split("_")[0] for key in keys]


class Workers:
    """Remembers the loss it was given."""

    _dispatch_info = {"actor": [0, 1]}  # noqa: RUF012

    def __init__(self):
        self.given = []

    def set_loss_fn(self, loss_fn):
        self.given.append(loss_fn)


class Trainer:
    def __init__(self, **keys):
        keys = {"rollout.n": 4, "actor.ppo_mini_batch_size": 2, "actor.ppo_micro_batch_size_per_gpu": 4, **keys}
        given = {f"actor_rollout_ref.{key}": value for key, value in keys.items()}
        given |= {"trainer.nnodes": 1, "trainer.n_gpus_per_node": 2, "trainer.critic_warmup": 0}
        given |= {"actor_rollout_ref.actor.policy_loss.loss_mode": "leanthink"}
        config = OmegaConf.create()
        for key, value in given.items():
            OmegaConf.update(config, key, value)
        self.config = config
        self.actor_rollout_wg = Workers()
        self.tokenizer = SimpleNamespace(eos_token_id=2)
        self.use_critic, self.global_steps = False, 1

    def refill(self, count):
        """What verl gives its samplers."""


def group_loss(loss=EXACT, **keys):
    settings = Settings.of(load_recipe("drpo"))
    trainer = Trainer(**keys)
    found = GroupLoss.of(settings, trainer.refill)
    found.loss = loss
    return found, trainer


def test_rows_come_prompt_by_prompt():
    batch = in_whole_groups(batch_of(groups=4, rollouts=3), 3, 2, pad)
    assert uids(batch.keys) == ["u0"] * 3 + ["u1"] * 3 + ["u2"] * 3 + ["u3"] * 3
    assert len(batch.tags) == len(batch.keys)


def test_lost_rollouts_and_missing_prompts_are_filled_up():
    batch = in_whole_groups(batch_of(groups=3, rollouts=3, lost={"u0_1_0", "u2_0_0", "u2_2_0"}), 3, 2, pad)
    found = ["pad" if tag["is_padding"] else uid for uid, tag in zip(uids(batch.keys), batch.tags, strict=True)]
    assert found == ["u0", "u0", "pad", "u1", "u1", "u1", "u2", "pad", "pad", "pad", "pad", "pad"]
    assert len(set(batch.keys)) == 12


def test_more_rows_than_rollouts_are_refused():
    with pytest.raises(BatchError, match=r"prompt u0 has 3 responses, more than rollout.n = 2.*form=advantage"):
        in_whole_groups(batch_of(groups=2, rollouts=3), 2, 1, pad)


def test_verl_tears_a_plain_batch_and_leaves_ours_whole():
    """Through the balancing of verl's own trainer, for two ranks."""
    trainer = Trainer()
    trainer._get_required_batch_multiple = functools.partial(PPOTrainer._get_required_batch_multiple, trainer)
    balance = functools.partial(PPOTrainer._balance_batch, trainer, metrics={})
    plain = balance(batch_of(groups=4, rollouts=4))
    whole = balance(in_whole_groups(batch_of(groups=4, rollouts=4), 4, 2, pad))

    def torn(batch):
        return sum(len(set(uids(chunk.keys[i : i + 4]))) > 1 for chunk in batch.chunk(2) for i in (0, 4))

    assert torn(plain) > 0 and torn(whole) == 0
    assert type(whole) is WholeGroups and pickle.loads(pickle.dumps(whole)).keys == whole.keys


def test_workers_get_the_loss_once():
    found, trainer = group_loss()
    found.install()
    found.install()
    (loss_fn,) = trainer.actor_rollout_wg.given
    assert pickle.loads(pickle.dumps(loss_fn)).keywords == {"settings": EXACT, "rollouts": 4}
    assert loss_fn.func is losses.drpo_loss


def test_verls_own_losses_need_none_of_this():
    assert GroupLoss.of(Settings.of(load_recipe("trle")), None) is None


def test_a_trainer_out_of_reach_is_said_plainly():
    with pytest.raises(DependencyError, match="instead of a method of verl's trainer"):
        GroupLoss.of(Settings.of(load_recipe("drpo")), print)
    found, trainer = group_loss()
    del trainer.actor_rollout_wg
    with pytest.raises(DependencyError, match=r"no actor_rollout_wg.set_loss_fn"):
        found.install()


def test_a_configuration_that_tears_groups_stops_the_trainer_before_it_starts():
    with pytest.raises(ConfigError, match=r"ppo_micro_batch_size_per_gpu is 6.*give one of 4"):
        group_loss(**{"actor.ppo_micro_batch_size_per_gpu": 6})


UIDS = ["a", "a", "a", "b", "b", "b", "c"]
CORRECT = [1.0, 1, 0, 1, 0, 0, 1]
LENGTHS = [10, 20, 30, 40, 50, 60, 70]
TAKES_PART = [True, True, True, True, True, False, True]


@pytest.fixture
def written(monkeypatch):
    """What reaches the queue, by field and key."""
    content = {}

    def put(keys, partition_id, fields):
        assert partition_id == "train"
        for name in fields.keys():  # noqa: SIM118
            content[name] = dict(zip(keys, fields[name].tolist(), strict=True))

    monkeypatch.setattr(grouping.tq, "kv_batch_put", put)
    return content


def write(loss, reward=CORRECT, correct=CORRECT):
    found, _ = group_loss(loss)
    rows = [f"{uid}_{row}_0" for row, uid in enumerate(UIDS)]
    batch = in_whole_groups(KVBatchMeta(keys=rows, tags=[{}] * 7, partition_id="train"), 4, 2, pad)
    keys = [key for key in batch.keys if not key.startswith("pad")]
    masks = [torch.ones(n) for n in LENGTHS]  # who takes no part is masked behind this
    old = [torch.full((n,), -0.1 * (row + 1)) for row, n in enumerate(LENGTHS)]
    jagged = functools.partial(torch.nested.as_nested_tensor, layout=torch.jagged)
    data = {"response_mask": jagged(masks), "rollout_log_probs": jagged(old)}
    correct_N, reward_N = (torch.tensor(values, dtype=torch.float64) for values in (correct, reward))
    return found.write(
        StepBatch(
            batch=batch,
            keys=keys,
            data=data,
            uids=UIDS,
            correct_N=correct_N,
            reward_N=reward_N,
            takes_part_N=torch.tensor(TAKES_PART),
        )
    )


def test_what_a_loss_over_whole_groups_gets(written):
    metrics = write(EXACT)
    codes = list(written[losses.GROUP].values())
    assert codes == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4  # three prompts, padded to two mini-batches
    assert [written[losses.CORRECT][f"{uid}_{row}_0"] for row, uid in enumerate(UIDS)] == CORRECT
    preference = [written[losses.PREFERENCE][f"{uid}_{row}_0"] for row, uid in enumerate(UIDS)]
    assert preference[:5] == pytest.approx([1 - n / 96 for n in LENGTHS[:5]])
    for name in (losses.CORRECT, losses.PREFERENCE):
        assert all(value == 0 for key, value in written[name].items() if key.startswith("pad"))
    weights = torch.tensor([-10 / 9.6, -20 / 9.6]).softmax(0)
    assert metrics["drpo/shortest_weight"] == pytest.approx((float(weights[0]) + 1.0) / 2, abs=1e-6)


def test_the_recipes_reward_as_preference(written):
    write(Drpo(length_temperature=0.1, preference="reward"), reward=[0.9, 0.2, 0, 1, 0, 0, 1])
    assert [written[losses.PREFERENCE][f"a_{row}_0"] for row in range(3)] == [0.9, 0.2, 0.0]


def test_what_the_advantage_form_gets(written):
    """Weights of the wrong from the log-probabilities at sampling; an unknown verdict takes no part."""
    write(Drpo(length_temperature=None, tau=0.5, form="advantage"))
    assert written.keys() == {losses.ADVANTAGE}
    given = [written[losses.ADVANTAGE][f"{uid}_{row}_0"] for row, uid in enumerate(UIDS)]
    assert given == pytest.approx([0.5, 0.5, -1.0, 1.0, -1.0, 0.0, 0.0])


def test_nothing_is_reported_of_prompts_that_are_all_dropped(written):
    assert write(EXACT, correct=[0.0] * 7) == {}


def test_the_wrong_are_weighed_by_their_mean_log_probability(written):
    loss = Drpo(length_temperature=None, tau=0.05, form="advantage")
    correct = [1.0, 0, 0, 0, 0, 1, 1]
    write(loss, reward=correct, correct=correct)
    weights = torch.tensor([-0.2, -0.3]).div(0.05).softmax(0).tolist()
    given = [written[losses.ADVANTAGE][f"a_{row}_0"] for row in range(3)]
    assert given[0] > 0 and given[1] / given[2] == pytest.approx(weights[0] / weights[1], rel=1e-6)


def written_by(name, rows, prompts, *changes, **keys):
    """What the loss of a shipped recipe writes of rows (prompt, mode, correct, truncated, known); its metrics."""
    recipe = load_recipe(name, list(changes))
    found = grouping._KINDS[type(recipe.loss)](recipe.loss, recipe, Trainer(**keys))
    found.install = lambda: None
    names = [f"{row[0]}_{place}_0" for place, row in enumerate(rows)]
    plain = KVBatchMeta(keys=names, tags=[{}] * len(rows), partition_id="train")
    batch = in_whole_groups(plain, 4, prompts, pad) if recipe.loss.whole_groups else plain
    correct_N = torch.tensor([float(row[2]) for row in rows], dtype=torch.float64)
    return found.write(
        StepBatch(
            batch=batch,
            keys=names,
            data={},
            uids=[row[0] for row in rows],
            correct_N=correct_N,
            reward_N=correct_N,
            takes_part_N=torch.tensor([row[4] for row in rows]),
            facts=[{MODE: float(row[1]), "truncated": float(row[3])} for row in rows],
        )
    )


MODES = [
    *(("a", 1, 1, 0, True), ("a", 1, 0, 0, False), ("a", 0, 0, 0, True), ("a", 0, 0, 0, True)),  # long is needed
    *(("b", 1, 1, 0, True), ("b", 1, 0, 0, True), ("b", 0, 1, 0, True), ("b", 0, 1, 0, True)),  # short does it
    *(("c", 1, 1, 1, True), ("c", 1, 0, 0, True), ("c", 0, 0, 0, True), ("c", 0, 0, 0, True)),  # right, and cut: none
]


def test_what_the_loss_of_modes_gets(written):
    """Weights make up for prompts without a preference, empty ones that fill up the batch among them."""
    metrics = written_by("adaptive_deep", MODES, 2)
    assert [written[losses.MODE][f"b_{row}_0"] for row in range(4, 8)] == [1.0, 1.0, -1.0, -1.0]
    of: dict[str, set[float]] = {}
    for key, weight in written[losses.PREFERRED].items():
        of.setdefault(key.split("_")[0], set()).add(weight)
    assert of == {
        "a": {2.0},
        "b": {-2.0},
        "c": {0.0},
        "pad": {0.0},
    }  # 4 prompts with the empty one, 2 with a preference
    assert metrics == pytest.approx({"mode/long_preferred_share": 1 / 3, "mode/short_preferred_share": 1 / 3})


def test_a_step_without_a_verdict_prefers_no_mode(written):
    metrics = written_by("adaptive_deep", [(*row[:4], False) for row in MODES], 2)
    assert set(written[losses.PREFERRED].values()) == {0.0} and set(metrics.values()) == {0.0}


def test_what_the_loss_of_forced_tokens_gets(written):
    """Three in ten do not think: a response that thinks began with its token by a coin of 0.7."""
    metrics = written_by("adaptthink", MODES, 1, "reward.adapt_think_reward.share=0.3")
    of = [written[losses.FORCED][f"{row[0]}_{place}_0"] for place, row in enumerate(MODES)]
    assert of == pytest.approx([math.log(0.7 if row[1] else 0.3) for row in MODES])
    assert metrics == pytest.approx({"mode/long_right_share": 2 / 6, "mode/short_right_share": 2 / 6})


def test_what_the_loss_of_mastered_tokens_gets(written):
    written_by("ulorl", MODES, 1)
    right = [written[losses.CORRECT][f"{row[0]}_{place}_0"] for place, row in enumerate(MODES)]
    assert right == [float(row[2] and not row[3]) for row in MODES]
