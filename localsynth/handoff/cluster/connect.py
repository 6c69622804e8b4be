"""The package ray and the cluster that it reaches: loaded late, nothing told about its use, one line for each fault."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from localsynth.errors import BackendError, MissingPackage

LOCAL = "local"
_LOOPBACK = "127.0.0.1"
_START = "ray start --head, then --address HOST:6379, with RAY_AUTH_MODE=token where it wants one; or --address local"


@dataclass(frozen=True, slots=True)
class Size:
    """What a cluster has, all nodes together."""

    nodes: int
    cpus: int
    gpus: int


@contextlib.contextmanager
def connected(address: str, workers: int) -> Iterator[Size]:
    """A connection to a cluster, and its size. `address`: HOST:PORT, `auto` for the one of this machine or of
    RAY_ADDRESS, `local` to start one on the loopback interface for as long as this lasts.

    MissingPackage without ray, BackendError when no cluster answers.
    """
    if find_spec("ray") is None:
        raise MissingPackage("ray is not installed", "pip install 'localsynth[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == LOCAL:
        # A token of this process alone; without one Ray would keep a token in the user's home.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Ray's switch for "no other machine": it takes 127.0.0.1 as a wish only, and listens on the network's address.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    _knock(address)
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address == LOCAL:
            # More than there are workers: actors that take every CPU would starve what Ray does beside them.
            ray.init(
                address=LOCAL,
                num_cpus=_cores() + max(workers, 1),
                include_dashboard=False,
                _node_ip_address=_LOOPBACK,
                **quiet,
            )
        else:
            # One try, of 40 s: what listens there and is no Ray would be tried 20 times.
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
            ray.init(address=address, **quiet)
    # Another version of Ray or of Python on the cluster is a RuntimeError, a wrong address one of the others.
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise BackendError(f"no Ray cluster answers at {address}: {_first_line(error)}", _START) from None
    try:
        # Ray tells of every death in ten lines on standard output, which is for data; the driver says it in one.
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            yield _size(address)
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Refuse an address at which nobody listens: Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host or not host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise BackendError(f"no Ray cluster answers at {address}: {_first_line(error)}", _START) from None


def _size(address: str) -> Size:
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    cpus = sum(node["Resources"].get("CPU", 0) for node in nodes)
    gpus = sum(node["Resources"].get("GPU", 0) for node in nodes)
    return Size(len(nodes), _cores() if address == LOCAL else int(cpus), int(gpus))


def _cores() -> int:
    return os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
