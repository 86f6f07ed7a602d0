"""Train a testbed's policy and write the folder that is shipped: ``python -m leanthink.testbed.build``."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from leanthink.files.reading import read_object
from leanthink.files.writing import make_folder, write_text
from leanthink.testbed import MANIFEST, WEIGHTS, policy_path
from leanthink.testbed.beds import SEARCH, TESTBEDS, AnyTask, testbed_of
from leanthink.testbed.effort import Effort
from leanthink.testbed.evaluate import Evaluation, evaluate
from leanthink.testbed.lessons import COURSES, EFFORT_COURSE, Course, lesson_batches, search_batches
from leanthink.testbed.rows import TEST_ROWS
from leanthink.testbed.search import Search
from leanthink.testbed.tokenizer import PAD, build_tokenizer, vocabulary
from leanthink.testbed.tool_lessons import TOOL_COURSE, ToolTeacher
from leanthink.testbed.tools import Tools
from leanthink.testbed.training import Batch, Training, batches, new_model, train

SAMPLES = 4
PROGRESS_QUESTIONS = 100
ALL_COURSES: Mapping[str, Sequence[Training]] = {
    "chains": (Training(),),
    "search": COURSES,
    "tools": (TOOL_COURSE,),
    "effort": (EFFORT_COURSE,),
}


def save(folder: Path, model: Any, task: AnyTask) -> None:
    """Write a policy that ``transformers`` loads: weights, configuration, tokenizer, chat template."""
    make_folder(folder)
    model.save_pretrained(folder, safe_serialization=True)
    build_tokenizer(task).save_pretrained(folder)
    (folder / WEIGHTS).chmod(0o644)
    # Names that transformers 4 knows as well as 5.
    path = folder / "tokenizer_config.json"
    settings = read_object(path)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["additional_special_tokens"] = settings.pop("extra_special_tokens", [])
    write_text(path, json.dumps(settings, indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> Any:
    """A policy that `save` wrote."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)


def begun(training: Training, task: AnyTask, seed: int) -> Any:
    """What training begins from: random weights; for the effort task the search policy, with words it has not read."""
    if not isinstance(task, Effort):
        return new_model(training, task, seed)
    model = load(policy_path(SEARCH.name))
    torch.manual_seed(seed)
    model.resize_token_embeddings(len(vocabulary(task)), mean_resizing=False)
    return model


def rounded(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON, at four decimals."""

    def short(figures: dict[str, Any]) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in figures.items()}

    found = asdict(evaluation)
    return {
        "overall": short(found["overall"]),
        "by_difficulty": {str(k): short(figures) for k, figures in found["by_difficulty"].items()},
    }


def manifest(folder: Path, command: str, settings: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """How a policy was made, what its files are and what it does."""
    import transformers

    sums = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return {"command": command, "versions": versions, **settings, "sha256": sums, **results}


def lessons_of(training: Training, task: AnyTask, seed: int) -> Iterator[Batch]:
    """What a policy of the task learns from."""
    if isinstance(task, Search):
        assert isinstance(training, Course)
        if isinstance(task, Tools):
            return lesson_batches(training, ToolTeacher(task, seed).lessons, vocabulary(task)[PAD])
        return search_batches(training, task, seed)
    return batches(training, task, seed)


def build(
    out: Path,
    *,
    courses: Sequence[Training],
    task: AnyTask,
    seed: int,
    command: str,
    every: int = 200,
    samples: int = SAMPLES,
    done: Path | None = None,
) -> dict[str, Any]:
    """Train a policy, write it to ``out`` and evaluate it; return the manifest, which is written last.

    Args:
        out: the folder.
        courses: one after the other, on lessons drawn from ``seed``, ``seed + 1``, ...
        task: what is learnt.
        seed: of the weights and the lessons.
        command: as the manifest shows it.
        every: steps between progress lines and checkpoints.
        samples: responses a question in the evaluation.
        done: a policy that an interrupted build left behind all courses but the last, which then goes on from it.
    """
    tokenizer = build_tokenizer(task)
    glance = list(testbed_of(task).questions("test", PROGRESS_QUESTIONS, 1, task))

    def checkpoint(step: int, model: Any) -> None:
        print(evaluate(model, tokenizer, items=glance, task=task).table(), flush=True)
        save(out, model, task)

    started = time.perf_counter()
    model = begun(courses[0], task, seed) if done is None else load(done)
    for number, course in enumerate(courses):
        if done is not None and number + 1 < len(courses):
            continue

        def report(step: int, loss: float, seconds: float, of: str = f"{course.steps}, course {number + 1}") -> None:
            print(f"step {step}/{of}  loss {loss:.4f}  {seconds:.0f} s", flush=True)

        lessons = lessons_of(course, task, seed + number)
        train(course, model, lessons, report=report, checkpoint=checkpoint, every=every)
    seconds = time.perf_counter() - started
    free = evaluate(model, tokenizer, samples=samples, task=task)
    banned = evaluate(model, tokenizer, samples=samples, ban_wait=True, task=task)
    print(f"{free.table()}\n\nwith no re-checks\n{banned.table()}", flush=True)
    settings = {
        "seed": seed,
        "seconds": round(seconds),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "task": asdict(task),
        "training": [asdict(course) for course in courses],
    }
    held_out = {"questions": TEST_ROWS, "samples": samples, "temperature": 1.0, "seed": 0}
    results = {"held_out": held_out, "free": rounded(free), "wait_banned": rounded(banned)}
    made = manifest(out, command, settings, results)
    write_text(out / MANIFEST, json.dumps(made, indent=2) + "\n")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a testbed's policy, evaluate it and write it with its manifest."""
    parser = argparse.ArgumentParser(prog="python -m leanthink.testbed.build", description=main.__doc__)
    parser.add_argument("--testbed", choices=tuple(TESTBEDS), default="chains", help="default: chains")
    parser.add_argument("--out", type=Path, default=Path("policy"), help="the folder to write; default: ./policy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of the last course; default: its own, 300 to 1600")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; at this size a second one mostly waits")
    parser.add_argument("--every", type=int, default=200, help="steps between progress lines and checkpoints")
    parser.add_argument(
        "--last-course-from", type=Path, metavar="DIR", help="go on from what an interrupted build left"
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    *before, last = ALL_COURSES[given.testbed]
    last = replace(last, steps=given.steps or last.steps)
    options = f"--testbed {given.testbed} --seed {given.seed} --steps {last.steps} --threads {given.threads}"
    build(
        given.out,
        courses=[*before, last],
        task=TESTBEDS[given.testbed].task,
        seed=given.seed,
        command=f"python -m leanthink.testbed.build {options}",
        every=given.every,
        done=given.last_course_from,
    )


if __name__ == "__main__":
    main()
