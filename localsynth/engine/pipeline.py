"""One sample from its first token to its last score: method, gate, answer, rows. The scheduler's Work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from localsynth.engine.context import SampleContext, Services
from localsynth.engine.corpus import Corpus, Decision
from localsynth.engine.stats import SATURATED
from localsynth.engine.turns import Cleaner, Conversation, turn_row
from localsynth.errors import BackendError, ContextOverflow
from localsynth.events import Event, Saturated, WaveDecided
from localsynth.filters.findings import Finding, rejection
from localsynth.filters.sanitize import Cleaned
from localsynth.methods.base import AnswerMethod, Draft, FollowUps, PromptMethod, Written
from localsynth.records import Sample, SampleState, Score, sample_id, sample_place
from localsynth.store.journal import Journal
from localsynth.store.store import Row

_FOLLOW_UP_ATTEMPTS = 3
_ROWS_WAITING = 20_000  # a disk that is slower than the models must not fill the memory


@dataclass(slots=True)
class Open:
    """A sample whose instruction passed the local rules and that is not finished."""

    draft: Draft
    question: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Methods:
    """How prompts and answers are got."""

    prompts: PromptMethod
    answers: AnswerMethod


@dataclass(slots=True)
class Pipeline:
    """Carries out Work for one run. Rows go to the journal, which commits them in groups."""

    run: str
    services: Services
    methods: Methods
    corpus: Corpus
    cleaner: Cleaner
    journal: Journal
    say: Callable[[Event], None]
    attempts: Mapping[int, int] = field(default_factory=dict)
    open: dict[int, Open] = field(default_factory=dict)
    failures: int = 0
    _saturated: bool = False

    async def ask(self, index: int) -> bool:
        """Get one instruction and apply the local rules; one that an earlier process got is not asked again."""
        if index in self.open:
            return True
        if self.journal.waiting > _ROWS_WAITING:
            await self.journal.flush()
        ctx = SampleContext(self.services, index, self.attempts.get(index, 0))
        try:
            draft = await self.methods.prompts.propose(ctx)
        except BackendError as error:
            self._fail(Sample(self.run, index, ctx.attempt), "instruction", error)
            return False
        self.failures = 0
        cleaned, findings = self.cleaner.instruction(draft.written, (), "instruction")
        rejected = rejection(findings)
        sample = self._sample(ctx, draft, "done" if rejected else "asked")
        rows: list[Row] = [sample]
        if draft.system and self._offset(draft):
            rows.append(turn_row(sample.id, 0, "system", Written(draft.system), Cleaned(draft.system, ())))
        rows.append(turn_row(sample.id, self._offset(draft), "user", draft.written, cleaned))
        rows.extend(row for finding in findings for row in finding.rows(sample.id, "instruction"))
        self.journal.put(*rows)
        self.services.stats.ask(usable=rejected is None)
        if rejected:
            self.services.stats.reject(f"instruction.{rejected.rule}", saved=True)
            return False
        self.open[index] = Open(draft, cleaned.text, ctx.attempt)
        return True

    async def decide(self, indices: Sequence[int]) -> list[bool]:
        """Apply the corpus rules to a wave, in index order."""
        items = [self.open[index] for index in indices]
        ids = [sample_id(self.run, index, item.attempt) for index, item in zip(indices, items, strict=True)]
        decisions = await asyncio.to_thread(self.corpus.decide, ids, [item.question for item in items])
        rules: dict[str, int] = {}
        for index, item, decision in zip(indices, items, decisions, strict=True):
            self._note(index, item, decision, rules)
        if indices:
            passed = sum(decision.passed for decision in decisions)
            self.say(WaveDecided(indices[0], indices[-1], passed, rules))
        self._watch_saturation()
        return [decision.passed for decision in decisions]

    async def answer(self, index: int) -> bool:
        """Write the answers, and the later turns where the plan wants them; True when the sample is kept."""
        item = self.open.pop(index)
        ctx = SampleContext(self.services, index, item.attempt)
        sample = self._sample(ctx, item.draft, "done")
        talk = Conversation(sample.id, item.draft.with_question(item.question), self._offset(item.draft))
        rejected: Score | None = None
        if not self.services.plan.instructions_only:
            try:
                rejected = await self._converse(ctx, item.draft, talk)
            except BackendError as error:
                self._fail(sample, "answer", error, talk.rows)
                return False
        self.failures = 0
        self.journal.put(*talk.rows, *self._beside(sample.id), sample)
        if rejected is not None:
            self.services.stats.reject(rejected.name, saved=False)
            return False
        self.services.stats.keep(sample.id, item.question, talk.last_answer)
        return True

    def _beside(self, sample: int) -> list[Row]:
        """What keeps another answer to a row from being a row of the data itself."""
        first = self.services.plan.again
        if not first:
            return []
        _, index, attempt = sample_place(first)
        reason = f"another answer to row {index}.{attempt}"
        return [Finding("again", False, reason=reason).score(sample, "answer")]

    async def _converse(self, ctx: SampleContext, draft: Draft, talk: Conversation) -> Score | None:
        """Answer, ask again, answer, until the plan's turns are done or a rule rejects; the rejecting score."""
        stats, turns = self.services.stats, self.services.plan.turns
        for number in range(turns):
            written = (await self.methods.answers.answer(draft, talk.messages, ctx))[0]
            if written.completion is not None:
                stats.answers += 1
                stats.answer_tokens += written.completion.completion_tokens
            cleaned, findings = self.cleaner.answer(written, talk.messages[-1].content, talk.part("assistant"))
            if score := talk.add("assistant", written, cleaned, findings):
                return score
            if number + 1 < turns and (score := await self._follow_up(ctx, draft, talk)):
                return score
        return None

    async def _follow_up(self, ctx: SampleContext, draft: Draft, talk: Conversation) -> Score | None:
        """The next user turn; one that the gate refuses is written anew with another seed, a few times."""
        if not isinstance(self.methods.prompts, FollowUps):
            raise TypeError(f"{type(self.methods.prompts).__name__} writes no follow-up turns")
        for attempt in range(_FOLLOW_UP_ATTEMPTS):
            written = await self.methods.prompts.follow_up(draft, talk.messages, attempt, ctx)
            cleaned, findings = self.cleaner.instruction(written, talk.questions, talk.part("user"))
            if rejection(findings) is None:
                break
        return talk.add("user", written, cleaned, findings)

    def _note(self, index: int, item: Open, decision: Decision, rules: dict[str, int]) -> None:
        state: SampleState = "ready" if decision.passed else "done"
        sample = Sample(self.run, index, item.attempt, state, item.draft.operation, detail=item.draft.detail)
        self.journal.put(sample, *decision.rows(sample.id))
        rejected = rejection(decision.findings)
        self.services.stats.corpus(duplicate=rejected is not None)
        if rejected is not None:
            del self.open[index]
            rules[rejected.rule] = rules.get(rejected.rule, 0) + 1
            self.services.stats.reject(f"instruction.{rejected.rule}", saved=True)

    def _watch_saturation(self) -> None:
        share = self.services.stats.duplicate_rate
        if share is not None and share >= SATURATED and not self._saturated:
            self._saturated = True
            self.say(Saturated(self.services.stats.duplicate_window, share))

    def _fail(self, sample: Sample, part: str, error: BackendError, rows: Sequence[Row] = ()) -> None:
        """Note a sample that could not be generated. Raises again when it is no fault of that one sample.

        A text that does not fit never will: it is rejected, where other failures are tried again by a resume.
        """
        text = f"{error.message} ({error.hint})" if error.hint else error.message
        if isinstance(error, ContextOverflow):
            finding = Finding("exceeds_context", passed=False, reason=text)
            self.journal.put(*rows, replace(sample, state="done"), finding.score(sample.id, part))
            self.services.stats.reject(f"{part}.{finding.rule}", saved=part == "instruction")
            return
        self.failures += 1
        if not error.retryable or self.failures > self.services.roles.slots:
            raise error
        self.services.stats.failed += 1
        self.journal.put(*rows, replace(sample, state="failed", error=text))

    def _sample(self, ctx: SampleContext, draft: Draft, state: SampleState) -> Sample:
        return Sample(self.run, ctx.index, ctx.attempt, state, draft.operation, detail=draft.detail)

    def _offset(self, draft: Draft) -> int:
        return 1 if self.services.plan.system_in_answer and draft.system else 0
