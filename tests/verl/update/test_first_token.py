"""Losses to which a response's first token is another than the rest, in the layout of verl's workers."""

import functools
import math

import pytest
import torch
from omegaconf import OmegaConf
from verl.workers.utils.losses import ppo_loss

from leanthink.algorithms import AdaptThink, Degrpo, PpoClip
from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.verl.driver.grouping import GroupLoss, StepBatch
from leanthink.verl.settings import Settings
from leanthink.verl.update import first_token, losses
from verl_worker import a_trainer, actor_config, batch_with, micro_steps, random_responses


def summed(responses, data, loss):
    """The loss over all micro-batches, its gradients left at the responses."""
    total, shown = 0.0, []
    for value, metrics, _ in micro_steps(responses.of, data, loss):
        value.backward()
        total += value.item()
        shown.append(metrics)
    return total, shown


@pytest.mark.parametrize("ratio", ["mean", "product"])
def test_one_clipped_ratio_per_response_with_its_first_token_corrected(ratio):
    responses = random_responses(groups=4, rollouts=4, seed=3, drift=0.3)
    coin = [math.log(0.5) if row % 2 else math.log(0.25) for row in range(16)]
    data, advantages, _ = batch_with(responses, **{losses.FORCED: torch.tensor(coin, dtype=torch.float64)})
    settings = AdaptThink(ratio=ratio, of=PpoClip(low=0.1, high=0.15))
    total, shown = summed(
        responses, data, functools.partial(first_token.adapt_think_loss, settings=settings, config=actor_config())
    )
    expected = 0.0
    clipped = 0
    for row, new in enumerate(responses.log_probs):
        if not responses.valid[row]:
            assert not new.grad.any()
            continue
        old, advantage = responses.old[row].clone(), float(advantages[row][0])
        old[0] = coin[row]
        log = float((new.detach() - old).sum()) / (len(new) if ratio == "mean" else 1)
        rho = math.exp(log)
        value, held = -advantage * rho, -advantage * min(max(rho, 0.9), 1.15)
        expected += max(value, held) / 16
        clipped += held > value
        slope = 0.0 if held > value else -advantage * rho / (len(new) if ratio == "mean" else 1) / 16
        assert new.grad.tolist() == pytest.approx([slope] * len(new), abs=1e-6)
    assert total == pytest.approx(expected, abs=1e-6) and clipped
    assert sum(metrics["actor/pg_loss"].aggregate() for metrics in shown) == pytest.approx(expected, abs=1e-6)


def test_what_verl_adds_to_its_loss_stays():
    """A micro-batch with reference log-probabilities: KL loss as verl has it, beside ours."""
    settings = AdaptThink()
    responses = random_responses(groups=2, rollouts=4, seed=5)
    fields = {losses.FORCED: torch.zeros(8, dtype=torch.float64)}
    data, _, _ = batch_with(responses, **fields)
    data["ref_log_prob"] = data["old_log_probs"] * 0.5
    totals = {}
    for with_kl in (False, True):
        config = actor_config(use_kl_loss=with_kl, kl_loss_coef=0.1, kl_loss_type="low_var_kl")
        loss = functools.partial(first_token.adapt_think_loss, settings=settings, config=config)
        totals[with_kl], shown = summed(responses, data, loss)
    kl = sum(metrics["kl_loss"].aggregate() for metrics in shown)
    assert kl > 0 and totals[True] == pytest.approx(totals[False] + 0.1 * kl, abs=1e-6)


def test_without_the_coin_it_says_what_to_set():
    responses = random_responses(groups=2, rollouts=4, seed=5)
    data, _, _ = batch_with(responses)
    loss = functools.partial(first_token.adapt_think_loss, settings=AdaptThink(), config=actor_config())
    with pytest.raises(BatchError, match="loss adapt_think: the micro-batch has no field 'leanthink_forced'"):
        next(micro_steps(responses.of, data, loss))


@pytest.mark.parametrize("response", ["token-mean", "seq-mean"])
def test_control_tokens_are_averaged_apart(response):
    responses = random_responses(groups=4, rollouts=4, seed=7, drift=0.3)
    data, advantages, _ = batch_with(responses)
    settings = Degrpo(alpha=0.05, response=response, of=PpoClip(dual=1e6))
    config = actor_config(clip_ratio_c=1e6)
    total, _ = summed(responses, data, functools.partial(first_token.degrpo_loss, settings=settings, config=config))
    tokens = sum(len(row) for row, valid in zip(responses.log_probs, responses.valid, strict=True) if valid)
    expected = 0.0
    for row, new in enumerate(responses.log_probs):
        if not responses.valid[row]:
            continue
        for t in range(len(new)):
            weight = 0.05 / 16
            if t:
                weight = 1 / (tokens - 16) if response == "token-mean" else 1 / (len(new) - 1) / 16
            ratio = math.exp(float(new[t].detach() - responses.old[row][t]))
            advantage = float(advantages[row][t])
            value, held = -advantage * ratio, -advantage * min(max(ratio, 0.8), 1.2)
            expected += weight * max(value, held)
            slope = 0.0 if held > value else -advantage * ratio * weight
            assert float(new.grad[t]) == pytest.approx(slope, abs=1e-6)
    assert total == pytest.approx(expected, abs=1e-6)


def test_kl_runs_over_all_tokens_undivided():
    responses = random_responses(groups=2, rollouts=4, seed=5)
    data, _, _ = batch_with(responses)
    data["ref_log_prob"] = data["old_log_probs"] * 0.5
    config = actor_config(use_kl_loss=True, kl_loss_coef=0.1, kl_loss_type="low_var_kl")
    _, ours = summed(responses, data, functools.partial(first_token.degrpo_loss, settings=Degrpo(), config=config))
    _, theirs = summed(responses, data, functools.partial(ppo_loss, config))
    given, expected = (sum(metrics["kl_loss"].aggregate() for metrics in shown) for shown in (ours, theirs))
    assert given == pytest.approx(expected, abs=1e-9) and given > 0


def written_by(monkeypatch, recipe, **known):
    from transfer_queue import KVBatchMeta

    from leanthink.verl.driver import grouping

    fields = {}

    def put(keys, partition_id, fields_):
        fields.update({name: fields_[name].tolist() for name in fields_.keys()})  # noqa: SIM118

    monkeypatch.setattr(grouping.tq, "kv_batch_put", lambda keys, partition_id, fields: put(keys, partition_id, fields))
    trainer = a_trainer()
    loss = GroupLoss.of(Settings.of(load_recipe(recipe)), trainer.refill)
    keys = [f"a_{row}_0" for row in range(4)]
    batch = KVBatchMeta(keys=keys, tags=[{}] * 4, partition_id="train")
    correct_N = torch.tensor([1.0, 0.0, 1.0, 1.0])
    known = {"correct_N": correct_N, "reward_N": correct_N, "takes_part_N": correct_N >= 0, **known}
    metrics = loss.write(StepBatch(batch=batch, keys=keys, data={}, uids=["a"] * 4, **known))
    return fields, metrics, trainer.given


def test_the_driver_writes_the_coin_of_each_mode(monkeypatch):
    facts = [{"mode": mode, "truncated": 0.0} for mode in (0.0, 0.0, 1.0, 1.0)]
    fields, metrics, given = written_by(monkeypatch, "adaptthink", facts=facts)
    assert fields[losses.FORCED] == pytest.approx([math.log(0.5)] * 4)
    assert metrics == {"mode/long_right_share": 1.0, "mode/short_right_share": 0.5}
    assert given[0].func is first_token.adapt_think_loss


def test_the_driver_installs_the_decoupled_loss(monkeypatch):
    _, metrics, given = written_by(monkeypatch, "thinkless", facts=[{"truncated": 0.0}] * 4)
    assert metrics == {} and given[0].func is first_token.degrpo_loss
    assert OmegaConf.is_config(given[0].keywords["config"]) is False


def test_the_corrected_ratio_needs_the_reward_that_gives_first_tokens():
    with pytest.raises(ConfigError, match="reward adapt_think_reward gives"):
        GroupLoss.of(Settings.of(load_recipe("adaptthink", ["reward=correct"])), print)


def test_how_many_ratios_are_beyond_the_clip_on_either_side():
    responses = random_responses(groups=4, rollouts=4, seed=3, drift=0.3)
    coin = torch.full((16,), math.log(0.5), dtype=torch.float64)
    data, _, _ = batch_with(responses, **{losses.FORCED: coin})
    settings = AdaptThink(of=PpoClip(low=0.02, high=0.5))
    loss = functools.partial(first_token.adapt_think_loss, settings=settings, config=actor_config())
    _, shown = summed(responses, data, loss)
    beyond = []
    for row, new in enumerate(responses.log_probs):
        old = responses.old[row].clone()
        old[0] = coin[row]
        rho = math.exp(float((new.detach() - old).mean())) if responses.valid[row] else 1.0
        beyond.append(rho < 0.98 or rho > 1.5)
    share = sum(metrics["adapt_think/beyond_clip"].aggregate() for metrics in shown) / len(shown)
    assert share == pytest.approx(sum(beyond) / 16) and 0 < share < 1
