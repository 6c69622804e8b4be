"""Exit codes: part of the interface, documented in the README."""

from __future__ import annotations

from enum import IntEnum

from localsynth.errors import (
    BackendError,
    DataError,
    LocalsynthError,
    ModelError,
    NotFound,
    PlanError,
    StoreError,
    TemplateRefused,
)


class Exit(IntEnum):
    """What a command ends with."""

    OK = 0
    ERROR = 1  # anything else
    USAGE = 2  # a wrong option, plan or name
    MODEL = 3  # a model, template or backend that cannot be used
    STORE = 4  # the store: busy, full, read-only, not a store
    DATA = 5  # a file to import or to write
    INCOMPLETE = 6  # the run ended before its target; `localsynth resume` goes on
    INTERRUPTED = 130


_CODES: tuple[tuple[type[LocalsynthError], Exit], ...] = (
    (PlanError, Exit.USAGE),
    (NotFound, Exit.USAGE),
    (ModelError, Exit.MODEL),
    (BackendError, Exit.MODEL),
    (TemplateRefused, Exit.MODEL),
    (StoreError, Exit.STORE),
    (DataError, Exit.DATA),
)


def exit_code(error: LocalsynthError) -> Exit:
    """The code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.ERROR)
