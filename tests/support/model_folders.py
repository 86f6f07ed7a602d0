"""Model folders for the tests of merging: written in one file or in shards, and read whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

Model = dict[str, Tensor]
Save = Callable[..., Path]


def save_model(
    folder: Path, tensors: Mapping[str, Tensor], shards: Sequence[Sequence[str]] = (), **config: Any
) -> Path:
    """A model folder: one file, or the shards given as lists of names."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny", **config}), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps({"of": folder.name}), encoding="utf-8")
    (folder / "README.md").write_text("a model card", encoding="utf-8")
    if not shards:
        save_file(dict(tensors), folder / "model.safetensors", {"format": "pt"})
        return folder
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({name: tensors[name] for name in names}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 0, "total_parameters": 5}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def load_model(folder: Path) -> Model:
    tensors: Model = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def save_program(folder: Path) -> Path:
    """A model folder whose tokenizer and configuration are a program, which leaves ``ran`` beside the folder."""
    folder.mkdir(parents=True)
    (folder / "evil.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w').close()\nclass Evil:\n    pass\n")
    named = {"auto_map": {"AutoTokenizer": ["evil.Evil", None], "AutoConfig": "evil.Evil"}}
    (folder / "tokenizer_config.json").write_text(json.dumps({**named, "tokenizer_class": "Evil"}))
    (folder / "config.json").write_text(json.dumps({**named, "model_type": "evil", "eos_token_id": 4}))
    return folder
