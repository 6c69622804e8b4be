"""The MLX backend on a tiny Llama: the contract, what is drawn, memory, deaths, and folders that cannot be used."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from contract import Absent, Contract, Installed, Prompts, opened, same
from tiny_models import write_llama

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: it is for Apple silicon and for Linux on x86-64")

from localsynth import paths
from localsynth.backends.mlx import MlxBackend, MlxSettings, library, loading
from localsynth.backends.mlx.decoder import MlxDecoder, make_generator
from localsynth.backends.tokenizer import read_tokenizer
from localsynth.backends.weights import digest
from localsynth.chat import derive
from localsynth.errors import BackendError, LocalsynthError, MissingPackage, ModelError
from localsynth.records import Completion, Request, Sampling

ASK = "<|im_start|>user\n"


def answering(question: str) -> str:
    return f"{ASK}{question}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("tiny"))


def small(folder: Path, slots: int, context: int = 512) -> MlxBackend:
    return MlxBackend(folder, MlxSettings(slots=slots, context=context))


class TestMlx(Contract, Absent, Installed):
    package, loaded = "mlx_lm", library.core

    @pytest.fixture
    def absent(self, tmp_path: Path) -> MlxBackend:
        return MlxBackend(tmp_path / "absent", name="qwen3-4b")

    @pytest.fixture
    def backend(self, folder: Path):
        return lambda slots: small(folder, slots)

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(ASK, (answering("What is the sum?"), answering("Name three lanterns.")), 3)


def mixed(count: int, tokens: int = 20, **parts) -> list[Request]:
    """Requests of many kinds and lengths."""
    prompts = (ASK, answering("What is the sum?"), answering("Name three lanterns. " * 5))
    return [
        Request(
            prompts[seed % 3],
            Sampling(
                temperature=(1.0, 0.0, 0.7)[seed % 3],
                top_p=(1.0, 0.9)[seed % 2],
                top_k=(0, 40)[seed // 2 % 2],
                min_p=(0.0, 0.02)[seed // 3 % 2],
                repeat_penalty=(1.0, 1.3)[seed // 2 % 2],
                avoid_first=((), ("h", "l"))[seed // 4 % 2],
                max_tokens=tokens + seed,
            ),
            seed,
            **parts,
        )
        for seed in range(count)
    ]


async def test_what_it_says_about_the_model(folder: Path, tmp_path: Path):
    async with opened(MlxBackend(folder, MlxSettings(context=4000), name="tiny")) as backend:
        info = backend.info
    assert (info.name, info.model, info.file) == ("mlx", "tiny", str(folder))
    assert info.max_concurrency == 32
    assert info.context == 1024  # what it was trained with
    assert info.quantisation is None
    assert info.sha256 == digest(folder)
    assert "mlx-lm" in info.version
    assert derive(info.template, info.tokens).ask_prompt() == ASK
    async with opened(small(write_llama(tmp_path / "q", bits=4), 2)) as backend:
        assert backend.info.quantisation == "4-bit, groups of 32"
        assert backend.info.sha256 != info.sha256
        assert (await backend.generate(Request(ASK, Sampling(max_tokens=4), 0))).text


async def test_a_quantised_row_is_the_same_alone_and_in_company(tmp_path: Path):
    requests = mixed(12, logprobs=True)
    folder = write_llama(tmp_path, bits=4)
    async with opened(small(folder, 6)) as crowded:
        together = await asyncio.gather(*map(crowded.generate, requests))
    async with opened(small(folder, 1)) as alone:
        assert all([same(await alone.generate(request), one) for request, one in zip(requests, together, strict=True)])


async def test_logprobs_are_of_the_raw_distribution(folder: Path):
    import mlx.core as mx
    from mlx_lm.utils import load_model

    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=30, repeat_penalty=1.5, avoid_first=("h", "W"), max_tokens=12)
    async with opened(small(folder, 2)) as backend:
        done = await backend.generate(Request(ASK, sampling, 3, logprobs=True))
    model, _ = load_model(folder)
    tokenizer = read_tokenizer(folder)
    # The text may be cut into tokens in another way than it was drawn, so the ids are found by their pieces.
    prompt, expected, left = tokenizer.encode(ASK), [], done.text.encode()
    for _ in range(done.completion_tokens - (done.finish_reason == "stop")):
        logits = model(mx.array([prompt]))[0, -1]
        logprobs = (logits - mx.logsumexp(logits)).tolist()
        value = done.logprobs[len(expected)]
        token = min(range(tokenizer.size), key=lambda number: abs(logprobs[number] - value))
        assert left.startswith(tokenizer.piece(token))
        left = left[len(tokenizer.piece(token)) :]
        expected.append(logprobs[token])
        prompt.append(token)
    assert done.logprobs[: len(expected)] == pytest.approx(expected, abs=1e-4)
    assert not left


async def test_a_stop_id_of_the_request_ends_it(folder: Path):
    tokenizer = read_tokenizer(folder)
    async with opened(small(folder, 1)) as backend:
        request = Request(ASK, Sampling(temperature=0, max_tokens=1), 0)
        first = (await backend.generate(request)).text
        ids = tuple(token for token in range(tokenizer.size) if tokenizer.piece(token) == first.encode())
        done = await backend.generate(replace(request, stop_ids=ids))
    assert (done.text, done.finish_reason, done.stopped_by, done.completion_tokens) == ("", "stop", ids[0], 1)


async def test_an_empty_prompt_fails_alone(folder: Path):
    async with opened(small(folder, 2)) as backend:
        fine = Request(ASK, Sampling(max_tokens=5), 0)
        with pytest.raises(BackendError, match="empty"):
            await backend.generate(replace(fine, prompt=""))
        assert (await backend.generate(fine)).completion_tokens <= 5


async def test_a_model_that_computes_no_numbers_is_told(folder: Path, tmp_path: Path):
    import mlx.core as mx

    copy = damaged(folder, tmp_path / "copy")
    weights = dict(mx.load(str(folder / "model.safetensors")))
    mx.save_safetensors(
        str(copy / "model.safetensors"), weights | {"model.norm.weight": weights["model.norm.weight"] * mx.nan}
    )
    async with opened(small(copy, 2)) as backend:
        with pytest.raises(BackendError, match="no probabilities") as caught:
            await backend.generate(Request(ASK, Sampling(max_tokens=5), 0))
    assert not caught.value.retryable


class Moody:
    """A memory guard that changes its mind at every measurement."""

    def __init__(self, *, most: int, **_: int) -> None:
        self._moods = itertools.cycle([most, 1, 3, 2])
        self.rows = most

    def measured(self, peak: int, live: int) -> None:
        assert peak > 0
        self.rows = next(self._moods)


async def test_rows_that_wait_for_memory_go_on_with_the_same_text(folder: Path, monkeypatch: pytest.MonkeyPatch):
    requests = mixed(10, 25)
    async with opened(small(folder, 6)) as backend:
        undisturbed = await asyncio.gather(*map(backend.generate, requests))
    monkeypatch.setattr(loading, "MemoryGuard", Moody)
    lives: list[int] = []
    step = MlxDecoder.step

    def counting(self: MlxDecoder):
        steps = step(self)
        lives.append(len(self._running))
        return steps

    monkeypatch.setattr(MlxDecoder, "step", counting)
    said: list[str] = []
    async with opened(small(folder, 6)) as backend:
        first = backend.generate(requests[0], said.append)
        squeezed = await asyncio.gather(first, *map(backend.generate, requests[1:]))
    assert [one.text for one in squeezed] == [one.text for one in undisturbed]
    assert [one.completion_tokens for one in squeezed] == [one.completion_tokens for one in undisturbed]
    assert "".join(said) == squeezed[0].text
    assert {1, 6} <= set(lives)


async def test_it_starts_with_few_rows_and_grows(folder: Path, monkeypatch: pytest.MonkeyPatch):
    rooms: list[int] = []
    step = MlxDecoder.step
    monkeypatch.setattr(MlxDecoder, "step", lambda self: (rooms.append(self.room), step(self))[1])
    async with opened(small(folder, 16)) as backend:
        await asyncio.gather(*map(backend.generate, mixed(24, 40)))
    assert rooms[0] == 4
    assert rooms[-1] == 16
    assert rooms == sorted(rooms)


async def test_a_decoder_that_dies_is_loaded_again_with_fewer_rows_and_nothing_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    requests = mixed(9)
    async with opened(small(folder, 4)) as backend:
        undisturbed = await asyncio.gather(*map(backend.generate, requests))
    deaths, rooms, step = [], [], MlxDecoder.step

    def dying(self: MlxDecoder):
        rooms.append(self.room)
        if len(rooms) == 30:
            raise RuntimeError("[metal::malloc] Resource limit (499000) exceeded.")
        return step(self)

    monkeypatch.setattr(MlxDecoder, "step", dying)

    async def persistent(request: Request) -> Completion:
        try:
            return await backend.generate(request)
        except BackendError as error:
            deaths.append(error)
            return await backend.generate(request)

    async with opened(small(folder, 4)) as backend:
        done = await asyncio.gather(*map(persistent, requests))
    assert [one.text for one in done] == [one.text for one in undisturbed]
    assert deaths
    assert all(error.retryable and "Resource limit" in error.message for error in deaths)
    assert (rooms[29], rooms[-1]) == (4, 2)


async def test_one_that_always_dies_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def dead(_: MlxDecoder):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(MlxDecoder, "step", dead)
    async with opened(small(folder, 2)) as backend:
        errors = []
        for _ in range(3):
            with pytest.raises(BackendError) as caught:
                await backend.generate(Request(ASK, Sampling(max_tokens=4), 0))
            errors.append(caught.value)
    assert [error.retryable for error in errors] == [True, False, False]


def damaged(folder: Path, target: Path, **config: object) -> Path:
    shutil.copytree(folder, target)
    old = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(old | config))
    return target


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "no_such_kind"}, "no_such_kind"),
        ({"model_type": 3}, "what kind of model"),
        ({"model_file": "evil.py"}, "code of its own"),
        ({"num_hidden_layers": 3}, "cannot load"),
    ],
)
async def test_a_config_that_does_not_fit_is_one_line(folder: Path, tmp_path: Path, change: dict, says: str):
    copy = damaged(folder, tmp_path / "copy", **change)
    (copy / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ModelError, match=says) as caught:
        await small(copy, 1).open()
    assert "\n" not in caught.value.message
    assert caught.value.hint


async def test_folders_without_their_files(folder: Path, tmp_path: Path):
    copy = damaged(folder, tmp_path / "copy")
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00002.safetensors"}}))
    with pytest.raises(ModelError, match=r"has no model-00002\.safetensors") as caught:
        await MlxBackend(copy, name="qwen3-4b").open()
    assert caught.value.hint == "localsynth models pull qwen3-4b"
    pulled = paths.models_dir() / "owner--name"
    for path, hint in ((pulled, "localsynth models pull owner/name"), (tmp_path / "mine", "choose another model")):
        with pytest.raises(ModelError, match="there is no model folder") as caught:
            await MlxBackend(path).open()
        assert hint in caught.value.hint
    (copy / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        await small(copy, 1).open()
    (copy / "model.safetensors.index.json").unlink()
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cannot load"):
        await small(copy, 1).open()
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights in safetensors"):
        await small(copy, 1).open()
    (copy / "config.json").write_text("[")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        await small(copy, 1).open()


async def test_weights_that_are_too_large_are_refused_before_they_are_loaded(folder: Path):
    with pytest.raises(ModelError, match="its weights take") as caught:
        await MlxBackend(folder, MlxSettings(memory_share=1e-9)).open()
    assert "--memory-share" in caught.value.hint


async def test_a_model_whose_cache_cannot_be_batched_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlx_lm.models.cache.make_prompt_cache", lambda _: [object()])
    with pytest.raises(ModelError, match="in batches: object"):
        await small(folder, 1).open()


def test_no_memory_is_pinned(monkeypatch: pytest.MonkeyPatch):
    limits: list[int] = []
    mx = library.core()
    monkeypatch.setattr(library, "on_cpu", lambda: False)
    monkeypatch.setattr(mx, "set_wired_limit", lambda limit: (limits.append(limit), 0)[1])
    # The package has a function of the module's name.
    batching = importlib.import_module("mlx_lm.generate")
    monkeypatch.setattr(batching, "maybe_set_recommended_wired_limit", lambda: mx.set_wired_limit(11 * 10**9))
    generator = make_generator(None, 2)
    assert limits == [11 * 10**9, 0]
    generator.close()
    assert limits[-1] == 0


def test_the_device_says_how_much_may_be_used(monkeypatch: pytest.MonkeyPatch):
    air = {"memory_size": 17 * 10**9, "max_recommended_working_set_size": 11 * 10**9}
    assert 0 < library.usable_memory(0.5) < library.usable_memory(0.9)
    monkeypatch.setattr(library, "on_cpu", lambda: False)
    monkeypatch.setattr(library.core(), "device_info", lambda: air)
    assert library.usable_memory(0.5) == int(8.5 * 10**9)
    assert library.usable_memory(0.9) == int(9.9 * 10**9)  # what Metal recommends is the bound


def test_an_old_version_is_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlx_lm.__version__", "0.30.2")
    library.core.cache_clear()
    try:
        with pytest.raises(MissingPackage, match=r"0\.30\.2 is too old.*macOS 14") as caught:
            library.core()
    finally:
        library.core.cache_clear()
    assert caught.value.hint.startswith("pip install -U")
    assert issubclass(MissingPackage, LocalsynthError)


def test_a_cache_is_counted_from_the_config():
    llama3 = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
    assert loading.cache_values(llama3) * 2 == 131_072  # bytes of a token at 16 bits
    assert loading.cache_values({"model_type": "gemma3", "text_config": llama3}) * 2 == 131_072
    assert loading.cache_values({}) == 0
