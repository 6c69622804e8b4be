"""The dataset card: a README.md with the front matter the Hub reads. Everything from a model or a file is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localsynth.export.base import ExportResult

# The Hub takes these names in `license`; anything else is "other" with a name of its own.
_LICENCES = frozenset({
    "apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "gemma", "llama2",
    "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "odc-by", "openrail", "bigscience-bloom-rail-1.0",
})  # fmt: skip
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SPLITS = {"train.jsonl": "train", "valid.jsonl": "validation", "test.jsonl": "test"}
# All but printable text: controls, line ends, zero-width and bidirectional marks, surrogates, private use.
_UNPRINTABLE = re.compile(
    "[^\\x20-\\x7e\\u00a0-\\u200a\\u2010-\\u2027\\u2030-\\u205f\\u2070-\\ud7ff\\uf900-\\ufdcf\\ufdf0-\\ufefe"
    "\\uff00-\\uffef\\ufffd\\U00010000-\\U0010fffd]"
)


@dataclass(frozen=True, slots=True)
class CardModel:
    """A model that wrote rows. `licence` is None where it is not known; `note` is what it says about outputs."""

    name: str
    roles: tuple[str, ...]
    licence: str | None = None
    revision: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class CardRun:
    """One run whose rows are in the data. `sampling` has one line a mix entry; `rejected` counts by rule."""

    number: int
    id: str
    method: str
    seed: int
    kept: int
    sampling: tuple[str, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    source: str | None = None


@dataclass(frozen=True, slots=True)
class CardSource:
    """What the card tells beside the counts. `command` makes the export again from the same store.

    `thresholds`: scores with the bounds in force, in words.
    """

    title: str
    command: str
    version: str
    runs: tuple[CardRun, ...] = ()
    models: tuple[CardModel, ...] = ()
    languages: tuple[str, ...] = ()
    selection: str = "kept rows"
    thinking: str = ""
    thresholds: tuple[tuple[str, str], ...] = ()


def render(source: CardSource, result: ExportResult, counts: Sequence[tuple[str, int, str]]) -> str:
    """The whole card. `counts`: (file name, rows, sha256) of each data file; none while nothing is written yet."""
    return "\n".join([*_front(source, result, counts), *_body(source, result, counts)]) + "\n"


def code(text: str) -> str:
    """Foreign text as a code span: one line, no control characters, and no backtick that could end it."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|")  # a bar would end a table's cell


def quoted(text: str) -> str:
    """A YAML double-quoted scalar on one line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_UNPRINTABLE.sub(lambda m: _escape(m[0]), escaped)}"'


def _escape(character: str) -> str:
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        return "\ufffd"
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def licence(models: Sequence[CardModel]) -> tuple[str, str | None]:
    """(`license`, `license_name`) for the front matter: "other" when unknown, unlisted or mixed."""
    known = {model.licence.lower() for model in models if model.licence}
    if len(known) == 1 and all(model.licence for model in models) and known <= _LICENCES:
        return known.pop(), None
    return "other", "see-the-models" if models else None


def _front(source: CardSource, result: ExportResult, counts: Sequence[tuple[str, int, str]]) -> list[str]:
    name, other = licence(source.models)
    size = next((label for limit, label in _SIZES if result.count < limit), "n>1M")
    lines = ["---", f"pretty_name: {quoted(source.title)}", f"license: {name}"]
    lines += [f"license_name: {other}"] if other else []
    lines += ["language:", *(f"- {quoted(code)}" for code in source.languages)] if source.languages else []
    lines += ["task_categories:", "- text-generation", "size_categories:", f"- {size}"]
    lines += ["tags:", "- synthetic", "- localsynth"]
    lines += ["- magpie"] if any(run.method == "magpie" for run in source.runs) else []
    lines += ["configs:", "- config_name: default", "  data_files:"] if counts else []
    for file, _, _ in counts:
        lines += [f"  - split: {_SPLITS.get(file, 'train')}", f"    path: {quoted(file)}"]
    return [*lines, "---", ""]


def _body(source: CardSource, result: ExportResult, counts: Sequence[tuple[str, int, str]]) -> list[str]:
    lines = [f"# {code(source.title)}", ""]
    lines += [f"{result.count} rows in the format `{result.format}` ({source.selection}). {source.thinking}".rstrip()]
    lines += ["", "| file | rows | sha256 |", "|---|---|---|"] if counts else []
    lines += [f"| {code(file)} | {count} | `{digest}` |" for file, count, digest in counts]
    if source.thresholds:
        lines += ["", "## Thresholds", "", "Rows outside these bounds are rejected, unless a person kept them.", ""]
        lines += ["| score | bounds |", "|---|---|"]
        lines += [f"| {code(score)} | {bounds} |" for score, bounds in source.thresholds]
    lines += ["", "## Models", ""]
    if source.models:
        lines += ["| model | wrote | licence | revision |", "|---|---|---|---|"]
        for model in source.models:
            known = code(model.licence) if model.licence else "not known"
            revision = code(model.revision) if model.revision else ""
            lines.append(f"| {code(model.name)} | {', '.join(model.roles)} | {known} | {revision} |")
        lines += ["", "What a model wrote may be used only as that model's licence allows.", ""]
        lines += [f"- {code(model.name)}: {code(model.note)}" for model in source.models if model.note]
    else:
        lines += ["No model is on record for these rows."]
    lines += ["", "## How the rows were made", ""]
    for run in source.runs:
        seed = f", seed {run.seed}" if run.source is None else f", from {code(run.source)}"
        lines += [f"### Run {run.number} ({run.id})", "", f"Method {code(run.method)}{seed}; {run.kept} rows kept.", ""]
        lines += [*(f"- {line}" for line in run.sampling), ""] if run.sampling else []
        if run.rejected:
            lines += ["| rejected by | rows |", "|---|---|"]
            lines += [f"| {code(rule)} | {count} |" for rule, count in run.rejected.items()]
            lines += [""]
    lines += ["## Make it again", "", "From the same store:", "", *_fenced(source.command), ""]
    return [*lines, f"Written by localsynth {source.version}."]


def _fenced(text: str) -> list[str]:
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", line, fence]


def card_path(path: Path, *, folder: bool) -> Path:
    """README.md inside a folder, NAME.README.md beside a file."""
    return path / "README.md" if folder else path.with_name(f"{path.name}.README.md")
