"""From a template to the parts of its format: render conversations of marked texts, cut, and prove the parts.

Magpie (arXiv 2406.08464) needs the text before a user's first word; here it comes from the model's own template.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from localsynth.chat.cutting import MARKED, Parts, has_system_turn, read_parts
from localsynth.chat.dialect import find_script
from localsynth.chat.format import ChatFormat
from localsynth.chat.limits import spending
from localsynth.chat.markers import Markers, markers_of, opens, think_pair
from localsynth.chat.template import Compiled, Script, compile_template
from localsynth.errors import TemplateRefused
from localsynth.records import SpecialTokens


class Default(Enum):
    """The system turn that a template writes when no system message is given."""

    DEFAULT = "default"


DEFAULT: Final = Default.DEFAULT

_PROOFS = (
    ("Name 3 red lanterns", "By the harbour", "And 第二 lantern", "It is blue", "Thanks"),
    (
        "Is 3 < 5 & \"x\" 'y' {z} 100% #1\n\n- a\n- b\\n",
        "So:\n\n```py\nx = {1: <2>}\n```\nEnd.",
        "Why?",
        "a|b",
        "é — ¿?",
    ),
)
_WORDS = frozenset({"/no_think", "/nothink"})
_CLOSING = frozenset({"</s>", "<|endoftext|>", "<｜end▁of▁sentence｜>"})
_UNKNOWN = SpecialTokens(bos="<s>", eos="</s>")
_HINT = "choose another model, or give this one a repaired chat template"


def derive(
    template: str,
    tokens: SpecialTokens = SpecialTokens(),  # noqa: B008 - frozen
    *,
    system: str | Default | None = DEFAULT,
    thinking: bool = False,
    date: dt.date | None = None,
) -> ChatFormat:
    """The chat format of a model, from the Jinja template that it carries.

    `tokens`: the model's special tokens; without any, `<s>` and `</s>` are assumed. `system`: a system prompt, None
    for no system turn at all (refused where the template always writes one), DEFAULT for what the template does when
    it is given none. `thinking` False switches it off where the template knows how. `date` is the day for templates
    that write it, today when None. Raises TemplateRefused with the reason.
    """
    try:
        compiled = compile_template(template)
        with spending(len(system) if isinstance(system, str) else 0):
            return _derive(compiled, tokens, system, thinking, date or dt.datetime.now().astimezone().date())
    except TemplateRefused as refused:
        hint = "leave the system prompt at its default, or choose another model" if isinstance(system, str) else _HINT
        raise TemplateRefused(refused.message, refused.hint or hint) from None


def _derive(
    compiled: Compiled, tokens: SpecialTokens, system: str | Default | None, thinking: bool, date: dt.date
) -> ChatFormat:
    given = tokens if tokens != SpecialTokens() else _UNKNOWN
    maker = _Maker(given, markers_of(frozenset({*given.control, given.bos, given.eos})), system, thinking)
    script = find_script(compiled, given, system if isinstance(system, str) else None, thinking, date)
    fmt = maker.make(script)
    if not fmt.opens_thinking or thinking:
        return fmt
    for word in _WORDS & compiled.constants:
        # Some templates look for the switch in the system message, and take it out again.
        quiet = replace(script, system=f"{script.system or ''}{word}")
        try:
            closed = maker.make(quiet)
        except TemplateRefused:
            continue
        if not closed.opens_thinking and closed.pre_query == fmt.pre_query:
            return replace(closed, switches={**script.switches, "system message": word})
    return fmt


@dataclass(frozen=True)
class _Maker:
    """Makes formats for one vocabulary and one wish for the system turn."""

    tokens: SpecialTokens
    markers: Markers
    system: str | Default | None
    thinking: bool

    def make(self, script: Script) -> ChatFormat:
        parts = read_parts(script, self.system if isinstance(self.system, str) else "")
        turn = has_system_turn(parts, self.markers)
        if self.system is None and turn:
            script, parts = self._without_system(script)
            turn = False
        if isinstance(self.system, str):
            self._check_system(self.system, script, parts)
            turn = turn or bool(self.system.strip())
        return self._finished(script, parts, turn)

    def _without_system(self, script: Script) -> tuple[Script, Parts]:
        """An empty system message takes the default away from some templates."""
        empty = replace(script, system="")
        try:
            parts = read_parts(empty)
        except TemplateRefused:
            parts = None
        if parts is None or has_system_turn(parts, self.markers):
            raise TemplateRefused("this template always writes a system turn", "leave the system prompt at its default")
        return empty, parts

    @staticmethod
    def _check_system(system: str, script: Script, parts: Parts) -> None:
        if system.strip() in (parts.pre if system.strip() else ""):
            return
        try:
            default = replace(script, system=None).render([("user", MARKED[0])])
        except TemplateRefused:
            default = ""
        done = "ignores" if default.startswith(parts.pre) else "changes"
        raise TemplateRefused(f"the template {done} the system prompt", "use the template's default system turn")

    def _finished(self, script: Script, parts: Parts, turn: bool) -> ChatFormat:
        tokens, markers = self.tokens, self.markers
        bos = tokens.bos if tokens.add_bos and not parts.pre.lstrip().startswith(tokens.bos) else ""
        pre = bos + parts.pre
        if not pre.removeprefix(tokens.bos).strip():
            raise TemplateRefused("the template writes nothing that marks a user's turn")
        if tokens.bos and pre.startswith(tokens.bos * 2):
            raise TemplateRefused("the template writes its BOS twice")
        pair = think_pair(parts.post + parts.past + parts.last, script.compiled.source)
        extension = self._extension(parts, pair, "add_generation_prompt" in script.compiled.variables)
        post = parts.post + extension
        stops = self._stops(parts, post, pair)
        stop_ids = {*tokens.end_ids, *(tokens.control[mark] for mark in stops.ends if mark in tokens.control)}
        stop_texts = tuple(mark for mark in stops.ends if mark not in tokens.control)
        if not stop_ids and not stop_texts:
            raise TemplateRefused("the template closes a turn with nothing that a model could be stopped at")
        header = pre.replace(self.system, "") if isinstance(self.system, str) else pre
        control = {*tokens.control, *stops.ends, *stops.thoughts, *markers.anywhere(header)}
        fmt = ChatFormat(
            pre_query=pre,
            post_query=post,
            past_post_query=parts.past,
            between_turns=parts.between,
            end_of_turn=post[: markers.first_end(post, stops.plain)],
            stop_ids=tuple(sorted(stop_ids)),
            stop_texts=stop_texts,
            control_strings=frozenset(mark for mark in control if mark.strip()),
            template_hash=script.compiled.sha256,
            think_open=pair[0] if pair else None,
            think_close=pair[1] if pair else None,
            opens_thinking=opens(post, pair),
            regular=not parts.moved,
            switches=script.switches,
            date=script.date if script.compiled.dated else None,
            system_turn=turn,
            notes=(),
            proof="",
            bos=bos,
            extension=extension,
            script=script,
        )
        if isinstance(self.system, str) and fmt.violations(self.system):
            raise TemplateRefused(f"the system prompt holds the control string {fmt.violations(self.system)[0]!r}")
        return _proved(fmt, parts, tokens)

    def _extension(self, parts: Parts, pair: tuple[str, str] | None, prompted: bool) -> str:
        """What the template's history writes before an answer beyond its own generation prompt.

        So an answer begins without thinking, in the channel for answers, or after a header that the prompt leaves out.
        """
        for opened in (parts.past, parts.last):
            rest = opened.removeprefix(parts.post) if opened.startswith(parts.post) else ""
            if not rest.strip():
                continue
            marks = self.markers.between(rest)
            if not self.thinking or not prompted or not marks:
                return rest
            if any(mark not in (pair or ()) for mark in marks):
                raise TemplateRefused("the template writes thinking as a message of its own", "leave thinking off")
        return ""

    def _stops(self, parts: Parts, post: str, pair: tuple[str, str] | None) -> _Stops:
        closing = _CLOSING | {self.tokens.bos, self.tokens.eos}
        written = (post, parts.past, parts.between)
        plain = [mark for text in written for mark in self.markers.plain(text, closing)]
        marks = [mark for text in written for mark in self.markers.between(text)]
        thoughts = {text.strip() for text in pair or ()}
        if opens(post, pair):
            thoughts |= {mark for text in pair or () for mark in self.markers.between(text)}
        ends = [mark for mark in dict.fromkeys([*marks, *plain]) if mark not in thoughts]
        return _Stops(plain, ends, frozenset(thoughts))


@dataclass(frozen=True)
class _Stops:
    """`plain`: role markers in ordinary text; `ends`: everything that ends a turn; `thoughts`: what marks thinking."""

    plain: list[str]
    ends: list[str]
    thoughts: frozenset[str]


def _proved(fmt: ChatFormat, parts: Parts, tokens: SpecialTokens) -> ChatFormat:
    """Compare parts and template on other conversations; where texts are changed, prompts are rendered afresh."""
    notes = [*_notes(fmt, parts, tokens)]
    length = 0
    for number, texts in enumerate(_PROOFS):
        for turns in _conversations(texts)[-1 if number else 0 :]:
            joined = fmt._joined(turns[:-1]) + turns[-1][1] + fmt.post_query  # noqa: SLF001 - proved before use
            rendered = fmt.bos + fmt.script.render(turns) + fmt.extension
            length += len(rendered)
            if joined == rendered or not fmt.regular:
                continue
            if number == 0:
                raise TemplateRefused(f"the template changes the text of a turn: {_difference(joined, rendered)}")
            notes.append("the template changes some texts, so every prompt is rendered by it")
            fmt = replace(fmt, regular=False)
    how = "equal to the parts joined" if fmt.regular else "each prompt is rendered, as the parts do not simply join"
    proof = f"7 conversations of 1 to 3 exchanges rendered by the template, {how}; {length} characters compared"
    return replace(fmt, notes=tuple(notes), proof=proof)


def _conversations(texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    roles = ("user", "assistant", "user", "assistant", "user")
    return [list(zip(roles[:count], texts[:count], strict=True)) for count in (1, 5)]


def _difference(left: str, right: str) -> str:
    place = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return f"{left[place : place + 30]!r} becomes {right[place : place + 30]!r}"


def _notes(fmt: ChatFormat, parts: Parts, tokens: SpecialTokens) -> Iterator[str]:
    if tokens is _UNKNOWN and {"bos_token", "eos_token"} & fmt.script.compiled.variables:
        yield "no model was given: <s> and </s> stand for its BOS and EOS"
    if parts.moved:
        yield "the system prompt stands before the last user turn, so every prompt is rendered by the template"
    if fmt.opens_thinking:
        yield f"the answer begins inside thinking, which ends at {fmt.think_close!r}"
    if fmt.extension:
        yield f"answers begin after {fmt.extension!r}, as in the template's own history"
