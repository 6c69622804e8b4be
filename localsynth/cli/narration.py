"""What is said to the person: on stderr, safe for the screen. stdout is data."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from localsynth.errors import LocalsynthError
from localsynth.printable import printable


def say(text: str) -> None:
    """One line of narration. A full disk behind it, or a reader that has left, is no reason to end what is told."""
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def data(text: str) -> None:
    """One line of data."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def data_json(value: Mapping[str, Any] | list[Any]) -> None:
    """One JSON document of data; it is ASCII, so no terminal acts on what a model wrote."""
    data(json.dumps(value, indent=2))


def complain(error: LocalsynthError) -> None:
    """An error and what to do next."""
    say(f"localsynth: {error.message}")
    if error.hint:
        say(f"  next: {error.hint}")
