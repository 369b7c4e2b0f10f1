"""Object storage of one's own on this machine: moto's S3, one request at a time, as a store that is never of two minds.

It can lose answers, forget conditions, and refuse credentials that are not its own.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

KEY = "AKIDOFTHETESTS"


class ObjectServer:
    """A server that all processes of this machine reach, until `stop`.

    Args:
        apart: in a process of its own, where tests fork; then nobody sees its log and it does all that it is asked.

    Attributes:
        url: of the server.
        log: (method, path) of each request.
        sent: bytes of all answers.
        loses: of a request that was carried out, whether its answer is lost.
        forbids: requests that the credentials have no rights to.
        heeds: whether conditions of writes are heeded.
    """

    def __init__(self, apart: bool = False) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._client: Any = None
        self._app, self._lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=MotoRequestHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.forget()
        self._process = os.fork() if apart else -1
        if self._process == 0:
            self._server.serve_forever()
        elif apart:
            self._server.server_close()
        else:
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def forget(self) -> None:
        """As a new one; what it holds stays."""
        self.log: list[tuple[str, str]] = []
        self.sent = 0
        self.loses: Callable[[str, str], bool] = lambda method, path: False
        self.forbids: Callable[[str, str], bool] = lambda method, path: False
        self.heeds = True

    def client(self) -> Any:
        """Of this server, beside the package's."""
        import boto3

        if self._client is None:
            self._client = boto3.session.Session().client("s3", endpoint_url=self.url)
        return self._client

    def stop(self) -> None:
        if self._process > 0:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        else:
            self._server.shutdown()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if KEY not in environ.get("HTTP_AUTHORIZATION", ""):
            return _refused(start, "403 Forbidden", "InvalidAccessKeyId")
        if self.forbids(method, path):
            return _refused(start, "403 Forbidden", "AccessDenied")
        if not self.heeds:
            environ = {
                key: value for key, value in environ.items() if key not in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
            }
        answer: list[Any] = []
        with self._lock:
            self.log.append((method, path))
            body = b"".join(self._app(environ, lambda status, headers, *_: answer.extend([status, headers])))
        self.sent += len(body)
        if self.loses(method, path):
            return _refused(start, "503 Service Unavailable", "ServiceUnavailable")
        start(answer[0], answer[1])
        return [body]


def _refused(start: Callable[..., Any], status: str, code: str) -> Iterable[bytes]:
    start(status, [("Content-Type", "application/xml"), ("Connection", "close")])
    return [f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()]


class Bucket:
    """A new bucket, and what a test asks of it beside the package.

    Attributes:
        server: that holds it.
        folder: an address in it.
    """

    def __init__(self, server: ObjectServer) -> None:
        self.server, self.name, self.client = server, f"b-{uuid.uuid4().hex[:12]}", server.client()
        self.client.create_bucket(Bucket=self.name)
        self.folder = f"s3://{self.name}/runs/npd"

    def files(self, hidden: bool = False) -> dict[str, bytes]:
        """Name -> bytes of every object in the folder."""
        found = {}
        for one in self.client.list_objects_v2(Bucket=self.name, Prefix="runs/npd/").get("Contents", ()):
            name = one["Key"].removeprefix("runs/npd/")
            if name.startswith(".") == hidden:
                found[name] = self.read(name)
        return found

    def read(self, name: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=f"runs/npd/{name}")["Body"].read()

    def write(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"runs/npd/{name}", Body=data)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"runs/npd/{name}")


def use(monkeypatch: pytest.MonkeyPatch, server: ObjectServer, cache: Path) -> None:
    """Every process that a test starts knows this server alone."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    settings |= {"AWS_ENDPOINT_URL": server.url, "AWS_EC2_METADATA_DISABLED": "true", "NOISEPROMPT_CACHE": str(cache)}
    settings |= {"AWS_CONFIG_FILE": str(cache / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(cache / "none")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
