"""Breaking off a query that nobody waits for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from localsynth.errors import StoreError
from localsynth.records import Sample
from localsynth.store import Reader, Store
from localsynth.store.abandoning import Errand

_ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


def test_an_abandoned_errand_ends_its_queries_and_no_others(path: Path) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=0, target=1)
        store.save([Sample(run, 0)])
    errand, said = Errand(), []

    def work() -> None:
        with errand.at_work(), Reader.open(path) as reader:
            try:
                reader._all(_ENDLESS)
            except StoreError as error:
                said.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    errand.abandoned = True
    thread.join(30)
    assert not thread.is_alive()
    assert len(said) == 1
    with Reader.open(path) as reader:
        assert len(reader.samples(run)) == 1
    with errand.at_work(), Reader.open(path) as reader, pytest.raises(StoreError):
        reader._all(_ENDLESS)
