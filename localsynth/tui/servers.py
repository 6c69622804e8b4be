"""What a model server on this machine or another says that it serves."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from localsynth.errors import BackendError

_MOST = 1 << 20


def served_models(url: str, timeout: float = 3.0) -> list[str]:
    """The names from its `/v1/models`; waits at most `timeout` seconds. BackendError when it does not tell."""
    root = url.rstrip("/").removesuffix("/v1")
    try:
        connection = http.client.HTTPConnection(urlsplit(root).netloc, timeout=timeout)
        try:
            connection.request("GET", f"{urlsplit(root).path}/v1/models")
            found = json.loads(connection.getresponse().read(_MOST))
        finally:
            connection.close()
        return [str(model["id"]) for model in found["data"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{root} does not tell which models it serves: {error}", "type the model's name") from None
