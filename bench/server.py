"""The client for servers: how much it costs, and what of a real server's speed is left when it is used.

    python bench/server.py [--completions 10000] [--flight 256]
    python bench/server.py --vllm http://127.0.0.1:8111 [--flight 32] [--completions 96]

Without --vllm: against the test suite's server, in a process of its own and with no delay. The limits it is printed
against: 1,000 completions/s on two cores, and memory that does not grow. With --vllm: the tokens/s of localsynth's
client, which stores every row, against a bare asyncio loop that stores nothing, in turns, in the same run; limit 0.97.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from localsynth.backends.base import Backend
from localsynth.backends.openai import OpenAIBackend
from localsynth.chat import derive
from localsynth.config import plan_from
from localsynth.engine import launch
from localsynth.engine.turns import turn_row
from localsynth.filters.sanitize import Cleaned
from localsynth.methods.base import Written
from localsynth.records import Completion, Request, Sample, Sampling
from localsynth.store.journal import Journal

TESTS = Path(__file__).resolve().parents[1] / "tests" / "backends"
sys.path.insert(0, str(TESTS))


def memory() -> float:
    """MB that this process holds now, or its peak where that is all the system tells."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)


async def complete(backend: Backend, request: Callable[[int], Request], count: int, flight: int, listen) -> list[int]:
    """`count` completions, `flight` at once; the tokens of each."""
    numbers, tokens = iter(range(count)), []

    async def work() -> None:
        for number in numbers:
            done = await backend.generate(request(number), listen)
            tokens.append(done.completion_tokens)

    await asyncio.gather(*(work() for _ in range(flight)))
    return tokens


async def light(url: str, count: int, flight: int) -> None:
    """Against the suite's server."""
    from fake_model import ASK

    backend = OpenAIBackend(url, slots=flight)
    await backend.open()

    def request(number: int) -> Request:
        return Request(ASK, Sampling(max_tokens=200), number)

    print(f"the test suite's server, no delay, {flight} in flight, {count} completions a line")
    for name, listen in (("whole", None), ("streamed", lambda _: None)):
        await complete(backend, request, count // 4, flight, listen)
        before, started, cpu = memory(), time.perf_counter(), time.process_time()
        tokens = await complete(backend, request, count, flight, listen)
        seconds, burnt = time.perf_counter() - started, time.process_time() - cpu
        print(
            f"  {name:9}{count / seconds:7.0f} completions/s ({count / seconds / 1000:.2f} x the limit of 1000), "
            f"{sum(tokens) / seconds:.0f} tokens/s, {1e6 * burnt / count:.0f} us of CPU each, "
            f"memory {before:.0f} -> {memory():.0f} MB"
        )
    await backend.aclose()


def suite_server(count: int, flight: int) -> None:
    """Start the suite's server in a process of its own, and measure."""
    from fake_model import write_model

    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "tiny")
        command = [sys.executable, str(TESTS / "fake_server.py"), str(model)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                asyncio.run(light(server.stdout.readline().strip(), count, flight))
            finally:
                server.terminate()


async def bare(root: str, bodies: list[bytes], flight: int) -> int:
    """The least that gets completions: sockets, one body after the other, and a sum. Returns the tokens."""
    parts, waiting, tokens = urlsplit(root), iter(bodies), 0

    async def work() -> None:
        nonlocal tokens
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for body in waiting:
            head = f"POST /v1/completions HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
            writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
            fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(fields.partition("content-length:")[2].split("\r\n")[0])
            tokens += json.loads(await reader.readexactly(length))["usage"]["completion_tokens"]
        writer.close()

    await asyncio.gather(*(work() for _ in range(flight)))
    return tokens


async def stored(backend: Backend, requests: list[Request], flight: int, folder: Path) -> int:
    """The same through the client, streamed as a run does, every completion a row of a store. Returns the tokens."""
    plan = plan_from({"target": len(requests), "ask": {"backend": "scripted"}, "answer": {"backend": "scripted"}})
    path = folder / f"{time.time_ns()}.db"
    run = launch.create(path, plan)
    waiting, tokens = iter(enumerate(requests)), 0
    journal = Journal(path)

    async def work() -> None:
        nonlocal tokens
        for index, request in waiting:
            done = await backend.generate(request, lambda _: None)
            tokens += done.completion_tokens
            journal.put(*rows(run, index, request, done))

    await asyncio.gather(*(work() for _ in range(flight)))
    await journal.flush()
    journal.close()
    return tokens


def rows(run: str, index: int, request: Request, done: Completion):
    """What a run stores of one instruction."""
    sample = Sample(run, index, state="done")
    written = Written(done.text, completion=done, seed=request.seed)
    return sample, turn_row(sample.id, 0, "user", written, Cleaned(done.text, ()))


async def real(root: str, count: int, flight: int) -> None:
    """Against a vLLM server, in turns: bare, ours, bare, ours."""
    backend = OpenAIBackend(root, slots=flight)
    await backend.open()
    prompt = derive(backend.info.template, backend.info.tokens).ask_prompt()
    seeds = itertools.count()
    rates: dict[str, list[float]] = {"bare": [], "localsynth": []}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("warm", "bare", "localsynth", "localsynth", "bare"):
            requests = [Request(prompt, Sampling(max_tokens=96), next(seeds) % count) for _ in range(count)]
            started = time.perf_counter()
            if name == "bare":
                tokens = await bare(root, [body(backend, request) for request in requests], flight)
            else:
                tokens = await stored(backend, requests, flight, Path(folder))
            rate = tokens / (time.perf_counter() - started)
            print(f"  {name:10} {tokens:6} tokens  {rate:7.1f} tokens/s", flush=True)
            if name in rates:
                rates[name].append(rate)
    await backend.aclose()
    ours, theirs = (sum(rates[name]) / 2 for name in ("localsynth", "bare"))
    print(f"{backend.info.name} {backend.info.version}, {flight} in flight: {ours:.1f} of {theirs:.1f} tokens/s")
    print(f"  ratio {ours / theirs:.3f}, limit 0.97")


def body(backend: Backend, request: Request) -> bytes:
    """The same request as the least that vLLM needs."""
    ends = list(backend.info.tokens.end_ids)
    return json.dumps(
        {
            "model": backend.info.model,
            "prompt": request.prompt,
            "add_special_tokens": False,
            "max_tokens": request.sampling.max_tokens,
            "temperature": request.sampling.temperature,
            "seed": request.seed,
            "stop_token_ids": ends,
        }
    ).encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--completions", type=int)
    parser.add_argument("--flight", type=int)
    parser.add_argument("--vllm", metavar="URL")
    options = parser.parse_args()
    if options.vllm:
        asyncio.run(real(options.vllm, options.completions or 96, options.flight or 32))
    else:
        suite_server(options.completions or 10_000, options.flight or 256)


if __name__ == "__main__":
    main()
