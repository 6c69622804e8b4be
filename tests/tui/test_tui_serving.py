"""The UI in a browser: a real server process, asked as a browser asks, and as a foreign page would."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner
from yarl import URL

from localsynth.cli.main import cli
from localsynth.tui import serving

PATIENCE = 60  # seconds for what takes two at most on a quiet machine


@pytest.fixture
def address(path: Path, run: str) -> Iterator[URL]:
    """The address that a server process printed; it is ended by the signal of ctrl+c and must end well."""
    command = [sys.executable, "-m", "localsynth", "serve", "--port", "0", "--store", str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            yield URL(server.stdout.readline().strip())
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=PATIENCE)
        finally:
            server.kill()
    assert server.returncode == 0, err
    assert "Traceback" not in out + err


async def session(client: aiohttp.ClientSession, address: URL) -> bytes:
    """What a page gets until the title bar is there; then it types q, and the server must close it."""
    seen = b""
    async with client.ws_connect(address.origin() / "ws" % {"width": 100, "height": 30}) as page:
        while b"Runs" not in seen:
            seen += await page.receive_bytes()
        await page.send_json(["stdin", "q"])
        while (await page.receive()).type != aiohttp.WSMsgType.CLOSE:
            pass
    return seen


async def test_a_page_is_a_terminal_for_whoever_has_the_key(address: URL) -> None:
    assert address.host == "127.0.0.1"
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        plain = address.origin()
        for url in (plain, plain / "ws", plain / "static/js/textual.js", plain / "download/x", plain % {"key": "x"}):
            async with client.get(url) as answer:
                assert answer.status == 403, url
                assert "it has the key" in await answer.text()
        async with client.get(address) as answer:
            assert answer.status == 200
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            page = await answer.text()
        # Nothing is fetched from elsewhere, and all that the page names is there.
        assert not re.search(r"https?://", page)
        named = set(re.findall(r'(?:src|href|url)[=(]"(/[^"]+)"', page))
        assert len(named) == 4
        for name in named:
            async with client.get(plain.join(URL(name))) as answer:
                assert answer.status == 200, name
        assert f'"ws://127.0.0.1:{address.port}/ws"' in page
        await session(client, address)


async def test_a_foreign_page_cannot_drive_it(address: URL) -> None:
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as client:
        for headers in (
            {"Host": f"evil.example:{address.port}"},  # a name that was made to lead here
            {"Host": "127.0.0.1.evil.example"},
            {"Origin": "http://evil.example"},
            {"Origin": f"http://localhost:{address.port}"},
            {"Origin": "null"},
        ):
            async with client.get(address, headers=headers) as answer:
                assert answer.status == 403, headers
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await client.ws_connect(address.with_path("/ws", keep_query=True), headers=headers)
        own = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}  # a tunnel
        async with client.get(address, headers=own) as answer:
            assert answer.status == 200
            assert "ws://localhost:9000/ws" in await answer.text()


async def test_a_process_that_cannot_start_ends_its_page(tmp_path: Path) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    command = f"{sys.executable} -c 'raise SystemExit(3)'"
    async with asyncio.timeout(PATIENCE), TestClient(TestServer(serving.app(command, "k", 1))) as client:
        page = await client.ws_connect("/ws?key=k&width=999999&height=x")
        assert (await page.receive()).type == aiohttp.WSMsgType.CLOSE


def test_only_the_loopback_interface_is_listened_on() -> None:
    with serving.listen(0) as opened:
        host, port = opened.getsockname()
        assert host == "127.0.0.1"
        opened.listen()
        result = CliRunner().invoke(cli, ["serve", "--port", str(port)], standalone_mode=False)
        assert "it is taken" in str(result.exception)
        assert "--port" in result.exception.hint
    assert CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0"]).exit_code == 2


def test_a_missing_package_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "textual_serve" else known(name))
    result = CliRunner().invoke(cli, ["serve", "--port", "0"], standalone_mode=False)
    assert result.exception.hint == "pip install 'localsynth[serve]'"


def test_the_port_is_free_again_when_the_server_is_gone() -> None:
    with serving.listen(0) as opened:
        port = opened.getsockname()[1]
        opened.listen()
        with socket.create_connection(("127.0.0.1", port)):
            pass
    serving.listen(port).close()
