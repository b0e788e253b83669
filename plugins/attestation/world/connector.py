"""The one place that dials: https only, one resolution, permitted addresses, no proxy, no redirect, bounded bytes.

What a server presents is taken as it is and verified elsewhere; the handshake itself proves that it holds the key of
its certificate. Runs in a child of the sandbox, whose wall clock bounds what a resolver or a peer can hold up.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from time import monotonic
from typing import TypeVar

import h11
from attest.addresses import Address, Network, is_permitted
from attest.strictjson import Json
from attest.urls import Url
from OpenSSL import SSL, crypto

__all__ = ["BadClient", "Client", "Dialling", "NotDialled", "Post", "checked", "dial", "to_try"]

T = TypeVar("T")

_MAX_TRIES = 3
"""Addresses that are tried, in the order in which the resolver gave them."""

_MAX_HANDSHAKE_BYTES = 256 * 1024
"""What a server may send until the handshake is done: a chain has up to about 20 KiB."""

_PIECE_BYTES = 16 * 1024
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: key exchanges in which the server signs, so that the handshake proves possession."""

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_SHOWN_BADLY = {
    "tlsv1 bad certificate status response": "R-STAPLE-PARSE",
    "excessive message size": "C-SIZE",
    "ASN1 lib": "C-PARSE",
}
"""OpenSSL's reasons to end a handshake for what the server showed in it: that is the server's fault, and no silence."""

_ASKED_FOR_CERTIFICATE = b"read server certificate request"
"""OpenSSL's name of the state in which a client learns that it is asked for a certificate."""


@dataclass(frozen=True, slots=True)
class Client:
    """The certificate that we show, in PEM, its own chain behind it, and its key."""

    chain: bytes
    key: bytes


class BadClient(ValueError):
    """Our own certificate, its chain or its key cannot be used."""


@dataclass(frozen=True, slots=True)
class Dialling:
    """What the operator allows."""

    ports: frozenset[int] = frozenset({443})
    networks: tuple[Network, ...] = ()
    seconds: float = 8.0
    tls: str = "1.3"
    client: Client | None = None
    until: float | None = None
    """When all dialling has to be over, on the monotonic clock; None where nobody waits."""

    @property
    def left(self) -> float:
        """Seconds that dialling one server may take from now on."""
        return self.seconds if self.until is None else min(self.seconds, self.until - monotonic())


class NotDialled(Exception):
    """There was no handshake, with the code that says why. What was said to us beyond that is for the log alone."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Post:
    """One request to make over the connection, if the server has the key that was seen before."""

    path: str
    body: bytes
    spki: str
    max_bytes: int
    method: str = "POST"
    content_type: str = "application/json"


def checked(client: Client) -> Client:
    """Return what can be shown to servers. Raises BadClient."""
    try:
        _context(Dialling(client=client))
    except (ValueError, SSL.Error, crypto.Error) as error:
        raise BadClient(f"the client's certificate and its key: {error}") from error
    return client


def dial(url: Url, rules: Dialling, spki_of: Callable[[bytes], str], post: Post | None = None) -> dict[str, Json]:
    """Connect, shake hands and return what was presented; with `post`, the answer as well. Raises NotDialled."""
    until = monotonic() + rules.left
    if url.port not in rules.ports:
        raise NotDialled("U-PORT", f"port {url.port} is not allowed")
    with closing(_connected(_resolved(url, rules), url.port, until)) as stream:
        talk = _Talk(stream, _context(rules), url, until)
        talk.shake_hands()
        presented = talk.presented()
        if post is not None:
            leaf = talk.chain()[0]
            if spki_of(leaf) != post.spki:
                raise NotDialled("N-KEY-CHANGED", "the server shows another key than before")
            presented["answer"] = _text(talk.post(url, post))
        return presented


def _resolved(url: Url, rules: Dialling) -> list[Address]:
    """Resolve once."""
    if not isinstance(url.host, str):
        addresses: list[Address] = [url.host]
    else:
        try:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError) as error:
            raise NotDialled("N-UNREACHABLE", f"no address: {error}") from error
        addresses = [ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    return to_try(addresses, rules.networks)


def to_try(addresses: Sequence[Address], networks: Sequence[Network]) -> list[Address]:
    """Return the addresses to try; all of a name's must be permitted, or it could point at two places at a time.

    Raises NotDialled.
    """
    for address in addresses:
        if not is_permitted(address, networks):
            raise NotDialled("N-ADDRESS", f"{address} is not permitted")
    return list(dict.fromkeys(addresses))[:_MAX_TRIES]


def _connected(addresses: Sequence[Address], port: int, until: float) -> socket.socket:
    why = "no address"
    for address in addresses:
        stream = socket.socket(socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6)
        try:
            stream.settimeout(_left(until))
            stream.connect((str(address), port))
        except OSError as error:
            stream.close()
            why = str(error)
            continue
        return stream
    raise NotDialled("N-UNREACHABLE", why)


def _left(until: float) -> float:
    left = until - monotonic()
    if left <= 0:
        raise NotDialled("N-UNREACHABLE", "out of time")
    return left


def _context(rules: Dialling) -> SSL.Context:
    """A context that verifies nothing itself, shows what we have to show, and takes no old protocol."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(_VERSIONS[rules.tls])
    context.set_cipher_list(_CIPHERS)
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    if rules.client is not None:
        pems = rules.client.chain.split(b"-----END CERTIFICATE-----")[:-1]
        if not pems:
            raise BadClient("no certificate in PEM")
        own, *others = (
            crypto.load_certificate(crypto.FILETYPE_PEM, pem + b"-----END CERTIFICATE-----") for pem in pems
        )
        context.use_certificate(own)
        for other in others:
            context.add_extra_chain_cert(other)
        # A passphrase, so that nobody is asked for one.
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, rules.client.key, b"none"))
    return context


class _Talk:
    """TLS over one socket, with every byte counted and every wait bounded."""

    def __init__(self, stream: socket.socket, context: SSL.Context, url: Url, until: float) -> None:
        self._stream = stream
        self._until = until
        self._left_bytes = _MAX_HANDSHAKE_BYTES
        self._staple: bytes | None = None
        self._is_asked = False
        context.set_ocsp_client_callback(self._stapled)
        context.set_info_callback(self._informed)
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()
        if isinstance(url.host, str):
            self._tls.set_tlsext_host_name(url.host.encode())
        self._tls.request_ocsp()

    def _stapled(self, _: SSL.Connection, staple: bytes, __: object) -> bool:
        self._staple = staple or None
        return True

    def _informed(self, connection: SSL.Connection, _: int, __: int) -> None:
        self._is_asked = self._is_asked or _ASKED_FOR_CERTIFICATE in connection.get_state_string()

    def shake_hands(self) -> None:
        """Complete the handshake."""
        self._driven(self._tls.do_handshake)

    def presented(self) -> dict[str, Json]:
        """Say what the server showed."""
        return {
            "chain": [_text(der) for der in self.chain()],
            "staple": None if self._staple is None else _text(self._staple),
            "tls": self._tls.get_protocol_version_name(),
            "cipher": self._tls.get_cipher_name() or "",
            "asked_for_certificate": self._is_asked,
            "address": str(self._stream.getpeername()[0]),
        }

    def chain(self) -> list[bytes]:
        """Return the certificates that the server sent, in DER, its own first, nothing verified or completed."""
        shown = self._tls.get_peer_cert_chain() or []
        return [crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in shown]

    def post(self, url: Url, post: Post) -> bytes:
        """Make one request and return the body of its answer, which must be a success; nothing is followed."""
        self._left_bytes = post.max_bytes + _MAX_HANDSHAKE_BYTES
        http = h11.Connection(h11.CLIENT)
        headers = [("Host", str(url)[len("https://") :].partition("/")[0]), ("Connection", "close")]
        if post.method == "POST":
            headers += [("Content-Type", post.content_type), ("Content-Length", str(len(post.body)))]
        sent = http.send(h11.Request(method=post.method, target=post.path, headers=headers)) or b""
        sent += (http.send(h11.Data(data=post.body)) or b"") + (http.send(h11.EndOfMessage()) or b"")
        self._driven(lambda: self._tls.sendall(sent))
        return self._answered(http, post)

    def _answered(self, http: h11.Connection, post: Post) -> bytes:
        body = b""
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(self._driven(lambda: self._tls.recv(_PIECE_BYTES), at_end=b""))
                elif isinstance(event, h11.Response) and event.status_code != 200:
                    raise NotDialled("N-ANSWER", f"status {event.status_code}")
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > post.max_bytes:
                        raise NotDialled("C-SIZE", f"an answer of more than {post.max_bytes} bytes")
                elif isinstance(event, h11.EndOfMessage):
                    return body
                elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    raise NotDialled("N-ANSWER", "the server ended early")
        except h11.RemoteProtocolError as error:
            raise NotDialled("N-ANSWER", f"not HTTP: {error}") from error

    def _driven(self, step: Callable[[], T], at_end: T | None = None) -> T:
        """Take one step of TLS, carrying bytes as long as it asks for them."""
        while True:
            try:
                done = step()
            except SSL.WantReadError:
                self._flush()
                self._fetch()
                continue
            except SSL.ZeroReturnError:
                if at_end is None:
                    raise NotDialled("N-UNREACHABLE", "the server ended the connection") from None
                return at_end
            except SSL.Error as error:
                raise NotDialled(_fault_of(error), f"TLS: {error}") from error
            self._flush()
            return done

    def _flush(self) -> None:
        while True:
            try:
                data = self._tls.bio_read(_PIECE_BYTES)
            except SSL.WantReadError:
                return
            try:
                self._stream.settimeout(_left(self._until))
                self._stream.sendall(data)
            except OSError as error:
                raise NotDialled("N-UNREACHABLE", str(error)) from error

    def _fetch(self) -> None:
        try:
            self._stream.settimeout(_left(self._until))
            data = self._stream.recv(_PIECE_BYTES)
        except OSError as error:
            raise NotDialled("N-UNREACHABLE", str(error)) from error
        self._left_bytes -= len(data)
        if not data or self._left_bytes < 0:
            raise NotDialled("N-UNREACHABLE", "too many bytes" if data else "the server ended the connection")
        self._tls.bio_write(data)


def _fault_of(error: SSL.Error) -> str:
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return next((_SHOWN_BADLY[one[2]] for one in reasons if one[2] in _SHOWN_BADLY), "N-UNREACHABLE")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
