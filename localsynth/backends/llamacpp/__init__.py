"""llama.cpp as a backend: any GGUF file, continuous batching on this machine's CPU or GPU.

llama_cpp is imported when a model is opened.
"""

from __future__ import annotations

from pathlib import Path

from localsynth.backends.base import BackendInfo
from localsynth.backends.gguf import read_facts, read_tensors
from localsynth.backends.llamacpp.settings import LlamaCppSettings
from localsynth.backends.stepped import Decoder, SteppedBackend
from localsynth.backends.weights import digesting

__all__ = ["LlamaCppBackend", "LlamaCppSettings", "load_decoder"]


class LlamaCppBackend(SteppedBackend):
    """A GGUF file, loaded by `open`. ModelError for a file that cannot be used, MissingPackage without llama_cpp."""

    def __init__(self, path: Path, settings: LlamaCppSettings | None = None, *, name: str | None = None) -> None:
        super().__init__(lambda: load_decoder(path, settings or LlamaCppSettings(), name or path.stem))


def load_decoder(path: Path, asked: LlamaCppSettings, name: str) -> Decoder:
    """Load a model and make its slots, on the thread that is to use them; errors as for LlamaCppBackend."""
    facts = read_facts(path)
    from localsynth.backends.llamacpp import library
    from localsynth.backends.llamacpp.decoder import LlamaCppDecoder
    from localsynth.backends.llamacpp.settings import replays_exactly, resolve
    from localsynth.backends.llamacpp.vocabulary import Vocabulary

    settings = resolve(asked, facts, gpu=library.has_gpu())
    with digesting(path) as digest:
        model = library.load_model(path, read_tensors(path), settings.gpu_layers)
        vocabulary = Vocabulary(model)
        info = BackendInfo(
            name="llama.cpp",
            version=f"llama-cpp-python {library.version()}",
            model=name,
            max_concurrency=settings.slots,
            context=settings.context,
            file=str(path),
            sha256=digest.result(),
            quantisation=facts.quantisation,
            template=facts.template,
            tokens=vocabulary.special_tokens(),
            logprobs=True,
            exact_replay=replays_exactly(settings, facts),
        )
    return LlamaCppDecoder(model, vocabulary, settings, info)
