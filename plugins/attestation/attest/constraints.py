"""Name constraints (RFC 5280 section 4.2.1.10): what an authority says about every name below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from attest.certificates import Certificate
from attest.hostnames import is_dns_name
from attest.limits import MAX_NAME_COMPARISONS
from attest.names import begins_with, normalized
from attest.verdict import Findings

__all__ = ["NO_CONSTRAINTS", "Constraints", "address_of", "host_of", "is_mailbox", "well_formed"]

_Kind = type[x509.GeneralName]
_SUPPORTED: tuple[_Kind, ...] = (
    x509.DNSName,
    x509.RFC822Name,
    x509.IPAddress,
    x509.DirectoryName,
    x509.UniformResourceIdentifier,
)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What all authorities above say together: a name must be in every permitted set and in no excluded one."""

    permitted: tuple[tuple[x509.GeneralName, ...], ...] = ()
    excluded: tuple[x509.GeneralName, ...] = ()
    left: int = MAX_NAME_COMPARISONS
    """Comparisons that may still be made on this path."""

    def below(self, certificate: Certificate) -> Constraints:
        """Return what holds below this authority."""
        found = certificate.extensions.get(ExtensionOID.NAME_CONSTRAINTS)
        if found is None or not isinstance(found.value, x509.NameConstraints):
            return self
        permitted, excluded = found.value.permitted_subtrees, found.value.excluded_subtrees
        return Constraints(
            (*self.permitted, tuple(permitted)) if permitted else self.permitted,
            self.excluded + tuple(excluded or ()),
            self.left,
        )

    def judge(self, findings: Findings, path: str, certificate: Certificate) -> None:
        """Hold each name of a certificate to the constraints."""
        if not self.permitted and not self.excluded:
            return
        names = list(_names(certificate))
        constraints = sum(len(one) for one in self.permitted) + len(self.excluded)
        if len(names) * constraints > self.left:
            findings.against("X-NC-DOS", path, f"{self.left} comparisons", f"{len(names)} times {constraints}")
            return
        for name in names:
            self._judge_name(findings, path, name)

    def after(self, certificate: Certificate) -> Constraints:
        """Return the same with what the names of `certificate` cost taken off."""
        if not self.permitted and not self.excluded:
            return self
        cost = len(certificate.names) * (sum(len(one) for one in self.permitted) + len(self.excluded))
        return Constraints(self.permitted, self.excluded, max(0, self.left - cost))

    def _judge_name(self, findings: Findings, path: str, name: x509.GeneralName) -> None:
        kind = type(name)
        if kind not in _SUPPORTED:
            if any(type(one) is kind for one in self._all()):
                findings.against("X-NC-UNSUPPORTED", path, "a kind of name that can be compared", kind.__name__)
            return
        excluded, permitted = _EXCLUDES[kind], _PERMITS[kind]
        for one in self.excluded:
            if type(one) is kind and excluded(name.value, one.value):
                findings.against("X-NC-EXCLUDED", path, f"no name in {one.value}", name.value)
                break
        for group in self.permitted:
            own = [one.value for one in group if type(one) is kind]
            if own and not any(permitted(name.value, one) for one in own):
                findings.against("X-NC-PERMITTED", path, ", ".join(map(str, own[:4])), name.value)
                break

    def _all(self) -> Iterator[x509.GeneralName]:
        yield from self.excluded
        for group in self.permitted:
            yield from group


NO_CONSTRAINTS = Constraints()


def well_formed(findings: Findings, path: str, certificate: Certificate) -> None:
    """Hold the constraints themselves to RFC 5280: DNS constraints begin with no period, addresses are networks."""
    for one in NO_CONSTRAINTS.below(certificate)._all():
        if isinstance(one, x509.DNSName) and one.value and not is_dns_name(one.value):
            findings.against("X-NC-MALFORMED", path, "a DNS name", one.value)
        if isinstance(one, x509.IPAddress) and not isinstance(one.value, IPv4Network | IPv6Network):
            findings.against("X-NC-MALFORMED", path, "a network", one.value)


def _names(certificate: Certificate) -> Iterator[x509.GeneralName]:
    """All that a certificate names: the subject, its mail addresses if the alternative names have none, and those."""
    subject = certificate.view.subject
    if certificate.subject:
        yield x509.DirectoryName(subject)
    if not any(isinstance(name, x509.RFC822Name) for name in certificate.names):
        for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            if isinstance(attribute.value, str) and attribute.value.isascii():
                yield x509.RFC822Name(attribute.value)
    yield from certificate.names


def _dns_within(name: str, subtree: str) -> bool:
    name, subtree = name.lower(), subtree.lower()
    return not subtree or name == subtree or name.endswith(f".{subtree}")


def _dns_permitted(name: str, subtree: str) -> bool:
    return _dns_within(name.removeprefix("*."), subtree)


def _dns_excluded(name: str, subtree: str) -> bool:
    """A wildcard is excluded as soon as one name that it could stand for is."""
    if not name.startswith("*."):
        return _dns_within(name, subtree)
    parent = name[2:].lower()
    return _dns_within(parent, subtree) or subtree.lower().partition(".")[2] == parent


def _mail_within(name: str, subtree: str) -> bool:
    mailbox, _, host = name.rpartition("@")
    if "@" in subtree:
        wanted, _, wanted_host = subtree.rpartition("@")
        return mailbox == wanted and host.lower() == wanted_host.lower()
    return _host_within(host, subtree)


def _host_within(host: str, subtree: str) -> bool:
    host, subtree = host.lower(), subtree.lower()
    return not subtree or (host.endswith(subtree) if subtree.startswith(".") else host == subtree)


def _uri_permitted(name: str, subtree: str) -> bool:
    host = host_of(name)
    return host is not None and _host_within(host, subtree)


def _uri_excluded(name: str, subtree: str) -> bool:
    host = host_of(name)
    return host is None or _host_within(host, subtree)


def _address_within(name: object, subtree: object) -> bool:
    if isinstance(name, IPv4Address) and isinstance(subtree, IPv4Network):
        return name in subtree
    return isinstance(name, IPv6Address) and isinstance(subtree, IPv6Network) and name in subtree


def _address_excluded(name: object, subtree: object) -> bool:
    return address_of(name) is None or _address_within(name, subtree)


def _directory_within(name: x509.Name, subtree: x509.Name) -> bool:
    return begins_with(normalized(name), normalized(subtree))


_Within = Callable[[Any, Any], bool]
_PERMITS: dict[_Kind, _Within] = {
    x509.DNSName: _dns_permitted,
    x509.RFC822Name: _mail_within,
    x509.IPAddress: _address_within,
    x509.DirectoryName: _directory_within,
    x509.UniformResourceIdentifier: _uri_permitted,
}
_EXCLUDES: dict[_Kind, _Within] = {
    x509.DNSName: _dns_excluded,
    x509.RFC822Name: _mail_within,
    x509.IPAddress: _address_excluded,
    x509.DirectoryName: _directory_within,
    x509.UniformResourceIdentifier: _uri_excluded,
}


def host_of(uri: str) -> str | None:
    """Return the host of a URI, or None if it has no authority or an address there (RFC 5280 section 4.2.1.10)."""
    _, marked, rest = uri.partition("://")
    authority = rest
    for end in "/?#":
        authority = authority.partition(end)[0]
    host = authority.rpartition("@")[2].partition(":")[0]
    return host if marked and is_dns_name(host) and not host.startswith("*.") else None


def address_of(value: object) -> IPv4Address | IPv6Address | None:
    """Return the address of an iPAddress name, or None if it holds a network or nothing of the kind."""
    return value if isinstance(value, IPv4Address | IPv6Address) else None


def is_mailbox(name: str) -> bool:
    """Whether the text is one mailbox: a local part, `@`, a host."""
    mailbox, mark, host = name.rpartition("@")
    return bool(mark and mailbox) and "@" not in mailbox and is_dns_name(host) and not any(map(str.isspace, name))
