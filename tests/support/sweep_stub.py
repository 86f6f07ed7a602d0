"""Stands in for training where the scheduler of sweeps is tested: no verl, a step is a nap.

`train FOLDER RECIPE STEPS SEED` leaves a run's folder as `leanthink train` does, takes up a run that was killed, and
notes each start and each end. `sweep FILE OUT JOBS [ADDRESS]` runs the real plan, scheduler, store and table over it,
on a Ray cluster where an address is given.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from pathlib import Path

NAP = 0.1


def train(folder: Path, recipe: str, steps: int, seed: int) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (folder / "starts.txt").open("a") as file:
            file.write("start\n")
        if recipe == "broken" and not (folder.parent / "mended").exists():
            print("leanthink train: verl ended with exit code 1: it is broken")
            return 1
        attempts, validation = folder / "attempts", folder / "validation"
        attempts.mkdir(exist_ok=True)
        validation.mkdir(exist_ok=True)
        done = len((folder / "metrics.jsonl").read_text().splitlines()) if (folder / "metrics.jsonl").exists() else 0
        attempt = attempts / f"{len(list(attempts.glob('*'))):03d}.jsonl"
        evaluate(validation, 0, recipe)
        for step in range(done + 1, steps + 1):
            time.sleep(NAP)
            if step == 3:
                held(folder)
            for path in (attempt, folder / "metrics.jsonl"):
                with path.open("a") as file:
                    row = {"leanthink/accuracy": 0.5, "timing_s/step": NAP, "timing_s/gen": NAP}
                    file.write(
                        json.dumps({"step": step, "data": row} if path == attempt else {"step": step, **row}) + "\n"
                    )
            if recipe == "collapses" and step == 2:
                evaluate(validation, step, recipe)
                return end(folder, recipe, step, seed, {"reason": "collapsed", "step": step})
        evaluate(validation, steps, recipe)
        return end(folder, recipe, steps, seed, None)


def held(folder: Path) -> None:
    """Where a file ``hold`` lies beside the sweep's folder, wait once as many runs as it says have ended."""
    hold, marker = folder.parents[2] / "hold", folder / "held"
    while hold.exists() and len(list(folder.parent.glob("*/summary.json"))) >= int(hold.read_text()):
        marker.touch()
        time.sleep(0.02)


def evaluate(validation: Path, step: int, recipe: str) -> None:
    right = 0.0 if recipe == "collapses" and step else 1.0
    rows = [{"acc": right, "length": 40 - step, "truncated": 0.0}, {"acc": 0.0, "length": 20, "truncated": 1.0}]
    (validation / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def end(folder: Path, recipe: str, steps: int, seed: int, stopped: dict | None) -> int:
    with (folder / "ends.txt").open("a") as file:
        file.write("end\n")
    summary = {"recipe": recipe, "profile": "cpu", "steps": steps, "seed": seed, "versions": {"verl": "0.9.1"}}
    summary["seconds"] = {"total": steps * NAP + 1, "per_step": {"step": NAP}}
    (folder / "summary.json").write_text(json.dumps({**summary, **({"stopped": stopped} if stopped else {})}))
    return 0


def sweep(file: Path, out: Path, jobs: int, address: str = "") -> int:
    from leanthink.sweep.local import Launcher, Local
    from leanthink.sweep.plan import load_sweep
    from leanthink.sweep.schedule import Scheduler
    from leanthink.sweep.store import Store

    launcher: Launcher = Local()
    if address:
        from leanthink.verl.start.rayjobs import RayJobs

        launcher = RayJobs(address)
    store = Store(folder=out)
    with store.locked():
        plan = load_sweep(file, resolve)
        store.open(plan)
        Scheduler(
            sweep=plan, store=store, launcher=launcher, command=command, watcher=Quiet(), jobs=jobs
        ).run()  # fmt: skip
    return 0


def resolve(arguments):
    from leanthink.sweep.plan import Resolved

    steps = int(arguments[arguments.index("--steps") + 1])
    return Resolved(steps=steps, profile="cpu", facts={"arguments": list(arguments)})


def command(planned, run, words=()):
    stub = [sys.executable, __file__, "train", str(run.folder.absolute())]
    return [*stub, planned.recipe, str(planned.steps), str(planned.seed)]


class Quiet:
    """Prints changes only."""

    def on_change(self, planned, status):
        print(planned.name, status.state, flush=True)

    def on_tick(self, running):
        pass


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if mode == "train":
        sys.exit(train(Path(rest[0]), rest[1], int(rest[2]), int(rest[3])))
    sys.exit(sweep(Path(rest[0]), Path(rest[1]), int(rest[2]), *rest[3:]))
