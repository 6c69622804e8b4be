"""Talks to one server over HTTP: bounded answers, no redirects, and errors that a person understands.

httpx's own pool looks at every connection at every request, and its client merges headers, cookies and redirects into
each: with 256 in flight that costs more than the request. So each connection here is one of httpx's transports, and the
one that was free last is used again.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from localsynth.backends.address import Address
from localsynth.errors import BackendError
from localsynth.printable import one_line

CONNECT = 10.0  # seconds
SILENCE = 600.0  # seconds without a byte: a long answer that is not streamed arrives whole at its end
WHOLE = 3600.0  # seconds for one request, however it trickles
LARGEST = 64 << 20  # bytes of one answer; a vocabulary in JSON is the largest that is wanted
LONGEST_LINE = 4 << 20  # bytes of one line of a streamed answer
OVERLOADED = frozenset({429, 503})
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Lanes:
    """A stack of transports with one connection each; it grows to as many as are in use at once."""

    def __init__(self, verify: ssl.SSLContext | bool) -> None:
        self._verify = verify
        self._free: list[httpx.AsyncHTTPTransport] = []
        self._all: list[httpx.AsyncHTTPTransport] = []
        self._closed = False

    @asynccontextmanager
    async def send(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        lane = self._free.pop() if self._free else self._new()
        try:
            response = await lane.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            if self._closed:
                await lane.aclose()  # it was in use when everything was closed
            else:
                self._free.append(lane)

    async def aclose(self) -> None:
        self._closed = True
        for lane in self._all:
            await lane.aclose()

    def _new(self) -> httpx.AsyncHTTPTransport:
        lane = httpx.AsyncHTTPTransport(
            verify=self._verify, trust_env=False, limits=httpx.Limits(max_connections=1, keepalive_expiry=30.0)
        )
        self._all.append(lane)
        return lane


class Http:
    """Requests to one server. Only BackendError leaves it; the key is in no message and no representation."""

    def __init__(self, address: Address, key: str | None) -> None:
        self.address = address
        self._key = key
        headers = {"accept-encoding": "identity", "user-agent": "localsynth"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._headers = headers
        # The system's own certificates (and SSL_CERT_FILE). Neither proxies nor .netrc: a key goes where it was meant.
        self._lanes = _Lanes(ssl.create_default_context() if address.secure else False)
        self._urls: dict[str, httpx.URL] = {}

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return self._key is not None

    async def get(self, path: str) -> Reply:
        """GET; any status but those that concern the key or a redirect."""
        return await self._whole("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """POST of JSON; as `get`."""
        return await self._whole("POST", path, body)

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        """POST; with status 200 the lines of the answer as they come, else the whole answer and no lines."""
        async with self._sending("POST", path, body) as response:
            lines = _lines(response)
            if response.status_code != httpx.codes.OK:
                yield self._checked(await _read(response)), lines
            else:
                yield Reply(response.status_code, response.headers, b""), lines

    async def aclose(self) -> None:
        """Close all connections."""
        await self._lanes.aclose()

    def failure(self, reply: Reply, doing: str) -> BackendError:
        """What a status that is not 200 means, with the server's own words."""
        words = self.words(reply.body)
        message = f"{self.address.root} answered {reply.status} to {doing}{': ' + words if words else ''}"
        if reply.status in _AGAIN:
            hint = "it is busy or failing: give it fewer requests at once with --slots, or look at its log"
            return BackendError(message, hint, retryable=True, retry_after=_retry_after(reply.headers))
        return BackendError(message, "look at the server's log")

    def words(self, body: bytes) -> str:
        """The message in an error's body, on one line, without the key."""
        try:
            data = json.loads(body[:100_000])
        except (ValueError, RecursionError):
            data = None
        found = _message(data) if data is not None else body[:2000].decode("utf-8", "replace")
        if found.lstrip().startswith("<"):
            return ""  # a page for a browser
        return one_line(found.replace(self._key, "…") if self._key else found, 200)

    async def _whole(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        async with self._sending(method, path, body) as response:
            return self._checked(await _read(response))

    @asynccontextmanager
    async def _sending(self, method: str, path: str, body: Mapping[str, Any] | None) -> AsyncIterator[httpx.Response]:
        content, headers = None, self._headers
        if body is not None:
            content = json.dumps(body, separators=(",", ":")).encode()
            headers = headers | {"content-type": "application/json"}
        times = {"connect": CONNECT, "read": SILENCE, "write": SILENCE, "pool": CONNECT}
        try:
            url = self._urls.get(path) or self._urls.setdefault(path, httpx.URL(self.address.root + path))
            request = httpx.Request(method, url, headers=headers, content=content, extensions={"timeout": times})
            async with asyncio.timeout(WHOLE), self._lanes.send(request) as response:
                yield response
        except (httpx.TransportError, TimeoutError, ssl.SSLError, OSError) as error:
            raise self._broken(error) from error
        except (httpx.InvalidURL, httpx.HTTPError, RuntimeError) as error:
            # RuntimeError: the client was closed while this request ran.
            raise BackendError(f"the request to {self.address.root} failed: {one_line(str(error), 160)}") from error

    def _checked(self, reply: Reply) -> Reply:
        where = self.address.root
        if reply.status in (401, 403):
            if self._key:
                raise BackendError(f"{where} refuses the API key", "set LOCALSYNTH_API_KEY to the right key")
            raise BackendError(f"{where} wants an API key", "set it in the environment: LOCALSYNTH_API_KEY=...")
        if 300 <= reply.status < 400:
            target = one_line(reply.headers.get("location", "somewhere else"), 100)
            raise BackendError(f"{where} redirects to {target}", "give that address instead, if you trust it")
        return reply

    def _broken(self, error: BaseException) -> BackendError:
        where, why = self.address.root, str(error)
        if "SSL" in why or "CERTIFICATE" in why.upper() or isinstance(error, ssl.SSLError):
            return BackendError(f"no secure connection to {where}: {_tls(why)}", _tls_hint(why, where))
        if isinstance(error, httpx.ConnectTimeout):
            return BackendError(
                f"{where} cannot be reached: no answer within {CONNECT:g} s",
                "check the host and the port, and that a firewall lets you through",
                retryable=True,
            )
        if isinstance(error, httpx.ConnectError):
            return BackendError(
                f"{where} cannot be reached: {one_line(why, 100) or 'connection refused'}",
                "start the server, or check the host and the port",
                retryable=True,
            )
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return BackendError(
                f"{where} did not answer in time", "it may be overloaded: use fewer --slots", retryable=True
            )
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.ProxyError):
            return BackendError(f"the request to {where} cannot be sent: {one_line(why, 100)}", "check the address")
        return BackendError(
            f"the connection to {where} broke off: {one_line(why, 100) or type(error).__name__}",
            "look at the server's log: it may have been restarted, or may not speak HTTP on this port",
            retryable=True,
        )


def as_object(reply: Reply, where: str) -> dict[str, Any]:
    """The JSON object in an answer. A retryable BackendError when it is cut off or none."""
    try:
        data = json.loads(reply.body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BackendError(
            f"{where} answered with no whole JSON object ({len(reply.body)} bytes)",
            "look at the server's log: the answer may have been cut off",
            retryable=True,
        )
    return data


async def _read(response: httpx.Response) -> Reply:
    chunks = [chunk async for chunk in _bounded(response)]
    return Reply(response.status_code, response.headers, b"".join(chunks))


async def _bounded(response: httpx.Response) -> AsyncIterator[bytes]:
    if response.headers.get("content-encoding", "identity") not in ("", "identity"):
        raise BackendError("the server answers compressed although it was asked not to", "look at its settings")
    size = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        size += len(chunk)
        if size > LARGEST:
            raise BackendError(
                f"the server's answer is larger than {LARGEST >> 20} MiB", "check that the address is a model server"
            )
        yield chunk


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in _bounded(response):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(rest) > LONGEST_LINE:
            raise BackendError("the server streams a line without an end", "check that the address is a model server")
    if rest:
        yield rest


def _message(data: Any) -> str:
    """OpenAI writes {"error": {"message": ...}}, Ollama {"error": ...}, FastAPI {"detail": ...}."""
    for _ in range(3):
        if not isinstance(data, dict):
            break
        data = next((data[key] for key in ("error", "message", "detail") if data.get(key)), "")
    return data if isinstance(data, str) else json.dumps(data)[:1000]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date; None where there is none that can be read."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    # A server may ask for anything; a run does not sleep for a week because of it.
    return min(max(seconds, 0.0), 3600.0) if seconds == seconds else None  # noqa: PLR0124 - not a number


def _tls(why: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return "its certificate is not trusted here"
    if "WRONG_VERSION_NUMBER" in why or "RECORD_LAYER" in why:
        return "it does not speak TLS on this port"
    return one_line(why, 120)


def _tls_hint(why: str, where: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return "name its certificate authority in SSL_CERT_FILE"
    return f"try {where.replace('https://', 'http://', 1)}"
