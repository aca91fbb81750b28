"""A small Hugging Face hub on loopback: enough of its API for huggingface_hub to create, commit, list and download."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
LARGE = (".onnx", ".bin", ".safetensors")  # what the hub keeps in LFS

# routes, as (method, pattern)
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
REVISION = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?")
TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/.*)?")
PREUPLOAD = re.compile(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+")
COMMIT = re.compile(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)")
LFS = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class SmallHub:
    """The state of the hub.

    - `url`: its address, for HF_ENDPOINT.
    - `commits`: the files of each commit, by repository and commit.
    - `refs`: the commit of each branch and tag, by repository and name.
    - `objects`: contents in LFS by their SHA-256.
    - `requests`: method and path of every request.
    """

    url: str = ""
    commits: dict[tuple[str, str], Files] = field(default_factory=dict)
    refs: dict[tuple[str, str], str] = field(default_factory=dict)
    objects: Files = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add(self, repository: str, files: Files, *refs: str) -> str:
        """Commit files to a repository, and let refs, by default "main", point at it; return the commit."""
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(files.items()):
            digest.update(name.encode() + content)
        commit = digest.hexdigest()
        self.commits[repository, commit] = files
        self.refs |= {(repository, ref): commit for ref in refs or ("main",)}
        return commit

    def find(self, repository: str, revision: str) -> tuple[str, Files] | None:
        """The commit of a revision and its files; None where there is none."""
        commit = self.refs.get((repository, revision), revision)
        files = self.commits.get((repository, commit))
        return None if files is None else (commit, files)


@contextmanager
def serve_hub() -> Iterator[SmallHub]:
    """Serve an empty hub on a free port of loopback while the block runs."""
    hub = SmallHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: SmallHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT":
            self.state.objects[path.rpartition("/")[2]] = body
            self._send(200, b"")
        elif match := RESOLVE.fullmatch(path):
            self._resolve(*match.groups())
        elif path == "/api/repos/create":
            data = json.loads(body)
            repository = f"{data['organization']}/{data['name']}" if data.get("organization") else data["name"]
            if (repository, "main") not in self.state.refs:
                self.state.add(repository, {})
            self._json({"url": f"{self.state.url}/{repository}", "name": repository})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif match := PREUPLOAD.fullmatch(path):
            files = json.loads(body)["files"]
            kinds = [{"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                      "shouldIgnore": False} for file in files]  # fmt: skip
            self._json({"files": kinds})
        elif match := LFS.fullmatch(path):
            self._lfs(json.loads(body)["objects"])
        elif match := COMMIT.fullmatch(path):
            self._commit(match[1], match[2], [json.loads(line) for line in body.splitlines()])
        elif match := TREE.fullmatch(path):
            self._tree(match[1], match[2])
        elif match := REVISION.fullmatch(path):
            self._info(match[1], match[2] or "main")
        else:
            self._missing("EntryNotFound")

    def _resolve(self, repository: str, revision: str, name: str) -> None:
        found = self.state.find(repository, revision)
        if found is None:
            self._missing("RevisionNotFound" if (repository, "main") in self.state.refs else "RepoNotFound")
        elif name not in found[1]:
            self._missing("EntryNotFound")
        else:
            content = found[1][name]
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"X-Repo-Commit": found[0], "ETag": f'"{etag}"'})

    def _lfs(self, objects: list[dict[str, Any]]) -> None:
        answers = []
        for item in objects:
            answer = {"oid": item["oid"], "size": item["size"], "authenticated": True}
            if item["oid"] not in self.state.objects:
                answer["actions"] = {"upload": {"href": f"{self.state.url}/lfs/{item['oid']}"}}
            answers.append(answer)
        self._json({"transfer": "basic", "objects": answers})

    def _commit(self, repository: str, branch: str, lines: list[dict[str, Any]]) -> None:
        found = self.state.find(repository, branch)
        if found is None:
            self._missing("RevisionNotFound")
            return
        files = dict(found[1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.objects[value["oid"]]
        commit = self.state.add(repository, files, branch)
        self._json(
            {"success": True, "commitOid": commit, "commitUrl": f"{self.state.url}/{repository}/commit/{commit}"}
        )

    def _info(self, repository: str, revision: str) -> None:
        found = self.state.find(repository, revision)
        if found is None:
            self._missing("RevisionNotFound" if (repository, "main") in self.state.refs else "RepoNotFound")
            return
        siblings = [{"rfilename": name} for name in found[1]]
        self._json({"id": repository, "sha": found[0], "siblings": siblings, "tags": [], "private": False})

    def _tree(self, repository: str, revision: str) -> None:
        found = self.state.find(repository, revision)
        if found is None:
            self._missing("RevisionNotFound")
            return
        entries = [{"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                   for name, content in found[1].items()]  # fmt: skip
        self._json(entries)

    def _missing(self, code: str) -> None:
        self._send(404, b"{}", {"X-Error-Code": code, "X-Error-Message": f"{code}: not here"})

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
