"""Marks of a turn that holds what it should not: control tokens, reasoning, another role's turn, an answer.

Every check first looks for a plain substring, so that a clean text costs no regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final

from localsynth.filters.findings import Finding, excerpt

_GENERIC_CONTROL = re.compile(
    r"<\|[\w.:/-]{1,40}\|>|<｜[\w▁.:/-]{1,40}｜>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_(?:turn|image|text)>"
    r"|<(?:bos|eos|pad|unk)>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]",
)
_THINKING_TAG = re.compile(
    r"</?(?:think(?:ing)?|reasoning|reflection|scratchpad)>|\[/?THINK\]|◁/?think▷",
    re.IGNORECASE,
)
_THINKING_START = re.compile(
    r"(?:okay|ok|alright|hmm|well)[,.]?\s+(?:so,?\s+)?(?:the user\b|let me think|so i need to figure)"
    r"|the user (?:wants|asks|asked|is asking|has asked|just said)\b|we need to (?:respond|answer|produce) "
    r"|analysis(?:we|the|user)\b|(?:好的|嗯)[，,]\s*(?:用户|我(?:现在)?(?:需要|得|来))|用户(?:想要?|要求)我",
    re.IGNORECASE,
)


@lru_cache(maxsize=8)
def _exact_control(strings: tuple[str, ...]) -> tuple[frozenset[str], re.Pattern[str] | None]:
    named = sorted({string for string in strings if string.strip()}, key=len, reverse=True)
    if not named:
        return frozenset(), None
    return frozenset(string[0] for string in named), re.compile("|".join(map(re.escape, named)))


def control_token(text: str, strings: Iterable[str] = ()) -> Finding | None:
    """A control string of the model's own format, or one that looks like another model's."""
    firsts, exact = _exact_control(tuple(strings))
    found = exact.search(text) if exact and any(first in text for first in firsts) else None
    if found is None and ("<" in text or "[" in text):
        found = _GENERIC_CONTROL.search(text)
        # Strikethrough in HTML comes in pairs; a lone end-of-text mark does not.
        if found is None and "</s>" in text and text.count("<s>") != text.count("</s>"):
            found = re.search("</s>", text)
    if found is None:
        return None
    token = found.group()
    return Finding("control_tokens", False, None, f"contains the control token {token}", excerpt(text, *found.span()))


def thinking(text: str) -> Finding | None:
    """Reasoning that leaked into the text: tags anywhere, or its usual first words."""
    found = _THINKING_TAG.search(text) if "<" in text or "[" in text or "◁" in text else None
    found = found or _THINKING_START.match(text)
    if found is None:
        return None
    return Finding("thinking", False, None, "contains the model's reasoning", excerpt(text, *found.span()))


# What may stand before a label at the start of a line: headings, lists, quotes, bold.
_LINE = r"(?:^|\n)[ \t]*(?:[#*>|]+[ \t]*)?"
_COLON = r"[ \t]*(?:\*\*)?[:：]"
_ROLE_WORDS: Final = (
    "assistant", "ai:", "bot:", "chatgpt", "gpt:", "助手", "助理", "人工智能", "アシスタント", "ai：",
)  # fmt: skip
_ROLE_LINE = re.compile(
    rf"{_LINE}(?:assistant|ai(?: assistant)?|(?:chat)?bot|chatgpt|gpt|助手|助理|人工智能(?:助手)?|アシスタント)"
    rf"{_COLON}|(?:^|\n)(?:#+[ \t]*)?assistant[ \t]*(?:\n|$)|(?<=[.?!。？！])assistant\n",
    re.IGNORECASE,
)
_USER_WORDS: Final = ("user", "human", "用户", "ユーザー")
_USER_LINE = re.compile(rf"\n[ \t]*(?:[#*>]+[ \t]*)?(?:user|human|用户|ユーザー){_COLON}", re.IGNORECASE)
_DIALOGUE = re.compile(r"dialog|conversation|\bchat\b|script|transcript|interview|对话|聊天|会話", re.IGNORECASE)
_SPEAKER_LINE = re.compile(r"\n[ \t]*[^\W\d_][\w ]{0,20}[:：]")


def role_marker(text: str, lower: str) -> Finding | None:
    """The assistant's turn played inside the user's: a line that begins with its name.

    A dialogue that the text announces and in which somebody spoke before is a quotation.
    """
    if not any(word in lower for word in _ROLE_WORDS):
        return None
    found = _ROLE_LINE.search(text)
    if found is None:
        return None
    if _DIALOGUE.search(text, 0, found.start()) and _SPEAKER_LINE.search(text, 0, found.start()):
        return None
    return Finding("role_marker", False, None, "plays the assistant's turn as well", excerpt(text, *found.span()))


def played_turn(text: str, lower: str, question: str) -> Finding | None:
    """An answer that goes on to write the user's next turn, unless a dialogue was asked for."""
    if not any(word in lower for word in _USER_WORDS):
        return None
    found = _USER_LINE.search(text)
    if found is None or _DIALOGUE.search(question):
        return None
    return Finding("role_marker", False, None, "plays the user's next turn", excerpt(text, *found.span()))


def ends_of(text: str) -> str:
    """What the marker rules read of a text: all of it, or the two ends of one that no person would have typed."""
    if len(text) <= 2 * _END_CHARACTERS:
        return text
    return text[:_END_CHARACTERS] + "\n" + text[-_END_CHARACTERS:]


_END_CHARACTERS: Final = 10_000
_LABEL_WORDS: Final = ("answer", "response", "solution", "\na", " a:", "答", "解：", "解:", "回复", "回应")
_ANSWER_LABEL = re.compile(
    rf"(?:{_LINE}|(?<=[.?!。？！:]) )(?:the |correct |final |my |your )?"
    rf"(?P<word>answer|response|solution|a|答案|回答|答|解答|解|回复|回应){_COLON}(?:\*\*)?[ \t]*(?P<rest>[^\n]*)",
    re.IGNORECASE,
)
_QUESTION_LABEL = re.compile(
    rf"{_LINE}(?:question|q|问题|问|problem|task)[ \t]*\d*[ \t]*[:：.]",
    re.IGNORECASE,
)
# Worked examples show answers on purpose.
_EXAMPLES = re.compile(
    r"examples?\s*\d*\s*[:：]|follow(?:ing)? (?:the |this |these )?examples?|(?:output|answer|response) format"
    r"|示例|范例|例子?[:：]|格式",
    re.IGNORECASE,
)
# "Answer: yes or no", "Answer: [one word]", "Response: in French": the label says how to answer.
_CONSTRAINT = re.compile(
    r"\bor\b|/|[<\[{(_]|\.\.\.|…|或|[？?]$|请|需|应|用"
    r"|^(?:only|in|with|using|as|use|yes|no more|must|should|please|a single|one|by|at least|provide|write|give|choose"
    r"|pick|select|explain|what|how|why|your)\b",
    re.IGNORECASE,
)
_MOST_LABELS: Final = 20
_SENTENCE_WORDS: Final = (
    "the answer", "solution", "correct answer", "sure", "certainly", "of course", "absolutely", "是", "为",
)  # fmt: skip
_ANSWER_SENTENCE = re.compile(
    r"[?？][\"”')]*\s+(?:the (?:correct )?(?:answer|solution) (?:is|would be)\b|(?:答案|正确答案)(?:是|为))"
    r"|(?:^|\n|[.?!]\s)(?:sure|certainly|of course|absolutely)[,!.]\s*"
    r"(?:here(?:['’]s| is| are)\b|i(?:['’]d|['’]ll| can) )"
    r"|(?:^|\n|[。？！])(?:当然|好的|没问题)[，,！!。]?\s*(?:以下是|这是|下面是|这里是)",
    re.IGNORECASE,
)


def answer_leak(text: str, lower: str) -> Finding | None:
    """An answer written inside the question. A label that only says how to answer is none."""
    span: tuple[int, int] | None = None
    if any(word in lower for word in _LABEL_WORDS):
        labels = islice(_ANSWER_LABEL.finditer(text), _MOST_LABELS)
        span = next((label.span() for label in labels if _answers(text, label)), None)
    if span is None and any(word in lower for word in _SENTENCE_WORDS):
        sentence = _ANSWER_SENTENCE.search(text)
        span = sentence.span() if sentence else None
    if span is None:
        return None
    return Finding("answer_leak", False, None, "answers its own question", excerpt(text, *span))


def _answers(text: str, label: re.Match[str]) -> bool:
    rest = label.group("rest").strip()
    before = text[: label.start()].rstrip()
    if not before or _CONSTRAINT.search(rest) or _EXAMPLES.search(before):
        return False
    if label.group("word").lower() == "a" and not before.endswith(("?", "？")) and not _QUESTION_LABEL.search(before):
        return False
    # Worked examples before the real question are a prompt; an empty label at the very end is another rule's matter.
    return _QUESTION_LABEL.search(text, label.end()) is None and bool(rest or text[label.end() :].strip())
