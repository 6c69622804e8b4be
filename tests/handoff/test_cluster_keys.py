"""The keys that shards share: MinHash on real texts, the index, and a server that dies."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from handed import RUN, Made, number, shard_store
from hypothesis import given, settings
from hypothesis import strategies as st

from localsynth.config import GatePlan
from localsynth.engine.corpus import Corpus
from localsynth.filters.duplicates import normalise
from localsynth.handoff.cluster import index as index_module
from localsynth.handoff.cluster.index import Entry, Held, KeyIndex, KeyTable
from localsynth.handoff.cluster.minhash import BANDS, band_keys, jaccard, near_limit, shingles
from localsynth.handoff.cluster.sharing import KeyServer, SharedKeys, admitted, entry
from localsynth.records import sample_id

LONG = "Write a short story about a lighthouse keeper who finds a message in a bottle on a cold winter morning"


def similarity(one: str, other: str) -> float:
    return jaccard(shingles(normalise(one)), shingles(normalise(other)))


def found(one: str, other: str) -> bool:
    return bool((band_keys(shingles(normalise(one))) == band_keys(shingles(normalise(other)))).any())


@given(st.text(), st.text())
def test_jaccard_is_that_of_the_sets_of_runs(one: str, other: str):
    def runs(text: str) -> set[str]:
        padded = text.ljust(4, "\0")
        return {padded[at : at + 4] for at in range(len(padded) - 3)}

    expected = len(runs(one) & runs(other)) / len(runs(one) | runs(other))
    assert jaccard(shingles(one), shingles(other)) == pytest.approx(expected)


@given(st.text(max_size=3000))
@settings(max_examples=30)
def test_band_keys_are_made_of_the_set_alone(text: str):
    runs = shingles(text)
    keys = band_keys(runs)
    assert keys.shape == (BANDS,)
    assert (keys == band_keys(runs[::-1].copy())).all()
    assert len(set(keys.tolist())) == BANDS


def test_keys_are_the_same_on_every_machine():
    assert [hex(key) for key in band_keys(shingles("what is a group?"))[:2].tolist()] == [
        "0x914f4a9bc2834bec",
        "0x70e54ceafde11a99",
    ]


def test_of_real_pairs_near_the_limit_hardly_one_is_missed(shared_data: Path):
    texts = []
    with gzip.open(shared_data / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [normalise(json.loads(line)["question"]) for line, _ in zip(lines, range(400), strict=False)]
    pairs = missed = 0
    for text in texts:
        # A few words taken out of the middle: similarities from about 0.85 to 0.97.
        words = text.split()
        cut = len(words) // 2
        other = " ".join(words[:cut] + words[cut + max(1, len(words) // 20) :])
        if 0.85 <= similarity(text, other) <= 0.95:
            pairs += 1
            missed += not found(text, other)
    assert pairs > 150
    assert missed <= pairs * 0.01


def test_different_problems_are_no_duplicates_of_each_other(shared_data: Path):
    keys = KeyIndex()
    with gzip.open(shared_data / "gsm8k" / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
        entries = [entry(sample_id(RUN, at), json.loads(line)["question"], near=True) for at, line in enumerate(lines)]
    assert [held for held in keys.claim(entries) if held] == []
    assert len(keys) == len(entries) > 1000


@pytest.mark.parametrize(("length", "limit"), [(10, 0.9), (114, 0.9), (300, 0.961), (2000, 0.994)])
def test_a_long_text_may_differ_in_as_few_characters_as_a_short_one(length: int, limit: float):
    assert near_limit("x" * length) == pytest.approx(limit, abs=0.001)


def test_another_question_about_the_same_passage_is_another_question():
    passage = " ".join(f"Ship {at * 7919 % 9973} came in {at * 31 % 97} days." for at in range(20))
    keys = KeyIndex()
    texts = [
        f"{passage} Which one was first?",
        f"{passage} Which one was last?",
        f"{passage} Which one was first",
    ]
    assert similarity(texts[0], texts[1]) > 0.9
    found = keys.claim([entry(number(at), text, near=True) for at, text in enumerate(texts)])
    assert [held and held.sample for held in found] == [None, None, number(0)]


def test_a_number_that_differs_makes_another_problem():
    keys = KeyIndex()
    one = "A baker sells 48 loaves in the morning and half as many in the afternoon. How many loaves are sold?"
    texts = [one, one.replace("48", "96"), "What is 25% of 80?", "What is 35% of 80?"]
    assert keys.claim([entry(number(at), text, near=True) for at, text in enumerate(texts)]) == [None] * 4


@pytest.mark.parametrize("near", [True, False])
def test_the_same_and_nearly_the_same_text_are_held_by_the_first(near: bool):
    keys = KeyIndex()
    claims = [entry(number(at), text, near=near) for at, text in enumerate([LONG, LONG.upper() + ".", LONG + "s"])]
    first, same, close = keys.claim(claims)
    assert first is None
    assert same == Held(number(0), 1.0)
    assert (close is not None) is near
    if close is not None:
        assert close.sample == number(0)
        assert close.similarity == pytest.approx(similarity(LONG, LONG + "s"))
        assert near_limit(LONG) <= close.similarity < 1


def test_a_sample_does_not_stand_in_its_own_way_whatever_its_attempt():
    keys = KeyIndex()
    for attempt in (0, 0, 1):
        assert keys.claim([entry(sample_id(RUN, 3, attempt), LONG, near=True)]) == [None]
    assert len(keys) == 1
    assert keys.claim([entry(number(4), LONG, near=True)])[0] == Held(number(3), 1.0)


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=5), max_size=60))
@settings(max_examples=50, deadline=None)
def test_the_table_finds_what_a_dictionary_finds(rows: list[list[int]]):
    before = index_module._RECENT
    index_module._RECENT = 7  # so that a few rows are sorted and merged many times
    try:
        table = KeyTable()
        for row, keys in enumerate(rows):
            table.add(row, np.array(keys, np.uint64))
    finally:
        index_module._RECENT = before
    for key in range(41):
        assert table.find(np.array([key], np.uint64)) == [row for row, keys in enumerate(rows) if key in keys]


def test_the_memory_of_an_entry_is_known():
    keys = KeyIndex()
    texts = [f"{at:x} {at * 7919:x} {LONG[at % 40 :]}" for at in range(9000)]
    keys.claim([entry(number(at), text, near=False) for at, text in enumerate(texts)])
    per_row = keys.nbytes / len(keys)
    assert len(keys) == 9000
    assert per_row < np.mean([len(text) for text in texts]) + 16 + 12 * (1 + BANDS)


@pytest.fixture
def shards(tmp_path: Path) -> Callable[[int, str], Path]:
    def make(shard: int, text: str) -> Path:
        return shard_store(tmp_path / f"shard-{shard}.db", shard, 2, [Made(shard - 1, text)])

    return make


class Wire:
    """Reaches a server that can be replaced by another one, or by none."""

    def __init__(self, server: KeyServer) -> None:
        self.server: KeyServer | None = server
        self.asked: list[list[int]] = []

    def life(self) -> str:
        return self.there().life()

    def claim(self, life: str, entries: list[Entry]) -> list[Held | None] | None:
        self.asked.append([each.sample for each in entries])
        return self.there().claim(life, entries)

    def there(self) -> KeyServer:
        if self.server is None:
            raise ConnectionError
        return self.server


def shared(store: Path, wire: Wire) -> SharedKeys:
    return SharedKeys(store, wire.life, wire.claim, near=True)


def test_a_shard_hears_of_what_another_admitted(shards: Callable[[int, str], Path]):
    one, two = shards(1, "What is a ring?"), shards(2, "What is a field?")
    wire = Wire(KeyServer([], near=True))
    assert shared(one, wire).claim([number(2)], [LONG]) == [None]
    (same, close, other) = shared(two, wire).claim(
        [number(1), number(3), number(5)], ["what is a ring", LONG + "s", "Name a river."]
    )
    assert same is not None
    assert (same.rule, same.reason) == ("duplicate", "the same text as 0 of another shard")
    assert close is not None
    assert (close.rule, close.passed) == ("near_duplicate", False)
    assert close.reason.startswith("0.9")
    assert other is None


def test_a_server_that_lost_everything_is_told_again(shards: Callable[[int, str], Path]):
    one, two = shards(1, "What is a ring?"), shards(2, "What is a field?")
    wire = Wire(KeyServer([], near=True))
    first, second = shared(one, wire), shared(two, wire)
    first.claim([], [])
    second.claim([], [])
    wire.server = KeyServer([], near=True)
    assert first.claim([number(2)], ["Name a river."]) == [None]
    assert wire.asked[-2:] == [[number(0)], [number(2)]]
    # The second shard has not noticed yet; the first one's rows are there all the same.
    (found,) = second.claim([number(3)], ["What is a ring?"])
    assert found is not None


def test_a_new_server_begins_with_the_shards_at_which_nobody_works(shards: Callable[[int, str], Path]):
    stores = [shards(1, "What is a ring?"), shards(2, "What is a field?")]
    live = stores[1].with_name(stores[1].name + "-wal")
    live.write_bytes(b"rows")
    stores[0].with_name(stores[0].name + "-wal").write_bytes(b"")  # as one who only read it leaves it
    server = KeyServer([*stores, stores[0].with_name("missing.db")], near=True)
    held = server.claim(server.life(), [entry(number(8), "What is a ring?", near=True),
                                        entry(number(9), "What is a field?", near=True)])  # fmt: skip
    assert held == [Held(number(0), 1.0), None]


def test_without_a_server_the_shard_goes_on_alone(shards: Callable[[int, str], Path]):
    wire = Wire(KeyServer([], near=True))
    keys = shared(shards(1, "What is a ring?"), wire)
    wire.server = None
    assert keys.claim([number(2)], ["What is a ring?"]) == [None]


def test_only_what_a_store_admitted_is_shared(tmp_path: Path):
    store = shard_store(tmp_path / "s.db", 1, 1, [Made(0, "What is a ring?"), Made(1, LONG, rejected=True)])
    assert [each.sample for each in admitted(store, near=True)] == [number(0), number(1)]
    assert [len(each.keys) for each in admitted(store, near=False)] == [8, 8]


def test_the_engine_asks_the_others_last_and_rejects_what_they_have(shards: Callable[[int, str], Path]):
    one, two = shards(1, "What is a ring?"), shards(2, "What is a field?")
    wire = Wire(KeyServer([one], near=True))
    corpus = Corpus(two, GatePlan(near_duplicates=False), shared=shared(two, wire))
    ids = [number(3), number(5), number(7)]
    decisions = corpus.decide(ids, ["What is a field?", "What is a ring?", "Name a river."])
    assert [decision.passed for decision in decisions] == [False, False, True]
    assert wire.asked[-1] == [number(5), number(7)]
    assert [type(row).__name__ for row in decisions[1].rows(number(5))] == ["Score"]
