"""One sample in full, as text that is never markup: verdict, turns, scores, where it came from."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from localsynth.printable import one_line, printable
from localsynth.records import Score, Turn
from localsynth.store import SampleRow

_MOST = 20_000  # characters of one turn; a megabyte in one line would hold up the screen
_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
_ENDS = {"stop": "ended by itself", "length": "cut off at the limit", "loop": "cut because it repeated itself"}

Part = str | Content | tuple[str, str]


def conversation(row: SampleRow, *, thinking: bool) -> Content:
    """The sample as the right pane shows it; `thinking` unfolds what a model thought before its answers."""
    parts: list[Part] = [*_verdict(row), "\n"]
    for turn, message in zip(row.turns, row.messages, strict=True):
        parts += ["\n", (_ROLES[turn.role], "bold $text-accent"), "\n"]
        if turn.content != message.content:
            parts.append(("edited by you\n", "dim"))
        if turn.thinking:
            parts += _thinking(turn.thinking, unfold=thinking)
        parts += [_verbatim(message.content), "\n"]
    if row.turns and row.turns[-1].role == "user" and row.state == "done":
        parts.append(("\nNo answer was written.\n", "dim"))
    parts += _scores(row)
    parts += _provenance(row)
    return Content.assemble(*parts)


def _verdict(row: SampleRow) -> Iterator[Part]:
    if row.state == "failed":
        yield ("FAILED", "bold $text-error")
        yield f" {one_line(row.error or '', 300)}"
    elif row.state != "done":
        yield ("UNFINISHED", "bold $text-warning")
        yield ("  waits for its answer", "dim")
    elif row.by == "review":
        yield ("ACCEPTED", "bold $text-success") if row.kept else ("REJECTED", "bold $text-error")
        yield " by you"
        yield f"; rule {one_line(row.rule, 60)} had rejected it" if row.rule and row.kept else ""
    elif row.kept:
        yield ("KEPT", "bold $text-success")
        yield ("  not reviewed", "dim")
    else:
        yield ("REJECTED", "bold $text-error")
        yield f" by rule {one_line(row.rule or '', 60)}"
    if row.review and row.review.note:
        yield ("\nnote: ", "dim")
        yield one_line(row.review.note, 300)


def _thinking(text: str, *, unfold: bool) -> Iterator[Part]:
    if unfold:
        yield (f"{printable(text[:_MOST])}\n", "italic dim")
    else:
        yield (f"thinking: {one_line(text, 60)} ({text.count(chr(10)) + 1} lines, t unfolds)\n", "italic dim")


def _verbatim(text: str) -> str | Content:
    if not text:
        return Content.assemble(("(empty)", "dim"))
    if len(text) <= _MOST:
        return printable(text)
    left = f"\n[{len(text) - _MOST:,} more characters: `localsynth show` prints them all]"
    return Content.assemble(printable(text[:_MOST]), (left, "dim"))


def _scores(row: SampleRow) -> Iterator[Part]:
    if row.scores or row.neighbours:
        yield ("\nScores\n", "bold $text-accent")
    for score in sorted(row.scores, key=lambda each: each.passed is not False):
        yield from _score(score)
    for near in row.neighbours[:3]:
        yield (f"  nearest by {one_line(near.encoder, 40)}: {near.similarity:.3f}\n", "dim")


def _score(score: Score) -> Iterator[Part]:
    value = "" if score.value is None else f" {score.value:.4g}"
    reason = f": {one_line(score.reason, 200)}" if score.reason else ""
    text = f"{one_line(score.name, 40)}{value}{reason}\n"
    yield (f"✗ {text}", "bold $text-error") if score.passed is False else (f"  {text}", "dim")
    if score.passed is False and score.detail:
        yield (f"    {one_line(score.detail, 300)}\n", "dim")


def _provenance(row: SampleRow) -> Iterator[Part]:
    yield ("\nWhere it came from\n", "bold $text-accent")
    yield (f"row {row.index}.{row.attempt}, {one_line(row.operation or 'unknown method', 60)}\n", "dim")
    for key, value in row.detail.items():
        yield (f"{one_line(key, 40)}: {one_line(str(value), 200)}\n", "dim")
    for turn in row.turns:
        if turn.model is not None:
            yield (f"{_ROLES[turn.role]}: {_origin(turn)}\n", "dim")


def _origin(turn: Turn) -> str:
    known = [one_line(turn.model or "", 60)]
    if turn.seed is not None:
        known.append(f"seed {turn.seed}")
    if turn.completion_tokens is not None:
        known.append(f"{turn.prompt_tokens or 0} + {turn.completion_tokens} tokens")
    if turn.finish_reason is not None:
        known.append(_ENDS[turn.finish_reason])
    if turn.sampling is not None:
        known.append(f"temperature {turn.sampling.temperature:g}, top-p {turn.sampling.top_p:g}")
    if turn.duration is not None:
        known.append(f"{turn.duration:.1f} s")
    if turn.rules:
        known.append(f"mended by {one_line(', '.join(turn.rules), 80)}")
    return ", ".join(known)
