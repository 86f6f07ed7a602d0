"""What cannot be merged is refused with its name; what need not match is left out; tied heads are understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from leanthink import cli
from leanthink.algorithms import merging
from leanthink.algorithms.merging import SelectiveMerging
from leanthink.core.errors import ConfigError, DataError, LeanthinkError
from leanthink.merge import Job, make_plan, merge
from model_folders import Model, Save, load_model

ALL = SelectiveMerging(density=1.0, scale=1.0)


def plan_of(save: Save, base: Model, trained: Model, **settings: Any) -> Any:
    folders = [save("base", base), save("trained", trained)]
    return make_plan(Job(base=folders[0], trained=folders[1], out=folders[0].parent / "out", **settings))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"model.norm.weight": None}, ["only", "/base has 'model.norm.weight'", "--exclude"]),
        ({"extra.bias": torch.zeros(2).bfloat16()}, ["only", "/trained has 'extra.bias'"]),
        ({"model.norm.weight": torch.ones(5).bfloat16()}, ["shapes", "'model.norm.weight' (BF16 [4] and BF16 [5])"]),
        ({"model.norm.weight": torch.ones(4)}, ["'model.norm.weight' (BF16 [4] and F32 [4])", "--mixed-dtypes"]),
        ({"model.norm.weight": torch.ones(4).long()}, ["dtypes", "'model.norm.weight' (BF16 [4] and I64 [4])"]),
        ({"model.position_ids": torch.arange(6) + 1}, ["'model.position_ids' is I64 and differs", "--exclude"]),
        ({"model.position_ids": torch.arange(7)}, ["shapes", "'model.position_ids'"]),
    ],
)
@pytest.mark.parametrize("mixed", [False, True])
def test_models_that_do_not_match_are_refused_by_name(
    save: Save, models: tuple[Model, Model], change: dict[str, Any], facts: list[str], mixed: bool
) -> None:
    trained = {name: tensor for name, tensor in {**models[1], **change}.items() if tensor is not None}
    if mixed and "--mixed-dtypes" in facts:
        plan_of(save, models[0], trained, mixed_dtypes=True)
        return
    with pytest.raises(DataError) as error:
        plan_of(save, models[0], trained, mixed_dtypes=mixed)
    assert all(fact in str(error.value) for fact in facts), error.value


def test_many_names_are_counted(save: Save) -> None:
    base = {f"layers.{i}.weight": torch.zeros(2) for i in range(9)}
    with pytest.raises(DataError, match=r"'layers\.0\.weight', 'layers\.1\.weight', 'layers\.2\.weight' and 5 more"):
        plan_of(save, base, {"layers.8.weight": torch.zeros(2)})


@pytest.mark.parametrize("only", ["base", "trained", "both"])
def test_excluded_tensors_stay_as_base_has_them_and_do_not_count(
    tmp_path: Path, save: Save, models: tuple[Model, Model], only: str
) -> None:
    base, trained = dict(models[0]), dict(models[1])
    if only != "trained":
        base["model.layers.0.gate.weight"] = torch.full((3,), 7.0).bfloat16()
    if only != "base":
        trained["model.layers.0.gate.weight"] = torch.full((2,), 900.0)
    manifest = merge(plan_of(save, base, trained, exclude=("*.gate.weight",), merging=ALL))
    merged = load_model(tmp_path / "out")
    assert merged.keys() == base.keys()
    assert merged["model.layers.0.mlp.weight"].equal(trained["model.layers.0.mlp.weight"])
    assert manifest["entries"] == sum(tensor.numel() for name, tensor in models[0].items() if "ids" not in name)
    if only != "trained":
        assert merged["model.layers.0.gate.weight"].equal(base["model.layers.0.gate.weight"])


def test_a_pattern_that_fits_nothing_is_refused(save: Save, models: tuple[Model, Model]) -> None:
    with pytest.raises(ConfigError, match=r"--exclude '\*\.gaet' fits no tensor"):
        plan_of(save, *models, exclude=("*.gaet",))


def test_excluding_everything_is_refused(save: Save, models: tuple[Model, Model]) -> None:
    with pytest.raises(DataError, match="share no tensor to merge"):
        plan_of(save, *models, exclude=("*",))


@pytest.mark.parametrize("narrow", ["base", "trained"])
def test_mixed_dtypes_are_merged_in_single_precision(
    tmp_path: Path, save: Save, models: tuple[Model, Model], narrow: str
) -> None:
    wide = {name: tensor.float() + 1e-4 if tensor.is_floating_point() else tensor for name, tensor in models[1].items()}
    pair = (models[0], wide) if narrow == "base" else (wide, models[0])
    merge(plan_of(save, *pair, mixed_dtypes=True, merging=ALL, dtype="float32"))
    merged = load_model(tmp_path / "out")
    for name, tensor in pair[1].items():
        torch.testing.assert_close(merged[name], tensor.float() if tensor.is_floating_point() else tensor)


def tied_pair(models: tuple[Model, Model], sides: str) -> tuple[Model, Model]:
    """The two models with the head a copy of the embedding on ``sides``, and absent elsewhere."""
    pair = []
    for side, model in zip(("base", "trained"), models, strict=True):
        model = {**model, "lm_head.weight": model["model.embed_tokens.weight"].clone()}
        if side not in sides:
            del model["lm_head.weight"]
        pair.append(model)
    return pair[0], pair[1]


@pytest.mark.parametrize("sides", ["", "base", "trained", "base trained"])
def test_a_tied_head_is_merged_once_and_written_as_base_has_it(
    tmp_path: Path, save: Save, models: tuple[Model, Model], sides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(merging.PIECE, "cpu", 10)  # the embedding comes in several pieces
    base, trained = tied_pair(models, sides)
    folders = save("base", base, tie_word_embeddings=True), save("trained", trained, tie_word_embeddings=True)
    manifest = merge(make_plan(Job(base=folders[0], trained=folders[1], out=tmp_path / "out", merging=ALL)))
    merged = load_model(tmp_path / "out")
    assert merged.keys() == base.keys()
    assert merged["model.embed_tokens.weight"].equal(trained["model.embed_tokens.weight"])
    if "base" in sides:
        assert merged["lm_head.weight"].equal(merged["model.embed_tokens.weight"])
    assert "lm_head.weight" not in manifest["tensors"]
    assert manifest["tied"] == ({"lm_head.weight": "model.embed_tokens.weight"} if sides else {})


def test_a_tied_head_takes_the_dtype_of_its_embedding(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    base, trained = tied_pair(models, "base")
    merge(plan_of(save, base, trained, dtype="float32"))
    merged = load_model(tmp_path / "out")
    assert merged["lm_head.weight"].dtype == torch.float32
    assert merged["lm_head.weight"].equal(merged["model.embed_tokens.weight"])


def test_a_head_of_its_own_on_one_side_is_refused(save: Save, models: tuple[Model, Model]) -> None:
    trained = {name: tensor for name, tensor in models[1].items() if name != "lm_head.weight"}
    with pytest.raises(DataError, match=r"only .*base has 'lm_head\.weight'"):
        plan_of(save, models[0], trained)


def test_a_head_that_one_side_alone_declares_tied_is_merged_by_itself(
    tmp_path: Path, save: Save, models: tuple[Model, Model]
) -> None:
    base, trained = tied_pair(models, "base trained")
    folders = save("base", base, tie_word_embeddings=True), save("trained", trained, tie_word_embeddings=False)
    manifest = merge(make_plan(Job(base=folders[0], trained=folders[1], out=tmp_path / "out")))
    assert manifest["tied"] == {} and "lm_head.weight" in manifest["tensors"]


@pytest.mark.parametrize("tied", [False, None])
def test_heads_that_are_not_declared_tied_are_merged_by_themselves(
    tmp_path: Path, save: Save, models: tuple[Model, Model], tied: bool | None
) -> None:
    base, trained = tied_pair(models, "base trained")
    trained["lm_head.weight"] = models[1]["lm_head.weight"]
    config = {} if tied is None else {"tie_word_embeddings": tied}
    folders = save("base", base, **config), save("trained", trained, **config)
    merge(make_plan(Job(base=folders[0], trained=folders[1], out=tmp_path / "out", merging=ALL)))
    assert load_model(tmp_path / "out")["lm_head.weight"].equal(trained["lm_head.weight"])


def test_a_configuration_that_wants_a_head_which_base_lacks_is_refused(
    tmp_path: Path, save: Save, models: tuple[Model, Model]
) -> None:
    base, trained = tied_pair(models, "trained")
    folders = (
        save("base", base, text_config={"tie_word_embeddings": True}),
        save("trained", trained, tie_word_embeddings=False),
    )
    with pytest.raises(DataError, match="--files-from base"):
        make_plan(Job(base=folders[0], trained=folders[1], out=tmp_path / "out"))
    make_plan(Job(base=folders[0], trained=folders[1], out=tmp_path / "out", files_from="base"))


# Through the command line: one paragraph that names the cure, and a non-zero exit.


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    code = cli.main(["merge", *map(str, arguments)])
    captured = capsys.readouterr()
    assert code != 0
    assert captured.err.count("\n") == 1, f"more than one paragraph: {captured.err}"
    assert captured.err.startswith("leanthink merge: ") and captured.out == ""
    return captured.err


@pytest.fixture
def folders(save: Save, models: tuple[Model, Model]) -> tuple[Path, Path]:
    return save("base", models[0]), save("trained", models[1])


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["--density", "1.5"], "density is 1.5; give the share of changes to keep, from 0 to 1"),
        (["--density", "-0.1"], "density is -0.1"),
        (["--density", "nan"], "density is nan"),
        (["--scale", "-1"], "scale is -1.0"),
        (["--device", "gpu0"], "device 'gpu0' cannot be used"),
        (["--device", "meta"], "device 'meta' cannot be used"),
        (["--exclude", "nothing"], "fits no tensor"),
    ],
)
def test_wrong_options(
    capsys: pytest.CaptureFixture[str], folders: tuple[Path, Path], options: list[str], fact: str
) -> None:
    out = folders[0].parent / "out"
    assert fact in failure(capsys, *folders, "--out", out, *options)
    assert not out.exists()


def test_folders_that_are_not_there_or_the_same(
    capsys: pytest.CaptureFixture[str], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    base, trained = folders
    out = ["--out", tmp_path / "out"]
    assert "hf download" in failure(capsys, tmp_path / "none", trained, *out)
    assert f"no folder {tmp_path / 'none'}" in failure(capsys, base, tmp_path / "none", *out)
    assert "no folder" in failure(capsys, base / "config.json", trained, *out)
    assert "give the folders of two models" in failure(capsys, base, base, *out)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert "not empty" in failure(capsys, base, trained, "--out", tmp_path / "file")
    assert "not empty" in failure(capsys, base, trained, "--out", trained)
    assert "cannot write" in failure(capsys, base, trained, "--out", tmp_path / "file" / "below")


def test_shapes_that_differ(capsys: pytest.CaptureFixture[str], save: Save, folders: tuple[Path, Path]) -> None:
    other = save("other", {**load_model(folders[1]), "model.norm.weight": torch.ones(2).bfloat16()})
    error = failure(capsys, folders[0], other, "--out", folders[0].parent / "out")
    assert "'model.norm.weight' (BF16 [4] and BF16 [2])" in error


def test_weights_that_are_not_finite(
    capsys: pytest.CaptureFixture[str], save: Save, folders: tuple[Path, Path]
) -> None:
    broken = torch.tensor([1.0, torch.inf, 1.0, 1.0]).bfloat16()
    other = save("other", {**load_model(folders[1]), "model.norm.weight": broken})
    error = failure(capsys, folders[0], other, "--out", folders[0].parent / "out")
    assert "model.norm.weight: entry 1 is 1 in the base model and inf in the trained one" in error


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_configuration_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], folders: tuple[Path, Path], text: str | None
) -> None:
    config = folders[1] / "config.json"
    config.unlink() if text is None else config.write_text(text, encoding="utf-8")
    assert str(config) in failure(capsys, *folders, "--out", folders[0].parent / "out", "--exclude", "lm_head*")


def test_wrong_names_in_a_job_are_refused(tmp_path: Path) -> None:
    for name in ("dtype", "files_from"):
        with pytest.raises(LeanthinkError, match=f"{name} is 'x'; give one of"):
            Job(base=tmp_path, trained=tmp_path, out=tmp_path, **{name: "x"})


def test_a_plan_shows_what_it_will_write(save: Save, models: tuple[Model, Model]) -> None:
    plan = plan_of(save, *models)
    assert json.loads(json.dumps(plan.config))["model_type"] == "tiny"
    assert plan.copied == ("model.position_ids",)
    assert sorted([*plan.merged, *plan.copied]) == sorted(models[0])
