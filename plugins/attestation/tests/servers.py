"""TLS servers on loopback, each a process of its own, that show what a test gives them and may answer for evidence."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL, crypto

Attester = Callable[[bytes, bytes], bytes]
"""From nonce and context to the body of an answer."""


@dataclass(frozen=True)
class Shown:
    """What a server shows. `asks` is whether it asks for a certificate of the client's."""

    chain: tuple[bytes, ...]
    key: ec.EllipticCurvePrivateKey
    staple: bytes = b""
    asks: bool = False
    attester: Attester | None = None
    status: int = 200
    oldest: int = SSL.TLS1_2_VERSION
    newest: int = SSL.TLS1_3_VERSION
    port: int = 0
    file: Path | None = None
    """What is answered to a GET, as it is then."""


def pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


@contextmanager
def serving(shown: Shown) -> Iterator[int]:
    """Serve until the test is done; yield the port."""
    with _process(lambda listening: _serve(listening, shown), shown.port) as port:
        yield port


@contextmanager
def misbehaving(deed: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve something that is no TLS: `deed` gets each connection."""

    def run(listening: socket.socket) -> NoReturn:
        kept = []
        while True:
            kept.append(listening.accept()[0])  # open for as long as the process lives
            with suppress(OSError):
                deed(kept[-1])

    with _process(run) as port:
        yield port


@contextmanager
def garbled(port: int, old: bytes, new: bytes) -> Iterator[int]:
    """Serve what the server at `port` does, with some bytes replaced: TLS 1.2 shows certificates in the clear."""

    def run(listening: socket.socket) -> NoReturn:
        while True:
            client, _ = listening.accept()
            with socket.create_connection(("127.0.0.1", port)) as server, client, suppress(OSError):
                while ready := select.select([client, server], [], [])[0]:
                    data = ready[0].recv(65536)
                    if not data:
                        break
                    (server if ready[0] is client else client).sendall(data.replace(old, new))

    with _process(run) as own:
        yield own


@contextmanager
def _process(run: Callable[[socket.socket], NoReturn], port: int = 0) -> Iterator[int]:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(64)
    child = os.fork()
    if child == 0:
        try:
            run(listening)
        finally:
            os._exit(1)
    port = listening.getsockname()[1]
    listening.close()
    try:
        yield port
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _serve(listening: socket.socket, shown: Shown) -> NoReturn:
    context = _context(shown)
    while True:
        stream, _ = listening.accept()
        tls = SSL.Connection(context, stream)
        tls.set_accept_state()
        with suppress(SSL.Error, OSError):
            tls.do_handshake()
            _answer(tls, shown)
            tls.shutdown()
        stream.close()


def _context(shown: Shown) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(shown.oldest)
    context.set_max_proto_version(shown.newest)
    own, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in shown.chain)
    context.use_certificate(own)
    for other in others:
        context.add_extra_chain_cert(other)
    secret = shown.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, secret))
    if shown.asks:
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    if shown.staple:
        context.set_ocsp_server_callback(lambda *_: shown.staple)
    return context


def _answer(tls: SSL.Connection, shown: Shown) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += tls.recv(4096)
    head, _, body = data.partition(b"\r\n\r\n")
    if head.startswith(b"POST ") and shown.file:
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += tls.recv(4096)
        shown.file.with_suffix(".asked").open("ab").write(body)
    if head.startswith(b"GET ") or shown.file:
        said = shown.file.read_bytes() if shown.file else b""
        tls.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (shown.status, len(said)) + said)
        return
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += tls.recv(4096)
    asked = json.loads(body)
    nonce, context = (_decoded(asked[name]) for name in ("nonce", "context"))
    said = shown.attester(nonce, context) if shown.attester else b"{}"
    tls.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (shown.status, len(said)) + said)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
