"""From what was typed to a plan: defaults, then the model's card, then the file, then the flags."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

from localsynth.cli.narration import data, data_json, say
from localsynth.config import Plan, read_plan, sampling_tables
from localsynth.engine.planning import (
    checked,
    find_model,
    imported,
    role_table,
    topic_language,
    usual_sampling,
    with_texts,
)

_TOP = ("target", "language", "turns", "seed", "instructions_only", "force")
_ASK = {"temperature": "temperature", "top_p": "top_p", "question_tokens": "max_tokens"}
_ANSWER = {"answer_temperature": "temperature", "answer_tokens": "max_tokens"}
_LIMITS = {"max_minutes": "minutes", "max_tokens": "tokens", "max_attempts": "attempts"}
_MACHINE = ("slots", "context", "threads", "gpu_layers", "tensor_parallel", "memory_share", "quantisation")


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
        table |= {"method": "imported", **imported(given["instructions"], table.get("target"))}
    _models(table, given)
    _systems(table, given)
    return with_texts(checked(table))


def print_topics(language: str, *, as_json: bool) -> None:
    """The ready topics with their default weights, as data."""
    from localsynth.methods.topics import topics

    found = topics(topic_language(language))
    if as_json:
        data_json([dataclasses.asdict(topic) for topic in found])
        return
    for topic in found:
        data(f"{topic.id:<22} {topic.weight:>6.3f}  {topic.title}")


def _put(data: dict[str, Any], table: str, values: Mapping[str, Any]) -> None:
    if values:
        data[table] = {**data.get(table, {}), **values}


def _models(data: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Models, backends and sampling of both roles; the card's figures fill what neither file nor flags say."""
    for role, flags in (("ask", _ASK), ("answer", _ANSWER)):
        named = {"model": given["answer_model"]} if role == "answer" and "answer_model" in given else {}
        table = role_table({**given, **named}, data.get(role, {}))
        card = find_model(table, say if role == "ask" else None)
        base = usual_sampling(role, table, card, say, given.get("preset", ""))
        typed = {new: given[old] for old, new in flags.items() if old in given}
        if "sampling" not in table or (role == "ask" and "preset" in given):
            table["sampling"] = base
        table["sampling"] = [{**entry, **typed} for entry in sampling_tables(table["sampling"])]
        data[role] = table


def _systems(data: dict[str, Any], given: Mapping[str, Any]) -> None:
    """--topics and --system replace the file's system prompts."""
    if "topics" not in given and "systems" not in given:
        return
    from localsynth.methods.topics import parse_topics

    language = topic_language(str(data.get("language", "any")))
    chosen = parse_topics(given["topics"], language) if "topics" in given else []
    own = [{"text": text, "weight": 1.0} for text in given.get("systems", ())]
    data["systems"] = [{"topic": topic.id, "weight": weight} for topic, weight in chosen] + own
