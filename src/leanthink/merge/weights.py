"""A model folder's weights, one tensor at a time: read from and written to safetensors, in one file or in shards.

No more than the tensors in hand is in memory, whatever the size of a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from leanthink.core.errors import DataError
from leanthink.files.reading import read_json
from leanthink.files.writing import write_text

ENDING: Final = ".safetensors"
WEIGHTS: Final = f"model{ENDING}"
INDEX: Final = f"{WEIGHTS}.index.json"
BLOCK: Final = 1 << 20  # bytes read at a time for a checksum
MERGE_CHECKPOINT: Final = "python -m verl.model_merger merge --backend fsdp --local_dir {} --target_dir {}"

SHARD: Final = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
"""What a file of weights may be called; no file system knows a longer name."""

DTYPES: Final[Mapping[str, torch.dtype]] = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""What can be merged, by safetensors' names."""

SIZES: Final[Mapping[str, int]] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "C64": 8,
    "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E4M3FNUZ": 1, "F8_E5M2": 1, "F8_E5M2FNUZ": 1, "F8_E8M0": 1,
}  # fmt: skip
"""Bytes of an entry, by safetensors' names."""

LARGEST: Final = (1 << 63) - 1
"""The most entries that torch counts, a dimension of 0 left aside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """Where a tensor lies and what it is, without its entries; ``dtype`` is safetensors' name."""

    file: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def entries(self) -> int:
        """The number of entries."""
        return torch.Size(self.shape).numel()

    @property
    def bytes(self) -> int:
        """The size of the entries on disk."""
        return self.entries * SIZES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights in a model folder.

    Attributes:
        folder: the folder.
        tensors: what each tensor is, by name.
        metadata: of each file's header, by the file's name.
        index: the index's own metadata, or None where the weights are one file.
    """

    folder: Path
    tensors: Mapping[str, Stored]
    metadata: Mapping[str, Mapping[str, str]]
    index: Mapping[str, Any] | None

    def load(self, name: str) -> Tensor:
        """A tensor, mapped from its file; its pages leave memory with it, as the file is opened anew for each."""
        with safe_open(self.folder / self.tensors[name].file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    @property
    def bytes(self) -> int:
        """The size of all entries on disk."""
        return sum(stored.bytes for stored in self.tensors.values())

    def in_dtype(self, names: Iterable[str], dtype: str) -> Weights:
        """The same weights with some tensors in another dtype, as ``float32``."""
        stored = next(name for name, known in DTYPES.items() if str(known) == f"torch.{dtype}")
        changed = {name: replace(self.tensors[name], dtype=stored) for name in names if name in self.tensors}
        return replace(self, tensors={**self.tensors, **changed})

    def sha256(self, on_bytes: Callable[[int], None]) -> dict[str, str]:
        """The checksum of each file; ``on_bytes`` is told how many bytes were read."""
        sums = {}
        for name in sorted(self.metadata):
            digest = hashlib.sha256()
            with (self.folder / name).open("rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
                    on_bytes(len(block))
            sums[name] = digest.hexdigest()
        return sums


def own_file(path: Path) -> Path:
    """Where a file of a model's folder lies: in it, or, for a link of the Hub's cache, in the model's ``blobs``.

    Raises:
        DataError: it is a link to anywhere else, whose content would end up in a model that may be published, or no
            file.
    """
    folder, file = path.parent.resolve(), path.resolve()
    cache = folder.parent.parent / "blobs"
    cached = folder.parent.name == "snapshots" and not cache.is_symlink() and file.parent == cache
    if path.is_symlink() and not cached:
        raise DataError(
            f"{path} is a link to {path.readlink()}, and what it names would be copied; put the file itself there, or "
            "remove the link (the Hub's cache may link into the model's own blobs)"
        )
    if path.exists() and not file.is_file():
        raise DataError(f"{path} is no file; remove it, or put the file there")
    return file


def read_weights(folder: Path) -> Weights:
    """What the weights in a model folder are, from the files' headers.

    Raises:
        DataError: no folder, no safetensors in it, or files that do not hold what the index says.
    """
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder}; give a model's folder (from the Hub: hf download NAME --local-dir FOLDER)"
        )
    single, sharded = folder / WEIGHTS, folder / INDEX
    for path in (single, sharded):
        own_file(path)
    if single.exists() and sharded.exists():
        raise DataError(f"{folder} holds both {WEIGHTS} and {INDEX}; remove the one that is out of date")
    if single.exists():
        tensors, metadata = _header(single)
        return Weights(folder=folder, tensors=tensors, metadata={WEIGHTS: metadata}, index=None)
    if not sharded.exists():
        raise DataError(_no_weights(folder))
    where, index = _read_index(sharded)
    found: dict[str, Stored] = {}
    headers: dict[str, Mapping[str, str]] = {}
    for name in sorted(set(where.values())):
        if not own_file(folder / name).is_file():
            raise DataError(f"{sharded} names {name}, which is not there; copy or download the folder again")
        tensors, headers[name] = _header(folder / name)
        if strange := sorted(tensor for tensor in tensors if where.get(tensor) != name):
            raise DataError(f"{folder / name} holds {strange[0]!r}, which {INDEX} does not say; write the model again")
        found |= tensors
    if lacking := sorted(set(where) - set(found)):
        raise DataError(
            f"{folder / where[lacking[0]]} lacks {lacking[0]!r}, which {INDEX} names; write the model again"
        )
    return Weights(folder=folder, tensors=found, metadata=headers, index=index)


class WeightWriter:
    """Writes a model's weights piece by piece, in any order, into files whose headers are written first.

    Use it as a context; what was not written is zero.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._places: dict[str, tuple[BinaryIO, int]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> WeightWriter:
        with ExitStack() as stack:
            for name, metadata in self._weights.metadata.items():
                file = stack.enter_context((self._weights.folder / name).open("wb"))
                mine = {key: stored for key, stored in self._weights.tensors.items() if stored.file == name}
                offsets, size = _layout(mine)
                header = _header_bytes(mine, offsets, metadata)
                file.write(header)
                file.truncate(len(header) + size)
                self._places |= {key: (file, len(header) + offset) for key, offset in offsets.items()}
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, name: str, values: Tensor, start: int = 0) -> None:
        """Write entries of a tensor, from the flat index ``start`` on."""
        file, offset = self._places[name]
        flat = values.detach().cpu().contiguous().reshape(-1)
        file.seek(offset + start * flat.element_size())
        file.write(flat.view(torch.uint8).numpy().data)


def write_index(weights: Weights) -> None:
    """Write the index of sharded weights; nothing for a single file."""
    if weights.index is None:
        return
    content = {
        "metadata": {**weights.index, "total_size": weights.bytes},
        "weight_map": {name: weights.tensors[name].file for name in sorted(weights.tensors)},
    }
    write_text(weights.folder / INDEX, json.dumps(content, indent=2) + "\n")


def same_bytes(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors are equal bit by bit, whatever their dtype."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    return torch.equal(ours.reshape(-1).view(torch.uint8), theirs.reshape(-1).view(torch.uint8))


def _header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                entry = file.get_slice(name)
                stored = Stored(file=path.name, dtype=entry.get_dtype(), shape=tuple(entry.get_shape()))
                if stored.dtype not in SIZES:
                    raise DataError(f"{path}: {name!r} is {stored.dtype}, which is not supported; convert the model")
                if math.prod(max(size, 1) for size in stored.shape) > LARGEST:
                    raise DataError(f"{path}: {name!r:.80} is {stored!s:.80}, more than torch counts; copy it again")
                tensors[name] = stored
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is no readable safetensors file ({error}); copy or download it again") from error


def _read_index(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    try:
        content = read_json(path)
        where = {str(name): str(file) for name, file in content["weight_map"].items()}
        index = dict(content.get("metadata") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no index of safetensors ({error!r}); copy or download it again") from error
    if wrong := sorted(file for file in set(where.values()) if Path(file).name != file):
        raise DataError(f"{path} names {wrong[0]!r:.80}, which lies outside of the folder; put all files into one")
    if wrong := sorted(file for file in set(where.values()) if not SHARD.fullmatch(file)):
        raise DataError(
            f"{path} names {wrong[0]!r:.80}, which is no shard in the folder; name files such as "
            "model-00001-of-00002.safetensors"
        )
    return where, index


def _no_weights(folder: Path) -> str:
    """Why a folder has no weights to read, and the cure."""
    for checkpoint in (folder, folder / "actor"):
        if (checkpoint / "fsdp_config.json").exists() or any(checkpoint.glob("model_world_size_*_rank_*.pt")):
            text, whole = f"{checkpoint} is a checkpoint of verl, no model folder", checkpoint / "huggingface"
            if (whole / WEIGHTS).exists() or (whole / INDEX).exists():
                return f"{text}; give {whole}"
            command = MERGE_CHECKPOINT.format(shlex.quote(str(checkpoint)), shlex.quote(f"{checkpoint}-hf"))
            return f"{text}; run `{command}`, and give {checkpoint}-hf"
    text = f"{folder} holds neither {WEIGHTS} nor {INDEX}"
    if (folder / "adapter_model.safetensors").exists():
        return f"{text}, but a LoRA adapter; merge that into its base first (peft: merge_and_unload), then save"
    others = sorted(path.name for ending in ("*.safetensors", "*.bin") for path in folder.glob(ending))
    if others:
        cure = "load it with transformers and save_pretrained, which writes safetensors"
        return f"{text}, but {others[0]}; {cure}"
    return f"{text}; give the folder of a model in Hugging Face's layout"


def _layout(tensors: Mapping[str, Stored]) -> tuple[dict[str, int], int]:
    """Offsets of tensors without gaps, wide entries first so that all are aligned, and the size of them all."""
    offsets, size = {}, 0
    for name in sorted(tensors, key=lambda name: (-SIZES[tensors[name].dtype], name)):
        offsets[name] = size
        size += tensors[name].bytes
    return offsets, size


def _header_bytes(tensors: Mapping[str, Stored], offsets: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
    content: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    for name, offset in offsets.items():
        stored = tensors[name]
        ends = [offset, offset + stored.bytes]
        content[name] = {"dtype": stored.dtype, "shape": list(stored.shape), "data_offsets": ends}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
