"""From a calibration to what one kept pair takes here, in tokens and in seconds, each as a 90 % range."""

from __future__ import annotations

import math
from dataclasses import dataclass

from localsynth.config import Plan, RolePlan
from localsynth.engine.calibrate import Calibration
from localsynth.engine.metering import Speed

_Z = 1.645  # 90 % of a normal distribution lie within
_FEW = 3
# Where a minute is too short to see a text end: about what a Magpie-Air row has (arXiv 2406.08464, 426 tokens for
# question and answer), and between a third and three times that.
_QUESTION, _ANSWER, _DOUBT = 40.0, 390.0, (math.log(3) / _Z) ** 2
_USABLE, _KEPT = 0.7, 0.9

Span = tuple[float, float, float]  # the lower end, the middle and the upper end of a range


@dataclass(frozen=True, slots=True)
class Known:
    """A figure with its squared relative error; `assumed` when too few were seen to measure it."""

    value: float
    error: float
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class PerPair:
    """What a kept pair consists of: tokens of a question and of an answer, and the shares that pass.

    `turns` is 0 where no answers are written.
    """

    question: Known
    answer: Known
    usable: Known
    kept: Known
    turns: int

    @property
    def share(self) -> float:
        """Of the questions that are asked, the share that becomes a kept pair."""
        return self.usable.value * self.kept.value

    @property
    def assumed(self) -> list[str]:
        """What was not measured, in words."""
        words = [f"questions of {self.question.value:.0f} tokens"] if self.question.assumed else []
        words += [f"{self.usable.value:.0%} of them usable"] if self.usable.assumed else []
        words += [f"answers of {self.answer.value:.0f} tokens"] if self.answer.assumed else []
        return words + ([f"{self.kept.value:.0%} of them kept"] if self.kept.assumed else [])

    def tokens(self) -> Span:
        """Tokens that are written for one kept pair, those of rejected ones included."""
        return self._span(1.0, 1.0, 0.0)

    def seconds(self, speed: Speed) -> Span:
        """Seconds for one kept pair at a measured slot count; a role that wrote nothing is taken for the other."""
        ask, answer = speed.ask_rate or speed.answer_rate, speed.answer_rate or speed.ask_rate
        low, middle, high = self._span(ask, answer, speed.noise)
        return low / speed.slots, middle / speed.slots, high / speed.slots

    def _span(self, ask_rate: float, answer_rate: float, noise: float) -> Span:
        """Questions, asked as often as it takes, then answers and later questions; `noise` is a share of the speed."""
        asked, answered = self.question.value / ask_rate, self.answer.value / answer_rate
        first, later = asked / self.usable.value, answered * self.turns + asked * max(0, self.turns - 1)
        errors = first**2 * (self.question.error + self.usable.error) + later**2 * self.answer.error
        relative = errors / (first + later) ** 2 + self.kept.error + noise**2
        spread = math.exp(_Z * math.sqrt(relative))
        middle = (first + later) / self.kept.value
        return middle / spread, middle, middle * spread


def per_pair(found: Calibration, plan: Plan) -> PerPair:
    """What a calibration of this plan shows."""
    nothing, turns = Known(0.0, 0.0), 0 if plan.instructions_only else plan.turns
    imported = plan.method == "imported"
    passed = _share(found.usable, found.asked, _USABLE)
    new = found.admitted / found.decided if found.decided else 1.0
    return PerPair(
        question=nothing if imported else _length(found.question_tokens, found.questions, _QUESTION, plan.ask),
        answer=_length(found.answer_tokens, found.answers, _ANSWER, plan.answer) if turns else nothing,
        usable=Known(passed.value * max(new, 0.01), passed.error, passed.assumed),
        kept=_share(found.kept, found.answered, _KEPT),
        turns=turns,
    )


def best(found: Calibration, pair: PerPair) -> Speed:
    """The slot count at which a pair takes least time."""
    return min(found.speeds, key=lambda speed: pair.seconds(speed)[1])


def _length(mean: float | None, count: int, usual: float, role: RolePlan) -> Known:
    """Texts vary about as much as they are long, and end at the limit of tokens at the latest."""
    longest = max(entry.max_tokens for entry in role.sampling)
    if mean is None or count < _FEW:
        return Known(min(usual, longest), _DOUBT, assumed=True)
    return Known(min(mean, longest), 1 / count)


def _share(part: int, whole: int, usual: float) -> Known:
    if whole < _FEW:
        return Known(usual, 1 / 9, assumed=True)
    # A share of all, or of none, of a few is not known to be so.
    share = (part + 0.5) / (whole + 1)
    return Known(share, (1 - share) / (share * whole))
