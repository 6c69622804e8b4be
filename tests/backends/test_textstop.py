"""Stop texts against a plain search, over random cuts of the bytes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from localsynth.backends.textstop import TextStream

TEXTS = st.text(alphabet="ab<|>é机\n", max_size=40)
STOPS = st.lists(st.text(alphabet="ab<|>机", min_size=1, max_size=4), max_size=3)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


@given(TEXTS, STOPS, st.lists(st.integers(0, 200), max_size=30))
def test_the_text_ends_before_the_first_stop_text_wherever_it_is_cut(text: str, stops: list[str], places: list[int]):
    stream, said = TextStream(stops), ""
    for piece in cut(text.encode(), places):
        said += stream.feed(piece)
        assert not any(stop in said for stop in stops)
        if stream.stopped_by is not None:
            break
    else:
        said += stream.finish()
    found = [text.find(stop) for stop in stops if stop in text]
    # Where one stop text begins inside another that is not finished yet, the finished one ends the text.
    assert said == stream.text
    if stream.stopped_by is None:
        assert not found
        assert said == text
    else:
        assert text.startswith(said + stream.stopped_by)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=20))
def test_any_bytes_become_text(raw: bytes, places: list[int]):
    stream = TextStream()
    for piece in cut(raw, places):
        stream.feed(piece)
    whole = TextStream()
    whole.feed(raw)
    assert stream.text == whole.text
    stream.text.encode("utf-8")


def test_half_a_character_at_the_end_is_dropped():
    stream = TextStream(["zz"])
    stream.feed("ab机".encode()[:-1])
    assert stream.finish() == ""
    assert stream.text == "ab"
