"""Full text: CJK by characters, the rest by words; nothing that is typed is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localsynth.records import Sample, Turn, sample_id
from localsynth.store import Reader, Store

QUESTIONS = [
    "机器学习中的过拟合是什么?",
    "请介绍机器人。",
    "How does over-fitting hurt a MODEL's accuracy?",
    "GPT模型的学习率",
    "日本語のテキストと、ｶﾀｶﾅ。",
    "한국어 문장",
    'He said "hello world" AND left NEAR(x)',
    "Überraschung: naïve café",
]


@pytest.fixture
def reader(store: Store, run: str, path: Path, pair):
    store.save(
        [row for index, text in enumerate(QUESTIONS) for row in pair(run, index, question=text, answer="Reply.")]
    )
    with Reader.open(path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("机器", [0, 1]),
        ("机器学习", [0]),
        ("过拟合", [0]),
        ("习机", []),
        ("学习", [0, 3]),
        ("gpt模型", [3]),
        ("model", [2]),
        ("mod", []),
        ("mod*", [2]),
        ("over-fitting", [2]),
        ("accuracy model", [2]),
        ("accuracy hello", []),
        ('"hello world"', [6]),
        ('"world hello"', []),
        ("world hello", [6]),
        ("AND", [6]),
        ("テキスト", [4]),
        ("カタカナ", [4]),
        ("문장", [5]),
        ("cafe", [7]),
        ("reply", list(range(8))),
        ("", []),
        ('"', []),
        ("?!", []),
        ("\uff02hello", [6]),
        ("\uff02hello world", [6]),
    ],
)
def test_what_is_found(reader: Reader, run: str, typed: str, found: list[int]) -> None:
    assert [row.index for row in reader.samples(run, search=typed)] == found


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec=None)) | st.text('"*^():-+{}ANDORNOT 机\x00\\'))
def test_nothing_typed_is_an_error(reader: Reader, run: str, typed: str) -> None:
    reader.samples(run, search=typed)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("机器学习a1 。\n"), min_size=1, max_size=30), st.data())
def test_every_piece_of_a_chinese_text_is_found(tmp_path_factory, text: str, data) -> None:
    path = tmp_path_factory.mktemp("search") / "rows.db"
    start = data.draw(st.integers(0, len(text) - 1))
    piece = "".join(character for character in text[start : start + 4] if character in "机器学习")
    if piece not in text or not piece:
        return
    with Store.open(path) as store, Reader.open(path) as reader:
        run = store.create_run(method="import", plan={}, seed=0, target=1)
        sample = Sample(run, 0, state="done")
        store.save([sample, Turn(sample.id, 0, "user", text, text)])
        assert [row.id for row in reader.samples(search=piece)] == [sample.id]


def test_a_changed_turn_is_found_by_its_new_text_only(store: Store, run: str, path: Path, pair) -> None:
    sample = sample_id(run, 0)
    store.save(pair(run, 0, question="旧的机器"))
    with Reader.open(path) as reader:
        assert len(reader.samples(search="旧的")) == 1
        store.save([Turn(sample, 0, "user", "中间", "中间")])
        store.save([Turn(sample, 0, "user", "新的机器", "新的机器")])
        assert reader.samples(search="旧的") == []
        assert reader.samples(search="中间") == []
        assert len(reader.samples(search="新的")) == 1
        assert store.index_text() is False
    store._connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")


def test_system_turns_do_not_match(store: Store, run: str, path: Path) -> None:
    sample = Sample(run, 0, state="done")
    system = Turn(sample.id, 0, "system", "You are helpful", "You are helpful")
    store.save([sample, system, Turn(sample.id, 1, "user", "Why?", "Why?")])
    with Reader.open(path) as reader:
        assert reader.samples(search="helpful") == []
        assert len(reader.samples(search="why")) == 1


def test_a_search_finds_what_a_killed_run_left_unindexed(store: Store, run: str, path: Path, pair) -> None:
    store.save(pair(run, 0, question="killed before it was indexed"))
    with Reader.open(path) as reader:
        assert len(reader.samples(search="killed indexed")) == 1
