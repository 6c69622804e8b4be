"""A file of questions, some of them asked twice by neighbouring shards."""

from __future__ import annotations

import json
from pathlib import Path


def repeated_questions(path: Path, count: int) -> Path:
    """Every sixth question is the one before it again: next to each other, they belong to different shards."""
    numbers = [at - 1 if at % 6 == 5 else at for at in range(count)]
    rows = [{"instruction": f"Who built lighthouse number {at * 7919 % 10007}, and why there?"} for at in numbers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
