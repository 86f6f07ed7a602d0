"""Starts commands of leanthink again and again, kills each at a random moment, and looks at what it left.

A program of its own, so that a fork has no threads: ``killing.py FOLDER KILLS SEED``. It imports everything once; each
command is a fork. Prints a line for each kill that left what should not be, and how many there were.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VERL = """
import json, os, sys, time
keys = dict(argument.split("=", 1) for argument in sys.argv[1:])
folder = keys["trainer.validation_data_dir"]
os.makedirs(folder, exist_ok=True)
for step in range(int(keys["trainer.total_training_steps"]) + 1):
    time.sleep(0.02)
    if step % 2 == 0:
        rows = [{"acc": float(n < 8), "length": 9, "truncated": 0.0} for n in range(10)]
        with open(f"{folder}/.{step}", "w") as file:
            file.write("".join(json.dumps(row) + chr(10) for row in rows))
        os.replace(f"{folder}/.{step}", f"{folder}/{step}.jsonl")
    with open(os.environ["VERL_FILE_LOGGER_PATH"], "a") as file:
        file.write(json.dumps({"step": step, "data": {"timing_s/gen": 1.0, "leanthink/accuracy": 0.5}}) + chr(10))
"""


@dataclass
class Case:
    """A command, and what is wrong with what it left: nothing, or a text."""

    arguments: Callable[[Path], list[str]]
    wrong: Callable[[Path], str]
    goes_on: bool = False


def lines_of(path: Path, count: int) -> str:
    """JSON lines, all of them."""
    if not path.exists():
        return ""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return "" if len(rows) == count else f"{len(rows)} of {count} rows"


def parquet(folder: Path) -> str:
    """Both files, each whole or absent."""
    import pyarrow.parquet

    for path in folder.glob("*.parquet"):
        pyarrow.parquet.read_table(path)
    return ""


def model(folder: Path) -> str:
    """A merged model with all that belongs to it."""
    from safetensors.torch import load_file

    if not folder.exists():
        return ""
    load_file(folder / "model.safetensors")
    json.loads((folder / "leanthink_merge.json").read_text())
    json.loads((folder / "config.json").read_text())
    return ""


def page(folder: Path) -> str:
    """A report's page and pictures."""
    html = folder / "report.html"
    if html.exists() and not html.read_text().endswith("</html>\n"):
        return "half a page"
    if any(not path.read_bytes().endswith(b"IEND\xaeB`\x82") for path in folder.glob("*.png")):
        return "half a picture"
    return ""


def run_folder(folder: Path) -> str:
    """A run that can be read, and goes on."""
    import yaml

    for name in ("recipe.yaml", "command.txt", "summary.json", "metrics.jsonl"):
        path = folder / name
        if path.exists() and not path.read_text().endswith("\n"):
            return f"half of {name}"
    if (folder / "recipe.yaml").exists() and not yaml.safe_load((folder / "recipe.yaml").read_text()):
        return "no recipe"
    if (folder / "summary.json").exists():
        json.loads((folder / "summary.json").read_text())
    return ""


def cases(folder: Path) -> dict[str, Case]:
    """The commands, with what they read written into ``folder``."""
    import torch

    from made_runs import write_run
    from model_folders import save_model

    rows = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(400)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, length in (("long", 30), ("short", 10)):
        dump = [
            {
                "group": f"g{n // 4}",
                "prompt": f"p{n // 4}",
                "gold": "2",
                "response": f"\\boxed{{2}} {n}",
                "length": length,
            }
            for n in range(200)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({**row, "truncated": 0}) + "\n" for row in dump))
    generator = torch.Generator().manual_seed(1)
    weights = {f"w{n}": torch.randn(64, 64, generator=generator) for n in range(20)}
    save_model(folder / "base", weights)
    save_model(folder / "trained", {name: one + 0.01 for name, one in weights.items()})
    write_run(folder / "run", "short", 1, quality=0.9, tokens=20, questions=4, steps=4)
    options = ["--profile", "cpu", "--steps", "6", "--seed", "5"]
    return {
        "prepare": Case(lambda out: ["prepare", f"{folder}/problems.jsonl", "--out", str(out), "--force"], parquet),
        "pairs": Case(
            lambda out: ["pairs", f"{folder}/long.jsonl", f"{folder}/short.jsonl", "--out", f"{out}/pairs.jsonl"],
            lambda out: "" if not (out / "pairs.jsonl").exists() else lines_of(out / "pairs.jsonl", expected(out)),
        ),
        "merge": Case(lambda out: ["merge", f"{folder}/base", f"{folder}/trained", "--out", str(out)], model),
        "report": Case(lambda out: ["report", f"{folder}/run", "--out", str(out)], page),
        "train": Case(lambda out: ["train", "grpo", *options, "--out", str(out)], run_folder, goes_on=True),
    }


def expected(out: Path) -> int:
    """How many pairs the command writes where nobody kills it."""
    return len((out.parent / "whole" / "pairs.jsonl").read_text().splitlines())


def start(arguments: list[str]) -> int:
    """A fork that runs the command in a session of its own."""
    from leanthink import cli

    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        said = os.open(arguments[-1] + ".said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for stream, target in ((0, null), (1, null), (2, said)):
            os.dup2(target, stream)
        code = cli.main(arguments[:-1])
    finally:
        os._exit(code)


def finish(arguments: list[str]) -> str:
    """What went wrong with a command that nobody kills."""
    _, status = os.waitpid(start(arguments), 0)
    said = Path(arguments[-1] + ".said").read_text()
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}: {said}" if code or "Traceback" in said else ""


def killed(name: str, case: Case, folder: Path, kills: int, draw: random.Random) -> list[str]:
    """What a command left that it should not, for each kill and for the end."""
    place = folder / name
    place.mkdir()
    started = time.monotonic()
    said = str(place / "x")
    if told := finish([*case.arguments(place / "whole"), said]):
        return [f"{name}: {told}"]
    took = time.monotonic() - started
    found = []
    for number in range(kills):
        out = place / (
            "again" if case.goes_on and number % 4 else f"out-{number}" if not case.goes_on else f"new-{number}"
        )
        child = start([*case.arguments(out), said])
        time.sleep(draw.uniform(0, took))
        os.killpg(child, signal.SIGKILL) if os.getpgid(child) == child else os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        try:
            wrong = case.wrong(out)
        except Exception as error:  # whatever a reader makes of half a file
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            found.append(f"{name}, kill {number}: {wrong}")
        if number % 4 == 0 or number == kills - 1:
            time.sleep(1.2)  # what may not have its lock yet is left alone for a second
            there = {"merge": out, "pairs": out / "pairs.jsonl"}.get(name)
            if there is not None and there.exists():
                continue  # it came to its end, and nothing is overwritten
            if told := finish([*case.arguments(out), said]):
                found.append(f"{name}, after kill {number}: {told}")
            elif parts := [*place.glob(f".{out.name}.*.part"), *out.rglob(".*.part")]:
                found.append(f"{name}, after kill {number}: left {parts}")
    return found


def main(folder: Path, kills: int, seed: int) -> int:
    """Kill each command as often."""
    from leanthink.verl.start import train

    (folder / "stands_in_for_verl.py").write_text(VERL)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    train.MAINS = {"cpu": "stands_in_for_verl"}  # type: ignore[misc]
    train.require_verl = lambda: None  # type: ignore[assignment]
    draw = random.Random(seed)
    found = [line for name, case in cases(folder).items() for line in killed(name, case, folder, kills, draw)]
    print("\n".join(found))
    print(f"{len(found)} wrong of {5 * kills} kills")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
