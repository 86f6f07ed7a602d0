"""Why a training failed, from all that it printed: the cause in one paragraph, with the cure.

A log holds many errors: warnings of packages that are not there, workers that die because another did, a wrapping of
the error in another one. The last statement of an error counts; where that only says that something else has failed,
the one behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

LONGEST: Final = 400
"""Signs of a cause that are shown."""

LOOKED_AT: Final = 4000
"""Signs of a statement that are compared with the kinds."""

FULL: Final = 2**20
"""Bytes; a disk with less free is full."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of failure: how its statement reads, and what to do.

    Attributes:
        name: what has happened, in words.
        pattern: a regular expression, searched in a statement.
        cure: what helps.
        follows: whether it is mostly the consequence of another error, told before.
    """

    name: str
    pattern: str
    cure: str
    follows: bool = False


KINDS: Final = (
    Kind(
        name="a wrong override",
        pattern=r"Could not override|is not in struct|^no viable alternative|^mismatched input|^extraneous input"
        r"|^token recognition error|^Error parsing override|OverrideParseException|Could not find '"
        r"|InterpolationKeyError"
        r"|InterpolationResolutionError|could not be converted to|Missing mandatory value"
        r"|is incompatible with type hint"
        r"|error: unrecognized arguments|^You must specify|MissingMandatoryValue",
        cure="correct that key=value; a key that is new to verl begins with +",
    ),
    Kind(
        name="the plug-in is not loaded",
        pattern=r"No module named '?leanthink|leanthink\w*'? (?:is )?not (?:registered|supported)"
        r"|Un(?:known|supported) [\w ]+: '?leanthink|KeyError\W{1,6}leanthink",
        cure="install leanthink on every machine into the Python that Ray's workers run, and ask `leanthink doctor`",
    ),
    Kind(
        name="no usable GPU",
        pattern=r"NVIDIA driver|not compiled with CUDA|no CUDA-capable device|No CUDA GPUs"
        r"|no kernel image is available"
        r"|CUDA driver version|lib(?:cuda|cudart|cublas|cudnn|nccl)[\w.-]*: cannot open shared object"
        r"|Failed to infer device type|CUDA (?:is|was) not available|Total available GPUs \d+ is less than"
        r"|cudaErrorNoDevice|cudaErrorInsufficientDriver|invalid device ordinal",
        cure="see what `nvidia-smi` and `leanthink doctor` say, ask for as many GPUs as there are (--gpus, "
        "--nodes), or "
        "train with --profile cpu",
    ),
    Kind(
        name="the model cannot be had",
        pattern=r"is not a valid model identifier|Repo id must|RepositoryNotFound|GatedRepo|gated repo"
        r"|couldn't connect to 'https://huggingface|LocalEntryNotFound|OfflineModeIsEnabled|offline mode is enabled"
        r"|Incorrect path_or_model_id|does not appear to have a file named|no file named .*(?:safetensors|bin|config)"
        r"|Unrecognized model in|Can't load (?:tokenizer|the configuration|the model|image processor)"
        r"|instantiate the backend tokenizer|RevisionNotFound|EntryNotFoundError",
        cure="give --model a folder that holds config.json, weights and tokenizer, or a name of the Hub; the CPU "
        "profile "
        "looks nothing up on the network: download it first with `hf download NAME`",
    ),
    Kind(
        name="shared memory is used up",
        pattern=r"(?s)\A(?=.*(?:/dev/shm|shared memory|torch_shm|Bus error))(?=.*(?:No space left|Bus error|exceeds"
        r"|out of"
        r"|unable to (?:open|write|allocate|resize|mmap)|insufficient))",
        cure="give /dev/shm more room (docker run --shm-size=16g, or --ipc=host)",
    ),
    Kind(
        name="the disk is full, or may not be written to",
        pattern=r"No space left on device|Disk quota exceeded|Errno 28\b|Errno 122\b|os error 28|OutOfDiskError"
        r"|unexpected pos \d+ vs \d+|Read-only file system|Errno 30\b|PytorchStreamWriter failed|local disk is full",
        cure="free space where --out and /tmp lie (old checkpoints: trainer.max_actor_ckpt_to_keep=1), or choose "
        "another "
        "--out; Ray's own files go where RAY_TMPDIR says",
    ),
    Kind(
        name="the GPU's memory is used up",
        pattern=r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError: (?:CUDA|HIP|GPU)|HIP out of memory"
        r"|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
        r"|No available memory for the cache"
        r"|Free memory on device .* less than desired|KV cache is needed, which is larger"
        r"|larger than the maximum number of"
        r" tokens that can be stored in KV cache|Failed to CUDA calloc",
        cure="smaller pieces: actor_rollout_ref.rollout.gpu_memory_utilization=0.4, a lower "
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu, "
        "actor_rollout_ref.actor.fsdp_config.param_offload=true and "
        "actor_rollout_ref.actor.fsdp_config.optimizer_offload=true, all of which a started run may change; else a "
        "shorter data.max_response_length or more GPUs; and see with `nvidia-smi` who else is on the GPU",
    ),
    Kind(
        name="the machine's memory is used up",
        pattern=r"running low on memory|can't allocate memory|Cannot allocate memory|Errno 12\b|ArrayMemoryError"
        r"|MemoryError"
        r"|oom[-_]kill|Out of memory: Killed|OutOfMemoryError|std::bad_alloc|memory usage threshold",
        cure="train with fewer rows at a time (data.train_batch_size, actor_rollout_ref.rollout.agent.num_workers, "
        "reward.num_workers), stop what else runs there, or ask the scheduler for more memory",
    ),
    Kind(
        name="a port is taken",
        pattern=r"(?i)address (?:already|is already) in use|EADDRINUSE|errno: 98\b|Errno 98\b|Errno 48\b"
        r"|is trying to start at .* but is already running|port \S+ is (?:already )?(?:in use|taken|occupied)",
        cure="another program has it, mostly an earlier run that has not ended: see `ss -ltnp`, wait a minute, "
        "or set "
        "another port (MASTER_PORT, ray start --port)",
    ),
    Kind(
        name="too many processes, threads or open files",
        pattern=r"Too many open files|can't start new thread|Errno 24\b|Errno 11\b|Resource temporarily unavailable"
        r"|pthread_create failed|unable to create new (?:native )?thread",
        cure="raise the limits of the shell (ulimit -n 65535, ulimit -u) or of the container (--pids-limit)",
    ),
    Kind(
        name="Ray did not start",
        pattern=r"(?i)node timed out during startup|Failed to (?:start|connect to) (?:the )?(?:GCS|raylet|Ray)\b"
        r"|Could not find any running Ray instance|GCS (?:has become|is) overloaded|failed to connect to gcs"
        r"|Unable to (?:register worker|connect to GCS|connect to the raylet)|timed out waiting for (?:the )?file"
        r"|failed to get the system config|session name .* does not match",
        cure="the machine was too busy, or what an earlier Ray left is in the way: see whether another Ray runs "
        "there "
        "(`ray status`), whether /tmp has space and memory is free, and start again; on a cluster, whether "
        "RAY_ADDRESS "
        "is right and every machine reaches the head",
    ),
    Kind(
        name="a machine was lost",
        pattern=r"NodeDiedError|missed too many heartbeats|node .* (?:was|is) (?:terminated|dead|marked dead)"
        r"|nodes? died"
        r"|preempted",
        cure="see that machine's own log, and start again when it is back",
        follows=True,
    ),
    Kind(
        name="workers lost each other, or waited too long",
        pattern=r"NCCL|DistBackendError|collective operation timeout|ProcessGroup|gloo|Connection closed by peer"
        r"|TCPStore|DistNetworkError|DistStoreError|Timed out waiting \d+ ?ms",
        cure="one of them mostly failed or hung before: look further up for it; else NCCL_DEBUG=INFO tells which "
        "network "
        "is taken (NCCL_SOCKET_IFNAME chooses), and actor_rollout_ref.nccl_timeout=3600 waits longer",
        follows=True,
    ),
    Kind(
        name="a worker was killed or crashed",
        pattern=r"ActorDiedError|RayActorError|WorkerCrashedError|ActorUnavailableError|died unexpectedly"
        r"|Segmentation fault"
        r"|SIGSEGV|SIGKILL|unexpectedly exit|exited unexpectedly|connection error code 2|killed by signal"
        r"|OwnerDiedError",
        cure="mostly by the system for want of memory (`dmesg | grep -i oom`), or by a scheduler's limit; what the "
        "worker said last lies in session_latest/logs of Ray's own folder",
        follows=True,
    ),
    Kind(
        name="something waited too long",
        pattern=r"GetTimeoutError|TimeoutError|ReadTimeout|ConnectTimeout|timed out",
        cure="see further up what it waited for; start again where the machine was only busy",
        follows=True,
    ),
    Kind(
        name="no response came back",
        # What verl's trainer says when every agent loop of a step has failed; each has logged its own error.
        pattern=r"Received an empty list as keys",
        cure="look further up for the first error of an agent loop or of the engine",
        follows=True,
    ),
    Kind(
        name="the rollout engine ended",
        pattern=r"EngineDeadError|Engine core initialization failed|EngineCore|BrokenPipeError|ConnectionResetError"
        r"|EOFError|CalledProcessError|SystemExit|RaySystemError",
        cure="look further up for the first error",
        follows=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why it failed.

    Attributes:
        said: the statement of the error, short.
        line: where it stands in the text, from 1; 0 where it does not.
        kind: what that is, where it is known.
        own: whether it is an error of ours, which says itself what to do.
    """

    said: str
    line: int = 0
    kind: Kind | None = None
    own: bool = False

    def __str__(self) -> str:
        if self.kind is None:
            return self.said
        return (
            f"{self.kind.name} ({self.said}); {self.kind.cure}" if self.said else f"{self.kind.name}; {self.kind.cure}"
        )


def cause_of(text: str, code: int = 1, free: int | None = None) -> Cause:
    """The cause of a failure.

    Args:
        text: all that was printed.
        code: the exit code; negative for a signal.
        free: the bytes that were free on the disk of the text, which ends early where there are none.
    """
    lines = text.split("\n")
    told = list(_statements(lines))
    own = [one for one in told if one.own]
    last = told[-1] if told else None
    vague = last is None or last.kind is None or last.kind.follows
    if own:
        return own[-1]
    if free is not None and free < FULL and vague:
        return Cause(said=f"{free} bytes are free", line=len(lines), kind=_kind("the disk is full"))
    if code < 0 and vague and (last is None or last.kind is None):
        return Cause(said=f"verl was ended by signal {-code}", line=len(lines), kind=_kind(SIGNALS.get(-code, KILLED)))
    if last is None:
        bare = (_parted(line)[1] for line in lines)
        rest = [line for line in bare if line.strip() and not line.startswith((OVERRIDES, HYDRAS_END))]
        return Cause(said=_short(rest[-1]) if rest else "it printed nothing", line=len(lines))
    return _behind(last, told, lines) if last.kind is not None and last.kind.follows else last


def _behind(last: Cause, told: Sequence[Cause], lines: Sequence[str]) -> Cause:
    """What is behind an error that follows from another: one of a kind that does not, the likeliest kind first."""
    known = [one for one in told if one.kind is not None and not one.kind.follows]
    if known:
        return min(known, key=_likelihood)
    if unknown := [one for one in told if one.kind is None]:
        return unknown[-1]
    best = min(_likelihood(one) for one in told)
    cause = last if _likelihood(last) == best else next(one for one in told if _likelihood(one) == best)
    dead = _first_dead(lines) if cause.kind == _kind(KILLED) else None
    return cause if dead is None else replace(cause, said=dead[1], line=dead[0])


def _likelihood(cause: Cause) -> int:
    return len(KINDS) if cause.kind is None else KINDS.index(cause.kind)


def _first_dead(lines: Sequence[str]) -> tuple[int, str] | None:
    """The first process that Ray says died of itself, by its name, and the line; Ray ends those that follow."""
    for number, line in enumerate(lines, 1):
        if match := _DEAD.search(line):
            names = (re.search(rf"\((\S{{1,200}}) pid={match[1]}\b", one) for one in lines)
            name = next((found[1] for found in names if found), "a process")
            return number, _short(f"{name}, pid {match[1]}: {match[2]}")
    return None


KILLED: Final = "a worker was killed"
SIGNALS: Final = {9: "the machine's memory", 7: "shared memory"}
"""What ends a process by a signal, mostly."""

OVERRIDES: Final = "Error executing job with overrides:"
HYDRAS_END: Final = "Set the environment variable HYDRA_FULL_ERROR=1"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Ray's name of a process, and that of a process of its own, as vLLM's engine and its workers have it.
_PREFIX = re.compile(r"^(?:\((?:[\w.:-]{1,200} ){0,8}(?:pid=\d+|raylet|autoscaler)[^)]{0,200}\) ?){1,3}")
_LEVEL = re.compile(r"^(?:ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?")
_HEAD = re.compile(
    r"^\s*(?:\|\s*)?(?:Traceback \(most recent call last\):|(?:ray\.exceptions\.\w+\(\w+\): )?ray::\S+\(\) \(pid=)"
)
_ERROR = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*(?:_?[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Timeout|Died|Crashed)"
    r"|Exception)(?:\(\w+\))?(?::|$)"
)
_LOOSE = re.compile(
    r"Watchdog caught collective|oom_kill event|Out of memory: Killed|^Fatal Python error|^Bus error"
    r"|^Segmentation fault"
    r"|^Killed$|^terminate called|^\S*: error: unrecognized|Worker exit type: (?!INTENDED)"
)
_BEFORE = re.compile(rf"[A-Z]+:\d{{4}}-|{OVERRIDES}")
_END = re.compile(r"^(?:The above exception|During handling of|$)")
_DEAD = re.compile(r"Worker PID: (\d+) Worker exit type: SYSTEM_ERROR Worker exit detail: (.{0,1000}?\.)(?:\s|$)")
_OWN = "leanthink.core.errors."


def _statements(printed: Sequence[str]) -> Iterator[Cause]:
    """Every statement of an error, in order."""
    processes, lines = map(list, zip(*map(_parted, printed), strict=True))
    inside: set[str] = set()  # the processes in the middle of a traceback
    told = False  # whether the paragraph before Hydra's last words is the end of a traceback: a statement already
    for number, (process, line) in enumerate(zip(processes, lines, strict=True)):
        if line.startswith(OVERRIDES):  # an error of Hydra's own is shown without a traceback
            told = False
        if _HEAD.match(line):
            inside.add(process)
            told = True
        elif line.startswith(HYDRAS_END) and not told:
            yield from _hydras(lines, number)
        elif _ERROR.match(line) or (process in inside and line and not line[0].isspace()):
            yield _cause(_block(lines, processes, number), number)
            inside.discard(process)
        elif _LOOSE.search(line):
            yield _cause([line], number)


def _hydras(lines: Sequence[str], end: int) -> Iterator[Cause]:
    """What Hydra says of an override before it starts anything: the paragraph before its last words."""
    while end > 0 and not lines[end - 1].strip():
        end -= 1
    start = end
    while start > 0 and end - start < 12 and lines[start - 1].strip() and not _BEFORE.match(lines[start - 1]):
        start -= 1
    if start < end:
        kind = next((one for one in KINDS if re.search(one.pattern, "\n".join(lines[start:end])[:LOOKED_AT])), KINDS[0])
        yield Cause(said=_short(" ".join(lines[start:end])), line=start + 1, kind=kind)


def _block(lines: Sequence[str], processes: Sequence[str], start: int) -> list[str]:
    """A statement with the lines of the same process that go on with it."""
    end = start + 1
    while end < len(lines) and end - start < 12:
        line = lines[end]
        if (
            processes[end] != processes[start]
            or _END.match(line)
            or _HEAD.match(line)
            or line.startswith((OVERRIDES, HYDRAS_END))
            or _ERROR.match(line)
        ):
            break
        end += 1
    return list(lines[start:end])


def _cause(block: Sequence[str], number: int) -> Cause:
    said = " ".join(block)
    if _OWN in block[0]:
        return Cause(said=" ".join(block[0].replace(_OWN, "").split()), line=number + 1, own=True)
    wrapped = block[0].startswith("hydra.errors.InstantiationException") and len(block) > 1
    text = "\n".join(block[1:] if wrapped else block)[:LOOKED_AT]
    kind = next((one for one in KINDS if re.search(one.pattern, text)), None)
    return Cause(said=_short(" ".join(text.split()) if wrapped else said), line=number + 1, kind=kind)


def _kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name.startswith(name))


def _parted(line: str) -> tuple[str, str]:
    """Ray's name of the process, and the line without colours, levels of loggers, and what a progress bar wrote."""
    line = _COLOUR.sub("", line.rstrip()).rpartition("\r")[2]
    process = match[0] if (match := _PREFIX.match(line)) else ""
    return process, _LEVEL.sub("", line[len(process) :])


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
