"""From what a model wrote to a clean turn with its findings and its store row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from localsynth.engine.bounds import Bounds
from localsynth.filters.findings import Finding, rejection
from localsynth.filters.gate import check_answer, check_instruction
from localsynth.filters.repetition import looping
from localsynth.filters.sanitize import Cleaned, sanitize
from localsynth.methods.base import Message, Written
from localsynth.records import Role, Score, Turn
from localsynth.store.store import Row


@dataclass(frozen=True, slots=True)
class Cleaner:
    """Sanitising and the local rules of the gate, for one run's control strings and language ("any" accepts all).

    `part` of a row is what its scores are named after, and thresholds with them.
    """

    control_strings: frozenset[str]
    language: str
    bounds: Bounds = field(default_factory=Bounds)

    def instruction(self, written: Written, earlier: Sequence[str], part: str) -> tuple[Cleaned, list[Finding]]:
        """The cleaned user turn and what the gate says about it."""
        cleaned = sanitize(written.text, "user", self.control_strings)
        if found := _looped(written):
            return cleaned, [found]
        findings = check_instruction(
            cleaned.text,
            stopped=_stopped(written),
            control_strings=self.control_strings,
            language=self._wanted,
            earlier=earlier,
            judge=self.bounds.judge(part),
        )
        return cleaned, findings

    def answer(self, written: Written, question: str, part: str) -> tuple[Cleaned, list[Finding]]:
        """The cleaned answer and what the gate says about it."""
        cleaned = sanitize(written.text, "assistant", self.control_strings)
        if found := _looped(written):
            return cleaned, [found]
        findings = check_answer(
            cleaned.text,
            question=question,
            stopped=_stopped(written),
            control_strings=self.control_strings,
            judge=self.bounds.judge(part),
        )
        return cleaned, findings

    @property
    def _wanted(self) -> str | None:
        return None if self.language == "any" else self.language


@dataclass(slots=True)
class Conversation:
    """The turns of one sample while it is written. `offset` is 1 where position 0 holds a system turn."""

    sample: int
    messages: tuple[Message, ...]
    offset: int
    rows: list[Row] = field(default_factory=list)

    @property
    def questions(self) -> list[str]:
        """The user turns so far."""
        return [message.content for message in self.messages if message.role == "user"]

    @property
    def last_answer(self) -> str:
        """The last turn of the model, "" before there is one."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), "")

    def part(self, role: Role) -> str:
        """What the scores of the next turn are named after."""
        number = len(self.messages)
        return ("answer" if role == "assistant" else "follow_up") + (f"_{number // 2 + 1}" if number > 1 else "")

    def add(self, role: Role, written: Written, cleaned: Cleaned, findings: Sequence[Finding]) -> Score | None:
        """Add a turn; the score that rejects it, None when it passed."""
        number, part = len(self.messages), self.part(role)
        self.messages = (*self.messages, Message(role, cleaned.text))
        self.rows.append(turn_row(self.sample, number + self.offset, role, written, cleaned))
        self.rows.extend(row for finding in findings for row in finding.rows(self.sample, part))
        rejected = rejection(findings)
        return rejected.score(self.sample, part) if rejected else None


def turn_row(sample: int, position: int, role: Role, written: Written, cleaned: Cleaned) -> Turn:
    """The store's row of one turn. `logprob` is the mean over the completion's tokens."""
    done = written.completion
    return Turn(
        sample=sample,
        position=position,
        role=role,
        content=cleaned.text,
        raw=done.text if done else written.text,
        rules=cleaned.rules,
        thinking=written.thinking,
        model=written.model,
        sampling=written.sampling,
        finish_reason=done.finish_reason if done else None,
        seed=written.seed,
        prompt_tokens=(done.prompt_tokens or None) if done else None,
        completion_tokens=done.completion_tokens if done else None,
        logprob=sum(done.logprobs) / len(done.logprobs) if done and done.logprobs else None,
        duration=done.duration if done else None,
    )


def _stopped(written: Written) -> bool:
    return written.completion is None or written.completion.finish_reason == "stop"


def _looped(written: Written) -> Finding | None:
    done = written.completion
    return looping(done.text) if done is not None and done.finish_reason == "loop" else None
