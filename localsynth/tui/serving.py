"""The terminal UI in a browser of this machine: loopback only, for whoever has the key, and for no other web page."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import html
import re
import secrets
import shlex
import socket
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from localsynth.errors import DataError, MissingPackage

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

LOOPBACK = "127.0.0.1"
# A tunnel may change the port, never the name: any other name is a page of somebody else that was made to lead here.
_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.ASCII)
_PAGE = Path(__file__).with_name("page.html")
_LARGEST = 1000  # cells of a browser's window in either direction
_LEAVING_S = 5.0  # seconds between the last word of a process and its end


def listen(port: int) -> socket.socket:
    """A socket on the loopback interface; port 0 takes any that is free. DataError where the port is taken.

    MissingPackage without textual-serve.
    """
    if find_spec("textual_serve") is None:
        raise MissingPackage("textual-serve is not installed", "pip install 'localsynth[serve]'")
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A server that has just ended leaves its port in this state for a minute.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((LOOPBACK, port))
        opened.listen()  # before the address is told: who comes at once waits instead of being refused
    except (OSError, OverflowError) as error:
        opened.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "it is taken" if taken else str(error)
        raise DataError(f"cannot listen on port {port}: {reason}", "choose another with --port; 0 takes any") from None
    return opened


def serve(store: Path, opened: socket.socket, told: Callable[[str], None]) -> None:
    """Serve the UI on this store until SIGINT or SIGTERM; `told` gets the address with its key."""
    from aiohttp import web

    key = secrets.token_urlsafe(24)
    command = shlex.join([sys.executable, "-m", "localsynth", "ui", "--store", str(store)])
    port = opened.getsockname()[1]
    application = app(command, key, port)

    async def tell(_: web.Application) -> None:
        told(f"http://{LOOPBACK}:{port}/?key={key}")

    application.on_startup.append(tell)
    web.run_app(application, sock=opened, print=None, access_log=None, shutdown_timeout=1)


def app(command: str, key: str, port: int) -> web.Application:
    """The web application: `command` runs once for each page that is open."""
    from aiohttp import web
    from textual_serve.app_service import AppService
    from textual_serve.server import Server, to_int

    class Session(AppService):
        """A process of the UI; the page hears of its end however it ends."""

        async def run(self) -> None:
            await super().run()
            if self._process is not None:  # its last words are read: what is left of it is to be collected
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), _LEAVING_S)
            await self.remote_close()

    class Sessions(Server):
        """Textual's server with sessions that end."""

        async def session(self, request: web.Request) -> web.WebSocketResponse:
            """One page, until it or its process is gone."""
            page = web.WebSocketResponse(heartbeat=15)
            await page.prepare(request)

            async def close() -> None:
                await page.close()

            size = (to_int(request.query.get(side, ""), least) for side, least in (("width", 80), ("height", 24)))
            process = Session(
                command,
                write_bytes=page.send_bytes,
                write_str=page.send_str,
                close=close,
                download_manager=self.download_manager,
            )
            await process.start(*(max(1, min(cells, _LARGEST)) for cells in size))
            try:
                await self._process_messages(page, process)
            finally:
                await process.stop()
            return page

    sessions = Sessions(command)
    application = web.Application(middlewares=[_guard(key, port)])
    application.add_routes(
        [
            web.get("/", _index),
            web.get("/ws", sessions.session),
            web.get("/download/{key}", sessions.handle_download),
            web.static("/static", sessions.statics_path),
        ]
    )
    return application


def _guard(key: str, port: int) -> Middleware:
    """Refuses requests under a foreign name, from a foreign page, or without the key."""
    from aiohttp import web

    cookie = f"localsynth-{port}"  # cookies know no ports: two servers must not take each other's

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if not _OWN_HOST.fullmatch(host):
            return web.Response(status=403, text="This server answers to 127.0.0.1 and localhost only.\n")
        if origin is not None and origin != f"http://{host}":
            return web.Response(status=403, text="This server answers to its own page only.\n")
        typed = request.query.get("key", "")
        known = request.cookies.get(cookie, "")
        if not any(secrets.compare_digest(each.encode(), key.encode()) for each in (typed, known)):
            return web.Response(status=403, text="Open the address that `localsynth serve` printed: it has the key.\n")
        answer = await handler(request)
        if typed and not answer.prepared:
            answer.set_cookie(cookie, key, httponly=True, samesite="Strict")
        return answer

    return guard


async def _index(request: web.Request) -> web.StreamResponse:
    from aiohttp import web

    address = f"ws://{request.headers['Host']}/ws"
    page = _PAGE.read_text(encoding="utf-8").replace("@WEBSOCKET@", html.escape(address))
    headers = {
        # Nothing from elsewhere, and nobody may put the page into a frame and lead clicks into it.
        "Content-Security-Policy": f"default-src 'self' 'unsafe-inline' data:; connect-src {address}; "
        "frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return web.Response(text=page, content_type="text/html", headers=headers)
