"""The parts of a chat format, and the prompts that are put together from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from localsynth.chat.template import Script, Turns
from localsynth.errors import DataError

_CUT = "quillbornequestion"  # stands for the text that the model is to write; no template looks for it


@dataclass(frozen=True)
class ChatFormat:
    """How one model's template writes a conversation, with one system prompt. Made by `derive`.

    pre_query           everything before the user's first word, the one BOS included where the model wants one
    post_query          from the end of the user's text to the start of the answer that is to be written
    past_post_query     the same before an answer that is already part of the conversation
    between_turns       from the end of an answer to the start of the user's next text
    end_of_turn         the text that closes the user's turn: the start of post_query
    stop_ids            token ids that end a turn: of the vocabulary's ends, and of control tokens in the format
    stop_texts          texts that end a turn and are no single token of the vocabulary
    control_strings     a text that contains one of these never enters a prompt
    think_open/_close   the texts around thinking, None where the template knows none
    opens_thinking      post_query ends inside thinking that cannot be switched off
    regular             the parts, joined, are what the template renders; else each prompt is rendered afresh
    switches            variables set to switch thinking
    date                the date that the template wrote into pre_query, None where it writes none
    system_turn         whether pre_query holds a system turn
    notes, proof        what a person should know; what was compared to prove the parts
    """

    pre_query: str
    post_query: str
    past_post_query: str
    between_turns: str
    end_of_turn: str
    stop_ids: tuple[int, ...]
    stop_texts: tuple[str, ...]
    control_strings: frozenset[str]
    template_hash: str
    think_open: str | None
    think_close: str | None
    opens_thinking: bool
    regular: bool
    switches: Mapping[str, bool | str]
    date: dt.date | None
    system_turn: bool
    notes: tuple[str, ...]
    proof: str
    bos: str = field(repr=False)
    extension: str = field(repr=False)
    script: Script = field(repr=False, compare=False)

    def ask_prompt(self, turns: Turns = ()) -> str:
        """The prompt from which the model writes the user's next turn; `turns`: whole earlier exchanges."""
        self._check(turns, even=True)
        if self._copied(turns):
            return self._joined(turns)
        return self._rendered([*turns, ("user", _CUT)]).partition(_CUT)[0]

    def answer_prompt(self, turns: Turns) -> str:
        """The prompt from which the model answers the last of `turns`, which is the user's."""
        self._check(turns, even=False)
        if self._copied(turns):
            return self._joined(turns[:-1]) + turns[-1][1] + self.post_query
        return self._rendered(turns) + self.extension

    def violations(self, text: str) -> list[str]:
        """The control strings in `text`, in alphabetical order."""
        return sorted(marker for marker in self.control_strings if marker in text)

    def split_thinking(self, text: str) -> tuple[str | None, str]:
        """A completion as (thinking, answer); thinking None where there is none, answer "" while it goes on."""
        if self.think_open is None or self.think_close is None:
            return None, text
        body = text.lstrip()
        inside = body.startswith(self.think_open.strip())
        if not inside and not self.opens_thinking:
            return None, text
        body = body.removeprefix(self.think_open.strip()) if inside else text
        thinking, _, answer = body.partition(self.think_close)
        return thinking.strip(), answer.lstrip()

    def _joined(self, turns: Turns) -> str:
        after = {"user": self.past_post_query, "assistant": self.between_turns}
        return self.pre_query + "".join(text + after[role] for role, text in turns)

    def _rendered(self, turns: Turns) -> str:
        return self.bos + self.script.render(turns)

    def _copied(self, turns: Turns) -> bool:
        """Whether the template surely writes these texts as they are, so that joining the parts is rendering."""
        return self.regular and all(self.script.compiled.copies(text) for _, text in turns)

    def _check(self, turns: Turns, *, even: bool) -> None:
        roles = [role for role, _ in turns]
        if roles != ["user", "assistant"] * (len(turns) // 2) + ["user"] * (not even):
            raise ValueError(f"turns must alternate from user and end with {'assistant' if even else 'user'}: {roles}")
        for _, text in turns:
            found = self.violations(text)
            if found:
                raise DataError(
                    f"a text that contains the control string {found[0]!r} cannot enter a prompt",
                    "leave this row out, or remove the control string from it",
                )


def describe(fmt: ChatFormat) -> dict[str, object]:
    """The format as plain data for `localsynth doctor --template`: strings, numbers, lists and mappings only."""
    return {
        "pre_query": fmt.pre_query,
        "post_query": fmt.post_query,
        "past_post_query": fmt.past_post_query,
        "between_turns": fmt.between_turns,
        "end_of_turn": fmt.end_of_turn,
        "stop_ids": list(fmt.stop_ids),
        "stop_texts": list(fmt.stop_texts),
        "system_turn": fmt.system_turn,
        "think_open": fmt.think_open,
        "think_close": fmt.think_close,
        "opens_thinking": fmt.opens_thinking,
        "switches": dict(fmt.switches),
        "date": fmt.date.isoformat() if fmt.date else None,
        "regular": fmt.regular,
        "control_strings": len(fmt.control_strings),
        "template_hash": fmt.template_hash,
        "notes": list(fmt.notes),
        "proof": fmt.proof,
    }
