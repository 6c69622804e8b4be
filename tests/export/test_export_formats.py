"""Every format: its exact shape, what it refuses, and that a fault leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from localsynth.errors import DataError, MissingPackage
from localsynth.export import export, find, formats

LINES = ("openai", "sharegpt", "alpaca", "magpie", "trl")


def lines(path):
    return [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]


def write(tmp_path, card, rows, fmt, **options):
    return export(rows, fmt, tmp_path / f"out{find(fmt).suffix}", card, **options)


@pytest.fixture
def talk(row):
    """Two turns under a system prompt."""
    return row(5, messages=(("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")))


def test_openai_and_sharegpt_keep_every_turn(tmp_path, card, talk):
    result = write(tmp_path, card, [talk], "openai")
    assert lines(result.paths[0]) == [{"messages": [{"role": r, "content": c} for r, c in talk.messages]}]
    (value,) = lines(write(tmp_path / "s", card, [talk], "sharegpt").paths[0])
    assert [turn["from"] for turn in value["conversations"]] == ["system", "human", "gpt", "human", "gpt"]


def test_alpaca_puts_earlier_turns_into_history(tmp_path, card, talk):
    (value,) = lines(write(tmp_path, card, [talk], "alpaca").paths[0])
    assert value == {"instruction": "c", "input": "", "output": "d", "system": "S", "history": [["a", "b"]]}


def test_trl_trains_on_the_last_answer(tmp_path, card, talk):
    (value,) = lines(write(tmp_path, card, [talk], "trl").paths[0])
    assert [turn["content"] for turn in value["prompt"]] == ["S", "a", "b", "c"]
    assert value["completion"] == [{"role": "assistant", "content": "d"}]


def test_xtuner_has_the_system_in_the_first_turn_only(tmp_path, card, talk, row):
    result = write(tmp_path, card, [talk, row(6)], "xtuner")
    first, second = json.loads(result.paths[0].read_text())
    assert first == {"conversation": [{"system": "S", "input": "a", "output": "b"}, {"input": "c", "output": "d"}]}
    assert second["conversation"][0]["system"] == ""


def test_magpie_fills_the_published_schema_and_the_seed(tmp_path, card, talk, row):
    near = row(6, near=((talk.id, 0.98), (77, 0.5)))
    first, second = lines(write(tmp_path, card, [talk, near], "magpie").paths[0])
    published = {
        "uuid", "model", "gen_input_configs", "instruction", "response", "conversations", "task_category", "difficulty",
        "other_task_category", "task_category_generator", "intent", "knowledge", "difficulty_generator", "input_quality",
        "quality_explanation", "quality_generator", "llama_guard_2", "reward_model", "instruct_reward", "language",
        "min_neighbor_distance", "repeat_count", "min_similar_uuid", "instruction_length", "response_length",
    }  # fmt: skip
    assert published <= first.keys()
    assert (first["instruction"], first["response_2"], first["instruction_2"]) == ("a", "d", "c")
    assert second["gen_input_configs"] == {"temperature": 1.1, "top_p": 0.995, "input_generator": "asker", "seed": 6}
    assert second["gen_response_configs"]["seed"] == 7
    assert (second["min_neighbor_distance"], second["repeat_count"]) == (0.04, 1)
    assert second["min_similar_uuid"] == first["uuid"]
    assert second["language"] == "EN"
    assert second["instruct_reward"] is None


@pytest.mark.parametrize("fmt", ["openai", "sharegpt", "magpie", "trl", "parquet"])
def test_instructions_alone_are_exported_where_the_format_can(tmp_path, card, row, fmt):
    result = write(tmp_path, card, [row(1, messages=(("user", "Why?"),))], fmt)
    assert result.count == 1
    if fmt == "magpie":
        assert lines(result.paths[0])[0]["response"] is None
    if fmt == "trl":
        assert lines(result.paths[0]) == [{"prompt": [{"role": "user", "content": "Why?"}]}]


@pytest.mark.parametrize("fmt", ["alpaca", "xtuner", "llama-factory", "mlx-lora"])
def test_instructions_alone_are_refused_where_it_cannot(tmp_path, card, row, fmt):
    with pytest.raises(DataError, match=f"format {fmt} cannot hold instructions") as caught:
        write(tmp_path, card, [row(0), row(1, messages=(("user", "Why?"),))], fmt)
    assert "--answered" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_trl_refuses_a_mixture(tmp_path, card, row):
    with pytest.raises(DataError, match="has both"):
        write(tmp_path, card, [row(0), row(1, messages=(("user", "Why?"),))], "trl")


def test_turns_that_do_not_alternate_are_named(tmp_path, card, row):
    with pytest.raises(DataError, match="row 01RUN:4 has user, user, assistant"):
        write(tmp_path, card, [row(4, messages=(("user", "a"), ("user", "b"), ("assistant", "c")))], "alpaca")


@pytest.mark.parametrize("fmt", LINES)
def test_one_line_is_one_row_for_every_reader(tmp_path, card, rows, fmt):
    result = write(tmp_path, card, rows, fmt)
    data = result.paths[0].read_bytes()
    assert result.sha256 == hashlib.sha256(data).hexdigest()
    assert result.count == len(rows) == len(data.decode().splitlines())  # splits at U+2028 and U+0085 too
    assert "机器学习".encode() in data


def test_lone_surrogates_become_replacement_characters(tmp_path, card, row):
    result = write(tmp_path, card, [row(1, messages=(("user", "a\ud800b?"), ("assistant", "\udc00")))], "openai")
    assert [turn["content"] for turn in lines(result.paths[0])[0]["messages"]] == ["a\ufffdb?", "\ufffd"]


def test_thinking_is_left_out_unless_asked_for(tmp_path, card, row):
    thought = row(1, thinking=(None, "Let me see."))
    (plain,) = lines(write(tmp_path, card, [thought], "sharegpt").paths[0])
    assert plain["conversations"][1]["value"] == "Answer 1."
    (full,) = lines(write(tmp_path, card, [thought], "sharegpt", include_thinking=True, force=True).paths[0])
    assert full["conversations"][1]["value"] == "<think>\nLet me see.\n</think>\n\nAnswer 1."


def test_nothing_is_overwritten_without_force(tmp_path, card, row):
    path = tmp_path / "out.jsonl"
    path.write_text("precious")
    with pytest.raises(DataError, match="is there already") as caught:
        export([row(1)], "openai", path, card)
    assert "--force" in caught.value.hint
    assert path.read_text() == "precious"
    export([row(1)], "openai", path, card, force=True)
    assert len(lines(path)) == 1


def test_force_on_a_folder_keeps_other_files_and_takes_stale_parts_away(tmp_path, card, row):
    folder = tmp_path / "out"
    export(map(row, range(30)), "mlx-lora", folder, card)
    (folder / "notes.txt").write_text("mine")
    result = export(map(row, range(2)), "mlx-lora", folder, card, force=True)
    assert {path.name for path in result.paths} == {"train.jsonl", "valid.jsonl"}
    assert {path.name for path in folder.iterdir()} == {"train.jsonl", "valid.jsonl", "README.md", "notes.txt"}


@pytest.mark.parametrize("fmt", formats())
def test_a_fault_midway_leaves_the_old_file_and_no_other(tmp_path, card, row, fmt):
    def broken():
        yield from map(row, range(20))
        raise OSError(28, os.strerror(28))

    path = tmp_path / f"out{find(fmt).suffix}"
    export(map(row, range(20)), fmt, path, card)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match="No space left on device"):
        export(broken(), fmt, path, card, force=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("fmt", formats())
def test_no_rows_is_an_error_and_makes_nothing(tmp_path, card, fmt):
    with pytest.raises(DataError, match=r"no rows|at least two rows"):
        write(tmp_path, card, [], fmt)
    assert list(tmp_path.iterdir()) == []


def test_wrong_targets_and_names_are_refused_before_any_work(tmp_path, card, row):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a folder"):
        export(iter(()), "openai", tmp_path, card)
    with pytest.raises(DataError, match="is a file"):
        export(iter(()), "mlx-lora", tmp_path / "file", card, force=True)
    with pytest.raises(DataError, match="no export format 'csv'") as caught:
        export(iter(()), "csv", tmp_path / "x", card)
    assert "openai" in caught.value.hint


def test_parquet_without_pyarrow_names_the_extra(tmp_path, card, row, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingPackage) as caught:
        write(tmp_path, card, [row(1)], "parquet")
    assert caught.value.hint == "pip install 'localsynth[parquet]'"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fmt", formats())
def test_the_same_rows_give_the_same_bytes(tmp_path, card, rows, fmt):
    first = export(iter(rows), fmt, tmp_path / f"a{find(fmt).suffix}", card)
    second = export(iter(rows), fmt, tmp_path / f"b{find(fmt).suffix}", card)
    assert first.sha256 == second.sha256
