"""What is saved comes back, once, whatever the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localsynth.errors import NotFound
from localsynth.records import Candidate, Embedding, Neighbour, Pair, Review, Sample, Sampling, Score, Turn, sample_id
from localsynth.store import EventRow, InstructionKey, Reader, Store

TEXTS = st.text(st.characters(codec=None), max_size=40)  # every code point: NUL, escapes, lone surrogates
NUMBERS = st.none() | st.floats(allow_nan=False)


def stored(text: str) -> str:
    """The documented exception to an exact round trip."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store, str]:
    path = tmp_path_factory.mktemp("shared") / "rows.db"
    store = Store.open(path)
    return path, store, store.create_run(method="magpie", plan={}, seed=0, target=1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=TEXTS,
    raw=TEXTS,
    thinking=st.none() | TEXTS,
    rules=st.lists(st.sampled_from(["strip", "unquote"]), max_size=2),
    sampling=st.none() | st.builds(Sampling, st.floats(0, 2), avoid_first=st.lists(st.text("ab:\n")).map(tuple)),
    seed=st.none() | st.integers(0, 2**32 - 1),
    logprob=NUMBERS,
    index=st.integers(0, 2**32 - 1),
)
def test_turns_go_round(shared, content, raw, thinking, rules, sampling, seed, logprob, index) -> None:
    path, store, run = shared
    sample = Sample(run, index, state="done", error=content, detail={"text": raw, "n": [1, None]})
    turn = Turn(
        sample.id, 0, "user", content, raw, tuple(rules), thinking, "m", sampling, "stop", seed, 1, 2, logprob, 0.25
    )
    same = Turn(sample.id, 1, "assistant", content, content)
    store.save([turn, same, sample])
    with Reader.open(path) as reader:
        row = reader.sample(sample.id)
        (exported,) = [each for each in reader.dataset(run) if each.sample == sample.id]
    assert row.turns == (
        Turn(
            sample.id, 0, "user", stored(content), stored(raw), tuple(rules),
            None if thinking is None else stored(thinking), "m", sampling, "stop", seed, 1, 2, logprob, 0.25,
        ),
        Turn(sample.id, 1, "assistant", stored(content), stored(content)),
    )  # fmt: skip
    assert (row.error, row.detail) == (stored(content), {"text": stored(raw), "n": [1, None]})
    assert [message.content for message in exported.messages] == [stored(content)] * 2


def test_a_line_of_a_megabyte_goes_round(store: Store, run: str, path: Path, pair) -> None:
    line = "\x1b[31m[red]机器\x00" * 80_000
    store.save(pair(run, 0, answer=line))
    with Reader.open(path) as reader:
        assert reader.sample(sample_id(run, 0)).response == line
        assert next(reader.dataset(run)).messages[1].content == line


def test_every_record_comes_back(store: Store, run: str, path: Path, pair) -> None:
    sample = sample_id(run, 4)
    candidate = Candidate(sample, "m", 0, "base", "a", 3, chosen=True, checks={"runs": False})
    preference = Pair(sample, "good", "bad", 0.5, "judge")
    score = Score(sample, "repetition", 2, 0.25, None, "loops", "A: A:")
    neighbour = Neighbour(sample, sample_id(run, 2), "minilm", 0.98)
    store.save([*pair(run, 4), candidate, preference, score, neighbour])
    with Reader.open(path) as reader:
        row = reader.sample(sample)
    assert row.candidates == (candidate,)
    assert row.pairs == (preference,)
    assert row.scores == (Score(sample, "words", 1, 3.0, True), score)
    assert row.neighbours == (neighbour,)
    assert (row.index, row.attempt, row.state, row.operation, row.detail) == (4, 0, "done", "magpie", {"topic": "数学"})


def test_saving_twice_changes_nothing_but_the_time(store: Store, run: str, path: Path, pair) -> None:
    rows = [row for index in range(5) for row in pair(run, index, failed="loop") if not isinstance(row, EventRow)]
    rows += [InstructionKey(sample_id(run, 0), 2**64 - 1), Pair(sample_id(run, 0), "a", "b", None, "s")]
    store.save(rows)
    with Reader.open(path) as reader:
        before = [reader.sample(sample_id(run, index)) for index in range(5)]
        store.save(rows)
        after = [reader.sample(sample_id(run, index)) for index in range(5)]
        assert list(reader.instruction_keys()) == [(sample_id(run, 0), 2**64 - 1)]
    for old, new in zip(before, after, strict=True):
        assert new.updated >= old.updated
        assert (old.created, old.turns, old.scores, old.pairs) == (new.created, new.turns, new.scores, new.pairs)


def test_one_bad_row_keeps_the_whole_group_out(store: Store, run: str, path: Path, pair) -> None:
    store.save(pair(run, 0))
    with pytest.raises(Exception, match="FOREIGN KEY"):
        store.save([*pair(run, 1), Score(sample_id(run, 99), "words", 1, 1.0, True)])
    with Reader.open(path) as reader:
        assert [row.index for row in reader.samples(run)] == [0]
        assert len(reader.events(run)) == 1


def test_embeddings_are_those_of_admitted_instructions(store: Store, run: str, path: Path, pair) -> None:
    np = pytest.importorskip("numpy")
    vectors = np.eye(3, 4, dtype="<f2")
    for index in range(3):
        sample = sample_id(run, index)
        admitted = [InstructionKey(sample, index)] if index else []
        store.save([*pair(run, index), Embedding(sample, "instruction", "e", "h", vectors[index].tobytes()), *admitted])
    with Reader.open(path) as reader:
        ids, matrix = reader.embeddings("e", "instruction")
        assert ids.dtype == np.int64
        assert matrix.dtype == np.float16
        by_id = dict(zip(ids.tolist(), matrix.tolist(), strict=True))
        assert by_id == {sample_id(run, index): vectors[index].tolist() for index in (1, 2)}
        ids, matrix = reader.embeddings("other", "instruction")
        assert (ids.shape, matrix.shape) == ((0,), (0, 0))


def test_an_instruction_key_has_64_bits() -> None:
    with pytest.raises(ValueError, match="unsigned 64-bit"):
        InstructionKey(1, 2**64)
    with pytest.raises(ValueError, match="unsigned 64-bit"):
        InstructionKey(1, -1)


def test_runs_are_numbered_and_changed(store: Store, run: str, path: Path) -> None:
    second = store.create_run(method="import", plan={}, seed=0, target=0, name="wild", host="here")
    store.update_run(run, state="running", pid=42, versions={"localsynth": "0.1"}, error="x\ud800")
    with Reader.open(path) as reader:
        first, other = reader.runs()
    assert (first.id, first.number, first.state, first.pid) == (run, 1, "running", 42)
    assert (first.versions, first.plan, first.error) == ({"localsynth": "0.1"}, {"topics": ["数学"]}, "x\ufffd")
    assert (other.id, other.number, other.name, other.host, other.state) == (second, 2, "wild", "here", "created")
    assert len(run) == 26
    assert run < second or run[:10] == second[:10]


def test_unknown_runs_and_columns_are_refused(store: Store, run: str) -> None:
    with pytest.raises(NotFound, match="no run 01NONE"):
        store.update_run("01NONE", state="running")
    with pytest.raises(ValueError, match="speed"):
        store.update_run(run, speed=3)


def test_controls_are_taken_once_and_in_order(store: Store, run: str, path: Path) -> None:
    other = store.create_run(method="magpie", plan={}, seed=1, target=1)
    store.send(run, "pause")
    store.send(other, "cancel")
    store.send(run, "slots", "8")
    assert [(control.verb, control.argument) for control in store.take_controls(run)] == [
        ("pause", None),
        ("slots", "8"),
    ]
    assert store.take_controls(run) == []
    with Reader.open(path) as reader:
        assert all(control.done for control in reader.controls(run))
        assert [control.done for control in reader.controls(other)] == [None]


def test_progress_is_one_row(store: Store, run: str, path: Path) -> None:
    with Reader.open(path) as reader:
        assert reader.progress(run) is None
        store.set_progress(run, {"kept": 1})
        store.set_progress(run, {"kept": 2, "text": "机\x1b[0m"})
        progress = reader.progress(run)
        assert progress is not None
        assert progress.data == {"kept": 2, "text": "机\x1b[0m"}


def test_exports_are_noted(store: Store, path: Path) -> None:
    store.add_export(path="out.jsonl", export_format="openai", query={"kept": True}, count=3, sha256="ab")
    with Reader.open(path) as reader:
        (export,) = reader.exports()
    assert (export.path, export.format, export.query, export.count) == ("out.jsonl", "openai", {"kept": True}, 3)


def test_edits_apply_to_what_is_exported_and_undecided_takes_them_back(
    store: Store, run: str, path: Path, pair
) -> None:
    store.save(pair(run, 0))
    sample = sample_id(run, 0)
    store.save([Review(sample, "accept", "typo", {0: "Why\x00 not?"})])
    with Reader.open(path) as reader:
        assert next(reader.dataset()).messages[0].content == "Why\ufffd not?"
        assert reader.sample(sample).instruction == "Why\ufffd not?"
        assert reader.sample(sample).turns[0].content == "Why?"
        store.save([Review(sample, "undecided")])
        assert next(reader.dataset()).messages[0].content == "Why?"
        assert [review.verdict for review in reader.sample(sample).reviews] == ["accept", "undecided"]
