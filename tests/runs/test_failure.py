"""Why a training failed: each real kind of failure is named with its cure, whatever stands around its statement."""

import pytest

import made_logs as made
from leanthink.runs.failure import KINDS, LONGEST, cause_of
from timing import is_within

STATEMENTS = {
    "GPU's memory": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
        "79.15 GiB",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 3; 23.69 GiB total "
        "capacity)",
        "RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some "
        "other call",
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`.",
        "ValueError: Free memory on device (3.2/79.1 GiB) on startup is less than desired GPU memory utilization (0.6)",
    ),
    "machine's memory": (
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.\nMemory on the "
        "node was "
        "120.0GB / 125.0GB (0.96), which exceeds the memory usage threshold of 0.95.",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000000,)",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried "
        "to allocate 1099511627776 bytes. Error code 12 (Cannot allocate memory)",
        "MemoryError",
        "OSError: [Errno 12] Cannot allocate memory",
    ),
    "port is taken": (
        "OSError: [Errno 98] Address already in use",
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. "
        "port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
        "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:5555')",
        "ConnectionError: Ray is trying to start at 127.0.0.1:6379, but is already running at 127.0.0.1:6379.",
    ),
    "Ray did not start": (
        "Exception: The current node timed out during startup. This could happen because some of the raylet "
        "failed to "
        "startup or the GCS has become overloaded.",
        "ConnectionError: Could not find any running Ray instance. Please specify the one to connect to",
        "RuntimeError: Failed to connect to GCS at address 10.0.0.1:6379 within 5 seconds.",
    ),
    "disk is full": (
        "OSError: [Errno 28] No space left on device: '/out/checkpoints/global_step_20/actor/model.pt'",
        "RuntimeError: [enforce fail at inline_container.cc:668] . unexpected pos 704 vs 598",
        "safetensors_rust.SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)",
        "OSError: [Errno 122] Disk quota exceeded",
        "OSError: [Errno 30] Read-only file system: '/out/run'",
        "ray.exceptions.OutOfDiskError: Local disk is full",
    ),
    "shared memory": (
        "RuntimeError: unable to open shared memory object </torch_123_4> in read-write mode: No space left on "
        "device (28)",
        "ValueError: The configured object store size (64.0GB) exceeds /dev/shm size (16.0GB).",
    ),
    "no usable GPU": (
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        "AssertionError: Torch not compiled with CUDA enabled",
        "RuntimeError: No CUDA GPUs are available",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
        "ValueError: Total available GPUs 0 is less than total desired GPUs 8",
    ),
    "model cannot be had": (
        "OSError: Qwen/Qwen9 is not a local folder and is not a valid model identifier listed on "
        "'https://huggingface.co'",
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': "
        "'/data/models/x/y'. Use `repo_type` argument if needed.",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in "
        "the cache.",
        "huggingface_hub.errors.GatedRepoError: 403 Client Error. Cannot access gated repo for url "
        "https://huggingface.co",
        "OSError: /data/model does not appear to have a file named config.json.",
    ),
    "plug-in": (
        "ModuleNotFoundError: No module named 'leanthink'",
        "ValueError: Unknown advantage estimator simply: leanthink",
        "ValueError: Unsupported loss mode: leanthink. Supported modes are: ['vanilla', 'gspo']",
        "KeyError: ('leanthink_cpu', 'async')",
        "AssertionError: Agent loop leanthink not registered, registered agent loops: dict_keys(['single_turn_agent'])",
    ),
    "override": (
        "omegaconf.errors.ConfigAttributeError: Key 'trian_files' is not in struct\n    full_key: data.trian_files",
        "omegaconf.errors.InterpolationKeyError: Interpolation key 'actor.nothing' not found",
        "omegaconf.errors.ValidationError: Value 'abc' of type 'str' could not be converted to Integer",
    ),
    "open files": ("OSError: [Errno 24] Too many open files", "RuntimeError: can't start new thread"),
}
CAUSES = [
    pytest.param(kind, statement, id=f"{kind}-{n}")
    for kind, all_of in STATEMENTS.items()
    for n, statement in enumerate(all_of)
]
AROUND = (made.plain, made.in_ray, made.wrapped, made.others_follow)


def shown(text, **more):
    cause = cause_of(text, **more)
    told = str(cause)
    assert "\n" not in told and "\x1b" not in told
    assert len(cause.said) <= LONGEST
    assert "some.key" not in told  # Hydra's overrides
    return cause


@pytest.mark.parametrize("around", AROUND, ids=lambda one: one.__name__)
@pytest.mark.parametrize(("kind", "statement"), CAUSES)
def test_the_cause_is_named_with_its_cure_and_its_line(kind, statement, around):
    text = around(statement)
    cause = shown(text)
    assert cause.kind is not None and kind in cause.kind.name, cause
    first = statement.split("\n")[0].partition(": ")[2].split(".")[0][:40] or statement
    assert first in cause.said
    assert cause.kind.cure in str(cause)
    assert any(word in text.split("\n")[cause.line - 1] for word in (first, "InstantiationException"))


@pytest.mark.parametrize("around", AROUND[:3], ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    "statement",
    [
        "Exception: something of its own",
        "my_package.errors.Odd: with a name of its own",
        "AssertionError",
        "KeyError: 'x'",
    ],
)
def test_an_error_of_no_known_kind_is_told_as_it_stands(around, statement):
    cause = shown(around(statement))
    assert cause.kind is None
    assert statement.partition(": ")[2] in cause.said and statement.rpartition(".")[2].partition(":")[0] in cause.said


def test_an_unknown_error_before_the_actors_death_is_the_cause():
    cause = shown(made.others_follow("my_package.errors.Odd: the reward failed"))
    assert cause.said == "my_package.errors.Odd: the reward failed"


def test_an_error_of_ours_says_itself_what_to_do():
    statement = "leanthink.core.errors.StateError: the step is lost; resume from an earlier one"
    for around in AROUND:
        assert str(shown(around(statement))) == "StateError: the step is lost; resume from an earlier one"


@pytest.mark.parametrize(
    "text",
    [
        "Could not override 'data.trian_files'.\nTo append to your config use +data.trian_files=x\nKey "
        "'trian_files' is not "
        "in struct\n    full_key: data.trian_files\n    object_type=dict\n",
        "no viable alternative at input '{'\nSee https://hydra.cc/docs/1.2/advanced/override_grammar/basic for "
        "details\n",
        "Ambiguous value for argument 'a'\n",
        "Error in call to target 'verl.workers.config.actor.FSDPActorConfig':\nValueError('Invalid "
        "loss_agg_mode: odd')\n"
        "full_key: actor_rollout_ref.actor\n",
    ],
)
@pytest.mark.parametrize("before", ["", made.OVERRIDES + "\n"], ids=["first", "after the overrides"])
def test_what_hydra_says_before_anything_starts(text, before):
    start = "INFO:2026-11-29 09:46:16,842:Platform override from VERL_PLATFORM: cpu\n"
    cause = shown(f"{start}{before}{text}{made.HYDRA_ENDS}")
    assert cause.kind is not None and cause.kind.name == "a wrong override"
    assert cause.said.startswith(text[:20])
    assert cause.line == (3 if before else 2)


def test_the_worker_that_died_first_is_named():
    """Ray ends the others, and says the same of them."""
    first = (
        "\x1b[33m(raylet)\x1b[0m A worker died or was killed. Worker PID: 16317 Worker exit type: SYSTEM_ERROR "
        "Worker exit "
        "detail: Worker unexpectedly exits with a connection error code 2. End of file.\n"
    )
    text = f"{made.START}{first}{made.WORKERS_END}{made.OVERRIDES}\nTraceback (most recent call last):\n"
    cause = shown(f"{text}{made.ACTOR_DIED}\n{made.HYDRA_ENDS}")
    assert cause.kind is not None and cause.kind.name == "a worker was killed or crashed"
    assert cause.said == "WorkerDict, pid 16317: Worker unexpectedly exits with a connection error code 2."
    assert "16317" in text.split("\n")[cause.line - 1]


def test_waiting_in_vain_is_told_where_nothing_else_is():
    text = made.others_follow("").replace(
        "Traceback (most recent call last):\n\x1b[36m(WorkerDict pid=16317", "(x pid=1"
    )
    cause = shown(text)
    assert cause.kind is not None and cause.kind.name.startswith("workers lost each other")
    assert "Watchdog caught" in cause.said


@pytest.mark.parametrize(
    ("code", "kind"), [(-9, "the machine's memory"), (-7, "shared memory"), (-11, "a worker was killed or crashed")]
)
def test_an_end_by_a_signal(code, kind):
    cause = shown(made.START, code=code)
    assert cause.kind is not None and cause.kind.name.startswith(kind)
    assert f"signal {-code}" in cause.said
    oom = made.plain("torch.OutOfMemoryError: CUDA out of memory.")
    assert shown(oom, code=code).kind.name.startswith("the GPU's memory")


def test_a_log_that_ends_early_on_a_full_disk():
    """The overrides are cut off, and with them all that would have told why."""
    text = made.START + made.OVERRIDES[:3000]
    cause = shown(text, free=0)
    assert cause.kind is not None and cause.kind.name.startswith("the disk is full")
    assert cause_of(text, free=10**9).kind is None
    known = made.plain("RuntimeError: No CUDA GPUs are available")
    assert shown(known, free=0).kind.name == "no usable GPU"


def test_behind_a_step_without_responses_stands_what_ended_the_engine():
    ray, engine = "\x1b[36m(vLLMHttpServer pid=70)\x1b[0m ", "(EngineCore pid=71) ERROR 11-30 17:35:20 [core.py:1351] "
    loop = "\x1b[36m(AgentLoopWorkerTQ pid=72)\x1b[0m "
    said = "RuntimeError: Unsupported CPU attention configuration: head_dim=16 isa=2 kv_cache_idx=0"
    text = made.START + "".join(
        f"{who}{line}\n"
        for who, line in [
            *((ray + engine, line) for line in ("Traceback (most recent call last):", "  File x, line 3, in y", said)),
            (loop, "Traceback (most recent call last):"),
            (loop, "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."),
        ]
    )
    cause = shown(
        f"{text}{made.OVERRIDES}\nTraceback (most recent call last):\n{made.FRAMES}"
        f"ValueError: Received an empty list as keys.\n{made.HYDRA_ENDS}"
    )
    assert cause.said == said and said in text.split("\n")[cause.line - 1]


def test_of_several_causes_the_likeliest_is_told():
    port, memory = STATEMENTS["port is taken"][0], STATEMENTS["GPU's memory"][0]
    for first, then in ((port, memory), (memory, port)):
        text = made.plain(first) + "\n" + made.others_follow(then)
        assert shown(text).kind.name == "the GPU's memory is used up"


def test_nothing_at_all():
    assert str(cause_of("")) == "it printed nothing"
    assert str(cause_of("one\n\ntwo\n\n")) == "two"
    assert "some.key" not in str(cause_of(made.OVERRIDES))


def test_progress_bars_and_loggers_are_looked_through():
    text = "Loading: 10%\rLoading: 20%\rTraceback (most recent call last):\n  File x\nValueError: bad\n"
    assert cause_of(text).said == "ValueError: bad"
    text = "(EngineCore_0 pid=7) ERROR 11-29 12:00:00 [core.py:700] ValueError: bad\n(EngineCore_0 pid=7) more\n"
    assert cause_of(text).said == "ValueError: bad more"


def test_a_log_of_megabytes_is_read_in_seconds():
    text = "\n".join(
        ["node " * 20_000, "Error" * 20_000, "(a " * 30_000, "a." * 50_000, "x" * 100_000, "ray::x() (" * 9_000]
    )
    log = f"Traceback (most recent call last):\n{text}\n" * 8 + made.in_ray("MemoryError")
    assert is_within(10, cause_of, log)


def test_every_kind_is_tried():
    tried = {kind.name for kind in KINDS if not kind.follows}
    assert {next(name for name in tried if kind in name) for kind in STATEMENTS} == tried


def test_the_last_of_several_unknown_errors_is_the_cause():
    """The first was caught, and training went on."""
    caught = "Traceback (most recent call last):\n  File x\nValueError: a response of no tokens\n"
    cause = shown(caught + made.others_follow("my_package.errors.Odd: the reward failed"))
    assert cause.said == "my_package.errors.Odd: the reward failed"
