"""Near duplicates: which encoder judges which text, in what order, and what the finding says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from localsynth.embedding.encoders import CharNgramEncoder, Coverage
from localsynth.embedding.index import NearestIndex
from localsynth.filters.neighbours import NearDuplicates


class Known:
    """A two-dimensional encoder: the number after "at" is the angle in degrees, "?" counts as an unknown token."""

    name = "angles"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        angles = np.radians([float(text.split("at ")[1].split()[0]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def coverage(self, texts: Sequence[str]) -> Coverage:
        unknown = np.array([text.count("?") / len(text.split()) for text in texts], np.float32)
        return Coverage(unknown, np.array([len(text) > 200 for text in texts]))


def corpus(threshold: float = 0.975) -> NearDuplicates:
    return NearDuplicates((Known(), NearestIndex(2)), (CharNgramEncoder(), NearestIndex(512)), threshold)


def test_the_first_stays_and_later_ones_are_compared_with_what_was_admitted() -> None:
    judged = corpus().admit([1, 2, 3, 4], ["point at 0", "point at 10", "point at 20", "point at 90"])
    assert [found.finding.passed for found in judged] == [True, False, True, True]
    assert judged[1].neighbour is not None
    assert judged[1].neighbour.neighbour == 1
    assert judged[1].neighbour.similarity == pytest.approx(np.cos(np.radians(10)), abs=1e-3)
    # 20 degrees is near 10, but 10 was not admitted.
    assert judged[2].neighbour is not None
    assert judged[2].neighbour.neighbour == 1
    assert judged[0].neighbour is None


def test_waves_give_what_one_call_gives() -> None:
    texts = [f"point at {angle}" for angle in (0, 5, 40, 41, 90, 13, 100, 60)]
    whole = [found.finding.passed for found in corpus().admit(range(8), texts)]
    waves = corpus()
    parts = [waves.admit([at], [text])[0].finding.passed for at, text in enumerate(texts)]
    assert parts == whole


def test_the_threshold_decides() -> None:
    texts = ["point at 0", "point at 10"]
    assert corpus(0.99).admit([1, 2], texts)[1].finding.passed is True
    assert corpus(0.98).admit([1, 2], texts)[1].finding.passed is False


def test_a_text_the_encoder_does_not_know_is_judged_by_characters() -> None:
    judged = corpus().admit(
        [1, 2, 3], ["at 0 ? what ? is ? love", "at 0 ? where ? are ? we", "at 0 ? what ? is ? love"]
    )
    assert [found.encoder for found in judged] == ["char-2-4"] * 3
    assert [found.finding.passed for found in judged] == [True, True, False]
    assert "angles does not know 38% of the tokens" in judged[0].finding.reason


def test_long_texts_that_share_what_the_encoder_reads_are_no_duplicates() -> None:
    passage = "point at 0 " + " ".join(f"fact {n} of this passage" for n in range(80))
    texts = [f"{passage} Who wrote this passage, and when was it?", f"{passage} List five words that it uses twice."]
    judged = corpus().admit([1, 2, 3], [*texts, texts[0]])
    assert [found.finding.passed for found in judged] == [True, True, False]
    assert "longer than angles reads" in judged[0].finding.reason


def test_without_a_sentence_encoder_characters_decide() -> None:
    alone = NearDuplicates(None, (CharNgramEncoder(), NearestIndex(512)))
    judged = alone.admit([1, 2], ["How do I bake bread?", "how do I bake  bread?"])
    assert judged[1].finding.passed is False
    assert "no sentence encoder" in judged[1].finding.reason


def test_stored_vectors_are_taken_in_again() -> None:
    first = corpus().admit([1], ["point at 0"])[0]
    again = corpus()
    again.restore(first.encoder, [1], np.asarray([first.vector]))
    again.restore("another encoder", [9], np.zeros((1, 7), np.float32))
    found = again.admit([2], ["point at 3"])[0]
    assert found.finding.passed is False
    assert found.neighbour is not None
    assert found.neighbour.neighbour == 1
