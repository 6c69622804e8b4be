"""Reading the model cards in models/*.toml, key by key checked. See models/README.md for what each key means."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from localsynth import paths
from localsynth.errors import NotFound, PlanError
from localsynth.records import Sampling

Role = Literal["generator", "judge", "reward", "guard", "encoder"]
Backend = Literal["llamacpp", "mlx", "vllm", "transformers"]
Source = Literal["hf", "gguf", "mlx"]
Grade = Literal["works", "care", "untested", "unfit"]
Quirk = Literal["default-system", "no-system", "thinking", "markdown", "one-domain", "remote-code"]

# Bits per weight as stored. Q4_0, Q4_1, Q8_0 and MLX's 4 bits in groups of 64 follow from their block layouts; for the
# mixed Q4_K_M it is the mean over two published files (5.03 for Llama-3.2-3B, 4.97 for Qwen3-4B).
BITS: Mapping[str, float] = {"q4_0": 4.5, "mlx-4bit": 4.5, "q4_1": 5.0, "q4_k_m": 5.0, "q8_0": 8.5, "f16": 16.0}
_USUAL: Mapping[Backend, str] = {"llamacpp": "q4_k_m", "mlx": "mlx-4bit", "vllm": "f16", "transformers": "f16"}
SOURCE: Mapping[Backend, Source] = {"llamacpp": "gguf", "mlx": "mlx", "vllm": "hf", "transformers": "hf"}


@dataclass(frozen=True, slots=True)
class GgufSource:
    """A repository and the pattern of the file to take from it."""

    repo: str
    pattern: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model. `parameters` in billions; `checked` names the sources whose id was seen in a public source.

    `magpie`: how the reference repository grades it for Magpie; "untested" where it says nothing, "unfit" for what
    does not generate. `pick`: we suggest it among what fits. `bits`: bits per weight where its files come in one kind.
    `ask` and `answer` are None where there is nothing better than the plan's defaults.
    """

    id: str
    family: str
    maker: str
    parameters: float
    context: int
    released: str
    licence: str
    roles: tuple[Role, ...]
    hf: str
    gguf: GgufSource | None = None
    mlx: str | None = None
    checked: frozenset[Source] = frozenset()
    magpie: Grade = "untested"
    pick: bool = False
    bits: float | None = None
    gated: bool = False
    licence_note: str = ""
    quirks: tuple[Quirk, ...] = ()
    note: str = ""
    ask: Sampling | None = None
    answer: Sampling | None = None

    def source(self, backend: Backend) -> str | None:
        """The repository this backend loads, None where there is none."""
        gguf = self.gguf.repo if self.gguf else None
        found: dict[Source, str | None] = {"hf": self.hf, "gguf": gguf, "mlx": self.mlx}
        return found[SOURCE[backend]]

    def memory_gb(self, backend: Backend, quantisation: str | None = None) -> float:
        """GB it takes when loaded: weights x 1.2 + 0.3, an estimate; see models/README.md.

        Quantised by default as it usually is for the backend; `quantisation` is a key of BITS.
        """
        usual = self.bits or BITS[_USUAL[backend]]
        bits = BITS[quantisation] if quantisation else usual
        return round(self.parameters * bits / 8 * 1.2 + 0.3, 1)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All cards, in the order of the files and of the models in them."""

    cards: tuple[ModelCard, ...]

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.cards)

    def get(self, name: str) -> ModelCard | None:
        """The card with this short id or any of its repository ids, case aside."""
        wanted = name.strip().lower()
        return next((card for card in self.cards if wanted in {n.lower() for n in _names(card)}), None)

    def find(self, name: str) -> ModelCard:
        """As `get`; NotFound offers near names."""
        if (card := self.get(name)) is not None:
            return card
        wanted = name.strip().lower()
        pool = {n.lower(): card.id for card in self.cards for n in (*_names(card), _names(card)[1].split("/")[-1])}
        near = difflib.get_close_matches(wanted, pool, n=5, cutoff=0.5)
        # A part of a name ("qwen3") says more than a small edit distance does.
        offers = dict.fromkeys([pool[n] for n in sorted(pool) if wanted and wanted in n] + [pool[n] for n in near])
        hint = f"did you mean {', '.join(list(offers)[:4])}?" if offers else "list the models: localsynth models list"
        raise NotFound(f"there is no model {name!r} in the catalogue", hint)


def load(folder: Path | None = None) -> Catalogue:
    """Every card of the catalogue; PlanError names the file and the key that is wrong."""
    return _load(folder or paths.catalogue_dir())


@functools.cache
def _load(folder: Path) -> Catalogue:
    """The files do not change while we run, and TOML is slow to read."""
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise PlanError(f"there are no model cards in {folder}", "reinstall localsynth")
    cards = [card for file in files for card in _read(file)]
    seen: dict[str, ModelCard] = {}
    for card in cards:
        if card.id in seen:
            raise PlanError(f"model {card.id!r} is in the catalogue twice", f"rename one of them in {folder}")
        seen[card.id] = card
    return Catalogue(tuple(cards))


def _names(card: ModelCard) -> tuple[str, ...]:
    return (card.id, card.hf, *(n for n in (card.mlx, card.gguf.repo if card.gguf else None) if n))


def _read(file: Path) -> Iterator[ModelCard]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"{file.name} is not a readable model card: {error}", "mend the line that is named") from None
    models = data.pop("model", None)
    if not isinstance(models, list) or not models:
        raise PlanError(f"{file.name} has no [[model]]", "see models/README.md")
    for number, own in enumerate(models, 1):
        if not isinstance(own, dict):
            raise PlanError(f"{file.name}: model {number} is not a table", "see models/README.md")
        yield _card(f"{file.name}, model {own.get('id', number)}", data | own)


def _card(where: str, data: Mapping[str, Any]) -> ModelCard:
    known = {f.name for f in fields(ModelCard)}
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise PlanError(f"{where}: unknown key {key!r}", f"did you mean {near[0]!r}?" if near else "remove it")
    for key in ("id", "family", "maker", "parameters", "context", "released", "licence", "roles", "hf"):
        if key not in data:
            raise PlanError(f"{where}: {key} is missing", "see models/README.md")
    return ModelCard(**{key: _value(f"{where}: {key}", key, value) for key, value in data.items()})


def _value(where: str, key: str, value: Any) -> Any:
    reader: Callable[[str, Any], Any] = _READERS.get(key, _text)
    return reader(where, value)


def _text(where: str, value: Any) -> str:
    return str(_typed(where, str, "a text", value))


def _flag(where: str, value: Any) -> bool:
    return bool(_typed(where, bool, "true or false", value))


def _gguf(where: str, value: Any) -> GgufSource:
    repo, _, pattern = _text(where, value).partition(":")
    if repo.count("/") != 1 or not pattern.endswith(".gguf"):
        raise PlanError(f"{where} must be OWNER/NAME:PATTERN.gguf, not {value!r}", "see models/README.md")
    return GgufSource(repo, pattern)


def _typed(where: str, kind: type, wanted: str, value: Any) -> Any:
    if not isinstance(value, kind):
        raise PlanError(f"{where} must be {wanted}, not {value!r}", "see models/README.md")
    return value


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise PlanError(f"{where} must be a number above 0, not {value!r}", "see models/README.md")
    return value


def _list(where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise PlanError(f"{where} must be a list of texts, not {value!r}", "see models/README.md")
    return value


def _one_of(where: str, kind: Any, value: Any) -> Any:
    if value not in get_args(kind):
        raise PlanError(f"{where}: {value!r} is not known", f"use one of: {', '.join(get_args(kind))}")
    return value


def _sampling(where: str, value: Any) -> Sampling:
    known = {f.name for f in fields(Sampling)}
    for key in _typed(where, dict, "a table", value):
        if key not in known:
            raise PlanError(f"{where}: unknown key {key!r}", f"use one of: {', '.join(sorted(known))}")
    avoid = tuple(_list(f"{where}.avoid_first", value.get("avoid_first", [])))
    for key, item in value.items():
        if key != "avoid_first" and (isinstance(item, bool) or not isinstance(item, int | float) or item < 0):
            raise PlanError(f"{where}.{key} must be a number of at least 0, not {item!r}", "see models/README.md")
    return replace(Sampling(**{k: v for k, v in value.items() if k != "avoid_first"}), avoid_first=avoid)


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "parameters": _number,
    "bits": _number,
    "context": lambda where, value: int(_number(where, value)),
    "pick": _flag,
    "gated": _flag,
    "roles": lambda where, value: tuple(_one_of(where, Role, item) for item in _list(where, value)),
    "quirks": lambda where, value: tuple(_one_of(where, Quirk, item) for item in _list(where, value)),
    "checked": lambda where, value: frozenset(_one_of(where, Source, item) for item in _list(where, value)),
    "magpie": lambda where, value: _one_of(where, Grade, value),
    "gguf": _gguf,
    "ask": _sampling,
    "answer": _sampling,
}
