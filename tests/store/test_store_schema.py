"""The printed tables are the real ones; every table is strict; a read loads no heavy library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from localsynth.store import Store, schema_markdown
from localsynth.store.schema import MEANINGS, tables


def test_every_table_is_named_with_its_meaning_and_columns(store: Store) -> None:
    assert tables(store._connection) == list(MEANINGS)
    lines = schema_markdown().splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in MEANINGS]
    for name, line in zip(MEANINGS, lines, strict=True):
        columns = [row[1] for row in store._connection.execute(f"PRAGMA table_info({name})")]
        assert line.endswith(f"| {', '.join(columns)} |")


def test_every_table_of_ours_is_strict(store: Store) -> None:
    strict = {row[1] for row in store._connection.execute("PRAGMA table_list") if row[5]}
    views = {"verdicts", "dataset"}
    assert set(MEANINGS) - views - {"search"} <= strict


def test_reading_loads_neither_sqlite_utils_nor_numpy_nor_asyncio(store: Store, run: str, path: Path, pair) -> None:
    store.save(pair(run, 0))
    script = (
        "import sys\nfrom pathlib import Path\nfrom localsynth.store import Reader\n"
        "reader = Reader.open(Path(sys.argv[1]))\n"
        "print(len(reader.runs()), len(reader.samples(search='why')), reader.counts(reader.run().id).kept)\n"
        "print([name for name in ('sqlite_utils', 'numpy', 'asyncio', 'click') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout == "1 1 1\n[]\n"
