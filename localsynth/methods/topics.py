"""Ready topics: system prompts that steer what a model asks, in the Magpie way (arXiv 2406.08464, section 2)."""

from __future__ import annotations

import difflib
import functools
import hashlib
import math
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from localsynth.errors import NotFound, PlanError

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Topic:
    """A system prompt in one language. `weight` is its share when all topics are used; they sum to one.

    `category` is one of the paper's twelve. `version` counts changes of the wording by hand; `sha256` is of `text`.
    """

    id: str
    title: str
    category: str
    weight: float
    language: str
    version: int
    text: str

    @property
    def sha256(self) -> str:
        """What a row's provenance keeps, so that a changed wording is noticed."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def topics(language: str = "en", turns: int = 1) -> list[Topic]:
    """Every ready topic in `language`, "en" or "zh" ("any" means "en"), worded for one turn or for several."""
    chosen = "en" if language == "any" else language
    if chosen not in LANGUAGES:
        hint = "give a system prompt of your own in that language, in quotes"
        raise PlanError(f"there are no ready topics in {language!r}, only in {' and '.join(LANGUAGES)}", hint)
    data = _data()
    total = sum(entry["weight"] for entry in data["topic"])
    # Chinese sets no blank between sentences.
    more = data["several_turns"][chosen] if turns > 1 else ""
    joint = " " if more and chosen == "en" else ""
    return [
        Topic(
            id=entry["id"],
            title=entry["title"],
            category=entry["category"],
            weight=entry["weight"] / total,
            language=chosen,
            version=entry["version"],
            text=entry[chosen] + joint + more,
        )
        for entry in data["topic"]
    ]


def find_topic(name: str, language: str = "en", turns: int = 1) -> Topic:
    """The topic with this id; NotFound offers near names."""
    known = {topic.id: topic for topic in topics(language, turns)}
    wanted = name.strip().lower()
    if wanted in known:
        return known[wanted]
    parts = [i for i in known if wanted and (wanted in i or i in wanted)]
    near = list(dict.fromkeys([*parts, *difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)]))
    hint = f"did you mean {', '.join(near)}?" if near else f"topics: {', '.join(known)}"
    raise NotFound(f"there is no topic {name.strip()!r}", hint)


def parse_topics(spec: str, language: str = "en", turns: int = 1) -> list[tuple[Topic, float]]:
    """Topics and weights from "math,coding:2": no weight is 1, "all" is every topic at its own share.

    Weights need not sum to one. NotFound: no such topic; PlanError: a weight that is no number, or one topic twice.
    """
    if spec.strip().lower() == "all":
        return [(topic, topic.weight) for topic in topics(language, turns)]
    chosen: dict[str, tuple[Topic, float]] = {}
    for item in filter(None, (part.strip() for part in spec.split(","))):
        name, colon, weight = item.partition(":")
        topic = find_topic(name, language, turns)
        if topic.id in chosen:
            raise PlanError(f"topic {topic.id!r} is named twice", "name each topic once")
        chosen[topic.id] = (topic, _weight(item, weight) if colon else 1.0)
    if not chosen:
        raise PlanError("no topic was named", f"topics: {', '.join(topic.id for topic in topics(language))}")
    if not sum(weight for _, weight in chosen.values()):
        raise PlanError("the weights of the topics sum to 0", "give at least one a weight above 0")
    return list(chosen.values())


def _weight(item: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise PlanError(f"the weight in {item!r} is not a number of at least 0", "write it as math:2")
    return weight


@functools.cache
def _data() -> dict[str, Any]:
    text = resources.files("localsynth.methods.prompts").joinpath("topics.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
