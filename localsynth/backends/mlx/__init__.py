"""MLX as a backend: continuous batching on a Mac's GPU, from a folder of MLX or Hugging Face weights.

mlx and mlx_lm are imported when a model is opened.
"""

from __future__ import annotations

from pathlib import Path

from localsynth.backends.mlx.loading import Loader, MlxSettings
from localsynth.backends.stepped import SteppedBackend

__all__ = ["MlxBackend", "MlxSettings"]


class MlxBackend(SteppedBackend):
    """A model folder, loaded by `open`. ModelError for a folder that cannot be used, MissingPackage without mlx-lm."""

    def __init__(self, path: Path, settings: MlxSettings | None = None, *, name: str | None = None) -> None:
        super().__init__(Loader(path, settings or MlxSettings(), name or path.name).load)
