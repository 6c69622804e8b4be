"""The models of a plan: one backend per different model, opened together, with their chat formats."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from localsynth.backends.base import Backend, BackendInfo
from localsynth.chat import DEFAULT, ChatFormat, derive
from localsynth.config import Plan, RolePlan
from localsynth.engine.building import build_backend
from localsynth.errors import ModelError
from localsynth.methods.base import ModelRole


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backend that a role uses, and its formats by system prompt."""

    backend: Backend
    format: Callable[[str | None], ChatFormat]


class Roles:
    """Who plays which role. Open it before use; `aclose` may be called twice."""

    def __init__(self, plan: Plan) -> None:
        self._roles: dict[ModelRole, Loaded] = {}
        built: dict[RolePlan, Loaded] = {}
        needed: list[tuple[ModelRole, RolePlan]] = []
        if plan.method != "imported":
            needed.append(("ask", plan.ask))
        if not plan.instructions_only:
            needed.append(("answer", plan.answer))
        for name, role in needed:
            key = replace(role, sampling=())
            if key not in built:
                built[key] = _load(role, plan)
            self._roles[name] = built[key]
        self._steers_answers = plan.system_in_answer
        self._backends = [loaded.backend for loaded in built.values()]

    async def open(self) -> None:
        """Load the models one after the other; a model without a chat template is refused here."""
        for backend in self._backends:
            await backend.open()
        for loaded in self._roles.values():
            loaded.format(None)

    async def aclose(self) -> None:
        """Free the models."""
        for backend in self._backends:
            await backend.aclose()

    def backend(self, role: ModelRole) -> Backend:
        """The backend of a role."""
        return self._roles[role].backend

    def format(self, role: ModelRole, system: str | None) -> ChatFormat:
        """The chat format of a role's model; None is the template's default system turn."""
        return self._roles[role].format(system)

    def opening(self, system: str | None) -> str:
        """What all prompts of a conversation begin with; "" where two models write, or only one sees the steering."""
        ask, answer = self._roles.get("ask"), self._roles.get("answer")
        together = ask is answer and (self._steers_answers or not system)
        return ask.format(system).ask_prompt() if ask is not None and together else ""

    def model(self, role: ModelRole) -> str:
        """The model's name."""
        return self._roles[role].backend.info.model

    def infos(self) -> dict[str, BackendInfo]:
        """What each role runs on."""
        return {name: loaded.backend.info for name, loaded in self._roles.items()}

    def control_strings(self) -> frozenset[str]:
        """Every text that would act as a control token in a prompt of any role."""
        return frozenset().union(*(loaded.format(None).control_strings for loaded in self._roles.values()))

    @property
    def slots(self) -> int:
        """Requests that run at the same time, over all different backends."""
        return sum(backend.info.max_concurrency for backend in self._backends)


def _load(role: RolePlan, plan: Plan) -> Loaded:
    backend = build_backend(role, plan)
    date = dt.date.fromisoformat(plan.date) if plan.date else None

    @lru_cache(maxsize=1024)
    def chat_format(system: str | None) -> ChatFormat:
        return format_of(backend.info, system, date)

    return Loaded(backend, chat_format)


def format_of(info: BackendInfo, system: str | None = None, date: dt.date | None = None) -> ChatFormat:
    """The chat format of an opened model; `date` for templates that write one, today by default.

    ModelError for a base model, which carries no chat template.
    """
    if info.template is None:
        raise ModelError(
            f"{info.model} carries no chat template: it is a base model and was never taught turns",
            "choose an instruct or chat model: `localsynth models list`",
        )
    return derive(info.template, info.tokens, system=DEFAULT if system is None else system, date=date)
