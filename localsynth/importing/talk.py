"""Conversations: lists of turns under any of the role and key names in use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from localsynth.importing.base import Message, Unfit, shown
from localsynth.records import Role

_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
}  # fmt: skip
_CALLS = frozenset({"function_call", "tool_call"})
_RESULTS = frozenset({"observation", "tool", "function", "tool_response", "function_response", "ipython"})
_THINKING = re.compile(r"\A\s*<think>\n?(.*?)\n?</think>\s*", re.DOTALL)
_BELLE = re.compile(r"(?:\A|\n)[ \t]*(Human|Assistant)[ \t]*[:：]")


def conversation(items: object) -> tuple[Message, ...]:
    """Turns of role/content or from/value, or XTuner's system/input/output. Unfit when one of them cannot be used."""
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        raise Unfit("the conversation has no turns")
    found: list[Message] = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, Mapping):
            raise Unfit(f"turn {number} is not an object")
        if "input" in item or "output" in item:
            found += _xtuner(item)
            continue
        turn = _turn(item, number)
        if found and _is_result(turn) and _is_result(found[-1]):  # several calls are answered in one user turn
            turn = Message("user", f"{found.pop().content}\n{turn.content}")
        found.append(turn)
    return tuple(found)


def alternating(texts: Sequence[str]) -> tuple[Message, ...]:
    """UltraChat's list of texts, the user's first."""
    return tuple(answer(text) if number % 2 else Message("user", text) for number, text in enumerate(texts))


def belle(instruction: str) -> tuple[Message, ...] | None:
    """BELLE's dialogue inside one text (`Human:...Assistant:...`), None when it is no dialogue.

    An empty assistant turn at the end, which asks for the answer, is left out.
    """
    marks = list(_BELLE.finditer(instruction))
    if len(marks) < 2 or marks[0].start() != 0 or marks[0][1] != "Human":
        return None
    found: list[Message] = []
    for mark, end in zip(marks, [*(later.start() for later in marks[1:]), len(instruction)], strict=True):
        text = instruction[mark.end() : end].strip()
        found.append(answer(text) if mark[1] == "Assistant" else Message("user", text))
    if not found[-1].content:
        found.pop()
    return tuple(found) if all(message.content for message in found) else None


def answer(text: str, thinking: str | None = None) -> Message:
    """An assistant turn; reasoning that stands in `<think>` tags before the answer is kept apart."""
    if thinking is None and (match := _THINKING.match(text)):
        return Message("assistant", text[match.end() :], match[1], text)
    return Message("assistant", text, thinking)


def _turn(item: Mapping[str, object], number: int) -> Message:
    name = item.get("role", item.get("from"))
    role = str(name).strip().lower()
    text = _text(item.get("content", item.get("value")), number)
    if calls := item.get("tool_calls"):
        text = "\n".join(filter(None, (text, _calls(calls, number))))
    elif text is None:
        raise Unfit(f"turn {number} has no text")
    if role in _RESULTS:
        return Message("user", f"<tool_response>\n{text}\n</tool_response>", raw=text)
    if role in _CALLS:
        return Message("assistant", f"<tool_call>\n{text}\n</tool_call>", raw=text)
    if role not in _ROLES:
        raise Unfit(f"turn {number} has the unknown role {shown(str(name), 30)!r}")
    if _ROLES[role] == "assistant":
        thinking = next((item[key] for key in ("thinking", "reasoning_content", "reasoning") if item.get(key)), None)
        return answer(str(text), thinking if isinstance(thinking, str) else None)
    return Message(_ROLES[role], str(text))


def _is_result(message: Message) -> bool:
    return message.role == "user" and message.content.startswith("<tool_response>\n")


def _text(content: object, number: int) -> str | None:
    """A text, or a list of text parts; None stays None."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts))
    raise Unfit(f"turn {number} holds something other than text")


def _calls(calls: object, number: int) -> str:
    """Tool calls as most open chat templates write them: JSON in <tool_call> tags."""
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise Unfit(f"the tool calls of turn {number} are not a list")
    blocks = []
    for call in calls:
        function = call.get("function", call) if isinstance(call, Mapping) else call
        blocks.append(f"<tool_call>\n{json.dumps(function, ensure_ascii=False, default=str)}\n</tool_call>")
    return "\n".join(blocks)


def _xtuner(item: Mapping[str, object]) -> list[Message]:
    found: list[Message] = []
    for key, role in (("system", "system"), ("input", "user"), ("output", "assistant")):
        text = item.get(key)
        if text is not None and not isinstance(text, str):
            raise Unfit(f"{key} is not a text")
        if text:
            found.append(answer(text) if role == "assistant" else Message(_ROLES[role], text))
    return found
