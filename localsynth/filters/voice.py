"""Whose voice a turn speaks with: a user's turn that greets or refuses like an assistant, an answer that refuses."""

from __future__ import annotations

import re
from typing import Final

from localsynth.filters.findings import Finding, excerpt

# Refusals stand at the beginning; further in, such words belong to a letter, a story or a caveat.
_OPENING_CHARACTERS: Final = 300
_ABLE = (
    "(?:assist|help(?! but)|provide|fulfil|comply|do that|do this|answer|generate|create|write|engage|complete|support"
    "|discuss|access|browse|offer|share|continue|participate|produce|perform|process|view|open|respond|give you"
    "|tell you)"
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
    r"(?:i(?:'m| am) (?:not |un)|i (?:do not|don't|cannot|can'?t|have no|lack|am not))"
    r"|(?:[^.\n]{0,40}, )?i(?:'m| am) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"[^.\n]{0,60}?\b(?:not|cannot|can't|don't|unable)\b"
    r"|(?:很|非常|十分|深感|实在)?(?:抱歉|对不起|不好意思|遗憾)[^。！!\n]{0,30}?"
    r"(?:无法|不能|没有办法|没办法|不具备|没有能力|不可以)"
    r"|(?:作为|身为)(?:一个|一名|一款)?(?:人工智能|ai|语言模型|大型语言模型)[^。\n]{0,12}?[，,]?\s*"
    r"(?:我(?:目前|暂时|并|还)?(?:无法|不能|没有|不具备|不会)|无法|不能|没有)"
    r"|我(?:只)?是(?:一个|一名|一款)?(?:人工智能|ai|语言模型)[^。\n]{0,30}?(?:无法|不能|没有)"
    r"|我(?:无法|不能)(?:提供|回答|协助|帮助|满足|完成|生成|访问)"
    r"|申し訳(?:ありません|ございません)[^。\n]{0,30}?(?:できません|お答え|いたしかね)|aiとして|죄송하지만|ai로서"
)
# What follows a refusal that is only a caveat, and how much must follow.
_TURNS = re.compile(
    r"\b(?:however|nevertheless|instead|that said|but (?:here|i can|i'll|i'd|i will|based|let)"
    r"|i can (?:offer|provide|suggest|help|give|describe|tell|share)|here (?:is|are)|here's)\b"
    r"|但|然而|不过|我可以|可以提供"
)
_TURN_CHARACTERS: Final = 160
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
    r"|i(?:'m| am) (?:just )?an? (?:ai|artificial intelligence)\b[\w -]{0,30}\b(?:assistant|language model|chatbot)\b"
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
    """An answer that refuses. One that names a limit and then answers all the same only informs."""
    found = _refused(_opening(text))
    if found is None:
        return None
    detail = excerpt(text, *found.span())
    turn = _TURNS.search(text[: 4 * _OPENING_CHARACTERS].lower().replace("’", "'"), found.end())
    # A Han character says as much as three letters.
    rest = text[turn.end() :] if turn else ""
    if len(rest) + 2 * sum(1 for character in rest[:_TURN_CHARACTERS] if character > "⺀") >= _TURN_CHARACTERS:
        return Finding("refusal", None, None, "names a limit of the model, then answers", detail)
    return Finding("refusal", False, None, "refuses to answer", detail)


def _opening(text: str) -> str:
    return text[:_OPENING_CHARACTERS].lower().replace("’", "'")


def _refused(opening: str) -> re.Match[str] | None:
    if not any(word in opening for word in _REFUSAL_WORDS):
        return None
    return _REFUSAL.match(opening)
