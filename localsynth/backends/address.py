"""Where a server is, and the key for it: checked before anything is sent, and never part of what is stored."""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from localsynth.errors import BackendError
from localsynth.printable import one_line

_EXAMPLE = "give an address such as http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Address:
    """A server's root, such as http://127.0.0.1:8000 (a path is kept, `/v1` at its end is not)."""

    root: str
    host: str
    secure: bool

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine, so that a path it names is a path here."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_address(url: str) -> Address:
    """The address in a URL. BackendError when it is none, or when it carries a user name or a password."""
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BackendError("a server's address is not a URL", _EXAMPLE) from None
    if parts.username is not None or parts.password is not None:
        # The text itself is not repeated: it would put the password on the screen.
        raise BackendError(
            "a server's address must not carry a user name or a password", "put the key into LOCALSYNTH_API_KEY"
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise BackendError(f"{one_line(text, 100)!r} is not a server's address", _EXAMPLE)
    place = f"[{host}]" if ":" in host else host
    root = f"{parts.scheme}://{place}{f':{port}' if port is not None else ''}{parts.path.rstrip('/')}"
    return Address(root.removesuffix("/v1").rstrip("/"), host, parts.scheme == "https")


def read_key(address: Address) -> str | None:
    """The key for a server: LOCALSYNTH_API_KEY, OPENAI_API_KEY, or the keyring's entry "localsynth" for the host.

    The keyring may ask its owner to unlock it and wait: call this on a thread of its own.
    OPENAI_API_KEY was set for another program: it is sent only to this machine or over TLS.
    """
    key = os.environ.get("LOCALSYNTH_API_KEY", "").strip()
    if not key and (address.secure or address.loopback):
        key = os.environ.get("OPENAI_API_KEY", "").strip()
    key = key or _from_keyring(address.host)
    if key and not (key.isascii() and key.isprintable()):
        raise BackendError("the API key holds characters that no key has", "set LOCALSYNTH_API_KEY again")
    return key or None


def _from_keyring(host: str) -> str:
    try:
        if importlib.util.find_spec("keyring") is None:
            return ""
        return str(importlib.import_module("keyring").get_password("localsynth", host) or "")
    except Exception:
        # A keyring that is locked, missing or broken is no key; the server will say when it wants one.
        return ""
