"""What a run under TRL leaves in its folder: the files of a run with verl, so that the same commands read them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import yaml

from leanthink.core.installed import versions_of
from leanthink.files.writing import make_folder, open_log, write_text
from leanthink.recipe.definition import Recipe
from leanthink.runs.folder import Run
from leanthink.runs.summary import write_summary
from leanthink.training.keeping import FACTS, write_shaped

if TYPE_CHECKING:
    from leanthink.trl.scorer import Found, Generation

NAMES: Final[Mapping[str, str]] = {
    "step_time": "timing_s/step",
    "loss": "actor/loss",
    "grad_norm": "actor/grad_norm",
    "learning_rate": "actor/lr",
    "entropy": "actor/entropy",
    "kl": "actor/kl_loss",
}
"""TRL's name of a figure -> verl's, where both have it; all others keep TRL's."""

VERSIONS_OF: Final = ("leanthink", "trl", "transformers", "accelerate", "torch", "math-verify", "vllm")


class Keeper:
    """Writes a run's folder, from the main process."""

    def __init__(self, run: Run, recipe: Recipe, keeps_rollouts: bool = False, profile: str = "gpu") -> None:
        """Writes nothing yet; see :meth:`open`."""
        self.run, self.keeps_rollouts = run, keeps_rollouts
        self._recipe, self._profile = recipe, profile
        self._attempt = run.attempts / "000.jsonl"
        self._started = time.time()

    def open(self) -> None:
        """Make the folder; metrics go into a file of this start."""
        make_folder(self.run.attempts)
        write_text(self.run.recipe, yaml.safe_dump(self._recipe.to_node(), sort_keys=False))
        self._attempt = self.run.next_attempt()

    def log(self, logs: Mapping[str, Any], step: int) -> None:
        """Keep what TRL logs, under the step as leanthink counts: generations."""
        data = {NAMES.get(name, name): value for name, value in logs.items() if isinstance(value, int | float)}
        if data:
            make_folder(self.run.attempts)
            with open_log(self._attempt) as file:
                file.write(json.dumps({"step": step, "data": data}).encode() + b"\n")

    def evaluation(self, judged: Sequence[Found], step: int) -> None:
        """Keep held-out responses after a step, and sum the run up so far."""
        lines = [
            json.dumps({**one.kept, "score": one.fact["acc"], "step": step, **one.fact}, default=str) for one in judged
        ]
        write_text(self.run.validation / f"{step}.jsonl", "\n".join([*lines, ""]))
        if step:
            self.summary(time.time() - self._started)

    def summary(self, seconds: float, **more: Any) -> dict[str, Any]:
        """Write what came of the run so far."""
        name = self._recipe.name
        return write_summary(self.run, name, self._profile, seconds, versions(), trainer="trl", **more)

    def rollouts(self, made: Generation) -> None:
        """Keep a generation's responses in the order that they were scored in, those left out last."""
        if not self.keeps_rollouts:
            return
        scored = dict.fromkeys(made.shaped.rows)
        order = [*scored, *(row for row in range(len(made.found)) if row not in scored)]
        lines = []
        for row in order:
            one = made.found[row]
            columns = {name: value for name, value in one.fact.items() if name not in FACTS}
            reward = float(made.shaped.reward_N[row])
            own = {"score": reward, "step": made.step, "uid": f"{made.step}-{row}", "group": made.uids[row]}
            lines.append(json.dumps({**columns, **one.kept, **own}, default=str))
        write_text(self.run.rollouts / f"{made.step}.jsonl", "\n".join([*lines, ""]))
        keys = [f"{made.step}-{row}" for row in range(len(made.found))]
        write_shaped(self.run.rollouts, made.step, keys, made.facts, made.shaped.rows, made.shaped.scored)


def versions() -> dict[str, str]:
    """The packages that take part, as they are installed."""
    return versions_of(VERSIONS_OF)
