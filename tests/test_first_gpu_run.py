"""docs/tutorials/half_the_tokens.md: its commands compose with verl's configuration, its table is what it says."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

import pytest

from leanthink.cli import main, parser
from leanthink.commands import jobs
from leanthink.recipe.advice import advice
from leanthink.verl.start.launch import VERL_DEFAULTS, Job

pytest.importorskip("verl", reason="verl is not installed: pip install 'leanthink[verl]'")

PAGE = (Path(__file__).parents[1] / "docs" / "tutorials" / "half_the_tokens.md").read_text(encoding="utf-8")
LINES = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
TRAINED = [line for line in LINES if line.startswith("leanthink train")]
GIB = 2**30


def job_of(line: str) -> Job:
    words = shlex.split(line)[1:]
    args, rest = parser(words[0]).parse_known_args(words)
    args.overrides += rest
    args.profile = "gpu"
    return jobs.job_of(args, jobs.folder_of(args), only_shown=True)


def test_there_is_a_command_for_each_recipe_and_size() -> None:
    sizes = {(job.recipe.name, job.nodes, job.gpus) for job in map(job_of, TRAINED)}
    recipes = {name for name, _, _ in sizes}
    assert len(recipes) == 4 and "grpo" in recipes
    assert sizes == {(name, nodes, gpus) for name in recipes for nodes, gpus in ((1, 1), (1, 8), (8, 8))}
    assert len(TRAINED) == len(sizes) == 12


@pytest.mark.parametrize("line", TRAINED, ids=lambda line: " ".join(line.split()[2:3] + line.split()[9:13]))
def test_what_is_trained_passes_verls_validation_and_our_advice(line: str) -> None:
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    job = job_of(line)
    jobs.check(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", overrides=job.arguments())
        OmegaConf.resolve(config)
        validate_config(config, need_reference_policy(config), need_critic(config))
    assert advice(job.recipe, {**VERL_DEFAULTS, **job.keys()}) == []
    assert config.trainer.total_training_steps == 200 and config.data.max_response_length == 8192


def test_the_other_commands_are_the_command_lines() -> None:
    others = [line for line in LINES if line.startswith("leanthink ") and line not in TRAINED]
    assert {line.split()[1] for line in others} == {"doctor", "prepare", "verify", "report"}
    for line in others:
        words = shlex.split(line)[1:]
        args, rest = parser(words[0]).parse_known_args(words)
        assert args.command == words[0] and all("=" in word for word in rest)


def test_the_run_is_said_to_fit(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [line for line in LINES if line.startswith("leanthink doctor --model")]
    assert main(shlex.split(line)[1:]) == 0
    assert "fits, by this estimate" in capsys.readouterr().out


def test_the_table_is_what_the_formulas_give() -> None:
    from leanthink.verl.start.memory import Model, estimate

    (line,) = [line for line in LINES if line.startswith("leanthink doctor --model")]
    model = Model.of({**vars(Model.read(shlex.split(line)[3])), "model_type": "qwen2", "attention_bias": None}, "page")
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in PAGE.splitlines()
        if re.fullmatch(r"\|( [\d,]+ \|){7}", row)
    ]
    expected = []
    for job in (job_of(line) for line in TRAINED if line.split()[2] == "grpo"):
        found, gpus = estimate(job, model, 80), job.nodes * job.gpus
        assert list(found.troubles()) == []
        sampling = found.responses * 5000 / (gpus * 6000)
        updating = 10 * 1.78e9 * found.responses * 5300 / (gpus * 0.3 * 990e12)
        assert updating == pytest.approx(found.flops * 5300 / found.longest / (gpus * 0.3 * 990e12), rel=0.05)
        sizes = (gpus, found.responses, found.sampling / GIB, found.updating / GIB)
        numbers = (*sizes, sampling, updating, 200 * (sampling + updating) / 3600)
        expected.append([f"{number:,.0f}" for number in numbers])
    assert rows == expected
    assert f"{12 * model.parameters / 1e9:.0f} GB (fp32 weights and Adam)" in " ".join(PAGE.split())
