"""What a job says of its models: what writes at home, and the chat formats that must be the same elsewhere."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localsynth import paths
from localsynth.backends.base import BackendInfo
from localsynth.backends.gguf import read_facts
from localsynth.backends.tokenizer import read_tokenizer
from localsynth.backends.weights import digest
from localsynth.catalog import ResolvedModel
from localsynth.chat import DEFAULT, ChatFormat, derive
from localsynth.chat.parts import differing, parts
from localsynth.config import Plan
from localsynth.errors import ModelError, TemplateRefused
from localsynth.records import SpecialTokens

_PATH = re.compile(r"[/~.\\]|[A-Za-z]:[/\\]|.*\\")  # of any system: OWNER/NAME of a repository is none


@dataclass(frozen=True, slots=True)
class HomeModel:
    """A model as it is at home. `model` is a name that means the same on every machine: of the catalogue, or of a
    repository; `file` when it has neither, and the other machine must be told where its own is."""

    model: str
    backend: str
    template: str | None
    tokens: SpecialTokens = field(default_factory=SpecialTokens)
    file: str = ""
    repository: str | None = None
    revision: str | None = None
    sha256: str | None = None
    quantisation: str | None = None

    def format(self, system: str | None, date: dt.date | None) -> ChatFormat:
        """Its chat format; `system` None is the template's own. ModelError for a base model."""
        if self.template is None:
            raise ModelError(f"{self.model or self.file} carries no chat template", "choose an instruct or chat model")
        return derive(self.template, self.tokens, system=DEFAULT if system is None else system, date=date)


def from_files(found: ResolvedModel) -> HomeModel:
    """From the files of a model, read without loading its weights."""
    path, card = found.path, found.card
    name = card.id if card else _repository(path) or ""
    if found.kind == "gguf":
        facts = read_facts(path)
        source = card.gguf.repo if card and card.gguf else None
        return HomeModel(
            name, "llamacpp", facts.template, facts.tokens, path.name, source or _repository(path), found.revision,
            digest(path), facts.quantisation,
        )  # fmt: skip
    tokenizer = read_tokenizer(path)
    return HomeModel(
        name, "mlx" if found.kind == "mlx" else "vllm", tokenizer.template, tokenizer.tokens, path.name,
        _repository(path), found.revision,
    )  # fmt: skip


def from_info(info: BackendInfo) -> HomeModel:
    """From a backend that is open: a server's, or the scripted one.

    A server may name a model by its path on this machine: what leaves it is the last part, as of any file.
    """
    path = bool(_PATH.match(info.model))
    return HomeModel(
        "" if path else info.model, info.name, info.template, info.tokens,
        file=re.split(r"[/\\]", info.model.rstrip("/\\"))[-1] if path else "",
        revision=info.revision, sha256=info.sha256, quantisation=info.quantisation,
    )  # fmt: skip


def describe_home(home: HomeModel, plan: Plan, server: ResolvedModel | None) -> dict[str, Any]:
    """A role's entry in the job. `server`: the model that is meant to run there, where it is here to be checked.

    TemplateRefused when the two do not write the same turns.
    """
    formats = [{"system": number, "parts": parts(fmt, home.tokens)} for number, fmt in _formats(home, plan).items()]
    found: dict[str, Any] = {
        "model": home.model or home.file,
        "backend": home.backend,
        "repository": home.repository,
        "revision": home.revision,
        "file": home.file,
        "sha256": home.sha256,
        "quantisation": home.quantisation,
        "template_hash": home.format(None, _date(plan)).template_hash,
        "formats": formats,
    }
    if server is not None:
        other = from_files(server)
        for number, fmt in _formats(other, plan).items():
            known = next(entry for entry in formats if entry["system"] == number)
            if wrong := differing(known["parts"], fmt, other.tokens):  # type: ignore[arg-type]
                raise TemplateRefused(
                    f"{server.path.name} does not write its turns as {home.model or home.file}: {wrong[0][:200]}",
                    "choose files of the same model for both machines",
                )
        found |= {"server": {"model": other.model, "repository": other.repository, "revision": other.revision}}
    return found


def _formats(model: HomeModel, plan: Plan) -> dict[int | None, ChatFormat]:
    """By the number of the system prompt in the plan; None is the template's own."""
    date = _date(plan)
    found: dict[int | None, ChatFormat] = {None: model.format(None, date)}
    return found | {number: model.format(system.text or None, date) for number, system in enumerate(plan.systems)}


def _date(plan: Plan) -> dt.date | None:
    return dt.date.fromisoformat(plan.date) if plan.date else None


def _repository(path: Path) -> str | None:
    """The repository that `models pull` took a file or a folder from."""
    for folder in (path, *path.parents):
        if folder.parent == paths.models_dir() and "--" in folder.name:
            return folder.name.replace("--", "/", 1)
    return None
