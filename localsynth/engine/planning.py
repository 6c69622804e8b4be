"""From the tables of a plan to the whole of it: models found, figures of their cards, texts of the topics."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from localsynth import catalog
from localsynth.config import SERVED, Plan, RolePlan, check_shape, mix, plan_from
from localsynth.engine.building import local_model
from localsynth.engine.optimising import fastest
from localsynth.importing.reader import instructions, locate
from localsynth.methods.topics import find_topic
from localsynth.records import Sampling

OLLAMA = "http://127.0.0.1:11434"
_ROLE = ("model", "backend", "servers", "tokenizer")
_USUAL = {"ask": Sampling(max_tokens=512), "answer": Sampling(temperature=0.0, max_tokens=1024)}


def complete(tables: Mapping[str, Any], say: Callable[[str], None]) -> Plan:
    """The plan of a plan.toml's tables as a run needs it: nothing is left to be looked up.

    Errors of models that are not here, of topics and of files, and PlanError; `say` is told what is worth a word.
    """
    table = usual(tables)
    table.setdefault("seed", secrets.randbelow(2**32))
    if table.get("method") == "imported" and table.get("instructions"):
        table = {**table, **imported(Path(table["instructions"]), table.get("target"))}
    for role in ("ask", "answer"):
        own = table[role]
        card = find_model(own)
        if "sampling" not in own:
            own["sampling"] = usual_sampling(role, own, card, say)
    return with_texts(checked(table))


def usual(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a plan.toml with what follows from them: a server's backend. PlanError for a wrong key or kind."""
    check_shape(tables)
    return {**tables, **{role: role_table({}, tables.get(role, {})) for role in ("ask", "answer")}}


def checked(table: Mapping[str, Any]) -> Plan:
    """The plan itself. An encoder that is not here is told now, not after the first wave."""
    plan = plan_from(table)
    if plan.gate.near_duplicates and plan.gate.encoder:
        catalog.encoder_path(plan.gate.encoder)
    return plan


def imported(path: Path, target: int | None) -> dict[str, Any]:
    """The file's path and hash, because a resumed run must find the same instructions; all of them by default."""
    path = path.expanduser().absolute()
    located = locate(path)
    found = {"instructions": str(path), "instructions_sha256": located.digest()}
    return found | {"target": target or max(1, sum(1 for _ in instructions(located)))}


def role_table(given: Mapping[str, Any], file: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """A plan's table for one role: the file's, with what was typed over it."""
    table = {**file, **{key: given[key] for key in _ROLE if given.get(key)}}
    if given.get("backend", "auto") not in {"auto", *SERVED} and not given.get("servers"):
        # A local backend that was typed takes the place of the file's server.
        table = {key: value for key, value in table.items() if key not in {"servers", "tokenizer"}}
    backend = table.get("backend", "auto")
    replaced = bool(given.get("servers")) and "backend" not in given  # by a server that was typed
    if table.get("servers") and backend not in SERVED and (backend == "auto" or replaced):
        table["backend"] = "openai"
    if table.get("backend") == "ollama":
        table.setdefault("servers", [OLLAMA])
    return table


def find_model(table: dict[str, Any], say: Callable[[str], None] | None = None) -> catalog.ModelCard | None:
    """Find a role's model, put what is to be loaded in its place, and give its card where it has one.

    `say` is told when it is the starter that nobody chose.
    """
    role = RolePlan(model=table.get("model", ""), backend=table.get("backend", "auto"))
    found = local_model(role)
    if found is None:
        return catalog.load().get(role.model)
    table["model"] = str(fastest(found.path)) if found.kind == "gguf" else str(found.path)
    if say is not None and found.starter and not os.environ.get("LOCALSYNTH_MODEL"):
        say(catalog.starter_note())
    return found.card


def usual_sampling(
    role: str, table: Mapping[str, Any], card: catalog.ModelCard | None, say: Callable[[str], None], preset: str = ""
) -> list[dict[str, Any]]:
    """The sampling of a role ("ask" or "answer") where the plan has none: the preset's, the card's or the usual one."""
    base = _base_sampling(role, card, preset)
    avoided = {text for entry in base for text in entry["avoid_first"]}
    if avoided and not _biases(table):
        remedy = "; with --tokenizer it could" if table["backend"] == "openai" else ""
        say(f"the server cannot keep texts from beginning with {' or '.join(sorted(avoided))}{remedy}")
        base = [{**entry, "avoid_first": ()} for entry in base]
    return base


def with_texts(plan: Plan) -> Plan:
    """The plan with the texts of its topics, so that the stored one says all."""
    language = topic_language(plan.language)
    resolved = []
    for system in plan.systems:
        text = system.text
        if system.topic and not text:
            text = find_topic(system.topic, language, plan.turns).text
        resolved.append(dataclasses.replace(system, text=text))
    return dataclasses.replace(plan, systems=tuple(resolved))


def topic_language(language: str) -> str:
    """`zh-CN` has the topics of `zh`; `topics` refuses a language that has none."""
    return language.lower().partition("-")[0]


def _biases(table: Mapping[str, Any]) -> bool:
    """Whether the backend can keep a first token away: a server needs the ids, which need the tokenizer."""
    backend = table.get("backend", "auto")
    return backend not in SERVED or (backend == "openai" and bool(table.get("tokenizer")))


def _base_sampling(role: str, card: catalog.ModelCard | None, preset: str) -> list[dict[str, Any]]:
    if role == "ask" and preset:
        return [dataclasses.asdict(entry) for entry in mix(preset, max_tokens=512)]
    own = (card.ask if role == "ask" else card.answer) if card else None
    return [dataclasses.asdict(own or _USUAL[role])]
