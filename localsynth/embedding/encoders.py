"""Texts to unit vectors: a sentence encoder from a local folder, and character n-grams that need no model."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from localsynth.errors import MissingPackage, ModelError

Vectors = NDArray[np.float32]

# An encoder reads some hundred tokens; more characters than this only cost tokenising.
_READ_CHARACTERS: Final = 20_000
# Larger batches pad short questions to the longest one: 286 texts/s at 16, 264 at 32, 118 at 128 on two cores.
_BATCH_TEXTS: Final = 16


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of each text an encoder takes in, arrays of shape (n,).

    `unknown`: share of tokens that its vocabulary lacks, 0 to 1. `truncated`: the text is longer than it reads.
    """

    unknown: Vectors
    truncated: NDArray[np.bool_]


class Encoder(Protocol):
    """Anything that turns texts into comparable vectors."""

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> Vectors: ...

    def coverage(self, texts: Sequence[str]) -> Coverage: ...


class SentenceEncoder:
    """A sentence-transformers folder on the CPU, loaded from disk only; unit vectors of float32.

    `name` is the one that vectors are stored under. Raises MissingPackage without sentence-transformers, ModelError
    where the folder is absent or holds no such model.
    """

    def __init__(self, folder: Path, name: str = "", *, threads: int | None = None) -> None:
        self.name = name or folder.resolve().name
        self._model = _load(folder, threads)
        self.dim = int(self._model.encode([""], show_progress_bar=False).shape[1])
        self._tokenizer = _bare_tokenizer(self._model)
        self._unknown: int | None = self._model.tokenizer.unk_token_id
        limit = self._model.max_seq_length
        self._limit = int(limit) - 2 if limit else 510

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, shape (n, dim). Tokens beyond the model's limit are not read; see `coverage`."""
        if not texts:
            return np.empty((0, self.dim), np.float32)
        vectors = self._model.encode(
            [_readable(text) for text in texts],
            batch_size=_BATCH_TEXTS,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.asarray(vectors, np.float32)

    def coverage(self, texts: Sequence[str]) -> Coverage:
        """Unknown share and truncation of each text, by the model's own tokenizer."""
        unknown = np.zeros(len(texts), np.float32)
        truncated = np.zeros(len(texts), bool)
        read = [_readable(text) for text in texts]
        for row, encoding in enumerate(self._tokenizer.encode_batch(read, add_special_tokens=False)):
            ids = encoding.ids
            truncated[row] = len(ids) > self._limit or len(texts[row]) > _READ_CHARACTERS
            if ids and self._unknown is not None:
                unknown[row] = ids.count(self._unknown) / len(ids)
        return Coverage(unknown, truncated)


def _readable(text: str) -> str:
    """What a tokenizer can take: bounded, and no lone surrogate, which cannot cross into Rust."""
    return text[:_READ_CHARACTERS].encode("utf-8", "replace").decode()


def _load(folder: Path, threads: int | None) -> Any:
    if not folder.is_dir():
        raise ModelError(f"there is no encoder folder {folder}", "name a folder with a sentence-transformers model")
    try:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise MissingPackage(
            f"the sentence encoder needs a package that is missing: {error.name}",
            "pip install sentence-transformers, or turn the encoder off in the plan",
        ) from error
    narration: Any = transformers_logging
    narration.set_verbosity_error()
    narration.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=False)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the encoder {folder} cannot be loaded: {first}",
            "pull it again, or name a folder with a sentence-transformers model",
        ) from error


def _bare_tokenizer(model: Any) -> Any:
    """The model's tokenizer without truncation and padding, so that whole texts are counted."""
    from tokenizers import Tokenizer

    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError("this encoder has no fast tokenizer", "choose an encoder that ships a tokenizer.json")
    bare = Tokenizer.from_str(backend.to_str())
    bare.no_truncation()
    bare.no_padding()
    return bare


class CharNgramEncoder:
    """Hashed runs of 2 to 4 successive characters: any script, no vocabulary, the whole text up to 20,000 characters.

    Two texts that differ in d of L characters have a cosine of about 1 - d / L.
    """

    name = "char-2-4"
    dim = 512
    _sizes = (2, 3, 4)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, shape (n, 512); a text without characters gives a row of zeros."""
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            codes = _codes(text)
            # Each n-gram counts once: a frame that a long text repeats must not hide what differs.
            hashes = np.unique(np.concatenate([_ngrams(codes, size) for size in self._sizes]))
            # Signed: collisions of unlike n-grams cancel instead of adding up.
            signs = 1.0 - 2.0 * ((hashes >> np.uint64(33)) & np.uint64(1)).astype(np.float32)
            places = ((hashes >> np.uint64(40)) % np.uint64(self.dim)).astype(np.int64)
            row[:] = np.bincount(places, weights=signs, minlength=self.dim)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(norms, 1e-9), np.float32)

    def coverage(self, texts: Sequence[str]) -> Coverage:
        """Every character is known; only a text beyond the bound is truncated."""
        truncated = np.fromiter((len(text) > _READ_CHARACTERS for text in texts), bool, len(texts))
        return Coverage(np.zeros(len(texts), np.float32), truncated)


def _codes(text: str) -> NDArray[np.uint64]:
    """Code points without differences of case, width and spacing, with a mark at both ends."""
    folded = " ".join(unicodedata.normalize("NFKC", text[:_READ_CHARACTERS]).casefold().split())
    points = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.concatenate(([2], points, [3])).astype(np.uint64)


_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)


def _ngrams(codes: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """One 64-bit hash for each run of `size` codes; wraps on overflow, as hashes do."""
    count = max(0, len(codes) - size + 1)
    hashes = np.zeros(count, np.uint64)
    for offset in range(size):
        hashes = hashes * _FACTOR + codes[offset : offset + count] * _MIX
    hashes ^= hashes >> np.uint64(32)
    return hashes * _MIX
