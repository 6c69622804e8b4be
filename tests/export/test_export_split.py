"""The LoRA folder's parts: near-duplicates stay together, whatever the order of rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.errors import DataError
from localsynth.export import export, formats, line, splits
from localsynth.export.split import Clusters, assign

SIZES = st.lists(st.integers(1, 8), min_size=2, max_size=80)


@given(SIZES)
def test_every_part_that_can_be_filled_is(sizes):
    parts = assign([(f"key {i}", size) for i, size in enumerate(sizes)])
    assert {"train", "valid"} <= set(parts)
    assert ("test" in parts) == (len(sizes) >= 3)


@given(st.integers(12, 400))
def test_valid_and_test_hold_a_batch_and_train_holds_most(count):
    parts = assign([(f"key {i}", 1) for i in range(count)])
    held = {part: parts.count(part) for part in ("train", "valid", "test")}
    assert min(held.values()) >= 4
    assert held["train"] >= count / 3
    if count >= 200:
        assert held["train"] > 0.7 * count


@given(SIZES, st.randoms())
def test_order_does_not_matter(sizes, random):
    clusters = [(f"key {i}", size) for i, size in enumerate(sizes)]
    expected = dict(zip(clusters, assign(clusters), strict=True))
    random.shuffle(clusters)
    assert dict(zip(clusters, assign(clusters), strict=True)) == expected


def test_more_rows_move_few_old_ones():
    keys = [f"key {i}" for i in range(1100)]
    before = assign([(key, 1) for key in keys[:1000]])
    after = assign([(key, 1) for key in keys])[:1000]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_clusters_are_the_connected_components(links):
    clusters = Clusters()
    neighbours = {i: {i} for i in range(31)}
    for one, other in links:
        clusters.link(one, other)
        merged = neighbours[one] | neighbours[other]
        for member in merged:
            neighbours[member] = merged
    for one in range(31):
        assert {other for other in range(31) if clusters.find(other) == clusters.find(one)} == neighbours[one]


def parts_of(folder):
    found = {}
    for path in folder.glob("*.jsonl"):
        for text in path.read_text().splitlines():
            found[json.loads(text)["messages"][0]["content"]] = path.stem
    return found


def test_near_duplicates_do_not_straddle(tmp_path, card, row):
    """Chains of five rows, each near only to the next: one cluster each. Below the threshold nothing is tied."""
    rows = [row(i, near=((1000 + i + 1, 0.93),) if i % 5 != 4 else ((1000 + i + 1, 0.5),)) for i in range(100)]
    export(rows, "mlx-lora", tmp_path / "a", card)
    found = parts_of(tmp_path / "a")
    assert set(found.values()) == {"train", "valid", "test"}
    for start in range(0, 100, 5):
        assert len({found[f"Question {i}?"] for i in range(start, start + 5)}) == 1
    export(rows[::-1], "mlx-lora", tmp_path / "b", card)
    assert parts_of(tmp_path / "b") == found


def test_the_same_question_in_other_case_stays_in_one_part(tmp_path, card, row):
    rows = [
        row(i, messages=(("user", f"Why {i // 2}?" if i % 2 else f"WHY  {i // 2}?"), ("assistant", "x")))
        for i in range(60)
    ]
    export(rows, "mlx-lora", tmp_path / "a", card)
    found = parts_of(tmp_path / "a")
    assert len(found) == 60
    assert all(found[f"Why {i}?"] == found[f"WHY  {i}?"] for i in range(30))


def test_rows_of_one_cluster_cannot_be_split(tmp_path, card, row):
    rows = [row(i, messages=(("user", "Same?"), ("assistant", str(i)))) for i in range(5)]
    with pytest.raises(DataError, match="two rows that are not near-duplicates"):
        export(rows, "mlx-lora", tmp_path / "a", card)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fmt", [name for name in formats() if splits(name)])
def test_any_jsonl_can_be_split(tmp_path, card, row, fmt):
    """The same lines as in one file, near-duplicates of rows and of texts in one part, and the card names the parts."""
    near = {1: ((1000, 0.95),), 2: ((1000, 0.89),)}
    rows = [row(i, near=near.get(i, ())) for i in range(40)]
    rows.append(row(40, messages=(("user", "question  0?"), ("assistant", "Again."))))
    whole = export(rows, fmt, tmp_path / "all.jsonl", card)
    parts = export(rows, fmt, tmp_path / "parts", card, split=True)
    texts = {path.stem: path.read_text().splitlines() for path in parts.paths}
    assert set(texts) == {"train", "valid", "test"}
    assert sorted(text for lines in texts.values() for text in lines) == sorted(whole.paths[0].read_text().splitlines())
    homes = {text: name for name, lines in texts.items() for text in lines}
    lines = [line(each, fmt) for each in rows]
    assert homes[lines[0]] == homes[lines[1]] == homes[lines[40]]
    said = parts.card.read_text()
    assert "split: validation" in said
    assert f"`valid.jsonl` | {len(texts['valid'])} |" in said


def test_what_has_no_lines_is_not_split(tmp_path, card, row):
    for fmt in ("xtuner", "llama-factory", "parquet"):
        with pytest.raises(DataError, match=f"format {fmt} has no parts"):
            export([row(0), row(1)], fmt, tmp_path / fmt, card, split=True)
    with pytest.raises(DataError, match="a split needs two rows"):
        export([row(0)], "openai", tmp_path / "one", card, split=True)
    assert list(tmp_path.iterdir()) == []
