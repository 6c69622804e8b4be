"""The command line as users meet it: a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Result]:
    """Runs `localsynth ARGUMENTS` in an empty folder; its store is ./localsynth.db unless one is named."""

    def run(*arguments: object, **env: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "localsynth", *map(str, arguments)],
            check=False,
            cwd=tmp_path,
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run
