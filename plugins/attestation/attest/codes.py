"""Every reason code, with what it makes of a verdict and a sentence; docs/attestation.md is held to this table.

A code is stable: it may be added, never renamed. `DENY` says that what was presented is bad. `RETRY` says that the
verifier lacks something which may be there later. `ERROR` says that the verifier itself failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

__all__ = ["CODES", "GROUPS", "Effect"]


class Effect(Enum):
    """What a code makes of the verdict."""

    DENY = "deny"
    RETRY = "error, retryable"
    ERROR = "error"


_Group = Mapping[str, tuple[Effect, str]]

_COMMON: _Group = {
    "C-SIZE": (Effect.DENY, "Something presented is larger, or there is more of it, than a limit allows."),
    "C-PARSE": (Effect.DENY, "Bytes that were presented are not what they should be."),
    "C-TIMEOUT": (Effect.ERROR, "The verification took more time than any input is given, and was killed."),
    "C-VERIFIER-CRASH": (Effect.ERROR, "The verification ended before it had an answer."),
    "C-VERIFIER-FAULT": (Effect.ERROR, "The verifier raised an error that it does not handle: a mistake of its own."),
    "C-NOT-VERIFIED": (Effect.DENY, "Nothing was verified, so nothing speaks for the server."),
}

_PATH: _Group = {
    "X-ANCHOR-UNKNOWN": (Effect.DENY, "The chain ends at an issuer that is neither presented nor a trust anchor."),
    "X-NO-PATH": (Effect.DENY, "The certificates presented lead in a circle and never to a trust anchor."),
    "X-SEARCH-LIMIT": (Effect.DENY, "There are more ways through the certificates than are tried."),
    "X-DEPTH": (Effect.DENY, "The path has more intermediate certificates than the rules allow."),
    "X-SIG": (Effect.DENY, "A signature does not verify under the key of the issuer."),
    "X-SIGALG-MISMATCH": (Effect.DENY, "A certificate names two different signature algorithms."),
    "X-ISSUER-NAME": (Effect.DENY, "The issuer's name is not the subject of the certificate above."),
    "X-NAME-EMPTY": (Effect.DENY, "A certificate has an empty issuer, or an authority an empty subject."),
    "X-NOT-YET-VALID": (Effect.DENY, "The validity of a certificate has not begun."),
    "X-EXPIRED": (Effect.DENY, "The validity of a certificate is over."),
    "X-VERSION": (Effect.DENY, "A certificate is not of X.509 version 3."),
    "X-SERIAL": (Effect.DENY, "A serial number is zero, negative or longer than 20 bytes."),
    "X-DUP-EXT": (Effect.DENY, "A certificate has an extension twice."),
    "X-EXT-MALFORMED": (Effect.DENY, "An extension does not hold what its kind demands."),
    "X-CRIT-UNKNOWN": (Effect.DENY, "A critical extension is not known here."),
    "X-CRITICALITY": (Effect.DENY, "An extension is critical where it must not be, or not critical where it must."),
    "X-CA-FLAG": (Effect.DENY, "An issuer's certificate is not that of an authority."),
    "X-LEAF-IS-CA": (Effect.DENY, "The server's own certificate is that of an authority."),
    "X-PATHLEN": (Effect.DENY, "More authorities stand below a certificate than it allows."),
    "X-KU-CERTSIGN": (Effect.DENY, "An issuer's key usage lacks keyCertSign."),
    "X-KU-NOT-CA": (Effect.DENY, "A certificate has keyCertSign and is not that of an authority."),
    "X-KU-DIGSIG": (Effect.DENY, "The server's key usage lacks digitalSignature."),
    "X-EKU-MISSING": (Effect.DENY, "The extended key usage that the rules demand is absent."),
    "X-EKU-WRONG": (Effect.DENY, "The extended key usage does not hold the purpose asked for."),
    "X-EKU-ANY": (Effect.DENY, "The extended key usage is anyExtendedKeyUsage, which the rules do not take."),
    "X-EKU-ON-ROOT": (Effect.DENY, "A root certificate has an extended key usage."),
    "X-AKI": (Effect.DENY, "The authority key identifier is absent or not as the rules demand."),
    "X-SKI": (Effect.DENY, "The subject key identifier of an authority is absent."),
    "X-SAN-MISSING": (Effect.DENY, "The server's certificate has no subjectAltName."),
    "X-SAN-MALFORMED": (Effect.DENY, "A subjectAltName cannot be read, or holds a name that is none."),
    "X-SAN-MISMATCH": (Effect.DENY, "No subjectAltName is the name that was asked for."),
    "X-SAN-NOT-ALLOWED": (Effect.DENY, "A name is not on the operator's list of allowed names."),
    "X-WILDCARD": (Effect.DENY, "A wildcard stands elsewhere than alone as the first label."),
    "X-PUBLIC-SUFFIX": (Effect.DENY, "A wildcard covers everything below a public suffix."),
    "X-CN-NOT-IN-SAN": (Effect.DENY, "The common name is not, letter by letter, one of the subjectAltNames."),
    "X-NC-PERMITTED": (Effect.DENY, "A name is outside what an authority may name."),
    "X-NC-EXCLUDED": (Effect.DENY, "A name is within what an authority may not name."),
    "X-NC-MALFORMED": (Effect.DENY, "A name constraint cannot be read."),
    "X-NC-UNSUPPORTED": (Effect.DENY, "A name constraint is on a kind of name that is not compared here."),
    "X-NC-ON-LEAF": (Effect.DENY, "A certificate that is no authority's has name constraints."),
    "X-NC-DOS": (Effect.DENY, "Names and constraints are too many to compare each with each."),
    "X-POLICY-CONSTRAINT": (Effect.DENY, "No certificate policy that is accepted holds for the whole path."),
    "X-POLICY-MAPPING": (Effect.DENY, "A policy mapping maps from or to anyPolicy."),
    "X-ALG-WEAK": (Effect.DENY, "A signature algorithm is weaker than the rules demand, or not known."),
    "X-KEY-WEAK": (Effect.DENY, "A public key is of a kind or size that the rules do not take."),
    "X-SPKI-PIN": (Effect.DENY, "The server's public key is not one of those pinned."),
}

_REVOCATION: _Group = {
    "R-REVOKED": (Effect.DENY, "A certificate is revoked."),
    "R-CRL-MISSING": (Effect.RETRY, "No revocation list says anything about a certificate."),
    "R-CRL-PARSE": (Effect.RETRY, "A revocation list cannot be read."),
    "R-CRL-SIG": (Effect.RETRY, "A revocation list is not signed by its issuer."),
    "R-CRL-ISSUER": (Effect.RETRY, "The issuer of a revocation list has no valid path to the trust anchor."),
    "R-CRL-NO-CRLSIGN": (Effect.RETRY, "The key usage of a revocation list's issuer lacks cRLSign."),
    "R-CRL-STALE": (Effect.RETRY, "A revocation list is past its next update, or names none."),
    "R-CRL-FUTURE": (Effect.RETRY, "A revocation list is from the future."),
    "R-CRL-NUMBER": (Effect.RETRY, "A revocation list has no number, or one marked critical."),
    "R-CRL-ROLLBACK": (Effect.RETRY, "A revocation list is older than one that was seen before."),
    "R-CRL-CRIT-EXT": (Effect.RETRY, "A revocation list has a critical extension that is not known here."),
    "R-CRL-SCOPE": (Effect.RETRY, "A revocation list does not cover this certificate, or not every reason."),
    "R-CRL-DELTA": (Effect.RETRY, "A delta list has no complete list that it belongs to."),
    "R-OCSP-PARSE": (Effect.RETRY, "An OCSP answer from a configured responder cannot be read."),
    "R-OCSP-STATUS": (Effect.RETRY, "An OCSP responder says that it cannot answer now."),
    "R-OCSP-CRIT-EXT": (Effect.RETRY, "An OCSP answer has a critical extension that is not known here."),
    "R-OCSP-SIG": (Effect.RETRY, "An OCSP answer is not signed by its responder."),
    "R-OCSP-RESPONDER": (Effect.RETRY, "An OCSP answer is signed by somebody whom the issuer did not appoint."),
    "R-OCSP-CERTID": (Effect.RETRY, "An OCSP answer is about another certificate."),
    "R-OCSP-STALE": (Effect.RETRY, "An OCSP answer is past its next update, or names none."),
    "R-OCSP-FUTURE": (Effect.RETRY, "An OCSP answer is from the future."),
    "R-OCSP-UNKNOWN": (Effect.DENY, "The responder does not know the certificate."),
    "R-STAPLE-PARSE": (Effect.DENY, "What the server stapled cannot be read as an OCSP answer, or is over the limit."),
    "R-OCSP-STAPLE": (Effect.DENY, "The certificate demands a stapled OCSP answer, and there is no good one."),
}

_SPIFFE: _Group = {
    "S-URI-COUNT": (Effect.DENY, "A certificate has no URI, or more than one, where one SPIFFE ID must be."),
    "S-SCHEME": (Effect.DENY, "The URI of a certificate is no SPIFFE ID."),
    "S-ID-SYNTAX": (Effect.DENY, "The path of a SPIFFE ID is not well formed."),
    "S-TD-SYNTAX": (Effect.DENY, "The trust domain of a SPIFFE ID is not well formed."),
    "S-ROOT-PATH": (Effect.DENY, "A workload's ID has no path, or an authority's has one."),
    "S-TD-NO-BUNDLE": (Effect.DENY, "No bundle of the trust domain is configured."),
    "S-TD-BUNDLE-MISMATCH": (Effect.DENY, "The authority of another trust domain issued the identity."),
    "S-BUNDLE-EMPTY": (Effect.DENY, "The bundle of the trust domain has no authorities: all are revoked."),
    "S-BUNDLE-MALFORMED": (Effect.RETRY, "The bundle of a trust domain cannot be read."),
    "S-BUNDLE-DUP-KEY": (Effect.RETRY, "The bundle of a trust domain has a JSON key twice."),
    "S-BUNDLE-ROLLBACK": (Effect.RETRY, "The bundle of a trust domain is older than one that was seen before."),
    "S-LEAF-CA": (Effect.DENY, "A workload's certificate is that of an authority."),
    "S-KU-NOT-CRITICAL": (Effect.DENY, "A workload's key usage is absent or not critical."),
    "S-KU-DIGSIG": (Effect.DENY, "A workload's key usage lacks digitalSignature."),
    "S-KU-CERTSIGN": (Effect.DENY, "A workload's key usage has keyCertSign."),
    "S-KU-CRLSIGN": (Effect.DENY, "A workload's key usage has cRLSign."),
    "S-EKU": (Effect.DENY, "A workload's extended key usage lacks serverAuth or clientAuth."),
    "S-NOT-ALLOWED": (Effect.DENY, "The identity is not on the operator's list."),
    "J-SER": (Effect.DENY, "A token is not of three parts."),
    "J-ALG": (Effect.DENY, "A token's algorithm is none of the nine that are allowed."),
    "J-TYP": (Effect.DENY, "A token is of another type than JWT or JOSE."),
    "J-HEADER-EXTRA": (Effect.DENY, "A token's header has members that it must not have."),
    "J-KID-UNKNOWN": (Effect.DENY, "A token names a key that the bundle does not have."),
    "J-KEY-WEAK": (Effect.DENY, "A token's key is of a kind or size that the rules do not take."),
    "J-SIG": (Effect.DENY, "A token's signature does not verify."),
    "J-SUB": (Effect.DENY, "A token's subject is no SPIFFE ID of a workload."),
    "J-AUD-MISSING": (Effect.DENY, "A token names no audience."),
    "J-AUD": (Effect.DENY, "A token is for another audience."),
    "J-EXP-MISSING": (Effect.DENY, "A token has no expiry."),
    "J-EXPIRED": (Effect.DENY, "A token is expired."),
    "J-NBF": (Effect.DENY, "A token is not valid yet."),
}

_FRESHNESS: _Group = {
    "C-NONCE-UNKNOWN": (Effect.DENY, "The nonce was never issued here, or so long ago that it is forgotten."),
    "C-NONCE-EXPIRED": (Effect.DENY, "The nonce came back after its five minutes."),
    "C-NONCE-REUSED": (Effect.DENY, "The nonce was used before."),
    "C-NONCE-OTHER-SERVER": (Effect.DENY, "The nonce was issued for another server, key or policy."),
    "C-STORE-BUSY": (Effect.RETRY, "The store of nonces is locked or full."),
    "C-BINDING": (Effect.DENY, "The evidence is bound to another challenge or another key."),
    "C-KIND-NOT-ALLOWED": (Effect.DENY, "The evidence is of a kind that was not asked for."),
    "C-EVIDENCE-ASKED": (
        Effect.DENY,
        "The record holds no evidence yet; a nonce for it was issued, to register again.",
    ),
    "C-KIND-MISSING": (Effect.DENY, "Evidence of a kind that the policy requires is missing."),
}

_URLS: _Group = {
    "U-SYNTAX": (Effect.DENY, "The URL of a server holds what no such URL holds."),
    "U-SCHEME": (Effect.DENY, "The URL of a server is not https."),
    "U-USERINFO": (Effect.DENY, "The URL of a server names a user."),
    "U-FRAGMENT": (Effect.DENY, "The URL of a server has a fragment."),
    "U-HOST": (Effect.DENY, "The host of a URL is neither a DNS name nor an address in its usual form."),
    "U-PORT": (Effect.DENY, "The port of a URL is none, or none that is allowed."),
}

_NETWORK: _Group = {
    "N-ADDRESS": (Effect.DENY, "The server has an address that is neither global nor allowed."),
    "N-UNREACHABLE": (Effect.RETRY, "There was no handshake: nothing answered, or not as TLS, or not in time."),
    "N-KEY-CHANGED": (Effect.DENY, "The server showed another key than in the handshake before."),
    "N-ANSWER": (Effect.RETRY, "The server did not answer the question for evidence with success."),
    "M-NO-CERTIFICATE-ASKED": (Effect.DENY, "The server did not ask for our certificate, as the policy demands."),
    "M-CLIENT-CERTIFICATE": (Effect.RETRY, "The policy has us show a certificate, and none is configured."),
}

_APPRAISAL: _Group = {
    "A-NO-RULE": (Effect.DENY, "No rule of the policy is for this server."),
    "A-IDENTITY-MISSING": (Effect.DENY, "The identity stage did not run."),
    "A-RESULT-OTHER": (Effect.DENY, "A stage's result is about another server."),
    "A-RESULT-RULE": (Effect.DENY, "The identity was verified under another rule than the one for this server."),
    "A-RESULT-POLICY": (Effect.RETRY, "A stage's result was found under another policy, such as the one before."),
    "A-RESULT-STALE": (Effect.DENY, "A stage's result is older than a run can be, or from the future."),
    "A-RESULT-FORM": (Effect.DENY, "What was handed over as a stage's result is none."),
    "A-REGO-DENY": (Effect.DENY, "The operator's own rules in Rego object; what they say stands with it."),
    "A-REGO-ERROR": (Effect.ERROR, "The operator's own rules in Rego have no answer that could be taken."),
    "A-STORE": (Effect.RETRY, "The decision could not be recorded, or the last one not be read, so none is made."),
    "M-POP": (Effect.DENY, "The server did not prove that it holds the key of its certificate."),
}

_DRIFT: _Group = {
    "D-KEY-CHANGED": (Effect.DENY, "The server has another key than when it was last admitted."),
    "D-IDENTITY-CHANGED": (Effect.DENY, "The server has another SPIFFE identity than when it was last admitted."),
    "D-ANCHOR-CHANGED": (Effect.DENY, "The server's chain leads to another anchor than when it was last admitted."),
    "D-EVIDENCE-WEAKER": (Effect.DENY, "The server shows less evidence than when it was last admitted."),
    "D-EVIDENCE-CHANGED": (
        Effect.DENY,
        "The server's evidence speaks for another identity than when it was last admitted.",
    ),
    "D-APPROVAL": (Effect.DENY, "Something changed, and the policy has an operator approve it."),
}

GROUPS: Mapping[str, _Group] = MappingProxyType(
    {
        "Everything": _COMMON,
        "Certificate paths": _PATH,
        "Revocation": _REVOCATION,
        "SPIFFE": _SPIFFE,
        "Freshness": _FRESHNESS,
        "URLs of servers": _URLS,
        "Network and handshake": _NETWORK,
        "Appraisal": _APPRAISAL,
        "Drift": _DRIFT,
    }
)
CODES: Mapping[str, Effect] = MappingProxyType(
    {code: effect for group in GROUPS.values() for code, (effect, _) in group.items()}
)
