"""`localsynth models remove`, and what `models pull --json` says while it works."""

from __future__ import annotations

from collections.abc import Callable

from localsynth import paths


def test_the_command_asks_and_says_what_is_free(cli: Callable) -> None:
    folder = paths.models_dir() / "some--other-GGUF"
    folder.mkdir(parents=True)
    (folder / "other.gguf").write_bytes(b"GGUF" + bytes(996))
    refused = cli("models", "remove", "some/other-GGUF")
    assert refused.code == 130
    assert folder.exists()
    done = cli("models", "remove", "some/other-GGUF", "--yes", "--json")
    assert done.json == {"name": "some/other-GGUF", "bytes": 1000, "paths": [str(folder)]}
    assert not folder.exists()
