"""URLs of servers: read strictly, written in one way, and matched by an operator's patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from attest.hostnames import is_dns_name, matches

__all__ = ["BadUrl", "Url", "UrlPattern", "read_pattern", "read_url"]

_MAX_URL_CHARACTERS = 2048
_DEFAULT_PORT = 443
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@]*)(?::(?P<port>[0-9]*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BadUrl(ValueError):
    """The text is no URL of a server, with the code that says why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Url:
    """Where a server is. As text it is canonical: equal servers have equal texts."""

    host: str | IPv4Address | IPv6Address
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return f"https://{host}{'' if self.port == _DEFAULT_PORT else f':{self.port}'}{self.path}"


@dataclass(frozen=True, slots=True)
class UrlPattern:
    """Servers that a rule is for: a host, or one label below one; a port; a path, or all below it."""

    host: str
    port: int
    path: str
    is_tree: bool

    def covers(self, url: Url) -> bool:
        """Whether the rule is for this server."""
        host = matches(self.host, url.host) if isinstance(url.host, str) else self.host == str(url.host)
        path = url.path.startswith(self.path) if self.is_tree else url.path == self.path
        return host and path and self.port == url.port


def read_url(text: str) -> Url:
    """Read the URL of a server. Raises BadUrl."""
    authority, path = _split(text)
    host, port = _authority(authority)
    return Url(host, port, _canonical_path(path))


def read_pattern(text: str) -> UrlPattern:
    """Read a pattern: a URL whose host may begin with `*.` and whose path may end in `*`. Raises BadUrl."""
    authority, path = _split(text)
    wild = authority.startswith("*.")
    host, port = _authority(authority[2:] if wild else authority)
    is_tree = path.endswith("*")
    path = path[:-1] if is_tree else path
    if (wild and (not isinstance(host, str) or "." not in host)) or "*" in path or (is_tree and not path.endswith("/")):
        raise BadUrl("U-SYNTAX", "a `*` stands for the first of three labels or more, or for all below a path")
    return UrlPattern(f"*.{host}" if wild else str(host), port, _canonical_path(path), is_tree)


def _split(text: str) -> tuple[str, str]:
    if len(text) > _MAX_URL_CHARACTERS or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise BadUrl("U-SYNTAX", "longer than a URL may be, or with characters that no URL has")
    scheme, mark, rest = text.partition("://")
    if scheme != "https" or not mark:
        raise BadUrl("U-SCHEME", "not https")
    if "#" in rest:
        raise BadUrl("U-FRAGMENT", "a fragment")
    if "?" in rest:
        raise BadUrl("U-SYNTAX", "a query")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise BadUrl("U-USERINFO", "a user in front of the host")
    return authority, slash + path


def _authority(text: str) -> tuple[str | IPv4Address | IPv6Address, int]:
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise BadUrl("U-HOST", "not a host")
    port = found["port"]
    if port is not None and (not _PORT.fullmatch(port) or int(port) > 65535):
        raise BadUrl("U-PORT", "not a port")
    return _host(found["host"]), _DEFAULT_PORT if port is None else int(port)


def _host(text: str) -> str | IPv4Address | IPv6Address:
    try:
        if text.startswith("["):
            return IPv6Address(text[1:-1])
        last = text.removesuffix(".").rpartition(".")[2]
        if _NUMERIC_LABEL.fullmatch(last):
            return IPv4Address(text)  # `127.1`, `0x7f.1` and `017.0.0.1` are addresses to some, and refused
    except AddressValueError as error:
        raise BadUrl("U-HOST", "not an address") from error
    name = text.lower()
    if not is_dns_name(name) or name.startswith("*"):
        raise BadUrl("U-HOST", "not the name of a host")
    return name


def _canonical_path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise BadUrl("U-SYNTAX", "a path with characters that no path has")
    kept: list[str] = []
    segments = _ESCAPE.sub(_unescaped, text or "/").split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else f"%{found[1].upper()}"
