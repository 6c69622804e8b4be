"""Chat formats, derived from the template that a model itself carries; templates are untrusted and bounded."""

from __future__ import annotations

from localsynth.chat.derive import DEFAULT, Default, derive
from localsynth.chat.format import ChatFormat, describe

__all__ = ["DEFAULT", "ChatFormat", "Default", "derive", "describe"]
