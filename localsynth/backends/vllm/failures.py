"""Why an engine failed: its processes write the cause into a log, and only "see above" reaches whoever started them."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

_ERROR = re.compile(r"(?:^|\s)(?:[\w.]+\.)?(\w*(?:Error|Exception)): (.+)$", re.MULTILINE)
_FOLLOWS = re.compile(r"initialization failed|See (?:stack trace|root cause)", re.IGNORECASE)
_LONGEST = 300

_HINTS = (
    (
        r"out of memory",
        "lower --memory-share, --slots or --context, or spread the model over more GPUs with --tensor-parallel",
    ),
    (
        r"less than desired \w+ memory utilization",
        "lower --memory-share, or end what else uses the memory: `nvidia-smi` lists it",
    ),
    (
        r"KV cache|cache blocks",
        "raise --memory-share, lower --context, or spread the model over more GPUs with --tensor-parallel",
    ),
    (
        r"world size|tensor.parallel",
        "--tensor-parallel must divide the model's attention heads and be at most the number of GPUs",
    ),
    (r"quantization", "--quantisation must be what the model's files hold; leave it away to read it from them"),
    (r"architecture", "this vLLM does not know the model: pip install -U vllm, or choose another model"),
)


class EngineLog:
    """A folder with the log of one engine and the file that makes all its processes write there."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="localsynth-vllm-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self._errors = folder / "errors.log"
        self.config = folder / "logging.json"
        self.config.write_text(json.dumps(_logging(self._errors)), encoding="utf-8")

    def cause(self) -> str:
        """The first error that is no consequence of another; empty where none was written."""
        try:
            text = self._errors.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        found = [f"{kind}: {what}" for kind, what in _ERROR.findall(text)]
        return next((line for line in found if not _FOLLOWS.search(line)), "")[:_LONGEST]

    def close(self) -> None:
        """Delete it."""
        self._folder.cleanup()


def hint_for(cause: str) -> str:
    """What to change, from the text of the error."""
    for pattern, hint in _HINTS:
        if re.search(pattern, cause, re.IGNORECASE):
            return hint
    return "read the log of the run, and try the model with `vllm serve`"


def _logging(errors: Path) -> dict[str, object]:
    """A `logging.config.dictConfig`: warnings to stderr, where a run's log is, and errors to a file as well.

    Our process logs into the file of the engine that was started last. It is opened at once, so that it can be written
    to when that engine is gone: vLLM tells no request that its engine died where it cannot log so first.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "vllm %(levelname)s %(process)d: %(message)s"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"},
            "errors": {
                "class": "logging.FileHandler",
                "formatter": "plain",
                "level": "ERROR",
                "filename": str(errors),
                "encoding": "utf-8",
            },
        },
        "loggers": {
            "vllm": {
                "handlers": ["stderr", "errors"],
                "level": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
                "propagate": False,
            }
        },
    }
