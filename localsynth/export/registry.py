"""All formats by name, and the one call that writes any of them with its card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from localsynth.errors import DataError
from localsynth.export import alpaca, llama_factory, magpie, mlx_lora, openai, parquet, sharegpt, trl, xtuner
from localsynth.export.base import ExportResult, ExportRow, Format, Written, scrubbed, with_thinking
from localsynth.export.card import CardSource, card_path, render
from localsynth.export.files import dump, placed, write_text
from localsynth.export.parts import split as split_format

_ALL = (openai, sharegpt, alpaca, magpie, mlx_lora, xtuner, llama_factory, trl, parquet)
_FORMATS: Mapping[str, Format] = {module.FORMAT.name: module.FORMAT for module in _ALL}


def formats() -> dict[str, str]:
    """Format names with one line of help each."""
    return {name: fmt.help for name, fmt in _FORMATS.items()}


def find(name: str, *, split: bool = False) -> Format:
    """The format of this name; with `split` a folder of parts. DataError lists those that there are."""
    try:
        form = _FORMATS[name]
    except KeyError:
        raise DataError(f"there is no export format {name!r}", f"use one of: {', '.join(_FORMATS)}") from None
    if not split or name == mlx_lora.FORMAT.name:
        return form
    if not splits(name):
        lines = ", ".join(each for each in _FORMATS if splits(each))
        raise DataError(f"format {name} has no parts", f"--split goes with: {lines}, and mlx-lora always has parts")
    return split_format(name, form.help, form.records, "a split")


def splits(name: str) -> bool:
    """Whether an export in this format can be split: JSONL can."""
    return _FORMATS[name].suffix == ".jsonl"


def line(row: ExportRow, fmt: str, *, include_thinking: bool = False) -> str:
    """One row as it will be written; as JSON where the file is Parquet. DataError where the format cannot hold it."""
    (record,) = find(fmt).records(_prepared([row], include_thinking=include_thinking))
    return dump(record)


def check_target(path: Path, fmt: str, *, force: bool = False, split: bool = False) -> None:
    """DataError when an export to `path` would overwrite something, or is no place for this format."""
    form = find(fmt, split=split)
    if path.is_dir() and form.suffix:
        raise DataError(
            f"{path} is a folder, and format {fmt} is one file", f"name a file, such as {path / 'data'}{form.suffix}"
        )
    if path.exists() and not path.is_dir() and not form.suffix:
        raise DataError(
            f"{path} is a file, and {'a split' if split else f'format {fmt}'} is a folder", "name a new folder"
        )
    if not force and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise DataError(f"{path} is there already", "--force overwrites it")


def export(
    rows: Iterable[ExportRow],
    fmt: str,
    path: Path,
    card: Callable[[], CardSource],
    *,
    include_thinking: bool = False,
    force: bool = False,
    split: bool = False,
) -> ExportResult:
    """Write rows and their card; memory does not grow with the rows. `card` is asked after the last row.

    `split`: a folder with train, valid and test, near-duplicates in one part.

    A data file is there whole or not at all. DataError: no rows, a row the format cannot hold, a target that exists
    without `force`, a disk that refuses. MissingPackage: Parquet without pyarrow.
    """
    form = find(fmt, split=split)
    check_target(path, fmt, force=force, split=split)
    with placed(path) as part:
        if not form.suffix:
            part.mkdir()
        written = form.write(_prepared(rows, include_thinking=include_thinking), part)
        count = sum(each.count for each in written)
        if not count:
            raise DataError("there are no rows to export", "`localsynth status` shows what each run has kept")
    if not form.suffix:
        made = {each.name for each in written}
        for name in form.owned:  # a part of an earlier export that this one does not have
            if name.endswith(".jsonl") and name not in made:
                (path / name).unlink(missing_ok=True)
    paths = (path,) if form.suffix else tuple(path / each.name for each in written)
    target = card_path(path, folder=not form.suffix)
    result = ExportResult(fmt, paths, target, count, _digest(written))
    counts = [(each.name, each.count, each.sha256) for each in written]
    counts = [(path.name, *counts[0][1:])] if form.suffix else counts
    write_text(target, render(card(), result, counts))
    return result


def _prepared(rows: Iterable[ExportRow], *, include_thinking: bool) -> Iterator[ExportRow]:
    for row in rows:
        clean = scrubbed(row)
        yield with_thinking(clean) if include_thinking else clean


def _digest(written: list[Written]) -> str:
    if len(written) == 1:
        return written[0].sha256
    lines = sorted(f"{each.sha256}  {each.name}\n" for each in written)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
