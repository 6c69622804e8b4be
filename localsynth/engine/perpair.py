"""From a calibration to what one kept pair takes here, in tokens and in seconds, each as a 90 % range."""

from __future__ import annotations

import math

from localsynth.engine.calibrate import Calibration, Speed

_Z = 1.645  # 90 % of a normal distribution lie within

Span = tuple[float, float, float]  # the lower end, the middle and the upper end of a range


def kept_share(found: Calibration) -> float | None:
    """Of the questions that are asked, the share that becomes a kept pair; None while nothing was kept."""
    asked, answered = _question_share(found), _share(found.kept, found.answered)
    return asked * answered if found.kept and asked else None


def tokens_per_pair(found: Calibration, turns: int) -> Span | None:
    """Tokens that are written for one kept pair, those of rejected ones included. None while too little is known.

    `turns`: 0 for questions alone.
    """
    return _per_pair(found, turns, 1.0, 1.0, 0.0)


def seconds_per_pair(found: Calibration, speed: Speed, turns: int) -> Span | None:
    """Seconds for one kept pair at one of the measured slot counts; None while too little is known."""
    whole = _per_pair(found, turns, speed.ask_rate, speed.answer_rate, speed.noise)
    return None if whole is None else (whole[0] / speed.slots, whole[1] / speed.slots, whole[2] / speed.slots)


def best(found: Calibration, turns: int) -> Speed:
    """The slot count at which a pair takes least time; the largest while that is not known."""
    times = {speed: seconds_per_pair(found, speed, turns) for speed in found.speeds}
    known = {speed: span[1] for speed, span in times.items() if span is not None}
    return min(known, key=lambda speed: known[speed]) if known else max(found.speeds, key=lambda speed: speed.slots)


def _per_pair(found: Calibration, turns: int, ask_rate: float, answer_rate: float, noise: float) -> Span | None:
    """Questions, asked as often as it takes, then answers and later questions; `noise` is a share of the speed."""
    asked = found.question_tokens or 0.0
    answered = found.answer_tokens if turns else 0.0
    passed, kept = _question_share(found), _share(found.kept, found.answered)
    if answered is None or not found.kept or not passed or (found.asked and found.questions and not ask_rate):
        return None
    if turns and not answer_rate:
        return None
    first = asked / passed / ask_rate if asked else 0.0
    later = (asked * (turns - 1) / ask_rate if asked and turns else 0.0) + (
        answered * turns / answer_rate if turns else 0
    )
    middle = (first + later) / kept
    errors = first**2 * (_mean_error(found.questions) + _share_error(passed, found.asked))
    errors += later**2 * (_mean_error(found.answers) if turns else _mean_error(found.questions))
    relative = errors / (first + later) ** 2 + _share_error(kept, found.answered) + noise**2
    spread = math.exp(_Z * math.sqrt(relative))
    return middle / spread, middle, middle * spread


def _question_share(found: Calibration) -> float:
    return _share(found.usable, found.asked) * (_share(found.admitted, found.decided) if found.decided else 1.0)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _share_error(share: float, count: int) -> float:
    """The squared relative error of a share; a share of all that were seen is not known to be one."""
    known = (share * count + 1) / (count + 2)
    return (1 - known) / (known * max(1, count))


def _mean_error(count: int) -> float:
    """The squared relative error of a mean length: texts vary about as much as they are long."""
    return 1 / max(1, count)
