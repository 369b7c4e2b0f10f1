"""A hub of one's own on this machine: the endpoints that huggingface_hub uses to look up, fetch and upload.

Repositories are git-like: each commit is the whole tree. Files of `LARGE` bytes and more, or of binary suffixes, go
through the large file store (LFS), others inside the commit. Xet is not spoken: `HF_HUB_DISABLE_XET=1`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

LARGE = 64 * 1024
BINARY = (".arrow", ".safetensors", ".pth", ".pt", ".npy")
TOKEN = "hf_writer"
READER = "hf_reader"


@dataclass
class Repo:
    """One repository.

    Fields:
        commits: id of a commit -> path -> content, oldest first.
        gated, private: as on the hub.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    gated: bool = False
    private: bool = False

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def commit(self, files: dict[str, bytes]) -> str:
        name = hashlib.sha1(repr((self.head, sorted(files))).encode() + b"".join(files.values())).hexdigest()
        self.commits[name] = files
        return name


def is_large(path: str, size: int) -> bool:
    return size > 0 and (size >= LARGE or path.endswith(BINARY))


def git_oid(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def etag(path: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if is_large(path, len(data)) else git_oid(data)


class Hub(ThreadingHTTPServer):
    """The server; `with Hub() as hub` runs it.

    Fields:
        repos: ("models" or "datasets", "owner/name") -> repository.
        store: sha256 -> content, of the large file store.
        log: "METHOD path" of every request.
        status: a path of a request that holds this text is answered with this status: (text, status).
        cut: bytes after which the body of a file is cut off, once for each in the list.
        slow: seconds before a large file is taken, one at a time.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.store: dict[str, bytes] = {}
        self.log: list[str] = []
        self.status: tuple[str, int] = ("", 0)
        self.cut: list[int] = []
        self.slow = 0.0
        self.turn = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, files: dict[str, bytes], kind: str = "models", **options: Any) -> Repo:
        repo = self.repos[kind, name] = Repo(**options)
        repo.commit(files)
        return repo

    def count(self, method: str, part: str) -> int:
        return sum(line.startswith(method) and part in line for line in self.log)

    def __enter__(self) -> Hub:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # of a client that was killed
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        self.server.log.append(f"{self.command} {self.path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        text, status = self.server.status
        if text and text in self.path:
            return self._fail(status, "", "as the test wants it")
        for method, pattern, act in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found:
                return act(self, *found.groups())
        self._fail(404, "", f"no such endpoint: {self.command} {path}")

    do_GET = do_POST = do_PUT = do_HEAD = _answer

    # ------------------------------------------------------------------------------------------------------- answers

    def _send(self, status: int, data: bytes, **headers: Any) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, data: Any, status: int = 200, **headers: Any) -> None:
        self._send(status, json.dumps(data).encode(), Content_Type="application/json", **headers)

    def _fail(self, status: int, code: str, message: str) -> None:
        self._json({"error": message}, status, X_Error_Code=code, X_Error_Message=message)

    @property
    def user(self) -> str:
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return {TOKEN: "writer", READER: "reader"}.get(given, "")

    def _may_write(self) -> bool:
        if self.user != "writer":
            self._fail(403 if self.user else 401, "", "you need a token with the right to write")
        return self.user == "writer"

    def _repo(self, kind: str | None, name: str) -> Repo | None:
        repo = self.server.repos.get((kind or "models", name))
        if repo is None or (repo.private and not self.user):
            self._fail(404 if self.user else 401, "RepoNotFound", "Repository not found")
            return None
        if repo.gated and self.user != "writer":
            self._fail(403, "GatedRepo", f"Access to {name} is restricted")
            return None
        return repo

    def _tree(self, repo: Repo, revision: str) -> dict[str, bytes] | None:
        commit = repo.head if revision in ("main", "") else revision
        if commit not in repo.commits:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo.commits[commit]

    # ------------------------------------------------------------------------------------------------------- reading

    def whoami(self) -> None:
        if not self.user:
            return self._fail(401, "", "Invalid credentials in Authorization header")
        self._json({"name": self.user, "type": "user", "auth": {}})

    def info(self, kind: str, name: str, revision: str | None) -> None:
        repo = self._repo(kind, name)
        tree = self._tree(repo, revision or "") if repo else None
        if repo is None or tree is None:
            return
        card = front_matter(tree.get("README.md", b"").decode())
        commit = next(c for c, files in repo.commits.items() if files is tree)
        siblings = [{"rfilename": path} for path in tree]
        self._json({"id": name, "sha": commit, "private": repo.private, "cardData": card, "siblings": siblings})

    def tree(self, kind: str, name: str, revision: str, _: str | None) -> None:
        repo = self._repo(kind, name)
        files = self._tree(repo, revision) if repo else None
        if files is None:
            return
        listed = []
        for path, data in files.items():
            one: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git_oid(data)}
            if is_large(path, len(data)):
                one["lfs"] = {"oid": etag(path, data), "size": len(data), "pointerSize": 130}
            listed.append(one)
        self._json(listed)

    def resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        repo = self._repo((kind or "models").strip("/"), name)
        files = self._tree(repo, revision) if repo else None
        if repo is None or files is None:
            return
        commit = repo.head if revision == "main" else revision
        if path not in files:
            self.server.log.append(f"missing {path}")
            return self._json({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        data, tag = files[path], f'"{etag(path, files[path])}"'
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        headers = {"ETag": tag, "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        if is_large(path, len(data)):
            headers |= {"X_Linked_ETag": tag, "X_Linked_Size": len(data)}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.command == "GET" and self.server.cut:
            self._cut(data, self.server.cut.pop(0), **headers)
        else:
            self._send(206 if start else 200, data[start:], **headers)

    def _cut(self, data: bytes, after: int, **headers: Any) -> None:
        """The head of a whole answer and a part of its body, then nothing more until the client goes."""
        self.send_response(200)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data[:after])
        self.wfile.flush()
        self.close_connection = True
        time.sleep(self.server.slow)

    # ------------------------------------------------------------------------------------------------------- writing

    def create(self) -> None:
        if not self._may_write():
            return
        asked = json.loads(self.body)
        kind = f"{asked.get('type') or 'model'}s"
        name = f"{asked.get('organization') or self.user}/{asked['name']}"
        url = f"{self.server.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if (kind, name) in self.server.repos:
            return self._json({"error": "You already created this model repo", "url": url}, 409)
        self.server.repos[kind, name] = Repo(private=asked.get("visibility") == "private")
        self._json({"url": url, "name": name})

    def check_card(self) -> None:
        text = json.loads(self.body)["content"]
        try:
            front_matter(text)
        except yaml.YAMLError as error:
            return self._json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        self._json({"errors": [], "warnings": []})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name)
        if repo is None or not self._may_write():
            return
        answers = []
        for file in json.loads(self.body)["files"]:
            there, path = repo.files.get(file["path"]), file["path"]
            mode = "lfs" if is_large(path, file["size"]) else "regular"
            oid = {} if there is None else {"oid": etag(path, there)}
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **oid})
        self._json({"files": answers})

    def batch(self, kind: str | None, name: str) -> None:
        repo = self._repo((kind or "models").strip("/"), name)
        if repo is None or not self._may_write():
            return
        answers = []
        for asked in json.loads(self.body)["objects"]:
            href = f"{self.server.url}/lfs/{asked['oid']}"
            actions = {} if asked["oid"] in self.server.store else {"actions": {"upload": {"href": href}}}
            answers.append({**asked, **actions})
        self._json({"transfer": "basic", "objects": answers})

    def put(self, oid: str) -> None:
        with self.server.turn:
            time.sleep(self.server.slow)
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._fail(400, "", "other bytes than announced")
        self.server.store[oid] = self.body
        self._send(200, b"")

    def commit(self, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name)
        if repo is None or not self._may_write():
            return
        files = dict(repo.files)
        for line in self.body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = self.server.store[value["oid"]]
            elif step["key"] == "deletedFile":
                del files[value["path"]]
        commit = repo.commit(files)
        url = f"{self.server.url}/{name}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("GET", f"/api/(models|datasets)/{NAME}(?:/revision/([^/]+))?", Handler.info),
    ("GET", f"/api/(models|datasets)/{NAME}/tree/([^/]+)(/.*)?", Handler.tree),
    ("GET", f"/(datasets/)?{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("HEAD", f"/(datasets/)?{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("HEAD", "/?", lambda self: self._send(200, b"")),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.check_card),
    ("POST", f"/api/(models|datasets)/{NAME}/preupload/([^/]+)", Handler.preupload),
    ("POST", rf"/(datasets/)?{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/lfs/([0-9a-f]{64})", Handler.put),
    ("POST", f"/api/(models|datasets)/{NAME}/commit/([^/]+)", Handler.commit),
]


def front_matter(text: str) -> dict[str, Any]:
    """The YAML at the head of a card, as the hub reads it."""
    parts = text.split("---\n", 2)
    return yaml.safe_load(parts[1]) or {} if text.startswith("---\n") and len(parts) == 3 else {}


def environment(hub: Hub, home: Any, token: str = TOKEN) -> dict[str, str]:
    """Of a process that knows this hub alone."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def use(monkeypatch: Any, hub: Hub | str, home: Any, token: str = TOKEN) -> None:
    """This process knows this hub (or this address) alone: what the client read from the environment when imported."""
    from huggingface_hub import constants

    url = hub if isinstance(hub, str) else hub.url
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setenv("HF_TOKEN", token)
