"""Any server with raw completions: vLLM, llama-server, LM Studio and others with /v1/completions."""

from localsynth.backends.openai.backend import OpenAIBackend

__all__ = ["OpenAIBackend"]
