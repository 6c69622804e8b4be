"""Whose voice a turn speaks with: a user's turn that greets or refuses like an assistant, an answer that refuses."""

from __future__ import annotations

import re
from typing import Final

from localsynth.filters.findings import Finding, excerpt

# Refusals stand at the beginning; further in, such words belong to a letter, a story or a caveat.
_OPENING_CHARACTERS: Final = 300
# An answer of this length that begins with a limit of the model goes on to answer.
_GOES_ON_CHARACTERS: Final = 600

_ABLE = (
    "(?:assist|help|provide|fulfil|comply|do that|do this|answer|generate|create|write|engage|complete|support|discuss"
    "|access|browse|offer|share|continue|participate|produce|perform|process|view|open|respond|give you|tell you)"
)
_CANNOT = (
    r"(?:\bi (?:cannot|can'?t|can not|won't|will not|could not)"
    r"|\bi(?:'m| am) (?:not able|unable|not comfortable|not programmed|not allowed)(?: to)?)"
)
# All patterns read lower case with straight apostrophes.
_REFUSAL = re.compile(
    r"[\"“]?(?:i(?:'m| am)(?: really| very| truly| so)? sorry|(?:my |sincere )?apolog\w+|sorry|unfortunately|i regret)?"
    rf"[^.\n]{{0,60}}?{_CANNOT}\s(?:\w+ ){{0,2}}?{_ABLE}\b"
    r"|[^.\n]{0,20}?\bas an? (?:ai|artificial intelligence|language model)[^.\n]{0,40}?,?\s+"
    r"i(?:'m| am| do| don't| cannot| can'?t| have)\b"
    r"|(?:[^.\n]{0,40}, )?i(?:'m| am) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|(?:很|非常|十分|深感|实在)?(?:抱歉|对不起|不好意思|遗憾)[^。！!\n]{0,30}?"
    r"(?:无法|不能|没有办法|没办法|不具备|没有能力|不可以)"
    r"|(?:作为|身为)(?:一个|一名|一款)?(?:人工智能|ai|语言模型|大型语言模型)[^。\n]{0,12}?[，,]?\s*(?:我|无法|不能|没有)"
    r"|我(?:只)?是(?:一个|一名|一款)?(?:人工智能|ai|语言模型)|我(?:无法|不能)(?:提供|回答|协助|帮助|满足|完成|生成|访问)"
    r"|申し訳(?:ありません|ございません)[^。\n]{0,30}?(?:できません|お答え|いたしかね)|aiとして|죄송하지만|ai로서"
)
_REFUSAL_WORDS: Final = (
    "i can", "i'm ", "i am ", "i won", "i will not", "i could not", "as an ai", "as a language", "as an artificial",
    "抱歉", "对不起", "不好意思", "遗憾", "作为", "身为", "我是", "我只是", "我无法", "我不能",
    "申し訳", "aiとして", "죄송", "ai로서",
)  # fmt: skip
_GREETING = re.compile(
    r"(?:(?:hi|hello|hey|greetings|welcome|good (?:morning|day|evening)|sure|great|thanks?(?: you)?)\b[^.!?\n]{0,60}"
    r"[.!?,]?\s*){0,2}"
    r"(?:(?:how|what) (?:can|may|could) i (?:help|assist|do for) you\b"
    r"|i(?:'m| am) (?:here|ready|happy|glad) to (?:help|assist)\b"
    r"|i(?:'d| would) be (?:happy|glad|delighted) to (?:help|assist)"
    r"|please (?:provide|share)(?: me)?(?: with)? (?:more|your|the) [^.\n]{0,60}"
    r"(?:so (?:that )?i can|and i(?:'ll| will)))"
    r"|(?:您好|你好)?[！!，,。]?\s*(?:请问)?(?:有什么|我能为您|我能为你|我可以为您|我可以为你|我能帮)(?:我)?(?:可以|能)?"
    r"(?:帮|做|为)"
)


def assistant_voice(text: str) -> Finding | None:
    """A user's turn that speaks as the assistant: it greets, offers help, or refuses."""
    opening = _opening(text)
    found = _GREETING.match(opening) or _refused(opening)
    if found is None:
        return None
    return Finding("assistant_voice", False, None, "speaks as the assistant", excerpt(text, *found.span()))


def refusal(text: str) -> Finding | None:
    """An answer that refuses. One that states a limit and then answers at length only informs."""
    found = _refused(_opening(text))
    if found is None:
        return None
    detail = excerpt(text, *found.span())
    if len(text) >= _GOES_ON_CHARACTERS:
        return Finding("refusal", None, None, "names a limit of the model, then answers", detail)
    return Finding("refusal", False, None, "refuses to answer", detail)


def _opening(text: str) -> str:
    return text[:_OPENING_CHARACTERS].lower().replace("’", "'")


def _refused(opening: str) -> re.Match[str] | None:
    if not any(word in opening for word in _REFUSAL_WORDS):
        return None
    return _REFUSAL.match(opening)
