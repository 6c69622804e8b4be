"""Files as they come: broken, cut off, packed, huge, or no data at all."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest

from localsynth.errors import DataError, MissingPackage
from localsynth.importing import BadLine, ImportedRow, instructions, locate, read

ROW = {"instruction": "q", "output": "a"}
GOOD = json.dumps(ROW)


def put(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_broken_lines_are_listed_with_their_numbers_and_the_rest_is_read(tmp_path):
    text = f'{GOOD}\n{{"instruction": "cut\n\n{GOOD}\nnot json\n{{"messages": []}}\n'.encode()
    path = put(tmp_path / "a.jsonl", text + b'{"instruction": "\xff"}\n' + GOOD.encode())
    found = list(read(path))
    assert [item.line for item in found if isinstance(item, ImportedRow)] == [1, 4, 8]
    bad = {item.line: item.reason for item in found if isinstance(item, BadLine)}
    assert list(bad) == [2, 5, 6, 7]
    assert "Unterminated string" in bad[2]
    assert "no turns" in bad[6]
    assert "not UTF-8" in bad[7]


def test_bad_lines_before_the_first_good_one_are_listed_in_order(tmp_path):
    found = list(read(put(tmp_path / "a.jsonl", f"oops\n{GOOD}\n")))
    assert [(type(item), item.line) for item in found] == [(BadLine, 1), (ImportedRow, 2)]


@pytest.mark.parametrize(
    "data",
    [
        GOOD.encode() + b"\n" + GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n" + GOOD.encode() + b"\r\n",
        json.dumps([ROW, ROW]).encode(),
        b"\xef\xbb\xbf\n" + json.dumps([ROW, ROW], indent=4).encode(),
        (json.dumps(ROW, indent=2) + "\n" + json.dumps(ROW, indent=2)).encode(),
    ],
    ids=["lines", "lines with BOM and CRLF", "array", "indented array with BOM", "indented objects"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_layout_of_json(tmp_path, data, packed):
    path = put(tmp_path / ("a.json.gz" if packed else "a.json"), gzip.compress(data) if packed else data)
    found = list(read(path))
    assert [type(item) for item in found] == [ImportedRow, ImportedRow]


def test_lines_are_counted_in_indented_arrays(tmp_path):
    path = put(tmp_path / "a.json", json.dumps([ROW, ROW, ROW], indent=1))
    assert [item.line for item in read(path)] == [2, 6, 10]


def test_an_array_broken_midway_gives_what_stands_before(tmp_path):
    elements = ",\n".join([GOOD] * 5)
    path = put(tmp_path / "a.json", f"[{elements},\n{{'single': 1}},\n{GOOD}]")
    found = list(read(path))
    assert [type(item) for item in found] == [ImportedRow] * 5 + [BadLine]
    assert found[-1].line == 6
    assert "reading ends here" in found[-1].reason


@pytest.mark.parametrize("end", [GOOD[:10], GOOD, GOOD + ","])
def test_an_array_cut_off_says_so(tmp_path, end):
    found = list(read(put(tmp_path / "a.json", f"[{GOOD},\n{end}")))
    assert isinstance(found[0], ImportedRow)
    assert isinstance(found[-1], BadLine)


def test_elements_larger_than_a_chunk_cross_its_border(tmp_path):
    rows = [{"instruction": f"{i} " + '汉\\"' * 400_000, "output": "x"} for i in range(4)]
    path = put(tmp_path / "a.json", json.dumps(rows, ensure_ascii=False))
    assert [row.messages[0].content for row in read(path)] == [row["instruction"] for row in rows]


def test_a_truncated_archive_gives_its_beginning(tmp_path):
    lines = "\n".join(json.dumps({"instruction": f"q {i * 7919}", "output": f"a {i * i}"}) for i in range(5000))
    packed = gzip.compress(lines.encode())
    found = list(read(put(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2])))
    assert len(found) > 1000
    assert isinstance(found[-1], BadLine)
    assert "breaks off" in found[-1].reason
    assert all(isinstance(item, ImportedRow) for item in found[:-1])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n \n", "is empty"),
        ("a.json", b"[]", "has no rows"),
        ("a.jsonl", b"<html>\n<body>", "is not JSON"),
        ("a.json", b"\x89PNG\r\n\x1a\n\x00\x00", "is not JSON"),
        ("a.json", '[{"instruction": "q"}]'.encode("utf-16"), "UTF-16"),
        ("a.jsonl", b'{"instruction": "q"\n{"instruction": "q"\n', "no usable row; line 1: broken JSON"),
        ("a.jsonl", b'{"title": "x", "bo\x1b[31mdy": "\x1b"}\n', r"rows of no known shape: title, bo \[31mdy"),
        ("a.jsonl", b"[" * 5000 + b"\n", "no usable row|not JSON"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00rubbish", "cannot be read"),
        ("a.parquet", b"PAR1rubbish", "not a whole Parquet file"),
    ],
)
def test_what_is_no_data_is_refused_with_a_reason(tmp_path, name, data, message):
    with pytest.raises(DataError, match=message) as caught:
        list(read(put(tmp_path / name, data)))
    assert caught.value.hint
    assert "\x1b" not in caught.value.message


def test_the_hint_of_an_unknown_shape_names_the_known_ones(tmp_path):
    with pytest.raises(DataError) as caught:
        list(read(put(tmp_path / "a.jsonl", '{"title": "x"}')))
    assert "instruction" in caught.value.hint
    assert "conversations" in caught.value.hint


def test_missing_files_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no file"):
        locate(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no file to import"):
        locate(tmp_path)


def test_text_files_hold_one_instruction_a_line(tmp_path):
    path = put(tmp_path / "a.txt", b"\xef\xbb\xbfFirst?\r\n\n  \nSecond \xe4\xb8\xad\xe6\x96\x87\n\xff\nThird")
    found = list(read(path))
    assert [item.messages[0].content for item in found if isinstance(item, ImportedRow)] == [
        "First?",
        "Second 中文",
        "Third",
    ]
    assert [(item.line, item.reason) for item in found if isinstance(item, BadLine)] == [(5, "not UTF-8 at byte 1")]


def test_instructions_are_the_first_user_turns(tmp_path):
    path = put(
        tmp_path / "a.jsonl", '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}\n'
    )
    assert list(instructions(path)) == ["q"]


def test_a_folder_is_read_in_the_order_of_its_parts(tmp_path):
    for name in ("test", "valid", "train"):
        put(tmp_path / f"{name}.jsonl", json.dumps({"instruction": name}))
    put(tmp_path / "dataset_info.json", "{}")
    put(tmp_path / "README.md", "# card")
    found = list(read(tmp_path))
    assert [(item.source, item.messages[0].content) for item in found] == [
        ("train.jsonl", "train"), ("valid.jsonl", "valid"), ("test.jsonl", "test"),
    ]  # fmt: skip


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingPackage) as caught:
        list(read(put(tmp_path / "a.parquet", b"PAR1")))
    assert "localsynth[parquet]" in caught.value.hint


def test_the_digest_is_of_the_contents(tmp_path):
    one, two = put(tmp_path / "a.jsonl", GOOD), put(tmp_path / "b.jsonl", GOOD)
    other = put(tmp_path / "c.jsonl", GOOD + "\n")
    assert locate(one).digest() == locate(two).digest() != locate(other).digest()


@pytest.mark.parametrize("array", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path, array):
    path = tmp_path / "a.json"
    with path.open("w") as file:
        file.write("[" if array else "")
        for number in range(5000):
            file.write(
                json.dumps({"instruction": f"{number} " + "x" * 4000, "output": "y"})
                + (",\n" if array and number < 4999 else "\n")
            )
        file.write("]" if array else "")
    assert path.stat().st_size > 20e6
    tracemalloc.start()
    try:
        count = sum(isinstance(item, ImportedRow) for item in read(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 5000
    assert peak < 8e6
