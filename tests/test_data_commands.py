"""`localsynth export` and `localsynth import` over a real store."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from localsynth.cli import data, import_rows
from localsynth.cli.main import main
from localsynth.engine.exporting import RowStream, Selection, count_rows
from localsynth.export import formats
from localsynth.importing import read
from localsynth.records import Neighbour, Review, Sample, Sampling, Score, Turn
from localsynth.store.queries import Reader
from localsynth.store.store import Store

ODD = "NUL \x00, \x1b]0;title\x07, [red]markup[/red], <|im_end|>, 机器学习, \u2028\u202e"
ASK, ANSWER = Sampling(temperature=1.2, top_p=0.99), Sampling(temperature=0.0)


@pytest.fixture
def store(tmp_path):
    """Twenty rows of one run: 0 hostile, 1 edited by a person, 2 rejected by a rule, 3 without answer, 4 with thinking."""
    path = tmp_path / "s.db"
    mix = {
        "sampling": [
            {"temperature": 1.2, "top_p": 0.99, "weight": 3.0, "max_tokens": 512},
            {"temperature": 1.0, "top_p": 1.0},
        ]
    }
    with Store.open(path) as opened:
        run = opened.create_run(
            method="magpie", plan={"ask": mix, "answer": {"sampling": [{"temperature": 0.0}]}}, seed=7, target=20,
            model="smollm2-135m", revision="abc", state="finished",
        )  # fmt: skip
        for index in range(20):
            sample = Sample(
                run, index, state="done", operation="magpie", detail={"topic": "cooking"} if index == 5 else {}
            )
            question = ODD if index == 0 else f"What is the number {index} and why is it that one?"
            turns = [Turn(sample.id, 0, "user", question, question, model="smollm2-135m", sampling=ASK, seed=index)]
            if index != 3:
                turns.append(
                    Turn(
                        sample.id,
                        1,
                        "assistant",
                        f"It is {index}.",
                        f"It is {index}.",
                        model="answerer",
                        sampling=ANSWER,
                        seed=100 + index,
                        thinking="Counting." if index == 4 else None,
                    )
                )
            scores = [Score(sample.id, "instruction.too_short", 1, 2.0, index != 2, "short" if index == 2 else "")]
            near = [Neighbour(sample.id, Sample(run, index - 1).id, "minilm", 0.96)] if index in (11, 12) else []
            opened.save([sample, *turns, *scores, *near])
        opened.save([Review(Sample(run, 1).id, "accept", edits={1: "Edited."})])
    return path


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_formats_of_the_command_are_those_of_the_room():
    assert list(data.FORMATS) == list(formats())
    assert all(name in (data.export_command.help or "") for name in formats())


def test_kept_rows_with_edits_are_exported_and_noted(store, cli, tmp_path):
    code, out, err = cli("export", tmp_path / "out.jsonl", "--store", store, "--json")
    assert code == 0, err
    result = json.loads(out)
    rows = lines(tmp_path / "out.jsonl")
    assert result["count"] == len(rows) == 19
    assert rows[0]["messages"][0]["content"] == ODD
    assert rows[1]["messages"][1]["content"] == "Edited."
    assert not any("number 2 and" in row["messages"][0]["content"] for row in rows)
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT format, count, sha256 FROM exports").fetchall() == [
            ("openai", 19, result["sha256"])
        ]
    connection.close()


def test_the_card_has_the_facts_and_no_private_path(store, cli, tmp_path):
    cli("export", tmp_path / "out.jsonl", "--store", store)
    text = (tmp_path / "out.jsonl.README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "other"  # "answerer" is in no catalogue
    assert "magpie" in head["tags"]
    assert head["language"] == ["en"]
    for fact in ("`smollm2-135m` | instructions | `apache-2.0` | `abc`", "`answerer` | answers | not known", "| `instruction.too_short` | 1 |",
                 "temperature 1.2, top-p 0.99, at most 512 tokens (weight 3.0); temperature 1.0 (weight 1)", "answer: temperature 0.0",
                 "localsynth export out.jsonl --format openai --store s.db", "19 rows kept"):  # fmt: skip
        assert fact in text, fact
    assert str(tmp_path) not in text


def test_selections(store, cli, tmp_path):
    def count(*flags):
        code, out, err = cli("export", tmp_path / "o.jsonl", "--store", store, "--json", "--force", *flags)
        assert code == 0, err
        return json.loads(out)["count"]

    assert count("--all") == 20
    assert count("--answered") == 18
    assert count("--instructions") == 1
    assert count("--limit", "3") == 3
    assert count("--search", "number 17") == 1
    assert count("--run", "1") == 19


def test_scores_seeds_and_neighbours_reach_the_formats_that_hold_them(store, cli, tmp_path):
    cli("export", tmp_path / "m.jsonl", "-f", "magpie", "--store", store)
    row = lines(tmp_path / "m.jsonl")[9]
    assert row["instruction"].startswith("What is the number 10")
    row = lines(tmp_path / "m.jsonl")[10]
    assert (row["min_neighbor_distance"], row["gen_input_configs"]["seed"], row["gen_response_configs"]["seed"]) == (
        0.08,
        11,
        111,
    )
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    cli("export", tmp_path / "p.parquet", "-f", "parquet", "--store", store)
    row = pq.read_table(tmp_path / "p.parquet").to_pylist()[4]
    assert (row["topic"], row["seeds"]) == ("cooking", [5, 105])
    assert row["scores"] == [{"name": "instruction.too_short", "value": 2.0}]
    assert json.loads(row["sampling"])["ask"]["top_p"] == 0.99


def test_neighbours_of_the_store_stay_in_one_part(store, cli, tmp_path):
    code, _, err = cli("export", tmp_path / "lora", "-f", "mlx-lora", "--answered", "--store", store)
    assert code == 0, err
    where = {
        row["messages"][0]["content"]: path.stem for path in (tmp_path / "lora").glob("*.jsonl") for row in lines(path)
    }
    assert len({where[f"What is the number {i} and why is it that one?"] for i in (10, 11, 12)}) == 1


def test_thinking_only_when_asked(store, cli, tmp_path):
    cli("export", tmp_path / "a.jsonl", "--store", store)
    assert "Counting." not in (tmp_path / "a.jsonl").read_text()
    cli("export", tmp_path / "b.jsonl", "--store", store, "--thinking")
    assert "<think>\\nCounting.\\n</think>" in (tmp_path / "b.jsonl").read_text()


def test_a_target_that_exists_needs_force(store, cli, tmp_path):
    cli("export", "--store", store)
    assert (tmp_path / "localsynth-openai.jsonl").exists()
    code, out, err = cli("export", "--store", store)
    assert (code, out) == (5, "")
    assert "--force" in err


def test_a_format_that_cannot_hold_a_row_says_which(store, cli):
    code, _, err = cli("export", "-f", "alpaca", "--store", store)
    assert code == 5
    assert "format alpaca cannot hold instructions without answers" in err
    assert "--answered" in err


def test_a_store_that_is_not_there(cli, tmp_path):
    code, _, err = cli("export", "--store", tmp_path / "none.db")
    assert code == 4
    assert "none.db" in err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(store, tmp_path):
    """A file-size limit stands in for a full disk: the same failing write, without a file system of its own."""
    with Store.open(store) as opened:
        sample = Sample(opened.create_run(method="magpie", plan={}, seed=0, target=1), 0, state="done")
        opened.save([sample, Turn(sample.id, 0, "user", "x" * 200_000, "x" * 200_000)])
    program = (  # SQLite's own shared memory takes 32 KB
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000));"
        f"from localsynth.cli.main import main; main(['export', 'out.jsonl', '--store', {str(store)!r}])"
    )
    before = {path.name for path in tmp_path.iterdir()}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} - before <= {"s.db-wal", "s.db-shm"}


def test_out_and_in_again_is_the_same_data(store, cli, tmp_path):
    cli("export", tmp_path / "a.jsonl", "--store", store)
    code, out, err = cli("import", tmp_path / "a.jsonl", "--store", tmp_path / "t.db")
    assert (code, out) == (0, "1\n"), err
    cli("export", tmp_path / "b.jsonl", "--store", tmp_path / "t.db")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_importing_again_adds_nothing(cli, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"instruction": "q", "output": "a"}\n' * 3)
    assert json.loads(cli("import", "a.jsonl", "--json")[1])["added"] == 3
    (tmp_path / "a.jsonl").rename(tmp_path / "renamed.jsonl")
    code, out, err = cli("import", "renamed.jsonl", "--json")
    again = json.loads(out)
    assert (code, again["added"], again["already"], again["number"]) == (0, 0, True, 1)
    assert "nothing was added" in err
    with sqlite3.connect(tmp_path / "localsynth.db") as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (3,)
    connection.close()


def test_bad_lines_are_listed_and_the_rest_is_there(cli, tmp_path):
    good = '{"instruction": "q", "output": "a"}'
    (tmp_path / "a.jsonl").write_text(f'{good}\n{{"broken\x1b[31m\n{good}\n{{"other": 1}}\n')
    code, out, err = cli("import", "a.jsonl", "--json")
    result = json.loads(out)
    assert code == 5
    assert (result["added"], result["bad"]) == (2, 2)
    assert [line["line"] for line in result["bad_lines"]] == [2, 4]
    assert "a.jsonl, line 2: broken JSON" in err
    assert "\x1b" not in err + out
    code, out, _ = cli("export", "b.jsonl", "--json")
    assert (code, json.loads(out)["count"]) == (0, 2)


def test_the_list_of_bad_lines_is_bounded(cli, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"instruction": "q"}\n' + "oops\n" * 500)
    code, out, err = cli("import", "a.jsonl", "--json")
    result = json.loads(out)
    assert (code, result["bad"], len(result["bad_lines"])) == (5, 500, 50)
    assert "and 450 more" in err


def test_a_file_of_no_use_makes_no_store(cli, tmp_path):
    (tmp_path / "a.jsonl").write_text("<html>\n")
    code, out, err = cli("import", "a.jsonl")
    assert (code, out) == (5, "")
    assert "is not JSON" in err
    assert not (tmp_path / "localsynth.db").exists()


def test_an_import_that_was_cut_off_goes_on_in_the_same_run(cli, tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"instruction": "q {i}", "output": "a"}}\n' for i in range(1200)))
    save, calls = Store.save, []

    def dies(self, rows):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        save(self, rows)

    monkeypatch.setattr(Store, "save", dies)
    assert cli("import", "a.jsonl")[0] == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("localsynth.db") as connection:
        assert connection.execute("SELECT state, error FROM runs").fetchall() == [("failed", import_rows._UNFINISHED)]
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (500,)
        assert json.loads(cli("import", "a.jsonl", "--json")[1])["added"] == 1200
        assert connection.execute("SELECT state, error, target FROM runs").fetchall() == [("finished", None, 1200)]
        assert connection.execute("SELECT count(*), count(DISTINCT idx) FROM samples").fetchone() == (1200, 1200)
    connection.close()


def test_pairs_labels_keys_and_origin_are_stored(cli, tmp_path):
    rows = [
        {"prompt": "q1", "chosen": "good", "rejected": "bad", "origin": "set A", "huge": "x" * 5000},
        {"instruction": "q2", "output": "a2", "label": False},
        {
            "messages": [
                {"role": "user", "content": "q3"},
                {"role": "assistant", "content": "<think>\nhm\n</think>\n\na3"},
            ],
            "model": "m",
        },
        {"instruction": "only asked"},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert json.loads(cli("import", "a.json", "--json", "--name", "mine")[1]) | {"run": "", "bad_lines": []} == {
        "run": "", "number": 1, "source": "a.json", "added": 4, "answered": 3, "pairs": 1, "rejected": 1, "bad": 0, "bad_lines": [], "already": False,
    }  # fmt: skip
    with sqlite3.connect("localsynth.db") as connection:
        assert connection.execute("SELECT chosen, rejected, source FROM pairs").fetchall() == [
            ("good", "bad", "import")
        ]
        details = [json.loads(row[0]) for row in connection.execute("SELECT detail FROM samples ORDER BY idx")]
        assert details[0] == {"source": "a.json", "line": 1, "extra": {"origin": "set A"}, "left_out": ["huge"]}
        assert connection.execute("SELECT kept, rule FROM verdicts ORDER BY sample").fetchall() == [
            (1, None),
            (0, "label"),
            (1, None),
            (1, None),
        ]
        assert connection.execute(
            "SELECT content, thinking, model, raw FROM turns WHERE thinking IS NOT NULL"
        ).fetchall() == [("a3", "hm", "m", "<think>\nhm\n</think>\n\na3")]
        assert connection.execute("SELECT count(*) FROM instruction_keys").fetchone() == (4,)
    connection.close()


def test_hostile_texts_go_in_and_out_whole(cli, tmp_path):
    texts = [ODD, "汉字" * 500_000, "\x00" * 1000 + "end", "\ud83d alone"]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"instruction": text, "output": text}) + "\n" for text in texts)
    )
    code, _, err = cli("import", "a.jsonl", "--json")
    assert code == 0, err
    cli("export", "b.jsonl")
    found = [row.messages[0].content for row in read(tmp_path / "b.jsonl")]
    assert found == [*texts[:3], "\ufffd alone"]


def test_a_split_is_on_the_card_with_its_command(store, cli, tmp_path):
    code, out, err = cli("export", "parts", "--split", "--answered", "--store", store, "--json")
    assert code == 0, err
    assert [path.rpartition("/")[2] for path in json.loads(out)["files"]] == [
        "train.jsonl",
        "valid.jsonl",
        "test.jsonl",
    ]
    assert "export parts --format openai --store s.db --answered --split" in (tmp_path / "parts/README.md").read_text()
    assert cli("export", "-f", "xtuner", "--split", "--store", store)[0] == 5


def test_rows_are_counted_as_they_are_exported(store, cli, tmp_path):
    choices = (Selection(), Selection(everything=True), Selection(answered=True), Selection(answered=False),
               Selection(run="1", search="number 17"), Selection(everything=True, answered=True, limit=5))  # fmt: skip
    for chosen in choices:
        with Reader.open(store) as reader:
            here = replace(chosen, run=reader.run().id if chosen.run else None)
            stream = RowStream(reader, here, scored=False, page=7)
            assert count_rows(reader, here) == sum(1 for _ in stream), chosen


def test_an_export_that_is_ended_leaves_nothing(store, tmp_path):
    program = (
        "import os, signal, sys\n"
        "from localsynth.engine import exporting\n"
        "from localsynth.cli.main import main\n"
        "exporting.RowStream._note = lambda self, row, sample: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"main(['export', 'out.jsonl', '--store', {str(store)!r}])"
    )
    before = {path.name for path in tmp_path.iterdir()}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert {path.name for path in tmp_path.iterdir()} - before <= {"s.db-wal", "s.db-shm"}
