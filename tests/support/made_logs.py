"""What verl prints where it fails, made up after real runs: the statement of an error, and what stands around it."""

from __future__ import annotations

OVERRIDES = "Error executing job with overrides: ['trainer.device=cpu', " + "'some.key=Error', " * 300 + "'last.key=1']"
HYDRA_ENDS = "\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n"
START = """\
INFO:2026-11-29 09:47:12,560:Platform override from VERL_PLATFORM: cpu
[validate_config] All configuration checks passed successfully!
2026-11-29 09:47:18,705\tINFO worker.py:2038 -- Started a local Ray instance.
\x1b[36m(TaskRunnerV1 pid=15531)\x1b[0m /lib/verl/engine/__init__.py:32: UserWarning: torchtitan engine is missing: \
ModuleNotFoundError("No module named 'torchtitan'")
\x1b[36m(TaskRunnerV1 pid=15531)\x1b[0m {'actor_rollout_ref': {'actor': {'nccl_timeout': 600, 'on_error': 'MemoryError',
\x1b[36m(TaskRunnerV1 pid=15531)\x1b[0m  'reward': {'timeout': 300}}}
\x1b[33m(raylet)\x1b[0m file_system_monitor.cc:105: /var/ray/session_1 is over 95% full, available space: 40 GB.
\x1b[36m(WorkerDict pid=16317)\x1b[0m NCCL version 2.27.3+cuda12.9
\x1b[36m(TaskRunnerV1 pid=15531)\x1b[0m step:3 - timing_s/gen:1.2 - perf/max_memory_allocated_gb:11.5
"""
WORKERS_END = "".join(
    f"\x1b[33m(raylet)\x1b[0m A worker died or was killed while executing a task by an unexpected system error. To "
    f"troubleshoot the problem, check the logs for the dead worker. Worker port: 0 Worker PID: {pid} Worker exit type: "
    "SYSTEM_ERROR Worker exit detail: Worker exits unexpectedly by a signal. SystemExit is raised.\n"
    for pid in (16368, 16396)
)
ACTOR_DIED = """\
ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
\tclass_name: TaskRunnerV1
\tpid: 15531
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: \
Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process \
was killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed \
unexpectedly due to SIGSEGV or another unexpected error."""
FRAMES = """\
  File "/lib/verl/trainer/main_ppo.py", line 153, in run
    raise OSError("never: CUDA out of memory")
          ^^^^^^^
"""


def plain(statement: str) -> str:
    """The process that was started failed itself."""
    return f"{START}{OVERRIDES}\nTraceback (most recent call last):\n{FRAMES}{statement}\n{HYDRA_ENDS}"


def in_ray(statement: str) -> str:
    """A task of Ray's failed, and what is told comes twice."""
    head = "\x1b[36mray::TaskRunnerV1.run()\x1b[39m (pid=15531, ip=192.0.2.2, actor_id=a95, repr=<TaskRunnerV1>)"
    kind = statement.partition(":")[0].rpartition(".")[2]
    again = "\n".join(f"\x1b[36m(WorkerDict pid=16317)\x1b[0m {line}" for line in statement.split("\n"))
    return (
        f"{START}\x1b[36m(WorkerDict pid=16317)\x1b[0m Traceback (most recent call last):\n{again}\n{OVERRIDES}\n"
        f"{WORKERS_END}Traceback (most recent call last):\n{FRAMES}ray.exceptions.RayTaskError({kind}): {head}\n"
        f"{FRAMES}{statement}\n{HYDRA_ENDS}"
    )


def wrapped(statement: str) -> str:
    """Hydra built an object and wraps what it raised."""
    kind, _, said = statement.replace("\n", " ").partition(": ")
    return (
        f"{START}{OVERRIDES}\n{WORKERS_END}Traceback (most recent call last):\n{FRAMES}{statement}\n\nThe above "
        f"exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n{FRAMES}"
        "hydra.errors.InstantiationException: Error in call to target 'verl.workers.config.model.HFModelConfig':\n"
        f"{kind.rpartition('.')[2]}({said!r})\nfull_key: actor_rollout_ref.model\n{HYDRA_ENDS}"
    )


def others_follow(statement: str) -> str:
    """One rank failed, the others waited for it in vain, and at last an actor died."""
    mine = "\n".join(f"\x1b[36m(WorkerDict pid=16317, ip=192.0.2.3)\x1b[0m {line}" for line in statement.split("\n"))
    return (
        f"{START}\x1b[36m(WorkerDict pid=16317, ip=192.0.2.3)\x1b[0m Traceback (most recent call last):\n{mine}\n"
        "\x1b[36m(WorkerDict pid=16400)\x1b[0m [rank1]:[E1129 10:00:00 ProcessGroupNCCL.cpp:632] [Rank 1] Watchdog "
        "caught collective operation timeout: WorkNCCL(SeqNum=12, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600012 "
        f"milliseconds before timing out.\n{WORKERS_END}{OVERRIDES}\nTraceback (most recent call last):\n{FRAMES}"
        f"{ACTOR_DIED}\n{HYDRA_ENDS}"
    )
