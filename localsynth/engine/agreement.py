"""A shard starts only with models that turn the same conversation into the same prompt as the job's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localsynth.chat.parts import differing
from localsynth.config import Plan
from localsynth.engine.roles import Roles
from localsynth.errors import TemplateRefused

_SHOWN = 200


def check_agreement(expected: Mapping[str, Any], plan: Plan, roles: Roles, say: Callable[[str], None]) -> None:
    """Compare every chat format in use with what was packed. TemplateRefused when one differs.

    Another file or quantisation with the same formats is only said, in one line for each role.
    """
    for name, info in roles.infos().items():
        if name not in expected:
            continue
        home = expected[name]
        for known in home["formats"]:
            number = known["system"]
            system = None if number is None else plan.systems[number].text or None
            found = differing(known["parts"], roles.format(name, system), info.tokens)  # type: ignore[arg-type]
            if found:
                raise TemplateRefused(
                    f"the {name} model {info.model} does not write its turns as at home: {found[0][:_SHOWN]}",
                    f"use the model that was packed: {home['model']}"
                    + (f" at revision {home['revision']}" if home.get("revision") else ""),
                )
        if home.get("sha256") != info.sha256 or home.get("quantisation") != info.quantisation:
            say(
                f"the {name} model is {info.model} {info.quantisation or ''} by {info.name}, and was {home['model']} "
                f"{home.get('quantisation') or ''} by {home['backend']} at home; the chat format is the same"
            )
