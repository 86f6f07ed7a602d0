"""Damaged files for every reader: what comes back is an object or one of our errors, at once, whatever the bytes."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from leanthink.core import code
from leanthink.core.errors import LeanthinkError
from leanthink.data.records import iter_records
from leanthink.data.rollouts import read_rollouts
from leanthink.files.models import tokenizer_of
from leanthink.merge.weights import INDEX, read_weights
from leanthink.recipe.definition import apply_overrides, load_recipe, recipe_from
from leanthink.recipe.yaml import read_yaml
from leanthink.reporting.build import report_of
from leanthink.reporting.live.follow import Followed
from leanthink.reporting.sources import read_sources
from leanthink.runs.folder import Run
from leanthink.testbed import policy_path
from leanthink.training.settings import Settings
from leanthink.training.state import FILE, load_states
from leanthink.verl.start.launch import Job
from leanthink.verl.start.memory import Model, estimate, lines_of

SECONDS = 20.0
"""The most that one input may take."""

SEEDS: dict[str, list[bytes]] = {
    "recipe": [
        b"reward: {sum: {a: correct, b: {scale: {by: -0.5, of: {sigmoid_length: {alpha: 0.1}}}}}}\nadvantage: grpo\n",
        b"description: x\nreward: &r {kimi_length: {}}\nverl: {data.train_batch_size: 8, +a.b: [1, *r]}\ncpu: {}\n",
        b"reward: correct\nlimit: {per_step: {at_most: {linear: {start: 1, stop: 9, steps: 3}}}}\nloss: ppo_clip\n",
    ],
    "override": [b"reward.sum.a=correct", b"data.x={a: [1, 2e3, true]}", b"advantage=rloo", b"reward.sum.b.scale.by=1"],
    "rollouts": [
        b'{"group": "a", "prompt": "p", "gold": "2", "response": "\\\\boxed{2}", "length": 9, "truncated": 0}\n' * 2,
        b'{"input": "q", "output": "o", "gts": "1", "score": 1.0, "acc": 1, "uid": "u_0_0", "step": 1}\n',
        b'{"group": 1, "length": 10, "correct": 1}\n{"group": 1, "length": 20, "correct": 0, "truncated": 1}\n',
    ],
    "csv": [b'group,response,gold,length,correct\na,"x, ""y""",2,9,1\na,"two\nlines",2,8,0\n', b"a,b,b\n1,2,3\n"],
    "sizes": [
        b'{"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4, '
        b'"vocab_size": 113, "num_key_value_heads": 2, "head_dim": 32, "tie_word_embeddings": true}',
        b'{"text_config": {"hidden_size": 8, "intermediate_size": 9, "num_hidden_layers": 1, "num_attention_heads": 1, '
        b'"vocab_size": 2, "head_dim": null, "attention_bias": null, "max_position_embeddings": 9}}',
    ],
    "tokenizer": [(policy_path() / name).read_bytes() for name in ("tokenizer_config.json", "tokenizer.json")],
    "metrics": [b'{"step": 1, "data": {"leanthink/accuracy": 0.5, "x": NaN}}\n{"step": 2, "data": {}}\n'],
    "validation": [b'{"acc": 1, "length": 9, "difficulty": "3", "input": "q", "output": "a", "gts": "1"}\n' * 3],
    "summary": [
        b'{"recipe": "x", "steps": 2, "before": {"accuracy": 0.5, "by_difficulty": {"1": {"accuracy": null}}}, '
        b'"after": {"questions": 3, "by_difficulty": {}}, "seconds": {"total": 3.5, "per_step": {"gen": 1}}}'
    ],
    "state": [b'{"recipe": "x", "parts": {"reward": "correct"}, "step": 3, "state": {"a": [1.0, {"b": 2}]}}'],
    "index": [b'{"metadata": {"total_size": 8}, "weight_map": {"w": "model-1.safetensors"}}'],
}
PIECES = [
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b"'", b"\n", b" ", b"\\", b"\0", b"\xff", b"-", b"&a ", b"*a"),
    *(b"!!int ", b"!!binary ", b"${x}", b"1e999", b"NaN", b"-Infinity", b"9" * 400, b"null", b"true", b"~"),
    *(b"[" * 200, b"{" * 200, b'{"a":' * 100, b"- " * 100, b"\\ud800", b"\\u0000", b"? ", b"---\n", b"<<: *a"),
    *(b"os:system", b"../x", b"/etc/passwd", b"$\\frac$", b"[/x]", b"\x1b[31m", b"reward", b"step", b"data"),
    *(b"1.5", b"1_0", b"2020-01-01", b"%YAML 1.1\n", b"| \n", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x85"),
]


def damaged(seeds: list[bytes], draw: random.Random) -> bytes:
    """One of the seeds after a few random changes."""
    content = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(content) + 1)
        end = min(len(content), at + draw.choice((0, 1, 1, 4, 30)))
        kind = draw.randrange(5)
        if kind == 0:
            content[at:end] = draw.choice(PIECES)
        elif kind == 1:
            del content[at:end]
        elif kind == 2:
            content[at:at] = content[at:end] * draw.choice((1, 2, 50))
        elif kind == 3 and content:
            content[at % len(content)] = draw.randrange(256)
        else:
            content[at:at] = draw.choice(PIECES) * draw.choice((1, 1, 1, 3))
    return bytes(content)


def readers(folder: Path) -> dict[str, Callable[[bytes], object]]:
    """What reads each kind of file, all they need beside it written into ``folder``."""
    import torch

    from made_runs import write_run
    from model_folders import save_model

    run = write_run(folder / "run", "short", 1, quality=0.9, tokens=20, questions=3, steps=2)
    model = save_model(folder / "model", {"w": torch.zeros(2)}, [["w"]])
    (model / "model-00001-of-00001.safetensors").rename(model / "model-1.safetensors")
    policy = shutil.copytree(policy_path(), folder / "policy")
    files = {name: (policy / name).read_bytes() for name in ("tokenizer_config.json", "tokenizer.json")}
    job = Job(
        recipe=load_recipe("grpo"), profile="gpu", model="M", train_files=("T",), val_files=("V",), folder="r", gpus=2
    )
    settings = Settings(recipe="x", reward="correct", advantage="grpo", loss="ppo_clip")
    node = {"reward": {"sum": {"a": "correct", "b": {"scale": {"by": 1.0, "of": "correct"}}}}}

    def written(name: str, content: bytes) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    def recipe(content: bytes) -> object:
        return recipe_from(read_yaml(written("a.yaml", content)), "a").to_node()

    def override(content: bytes) -> object:
        return recipe_from(apply_overrides(node, [content.decode("utf-8", "replace")], "here"), "a")

    def rollouts(content: bytes) -> object:
        records = list(iter_records(written("a.jsonl", content)))
        given = all(record.has("correct") for record in records)
        return read_rollouts(records) if given else len(records)

    def csv(content: bytes) -> object:
        records = list(iter_records(written("a.csv", content)))
        return read_rollouts(records) if all(record.has("correct") for record in records) else len(records)

    def sizes(content: bytes) -> object:
        model = Model.read(str(written("sizes.json", content)))
        return estimate(job, model, 80.0), list(lines_of(estimate(job, model, 80.0), model))

    def tokenizer(content: bytes) -> object:
        for name, whole in files.items():
            (policy / name).write_bytes(whole)
        (policy / ("tokenizer_config.json" if b"model_max_length" in content else "tokenizer.json")).write_bytes(
            content
        )
        return tokenizer_of(str(policy), "here")

    def in_run(name: str) -> Callable[[bytes], object]:
        kept = (run / name).read_bytes()

        def read(content: bytes) -> object:
            (run / name).write_bytes(content)
            try:
                told = report_of(read_sources([run])), Followed(run).state()
                Followed(run).rollouts("validation", 2, "right", "", 0)
                return told, Run(folder=run).read_summary()
            finally:
                (run / name).write_bytes(kept)

        return read

    def state(content: bytes) -> object:
        written(FILE, content)
        return load_states(folder, settings)

    def index(content: bytes) -> object:
        (model / INDEX).write_bytes(content)
        return read_weights(model)

    return {
        "recipe": recipe,
        "override": override,
        "rollouts": rollouts,
        "csv": csv,
        "sizes": sizes,
        "tokenizer": tokenizer,
        "metrics": in_run("attempts/000.jsonl"),
        "validation": in_run("validation/2.jsonl"),
        "summary": in_run("summary.json"),
        "state": state,
        "index": index,
    }


def faults(folder: Path, kind: str, count: int, seed: int) -> Iterator[str]:
    """What went wrong with damaged files of a kind: the error, and the bytes that show it."""
    draw, read = random.Random(f"{kind} {seed}"), readers(folder)[kind]
    with code.trusting(()):
        for _ in range(count):
            content = damaged(SEEDS[kind], draw)
            started = time.monotonic()
            try:
                read(content)
            except LeanthinkError as error:
                if "\n" in str(error).strip() and kind not in ("recipe", "override"):
                    yield f"more than a paragraph: {error!r:.200} of {content!r:.500}"
            except Exception as error:
                yield f"{type(error).__name__}: {error!s:.200} of {content!r:.500}"
            if (took := time.monotonic() - started) > SECONDS:
                yield f"{took:.1f} s for {content!r:.300}"
