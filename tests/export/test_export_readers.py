"""The real readers take what is written: datasets, and the shapes that XTuner and LLaMA-Factory document."""

from __future__ import annotations

import json

import pytest

from localsynth.export import export, find, formats

datasets = pytest.importorskip("datasets", reason="the datasets library is not installed")


@pytest.fixture
def load(tmp_path):
    datasets.disable_progress_bars()

    def read(builder, **options):
        return datasets.load_dataset(builder, cache_dir=str(tmp_path / "cache"), **options)

    return read


@pytest.mark.parametrize("fmt", formats())
def test_datasets_reads_every_format(tmp_path, card, rows, load, fmt):
    result = export(rows, fmt, tmp_path / f"out{find(fmt).suffix}", card)
    files = {path.stem: str(path) for path in result.paths}
    loaded = load("parquet" if fmt == "parquet" else "json", data_files=files)
    assert sum(part.num_rows for part in loaded.values()) == len(rows) == result.count
    text = json.dumps([row for part in loaded.values() for row in part])
    for _, content in rows[1].messages:
        assert json.dumps(content)[1:-1] in text


@pytest.mark.parametrize("fmt", ["mlx-lora", "llama-factory"])
def test_datasets_reads_a_folder_by_its_card_alone(tmp_path, card, rows, load, fmt):
    export(rows, fmt, tmp_path / "out", card)
    loaded = load(str(tmp_path / "out"))
    assert set(loaded) == ({"train", "validation", "test"} if fmt == "mlx-lora" else {"train"})
    assert sum(part.num_rows for part in loaded.values()) == len(rows)


def test_llama_factory_finds_its_data_as_its_documentation_says(tmp_path, card, rows):
    """dataset_info.json gives file, columns and tags; human turns stand at odd places after a system turn."""
    export(rows, "llama-factory", tmp_path / "out", card)
    (info,) = json.loads((tmp_path / "out" / "dataset_info.json").read_text()).values()
    assert info["formatting"] == "sharegpt"
    tags = info["tags"]
    for line in (tmp_path / "out" / info["file_name"]).read_text().splitlines():
        turns = json.loads(line)[info["columns"]["messages"]]
        if turns[0][tags["role_tag"]] == tags["system_tag"]:
            turns = turns[1:]
        assert len(turns) % 2 == 0
        for position, turn in enumerate(turns):
            assert turn[tags["role_tag"]] == tags["assistant_tag" if position % 2 else "user_tag"]
            assert isinstance(turn[tags["content_tag"]], str)


def test_xtuner_finds_its_turns_as_its_documentation_says(tmp_path, card, rows):
    """A list of {"conversation": [...]}; input and output in each turn, system in the first at most."""
    result = export(rows, "xtuner", tmp_path / "out.json", card)
    value = json.loads(result.paths[0].read_text())
    assert len(value) == len(rows)
    for talk, row in zip(value, rows, strict=True):
        rebuilt = []
        for position, turn in enumerate(talk["conversation"]):
            assert set(turn) == ({"system", "input", "output"} if position == 0 else {"input", "output"})
            rebuilt += [("system", turn["system"])] if turn.get("system") else []
            rebuilt += [("user", turn["input"]), ("assistant", turn["output"])]
        assert tuple(rebuilt) == row.messages
