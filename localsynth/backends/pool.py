"""Several servers with one model as one backend: the least busy one gets the next request, a dead one a rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from localsynth.backends.base import Backend, BackendInfo
from localsynth.backends.concurrency import gate_of
from localsynth.errors import BackendError, ContextOverflow, LocalsynthError, ModelError
from localsynth.records import Completion, Request

FIRST_REST, LONGEST_REST = 5.0, 300.0  # seconds that a backend which failed is left alone; doubled each time
FIRST_BREATH = 0.5  # seconds for which one that is too busy comes last; doubled until it finishes something
STRIKES = 3  # failures one after the other that make a backend a dead one


@dataclass(slots=True, eq=False)
class _Member:
    """One backend. It rests until `until`; `trying`: one request finds out whether it is well again.

    `rests` counts how often it was put aside, so that a request from before the last time changes nothing. `busy` is
    until when it comes last, because it refused what it had no room for; `refused`: it serves another model.
    """

    backend: Backend
    open: bool = False
    inside: int = 0
    strikes: int = 0
    rest: float = 0.0
    rests: int = 0
    until: float = 0.0
    trying: bool = False
    breath: float = 0.0
    busy: float = 0.0
    refused: bool = False
    error: LocalsynthError | None = None

    @property
    def load(self) -> float:
        if not self.open:
            return 0.0
        gate = gate_of(self.backend)
        return self.inside / (self.backend.info.max_concurrency if gate is None else gate.concurrency.limit)

    def well(self, now: float) -> bool:
        """Whether it can be given a request."""
        return not self.refused and self.until <= now and not self.trying


class PoolBackend:
    """A backend over others, which must serve the same chat template. It opens when one of them does.

    A backend that fails three times in a row rests, and what waits for it fails at once; then a single request tries
    it. One that is too busy comes last for a while. One that comes back with another model is refused for good. What
    failed gets a retryable error while another backend is left, and the engine sends it there.
    """

    def __init__(self, backends: Sequence[Backend], *, clock: Callable[[], float] = monotonic) -> None:
        self._members = [_Member(backend) for backend in backends]
        self._clock = clock
        self._info: BackendInfo | None = None

    @property
    def info(self) -> BackendInfo:
        """What all have in common; `max_concurrency` is the sum over those that opened."""
        if self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        return self._info

    async def open(self) -> None:
        """Open all. The first error when none opens; ModelError when they serve different models."""
        if self._info is not None:
            return
        results = await asyncio.gather(*(one.backend.open() for one in self._members), return_exceptions=True)
        try:
            self._info = self._opened(results)
        except BaseException:
            await self.aclose()
            raise

    def _opened(self, results: Sequence[BaseException | None]) -> BackendInfo:
        for member, result in zip(self._members, results, strict=True):
            if result is None:
                member.open = True
            elif isinstance(result, LocalsynthError):
                self._put_aside(member, result)
            else:
                raise result
        live = [member.backend.info for member in self._members if member.open]
        if not live:
            raise next(member.error for member in self._members if member.error is not None)
        for info in live[1:]:
            _check_same(live[0], info)
        return _merged(live)

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        """Complete one prompt on the least busy backend that is well. BackendError, retryable while one is left."""
        info = self.info
        member = self._choose()
        rests, trying = member.rests, member.rest > 0
        member.inside += 1
        member.trying = member.trying or trying
        try:
            if not member.open:
                await self._join(member, info)
            done = await member.backend.generate(request, on_text)
        except ContextOverflow:
            raise  # the server is well; this request is not
        except LocalsynthError as error:
            raise self._failed(member, error, rests) from error
        finally:
            member.inside -= 1
            if trying:
                member.trying = False
        member.breath = member.busy = 0.0
        if rests == member.rests:
            member.strikes, member.rest, member.error = 0, 0.0, None
        return done

    async def aclose(self) -> None:
        """Close all."""
        await asyncio.gather(*(member.backend.aclose() for member in self._members))

    async def _join(self, member: _Member, info: BackendInfo) -> None:
        await member.backend.open()
        try:
            _check_same(info, member.backend.info)
        except ModelError:
            member.refused = True
            raise
        member.open = True

    def _choose(self) -> _Member:
        now = self._clock()
        # One that may be well again gets one request to show it, before it gets its share.
        well = [member for member in self._members if member.well(now)]
        if not well:
            soonest = min(self._members, key=lambda member: (member.refused, member.until))
            error = soonest.error
            raise BackendError(
                f"no server is left: {error.message if error else 'the last one is being tried again'}",
                error.hint if error else "",
                retryable=True,
                retry_after=max(0.0, soonest.until - now),
            )
        return min(well, key=lambda member: (member.busy > now, member.load, member.inside))

    def _failed(self, member: _Member, error: LocalsynthError, rests: int) -> BackendError:
        asked = error.retry_after if isinstance(error, BackendError) else None
        if rests == member.rests:
            member.error = error
            # A server that does not open, because it still loads its model, is asked by one request at a time.
            if member.open and (asked or (isinstance(error, BackendError) and error.overloaded)):
                self._let_breathe(member, asked)
            else:
                member.strikes += 1
                if member.strikes >= STRIKES or member.rest > 0:
                    self._put_aside(member, error)
        now = self._clock()
        left = any(one.well(now) for one in self._members)
        return BackendError(
            error.message, error.hint, retryable=error.retryable or left, retry_after=None if left else asked
        )

    def _let_breathe(self, member: _Member, asked: float | None) -> None:
        """Who refuses politely is not dead; one that names a time gets it."""
        now = self._clock()
        member.strikes, member.rest = 0, 0.0
        if asked:
            member.until = now + asked
        elif member.busy <= now:  # what else it refuses at the same time says nothing new
            member.breath = min(LONGEST_REST, 2 * member.breath or FIRST_BREATH)
            member.busy = now + member.breath

    def _put_aside(self, member: _Member, error: LocalsynthError) -> None:
        member.rest = min(LONGEST_REST, 2 * member.rest or FIRST_REST)
        member.until, member.strikes, member.error = self._clock() + member.rest, 0, error
        member.rests += 1
        gate = gate_of(member.backend)
        if gate is not None:
            gate.turn_away(BackendError(error.message, error.hint, retryable=True))


def _check_same(one: BackendInfo, other: BackendInfo) -> None:
    if one.template != other.template or one.tokens != other.tokens:
        raise ModelError(
            f"the servers of a pool differ: {one.model} and {other.model} have not the same chat template and tokens",
            "give a pool servers of one and the same model only",
        )


def _merged(infos: Sequence[BackendInfo]) -> BackendInfo:
    def all_of(values: Sequence[str]) -> str:
        return "+".join(dict.fromkeys(values))

    return replace(
        infos[0],
        name=all_of([info.name for info in infos]),
        version=all_of([info.version for info in infos]),
        model=all_of([info.model for info in infos]),
        max_concurrency=sum(info.max_concurrency for info in infos),
        context=min(info.context for info in infos),
        seeds=all(info.seeds for info in infos),
        logprobs=all(info.logprobs for info in infos),
        stop_token_ids=all(info.stop_token_ids for info in infos),
        json_schema=all(info.json_schema for info in infos),
        # Which server answers depends on who is less busy.
        exact_replay=len(infos) == 1 and infos[0].exact_replay,
    )
