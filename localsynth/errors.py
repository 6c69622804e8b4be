"""Every error a user can meet.

LocalsynthError             message: what happened; hint: what to type or change next
├── PlanError               an unknown key or a bad value in a plan or on the command line
├── TemplateRefused         a chat template from which no pre-query template can be derived
├── ModelError              a model that is missing, broken or unfit
│   └── MissingPackage      an optional package that this needs; the hint installs it
├── BackendError            generation failed; `retryable` says whether to try again
│   └── ContextOverflow     one prompt does not fit; concerns that request only
├── StoreError              the SQLite file: not a database, newer version, read-only, full
│   └── StoreBusy           another run holds this store; names its process
├── NotFound                a run, sample, model card or topic that is not there
└── DataError               a file to import or a folder to export that cannot be used
"""

from __future__ import annotations


class LocalsynthError(Exception):
    """The base: `message` is one line of what happened, `hint` one line of what to do next."""

    def __init__(self, message: str, hint: str = "", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retryable = retryable


class PlanError(LocalsynthError):
    """A plan or a command line that asks for something impossible."""


class TemplateRefused(LocalsynthError):
    """A chat template that gives no usable pre-query template; the message says why."""


class ModelError(LocalsynthError):
    """A model that is missing, broken or unfit for what was asked."""


class MissingPackage(ModelError):
    """A package that this feature needs is not installed."""


class BackendError(LocalsynthError):
    """Generation failed. The engine retries when `retryable`; backends never retry.

    `retry_after`: seconds that a server asked to be left alone, where it said so. `overloaded`: a server is well, but
    has too much to do.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        overloaded: bool = False,
    ) -> None:
        super().__init__(message, hint, retryable=retryable)
        self.retry_after = retry_after
        self.overloaded = overloaded


class ContextOverflow(BackendError):
    """The prompt and the tokens asked for exceed the context of one sequence."""


class StoreError(LocalsynthError):
    """The store cannot be opened, read or written."""


class StoreBusy(StoreError):
    """Another live process runs on this store."""


class NotFound(LocalsynthError):
    """Something named by the user does not exist."""


class DataError(LocalsynthError):
    """Input or output data that cannot be used."""
