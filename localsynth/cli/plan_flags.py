"""From what was typed to a plan: defaults, then the model's card, then the file, then the flags."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from localsynth import catalog
from localsynth.cli.narration import data, data_json, say
from localsynth.config import SERVED, Plan, RolePlan, mix, plan_from, read_plan, sampling_tables
from localsynth.records import Sampling

_TOP = ("target", "language", "turns", "seed", "instructions_only", "force")
_ASK = {"temperature": "temperature", "top_p": "top_p", "question_tokens": "max_tokens"}
_ANSWER = {"answer_temperature": "temperature", "answer_tokens": "max_tokens"}
_LIMITS = {"max_minutes": "minutes", "max_tokens": "tokens", "max_attempts": "attempts"}
_MACHINE = ("slots", "context", "threads", "gpu_layers", "tensor_parallel", "memory_share", "quantisation")
_OLLAMA = "http://127.0.0.1:11434"
_ROLE = ("model", "backend", "servers", "tokenizer")


def build_plan(typed: Mapping[str, Any]) -> Plan:
    """The plan for `generate`, whole and checked: the models are found and the topics' texts are in it."""
    given = {key: value for key, value in typed.items() if value is not None and value != ()}
    table: dict[str, Any] = dict(read_plan(given["plan_file"])) if "plan_file" in given else {}
    table |= {key: given[key] for key in _TOP if key in given}
    table.setdefault("seed", secrets.randbelow(2**32))
    _put(table, "limits", {new: given[old] for old, new in _LIMITS.items() if old in given})
    _put(table, "machine", {key: given[key] for key in _MACHINE if key in given})
    gate: dict[str, Any] = {key: given[key] for key in ("similarity", "encoder") if key in given}
    if given.get("no_near_duplicates"):
        gate["near_duplicates"] = False
    _put(table, "gate", gate)
    if "instructions" in given:
        table |= {"method": "imported", **_instructions(given["instructions"], table.get("target"))}
    _models(table, given)
    _systems(table, given)
    plan = plan_from(table)
    if plan.gate.near_duplicates and plan.gate.encoder:
        catalog.encoder_path(plan.gate.encoder)  # one that is not here is told now, not after the first wave
    return dataclasses.replace(plan, systems=tuple(_resolved(plan)))


def print_topics(language: str, *, as_json: bool) -> None:
    """The ready topics with their default weights, as data."""
    from localsynth.methods.topics import topics

    found = topics(_topic_language(language))
    if as_json:
        data_json([dataclasses.asdict(topic) for topic in found])
        return
    for topic in found:
        data(f"{topic.id:<22} {topic.weight:>6.3f}  {topic.title}")


def _put(data: dict[str, Any], table: str, values: Mapping[str, Any]) -> None:
    if values:
        data[table] = {**data.get(table, {}), **values}


def _instructions(path: Path, target: int | None) -> dict[str, Any]:
    """The file's path and hash, because a resumed run must find the same instructions; all of them by default."""
    from localsynth.importing.reader import instructions, locate

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
        table.setdefault("servers", [_OLLAMA])
    return table


def _found(table: dict[str, Any], *, say_starter: bool) -> catalog.ModelCard | None:
    """Find the table's model, put what is to be loaded in its place, and give its card where it has one."""
    from localsynth.engine.building import local_model
    from localsynth.engine.optimising import fastest

    role = RolePlan(model=table.get("model", ""), backend=table.get("backend", "auto"))
    found = local_model(role)
    if found is None:
        return catalog.load().get(role.model)
    table["model"] = str(fastest(found.path)) if found.kind == "gguf" else str(found.path)
    if say_starter and found.starter and not os.environ.get("LOCALSYNTH_MODEL"):
        say(catalog.starter_note())
    return found.card


def _models(data: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Models, backends and sampling of both roles; the card's figures fill what neither file nor flags say."""
    for role, flags in (("ask", _ASK), ("answer", _ANSWER)):
        named = {"model": given["answer_model"]} if role == "answer" and "answer_model" in given else {}
        table = role_table({**given, **named}, data.get(role, {}))
        card = _found(table, say_starter=role == "ask")
        base = _base_sampling(role, card, given)
        avoided = {text for entry in base for text in entry["avoid_first"]}
        if avoided and not _biases(table):
            remedy = "; with --tokenizer it could" if table["backend"] == "openai" else ""
            say(f"the server cannot keep texts from beginning with {' or '.join(sorted(avoided))}{remedy}")
            base = [{**entry, "avoid_first": ()} for entry in base]
        typed = {new: given[old] for old, new in flags.items() if old in given}
        if "sampling" not in table or (role == "ask" and "preset" in given):
            table["sampling"] = base
        table["sampling"] = [{**entry, **typed} for entry in sampling_tables(table["sampling"])]
        data[role] = table


def _biases(table: Mapping[str, Any]) -> bool:
    """Whether the backend can keep a first token away: a server needs the ids, which need the tokenizer."""
    backend = table.get("backend", "auto")
    return backend not in SERVED or (backend == "openai" and bool(table.get("tokenizer")))


def _base_sampling(role: str, card: catalog.ModelCard | None, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    defaults = {"ask": Sampling(max_tokens=512), "answer": Sampling(temperature=0.0, max_tokens=1024)}
    if role == "ask" and "preset" in given:
        return [dataclasses.asdict(entry) for entry in mix(given["preset"], max_tokens=512)]
    own = (card.ask if role == "ask" else card.answer) if card else None
    return [dataclasses.asdict(own or defaults[role])]


def _systems(data: dict[str, Any], given: Mapping[str, Any]) -> None:
    """--topics and --system replace the file's system prompts."""
    if "topics" not in given and "systems" not in given:
        return
    from localsynth.methods.topics import parse_topics

    language = _topic_language(str(data.get("language", "any")))
    chosen = parse_topics(given["topics"], language) if "topics" in given else []
    own = [{"text": text, "weight": 1.0} for text in given.get("systems", ())]
    data["systems"] = [{"topic": topic.id, "weight": weight} for topic, weight in chosen] + own


def _resolved(plan: Plan) -> list[Any]:
    """The system prompts with the texts of their topics, so that the stored plan says all."""
    from localsynth.methods.topics import find_topic

    language = _topic_language(plan.language)
    resolved = []
    for system in plan.systems:
        text = system.text
        if system.topic and not text:
            text = find_topic(system.topic, language, plan.turns).text
        resolved.append(dataclasses.replace(system, text=text))
    return resolved


def _topic_language(language: str) -> str:
    """`zh-CN` has the topics of `zh`; `topics` refuses a language that has none."""
    return language.lower().partition("-")[0]
