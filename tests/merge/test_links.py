"""A model folder of others: what it links to stays where it is, its index names shards, and nothing is left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from leanthink.core.errors import DataError, LeanthinkError, WriteError
from leanthink.merge import Job, make_plan, merge
from model_folders import Model, Save

Change = Callable[[Path, Path], None]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "keys").mkdir(parents=True)
    (folder / "id_rsa").write_text("PRIVATE")
    (folder / "keys" / "key").write_text("PRIVATE")
    (folder / "secret.json").write_text('{"private": "PRIVATE"}')
    return folder


def through(name: str, target: str) -> Change:
    """The change that puts a link in a file's place."""

    def change(model: Path, home: Path) -> None:
        (model / name).unlink(missing_ok=True)
        (model / name).symlink_to(home / target)

    return change


def inside_templates(model: Path, home: Path) -> None:
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates" / "tool.jinja").symlink_to(home / "id_rsa")


def deep_templates(model: Path, home: Path) -> None:
    (model / "additional_chat_templates" / "deep").mkdir(parents=True)
    (model / "additional_chat_templates" / "deep" / "link").symlink_to(home / "keys")


def relative(model: Path, home: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.json").symlink_to("../home/id_rsa")


def chained(model: Path, home: Path) -> None:
    (model / "hidden").symlink_to(home / "id_rsa")
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.json").symlink_to("hidden")


def pipe(model: Path, home: Path) -> None:
    os.mkfifo(model / "vocab.json")


CHANGES: dict[str, Change] = {
    "tokenizer": through("tokenizer.json", "id_rsa"),
    "chat template": through("chat_template.jinja", "id_rsa"),
    "licence": through("LICENSE", "id_rsa"),
    "dangling": through("merges.txt", "none"),
    "code": through("modeling.py", "id_rsa"),
    "configuration": through("config.json", "secret.json"),
    "generation": through("generation_config.json", "secret.json"),
    "folder of templates": through("additional_chat_templates", "keys"),
    "in the templates": inside_templates,
    "deep in the templates": deep_templates,
    "relative": relative,
    "over another link": chained,
    "pipe": pipe,
}


def job(tmp_path: Path, save: Save, models: tuple[Model, Model], **more: object) -> Job:
    return Job(base=save("base", models[0]), trained=save("trained", models[1]), out=tmp_path / "out", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_link_names_is_not_copied(
    tmp_path: Path, home: Path, save: Save, models: tuple[Model, Model], name: str
) -> None:
    wanted = job(tmp_path, save, models)
    CHANGES[name](wanted.trained, home)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DataError, match=str(wanted.trained)) as caught:
        merge(make_plan(wanted))
    assert "\n" not in str(caught.value) and "PRIVATE" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before  # nothing is left behind, hidden or not


@pytest.mark.parametrize("side", ["base", "trained"])
def test_weights_that_are_links_are_refused(
    tmp_path: Path, home: Path, save: Save, models: tuple[Model, Model], side: str
) -> None:
    wanted = job(tmp_path, save, models)
    weights = tmp_path / side / "model.safetensors"
    weights.rename(home / "model.safetensors")
    weights.symlink_to(home / "model.safetensors")
    with pytest.raises(DataError, match="is a link"):
        make_plan(wanted)


def cached(folder: Path, blobs: Path) -> None:
    """Make of a model's folder a snapshot of the Hub's cache."""
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / f"{number:040x}")
        path.symlink_to(os.path.relpath(blobs / f"{number:040x}", folder))


def test_the_hubs_cache_links_into_its_own_blobs(tmp_path: Path, save: Save, models: tuple[Model, Model]) -> None:
    base = save("models--org--base/snapshots/abc", models[0])
    trained = save("models--org--trained/snapshots/def", models[1])
    for folder in (base, trained):
        cached(folder, folder.parents[1] / "blobs")
    merge(make_plan(Job(base=base, trained=trained, out=tmp_path / "out")))
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text()) == {"of": "def"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_a_cache_that_links_elsewhere_is_refused(
    tmp_path: Path, home: Path, save: Save, models: tuple[Model, Model]
) -> None:
    base = save("base", models[0])
    trained = save("models--org--trained/snapshots/def", models[1])
    cached(trained, trained.parents[1] / "blobs")
    (trained / "LICENSE").symlink_to(home / "id_rsa")
    with pytest.raises(DataError, match="is a link"):
        merge(make_plan(Job(base=base, trained=trained, out=tmp_path / "out")))
    (trained / "LICENSE").unlink()
    blobs = trained.parents[1] / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")  # blobs that are a link are anyone's
    with pytest.raises(DataError, match="is a link"):
        make_plan(Job(base=base, trained=trained, out=tmp_path / "out"))


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/etc/x.safetensors", "config.json", "leanthink_merge.json", ".hidden.safetensors", "x.py", "",
     "a\0.safetensors", "a b.safetensors", "-x.safetensors", "x.safetensors/../y.safetensors", "é.safetensors", ".",
     f"model-{'9' * 400}.safetensors"],
)  # fmt: skip
def test_an_index_names_shards(tmp_path: Path, save: Save, models: tuple[Model, Model], name: str) -> None:
    names = list(models[0])
    base = save("base", models[0])
    trained = save("trained", models[1], shards=[names[:2], names[2:]])
    path = trained / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "weight_map": {**index["weight_map"], names[0]: name}}))
    with pytest.raises(DataError, match=r"outside of the folder|no shard"):
        make_plan(Job(base=base, trained=trained, out=tmp_path / "out"))


DAMAGED = ["[]", "{}", '{"weight_map": 3}', "[" * 10_000, '{"weight_map": {"a": 1e999}}', "\xff"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_index_is_one_paragraph(
    tmp_path: Path, save: Save, models: tuple[Model, Model], content: str
) -> None:
    names = list(models[0])
    base, trained = save("base", models[0]), save("trained", models[1], shards=[names])
    (trained / "model.safetensors.index.json").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match="index"):
        make_plan(Job(base=base, trained=trained, out=tmp_path / "out"))


@pytest.mark.parametrize("there", [True, False])
def test_the_output_goes_over_no_link(
    tmp_path: Path, home: Path, save: Save, models: tuple[Model, Model], there: bool
) -> None:
    wanted = job(tmp_path, save, models)
    plan = make_plan(wanted)
    wanted.out.symlink_to(home / "keys" if there else home / "new")
    for act in (lambda: make_plan(wanted), lambda: merge(plan)):
        with pytest.raises(LeanthinkError, match="is a link"):
            act()
    assert sorted(os.listdir(home)) == ["id_rsa", "keys", "secret.json"] and os.listdir(home / "keys") == ["key"]


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, save: Save, models: tuple[Model, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(job(tmp_path, save, models))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("leanthink.merge.weights.WeightWriter.write", full)
    with pytest.raises(WriteError, match="No space left on device; free some space there"):
        merge(plan)
    assert sorted(os.listdir(tmp_path)) == ["base", "trained"]
