"""The gate must not win by rejecting: over clean rows written by people, every rejection is listed here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localsynth.filters.duplicates import instruction_key
from localsynth.filters.findings import rejection
from localsynth.filters.gate import check_answer, check_instruction
from localsynth.filters.sanitize import sanitize

LIMIT = 0.03

# File: rule -> rows rejected for their question. Three Chinese questions and one English end in a colon with nothing
# after it; the short ones are single words without a request (友谊, 道歉。, 带来 (dàilái), 温室效应, 娱乐).
QUESTIONS: dict[str, dict[str, list[int]]] = {
    "formats/alpaca_en_demo.json.gz": {"ends_with_colon": [144]},
    "formats/alpaca_zh_demo.json.gz": {"ends_with_colon": [5, 629, 973], "too_short": [85, 276, 421, 422, 634]},
    "formats/instruction-data.json.gz": {},
    # Completion prompts: "Change :", "Answer:", "MLA:", "Here are some examples:".
    "self-instruct/seed_tasks.jsonl": {"ends_with_colon": [15, 36, 88]},
    "self-instruct/user_oriented_instructions.jsonl": {"ends_with_colon": [3, 8, 9, 100, 109]},
    "gsm8k/train.jsonl.gz": {},
    "decontam/mt_bench_questions.jsonl": {},
    "decontam/ifeval_en.jsonl": {},
    "decontam/HumanEval.jsonl.gz": {},
}
# Rows whose answer says that the model cannot do it, and gives nothing instead.
REFUSED: dict[str, list[int]] = {
    "formats/alpaca_en_demo.json.gz": [80, 95, 239, 407, 665, 691, 711, 794],
    "formats/alpaca_zh_demo.json.gz": [158, 334, 465, 532, 558, 584, 628, 658, 665, 686, 759, 841, 872],
}


def _rows(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return json.load(file) if ".json." in path.name else [json.loads(line) for line in file]


def _pairs(path: Path) -> Iterator[tuple[str, str | None]]:
    """The user text, instruction and input together, and the answer where the file has one."""
    for row in _rows(path):
        if "turns" in row:
            yield from ((turn, None) for turn in row["turns"])
        elif "instruction" in row:
            parts = row["instances"][0] if "instances" in row else row
            yield "\n\n".join(filter(None, (row["instruction"], parts["input"]))), parts["output"]
        elif "question" in row:
            yield row["question"], row["answer"]
        else:
            yield row["prompt"], row.get("canonical_solution")


@pytest.mark.parametrize("name", QUESTIONS)
def test_clean_questions_pass_but_for_the_listed_ones(shared_data: Path, name: str) -> None:
    pairs = list(_pairs(shared_data / name))
    rejected: dict[str, list[int]] = {}
    answers: list[int] = []
    for row, (question, answer) in enumerate(pairs):
        text = sanitize(question).text
        found = rejection(check_instruction(text))
        if found is not None:
            rejected.setdefault(found.rule, []).append(row)
        if answer is not None and (said := rejection(check_answer(sanitize(answer, "assistant").text, question=text))):
            assert said.rule == "refusal", (row, said)
            answers.append(row)
    assert rejected == QUESTIONS[name]
    assert answers == REFUSED.get(name, [])
    lost = {row for rows in rejected.values() for row in rows} | set(answers)
    assert len(lost) < LIMIT * len(pairs)


def test_sanitising_leaves_clean_questions_alone(shared_data: Path) -> None:
    changed = [
        (question, cleaned.text)
        for name in QUESTIONS
        if "formats" in name
        for question, _ in _pairs(shared_data / name)
        if (cleaned := sanitize(question)).rules
    ]
    assert changed == [('"《老虎》这首诗的主题是什么？"', "《老虎》这首诗的主题是什么？")]


@pytest.mark.parametrize(("name", "repeated"), [("alpaca_en_demo", 14), ("alpaca_zh_demo", 8)])
def test_exact_duplicates_are_the_real_ones(shared_data: Path, name: str, repeated: int) -> None:
    keys = [instruction_key(question) for question, _ in _pairs(shared_data / f"formats/{name}.json.gz")]
    assert len(keys) - len(set(keys)) == repeated
