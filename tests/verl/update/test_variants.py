"""Our changes around verl's PPO loss, in the layout of verl's workers."""

import functools

import pytest
import torch
from verl.workers.utils.losses import ppo_loss

from leanthink.algorithms import MasteredTokenMask, ModeSwitch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.verl.driver.grouping import GroupLoss, StepBatch
from leanthink.verl.settings import Settings
from leanthink.verl.update import losses, variants
from verl_worker import a_trainer, actor_config, batch_with, jagged, micro_steps, random_responses, worker_batch


def test_mastered_tokens_give_no_gradient_and_stay_in_the_denominator():
    settings = MasteredTokenMask(probability=0.5, target_entropy=0.22)
    responses = random_responses(groups=4, rollouts=4, seed=3, drift=0.0)
    data, advantages, entropy = batch_with(responses)
    loss = functools.partial(variants.mastered_token_loss, settings=settings, config=actor_config())
    for value, metrics, _ in micro_steps(responses.of, data, loss):
        value.backward()
        assert "mastered_share" in metrics and "actor/pg_loss" in metrics
    tokens = sum(len(row) for row, valid in zip(responses.log_probs, responses.valid, strict=True) if valid)
    masked = 0
    for row, values in enumerate(responses.log_probs):
        low = float(entropy[row].double().mean()) < 0.22 and responses.correct[row] == 1 and responses.valid[row]
        for t in range(len(values)):
            mastered = low and float(responses.old[row][t].exp()) >= 0.5
            masked += mastered
            live = responses.valid[row] and not mastered
            expected = -float(advantages[row][t]) / tokens if live else 0.0
            assert float(values.grad[t]) == pytest.approx(expected, abs=1e-6)
    assert masked > 5


def test_without_mastered_tokens_it_is_verls_own_loss():
    settings = MasteredTokenMask(target_entropy=0.0)
    responses = random_responses(groups=2, rollouts=4, seed=5)
    data, _, _ = batch_with(responses)
    ours = functools.partial(variants.mastered_token_loss, settings=settings, config=actor_config())
    theirs = functools.partial(ppo_loss, actor_config())
    given = [value.item() for value, _, _ in micro_steps(responses.of, data, ours)]
    assert given == [value.item() for value, _, _ in micro_steps(responses.of, data, theirs)]


def test_without_entropies_it_says_what_to_set():
    responses = random_responses(groups=2, rollouts=4, seed=5)
    data, _, _ = batch_with(responses)
    loss = functools.partial(variants.mastered_token_loss, settings=MasteredTokenMask(), config=actor_config())
    with pytest.raises(BatchError, match="bypass_mode=false"):
        next(micro_steps(responses.of, data.exclude("entropy"), loss))


def test_the_recipes_command_sets_what_the_loss_needs():
    from leanthink.verl.start.launch import loss_keys
    from leanthink.verl.update.arrangement import BYPASS, require, value_of

    loss = load_recipe("ulorl").loss
    keys = loss_keys(loss)
    assert keys["actor_rollout_ref.actor.policy_loss.loss_mode"] == "leanthink"
    assert keys["actor_rollout_ref.actor.clip_ratio_high"] == 0.2
    require(loss, value_of(keys), True)
    with pytest.raises(Exception, match=r"loss mastered_token_mask: .*bypass_mode is true.*bypass_mode=false"):
        require(loss, value_of({**keys, BYPASS: True}), True)


def test_the_driver_writes_verdicts_and_installs_the_loss(monkeypatch):
    from transfer_queue import KVBatchMeta

    from leanthink.verl.driver import grouping

    written = {}
    monkeypatch.setattr(
        grouping.tq, "kv_batch_put", lambda keys, partition_id, fields: written.update(keys=keys, fields=fields)
    )
    trainer = a_trainer()
    found = GroupLoss.of(Settings.of(load_recipe("ulorl")), trainer.refill)
    batch = KVBatchMeta(keys=["a_0_0", "a_1_0", "a_2_0"], tags=[{}] * 3, partition_id="train")
    assert found.arrange(batch) is batch and found.reads == ()
    correct_N = torch.tensor([1.0, 0.0, 1.0])
    facts = [{"truncated": cut} for cut in (0.0, 0.0, 1.0)]
    known = {"correct_N": correct_N, "reward_N": correct_N, "takes_part_N": correct_N >= 0, "facts": facts}
    assert found.write(StepBatch(batch=batch, keys=batch.keys, data={}, uids=["a"] * 3, **known)) == {}
    assert written["fields"][losses.CORRECT].tolist() == [1.0, 0.0, 0.0]  # an answer before a cut is none
    (loss_fn,) = trainer.given
    assert loss_fn.func is variants.mastered_token_loss
    assert loss_fn.keywords["config"].policy_loss.loss_mode == "vanilla"


def test_the_first_tokens_of_both_modes_are_ranked_and_nothing_else_changes():
    """Four prompts in two micro-batches: two prefer long, one short, one neither."""
    settings = ModeSwitch(weight=0.3, margin=1.0)
    responses = random_responses(groups=4, rollouts=4, seed=11)
    sides = [1.0, 1.0, -1.0, -1.0] * 4
    factor = 4 / 3
    preferred = [sign * factor for sign in (1, -1, 1, 0) for _ in range(4)]
    given = {losses.GROUP: responses.group, losses.MODE: sides, losses.PREFERRED: preferred}
    data, _, _ = batch_with(responses, **{name: torch.tensor(values) for name, values in given.items()})
    temperature = 0.5
    loss = functools.partial(
        variants.mode_switch_loss, settings=settings, config=actor_config(), rollouts=4, temperature=temperature
    )
    plain = random_responses(groups=4, rollouts=4, seed=11)
    values, shown = [], 0.0
    for value, metrics, _ in micro_steps(responses.of, data, loss):
        value.backward()
        values.append(value.item())
        shown += metrics["mode_loss"].aggregate()
    theirs = []
    for value, _, _ in micro_steps(plain.of, data, functools.partial(ppo_loss, actor_config())):
        value.backward()
        theirs.append(value.item())
    total = 0.0
    for group, sign in enumerate((1, -1, 1, 0)):
        first = [responses.log_probs[4 * group + row][0].item() * temperature for row in range(4)]
        gap = sign * ((first[0] + first[1]) / 2 - (first[2] + first[3]) / 2)
        active = sign != 0 and gap < 1.0
        total += max(0.0, 1.0 - gap) * factor / 4 if sign else 0.0
        for row in range(4):
            side = sides[4 * group + row]
            expected = -0.3 * factor / 4 * sign * side / 2 * temperature if active else 0.0
            ours, verls = responses.log_probs[4 * group + row].grad, plain.log_probs[4 * group + row].grad
            assert float(ours[0] - verls[0]) == pytest.approx(expected, abs=1e-6)
            assert torch.allclose(ours[1:], verls[1:])
    assert shown == pytest.approx(total, abs=1e-6)
    assert sum(values) == pytest.approx(sum(theirs) + 0.3 * total, abs=1e-6)


def test_rows_that_fill_up_a_group_do_not_weaken_its_ranking():
    """Two prompts of four rows, a fourth row and a whole prompt of them padding, as if there were three rows."""
    four = random_responses(groups=2, rollouts=4, seed=11)
    three = four.select([0, 1, 2, 4, 5, 6])
    shown = []
    for responses, last, rollouts in ((four, [0.0], 4), (three, [], 3)):
        zeros = [0.0] * rollouts
        given = {losses.MODE: [1.0, 1.0, -1.0, *last, *zeros], losses.PREFERRED: [2.0, 2.0, 2.0, *last, *zeros]}
        fields = {name: torch.tensor(values) for name, values in {losses.GROUP: responses.group, **given}.items()}
        advantages = jagged([torch.zeros(len(row)) for row in responses.log_probs])
        data = worker_batch(responses, 1, None, 2 * rollouts, advantages=advantages, **fields)
        loss = functools.partial(
            variants.mode_switch_loss, settings=ModeSwitch(), config=actor_config(), rollouts=rollouts, temperature=1.0
        )
        ((_, metrics, _),) = micro_steps(responses.of, data, loss)
        shown.append({name: metrics[name].aggregate() for name in ("mode_loss", "mode_prompts")})
    assert shown[0] == shown[1] and shown[0]["mode_prompts"] == 1 and shown[0]["mode_loss"] > 0


def test_the_ranking_needs_a_reward_that_samples_modes():
    settings = Settings.of(load_recipe("adaptive_deep", ["reward=correct"]))
    with pytest.raises(ConfigError, match="reward mode_switch_reward has sampled"):
        GroupLoss.of(settings, print)


def test_the_driver_writes_modes_and_preferences(monkeypatch):
    from transfer_queue import KVBatchMeta

    from leanthink.verl.driver import grouping

    written = {}

    def put(keys, partition_id, fields):
        written.update({name: fields[name].tolist() for name in fields.keys()})  # noqa: SIM118

    monkeypatch.setattr(grouping.tq, "kv_batch_put", put)
    loss = GroupLoss.of(Settings.of(load_recipe("adaptive_deep")), a_trainer().refill)
    keys = [f"{uid}_{row}_0" for uid in "abc" for row in range(4)]
    batch = KVBatchMeta(keys=keys, tags=[{}] * 12, partition_id="train")
    cuts = [0.0] * 8 + [1.0] * 4  # the last prompt's answers stand before the cut: no preference
    facts = [{"mode": mode, "truncated": cut} for mode, cut in zip([1.0, 1.0, 0.0, 0.0] * 3, cuts, strict=True)]
    correct_N = torch.tensor([1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1]).double()
    known = {"correct_N": correct_N, "reward_N": correct_N, "takes_part_N": correct_N >= 0, "facts": facts}
    metrics = loss.write(StepBatch(batch=batch, keys=keys, data={}, uids=[key[0] for key in keys], **known))
    assert written[losses.GROUP] == [0] * 4 + [1] * 4 + [2] * 4
    assert written[losses.MODE] == [1.0, 1.0, -1.0, -1.0] * 3
    assert written[losses.PREFERRED] == [-1.5] * 4 + [1.5] * 4 + [0.0] * 4
    assert metrics == {
        "mode/long_preferred_share": pytest.approx(1 / 3),
        "mode/short_preferred_share": pytest.approx(1 / 3),
    }
