"""A model hub on this machine: repositories from folders, as huggingface_hub asks for them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves repositories, and notes which files are asked for ("GET owner/model/config.json")."""

    def __init__(self, folders: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {
            name: {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
            for name, folder in folders.items()
        }
        self.seen: list[str] = []

    @property
    def address(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].removeprefix("/api/models").strip("/")
        name, rest = "/".join(path.split("/")[:2]), path.split("/")[2:]
        files = self.server.files.get(name)
        if files is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["resolve"]:
            file = "/".join(rest[2:])
            self.server.seen.append(f"{self.command} {name}/{file}")
            self._file(files.get(file))
        elif rest[:1] == ["tree"]:
            inside = "".join(f"{folder}/" for folder in rest[2:])
            self._json([
                {"type": "file", "path": file, "size": place.stat().st_size, "oid": "0"}
                for file, place in files.items() if file.startswith(inside)
            ])  # fmt: skip
        else:
            siblings = [{"rfilename": file} for file in files]
            self._json({"id": name, "sha": COMMIT, "siblings": siblings})

    def log_message(self, *_: object) -> None:
        pass

    def _file(self, path: Path | None) -> None:
        headers = {"X-Repo-Commit": COMMIT}
        if path is None:
            self._send(404, b"", headers | {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if part is None:
            self._send(200, content, headers)
            return
        first = int(part[1])
        piece = content[first : int(part[2]) + 1 if part[2] else None]
        headers["Content-Range"] = f"bytes {first}-{first + len(piece) - 1}/{len(content)}"
        self._send(206, piece, headers)

    def _json(self, found: object) -> None:
        if found:
            self._send(200, json.dumps(found).encode(), {})
        else:  # a folder that is not there
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@contextmanager
def serving(folders: dict[str, Path]) -> Iterator[Hub]:
    """Yield a hub that runs until the end of the block."""
    with Hub(folders) as hub:
        thread = Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
