"""A package index of our own on this machine: tiny wheels and sdists, so that no test needs a network."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote

__all__ = ["DISTRIBUTIONS", "Index", "Project", "sdist", "wheel"]

Project = Callable[..., Path]
"""Makes a plugin folder; see the fixture `project`."""

_BACKEND = """
import pathlib, zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "{name}-{version}-py3-none-any.whl"
    info = "{name}-{version}.dist-info/"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as archive:
        archive.writestr("{name}.py", "built = True")
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "RECORD", "")
    return name
"""


def wheel(name: str, version: str, source: str = "value = 1\n") -> tuple[str, bytes]:
    """Make a wheel of one module; return its file name and content."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{path},sha256={_record_hash(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{name}-{version}-py3-none-any.whl", buffer.getvalue()


def sdist(name: str, version: str) -> tuple[str, bytes]:
    """Make a source distribution with a build backend of its own that needs nothing."""
    head = f"{name}-{version}"
    project = f'[project]\nname = "{name}"\nversion = "{version}"\n'
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = {
        f"{head}/pyproject.toml": system + project,
        f"{head}/backend.py": _BACKEND.replace("{name}", name).replace("{version}", version),
        f"{head}/PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{head}.tar.gz", buffer.getvalue()


class Index:
    """Serves distributions as PEP 503 asks, on a port of its own."""

    def __init__(self, distributions: list[tuple[str, bytes]]) -> None:
        files = self._files = dict(distributions)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = unquote(self.path).strip("/").split("/")
                if parts[0] == "files" and parts[-1] in files:
                    self._answer("application/octet-stream", files[parts[-1]])
                elif parts[0] == "simple" and any(_is_of(file, parts[-1]) for file in files):
                    links = "".join(_link(file, files[file]) for file in files if _is_of(file, parts[-1]))
                    self._answer("text/html", f"<!DOCTYPE html><body>{links}</body>".encode())
                else:
                    self.send_error(404)

            def _answer(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Keep the tests' output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"

    def publish(self, *distributions: tuple[str, bytes]) -> None:
        """Serve more of them from now on."""
        self._files.update(distributions)

    def __enter__(self) -> Index:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _is_of(file: str, project: str) -> bool:
    return file.split("-", maxsplit=1)[0].replace("_", "-") == project


def _link(file: str, content: bytes) -> str:
    return f'<a href="/files/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


DISTRIBUTIONS = [
    wheel("alpha", "1.0"),
    wheel("alpha", "2.0", "value = 2\n"),
    wheel("beta", "1.0", "from alpha import value\n"),
    wheel("gamma", "1.0", "\n".join(f"name_{number} = {number}" for number in range(2000))),
    sdist("raw", "1.0"),
]
