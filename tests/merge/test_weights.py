"""Model folders read and written: damaged ones are refused with the cure, and every dtype comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from leanthink.core.errors import DataError
from leanthink.merge.weights import WeightWriter, read_weights, same_bytes, write_index
from model_folders import Model, Save, load_model

INDEX = "model.safetensors.index.json"
TWO = [["a", "b"], ["c"]]


@pytest.fixture
def tensors() -> Model:
    return {"a": torch.randn(3, 2), "b": torch.arange(4), "c": torch.tensor(0.5).bfloat16()}


@pytest.mark.parametrize("shards", [(), TWO], ids=["single", "sharded"])
def test_reading(save: Save, tensors: Model, shards: list[list[str]]) -> None:
    weights = read_weights(save("model", tensors, shards))
    assert {name: str(stored) for name, stored in weights.tensors.items()} == {
        "a": "F32 [3, 2]", "b": "I64 [4]", "c": "BF16 []",
    }  # fmt: skip
    assert weights.bytes == sum(tensor.nbytes for tensor in tensors.values())
    assert all(same_bytes(weights.load(name), tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("shards", [(), [["t", "u"], ["v", "w", "x", "y", "z"]]], ids=["single", "sharded"])
def test_writing_gives_back_every_dtype(tmp_path: Path, save: Save, shards: list[list[str]]) -> None:
    tensors: Model = {
        "t": torch.tensor([True, False, True]),
        "u": torch.randn(5).half(),
        "v": torch.randn(2, 3).to(torch.float8_e4m3fn),
        "w": torch.randn(7).double(),
        "x": torch.zeros(0, 4),
        "y": torch.tensor(3, dtype=torch.uint8),
        "z": torch.tensor([-0.0, torch.nan, torch.inf]).bfloat16(),
    }
    read = read_weights(save("model", tensors, shards))
    target = type(read)(folder=tmp_path / "copy", tensors=read.tensors, metadata=read.metadata, index=read.index)
    target.folder.mkdir()
    with WeightWriter(target) as writer:
        for name in reversed(tensors):  # any order
            entries = tensors[name].reshape(-1)
            for start in reversed(range(0, len(entries), 2)):  # in any pieces
                writer.write(name, entries[start : start + 2], start)
    write_index(target)
    again = read_weights(target.folder)
    assert again.tensors == read.tensors and again.metadata == read.metadata
    written = load_model(target.folder)
    assert written.keys() == tensors.keys()
    assert all(same_bytes(written[name], tensor) for name, tensor in tensors.items())


def test_same_bytes_sees_signs_of_zero_and_dtypes() -> None:
    assert same_bytes(torch.tensor([torch.nan]), torch.tensor([torch.nan]))
    assert not same_bytes(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bytes(torch.tensor([0.0]), torch.tensor([0]))
    assert not same_bytes(torch.zeros(2), torch.zeros(1, 2))


def test_a_folder_without_weights_is_told_apart(tmp_path: Path) -> None:
    def told() -> str:
        with pytest.raises(DataError) as error:
            read_weights(tmp_path)
        return str(error.value)

    assert "holds neither model.safetensors nor" in told() and "Hugging Face" in told()
    (tmp_path / "pytorch_model.bin").touch()
    assert "but pytorch_model.bin; load it with transformers and save_pretrained" in told()
    (tmp_path / "adapter_model.safetensors").touch()
    assert "LoRA adapter" in told() and "merge_and_unload" in told()
    (tmp_path / "actor").mkdir()
    (tmp_path / "actor" / "model_world_size_8_rank_0.pt").touch()
    actor = tmp_path / "actor"
    command = f"python -m verl.model_merger merge --backend fsdp --local_dir {actor} --target_dir {actor}-hf"
    assert command in told()
    (actor / "huggingface").mkdir()
    (actor / "huggingface" / "model.safetensors").touch()  # verl's save_contents had hf_model
    assert told().endswith(f"; give {actor / 'huggingface'}")
    (tmp_path / "fsdp_config.json").touch()
    assert f"--local_dir {tmp_path} " in told()


def test_two_sets_of_weights_in_one_folder(save: Save, tensors: Model) -> None:
    folder = save("model", tensors, TWO)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DataError, match="holds both"):
        read_weights(folder)


def test_a_damaged_file(save: Save, tensors: Model) -> None:
    folder = save("model", tensors)
    whole = (folder / "model.safetensors").read_bytes()
    for content in (b"", whole[:40], whole[:-1], b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(DataError, match=r"model\.safetensors is no readable safetensors file"):
            read_weights(folder)


@pytest.mark.parametrize("shape", [[0, 2**64 - 1], [2**63, 0], [0, 2**40, 2**40], [2**40, 0, 2**40]])
def test_a_tensor_of_more_entries_than_are_counted(tmp_path: Path, shape: list[int]) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(
        DataError, match=r"model\.safetensors: 'w' is F32 \[.*\], more than torch counts; copy it again"
    ):
        read_weights(tmp_path)


def test_an_index_that_does_not_fit(save: Save, tensors: Model) -> None:
    folder = save("model", tensors, TWO)
    index = json.loads((folder / INDEX).read_text())
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

    def told(**weight_map: str | None) -> str:
        changed = {**index["weight_map"], **weight_map}
        content = {"weight_map": {name: file for name, file in changed.items() if file is not None}}
        (folder / INDEX).write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(DataError) as error:
            read_weights(folder)
        return str(error.value)

    assert "which is not there" in told(c="other.safetensors")
    assert f"{one} lacks 'd'" in told(d=one)
    assert f"{one} holds 'b', which" in told(b=None)
    assert f"{one} holds 'b', which" in told(b=two)
    assert "outside of the folder" in told(a="../elsewhere.safetensors")
    for text in ("{", "[]", "{}", '{"weight_map": []}'):
        (folder / INDEX).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="is no index of safetensors"):
            read_weights(folder)
