"""vLLM in process: what can be told without it here; with it, by `make test-vllm`, the contract on the starter."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import json
import logging.config
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from contract import Contract, Prompts, opened, same
from tiny_models import write_tokenizer

from localsynth.backends import weights
from localsynth.backends.tokenizer import read_tokenizer
from localsynth.backends.vllm import VllmBackend, VllmSettings, library
from localsynth.backends.vllm import backend as module
from localsynth.backends.vllm.engine import EngineFacts, _one_line
from localsynth.backends.vllm.failures import EngineLog, hint_for
from localsynth.backends.vllm.guard import Guard
from localsynth.backends.vllm.rows import MOST_BIASED, Row, rest, sampling
from localsynth.backends.vllm.settings import engine_arguments, revision_of
from localsynth.errors import BackendError, MissingPackage, ModelError
from localsynth.records import Request, Sampling, derive_seed

WORDS = "The harbour is old, and the lantern is blue. " * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with a real tokenizer and weights that only their hash is taken of."""
    made = write_tokenizer(tmp_path / "model")
    (made / "config.json").write_text(json.dumps({"max_position_embeddings": 512, "eos_token_id": 2}))
    (made / "model.safetensors").write_bytes(b"weights")
    return made


class FakeEngine:
    """Stands where vLLM's engine does: every request gets the tokens of one text, three at a time, then the end.

    A bias is obeyed on every token, and the seed turns the text, so that what the backend asks for can be seen in what
    it gets. As vLLM does, it writes on behind a stop text until it is closed.
    """

    asked: list[dict] = []  # noqa: RUF012 - shared on purpose: engines come and go
    deaths = 0
    started = 0

    def __init__(self, path: Path, settings: VllmSettings) -> None:
        self.tokenizer, self.settings = read_tokenizer(path), settings
        self.dead = False
        self.live = 0

    async def start(self) -> None:
        type(self).started += 1
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self.dead = True

    def facts(self) -> EngineFacts:
        return EngineFacts(self.settings.slots or 8, 512, self.tokenizer.size, "bfloat16")

    def died(self) -> BackendError:
        return BackendError("vLLM's engine died: OutOfMemoryError: CUDA out of memory", "less", retryable=True)

    async def tokens(self, ids, fields):
        self.asked.append({"ids": list(ids)} | fields)
        self.live += 1
        try:
            text = self.tokenizer.encode(WORDS)
            turn = fields["seed"] % 7 if fields["temperature"] else 0
            text = [token for token in text[turn:] + text[:turn] if token not in (fields["logit_bias"] or {})]
            text = [*text, 2][: fields["max_tokens"]]
            for at in range(0, len(text), 3):
                await asyncio.sleep(0)
                if type(self).deaths:
                    type(self).deaths -= 1
                    self.dead = True
                if self.dead:
                    raise self.died()
                new = text[at : at + 3]
                yield new, [-0.5] * len(new) if fields["logprobs"] is not None else []
        finally:
            self.live -= 1


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    monkeypatch.setattr(module, "Engine", FakeEngine)
    monkeypatch.setattr(library, "check", lambda: "0.32.0")
    monkeypatch.setattr(FakeEngine, "asked", [])
    monkeypatch.setattr(FakeEngine, "deaths", 0)
    monkeypatch.setattr(FakeEngine, "started", 0)
    return FakeEngine


ASK = "<|im_start|>user\n"


class TestOverAFakeEngine(Contract):
    """The whole contract, with only the engine's own processes left out."""

    cap = 12

    @pytest.fixture
    def backend(self, folder: Path, engine: type[FakeEngine]):
        return lambda slots: VllmBackend(folder, VllmSettings(slots=slots))

    @pytest.fixture
    def prompts(self, folder: Path) -> Prompts:
        count = len(read_tokenizer(folder).encode(ASK))
        return Prompts(ASK, (ASK + "What?<|im_end|>\n", "<|im_start|>assistant\n"), count)


async def test_the_first_token_is_a_request_of_its_own_where_it_is_restricted(folder: Path, engine: type[FakeEngine]):
    request = Request(ASK, Sampling(max_tokens=9, avoid_first=("Th",), repeat_penalty=1.1), 0, stop_ids=(5,))
    async with opened(VllmBackend(folder)) as backend:
        done = await backend.generate(request)
    first, second = engine.asked
    tokenizer = read_tokenizer(folder)
    avoided = {token for token in range(tokenizer.size) if tokenizer.piece(token).lstrip().startswith(b"Th")}
    assert set(first["logit_bias"]) == avoided
    assert set(first["logit_bias"].values()) == {float("-inf")}
    assert (first["max_tokens"], second["max_tokens"], second["logit_bias"]) == (1, 8, None)
    assert second["ids"] == first["ids"] + tokenizer.encode(done.text)[:1]
    # The same seed again would draw two tokens with the same random numbers.
    assert (first["seed"], second["seed"]) == (0, derive_seed(0, "rest"))
    assert first["stop_token_ids"] == second["stop_token_ids"] == [5, 2]
    assert done.completion_tokens == 9
    assert done.prompt_tokens == len(first["ids"])


async def test_a_text_that_ends_with_its_first_token_is_not_continued(folder: Path, engine: type[FakeEngine]):
    async with opened(VllmBackend(folder)) as backend:
        request = Request(ASK, Sampling(max_tokens=1, avoid_first=("Th",)), 0)
        done = await backend.generate(request)
        stopped = await backend.generate(
            Request(ASK, Sampling(max_tokens=5, avoid_first=("Th",)), 0, stop=(done.text[:1],))
        )
    assert (done.finish_reason, done.completion_tokens) == ("length", 1)
    assert (stopped.text, stopped.completion_tokens) == ("", 1)
    assert len(engine.asked) == 2


async def test_what_is_written_behind_a_stop_text_is_not_counted(folder: Path, engine: type[FakeEngine]):
    async with opened(VllmBackend(folder)) as backend:
        plain = await backend.generate(Request(ASK, Sampling(max_tokens=30), 0))
        request = Request(ASK, Sampling(max_tokens=30), 0, stop=(plain.text[5:8],), logprobs=True)
        done = await backend.generate(request)
        assert backend._engine.live == 0  # closed, so that vLLM aborts it
    text = plain.text[: plain.text.index(plain.text[5:8])]
    assert done.text == text
    needed = next(n for n in range(30) if plain.text[5:8] in read_tokenizer(folder).decode(
        read_tokenizer(folder).encode(plain.text)[:n]))  # fmt: skip
    assert done.completion_tokens == needed == len(done.logprobs)


async def test_cancelling_closes_the_request(folder: Path, engine: type[FakeEngine]):
    async with opened(VllmBackend(folder)) as backend:
        task = asyncio.create_task(backend.generate(Request(ASK, Sampling(max_tokens=60), 1)))
        while not engine.asked:  # noqa: ASYNC110 - a few turns of the loop, in which nothing is waited for
            await asyncio.sleep(0)
        assert backend._engine.live == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backend._engine.live == 0


async def test_an_engine_that_dies_is_started_again_once(folder: Path, engine: type[FakeEngine]):
    request = Request(ASK, Sampling(max_tokens=6), 1)
    async with opened(VllmBackend(folder)) as backend:
        whole = await backend.generate(request)
        engine.deaths = 1
        for error in await asyncio.gather(*[backend.generate(request) for _ in range(3)], return_exceptions=True):
            assert isinstance(error, BackendError)
            assert error.retryable
            assert "CUDA out of memory" in error.message
        assert same(await backend.generate(request), whole)
        assert engine.started == 2
        engine.deaths = 1
        with pytest.raises(BackendError) as first:
            await backend.generate(request)
        engine.deaths = 1
        with pytest.raises(BackendError) as second:
            await backend.generate(request)
        with pytest.raises(BackendError) as over:
            await backend.generate(request)
    assert (first.value.retryable, second.value.retryable, over.value.retryable) == (True, False, False)
    assert engine.started == 3


async def test_a_listener_that_fails_costs_no_text(folder: Path, engine: type[FakeEngine]):
    told: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    def broken(_text: str) -> None:
        raise ValueError("listener")

    async with opened(VllmBackend(folder)) as backend:
        done = await backend.generate(Request(ASK, Sampling(max_tokens=6), 1), broken)
    assert done.text
    assert told[0]["message"] == "on_text failed"


async def test_what_it_says_about_a_model(folder: Path, engine: type[FakeEngine]):
    async with opened(VllmBackend(folder, name="starter")) as backend:
        info = backend.info
        with pytest.raises(BackendError, match="empty"):
            await backend.generate(Request("", Sampling(max_tokens=1), 0))
    assert (info.name, info.version, info.model) == ("vllm", "vllm 0.32.0", "starter")
    assert info.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert info.quantisation == "bfloat16"
    assert not info.exact_replay


@pytest.mark.parametrize(
    ("chosen", "field", "value"),
    [
        (Sampling(temperature=0.7), "temperature", 0.7),
        (Sampling(top_p=0.9), "top_p", 0.9),
        (Sampling(top_k=40), "top_k", 40),
        (Sampling(min_p=0.05), "min_p", 0.05),
        (Sampling(repeat_penalty=1.2), "repetition_penalty", 1.2),
        (Sampling(max_tokens=7), "max_tokens", 7),
        (Sampling(), "logprobs", None),
        (Sampling(), "logit_bias", None),
        (Sampling(), "seed", 0),
        (Sampling(), "ignore_eos", True),
        (Sampling(), "detokenize", False),
    ],
)
def test_every_setting_reaches_vllm(chosen: Sampling, field: str, value: object):
    assert sampling(Request(ASK, chosen, 0), [2])[field] == value


def test_logprobs_are_asked_for_as_those_of_the_sampled_token_alone():
    assert sampling(Request(ASK, Sampling(), 0, logprobs=True), [2])["logprobs"] == 0


@pytest.mark.parametrize(
    ("chosen", "first"), [(Sampling(temperature=2.5), ()), (Sampling(avoid_first=("a",)), range(MOST_BIASED + 1))]
)
def test_what_vllm_does_not_take_is_said_before_it_is_asked(chosen: Sampling, first):
    with pytest.raises(BackendError) as caught:
        sampling(Request(ASK, chosen, 0), [2], first=list(first))
    assert caught.value.hint
    assert not caught.value.retryable


def test_the_rest_changes_only_what_it_must():
    request = Request(ASK, Sampling(max_tokens=5), 3)
    fields = sampling(request, [2], first=[7])
    changed = rest(fields, request)
    assert {key for key in fields if fields[key] != changed[key]} == {"seed", "max_tokens", "logit_bias"}


def test_a_character_in_two_tokens_and_a_stop_id_behind_it():
    row = Row(
        Request(ASK, Sampling(max_tokens=9), 0), [1], [9], lambda token: {1: b"\xc3", 2: b"\xa9"}.get(token, b"x")
    )
    assert row.feed([1], []) == ""
    assert row.feed([2, 9, 5], []) == "é"
    done = row.completion()
    assert (done.text, done.stopped_by, done.completion_tokens, done.logprobs) == ("é", 9, 3, None)


def test_the_engine_gets_what_the_plan_asks_for(folder: Path):
    asked = VllmSettings(slots=4, context=300, tensor_parallel=2, memory_share=0.8, quantisation="fp8")
    found = engine_arguments(folder, asked, on_cpu=False)
    wanted = {
        "model": str(folder), "max_num_seqs": 4, "max_model_len": 300, "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.8, "quantization": "fp8", "enable_prefix_caching": True, "enforce_eager": False,
        "logprobs_mode": "raw_logprobs", "trust_remote_code": False,
    }  # fmt: skip
    assert wanted.items() <= found.items()
    nothing = engine_arguments(folder, VllmSettings(), on_cpu=True)
    assert not {"max_num_seqs", "gpu_memory_utilization", "quantization"} & set(nothing)
    assert nothing["max_model_len"] == -1
    assert engine_arguments(folder, VllmSettings(context=4096), on_cpu=False)["max_model_len"] == 512


@pytest.mark.parametrize(
    ("config", "length"),
    [({"text_config": {"max_position_embeddings": 100}}, 100), ({}, 4096), ([], 4096), ({"text_config": 3}, 4096)],
)
def test_the_trained_context_is_where_a_model_says_it(folder: Path, config: object, length: int):
    (folder / "config.json").write_text(json.dumps(config))
    assert engine_arguments(folder, VllmSettings(context=4096), on_cpu=False)["max_model_len"] == length


@pytest.mark.parametrize("lacking", ["config.json", "model.safetensors", "tokenizer.json"])
async def test_a_folder_that_lacks_something_is_refused(folder: Path, engine: type[FakeEngine], lacking: str):
    (folder / lacking).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    backend = VllmBackend(folder)
    with pytest.raises(ModelError) as caught:
        await backend.open()
    assert caught.value.hint
    assert engine.started == 0
    await backend.aclose()
    await backend.aclose()


async def test_a_gguf_file_is_no_folder(tmp_path: Path, engine: type[FakeEngine]):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="not a model folder"):
        await VllmBackend(tmp_path / "model.gguf").open()


def test_the_revision_of_a_folder_in_the_cache(tmp_path: Path):
    assert revision_of(tmp_path / "models--a--b" / "snapshots" / "0a1b") == "0a1b"
    assert revision_of(tmp_path / "0a1b") is None


@pytest.mark.parametrize("how", [ModelError("CUDA out of memory", "less"), asyncio.CancelledError()])
async def test_a_start_that_fails_ends_the_hashing(folder: Path, engine: type[FakeEngine], monkeypatch, how):
    ended = threading.Event()

    def hashes(_: Path, stop: threading.Event) -> str:
        if stop.wait(20):
            ended.set()
        return ""

    async def fails(self: FakeEngine) -> None:
        raise how

    monkeypatch.setattr(weights, "digest", hashes)
    monkeypatch.setattr(FakeEngine, "start", fails)
    with pytest.raises(type(how)):
        await VllmBackend(folder).open()
    assert await asyncio.to_thread(ended.wait, 20)


@pytest.mark.parametrize(("said", "kept"), [((1e-9, float("-inf")), (0.0, -9999.0)), ((-0.5, float("nan")), None)])
def test_logprobs_are_numbers_that_json_has(said: tuple[float, ...], kept: tuple[float, ...] | None):
    row = Row(Request("", Sampling(max_tokens=2), 0, logprobs=True), [1], [], lambda _: b"x")
    row.feed([5, 6], said)
    assert row.completion().logprobs == kept


async def test_without_vllm_the_command_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library, "find_spec", lambda _name: None)
    with pytest.raises(MissingPackage) as caught:
        await VllmBackend(folder).open()
    assert "pip install 'localsynth[vllm]'" in caught.value.hint


@pytest.mark.parametrize("version", ["0.31.9", "0.6.5", "dev"])
def test_an_old_vllm_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(library, "find_spec", lambda _name: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: version)
    with pytest.raises(MissingPackage, match=rf"vllm {version} is too old: 0\.32") as caught:
        library.check()
    assert "pip install -U" in caught.value.hint


@pytest.mark.parametrize("version", ["0.32.0+cpu", "0.33.1", "1.0.0"])
def test_a_new_vllm_is_taken(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(library, "find_spec", lambda _name: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: version)
    assert library.check() == version


WORKER = """vllm ERROR 41: WorkerProc failed to start.
Traceback (most recent call last):
  File "worker.py", line 1, in load
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB
vllm ERROR 40: EngineCore failed to start.
Traceback (most recent call last):
Exception: WorkerProc initialization failed due to an exception in a background process.
"""


@pytest.mark.parametrize(
    ("log", "cause", "hint"),
    [
        (WORKER, "OutOfMemoryError: CUDA out of memory", "--memory-share"),
        ("ValueError: Free memory on device cuda:0 is less than desired GPU memory utilization", "", "--memory-share"),
        ("ValueError: No available memory for the cache blocks.", "", "--context"),
        ("ValueError: World size (2) is larger than the number of available GPUs (1)", "", "--tensor-parallel"),
        ("ValueError: Unknown quantization method: fp3", "", "--quantisation"),
        ("KeyError: 'lm_head'", "KeyError: 'lm_head'", "vllm serve"),
        ("", "", "vllm serve"),
    ],
)
def test_the_cause_of_a_failure_is_found_in_the_log(log: str, cause: str, hint: str):
    kept = EngineLog()
    try:
        config = json.loads(kept.config.read_text())
        Path(config["handlers"]["errors"]["filename"]).write_text(log)
        assert kept.cause().startswith(cause or log)
        assert hint in hint_for(kept.cause())
    finally:
        kept.close()
    assert not kept.config.exists()


def test_what_is_logged_when_the_engine_is_gone_raises_nothing():
    """vLLM logs before it tells the requests that their engine died, and into the file of the newest engine."""
    log = EngineLog()
    before = logging.getLogger("vllm").handlers[:]
    try:
        logging.config.dictConfig(json.loads(log.config.read_text()))
        log.close()
        logging.getLogger("vllm.v1.engine.async_llm").error("AsyncLLM output_handler failed.")
    finally:
        for handler in logging.getLogger("vllm").handlers[:]:
            logging.getLogger("vllm").removeHandler(handler)
            handler.close()
        logging.getLogger("vllm").handlers[:] = before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Engine core initialization failed.\nSee above.", "Engine core initialization failed."),
        (
            "1 validation error for C\nquantization\n  Value error, Unknown method: fp3 [type=x]\n  For further information",
            "quantization Unknown method: fp3",
        ),
        ("", "ValueError"),
    ],
)
def test_an_error_of_many_lines_is_told_in_one(text: str, line: str):
    assert _one_line(ValueError(text)) == line


HOLDER = """
import subprocess, sys, time
from localsynth.backends.vllm.guard import Guard
sleeper = subprocess.Popen(["sleep", "600"])
guard = Guard()
guard.watch(sleeper.pid)
print(sleeper.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="vLLM runs on Linux, and so does its guard")
def test_a_killed_process_leaves_no_engine_behind():
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        engine = os.pidfd_open(int(holder.stdout.readline()))
        assert select.select([engine], [], [], 0)[0] == []
        holder.kill()
    try:
        assert select.select([engine], [], [], 60)[0] == [engine]
    finally:
        os.close(engine)


def test_a_released_guard_ends_nothing():
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        guard = Guard()
        guard.watch(sleeper.pid)
        guard.release()
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()
