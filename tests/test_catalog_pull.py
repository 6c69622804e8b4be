"""Fetching models from a hub that runs on the loopback: resumed, checked, refused, and never outside its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import BIG, SHA, Handler, Hub, serving

from localsynth import catalog, paths
from localsynth.catalog import pulling
from localsynth.catalog.partial import Partial, claim, partial
from localsynth.errors import ModelError, NotFound


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield served


def test_a_catalogue_model_is_fetched_and_resolved(hub: Hub) -> None:
    repo = "Qwen/Qwen2.5-0.5B-Instruct-GGUF"
    hub.repos[repo] = {"qwen2.5-0.5b-instruct-q8_0.gguf": b"GGUFq8", "qwen2.5-0.5b-instruct-q4_k_m.gguf": BIG}
    seen: list[catalog.Progress] = []
    path = catalog.pull("qwen2.5-0.5b", seen.append, backend="llamacpp")
    assert path.read_bytes() == BIG
    assert path.parent == paths.models_dir() / "Qwen--Qwen2.5-0.5B-Instruct-GGUF"
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1] == catalog.Progress(path.name, len(BIG), len(BIG), len(BIG), len(BIG))
    found = catalog.resolve("qwen2.5-0.5b")
    assert (found.path, found.revision) == (path, SHA)
    assert sorted(p.name for p in path.parent.iterdir()) == ["pulled.json", path.name]


def test_what_is_here_is_not_fetched_again(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    catalog.pull("o/m:m.gguf")
    catalog.pull("o/m:m.gguf")
    assert hub.ranges == [None]


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_200_000, 1_100_000]
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in hub.ranges if r]
    assert hub.ranges[0] is None
    assert 0 < starts[0] < starts[1] < len(BIG)


def test_a_connection_that_brings_nothing_stops_and_the_next_pull_goes_on(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_500_000, 0, 0]
    with pytest.raises(ModelError) as caught:
        catalog.pull("o/m:m.gguf")
    assert caught.value.retryable
    assert "goes on where it stopped" in caught.value.hint
    folder = paths.models_dir() / "o--m"
    assert not (folder / "m.gguf").exists()
    assert catalog.local_models() == []
    hub.cut_after = []
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    assert hub.ranges[-1]


def test_a_server_that_knows_no_ranges_begins_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_500_000]

    def whole(self: Handler, repo: str, name: str) -> None:
        hub.ranges.append(self.headers.get("Range"))
        self.answer(200, hub.repos[repo][name], {})

    monkeypatch.setattr(Handler, "file", whole)
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    assert hub.ranges[1]


def test_a_damaged_file_never_takes_its_place(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.damaged = True
    with pytest.raises(ModelError, match="damaged"):
        catalog.pull("o/m:m.gguf")
    assert not [f for f in (paths.models_dir() / "o--m").rglob("*") if f.is_file()]
    hub.damaged = False
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG


def test_a_folder_model_without_pickles(hub: Hub) -> None:
    wanted = {"config.json": b"{}", "model.safetensors": BIG, "tokenizer.json": b"{}", "1_Pooling/config.json": b"{}"}
    hub.repos["intfloat/multilingual-e5-small"] = wanted | {
        "pytorch_model.bin": BIG, "onnx/model.json": b"{}", "README.md": b"#", "modules.json": b"[]",
    }  # fmt: skip
    folder = catalog.pull("multilingual-e5-small")
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == set(wanted) | {"modules.json", "pulled.json"}
    assert catalog.encoder_path("multilingual-e5-small") == folder


def test_mlx_where_it_is_asked_for(hub: Hub) -> None:
    config = b'{"quantization": {"group_size": 64, "bits": 4}}'
    hub.repos["mlx-community/Qwen3-0.6B-4bit"] = {"config.json": config, "model.safetensors": b"w"}
    catalog.pull("qwen3-0.6b", backend="mlx")
    assert catalog.resolve("qwen3-0.6b").kind == "mlx"


def test_all_parts_of_a_split_model(hub: Hub) -> None:
    parts = {f"Q4/m-Q4_K_M-0000{i}-of-00002.gguf": b"GGUF%d" % i for i in (1, 2)}
    hub.repos["o/big"] = parts | {"Q8/m-Q8_0-00001-of-00001.gguf": b"GGUF", "mmproj-m-Q4_K_M.gguf": b"GGUF"}
    path = catalog.pull("o/big")
    assert path.name == "m-Q4_K_M-00001-of-00002.gguf"
    assert path.with_name("m-Q4_K_M-00002-of-00002.gguf").read_bytes() == b"GGUF2"
    assert catalog.resolve("o/big").path == path


def test_names_that_lead_out_of_the_folder_are_not_followed(hub: Hub) -> None:
    hub.repos["o/evil"] = {"../../out.gguf": b"GGUF", "/abs.gguf": b"GGUF", "..\\x.gguf": b"GGUF", "ok.gguf": b"GGUF"}
    assert catalog.pull("o/evil:*.gguf").name == "ok.gguf"
    assert [f.name for f in paths.home().rglob("*.gguf")] == ["ok.gguf"]


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("o/absent", "no repository o/absent", "HF_TOKEN"),
        ("o/m:other.gguf", "no file other.gguf", "m-Q8_0.gguf"),
        ("o/m", "no file *Q4_K_M*.gguf", "m-Q8_0.gguf"),
        ("o/empty", "no weights", "another repository"),
        ("o/gated:g.gguf", "accept its licence", "hf auth login"),
        ("-bad-/m..m:x.gguf", "not the name of a repository", "OWNER/NAME"),
    ],
)
def test_refusals_say_what_to_do(hub: Hub, name: str, message: str, hint: str) -> None:
    hub.repos |= {"o/m": {"m-Q8_0.gguf": b"GGUF"}, "o/empty": {"a.bin": b"x"}, "o/gated": {"g.gguf": b"GGUF"}}
    hub.gated.add("o/gated")
    with pytest.raises(ModelError) as caught:
        catalog.pull(name)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_name_that_is_in_no_catalogue() -> None:
    with pytest.raises(NotFound) as caught:
        catalog.pull("qwen2.5-8b")
    assert "qwen2.5" in caught.value.hint


def test_no_gguf_is_known_for_it() -> None:
    with pytest.raises(ModelError, match="no GGUF file"):
        catalog.pull("llama-3.1-405b", backend="llamacpp")


def test_offline_and_unreachable(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelError) as caught:
        catalog.pull("o/m:m.gguf")
    assert "same command again" in caught.value.hint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        catalog.pull("o/m:m.gguf")


def test_no_room_is_said_before_anything_is_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError) as caught:
        catalog.pull("o/m:m.gguf")
    assert "LOCALSYNTH_HOME" in caught.value.hint
    assert hub.ranges == []


def test_what_the_fetched_path_is_for_a_name_with_a_folder(hub: Hub, tmp_path: Path) -> None:
    hub.repos["o/m"] = {"sub/m.gguf": b"GGUF"}
    assert catalog.pull("o/m:m.gguf") == paths.models_dir() / "o--m" / "sub" / "m.gguf"


def test_two_processes_never_fetch_the_same_file(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_500_000, 0, 0]
    with pytest.raises(ModelError):
        catalog.pull("o/m:m.gguf")
    hub.cut_after = []
    folder = paths.models_dir() / "o--m"
    (part,) = folder.glob(".partial/*")
    assert partial(folder) == Partial(part.stat().st_size, busy=False)
    with claim(part):
        assert partial(folder) == Partial(part.stat().st_size, busy=True)
        with pytest.raises(ModelError, match=r"m\.gguf is being fetched by another process"):
            catalog.pull("o/m:m.gguf")
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    assert partial(folder) is None


def test_progress_counts_all_files_of_a_model(hub: Hub) -> None:
    parts = {f"m-Q4_K_M-0000{i}-of-00002.gguf": BIG + bytes(i) for i in (1, 2)}
    hub.repos["o/big"] = parts
    seen: list[catalog.Progress] = []
    catalog.pull("o/big", seen.append)
    whole = sum(map(len, parts.values()))
    assert {progress.all_total for progress in seen} == {whole}
    assert [progress.all_done for progress in seen] == sorted(progress.all_done for progress in seen)
    assert seen[-1].all_done == whole
