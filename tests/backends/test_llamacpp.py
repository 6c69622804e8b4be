"""The llama.cpp backend on the real starter model: the contract, exact replay, and files that cannot be used."""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import itertools
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from contract import Absent, Contract, Installed, Prompts, opened, same

from localsynth.backends.gguf import read_facts, read_tensors
from localsynth.backends.llamacpp import LlamaCppBackend, LlamaCppSettings, decoder, library
from localsynth.backends.llamacpp.cells import Cells
from localsynth.backends.llamacpp.saved import Saved, SavedRows
from localsynth.backends.llamacpp.settings import physical_cores, replays_exactly, resolve
from localsynth.chat import derive
from localsynth.errors import BackendError, MissingPackage, ModelError
from localsynth.records import Completion, Request, Sampling

SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
ASK = SYSTEM + "<|im_start|>user\n"


def answering(question: str) -> str:
    return f"{ASK}{question}<|im_end|>\n<|im_start|>assistant\n"


def small(path: Path, slots: int, context: int = 512) -> LlamaCppBackend:
    # One thread: tests share the machine, and llama.cpp's threads wait for each other by spinning.
    return LlamaCppBackend(path, LlamaCppSettings(slots=slots, context=context, threads=1))


@pytest.mark.starter
class TestLlamaCpp(Contract, Absent, Installed):
    cap = 12
    package, loaded = "llama_cpp", library.library

    @pytest.fixture
    def absent(self, tmp_path: Path):
        return LlamaCppBackend(tmp_path / "absent.gguf")

    @pytest.fixture
    def backend(self, starter: Path):
        return lambda slots: small(starter, slots)

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(ASK, (answering("What is tea?"), answering("Name three rivers of Europe.")), 24)


@pytest.mark.starter
async def test_what_it_says_about_the_starter(starter: Path):
    async with opened(LlamaCppBackend(starter, LlamaCppSettings(slots=1, context=300), name="smollm2")) as backend:
        info = backend.info
    assert info.model == "smollm2"
    assert info.context == 512  # rounded up
    assert info.quantisation == "Q4_1"
    assert info.sha256 == hashlib.sha256(starter.read_bytes()).hexdigest()
    assert info.file == str(starter)
    assert info.exact_replay
    assert (info.tokens.bos, info.tokens.eos, info.tokens.add_bos) == ("<|im_start|>", "<|im_end|>", False)
    assert info.tokens.control["<|im_end|>"] in info.tokens.end_ids
    assert derive(info.template, info.tokens).ask_prompt() == ASK
    # The header alone says the same.
    facts = read_facts(starter)
    assert facts.template == info.template
    assert facts.tokens.control == info.tokens.control
    assert set(facts.tokens.end_ids) <= set(info.tokens.end_ids)


@pytest.mark.starter
async def test_what_a_neighbour_leaves_behind_changes_nothing(starter: Path):
    """Follow-ups, shared prefixes, cancelled neighbours and moved rows: each row is what it is alone on a fresh cache."""
    dice = random.Random(3)
    questions = ["What is tea?", "Explain the fall of Rome " * 4, "Hi", "Write a poem about the sea and the moon."]
    requests = []
    for seed in range(14):
        prompt = ASK if seed % 3 == 0 else answering(dice.choice(questions) + " " * (seed % 2))
        sampling = Sampling(
            temperature=(1.0, 0.0, 0.7)[seed % 3], top_p=(1.0, 0.9)[seed % 2], top_k=(0, 40)[seed % 2],
            repeat_penalty=(1.0, 1.2)[seed % 2], min_p=(0.0, 0.05)[seed % 2], max_tokens=6 + seed,
        )  # fmt: skip
        requests.append(Request(prompt, sampling, seed))
    async with opened(small(starter, 6)) as crowded:
        noise = [
            asyncio.create_task(crowded.generate(Request(ASK, Sampling(max_tokens=100), 50 + n))) for n in range(4)
        ]
        tasks = [asyncio.create_task(crowded.generate(request)) for request in requests]
        await tasks[0]
        for task in noise:
            task.cancel()
        together = [await task for task in tasks]
        follow = [
            replace(request, prompt=request.prompt + done.text + "<|im_end|>\n<|im_start|>assistant\n")
            for request, done in zip(requests[:3], together, strict=False)
        ]
        together += await asyncio.gather(*map(crowded.generate, follow))
    for start in range(0, len(requests) + len(follow), 3):
        async with opened(small(starter, 1)) as fresh:
            for at, request in list(enumerate(requests + follow))[start : start + 3]:
                assert same(await fresh.generate(request), together[at]), at


async def asked_and_answered(model: Path) -> list[Completion]:
    """Four questions on two slots, then their answers."""
    async with opened(small(model, 2)) as backend:
        ask = [Request(ASK, Sampling(max_tokens=40), seed, continued=True) for seed in range(4)]
        asked = await asyncio.gather(*map(backend.generate, ask))
        answers = [
            Request(answering(done.text), Sampling(temperature=0, max_tokens=6), 0, opening=ASK) for done in asked
        ]
        return [*asked, *await asyncio.gather(*map(backend.generate, answers))]


@pytest.mark.starter
@pytest.mark.parametrize("spare", [1 << 30, 3_000_000, 0], ids=["room for all", "room for one or two", "no room"])
async def test_an_answer_takes_its_question_over_where_there_is_room_to_keep_it(
    starter: Path, monkeypatch: pytest.MonkeyPatch, spare: int
):
    plain = await asked_and_answered(starter)
    taken: list[int] = []
    restore = SavedRows.restore

    def counted(self: SavedRows, saved: Saved, sequence: int) -> bool:
        taken.append(len(saved.tokens))
        return restore(self, saved, sequence)

    monkeypatch.setattr(SavedRows, "restore", counted)
    monkeypatch.setattr(decoder, "free_memory", lambda: 16 * spare)
    done = await asked_and_answered(starter)
    assert all(map(same, done, plain))
    stopped = sum(one.finish_reason == "stop" for one in done[:4])
    assert stopped >= 2
    assert bool(taken) == bool(spare)
    assert len(taken) <= stopped


@pytest.mark.starter
async def test_a_row_alone_is_the_row_in_company_for_other_weights_too(starter: Path, tmp_path: Path):
    from localsynth.backends.llamacpp.library import quantise

    f16 = tmp_path / "f16.gguf"
    quantise(starter, f16, 1, 1)
    requests = [Request(prompt, Sampling(max_tokens=8), 3, logprobs=True) for prompt in (ASK, answering("Hi"), ASK)]
    async with opened(small(f16, 3, 256)) as backend:
        assert backend.info.exact_replay
        together = await asyncio.gather(*map(backend.generate, requests))
    async with opened(small(f16, 1, 256)) as backend:
        alone = [await backend.generate(request) for request in requests]
    assert all(map(same, together, alone))


@pytest.mark.starter
async def test_a_stop_id_of_the_request_ends_it(starter: Path):
    async with opened(small(starter, 1)) as backend:
        request = Request(answering("What is tea?"), Sampling(temperature=0, max_tokens=20), 0)
        plain = await backend.generate(request)
        full_stop = 30  # "." in the starter's vocabulary
        done = await backend.generate(replace(request, stop_ids=(full_stop,)))
    assert done.stopped_by == full_stop
    assert done.text == plain.text[: plain.text.index(".")]


@pytest.mark.starter
async def test_control_strings_become_their_tokens_and_bos_is_never_doubled(starter: Path):
    async with opened(small(starter, 1)) as backend:
        one = await backend.generate(Request("<|im_start|>", Sampling(max_tokens=1), 0))
        two = await backend.generate(Request("<|im_start|><|im_end|>", Sampling(max_tokens=1), 0))
        plain = await backend.generate(Request("im_start", Sampling(max_tokens=1), 0))
        with pytest.raises(BackendError):
            await backend.generate(Request("", Sampling(max_tokens=1), 0))
    assert (one.prompt_tokens, two.prompt_tokens) == (1, 2)
    assert plain.prompt_tokens > 1


@pytest.mark.parametrize("name", ["llama-bpe", "llama-spm", "phi-3", "qwen2"])
def test_exactly_one_bos_on_token_ids(shared_data: Path, name: str):
    from localsynth.backends.llamacpp.library import library
    from localsynth.backends.llamacpp.vocabulary import Vocabulary

    path = shared_data / "vocabs" / f"ggml-vocab-{name}.gguf"
    llama = library()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(str(path).encode(), params)
    try:
        vocabulary = Vocabulary(model)
        special = vocabulary.special_tokens()
        facts = read_facts(path).tokens
        assert (special.bos, special.eos, special.add_bos) == (facts.bos, facts.eos, facts.add_bos)
        # llama.cpp also takes some plain tokens that end a text elsewhere, such as </s>, for control tokens.
        assert special.control.keys() - facts.control.keys() <= {"</s>"}
        assert facts.control.keys() <= special.control.keys()
        bos = special.control.get(special.bos)
        if bos is not None:
            assert vocabulary.tokenize(special.bos + "Hello there").count(bos) == 1
            assert vocabulary.tokenize("Hello there").count(bos) == 0
        assert (
            b"".join(map(vocabulary.piece, vocabulary.tokenize("Grüße, 机器 🙂"))).decode().strip() == "Grüße, 机器 🙂"
        )
    finally:
        llama.llama_model_free(model)


@pytest.mark.starter
async def test_logprobs_are_of_the_raw_distribution(starter: Path):
    async with opened(small(starter, 2)) as backend:
        prompt = answering("What is tea?")
        raw = Sampling(temperature=0.0, max_tokens=6)
        greedy = await backend.generate(Request(prompt, raw, 0, logprobs=True))
        # Truncated to one candidate at another temperature, the same tokens come with the same raw logprobs.
        sharp = Sampling(temperature=5.0, top_k=1, max_tokens=6)
        other = await backend.generate(Request(prompt, sharp, 7, logprobs=True))
    assert greedy.text == other.text
    assert greedy.logprobs == other.logprobs
    assert all(-8 < value < 0 for value in greedy.logprobs)


@pytest.mark.starter
async def test_a_full_cache_fails_the_longest_row_only(starter: Path, monkeypatch: pytest.MonkeyPatch):
    async with opened(small(starter, 2)) as backend:
        from localsynth.backends.llamacpp.library import library

        real, calls = library().llama_decode, itertools.count()

        def full_once(context, batch):
            return 1 if batch.n_tokens == 2 and next(calls) == 0 else real(context, batch)

        monkeypatch.setattr(library(), "llama_decode", full_once)
        requests = [Request(prompt, Sampling(max_tokens=8), 1) for prompt in (answering("A longer question"), ASK)]
        results = await asyncio.gather(*map(backend.generate, requests), return_exceptions=True)
    assert isinstance(results[0], BackendError)
    assert results[0].retryable
    assert isinstance(results[1], Completion)


@pytest.mark.starter
async def test_a_broken_decode_is_told_and_the_next_request_loads_again(starter: Path, monkeypatch):
    async with opened(small(starter, 1)) as backend:
        from localsynth.backends.llamacpp.library import library

        real = library().llama_decode
        monkeypatch.setattr(library(), "llama_decode", lambda *_: -3)
        with pytest.raises(BackendError, match="llama_decode returned -3") as caught:
            await backend.generate(Request(ASK, Sampling(max_tokens=2), 0))
        assert caught.value.retryable
        monkeypatch.setattr(library(), "llama_decode", real)
        assert (await backend.generate(Request(ASK, Sampling(max_tokens=2), 0))).completion_tokens == 2


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


async def refused(path: Path) -> ModelError:
    backend = LlamaCppBackend(path)
    with pytest.raises(ModelError) as caught:
        await backend.open()
    await backend.aclose()
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


async def test_files_that_are_no_model(tmp_path: Path):
    assert "no model file" in (await refused(tmp_path / "absent.gguf")).message
    assert "not a file" in (await refused(tmp_path)).message
    assert "not a GGUF" in (await refused(write(tmp_path / "a.gguf", b"PK\x03\x04 a zip"))).message
    assert "not a GGUF" in (await refused(write(tmp_path / "b.gguf", b""))).message
    assert "not whole" in (await refused(write(tmp_path / "c.gguf", b"GGUF\x03\0\0\0"))).message


@pytest.mark.starter
async def test_a_truncated_file_is_told_at_any_length(starter: Path, tmp_path: Path):
    data = await asyncio.to_thread(starter.read_bytes)
    for length in (100, 5000, 1_000_000, 3_000_000, len(data) // 2, len(data) - 1):
        error = await refused(write(tmp_path / "cut.gguf", data[:length]))
        assert "not whole" in error.message
        assert "download it again" in error.hint


@pytest.mark.starter
def test_a_damaged_header_never_asks_for_all_memory(starter: Path, tmp_path: Path):
    head = bytearray(starter.read_bytes()[:4096])
    dice = random.Random(1)
    for number in range(60):
        broken = bytearray(head)
        for _ in range(4):
            broken[dice.randrange(4, 600)] = dice.randrange(256)
        with pytest.raises(ModelError):
            read_facts(write(tmp_path / f"{number}.gguf", bytes(broken)))


async def test_without_llama_cpp_it_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from localsynth.backends.llamacpp import library

    real = builtins.__import__

    def no_llama(name, *args, **kwargs):
        if name == "llama_cpp":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_llama)
    library.library.cache_clear()
    try:
        with pytest.raises(MissingPackage) as caught:
            library.library()
    finally:
        library.library.cache_clear()
    assert caught.value.hint == "pip install 'localsynth[gguf]'"


@pytest.mark.starter
def test_settings_follow_the_machine(starter: Path, monkeypatch: pytest.MonkeyPatch):
    facts = read_facts(starter)
    plain = resolve(LlamaCppSettings(), facts, gpu=False)
    assert (plain.context, plain.gpu_layers) == (2048, 0)
    assert 1 <= plain.slots <= 32
    assert plain.threads == physical_cores() >= 1
    assert resolve(LlamaCppSettings(), facts, gpu=True).gpu_layers > facts.layers
    assert resolve(LlamaCppSettings(slots=3, context=100, threads=5), facts, gpu=False) == LlamaCppSettings(
        slots=3, context=256, threads=5, gpu_layers=0, batch=plain.batch
    )
    assert replays_exactly(plain, facts)
    assert not replays_exactly(replace(plain, gpu_layers=1), facts)
    assert not replays_exactly(plain, replace(facts, tensor_types={"F32": 2, "Q4_K": 7}))
    free = facts.size + 2 * 10 * facts.cell_bytes * 2048
    monkeypatch.setattr("localsynth.backends.llamacpp.settings.free_memory", lambda: free)
    assert resolve(LlamaCppSettings(), facts, gpu=False).slots == 10
    monkeypatch.setattr("localsynth.backends.llamacpp.settings.free_memory", lambda: facts.size)
    with pytest.raises(ModelError, match="GB are free"):
        resolve(LlamaCppSettings(), facts, gpu=False)


@pytest.mark.starter
async def test_a_repacked_copy(starter: Path, tmp_path: Path):
    from localsynth.backends.optimize import optimize, repack_target

    facts = read_facts(starter)
    target = repack_target(facts)
    if target is None:
        pytest.skip("this CPU repacks nothing")
    copy = optimize(starter, tmp_path / "new")
    assert [path.name for path in copy.parent.iterdir()] == ["SmolLM2-135M-Instruct.Q4_0.gguf"]
    made = read_facts(copy)
    assert (made.quantisation, made.template, made.tokens) == (target, facts.template, facts.tokens)
    assert repack_target(made) is None
    assert {tensor.name for tensor in read_tensors(copy)} == {tensor.name for tensor in read_tensors(starter)}
    stamp = copy.stat().st_mtime_ns
    assert optimize(starter, tmp_path / "new").stat().st_mtime_ns == stamp
    with pytest.raises(ModelError):
        optimize(copy, tmp_path)
    async with opened(small(copy, 2)) as backend:
        texts = [await backend.generate(Request(ASK, Sampling(max_tokens=12), seed)) for seed in range(2)]
    assert all(len(done.text) > 10 for done in texts)


@pytest.mark.starter
def test_a_copy_that_cannot_be_written_leaves_nothing(starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from localsynth.backends import optimize as module

    def half(_source, target, *_):
        target.write_bytes(starter.read_bytes()[:1_000_000])

    monkeypatch.setattr("localsynth.backends.llamacpp.library.quantise", half)
    with pytest.raises(ModelError, match="not whole"):
        module.optimize(starter, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ModelError, match="cannot be written"):
        module.optimize(starter, write(tmp_path / "file", b"") / "out")


def test_a_state_that_cannot_be_cut_is_read_anew(monkeypatch: pytest.MonkeyPatch):
    """Recurrent models: what another slot has gone on from is no state of the prompt."""
    calls: list[str] = []

    class Library:
        def __getattr__(self, name: str):
            return lambda *_: calls.append(name)

    monkeypatch.setattr("localsynth.backends.llamacpp.cells.library", Library)
    monkeypatch.setattr("localsynth.backends.llamacpp.saved.library", Library)
    for partial in (True, False):
        cells = Cells(0, 2, 64, exact=False, partial=partial, spare=0)
        prompt = list(range(8))
        first, second = cells.take(prompt, 8), cells.take(prompt, 8)
        first.tokens, first.pieces = [*prompt, 99], 8
        calls.clear()
        assert cells.fill(second, prompt) == partial
        assert (second.tokens, bool(calls)) == ((prompt, True) if partial else ([], False))
