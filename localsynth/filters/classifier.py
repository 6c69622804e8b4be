"""What a person accepts, learned from the decisions so far: logistic regression with L2, the same result every time.

The vectors of a row weigh together as much as SPREAD scores, however many dimensions they have: with some 50 decisions
nothing could choose between hundreds of equals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS: Final = 5
SPREAD: Final = 16.0
_PENALTY: Final = 1.0  # of a weight squared, halved: a prior of one standard deviation of the log odds for each score
_REACH: Final = 4.0  # standard deviations beyond which a score counts no more
_STEPS: Final = 60
_CLOSE: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of n rows. `vectors` [n, dim] and `scores` [n, k]; NaN where something is missing."""

    vectors: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[np.intp]) -> Features:
        """Some of the rows."""
        return Features(self.vectors[rows], self.scores[rows])


@dataclass(frozen=True, slots=True)
class Scaling:
    """How features become the columns of the classifier: learned from the decided rows, used on all."""

    centre: Floats
    shrink: float
    mean: Floats
    deviation: Floats
    informative: NDArray[np.intp]
    incomplete: NDArray[np.intp]
    vectors_incomplete: bool

    def columns(self, features: Features) -> Floats:
        """[n, d]: centred and scaled, what is missing at its mean, with a column that says that it was missing."""
        vectors, absent = _vectors(features)
        scores, missing = _scores(features)
        vectors = (vectors - self.centre) * self.shrink
        vectors[absent] = 0
        chosen = self.informative
        scaled = np.clip((scores[:, chosen] - self.mean[chosen]) / self.deviation[chosen], -_REACH, _REACH)
        scaled[missing[:, chosen]] = 0
        parts = [vectors, scaled, missing[:, self.incomplete].astype(np.float64)]
        if self.vectors_incomplete:
            parts.append(absent[:, None].astype(np.float64))
        return np.hstack(parts)


@dataclass(frozen=True, slots=True)
class Classifier:
    """Says for a row how likely a person accepts it."""

    scaling: Scaling
    weights: Floats
    intercept: float

    def probabilities(self, columns: Floats) -> Floats:
        """[n] between 0 and 1, from what `scaling.columns` gave."""
        return _sigmoid(columns @ self.weights + self.intercept)


def train(features: Features, accepted: Bools) -> Classifier:
    """Fit the decided rows. Both decisions must occur.

    The intercept carries no penalty, so that rare rejections shift it and not the weights.
    """
    scaling = _learn_scaling(features)
    weights = _fit(scaling.columns(features), accepted.astype(np.float64))
    return Classifier(scaling, weights[:-1], float(weights[-1]))


def held_out(features: Features, accepted: Bools) -> Floats:
    """[n]: how likely each decided row is to be accepted, said by a classifier that did not see it.

    FOLDS parts with the same share of rejections each; the rows are dealt out in turn. Each decision must occur at
    least FOLDS times.
    """
    fold = np.empty(len(accepted), dtype=np.intp)
    for decision in (False, True):
        rows = np.flatnonzero(accepted == decision)
        fold[rows] = np.arange(len(rows)) % FOLDS
    said = np.empty(len(accepted))
    for part in range(FOLDS):
        seen, unseen = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        model = train(features.take(seen), accepted[seen])
        said[unseen] = model.probabilities(model.scaling.columns(features.take(unseen)))
    return said


def _learn_scaling(features: Features) -> Scaling:
    vectors, absent = _vectors(features)
    scores, missing = _scores(features)
    present = vectors[~absent]
    centre = present.mean(axis=0) if len(present) else np.zeros(vectors.shape[1])
    total = float(((present - centre) ** 2).sum(axis=1).mean()) if len(present) else 0.0
    count = np.maximum(1, (~missing).sum(axis=0))
    mean = np.where(missing, 0, scores).sum(axis=0) / count
    deviation = np.sqrt((np.where(missing, 0, scores - mean) ** 2).sum(axis=0) / count)
    share = missing.mean(axis=0) if len(features) else np.ones(scores.shape[1])
    # What is the same in every decided row says nothing; dividing by its tiny spread would make it say anything.
    informative = np.flatnonzero(deviation > _CLOSE * (1 + np.abs(mean)))
    return Scaling(
        centre=centre,
        shrink=float(np.sqrt(SPREAD / total)) if total > _CLOSE else 0.0,
        mean=mean,
        deviation=deviation,
        informative=informative,
        incomplete=np.flatnonzero((share > 0) & (share < 1)),
        vectors_incomplete=bool(absent.any() and not absent.all()),
    )


def _vectors(features: Features) -> tuple[Floats, Bools]:
    """The vectors with zeros where one is missing, and where that is."""
    vectors = features.vectors.astype(np.float64)
    absent: Bools = ~np.isfinite(vectors.sum(axis=1))
    vectors[absent] = 0
    return vectors, absent


def _scores(features: Features) -> tuple[Floats, Bools]:
    """The scores with zeros where one is missing, and where that is. Long tails are drawn in."""
    scores = features.scores.astype(np.float64)
    missing = ~np.isfinite(scores)
    scores[missing] = 0
    return np.arcsinh(scores), missing


def _fit(columns: Floats, wanted: Floats) -> Floats:
    """Weights with the intercept last, by Newton's method; a step that would make it worse is halved.

    Made of products with vectors alone: factoring a matrix would take both cores for long, and the screen with them.
    """
    inputs = np.hstack([columns, np.ones((len(columns), 1))])
    penalty = np.full(inputs.shape[1], _PENALTY)
    penalty[-1] = 0
    weights = np.zeros(inputs.shape[1])
    loss = _loss(inputs, wanted, weights, penalty)
    for _ in range(_STEPS):
        said = _sigmoid(inputs @ weights)
        slope = inputs.T @ (said - wanted) + penalty * weights
        step = _solve(inputs, said * (1 - said), penalty + _CLOSE, slope)
        rate = 1.0
        while rate > _CLOSE and _loss(inputs, wanted, weights - rate * step, penalty) > loss:
            rate /= 2
        weights = weights - rate * step
        before, loss = loss, _loss(inputs, wanted, weights, penalty)
        if before - loss < _CLOSE * (1 + abs(loss)):
            break
    return weights


def _solve(inputs: Floats, bend: Floats, ridge: Floats, target: Floats) -> Floats:
    """x with (inputs' diag(bend) inputs + diag(ridge)) x = target, by conjugate gradients."""
    found, rest = np.zeros_like(target), target.copy()
    way, size = rest.copy(), float(rest @ rest)
    goal = size * _CLOSE
    for _ in range(4 * len(target)):
        if size <= goal:
            break
        bent = inputs.T @ (bend * (inputs @ way)) + ridge * way
        pace = size / float(way @ bent)
        found += pace * way
        rest -= pace * bent
        before, size = size, float(rest @ rest)
        way = rest + size / before * way
    return found


def _loss(inputs: Floats, wanted: Floats, weights: Floats, penalty: Floats) -> float:
    odds = inputs @ weights
    return float((np.logaddexp(0, odds) - wanted * odds).sum() + (penalty * weights**2).sum() / 2)


def _sigmoid(odds: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -odds))
