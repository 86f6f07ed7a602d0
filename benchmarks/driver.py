"""What the driver does to a batch beside verl: facts through the real TransferQueue, order, shape, write back.

    OMP_NUM_THREADS=1 python benchmarks/driver.py --responses 8192 --longest 16384

Made-up responses, 8 to a prompt, of log-normal lengths cut at the longest, with the facts that workers return, lie in a
queue as verl's agent loops put them there. Printed are seconds by stage, the driver's peak memory beyond what it held
before, and the bytes of what it read and wrote; then the same of verl's own advantage on that batch, ``grpo`` by
``PPOTrainer._compute_advantage``, unless ``--ours-only``: it pads every field to the longest response.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GROUP = 8
PUT_AT_ONCE = 1024
PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Fill a queue, let both work on it, print a line of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, default=8192)
    parser.add_argument("--longest", type=int, default=16_384, help="tokens of the longest response")
    parser.add_argument("--recipe", default="trle")
    parser.add_argument("--ours-only", action="store_true", help="leave verl's own advantage out")
    args = parser.parse_args()
    os.environ.setdefault("VERL_PLATFORM", "cpu")
    import ray
    import transfer_queue as tq
    from omegaconf import OmegaConf

    ray.init(address="local", num_cpus=8, include_dashboard=False, object_store_memory=512 * 1024**2)
    storage = {"total_storage_size": 2 * args.responses, "num_data_storage_units": 2}
    tq.init(OmegaConf.create({"backend": {"storage_backend": "SimpleStorage", "SimpleStorage": storage}}))
    try:
        tokens = fill(tq, args.responses, args.longest)
        print(f"{args.responses:,} responses of up to {args.longest:,} tokens, {tokens:,} in all; recipe {args.recipe}")
        batch = ours(tq, args.recipe, args.responses)
        if not args.ours_only:
            verls(tq, batch)
    finally:
        tq.close()
        ray.shutdown()


def fill(tq: Any, responses: int, longest: int) -> int:
    """Put the responses into the queue; the tokens of all."""
    import torch
    from tensordict import NonTensorStack, TensorDict

    generator, total = random.Random(1), 0
    for start in range(0, responses, PUT_AT_ONCE):
        keys, rows, tags, uids, extra = [], [], [], [], []
        for row in range(start, min(start + PUT_AT_ONCE, responses)):
            length = min(longest, max(1, int(generator.lognormvariate(7.6, 0.8))))
            prompt, session = divmod(row, GROUP)
            correct = float(generator.random() < 0.6)
            keys.append(f"prompt{prompt}_{session}_0")
            uids.append(f"prompt{prompt}")
            extra.append({"reward_extra_info": facts_of(row, length, correct, longest), "truncated": length == longest})
            rows.append(length)
            tags.append({"status": "success", "prompt_len": 64, "response_len": length, "seq_len": 64 + length,
                         "global_steps": 1, "min_global_steps": 1, "max_global_steps": 1})  # fmt: skip
        total += sum(rows)
        jagged = torch.nested.as_nested_tensor
        fields = {
            "rm_scores": jagged([torch.zeros(length) for length in rows], layout=torch.jagged),
            "response_mask": jagged([torch.ones(length, dtype=torch.int64) for length in rows], layout=torch.jagged),
            "extra_fields": NonTensorStack(*extra),
            "uid": NonTensorStack(*uids),
        }
        tq.kv_batch_put(keys=keys, partition_id="train", fields=TensorDict(fields, batch_size=len(rows)), tags=tags)
        prompts, tag = list(dict.fromkeys(uids)), {"is_prompt": True, "global_steps": 1, "status": "finished"}
        tq.kv_batch_put(keys=prompts, partition_id="train", fields=None, tags=[tag] * len(prompts))
    return total


def facts_of(row: int, length: int, correct: float, longest: int) -> dict[str, Any]:
    """What a worker says of a response."""
    return {
        "acc": correct, "unknown": float(row % 997 == 3), "truncated": float(length == longest),
        "length": float(length), "verify_seconds": 0.01, "pred": str(row % 1000), "reason": "equal", "difficulty": "",
        "response_key": f"{row // GROUP:016x}{hash((row, length)) & (2**64 - 1):016x}",
    }  # fmt: skip


def ours(tq: Any, recipe: str, responses: int) -> Any:
    """The sampler's way, stage by stage; the batch that it gives verl."""
    from leanthink.recipe.definition import load_recipe
    from leanthink.verl.driver import shaping
    from leanthink.verl.settings import Settings

    settings = Settings.of(load_recipe(recipe), poll_interval=0.05)
    reference = {"resume_mode": "disable", "resume_from": None, "checkpoints": "none"}
    filters = {
        "filter_groups": {"enable": False},
        "train_batch_size": responses // GROUP,
        "gen_batch_size": None,
        "sync_refill_failed_groups": False,
    }
    buffer = shaping.ShapingReplayBuffer(
        sampler_kwargs={"leanthink": settings.node(), "run": {**reference, **filters}},
        refill_fn=lambda count: None,
        trainer_mode="sync",
        trainer_config={},
        max_off_policy_threshold=1,
        max_off_policy_strategy="drop",
    )
    seconds: dict[str, float] = {}
    for name in ("_order", "_shape", "_write"):
        setattr(buffer, name, timed(getattr(buffer, name), name.strip("_"), seconds))
    with counted(tq) as moved, peak() as memory:
        started, cpu = time.perf_counter(), time.process_time()
        batch, metrics = buffer.sample(1, "train", responses // GROUP)
        whole, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert len(batch.keys) == responses and metrics["leanthink/accuracy"] > 0
    stages = {"verl's own sampling": whole - seconds["order"] - seconds["shape"], "order": seconds["order"]}
    stages |= {"shape": seconds["shape"] - seconds["write"], "write back": seconds["write"]}
    told = ", ".join(f"{name} {value:.2f}" for name, value in stages.items())
    added = seconds["order"] + seconds["shape"]
    print(f"leanthink: {added:.2f} s added ({told}), {cpu:.2f} s of CPU in all, {memory()}; {told_of(moved)}")
    return batch


def verls(tq: Any, batch: Any) -> None:
    """verl's own advantage on the same batch."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    algorithm = {"adv_estimator": "grpo", "gamma": 1.0, "lam": 1.0, "use_kl_in_reward": False}
    config = OmegaConf.create({"algorithm": algorithm, "actor_rollout_ref": {"rollout": {"n": GROUP}}})
    trainer = SimpleNamespace(config=config)
    with counted(tq) as moved, peak() as memory:
        started, cpu = time.perf_counter(), time.process_time()
        PPOTrainer._compute_advantage(trainer, batch, {})
        whole, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"verl's advantage: {whole:.2f} s, {cpu:.2f} s of CPU, {memory()}; {told_of(moved)}")


def told_of(moved: dict[str, float]) -> str:
    """What went through the queue, in words."""
    return f"read {moved['read']:.0f} MB, wrote {moved['put']:.0f} MB"


def timed(call: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    """A method that adds up how long it takes."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

    return wrapped


@contextmanager
def counted(tq: Any) -> Iterator[dict[str, float]]:
    """The megabytes that go through the queue's two calls."""
    moved = {"read": 0.0, "put": 0.0}
    get, put = tq.kv_batch_get, tq.kv_batch_put

    def counting_get(*args: Any, **kwargs: Any) -> Any:
        data = get(*args, **kwargs)
        moved["read"] += size_of(data) / 1e6
        return data

    def counting_put(*args: Any, **kwargs: Any) -> Any:
        moved["put"] += size_of(kwargs.get("fields")) / 1e6
        return put(*args, **kwargs)

    tq.kv_batch_get, tq.kv_batch_put = counting_get, counting_put
    try:
        yield moved
    finally:
        tq.kv_batch_get, tq.kv_batch_put = get, put


def size_of(fields: Any) -> int:
    """The bytes of a batch's fields: tensors as they are, objects pickled."""
    import torch

    total = 0
    for name in () if fields is None else fields.keys():
        value = fields[name]
        if isinstance(value, torch.Tensor):
            total += value.values().nbytes if value.is_nested else value.nbytes
        else:
            total += len(pickle.dumps([getattr(one, "data", one) for one in value]))
    return total


@contextmanager
def peak() -> Iterator[Callable[[], str]]:
    """The most memory that this process holds within, beyond what it held before; looked at every 10 ms."""
    before, most, over = resident(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], resident())

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield lambda: f"peak {max(0, most[0] - before) / 2**20:,.0f} MiB"
    finally:
        over.set()
        watching.join()


def resident() -> int:
    """The bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


if __name__ == "__main__":
    main()
