"""One sample in full, as text that is never markup: verdict, turns, scores, where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from textual.content import Content

from localsynth.printable import one_line, printable
from localsynth.records import Candidate, Score, Turn
from localsynth.store import SampleRow
from localsynth.tui.spelling import spelled
from localsynth.tui.widgets.changes import changes
from localsynth.tui.widgets.finds import marked
from localsynth.tui.widgets.markdown import markdown

_MOST = 20_000  # characters of one turn; a megabyte in one line would hold up the screen
_AT_ONCE = 4_000  # characters of one row that are rendered within a key press
_SLOW_AT_ONCE = 500  # the same where there is code to colour or an edit to compare
_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
_ENDS = {"stop": "ended by itself", "length": "cut off at the limit", "loop": "cut because it repeated itself"}

Part = str | Content | tuple[str, str]
Rendered = Mapping[str | tuple[str, str], Content]


@dataclass(frozen=True, slots=True)
class View:
    """How a row is shown. `thinking` unfolds what a model thought; `source`: the text as it is stored, no Markdown;
    `differences`: edited turns beside what they were. `rendered`: texts that were rendered before, by themselves.
    `search`: words that are marked where they stand.
    """

    thinking: bool = False
    source: bool = False
    differences: bool = False
    rendered: Rendered = field(default_factory=dict)
    search: str = ""


def conversation(row: SampleRow, view: View | None = None) -> Content:
    """The sample as the right pane shows it."""
    view = view or View()
    parts: list[Part] = [*_verdict(row), "\n"]
    if row.fault:
        parts += [(f"DAMAGED: {one_line(row.fault, 300)}\n", "bold $text-error")]
    for turn, message in zip(row.turns, row.messages, strict=True):
        parts += ["\n", (_ROLES.get(turn.role, one_line(turn.role, 20)), "bold $text-accent"), "\n"]
        edited = turn.content != message.content
        if edited:
            parts.append(("edited by you; D shows what was changed\n", "dim"))
        if turn.thinking:
            parts += _thinking(turn.thinking, unfold=view.thinking)
        if edited and view.differences:
            parts.append(_changes(turn.content, message.content, view))
        else:
            parts.append(marked(_text(message.content, row, view), view.search))
        parts.append("\n")
        if view.source and turn.raw not in {turn.content, ""}:
            parts += [("as the model wrote it\n", "dim"), _verbatim(turn.raw), "\n"]
    if row.turns and row.turns[-1].role == "user" and row.state == "done":
        parts.append(("\nNo answer was written.\n", "dim"))
    parts += _candidates(row)
    parts += _scores(row)
    parts += _provenance(row)
    return Content.assemble(*parts)


def rendered(row: SampleRow) -> Rendered:
    """The texts and edits of a row that take too long to be rendered within a key press, rendered."""
    found: dict[str | tuple[str, str], Content] = {}
    for turn, message in zip(row.turns, row.messages, strict=True):
        if 0 < len(message.content) <= _MOST and not _quick(row):
            found[message.content] = markdown(message.content)
        if turn.content != message.content:
            found[turn.content, message.content] = changes(turn.content, message.content)
    return found


def _quick(row: SampleRow) -> bool:
    texts = [message.content for message in row.messages]
    coloured = any(fence in text for text in texts for fence in ("```", "~~~"))
    return sum(map(len, texts)) <= (_SLOW_AT_ONCE if coloured else _AT_ONCE)


def _changes(before: str, after: str, view: View) -> Content:
    found = view.rendered.get((before, after))
    if found is None and len(before) + len(after) <= _SLOW_AT_ONCE:
        found = changes(before, after)
    if found is None:
        return Content.assemble(("being compared with what it was ...\n", "dim"), _verbatim(after, exactly=False))
    return found


def _text(text: str, row: SampleRow, view: View) -> str | Content:
    if view.source or not text or len(text) > _MOST:
        return _verbatim(text)
    if _quick(row):
        return markdown(text)
    return view.rendered.get(text) or _verbatim(text, exactly=False)


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
    if row.review and row.review.tags:
        yield ("\ntags: ", "dim")
        yield one_line(", ".join(row.review.tags), 300)
    if row.review and row.review.note:
        yield ("\nnote: ", "dim")
        yield one_line(row.review.note, 300)


def _thinking(text: str, *, unfold: bool) -> Iterator[Part]:
    if unfold:
        yield (f"{printable(text[:_MOST])}\n", "italic dim")
    else:
        yield (f"thinking: {one_line(text, 60)} ({text.count(chr(10)) + 1} lines, T unfolds)\n", "italic dim")


def _verbatim(text: str, *, exactly: bool = True) -> str | Content:
    """The text as it is; `exactly`: with the number of every character that nobody sees."""
    if not text:
        return Content.assemble(("(empty)", "dim"))
    shown = spelled(text[:_MOST]) if exactly else printable(text[:_MOST])
    if len(shown) > 2 * _MOST:
        shown = printable(text[:_MOST])
    if len(text) <= _MOST:
        return shown
    left = f"\n[{len(text) - _MOST:,} more characters: `localsynth show` prints them all]"
    return Content.assemble(shown, (left, "dim"))


def _candidates(row: SampleRow) -> Iterator[Part]:
    other = other_answer(row)
    if other is not None:
        yield (f"\nAnother answer, by {one_line(other.model, 60)}\n", "bold $text-accent")
        taken = other.text in {message.content for message in row.messages}
        yield ("it stands in the row now\n" if taken else "c takes it in place of the one above\n", "dim")
        yield printable(other.text, _MOST) + "\n"


def other_answer(row: SampleRow) -> Candidate | None:
    """The answer that could stand in place of the row's own: the newest that was written again."""
    others = (each for each in row.candidates if each.purpose == "answer" and not each.chosen)
    return next(others, None)


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
            yield (f"{_ROLES.get(turn.role, turn.role)}: {_origin(turn)}\n", "dim")


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
