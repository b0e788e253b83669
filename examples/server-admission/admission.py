"""Starts servers on loopback, good ones and bad, registers each, and prints what the pipeline made of it.

    python examples/server-admission/admission.py

Everything is made for this one run: an authority, certificates, a revocation list, a bundle, and the pipeline file.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attester
from authority import DAY, Authority, Issued
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

HERE = Path(__file__).parent
PLUGIN = HERE.parents[1] / "plugins" / "attestation"
DOMAIN = "prod.example"
WORKLOAD = f"spiffe://{DOMAIN}/billing/api"

PLACE = f"/{secrets.token_hex(4)}/mcp"
"""Another in every run: the plugin remembers whom it admitted, and a port may be somebody else's next time."""

Answer = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Server:
    """One server of the example: what it shows, what it answers, and what the policy asks of it."""

    name: str
    shown: Issued
    expected: str
    answer: Answer | None = None
    is_svid: bool = False
    is_handed_over: bool = False


def servers(own: Authority, stranger: Authority) -> list[Server]:
    """Every server with the code that it is refused with, or nothing for those that are admitted."""
    good, revoked = own.issue("127.0.0.1"), own.issue("127.0.0.1")
    fresh, replaying = own.issue("127.0.0.1"), own.issue("127.0.0.1")
    weak = rsa.generate_private_key(65537, 1024)

    def issue(audience: str) -> str:
        return own.token(WORKLOAD, audience)

    def replay(body: bytes) -> bytes:
        """An answer to another challenge: the nonce of long ago."""
        old = {**json.loads(body), "nonce": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")}
        return attester.answer(json.dumps(old).encode(), replaying.spki, issue)

    return [
        Server("good", good, ""),
        Server("good identity", own.issue(WORKLOAD), "", is_svid=True),
        Server("good evidence", fresh, "", answer=lambda body: attester.answer(body, fresh.spki, issue)),
        Server("expired", own.issue("127.0.0.1", begin=-2 * DAY, end=-DAY), "X-EXPIRED"),
        Server("wrong name", own.issue("other.example"), "X-SAN-MISMATCH"),
        Server("revoked", revoked, "R-REVOKED"),
        Server("unknown authority", stranger.issue("127.0.0.1"), "X-ANCHOR-UNKNOWN"),
        Server("wrong trust domain", stranger.issue("spiffe://test.example/api"), "S-TD-NO-BUNDLE", is_svid=True),
        Server("weak key", own.issue("127.0.0.1", key=weak), "X-KEY-WEAK"),
        Server("no possession", good, "M-POP", is_handed_over=True),
        Server("replayed nonce", replaying, "C-BINDING", answer=replay),
    ]


@contextmanager
def serving(server: Server, folder: Path) -> Iterator[int]:
    """Serve on a free port of loopback."""
    file = folder / "server.pem"
    file.write_text(server.shown.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # one of the servers has a key that is too weak on purpose
    context.load_cert_chain(file)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield listening.server_address[1]
    finally:
        listening.shutdown()
        listening.server_close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Asked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_asked = self.path == attester.PATH and server.answer is not None
            said = server.answer(body) if is_asked and server.answer else b""
            self.send_response(200 if is_asked else 404)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing: what is seen here is the pipeline's table."""

    return Asked


def policy(ports: list[tuple[Server, int]]) -> dict[str, object]:
    """One rule for each server that is known by its URL, and one for identities."""
    rules: list[dict[str, object]] = []
    for number, (server, port) in enumerate(ports):
        if server.is_svid:
            continue
        identity = {"kind": "tls", "anchors": ["own"], "revocation": "hard"}
        rule = {"name": f"server_{number}", "match": f"https://127.0.0.1:{port}{PLACE}", "identity": identity}
        if server.answer:
            rule["evidence"] = {"require": ["jwt-svid"], "allowed": [WORKLOAD]}
        rules.append(rule)
    identity = {"kind": "x509-svid", "allowed": [WORKLOAD]}
    rules.append({"name": "workloads", "match": WORKLOAD, "identity": identity})
    return {"version": 1, "servers": rules}


def write(folder: Path, own: Authority, ports: list[tuple[Server, int]]) -> None:
    """Write what the pipeline file names, and the registrations."""
    revoked = [server.shown for server, _ in ports if server.name == "revoked"]
    (folder / "policy.json").write_text(json.dumps(policy(ports)))
    (folder / "own.pem").write_text(own.certificate.public_bytes(Encoding.PEM).decode())
    (folder / "own.crl").write_text(own.revocations(*revoked))
    (folder / "bundle.json").write_text(own.bundle())
    text = (HERE / "template" / "pipeline.yaml").read_text()
    listed = json.dumps(sorted({port for _, port in ports}))
    (folder / "pipeline.yaml").write_text(text.replace("PLUGIN", str(PLUGIN)).replace("PORTS", listed))
    (folder / "input.jsonl").write_text("".join(registration(server, port) for server, port in ports))


def registration(server: Server, port: int) -> str:
    payload: dict[str, object] = {"name": server.name, "url": f"https://127.0.0.1:{port}{PLACE}"}
    if server.is_handed_over:
        der = server.shown.certificate.public_bytes(Encoding.DER)
        payload["certificates"] = [base64.b64encode(der).decode()]
    return json.dumps({"hook": "server_pre_register", "payload": payload, "context": {}}) + "\n"


def main() -> int:
    """Print the table of outcomes; fail if one of them is not as expected."""
    own, stranger = Authority("own"), Authority("stranger")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        every = servers(own, stranger)
        ports = [(server, stack.enter_context(serving(server, folder))) for server in every]
        write(folder, own, ports)
        command = [str(Path(sys.executable).with_name("penstock")), "run", str(folder), "--json", "--locked"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        return 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    came = [outcome(record) for record in records]
    print("| server | verdict | codes |\n|---|---|---|")
    for server, (verdict, codes) in zip(every, came, strict=True):
        print(f"| {server.name} | {verdict} | {codes} |")
    return 0 if [codes for _, codes in came] == [server.expected for server in every] else 1


def outcome(record: dict[str, object]) -> tuple[str, str]:
    """Take the verdict and the codes from a record of a run."""
    violation = record["violation"]
    if not isinstance(violation, dict):
        return str(record["verdict"]), ""
    reasons = violation.get("details", {}).get("reasons", [])
    return str(record["verdict"]), ", ".join(sorted({reason["code"] for reason in reasons})) or str(violation["code"])


if __name__ == "__main__":
    sys.exit(main())
