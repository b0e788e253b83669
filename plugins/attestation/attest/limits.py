"""How much is looked at. Checked before anything is parsed, so that a hostile input costs its sender more than us."""

from __future__ import annotations

__all__ = [
    "MAX_ANCHOR_TRIES",
    "MAX_BUNDLE_BYTES",
    "MAX_BUNDLE_KEYS",
    "MAX_CERTIFICATES",
    "MAX_CERTIFICATE_BYTES",
    "MAX_CRLS",
    "MAX_CRL_BYTES",
    "MAX_DEPTH",
    "MAX_NAMES",
    "MAX_NAME_COMPARISONS",
    "MAX_OCSP_BYTES",
    "MAX_PATHS",
    "MAX_POLICIES",
    "MAX_RSA_BITS",
    "MAX_RSA_EXPONENT_BITS",
    "MAX_SIGNATURES",
    "MAX_TOKEN_BYTES",
]

MAX_CERTIFICATE_BYTES = 64 * 1024
"""One certificate. Those of real servers have 1-8 KiB; the largest of public test suites about 50."""

MAX_CERTIFICATES = 32
"""Certificates presented. TLS servers send up to about 6."""

MAX_DEPTH = 10
"""Intermediate certificates in one path, if the rules say nothing."""

MAX_PATHS = 32
"""Ways from the server's certificate to an anchor that are tried before the search is given up."""

MAX_ANCHOR_TRIES = 8
"""Anchors that the last certificate is held to where no name leads to one."""

MAX_SIGNATURES = 64
"""Signatures verified for one chain. The slowest that is accepted, RSA of 8192 bits, takes about 1 ms."""

MAX_NAMES = 2048
"""Names in one certificate."""

MAX_NAME_COMPARISONS = 50_000
"""Names times constraints in one path; one comparison takes about 1 us, the whole verification 250 ms of CPU."""

MAX_POLICIES = 256
"""Policies and mappings of one certificate."""

MAX_RSA_BITS = 8192
MAX_RSA_EXPONENT_BITS = 64
"""The cost of an RSA verification grows with the exponent: one as long as the modulus takes 100 times as long."""

MAX_CRL_BYTES = 1024 * 1024
MAX_CRLS = 64
MAX_OCSP_BYTES = 64 * 1024

MAX_BUNDLE_BYTES = 1024 * 1024
MAX_BUNDLE_KEYS = 128

MAX_TOKEN_BYTES = 16 * 1024
"""A JWT-SVID has about 500 bytes."""
