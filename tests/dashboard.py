"""What Optuna's dashboard says of a store, without a server."""

from __future__ import annotations

import io
import json
import warnings
from typing import Any

import pytest


def ask_dashboard(storage: Any, path: str) -> Any:
    """The JSON that the dashboard answers to a GET; it must say 200."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the dashboard's own, at import
        app = pytest.importorskip("optuna_dashboard").wsgi(storage)
        status: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
        }
        body = b"".join(app(environ, lambda line, headers, info=None: status.append(line)))
    assert status == ["200 OK"]
    return json.loads(body)
