"""vLLM in this process, for a machine with GPUs: any model folder in Hugging Face's format, no server in between.

vllm is imported when a model is opened.
"""

from localsynth.backends.vllm.backend import VllmBackend
from localsynth.backends.vllm.settings import VllmSettings

__all__ = ["VllmBackend", "VllmSettings"]
