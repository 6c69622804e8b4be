"""A plan.toml in the making: its text with the comments, single values read and written, and the way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from localsynth.config import Plan, plan_data, plan_from
from localsynth.engine.planning import usual
from localsynth.errors import LocalsynthError, PlanError

_NEW = "# A plan of localsynth: what is not here is the usual. Also: localsynth generate --plan FILE\n"
_KEPT = 100  # steps back
_DEFAULTS = plan_data(Plan())


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the plan. `key`: which value, "" where it is none in particular."""

    key: str
    message: str
    hint: str


class Draft:
    """The text is the plan. While it is no TOML at all, single values cannot be written."""

    def __init__(self) -> None:
        self._text = _NEW
        self._document: tomlkit.TOMLDocument | None = tomlkit.parse(_NEW)
        self._before: list[str] = []
        self._broken = self._typing = ""
        self.put("target", Plan().target)
        self._before.clear()

    @property
    def text(self) -> str:
        """The whole file."""
        return self._text

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to go back."""
        return bool(self._before)

    def load(self, text: str) -> None:
        """Take another text, also one that is no TOML: `fault` says so."""
        if text != self._text:
            self._before = [*self._before, self._text][-_KEPT:]
            self._take(text)

    def undo(self) -> None:
        """Go back one step."""
        if self._before:
            self._take(self._before.pop())

    def given(self, key: str) -> Any:
        """What the text says of `gate.similarity` and the like; None where it says nothing."""
        found: Any = self.tables()
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found

    def value(self, key: str) -> Any:
        """The same, the usual value where the text says nothing."""
        found = self.given(key)
        if found is not None:
            return found
        usual_value: Any = _DEFAULTS
        for part in key.split("."):
            usual_value = usual_value[part]
        return usual_value

    def put(self, key: str, value: Any, *, typing: bool = False) -> None:
        """Write one value; comments and order stay. PlanError while the text is no TOML.

        `typing`: what is typed character by character is one step.
        """
        goes_on, steps = typing and self._typing == key, len(self._before)
        self.change({key: value})
        if goes_on and len(self._before) > steps:
            self._before.pop()
        self._typing = key if typing else ""

    def change(self, values: Mapping[str, Any]) -> None:
        """Write several values in one step; None takes a key out."""
        if self._document is None:
            raise PlanError(f"the text is no TOML: {self._broken}", "mend it first: e opens the editor, z goes back")
        before, self._typing = self._text, ""
        for key, value in values.items():
            *path, last = key.split(".")
            table: Any = self._document
            for part in path:
                if not isinstance(table.get(part), Mapping):
                    if value is None:
                        break
                    table[part] = tomlkit.table()
                table = table[part]
            else:
                _write(table, last, value)
        self._text = tomlkit.dumps(self._document)
        if self._text != before:
            self._before = [*self._before, before][-_KEPT:]

    def tables(self) -> dict[str, Any]:
        """The tables of the file as plain data; none while it is no TOML."""
        return self._document.unwrap() if self._document is not None else {}

    def fault(self) -> Fault | None:
        """The first thing that is wrong with it, as far as it can be told without looking for models and files."""
        if self._document is None:
            return Fault("", f"this is no TOML: {self._broken}", "e opens the editor to mend it, z goes back")
        try:
            plan_from(usual(self.tables()))
        except LocalsynthError as error:
            return Fault(_key(error.message), error.message, error.hint)
        return None

    def _take(self, text: str) -> None:
        self._text, self._broken, self._typing = text, "", ""
        try:
            self._document = tomlkit.parse(text)
        except TOMLKitError as error:
            self._document, self._broken = None, str(error)


def _write(table: Any, key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        tables = tomlkit.aot()
        for each in value:
            item = tomlkit.table()
            item.update(each)
            tables.append(item)
        table.pop(key, None)
        table[key] = tables
    elif table.get(key) != value or isinstance(table.get(key), bool) != isinstance(value, bool):
        table[key] = value


def _key(message: str) -> str:
    """The key with which messages about a plan begin: `ask.sampling[0].top_p must be ...` is about `ask.sampling`."""
    found = re.match(r"[a-z_]+(\.[a-z_]+)?", message)
    key = found[0] if found else ""
    return key if key.partition(".")[0] in _DEFAULTS else ""
