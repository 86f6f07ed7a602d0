"""Whole model folders merged: what is written, and that nothing half-written looks finished."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import oracles_merging
from leanthink import cli
from leanthink.algorithms import merging
from leanthink.algorithms.merging import SelectiveMerging
from leanthink.commands.merge import run as run_command
from leanthink.core.errors import DataError, WriteError
from leanthink.merge import MANIFEST, Job, make_plan, merge, write
from leanthink.testbed import policy_path
from model_folders import Model, Save, load_model

FLOATS = ["model.embed_tokens.weight", "model.layers.0.mlp.weight", "model.layers.1.mlp.weight", "model.norm.weight",
          "lm_head.weight"]  # fmt: skip
BY_LAYER = [["model.embed_tokens.weight", "model.layers.0.mlp.weight", "model.position_ids"], FLOATS[2:]]
MIXED = [["lm_head.weight", "model.layers.1.mlp.weight"], FLOATS[:2], ["model.norm.weight", "model.position_ids"]]


def merge_folders(base: Path, trained: Path, out: Path, **settings: Any) -> dict[str, Any]:
    return merge(make_plan(Job(base=base, trained=trained, out=out, **settings)))


def expected(base: Model, trained: Model, settings: SelectiveMerging, dtype: str = "bfloat16") -> Model:
    """What the slow loop makes of the float tensors; base's own others."""
    lists = [{name: model[name].float().reshape(-1).tolist() for name in FLOATS} for model in (base, trained)]
    merged = oracles_merging.selective_merge(
        lists[0], lists[1], settings.density, settings.scale, settings.per_tensor, dtype
    )
    tensors = {name: torch.tensor(values, dtype=getattr(torch, dtype)) for name, values in merged.items()}
    return {name: tensors[name].view(base[name].shape) if name in tensors else base[name] for name in base}


def assert_same(given: Model, wanted: Model) -> None:
    assert given.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert given[name].dtype == tensor.dtype and given[name].equal(tensor), name


@pytest.mark.parametrize(
    "settings",
    [
        SelectiveMerging(),
        SelectiveMerging(density=0.4, per_tensor=True),
        SelectiveMerging(density=0.0),
        SelectiveMerging(density=1.0, scale=1.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("base_shards", [(), BY_LAYER, MIXED], ids=["single", "by layer", "mixed"])
@pytest.mark.parametrize("trained_shards", [(), BY_LAYER], ids=["single", "by layer"])
def test_the_files_do_not_matter(
    tmp_path: Path, save: Save, models: tuple[Model, Model], settings: SelectiveMerging, base_shards: Any,
    trained_shards: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(merging.PIECE, "cpu", 10)
    base = save("base", models[0], base_shards)
    merge_folders(base, save("trained", models[1], trained_shards), tmp_path / "out", merging=settings)
    assert_same(load_model(tmp_path / "out"), expected(*models, settings))
    weights = {path.name for path in base.glob("model*")}
    assert {path.name for path in (tmp_path / "out").glob("model*")} == weights
    for name in weights - {"model.safetensors.index.json"}:  # in the very layout that safetensors writes
        assert (tmp_path / "out" / name).stat().st_size == (base / name).stat().st_size
    if base_shards:
        index, before = (
            json.loads((folder / "model.safetensors.index.json").read_text()) for folder in (tmp_path / "out", base)
        )
        assert index["weight_map"] == before["weight_map"]
        size = sum(tensor.nbytes for tensor in models[0].values())
        assert index["metadata"] == {"total_size": size, "total_parameters": 5}


def test_the_manifest_says_how(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    base, trained = save("base", models[0], MIXED), save("trained", models[1])
    manifest = merge_folders(base, trained, tmp_path / "out")
    assert json.loads((tmp_path / "out" / MANIFEST).read_text()) == manifest
    for side, folder in (("base", base), ("trained", trained)):
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}
        assert manifest[side] == {"path": str(folder), "sha256": sums}
    lists = [{name: model[name].float().reshape(-1).tolist() for name in FLOATS} for model in models]
    kept = oracles_merging.kept_entries(lists[0], lists[1], 0.25)
    entries = sum(len(values) for values in lists[0].values())
    assert (manifest["entries"], manifest["kept"], manifest["density"]) == (entries, len(kept), 0.25)
    assert manifest["threshold"] == min(abs(lists[1][name][i] - lists[0][name][i]) for name, i in kept)
    merged = load_model(tmp_path / "out")
    for name in FLOATS:
        row = manifest["tensors"][name]
        count = sum(one == name for one, _ in kept)
        changed = int((merged[name] != models[0][name]).sum())
        assert row == {
            "entries": len(lists[0][name]),
            "kept": count,
            "share": count / row["entries"],
            "changed": changed,
        }
    assert manifest["changed"] == sum(row["changed"] for row in manifest["tensors"].values())
    asked = sum(abs(lists[1][name][i] - lists[0][name][i]) for name, i in kept)
    given = sum(float((merged[name].float() - models[0][name].float()).abs().sum()) for name in FLOATS)
    assert manifest["effective_scale"] == pytest.approx(given / asked)
    assert manifest["copied"] == ["model.position_ids"]
    assert {"leanthink", "torch", "safetensors", "python"} == manifest["versions"].keys()


def test_the_command_in_the_manifest_gives_the_same_model(
    tmp_path: Path, save: Save, models: tuple[Model, Model]
) -> None:
    base, trained = save("base model", models[0]), save("trained", {**models[1], "model.norm.weight": torch.ones(4)})
    settings = SelectiveMerging(density=0.1, scale=0.9, per_tensor=True)
    manifest = merge_folders(
        base, trained, tmp_path / "out", merging=settings, exclude=("*.0.*",), mixed_dtypes=True, dtype="float32",
        files_from="base",
    )  # fmt: skip
    before = load_model(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert cli.main(shlex.split(manifest["command"])[1:]) == 0
    assert_same(load_model(tmp_path / "out"), before)
    again = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert {**again, "seconds": 0} == {**manifest, "seconds": 0}


def test_per_tensor_thresholds_stand_with_their_tensors(
    tmp_path: Path, save: Save, models: tuple[Model, Model]
) -> None:
    settings = SelectiveMerging(density=0.5, per_tensor=True)
    manifest = merge_folders(save("base", models[0]), save("trained", models[1]), tmp_path / "out", merging=settings)
    assert manifest["threshold"] is None
    for name, row in manifest["tensors"].items():
        change_N = (models[1][name].float() - models[0][name].float()).abs().reshape(-1)
        assert row["kept"] == len(change_N) // 2
        assert row["threshold"] == change_N.sort(descending=True).values[row["kept"] - 1].item()


@pytest.mark.parametrize(("settings", "source"), [({}, "trained"), ({"files_from": "base"}, "base")])
def test_configuration_and_tokenizer_are_copied(
    tmp_path: Path, save: Save, models: tuple[Model, Model], settings: Any, source: str
) -> None:
    base, trained = save("base", models[0], who="base"), save("trained", models[1], who="trained")
    for folder in (base, trained):
        (folder / "additional_chat_templates").mkdir()
        for name in ("chat_template.jinja", "generation_config.json", "additional_chat_templates/rag.jinja"):
            (folder / name).write_text(folder.name, encoding="utf-8")
        for name in ("optimizer.pt", "trainer_state.json"):
            (folder / name).write_text("not for others", encoding="utf-8")
    merge_folders(base, trained, tmp_path / "out", **settings)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json", "additional_chat_templates",
        "model.safetensors", MANIFEST,
    }  # fmt: skip
    assert json.loads((out / "config.json").read_text())["who"] == source
    assert (out / "generation_config.json").read_text() == source
    assert (out / "additional_chat_templates" / "rag.jinja").read_text() == source


@pytest.mark.parametrize("value", ["\ud800", "\ud83d\ude00 é", "\x1b"])
def test_a_configuration_means_the_same_in_whatever_signs(
    tmp_path: Path, save: Save, models: tuple[Model, Model], value: str
) -> None:
    merge_folders(save("base", models[0]), save("trained", models[1], odd=value, **{value: 1}), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert written["odd"] == json.loads(json.dumps(value)) and written[json.loads(json.dumps(value))] == 1


def rename_shards(folder: Path, *names: str) -> Path:
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    called = dict(zip(sorted(set(content["weight_map"].values())), names, strict=True))
    for old, new in called.items():
        (folder / old).rename(folder / new)
    content["weight_map"] = {tensor: called[file] for tensor, file in content["weight_map"].items()}
    index.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("source", ["base", "trained"])
def test_weights_that_are_called_as_a_tokenizer_are_weights(
    tmp_path: Path, save: Save, models: tuple[Model, Model], source: str
) -> None:
    """Those that are merged are not copied over, and those that are not are not copied beside them."""
    folders = (
        rename_shards(save("base", models[0], BY_LAYER), "tokenizer-00001.safetensors", "vocab.safetensors"),
        rename_shards(save("trained", models[1], BY_LAYER), "LICENSE.safetensors", "chat_template.safetensors"),
    )
    settings = SelectiveMerging(density=0.4)
    merge_folders(*folders, tmp_path / "out", merging=settings, files_from=source)
    assert_same(load_model(tmp_path / "out"), expected(*models, settings))
    written = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert written == {path.name for path in folders[0].glob("*.safetensors")}
    for folder in folders:
        (folder / "tokenizer.json").unlink()
    manifest = merge_folders(*folders, tmp_path / "again", merging=settings, files_from=source)
    assert any("no tokenizer" in notice for notice in manifest["notices"])


def test_a_missing_tokenizer_is_noticed(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    base, trained = save("base", models[0]), save("trained", models[1])
    (trained / "tokenizer.json").unlink()
    manifest = merge_folders(base, trained, tmp_path / "out")
    assert any("no tokenizer" in notice and "--files-from base" in notice for notice in manifest["notices"])
    manifest = merge_folders(base, trained, tmp_path / "other", files_from="base")
    assert not any("no tokenizer" in notice for notice in manifest["notices"])


def test_the_written_dtype_can_be_chosen(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    folders = (
        save("base", models[0], MIXED, dtype="bfloat16"),
        save("trained", models[1], torch_dtype="bfloat16", dtype="bfloat16"),
    )
    manifest = merge_folders(*folders, tmp_path / "out", dtype="float32")
    assert_same(load_model(tmp_path / "out"), expected(*models, SelectiveMerging(), "float32"))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["dtype"], config["torch_dtype"]) == ("float32", "float32")
    assert manifest["effective_scale"] == pytest.approx(0.7, abs=1e-4)
    assert [notice for notice in manifest["notices"] if "config.json says float32" in notice]
    manifest = merge_folders(*folders, tmp_path / "kept")
    assert json.loads((tmp_path / "kept" / "config.json").read_text())["dtype"] == "bfloat16"
    assert any("rounding turned scale 0.7 into" in notice for notice in manifest["notices"])


def test_two_equal_models_give_base_and_a_notice(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    manifest = merge_folders(save("base", models[0]), save("trained", models[0]), tmp_path / "out")
    assert_same(load_model(tmp_path / "out"), models[0])
    assert manifest["changed"] == 0
    assert any("do not differ" in notice for notice in manifest["notices"])


def test_fewer_changes_than_the_density_asks_for_are_noticed(
    tmp_path: Path, save: Save, models: tuple[Model, Model]
) -> None:
    trained = {**models[0], "model.norm.weight": models[0]["model.norm.weight"] + 1}
    manifest = merge_folders(save("base", models[0]), save("trained", trained), tmp_path / "out")
    assert manifest["threshold"] == 0 and manifest["changed"] == 4
    assert any("every change was kept" in notice for notice in manifest["notices"])


def test_the_merged_policy_loads_and_generates(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    generator = torch.Generator().manual_seed(5)
    base = AutoModelForCausalLM.from_pretrained(policy_path())
    trained = AutoModelForCausalLM.from_pretrained(policy_path())
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter += 1e-3 * torch.randn(parameter.shape, generator=generator)
    trained.save_pretrained(tmp_path / "trained")
    AutoTokenizer.from_pretrained(policy_path()).save_pretrained(tmp_path / "trained")
    merge_folders(policy_path(), tmp_path / "trained", tmp_path / "out")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    states = [dict(one.named_parameters()) for one in (base, trained, model)]
    delta, change = (
        torch.cat([(states[at][name] - states[0][name]).reshape(-1) for name in states[0]]).detach() for at in (1, 2)
    )
    largest = delta.abs() >= delta.abs().sort(descending=True).values[len(delta) // 4 - 1]
    torch.testing.assert_close(change, torch.where(largest, 0.7 * delta, 0.0), rtol=0, atol=1e-6)
    question = [{"role": "user", "content": "47 + 12 ="}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    response = tokenizer.decode(model.generate(**prompt, max_new_tokens=96, do_sample=False)[0])
    assert "\\boxed{ 59 }" in response


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    folders = save("base", models[0]), save("trained", {**models[1], "model.norm.weight": torch.full((4,), torch.nan)})
    before = {path.name for path in tmp_path.iterdir()}
    for per_tensor in (False, True):
        with pytest.raises(DataError, match=r"model\.norm\.weight: entry 0"):
            merge_folders(
                *folders, tmp_path / "out", merging=SelectiveMerging(per_tensor=per_tensor), mixed_dtypes=True
            )
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_killed_run_leaves_nothing_that_looks_finished(
    tmp_path: Path, save: Save, models: tuple[Model, Model]
) -> None:
    folders = save("base", models[0]), save("trained", models[1])
    code = """
import os, signal, sys
from pathlib import Path
from leanthink.merge import Job, make_plan, merge
from leanthink.merge.weights import WeightWriter
base, trained, out = map(Path, sys.argv[1:])
write, count = WeightWriter.write, 0
def dying(*arguments):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*arguments)
WeightWriter.write = dying
merge(make_plan(Job(base=base, trained=trained, out=out)))
"""
    command = [sys.executable, "-c", code, *map(str, folders), str(tmp_path / "out")]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    (left,) = tmp_path.glob(".out.*.part")
    assert not (left / "config.json").exists()
    merge_folders(*folders, tmp_path / "out")
    assert_same(load_model(tmp_path / "out"), expected(*models, SelectiveMerging()))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    folders = save("base", models[0]), save("trained", models[1])
    (tmp_path / "out").mkdir()
    merge_folders(*folders, tmp_path / "out")  # an empty one is filled
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(DataError, match="not empty"):
        merge_folders(*folders, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_folder_that_appears_on_the_way_is_left_alone(
    tmp_path: Path, save: Save, models: tuple[Model, Model]
) -> None:
    plan = make_plan(Job(base=save("base", models[0]), trained=save("trained", models[1]), out=tmp_path / "out"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious", encoding="utf-8")
    with pytest.raises(WriteError, match="cannot write"):
        merge(plan)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    assert not list(tmp_path.glob(".out*"))


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, save: Save, models: tuple[Model, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = save("base", models[0]), save("trained", models[1])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(write.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match=r"0\.00 GB left"):
        merge_folders(*folders, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_all_bytes_of_the_plan_are_reported(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    folders = save("base", models[0], MIXED), save("trained", models[1])
    for per_tensor in (False, True):
        settings = SelectiveMerging(per_tensor=per_tensor)
        plan = make_plan(Job(base=folders[0], trained=folders[1], out=tmp_path / f"out{per_tensor}", merging=settings))
        told: list[int] = []
        merge(plan, told.append)
        assert sum(told) == plan.work


def arguments(base: Path, trained: Path, out: Path, *more: str) -> list[str]:
    return ["merge", str(base), str(trained), "--out", str(out), *more]


def test_the_command_prints_a_table(
    tmp_path: Path, save: Save, models: tuple[Model, Model], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = save("base", models[0]), save("trained", models[1])
    assert cli.main(arguments(*folders, tmp_path / "out", "--density", "0.5")) == 0
    captured = capsys.readouterr()
    assert "density 0.5, scale 0.7" in captured.out and "50.00" in captured.out
    assert "model.layers.*.mlp.weight" in captured.out  # both layers in one line
    assert "6 tensors" not in captured.out and "5 tensors merged" in captured.out


def test_json_is_the_manifest_alone(
    tmp_path: Path, save: Save, models: tuple[Model, Model], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = save("base", models[0]), save("trained", models[1])
    assert cli.main(arguments(*folders, tmp_path / "out", "--density", "0", "--json")) == 0
    captured = capsys.readouterr()
    manifest = json.loads(captured.out)
    assert manifest == json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert (manifest["kept"], manifest["threshold"], manifest["effective_scale"]) == (0, None, None)


def test_progress_is_shown_on_a_terminal(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    folders = save("base", models[0]), save("trained", models[1])
    args = cli.parser("merge").parse_args(arguments(*folders, tmp_path / "out"))
    with (tmp_path / "screen").open("w", encoding="utf-8") as screen:
        assert run_command(args, Console(file=screen, force_terminal=True, width=120)) == 0
    assert "merging" in (tmp_path / "screen").read_text(encoding="utf-8")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("share", [0.8, 0.85])
def test_at_full_density_it_is_adar1s_average_of_two_models(
    save: Save, tmp_path: Path, models: tuple[Model, Model], share: float, dtype: str
) -> None:
    """arXiv 2504.21659, Eq. 2: a of the long model and 1 - a of the short one, but for rounding."""
    kind = getattr(torch, dtype)
    short, long = ({name: model[name].to(kind) for name in FLOATS} for model in models)
    folders = [str(save("short", short)), str(save("long", long))]
    arguments = ["merge", *folders, "--out", str(tmp_path / "out"), "--density", "1", "--scale", str(share)]
    assert cli.main(arguments) == 0
    for name, merged in load_model(tmp_path / "out").items():
        average = share * long[name].double() + (1 - share) * short[name].double()
        assert merged.dtype == kind and not merged.equal(long[name])
        largest = torch.maximum(long[name].double().abs(), short[name].double().abs()).max()
        assert float((merged.double() - average).abs().max()) <= float(torch.finfo(kind).eps * largest)


def test_a_tensor_of_no_entries_does_not_forget_the_threshold_of_the_others() -> None:
    total = write.Tally()
    for one in (write.Tally(entries=8, kept=2, threshold=0.25), write.Tally()):
        total.add(one)
    assert (total.entries, total.kept, total.threshold) == (8, 2, 0.25)
