"""Answering a row once more, by a real process: the answer stands beside the row and adds none to the data."""

from __future__ import annotations

from pathlib import Path

from processes import create, dataset, end, start

from localsynth.engine import answer_again
from localsynth.records import Sample
from localsynth.store import Reader


def test_another_answer_is_written_and_the_data_has_no_row_more(tmp_path: Path) -> None:
    store = tmp_path / "rows.db"
    first = create(store, target=3)
    assert end(start("run", first, "--store", store))[0] == 0
    before = dataset(store)
    with Reader.open(store) as reader:
        row = reader.samples(first, kept=True, limit=1)[0]
    again = answer_again.create(store, row.id)
    code, _, err = end(start("run", again, "--store", store))
    assert code == 0, err
    assert answer_again.look(store, again, starting=False).answered
    [found] = answer_again.answers(store, row.id)
    assert found.text
    assert dataset(store) == before
    with Reader.open(store) as reader:
        other = reader.sample(Sample(again, 0).id)
        assert other.instruction == row.instruction
        assert (other.kept, other.rule) == (False, "answer.again")
        assert other.scores[-1].reason == f"another answer to row {row.index}.{row.attempt}"
        assert reader.run(again).state == "finished"
        # Commands and screens go on with the run whose rows these are.
        assert reader.run().id == first
