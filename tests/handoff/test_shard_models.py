"""Which model a shard loads on another machine: the packed one in the shape that its backend wants, or what is typed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from handed import packed

from localsynth import catalog
from localsynth.backends.base import BackendInfo
from localsynth.backends.scripted import END, END_ID, START, START_ID, TEMPLATE
from localsynth.cli import shards
from localsynth.config import plan_from
from localsynth.engine.plan_toml import plan_toml
from localsynth.errors import ModelError
from localsynth.handoff.job import Job, read_job
from localsynth.handoff.models import from_info
from localsynth.handoff.pack import Packing, _portable, pack
from localsynth.records import SpecialTokens

HOME = {"model": "smollm2-135m", "file": "SmolLM2.gguf", "backend": "llamacpp", "repository": "owner/gguf",
        "revision": "abc", "sha256": None, "quantisation": "Q4_1", "formats": []}  # fmt: skip
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"


def job_of(tmp_path: Path, **home: object) -> Job:
    """A job whose models were packed on a machine with real ones."""
    job = packed(tmp_path, target=4)
    data = json.loads((job.folder / "job.json").read_text())
    data["models"] = {role: {**HOME, **home} for role in ("ask", "answer")}
    text = (job.folder / "plan.toml").read_text().replace('backend = "scripted"', 'backend = "auto"')
    (job.folder / "plan.toml").write_text(text.replace('model = ""', f'model = "{data["models"]["ask"]["model"]}"'))
    data["plan_sha256"] = hashlib.sha256((job.folder / "plan.toml").read_bytes()).hexdigest()
    (job.folder / "job.json").write_text(json.dumps(data))
    return read_job(job.folder)


def chosen(job: Job, **typed: Any) -> tuple[str, str]:
    plan = shards._here(job, job.shard_plan(1), typed)
    assert (plan.answer.model, plan.answer.backend) == (plan.ask.model, plan.ask.backend)
    return plan.ask.model, plan.ask.backend


def test_vllm_gets_the_weights_of_the_card(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    assert chosen(job, backend="vllm") == (HUB, "vllm")
    assert chosen(job, backend="llamacpp") == ("smollm2-135m", "llamacpp")
    assert chosen(job, backend="vllm", model="/weights/mine") == ("/weights/mine", "vllm")


def test_what_was_checked_at_home_is_what_runs(tmp_path: Path) -> None:
    job = job_of(tmp_path, server={"repository": "owner/checked", "revision": "def", "model": "x"})
    assert chosen(job, backend="vllm") == ("owner/checked", "vllm")


def test_a_server_takes_the_name_that_is_typed(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    typed = {"servers": ("http://127.0.0.1:8000/v1",), "model": "served", "tokenizer": "/weights/mine"}
    assert chosen(job, **typed) == ("served", "openai")
    assert shards._here(job, job.shard_plan(1), typed).answer.tokenizer == "/weights/mine"


def test_a_file_that_only_home_has_must_be_named(tmp_path: Path) -> None:
    job = job_of(tmp_path, model="mine.gguf", file="mine.gguf")
    with pytest.raises(ModelError, match=r"the job's ask model is mine\.gguf, a file that only home has"):
        shards._here(job, job.plan, {"backend": "llamacpp"})
    assert chosen(job, model="/here/mine.gguf") == ("/here/mine.gguf", "auto")


@pytest.mark.parametrize(
    ("backend", "home", "fetched"),
    [
        ("llamacpp", {"model": "qwen3-4b-2507"}, ("qwen3-4b-2507", "llamacpp", "abc")),
        ("vllm", {"model": "qwen3-4b-2507"}, ("Qwen/Qwen3-4B-Instruct-2507", "vllm", None)),
        ("vllm", {"server": {"repository": "owner/checked", "revision": "def"}}, ("owner/checked", "vllm", "def")),
    ],
)
def test_models_are_fetched_at_the_packed_revision(
    backend: str, home: dict[str, object], fetched: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        catalog, "pull", lambda name, *, backend, revision: asked.append((name, backend, revision)) or Path()
    )
    shards.fetch_models(job_of(tmp_path, **home), backend)
    assert asked == [fetched, fetched]


def test_a_packed_plan_names_models_as_every_machine_knows_them(tmp_path: Path) -> None:
    plan = plan_from(
        {
            "ask": {"model": "/home/me/mine.gguf", "backend": "llamacpp"},
            "answer": {"model": "big", "backend": "openai", "servers": ["http://10.0.0.1:8000/v1"], "tokenizer": "/t"},
            "machine": {"slots": 9, "threads": 4, "gpu_layers": 3, "context": 2048, "tensor_parallel": 2},
        }
    )
    models = {
        "ask": {**HOME, "model": "mine.gguf", "file": "mine.gguf"},
        "answer": {**HOME, "model": "big", "file": ""},
    }
    found = _portable(plan, models, tmp_path)
    assert (found.ask.model, found.ask.backend) == ("", "auto")
    assert (found.answer.model, found.answer.servers, found.answer.tokenizer) == ("big", (), "")
    assert (found.machine.slots, found.machine.threads, found.machine.gpu_layers) == (0, 0, -1)
    assert (found.machine.context, found.machine.tensor_parallel) == (2048, 2)


@pytest.mark.parametrize(
    ("encoder", "fetched"), [("qwen3-embedding-0.6b", True), ("all-minilm-l6-v2", False), ("", False)]
)
def test_an_encoder_of_the_catalogue_is_fetched(
    encoder: str, fetched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(catalog, "pull", lambda name, **how: asked.append((name, how["backend"])) or Path())
    job = packed(tmp_path, target=4)
    plan = replace(job.plan, gate=replace(job.plan.gate, near_duplicates=True, encoder=encoder))
    shards.fetch_models(replace(job, plan=plan), "scripted")
    assert asked == ([(encoder, "vllm")] if fetched else [])


def test_vllm_is_not_given_gguf_files(tmp_path: Path) -> None:
    job = job_of(tmp_path, model="owner/name-GGUF", repository="owner/name-GGUF")
    with pytest.raises(ModelError, match="owner/name-GGUF, GGUF files that vLLM does not load") as refused:
        shards._here(job, job.plan, {"backend": "vllm"})
    assert "--model OWNER/NAME" in refused.value.hint
    assert chosen(job, backend="vllm", model="owner/name") == ("owner/name", "vllm")


@pytest.mark.parametrize("name", ["/home/me/models/secret-dir", "~/secret-dir/", "C:\\Users\\me\\secret-dir"])
def test_a_served_model_that_is_named_by_its_path_leaves_only_its_last_part(name: str, tmp_path: Path) -> None:
    served = {"backend": "openai", "servers": ["http://127.0.0.1:1/v1"], "model": name}
    plan = plan_from({"target": 4, "date": "2026-01-01", "ask": served, "answer": served})
    tokens = SpecialTokens(eos=END, control={START: START_ID, END: END_ID}, end_ids=(END_ID,))
    home = from_info(BackendInfo(name="openai", version="1", model=name, max_concurrency=1, context=64,
                                 template=TEMPLATE, tokens=tokens))  # fmt: skip
    job = pack(Packing(plan, {"ask": home, "answer": home}, {}, plan_toml, tmp_path / "no.db", 2), tmp_path / "job")
    texts = {file.name: file.read_text() for file in job.folder.iterdir() if file.suffix in {".json", ".md", ".toml"}}
    assert "secret-dir" in texts["job.json"]
    assert [file for file, text in texts.items() if "/me" in text or "\\me" in text or "~" in text] == []
    with pytest.raises(ModelError, match="a file that only home has"):
        shards._here(job, job.plan, {"backend": "vllm"})
    # A login node has no GPU to tell the backend by.
    assert "BACKEND=vllm bash run.sh --install" in texts["README.md"]
    slurm = (job.folder / "slurm.sh").read_text()
    assert "BACKEND=vllm bash run.sh --install" in slurm
    assert "export BACKEND=${BACKEND:-vllm}" in slurm


def test_a_repository_keeps_its_owner() -> None:
    found = from_info(BackendInfo(name="openai", version="1", model="Qwen/Qwen3-4B", max_concurrency=1, context=64))
    assert (found.model, found.file) == ("Qwen/Qwen3-4B", "")
