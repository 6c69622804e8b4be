"""How a template wants to be called: its shape of contents, its idea of no tools, its switches for thinking."""

from __future__ import annotations

import datetime as dt
import re

from localsynth.chat.cutting import MARKED
from localsynth.chat.template import Compiled, Script
from localsynth.errors import TemplateRefused
from localsynth.records import SpecialTokens

_SWITCH = re.compile(r"think|reason", re.IGNORECASE)
_OFF = ("off", "disabled", "disable", "none", "no_think", "nothink", "no_thinking", "no")
_ON = ("on", "enabled", "enable")
# transformers passes None for no tools; templates written for other programs want nothing, or a list.
_NO_TOOLS: tuple[dict[str, object], ...] = ({"tools": None, "documents": None}, {}, {"tools": []})


def find_script(compiled: Compiled, tokens: SpecialTokens, system: str | None, thinking: bool, date: dt.date) -> Script:
    """The first way of calling the template that brings out a user's text."""
    reasons: list[str] = []
    fixed = {"bos_token": tokens.bos, "eos_token": tokens.eos}
    for switches in (_switches(compiled, thinking), {}):
        for parts in (False, True):
            for tools in _NO_TOOLS:
                script = Script(compiled, {**fixed, **tools}, date, system, parts, switches)
                try:
                    rendered = script.render([("user", MARKED[0])])
                except TemplateRefused as refused:
                    reasons.append(refused.message)
                    continue
                # A list of parts that is printed as it stands is no rendering.
                if MARKED[0] in rendered and not (parts and re.search(rf"['\"]{MARKED[0]}", rendered)):
                    return script
                reasons.append("the template leaves out or changes the user's text")
    own = [reason for reason in reasons if "refuses" in reason]
    raise TemplateRefused([*own, *reasons][0])


def _switches(compiled: Compiled, thinking: bool) -> dict[str, bool | str]:
    found: dict[str, bool | str] = {}
    for name in sorted(compiled.variables):
        words = compiled.choices.get(name, frozenset())
        known = [word for word in (_ON if thinking else _OFF) if word in words]
        if known and _SWITCH.search(name):
            found[name] = known[0]
        elif name in {"enable_thinking", "thinking"}:
            found[name] = thinking
    return found
