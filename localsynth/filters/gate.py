"""The local rules in their order, for a question, an answer and a later question: cheap and decisive ones first.

Every function returns the findings up to the first that rejects; a text that passes brings the values of `length`,
`symbol_ratio` and `repetition` along. Corpus rules (duplicates) need the other rows and are the engine's to call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from localsynth.filters import heuristics, markers, voice
from localsynth.filters.duplicates import normalise
from localsynth.filters.findings import Finding, Judge, unbounded
from localsynth.filters.language import Shape, lacks_language, length_of, measure
from localsynth.filters.repetition import loop, repetition

# A language without spaces and an echo shorter than this say nothing.
_ECHO_CHARACTERS = 12
_HEAD_CHARACTERS = 4000


def check_instruction(
    text: str,
    *,
    stopped: bool = True,
    control_strings: Iterable[str] = (),
    language: str | None = None,
    earlier: Sequence[str] = (),
    judge: Judge = unbounded,
) -> list[Finding]:
    """The findings on one user turn, already sanitised.

    `stopped`: a turn-end token or text ended it, not the token limit. `language`: ISO 639-1, None accepts any.
    `earlier`: the user turns before it in the same conversation. `judge` applies thresholds to each finding.
    """
    return _until_rejected(_instruction(text, stopped, control_strings, language, earlier), judge)


def check_answer(
    text: str,
    *,
    question: str,
    stopped: bool = True,
    control_strings: Iterable[str] = (),
    language: str | None = None,
    judge: Judge = unbounded,
) -> list[Finding]:
    """The findings on one answer, already sanitised and with its thinking taken apart. It may be as short as "42"."""
    return _until_rejected(_answer(text, question, stopped, control_strings, language), judge)


def _until_rejected(findings: Iterator[Finding | None], judge: Judge) -> list[Finding]:
    kept: list[Finding] = []
    for found in findings:
        if found is not None:
            finding = judge(found)
            kept.append(finding)
            if finding.passed is False:
                break
    return kept


def _instruction(
    text: str,
    stopped: bool,
    strings: Iterable[str],
    language: str | None,
    earlier: Sequence[str],
) -> Iterator[Finding | None]:
    yield heuristics.empty(text)
    yield markers.control_token(text, strings)
    yield markers.thinking(text)
    yield heuristics.cut_off(text, stopped=stopped)
    ends = markers.ends_of(text)
    lower = ends.lower()
    yield markers.role_marker(ends, lower)
    yield voice.assistant_voice(text)
    yield markers.answer_leak(ends, lower)
    yield heuristics.ends_with_colon(text)
    shape = measure(text)
    yield heuristics.wordless(text, shape)
    yield from _measured(text, shape, shortest=shape.profile.min_length, longest=shape.profile.max_length)
    yield _language(text, language, shape)
    yield repeats_earlier(text, earlier)


def _answer(
    text: str,
    question: str,
    stopped: bool,
    strings: Iterable[str],
    language: str | None,
) -> Iterator[Finding | None]:
    yield heuristics.empty(text)
    yield markers.control_token(text, strings)
    yield heuristics.cut_off(text, stopped=stopped)
    yield voice.refusal(text)
    ends = markers.ends_of(text)
    yield markers.played_turn(ends, ends.lower(), question[:_HEAD_CHARACTERS])
    shape = measure(text)
    yield from _measured(text, shape, shortest=0, longest=shape.profile.max_answer)
    yield _language(text, language, shape)
    yield echo(text, question)


def _measured(text: str, shape: Shape, *, shortest: int, longest: int) -> Iterator[Finding | None]:
    profile = shape.profile
    yield heuristics.length(text, length_of(text, shape), profile, shortest=shortest, longest=longest)
    yield heuristics.broken_characters(text)
    yield loop(text)
    yield heuristics.repeated(repetition(text, profile), text)
    yield heuristics.symbols(text, shape)


def _language(text: str, wanted: str | None, shape: Shape) -> Finding | None:
    if wanted is None:
        return None
    found = lacks_language(text, wanted, shape)
    if found is None:
        return None
    return Finding("wrong_language", False, None, f"in {found}, not in {wanted}", text[:160])


def echo(text: str, question: str) -> Finding | None:
    """An answer that is the question again."""
    if len(text) < _ECHO_CHARACTERS or abs(len(text) - len(question)) > 8 or normalise(text) != normalise(question):
        return None
    return Finding("echo", False, 1.0, "only repeats the question", text[:160])


def repeats_earlier(text: str, earlier: Sequence[str]) -> Finding | None:
    """A user turn that says an earlier one of its conversation again, in the same or nearly the same words."""
    words: set[str] | None = None
    key = ""
    for turn in earlier:
        key = key or normalise(text)
        other = normalise(turn)
        similarity = 1.0
        if key != other:
            words = words or _grams(key)
            others = _grams(other)
            similarity = len(words & others) / max(1, len(words | others))
        if similarity >= 0.8:
            return Finding("repeats_earlier_turn", False, similarity, "says an earlier turn again", turn[:160])
    return None


def _grams(text: str) -> set[str]:
    """Runs of four characters of the first thousand: cheap, and the same for every script."""
    head = text[:1000]
    return {head[at : at + 4] for at in range(max(1, len(head) - 3))}
