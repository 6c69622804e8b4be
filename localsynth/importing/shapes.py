"""From one record of any known data set shape to messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from localsynth.importing.base import ImportedRow, Message, Unfit, UnknownShape
from localsynth.importing.talk import alternating, answer, belle, conversation

# Said to a person whose file has another shape.
KNOWN = (
    "messages, conversations or conversation (lists of turns), data (a list of texts), instruction, prompt or question "
    "with or without an answer, chosen with rejected"
)
_TALKS = ("messages", "conversations", "conversation")
_QUESTIONS = ("instruction", "prompt", "question")
_ANSWERS = ("output", "response", "completion", "answer")
_LABELS = ("label", "kto_tag")


def parse(record: object, source: str, line: int) -> ImportedRow:
    """One row. UnknownShape: no such shape; Unfit: a shape we know, but nothing to train on."""
    if not isinstance(record, Mapping):
        raise UnknownShape([])
    used: set[str] = set()
    messages = _messages(record, used)
    chosen, rejected = _preference(record, used)
    if chosen is not None:
        if messages and messages[-1].role == "assistant":
            messages = messages[:-1]
        messages = (*messages, answer(chosen))
    messages = _with_thinking(messages, record, used)
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise Unfit("there is no user turn with text")
    label = next((record[key] for key in _LABELS if isinstance(record.get(key), bool)), None)
    used |= {key for key in _LABELS if label is not None}
    extra = {str(key): value for key, value in record.items() if key not in used and value not in (None, "", [], {})}
    return ImportedRow(messages, source, line, extra, chosen, rejected, label if isinstance(label, bool) else None)


def _messages(record: Mapping[str, object], used: set[str]) -> tuple[Message, ...]:
    key = next((key for key in _TALKS if isinstance(record.get(key), list) and record[key]), None)
    if key:
        talk = _under_system(record, conversation(record[key]))
        said = {message.content for message in talk}
        used |= {*_TALKS, "system"} | {
            name for name, value in record.items() if isinstance(value, str) and value in said
        }
        return talk
    data = record.get("data")
    if isinstance(data, list) and data and all(isinstance(text, str) for text in data):
        used.add("data")
        return alternating(data)
    if isinstance(record.get("prompt"), list):
        used |= {"prompt", "completion"}
        completion = record.get("completion")
        return conversation(record["prompt"]) + (conversation(completion) if completion else ())
    question = next((key for key in _QUESTIONS if isinstance(record.get(key), str)), None)
    if question:
        return _pair(record, question, used)
    if "input" in record and isinstance(record["input"], str) and any(name in record for name in _ANSWERS):
        return _pair(record, "input", used)
    if "chosen" in record and "rejected" in record:
        return _shared_beginning(record)
    if any(name in record for name in _TALKS):
        raise Unfit("the conversation has no turns")
    raise UnknownShape([str(key) for key in record])


def _pair(record: Mapping[str, object], key: str, used: set[str]) -> tuple[Message, ...]:
    """Alpaca and its kin. `input` follows the instruction on the next line, as LLaMA-Factory joins them."""
    used |= {key, "system", "history"}
    question = str(record[key])
    context = record.get("input")
    if key == "instruction" and isinstance(context, str):
        used.add("input")
        question = f"{question}\n{context}" if context else question
    instances = record.get("instances")
    if isinstance(instances, list) and instances and isinstance(instances[0], Mapping):
        return _pair({key: question, **instances[0]}, key, set())  # Self-Instruct: the first of a task's examples
    reply = next((name for name in _ANSWERS if record.get(name)), None)
    talk: tuple[Message, ...] = belle(question) or (Message("user", question),)
    if reply:
        used.add(reply)
        text = record[reply]
        if not isinstance(text, str):
            raise Unfit(f"{reply} is not a text")
        talk = (*talk, answer(text))
    return _under_system(record, _history(record.get("history")) + talk)


def _history(history: object) -> tuple[Message, ...]:
    found: list[Message] = []
    for pair in history if isinstance(history, list) else ():
        if not isinstance(pair, Sequence) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise Unfit("history is not a list of pairs of texts")
        found += [Message("user", pair[0]), answer(pair[1])]
    return tuple(found)


def _under_system(record: Mapping[str, object], talk: tuple[Message, ...]) -> tuple[Message, ...]:
    system = record.get("system", record.get("system_prompt"))
    if isinstance(system, str) and system and not (talk and talk[0].role == "system"):
        return (Message("system", system), *talk)
    return talk


def _preference(record: Mapping[str, object], used: set[str]) -> tuple[str | None, str | None]:
    """Texts of the better and the worse answer: a text, a turn, or a list that ends with the answer."""
    if "chosen" not in record or "rejected" not in record:
        return None, None
    used |= {"chosen", "rejected"}
    texts = []
    for key in ("chosen", "rejected"):
        value = record[key]
        if isinstance(value, Mapping):
            value = [value]
        text = value if isinstance(value, str) else conversation(value)[-1].content
        if not text:
            raise Unfit(f"{key} is empty")
        texts.append(text)
    return texts[0], texts[1]


def _shared_beginning(record: Mapping[str, object]) -> tuple[Message, ...]:
    """The prompt of a preference that gives two whole conversations."""
    chosen, rejected = record["chosen"], record["rejected"]
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise Unfit("chosen and rejected come without a prompt")
    better, worse = conversation(chosen), conversation(rejected)
    same = 0
    while same < min(len(better), len(worse)) - 1 and better[same] == worse[same]:
        same += 1
    return better[:same]


def _with_thinking(messages: tuple[Message, ...], record: Mapping[str, object], used: set[str]) -> tuple[Message, ...]:
    """Our own Parquet keeps the reasoning of all turns in one column."""
    column = record.get("thinking")
    if not isinstance(column, list) or len(column) != len(messages):
        return messages
    used.add("thinking")
    return tuple(
        replace(message, thinking=thought) if isinstance(thought, str) else message
        for message, thought in zip(messages, column, strict=True)
    )
