"""Ollama by its own interface, whose raw mode leaves prompts alone."""

from localsynth.backends.ollama.backend import OllamaBackend

__all__ = ["OllamaBackend"]
