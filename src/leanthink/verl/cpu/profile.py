"""The settings of verl, and of the processes around it, that the CPU profile stands for.

Plain data, for whoever starts verl: `OVERRIDES` are keys of verl's configuration, `ENVIRONMENT` variables of the
driver, which Ray hands to all its processes. Keys that verl's schema does not know begin with ``+``, as Hydra wants.
"""

from __future__ import annotations

from leanthink.verl.cpu import ROLLOUT_NAME
from leanthink.verl.hydra import Reference

_ROLLOUT = "actor_rollout_ref.rollout"
_FP32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def _engine(node: str) -> dict[str, object]:
    return {
        f"{node}.model_dtype": "fp32",
        f"+{node}.mixed_precision": _FP32,
        f"{node}.use_torch_compile": False,
    }


def _model(node: str) -> dict[str, object]:
    return {
        # Attention without padding needs flash-attn; recomputing activations saves memory nobody lacks here.
        f"{node}.use_remove_padding": False,
        f"{node}.enable_gradient_checkpointing": False,
        f"+{node}.override_config.attn_implementation": "sdpa",
    }


OVERRIDES: dict[str, object] = {
    "trainer.device": "cpu",
    "trainer.nnodes": 1,
    "trainer.n_gpus_per_node": 1,
    "trainer.logger": ["console"],
    # A Ray of the run's own: where another cluster runs on this machine, Ray would join it, and then refuse its size.
    "+ray_kwargs.ray_init.address": "local",
    # Ray counts logical CPUs and GPUs: every actor of verl asks for one, however little it does.
    "ray_kwargs.ray_init.num_cpus": 32,
    "+ray_kwargs.ray_init.num_gpus": Reference("${trainer.n_gpus_per_node}"),
    "+ray_kwargs.ray_init.include_dashboard": False,
    "+ray_kwargs.ray_init.object_store_memory": 256 * 1024**2,
    # One process of each kind: more only import the same libraries again.
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    f"{_ROLLOUT}.agent.num_workers": 1,
    "reward.num_workers": 1,
    "data.dataloader_num_workers": 0,
    # Rollout.
    f"{_ROLLOUT}.name": ROLLOUT_NAME,
    f"{_ROLLOUT}.tensor_model_parallel_size": 1,
    f"{_ROLLOUT}.free_cache_engine": False,
    f"{_ROLLOUT}.max_num_seqs": 1024,
    # Training: FSDP1 refuses CPU parameters; bf16 and torch.compile cost more than they give on a small model.
    "actor_rollout_ref.actor.strategy": "fsdp2",
    "actor_rollout_ref.actor.use_torch_compile": False,
    **_engine("actor_rollout_ref.actor.fsdp_config"),
    **_model("actor_rollout_ref.model"),
    # The reference policy of a KL term: verl keeps a forward-only model in pinned memory, which needs an accelerator.
    # So it is built like a trained one; its optimizer never steps.
    "actor_rollout_ref.ref.use_torch_compile": False,
    **_engine("actor_rollout_ref.ref.fsdp_config"),
    "actor_rollout_ref.ref.fsdp_config.forward_only": False,
    "+actor_rollout_ref.ref.optim": {
        "_target_": "verl.workers.config.FSDPOptimizerConfig",
        "lr": 0.0,
        "total_training_steps": 1,
    },
    # Read only when there is a critic; by default it starts from the policy's weights.
    "critic.strategy": "fsdp2",
    **_engine("critic.fsdp"),
    **_model("critic.model"),
    "critic.model.path": Reference("${actor_rollout_ref.model.path}"),
}

ENVIRONMENT: dict[str, str] = {
    "VERL_PLATFORM": "cpu",
    # verl registers its FSDP engine for "cuda" and "npu", although it runs on any torch device; this is verl's own
    # switch for choosing one. Registering the class again for "cpu" would import all engines into every process.
    "VERL_ENGINE_DEVICE": "cuda",
    # On small matrices two threads wait for each other longer than they compute, the more so where other programs run:
    # sampling with two was four times slower. For models beyond some 50 M parameters on an idle machine, raise both.
    "OMP_NUM_THREADS": "1",
    "TQ_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Workers are started when an actor needs one; those Ray starts in advance do not fit verl's runtime environment.
    "RAY_prestart_worker_first_driver": "0",
    # A metric of one step is a line of its own in the log, also when it repeats the last step's.
    "RAY_DEDUP_LOGS": "0",
    # Nothing is looked up on the network: a model is a folder, or in the Hub's cache already.
    "HF_HUB_OFFLINE": "1",
}
