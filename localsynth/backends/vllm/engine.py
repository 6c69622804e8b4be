"""An engine of vLLM: its processes, the client that talks to them, and why it failed when it did."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from localsynth.backends.vllm import library
from localsynth.backends.vllm.failures import EngineLog, hint_for
from localsynth.backends.vllm.guard import Guard
from localsynth.backends.vllm.settings import VllmSettings, engine_arguments
from localsynth.backends.vllm.silence import Silence
from localsynth.errors import BackendError, ModelError

_LOOK_S = 0.1

Tokens = tuple[list[int], list[float]]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine chose: rows at the same time, tokens of one row, ids that exist, how the weights are held."""

    slots: int
    context: int
    vocabulary: int
    quantisation: str


class Engine:
    """Start it once and stop it once."""

    def __init__(self, path: Path, settings: VllmSettings) -> None:
        self._path, self._settings = path, settings
        self._log = EngineLog()
        self._guard = Guard()
        self._processes: set[int] = set()
        self._client: Any = None
        self._silence = Silence(lambda: self.dead, self._break)
        self._broken = ""
        self._count = 0

    async def start(self) -> None:
        """Load the model; minutes for a large one. ModelError when it cannot be run, MissingPackage without vLLM."""
        library.prepare(str(self._log.config))
        before = _engine_processes()
        starting = asyncio.ensure_future(asyncio.to_thread(self._load))
        try:
            while not starting.done():
                await asyncio.wait([starting], timeout=_LOOK_S)
                for pid in _engine_processes() - before - self._processes:
                    self._processes.add(pid)
                    self._guard.watch(pid)
            starting.result()
        except asyncio.CancelledError:
            while not starting.done():
                # Without its processes the thread that waits for them comes back with an error.
                _kill(_engine_processes() - before)
                await asyncio.wait([starting], timeout=_LOOK_S)
            starting.exception()
            await self.stop()
            raise
        except BaseException:
            await self.stop()
            raise

    def facts(self) -> EngineFacts:
        """What came of the settings."""
        config = self._client.vllm_config
        model = config.model_config
        return EngineFacts(
            slots=int(config.scheduler_config.max_num_seqs),
            context=int(model.max_model_len),
            vocabulary=int(model.get_vocab_size()),
            quantisation=str(model.quantization or str(model.dtype).removeprefix("torch.")),
        )

    async def tokens(self, ids: Sequence[int], fields: dict[str, Any]) -> AsyncGenerator[Tokens]:
        """New tokens of one request, and their logprobs where asked for, as they come; closing this ends the request.

        BackendError for a request that vLLM refuses, and a retryable one when the engine died or fell silent.
        """
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        self._count += 1
        try:
            params = SamplingParams(**fields, output_kind=RequestOutputKind.DELTA)
            stream = self._client.generate(tokens_input(list(ids)), params, str(self._count))
            async with self._silence.broken_off(), contextlib.aclosing(stream) as outputs:
                async for output in outputs:
                    self._silence.heard()
                    yield _news(output.outputs[0])
        except (EngineDeadError, TimeoutError):
            pass
        except (VLLMClientError, EngineGenerateError, ValueError) as error:
            why = error.__cause__ if isinstance(error, EngineGenerateError) and error.__cause__ else error
            raise BackendError(f"vLLM refused the request: {why}", "change the prompt or the sampling") from None
        else:
            return
        # Raised inside, it would keep vLLM's error, and with its traceback the client of the dead engine.
        raise self.died()

    @property
    def dead(self) -> bool:
        """Whether it ended without being told to."""
        return self._client is None or bool(self._broken) or bool(self._client.errored)

    def died(self) -> BackendError:
        """The error for whoever waited for an engine that died."""
        cause = self._log.cause() or self._broken
        return BackendError(f"vLLM's engine died: {cause or 'it gave no reason'}", hint_for(cause), retryable=True)

    def _break(self) -> None:
        """It answers nobody any more; its workers, which may be what hangs, hold the GPU's memory until they end."""
        from vllm.utils.system_utils import kill_process_tree

        self._broken = f"it gave no answer for {self._silence.limit_s:g} seconds"
        for pid in _engine_processes() & self._processes:
            kill_process_tree(pid)

    async def stop(self) -> None:
        """End its processes and wait for them."""
        client, self._client = self._client, None
        if client is not None:
            if client.output_handler is not None and not client.errored:
                # Else it takes the end for a death, and logs it with a traceback.
                client.output_handler.cancel()
            await asyncio.to_thread(client.shutdown)
            # It is a part of cycles, and prints a traceback where it is collected as late as the interpreter's end.
            del client
            gc.collect()
        while left := _engine_processes() & self._processes:
            _kill(left)
            await asyncio.sleep(_LOOK_S)
        self._guard.release()
        self._log.close()

    def _load(self) -> None:
        """Runs on a thread: it takes minutes, and whoever watches the run wants to see it alive.

        The client is no result of it, since vLLM's imports keep the frames that they were started from, and a frame of
        the thread keeps the result.
        """
        cpu = library.on_cpu()
        arguments = engine_arguments(self._path, self._settings, on_cpu=cpu)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        # Ctrl-C reaches all processes of a terminal. An engine that obeys it would drop what a draining run waits for;
        # a signal that is blocked here stays blocked in the processes that this thread starts. The first of them starts
        # a tracker, which would unblock it again.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # Of vLLM's sets of defaults the one for throughput.
            wanted = AsyncEngineArgs(**arguments)
            self._client = AsyncLLM.from_engine_args(wanted, usage_context=UsageContext.LLM_CLASS)
        except Exception as error:
            cause = self._log.cause() or _one_line(error)
            raise ModelError(f"vLLM cannot run {self._path.name}: {cause}", hint_for(cause)) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _news(output: Any) -> Tokens:
    ids = list(output.token_ids)
    return ids, [float(place[token].logprob) for token, place in zip(ids, output.logprobs or (), strict=False)]


def _one_line(error: Exception) -> str:
    """The message of an error; of pydantic's, which take lines, the ones that say what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if "validation error" in lines[0] and len(lines) > 1:
        said = " ".join(line for line in lines[1:] if not line.startswith("For further information"))
        lines = [said.split(" [type=")[0].replace("Value error, ", "")]
    return lines[0][:300]


def _engine_processes() -> set[int]:
    children = multiprocessing.active_children()
    return {child.pid for child in children if child.pid is not None and child.name.startswith("EngineCore")}


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
