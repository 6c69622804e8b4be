"""Several servers with one model as one backend: the least busy one gets the next request, a dead one a rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from localsynth.backends.base import Backend, BackendInfo
from localsynth.errors import BackendError, ContextOverflow, LocalsynthError, ModelError
from localsynth.records import Completion, Request

FIRST_REST, LONGEST_REST = 5.0, 300.0  # seconds that a backend which failed is left alone; doubled each time
STRIKES = 3  # failures one after the other that make a backend a dead one


@dataclass(slots=True, eq=False)
class _Member:
    """One backend. `until`: it rests up to this time. `trying`: one request finds out whether it is well again."""

    backend: Backend
    open: bool = False
    inside: int = 0
    strikes: int = 0
    rest: float = 0.0
    until: float = 0.0
    trying: bool = False
    error: LocalsynthError | None = None

    @property
    def load(self) -> float:
        return self.inside / self.backend.info.max_concurrency if self.open else 0.0


class PoolBackend:
    """A backend over others, which must serve the same chat template. It opens when one of them does.

    A backend that fails three times in a row, or in a way that is not worth another try, rests; then a single request
    tries it. Whoever failed gets a retryable error while another backend is left, and the engine sends it there.
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
        except BaseException:
            await self.aclose()
            raise
        self._info = _merged(live)

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        """Complete one prompt on the least busy backend that is well. BackendError, retryable while one is left."""
        info = self.info
        member = self._choose()
        member.inside += 1
        member.trying = member.strikes > 0
        try:
            if not member.open:
                await member.backend.open()
                _check_same(info, member.backend.info)
                member.open = True
            done = await member.backend.generate(request, on_text)
        except ContextOverflow:
            member.strikes = 0  # the server is well; this request is not
            raise
        except LocalsynthError as error:
            raise self._failed(member, error) from error
        finally:
            member.inside -= 1
            member.trying = False
        member.strikes, member.rest, member.error = 0, 0.0, None
        return done

    async def aclose(self) -> None:
        """Close all."""
        await asyncio.gather(*(member.backend.aclose() for member in self._members))

    def _choose(self) -> _Member:
        now = self._clock()
        # One that may be well again gets one request to show it, before it gets its share.
        well = [member for member in self._members if member.until <= now and not member.trying]
        if not well:
            soonest = min(self._members, key=lambda member: member.until)
            wait = max(0.0, soonest.until - now)
            error = soonest.error
            raise BackendError(
                f"no server is left: {error.message if error else 'the last one is being tried again'}",
                error.hint if error else "",
                retryable=True,
                retry_after=wait,
            )
        return min(well, key=lambda member: (member.load, member.inside))

    def _failed(self, member: _Member, error: LocalsynthError) -> BackendError:
        member.strikes += 1
        asked = error.retry_after if isinstance(error, BackendError) else None
        if not error.retryable or member.strikes >= STRIKES or not member.open:
            self._put_aside(member, error)
        elif asked:
            member.until = self._clock() + asked
            member.strikes -= 1  # a server that asks for time is not a dead one
        left = error.retryable or any(one is not member and one.until <= self._clock() for one in self._members)
        return BackendError(error.message, error.hint, retryable=left, retry_after=None if left else asked)

    def _put_aside(self, member: _Member, error: LocalsynthError) -> None:
        member.rest = min(LONGEST_REST, 2 * member.rest or FIRST_REST)
        member.until = self._clock() + member.rest
        member.strikes = max(1, member.strikes)
        member.error = error


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
