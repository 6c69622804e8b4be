"""Facts of a GGUF file, read from its header alone: no weights are loaded and no library is needed.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from localsynth.errors import ModelError
from localsynth.records import SpecialTokens

_MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Weights of one block and its bytes, for each ggml type that is still written.
_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
_CONTROL, _USER_DEFINED = 3, 4
_BPE_WITH_BOS = frozenset({"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2", "tekken"})
_LONGEST = 1 << 26  # no name, text or list of a real file comes near; a broken length would ask for all memory


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table: `shape` as GGUF writes it, the fastest dimension first."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What a file says about itself. `size` is bytes; `template` None is a base model; `context` is what it was
    trained with. `cell_bytes`: the key and value cache of one token, in bytes, at 16 bit."""

    path: Path
    size: int
    architecture: str
    name: str | None
    parameters: int
    quantisation: str
    context: int
    layers: int
    vocabulary: int
    cell_bytes: int
    template: str | None
    tokens: SpecialTokens
    tensor_types: Mapping[str, int] = field(default_factory=dict)


def read_facts(path: Path) -> GgufFacts:
    """The facts of a file. ModelError when it is missing, no GGUF, or shorter than its own tensor table says."""
    size, stamp = _stat(path)
    values, tensors = _read(path, size, stamp)
    arch = str(values.get("general.architecture", "unknown"))

    def number(key: str, default: int = 0) -> int:
        value = values.get(f"{arch}.{key}", default)
        return int(max(value)) if isinstance(value, list) else int(value)

    texts = values.get("tokenizer.ggml.tokens", [])
    template = values.get("tokenizer.chat_template")
    types = Counter(tensor.type for tensor in tensors)
    heads = number("attention.head_count", 1)
    width = number("embedding_length") // max(heads, 1)
    per_layer = number("attention.head_count_kv", heads) * (
        number("attention.key_length", width) + number("attention.value_length", width)
    )
    return GgufFacts(
        path=path,
        size=size,
        architecture=arch,
        name=values.get("general.name"),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        quantisation=_quantisation(values.get("general.file_type"), tensors),
        context=number("context_length"),
        layers=number("block_count"),
        vocabulary=len(texts),
        cell_bytes=number("block_count") * per_layer * 2,
        template=template if isinstance(template, str) and template.strip() else None,
        tokens=_special_tokens(values, texts),
        tensor_types=dict(types),
    )


def read_tensors(path: Path) -> list[Tensor]:
    """The tensor table. ModelError as for `read_facts`."""
    return _read(path, *_stat(path))[1]


def read_values(path: Path) -> Mapping[str, Any]:
    """All that the header says, by its own keys. ModelError as for `read_facts`."""
    return _read(path, *_stat(path))[0]


def _stat(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(
            f"there is no model file at {path}: {error.strerror}", "`localsynth models list` shows models"
        ) from None
    if not path.is_file():
        raise ModelError(f"{path} is not a file", "name the .gguf file itself")
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4)
def _read(path: Path, size: int, _stamp: int) -> tuple[dict[str, Any], list[Tensor]]:
    try:
        with path.open("rb") as file:
            if file.read(4) != _MAGIC:
                raise ModelError(
                    f"{path} is not a GGUF file", "download it again, or choose another: `localsynth models list`"
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(data, path, size)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None


def _parse(data: mmap.mmap, path: Path, size: int) -> tuple[dict[str, Any], list[Tensor]]:
    try:
        reader = _Reader(data)
        version, n_tensors, n_values = reader.unpack("<IQQ")
        if version not in (2, 3):
            raise ModelError(f"{path} is GGUF version {version}", "convert the model again with today's llama.cpp")
        values: dict[str, Any] = {}
        for _ in range(n_values):
            key = reader.text()
            (kind,) = reader.unpack("<I")
            values[key] = reader.value(kind)
        tensors, end = reader.tensors(n_tensors)
    except (struct.error, IndexError, ValueError, KeyError, TypeError):
        raise _broken(path, "its header ends early or is damaged") from None
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise _broken(path, "its alignment is damaged")
    needed = -(-reader.at // alignment) * alignment + end
    if tensors and size < needed:
        raise _broken(path, f"it has {size:,} bytes and its tensors need {needed:,}")
    return values, tensors


def _broken(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is not whole: {why}", "download it again: `localsynth models pull`")


class _Reader:
    """A cursor over the header; a length beyond the file raises struct.error or IndexError."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.at = data, len(_MAGIC)

    def unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self._data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def text(self) -> str:
        (length,) = self.unpack("<Q")
        if length > _LONGEST or self.at + length > len(self._data):
            raise IndexError(length)
        raw = self._data[self.at : self.at + length]
        self.at += length
        return raw.decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.unpack("<" + _SCALARS[kind])[0]
        inner, count = self.unpack("<IQ")
        if count > _LONGEST:
            raise IndexError(count)
        if inner in _SCALARS:
            return list(self.unpack(f"<{count}{_SCALARS[inner]}"))
        return [self.value(inner) for _ in range(count)]

    def tensors(self, count: int) -> tuple[list[Tensor], int]:
        """The tensor table, and where the last tensor ends after the start of the data."""
        found, end = [], 0
        for _ in range(count):
            name = self.text()
            (dimensions,) = self.unpack("<I")
            if dimensions > 8:
                raise IndexError(dimensions)
            shape = self.unpack(f"<{dimensions}Q")
            kind, offset = self.unpack("<IQ")
            # A type newer than this table is left to llama.cpp to judge.
            label, block, block_bytes = _TYPES.get(kind, (f"type {kind}", 1, 0))
            found.append(Tensor(name, label, shape))
            end = max(end, offset + math.prod(shape) // block * block_bytes)
        return found, end


def _quantisation(file_type: Any, tensors: list[Tensor]) -> str:
    if isinstance(file_type, int) and file_type & 1023 in _FILE_TYPES:
        return _FILE_TYPES[file_type & 1023]
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.type] += math.prod(tensor.shape)
    return sizes.most_common(1)[0][0] if sizes else "unknown"


def _special_tokens(values: Mapping[str, Any], texts: list[str]) -> SpecialTokens:
    kinds = values.get("tokenizer.ggml.token_type", [])
    control = {
        text: number
        for number, (text, kind) in enumerate(zip(texts, kinds, strict=False))
        if kind == _CONTROL or (kind == _USER_DEFINED and looks_like_control(text))
    }

    def text_of(key: str) -> str:
        number = values.get(f"tokenizer.ggml.{key}_token_id")
        return texts[number] if isinstance(number, int) and 0 <= number < len(texts) else ""

    ends = [values.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    # Where the file does not say, llama.cpp adds a BOS for sentence pieces and for these kinds of BPE.
    usual = values.get("tokenizer.ggml.model") == "llama" or values.get("tokenizer.ggml.pre") in _BPE_WITH_BOS
    adds = values.get("tokenizer.ggml.add_bos_token", usual)
    return SpecialTokens(
        bos=text_of("bos"),
        eos=text_of("eos"),
        add_bos=bool(adds),
        control=control,
        end_ids=tuple(dict.fromkeys(number for number in ends if isinstance(number, int))),
    )


def looks_like_control(text: str) -> bool:
    """Whether a token that a model's makers defined is written like a control token."""
    return len(text) > 2 and text[0] in "<[" and text[-1] in ">]" and not any(map(str.isspace, text))
