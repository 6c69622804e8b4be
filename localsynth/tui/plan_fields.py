"""The settings of a plan as the form shows them: what each is called, what it takes, and how its value reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from localsynth.config import SERVED, BackendKind
from localsynth.printable import one_line
from localsynth.tui.draft import Draft

Kind = Literal["whole", "number", "text", "switch", "choice", "model", "sampling", "topics", "file", "list"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the form. `none`: how it reads when nothing is chosen. `shown`: whether it has a meaning now."""

    key: str
    label: str
    kind: Kind
    about: str
    none: str = ""
    choices: tuple[str, ...] = ()
    shown: Callable[[Draft], bool] = lambda _: True


def _asks(draft: Draft) -> bool:
    return str(draft.value("method")) == "magpie"


def _answers(draft: Draft) -> bool:
    return not draft.value("instructions_only")


def _served(role: str, asked: Callable[[Draft], bool]) -> Callable[[Draft], bool]:
    return lambda draft: asked(draft) and (_on_server(role, draft) or bool(draft.given(f"{role}.servers")))


def _on_server(role: str, draft: Draft) -> bool:
    return str(draft.value(f"{role}.backend")) in SERVED


def _role(role: str, asked: Callable[[Draft], bool]) -> tuple[Setting, ...]:
    who, one = ("asks", "question") if role == "ask" else ("answers", "answer")
    starter = "built-in starter"
    return (
        Setting(f"{role}.model", "Model", "model", f"Who {who}: what is here, on a server, or to be pulled.", starter,
                shown=asked),
        Setting(f"{role}.backend", "Run by", "choice", "What runs the model; auto follows from it.",
                choices=get_args(BackendKind), shown=asked),
        Setting(f"{role}.servers", "Servers", "list", "Addresses such as http://127.0.0.1:8000/v1, commas between.",
                "none", shown=_served(role, asked)),
        Setting(f"{role}.tokenizer", "Tokenizer", "text",
                "Where the served model's template is: a folder, a GGUF file or a catalogue name.",
                "what the server tells", shown=_served(role, asked)),
        Setting(f"{role}.sampling", "Sampling", "sampling", f"How each {one} is drawn, and how long it may be.",
                "the card's own", shown=asked),
    )  # fmt: skip


GROUPS: tuple[tuple[str, tuple[Setting, ...]], ...] = (
    ("What is made", (
        Setting("method", "Questions", "choice", "magpie: the model asks itself. imported: they come from a file.",
                choices=("magpie", "imported")),
        Setting("instructions", "File", "file", "Instructions to answer: JSONL, JSON, Parquet, text, or hf:OWNER/NAME.",
                "none yet", shown=lambda draft: not _asks(draft)),
        Setting("systems", "Topics", "topics", "What the questions are about: ready topics and texts of your own.",
                "the model's own", shown=_asks),
        Setting("language", "Language", "text", "A code such as en or zh; questions in others are rejected.",
                shown=_asks),
        Setting("turns", "Turns", "whole", "User turns of a conversation, 1 to 16.", shown=_asks),
        Setting("instructions_only", "Questions only", "switch", "Write questions, no answers.", shown=_asks),
        Setting("system_in_answer", "Topic in answers", "switch",
                "Show the topic's text to the answering model too, and keep it in the data.", shown=_asks),
        Setting("seed", "Seed", "whole", "The same seed, the same rows.", "a new one"),
    )),
    ("Who asks", _role("ask", _asks)),
    ("Who answers", _role("answer", _answers)),
    ("What a question must pass", (
        Setting("gate.exact_duplicates", "Exact duplicates", "switch", "Reject a question that was asked before."),
        Setting("gate.near_duplicates", "Near duplicates", "switch", "Reject questions that mean the same as another."),
        Setting("gate.similarity", "Similarity", "number", "Cosine from which two questions mean the same.",
                shown=lambda draft: bool(draft.value("gate.near_duplicates"))),
        Setting("gate.encoder", "Encoder", "text", "Compares the meanings: a folder or a catalogue name.",
                "built in, for English", shown=lambda draft: bool(draft.value("gate.near_duplicates"))),
    )),
    ("When it stops early", (
        Setting("limits.minutes", "Minutes", "number", "Finish what is in flight, stop after this time.", "no limit"),
        Setting("limits.tokens", "Tokens", "whole", "Finish what is in flight, stop after so many.", "no limit"),
        Setting("limits.attempts", "Questions tried", "whole", "At the most.", "20 for each pair"),
    )),
    ("This machine", (
        Setting("machine.slots", "Slots", "whole", "Texts written at the same time.", "by the machine"),
        Setting("machine.context", "Context", "whole", "Tokens of a whole conversation.", "by the plan"),
        Setting("machine.threads", "Threads", "whole", "CPU threads.", "by the machine"),
        Setting("machine.gpu_layers", "GPU layers", "whole", "Layers on the GPU; -1 chooses (llama.cpp).", "none"),
        Setting("machine.memory_share", "Memory share", "number", "Part of the memory to use, 0 to 1 (MLX, vLLM).",
                "by the backend"),
    )),
)  # fmt: skip
SETTINGS: Mapping[str, Setting] = {each.key: each for _, group in GROUPS for each in group}


def reads(setting: Setting, draft: Draft) -> str:
    """The value in a few words."""
    value = draft.value(setting.key)
    special: Mapping[str, Callable[[], str]] = {
        "switch": lambda: "yes" if value else "no",
        "sampling": lambda: _sampling(draft.given(setting.key)),
        "topics": lambda: _systems(value),
        "model": lambda: _model(setting, draft),
        "list": lambda: ", ".join(map(str, value)) if isinstance(value, list | tuple) else "",
    }
    if setting.kind in special:
        return one_line(special[setting.kind](), 80) or setting.none
    if setting.key == "machine.gpu_layers" and value == -1:
        return "by the machine"
    nothing = draft.given(setting.key) is None if setting.key == "seed" else not value
    return setting.none if nothing and setting.none else one_line(_plain(value), 80)


def typed(setting: Setting, text: str) -> Any:
    """What was typed as the plan takes it; None, the usual value, for nothing. ValueError says what is wanted."""
    text = text.strip()
    if not text:
        return None
    if setting.kind == "whole":
        if not text.removeprefix("-").isdecimal():
            raise ValueError("type a whole number")
        return int(text)
    if setting.kind == "number":
        try:
            return float(text.replace(",", "."))
        except ValueError:
            raise ValueError("type a number") from None
    if setting.kind == "list":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def as_typed(setting: Setting, draft: Draft) -> str:
    """The value as one would type it."""
    value = draft.given(setting.key)
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sampling(value: Any) -> str:
    if isinstance(value, str):
        return f"{value}: the paper's mix of temperatures"
    entries = [value] if isinstance(value, Mapping) else value
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], Mapping):
        return ""
    first = ", ".join(f"{key} {_plain(item)}" for key, item in entries[0].items() if key != "weight")
    return one_line(f"{len(entries)} kinds: {first}, ..." if entries[1:] else first, 80)


def _systems(value: Any) -> str:
    found = [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []
    names = [str(each.get("topic") or "own: " + one_line(str(each.get("text", "")), 20)) for each in found]
    return one_line(", ".join(names), 80)


def _model(setting: Setting, draft: Draft) -> str:
    value = str(draft.value(setting.key))
    if value:
        return Path(value).name if "/" in value and Path(value).exists() else one_line(value, 80)
    role = setting.key.partition(".")[0]
    return "what the server has" if _on_server(role, draft) else ""
