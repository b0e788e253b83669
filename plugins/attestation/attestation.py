"""The stages `identity` (who is this server), `challenge` (is it fresh) and `appraise` (may it in).

Only `appraise` admits. The other two find out and object until it has decided: where a pipeline enforces them without
it, nobody is let in.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from time import monotonic, perf_counter

import rfc8785
from attest.appraisal import Appraisal, appraise
from attest.audit import Checkpoint
from attest.codes import GROUPS
from attest.drift import known_by
from attest.expiry import Expiry, expiries
from attest.hostnames import warm
from attest.policy import TlsIdentity, Via
from attest.results import BadResult, Results, StageResult, read_result, read_results
from attest.spiffe import SpiffeId, read_id
from attest.strictjson import Json
from attest.urls import BadUrl, Url, read_url
from attest.verdict import Check, Findings, Outcome, Verdict, milliseconds, together
from penstock_plugin import Answer, Call, Config, Plugin, Start
from world.admissions import Admissions
from world.auditlog import AuditLog, CannotRecord, alone
from world.challenge import Challenger
from world.identity import identify
from world.rego import object_by
from world.responders import Responders
from world.settings import BadSettings, Settings, overlaid, read_settings
from world.sources import Sources
from world.trust import Kind, TrustStore


@dataclass(frozen=True, slots=True)
class Stores:
    """What outlives the process, in the plugin's own directory."""

    challenger: Challenger
    log: AuditLog
    admissions: Admissions
    trust: TrustStore
    sources: Sources
    responders: Responders

    @classmethod
    def at(cls, folder: Path) -> Stores:
        """Open them, or make them: one worker at a time, for SQLite does not wait for who makes the same file."""
        with alone(folder / "stores.lock"):
            return cls(
                Challenger.at(folder),
                AuditLog(folder / "audit.jsonl"),
                Admissions(folder / "admitted.db"),
                TrustStore(folder / "trust.db"),
                Sources(folder / "sources.db"),
                Responders(folder / "answers.db"),
            )


Findings.timer = perf_counter
"""Children inherit it: what a check takes is measured where it runs."""

_stores: list[Stores] = []

_OF_DRIFT = frozenset(GROUPS["Drift"])
_UNDECIDED = "attestation.undecided"
_DENIED, _FAILED = "attestation.denied", "attestation.error"
_LONGEST_TEXT = 2048
"""What is recorded of a URL that is none."""

_UNREADABLE = (sqlite3.Error, BadSettings)
"""What a store raises that is locked or spoilt, or holds what cannot be used: nothing is decided then."""

_SPARE_SECONDS = 1.0
"""What is left of a call's time after all dialling: to verify what came, and for the stages that follow."""

_RETRY_AFTER_MS = 30_000
"""When to register again after an error that may pass: sources of collateral are asked more often than that."""


def open_store(start: Start) -> None:
    """Open the store of nonces and read what children may not."""
    warm()
    if start.data is not None:
        _stores[:] = [Stores.at(start.data)]


class Current:
    """The settings of one `with`, and over them what the trust store holds now."""

    def __init__(self, configured: Settings, clock: Callable[[], datetime]) -> None:
        self.now = clock
        self._configured = configured
        self._change = -1
        self.latest = configured
        """What held when it was last looked up: what is said about a store that cannot be read is said under it."""
        self._expiries: tuple[Expiry, ...] = ()
        self._told: set[Expiry] = set()

    def settings(self) -> Settings:
        """Return what holds at this moment: a change of the store is seen by the next call.

        Raises sqlite3.Error, and BadSettings for what is in the store and cannot be used.
        """
        trust = _stores[0].trust
        if trust.change() != self._change:
            snapshot = trust.snapshot()
            self.latest = overlaid(self._configured, snapshot)
            self._change = snapshot.change
            now = self.latest
            self._expiries = expiries(now.anchors, now.bundles, now.collateral.crls)
            known = snapshot.seen[Kind.BUNDLE]
            met = {one: bundle.sequence for one, bundle in now.bundles.items()}
            newer = {one: sequence for one, sequence in met.items() if sequence > known.get(one, 0)}
            if newer:
                trust.remember(Kind.BUNDLE, newer)
        return self.latest

    def warnings(self, at: datetime) -> list[str]:
        """Say what ends soon, or has ended, of what holds now."""
        return [str(one) for one in self._expiries if one.warn_from <= at]

    def untold(self, at: datetime) -> list[str]:
        """Say what ends soon and was not said by this process before: a log wants it once."""
        new = [one for one in self._expiries if one.warn_from <= at and one not in self._told]
        self._told.update(new)
        return [str(one) for one in new]


def _in_time(settings: Settings, call: Call) -> Settings:
    """Have dialling be over while somebody waits: a call that overruns costs the worker, and others their calls."""
    at = call.deadline.at
    if at is None:
        return settings
    spare = min(_SPARE_SECONDS, call.deadline.remaining() / 4)
    return replace(settings, dialling=replace(settings.dialling, until=at - spare))


def collateral(call: Call) -> Answer:
    """Fetch the lists and bundles that are due from their configured sources; objects to nobody."""
    stores = _stores[0]
    current: Current = call.config
    try:
        found = stores.sources.fetch(_in_time(current.settings(), call), stores.trust, current.now())
    except _UNREADABLE as error:
        call.log.warning("attestation.store_failed", extra={"why": str(error)})
        return call.allow(out={"fetched": [], "failed": {"store": "A-STORE"}})
    for name, code in found.failed.items():
        call.log.warning("attestation.source_failed", extra={"source": name, "code": code})
    return call.allow(out={"fetched": list(found.new), "failed": dict(found.failed)})


def identity(call: Call) -> Answer:
    """Find out who the server is; `out.result` is for `appraise`."""
    begun = monotonic()
    current: Current = call.config
    try:
        url = read_url(_text_of(call))
    except BadUrl as error:
        return _objection(call, _misread(current, "identity", error), begun)
    try:
        settings, ask = _in_time(current.settings(), call), _stores[0].responders.answers
        newer: dict[str, int] = {}
        found = identify(url, settings, current.now(), _handed_over(call), newer.update, ask)
        found = _remembered(current, found, newer)
    except _UNREADABLE as error:
        found = _unstored(current, "identity", error, str(url))
    return _objection(call, found, begun)


def challenge(call: Call) -> Answer:
    """Ask the server for the evidence that its rule requires; `out.result` is for `appraise`."""
    begun = monotonic()
    current: Current = call.config
    try:
        url = read_url(_text_of(call))
    except BadUrl as error:
        return _objection(call, _misread(current, "evidence", error), begun)
    try:
        known = read_result(call.input["identity"])
    except (BadResult, KeyError) as error:
        unasked = _ended(current, "evidence", "A-RESULT-FORM", "input", "a stage's result", error, str(url))
        return _objection(call, unasked, begun)
    try:
        found = _challenged(call, current, url, known)
    except _UNREADABLE as error:
        found = Results((_unstored(current, "evidence", error, str(url)),))
    if not found.results:
        return call.allow(out={"result": {}, "verdict": "none", "codes": []})
    return _objections(call, found, begun)


def _challenged(call: Call, current: Current, url: Url, known: StageResult) -> Results:
    """Nothing, where no evidence is asked for or nobody is there to be asked."""
    settings = _in_time(current.settings(), call)
    rule = settings.policy.rule_for(url, _verified_id(known))
    spki = known.outcome.claims.get("spki")
    if rule is None or rule.evidence is None or not isinstance(spki, str) or not known.pop:
        return Results()
    challenger = _stores[0].challenger
    if rule.evidence.via is Via.RECORD:
        return challenger.recorded(url, rule, spki, settings, current.now, call.payload.get("evidence"))
    return challenger.challenge(url, rule, spki, settings, current.now)


def appraise_server(call: Call) -> Answer:
    """Hold what was found to the policy: the one stage that admits."""
    current: Current = call.config
    tenant = str(call.context.get("tenant", ""))
    try:
        given = _results(call)
        appraisal = _appraised(current, _text_of(call), tenant, given)
        # First what the next registration is compared with: what the record says last is what was answered.
        _remember(appraisal, tenant, given)
        checkpoint = _stores[0].log.append(_record(appraisal, tenant, given))
        return _decision(call, appraisal, given, checkpoint)
    except (CannotRecord, sqlite3.Error) as error:
        # A decision that is not on the disk is none.
        return _refusal(call, _unstored(current, "identity", error).outcome, {})


@dataclass(frozen=True, slots=True)
class Given:
    """What earlier stages handed on, or why that cannot be read, and when the appraisal began."""

    results: tuple[StageResult, ...] = ()
    asked: tuple[object, ...] = ()
    unread: Outcome | None = None
    begun: float = 0.0

    @property
    def took(self) -> dict[str, float]:
        """Milliseconds of each stage; those of several questions for evidence are one stage's."""
        mine = (monotonic() - self.begun) * 1000
        return {one.kind: round(one.ms, 3) for one in self.results} | {"appraise": round(mine, 3)}


def _appraised(current: Current, text: str, tenant: str, given: Given) -> Appraisal:
    at, unread = current.now(), given.unread
    try:
        settings, url = current.settings(), read_url(text)
    except BadUrl as error:
        unread = _misread(current, "identity", error).outcome
    except BadSettings as error:
        unread = _unstored(current, "identity", error).outcome
    if unread is not None:
        return Appraisal(text[:_LONGEST_TEXT], None, unread, current.latest.policy.digest, at)
    admissions, server = _stores[0].admissions, str(url)
    before, approved = admissions.last(server, tenant), admissions.approved(server, tenant)
    appraisal = appraise(settings.policy, url, given.results, at, before, approved)
    if appraisal.outcome.verdict is Verdict.ADMIT:
        appraisal = appraisal.joined(_still_trusted(settings, appraisal))
    if settings.rego is None:
        return appraisal
    return appraisal.joined(object_by(settings.rego, _about(appraisal, tenant, given)))


def _still_trusted(settings: Settings, appraisal: Appraisal) -> Outcome:
    """Whether the anchor that the identity led to is trusted now: a challenge takes time, a removal counts at once."""
    findings = Findings()
    findings.run("anchor", "results", _has_anchor, settings, appraisal)
    return findings.outcome()


def _has_anchor(findings: Findings, path: str, settings: Settings, appraisal: Appraisal) -> None:
    rule, anchor = appraisal.rule, appraisal.outcome.claims.get("anchor")
    trusted: set[str] = set()
    if rule is not None and isinstance(rule.identity, TlsIdentity):
        trusted = {one.digest for one in settings.anchors_of(rule.identity).certificates}
    elif rule is not None:
        trusted = {one.digest for bundle in settings.bundles.values() for one in bundle.anchors.certificates}
    if anchor not in trusted:
        findings.against("X-ANCHOR-UNKNOWN", path, "a trust anchor", anchor)


def _about(appraisal: Appraisal, tenant: str, given: Given) -> dict[str, Json]:
    """What the operator's own rules are told: what was verified, and nothing that the registrant says of itself."""
    results = {one.kind: one.as_json() for one in given.results}
    return {
        "server": appraisal.server,
        "tenant": tenant,
        "rule": appraisal.rule.name if appraisal.rule else "",
        "verdict": appraisal.outcome.verdict.value,
        "codes": [*sorted(appraisal.outcome.codes)],
        "claims": {kind: one["claims"] for kind, one in results.items()},
        "at": appraisal.at.timestamp(),
    }  # type: ignore[dict-item]  # JSON, as results are


def _remember(appraisal: Appraisal, tenant: str, given: Given) -> None:
    """Keep what drift is measured by, or ask an operator about what it came to."""
    admissions, known = _stores[0].admissions, known_by(given.results)
    if appraisal.outcome.verdict is Verdict.ADMIT:
        admissions.admit(appraisal.server, tenant, known)
    elif "D-APPROVAL" in appraisal.outcome.codes <= _OF_DRIFT:
        # What has other reasons against it is not yet what an operator would let in: evidence may still be to come.
        admissions.ask(appraisal.server, tenant, known.digest, sorted(appraisal.outcome.codes))


def _record(appraisal: Appraisal, tenant: str, given: Given) -> dict[str, Json]:
    claims = {name: value for one in given.results for name, value in one.outcome.claims.items()}
    nonces = [str(one.outcome.claims["nonce"]) for one in given.results if "nonce" in one.outcome.claims]
    return {
        "id": token_hex(16),
        "at": appraisal.at.timestamp(),
        "server": appraisal.server,
        "tenant": tenant,
        "verdict": appraisal.outcome.verdict.value,
        "codes": [*sorted(appraisal.outcome.codes)],
        "rule": appraisal.rule.name if appraisal.rule else "",
        "judged": _by_kind(given, lambda one: one.judged),
        "results": _by_kind(given, lambda one: sha256(rfc8785.dumps(one.as_json())).hexdigest()),  # type: ignore[arg-type]
        "nonce": " ".join(nonces),
        "anchors": str(claims.get("anchors", claims.get("bundle", ""))),
        "policy": appraisal.policy.hex(),
        "ms": {**given.took},
        "checks": {kind: {**milliseconds(checks)} for kind, checks in _checks(appraisal, given).items()},
    }


def _by_kind(given: Given, digest: Callable[[StageResult], str]) -> dict[str, Json]:
    """Digests by stage; where several results are of one kind each digest is named once."""
    found: dict[str, list[str]] = {}
    for one in given.results:
        found.setdefault(one.kind, []).append(digest(one))
    return {kind: " ".join(dict.fromkeys(filter(None, digests))) for kind, digests in found.items()}


def _checks(appraisal: Appraisal, given: Given) -> dict[str, list[Check]]:
    """What was checked, by stage; several questions for evidence of one kind are one stage's."""
    found: dict[str, list[Check]] = {}
    for one in given.results:
        found.setdefault(one.kind, []).extend(one.outcome.checks)
    found["appraise"] = [*appraisal.checks]
    return found


def _remembered(current: Current, found: StageResult, lists: Mapping[str, int]) -> StageResult:
    """Remember numbers of lists, without which nothing was found; what was judged is named all the same."""
    try:
        if lists:
            _stores[0].trust.remember(Kind.CRL, lists)
    except _UNREADABLE as error:
        return replace(_unstored(current, "identity", error, found.server), pop=found.pop, judged=found.judged)
    return found


def _results(call: Call) -> Given:
    begun = monotonic()
    try:
        found = [read_results(call.input.get(name)) for name in ("identity", "evidence")]
    except BadResult as error:
        form = _ended(call.config, "identity", "A-RESULT-FORM", "input", "results of stages", error)
        return Given(unread=form.outcome, begun=begun)
    results = tuple(one for some in found for one in some.results)
    return Given(results, tuple(one for some in found for one in some.asked), begun=begun)


def _verified_id(known: StageResult) -> SpiffeId | None:
    claimed = known.outcome.claims.get("spiffe_id")
    return read_id(claimed) if isinstance(claimed, str) and known.pop else None


def _decision(call: Call, appraisal: Appraisal, given: Given, checkpoint: Checkpoint) -> Answer:
    out = {
        "verdict": appraisal.outcome.verdict.value,
        "codes": sorted(appraisal.outcome.codes),
        "rule": appraisal.rule.name if appraisal.rule else "",
        "result": appraisal.ear(),
        "checkpoint": checkpoint.as_json(),
        "ms": round(sum(given.took.values()), 3),
        "warnings": _warnings(call, appraisal.at),
    }
    if appraisal.outcome.verdict is Verdict.ADMIT:
        return call.allow(out=out)
    return _refusal(call, appraisal.outcome, out, given.asked)


def _warnings(call: Call, at: datetime) -> list[str]:
    current: Current = call.config
    for text in current.untold(at):
        call.log.warning("attestation.ends_soon", extra={"what": text})
    return current.warnings(at)


def _refusal(call: Call, outcome: Outcome, out: Mapping[str, object], asked: Sequence[object] = ()) -> Answer:
    is_denial = outcome.verdict is Verdict.DENY
    codes = ", ".join(sorted(outcome.codes))
    return call.deny(
        _DENIED if is_denial else _FAILED,
        f"the server is not admitted: {codes}",
        details={
            "verdict": outcome.verdict.value,
            "retryable": outcome.retryable,
            "reasons": _told(outcome),
            **({"challenges": list(asked)} if asked else {}),
        },
        retry_after_ms=_RETRY_AFTER_MS if outcome.retryable else None,
        out=out or None,
    )


def _objection(call: Call, found: StageResult, begun: float) -> Answer:
    """Object whatever was found: it is for `appraise` to admit."""
    found = replace(found, ms=round((monotonic() - begun) * 1000, 3))
    out = {
        "verdict": found.outcome.verdict.value,
        "codes": sorted(found.outcome.codes),
        "result": found.as_json(),
    }
    if found.outcome.verdict is Verdict.ADMIT:
        reason = "found good; only an enforcing appraise admits"
        return call.deny(_UNDECIDED, reason, details={"verdict": "admit"}, out=out)
    return _refusal(call, found.outcome, out)


def _objections(call: Call, found: Results, begun: float) -> Answer:
    """The same of several questions, each with the time that all of them took."""
    ms = round((monotonic() - begun) * 1000 / len(found.results), 3)
    found = replace(found, results=tuple(replace(one, ms=ms) for one in found.results))
    outcome = together([one.outcome for one in found.results])
    out = {"verdict": outcome.verdict.value, "codes": sorted(outcome.codes), "result": found.as_json()}
    if outcome.verdict is Verdict.ADMIT:
        reason = "found good; only an enforcing appraise admits"
        return call.deny(_UNDECIDED, reason, details={"verdict": "admit"}, out=out)
    return _refusal(call, outcome, out, found.asked)


def _told(outcome: Outcome) -> list[dict[str, str]]:
    return [
        {"code": one.code, "path": one.path, "expected": one.expected, "actual": one.actual} for one in outcome.reasons
    ]


def _misread(current: Current, kind: str, error: BadUrl) -> StageResult:
    return _ended(current, kind, error.code, "payload.url", "the URL of a server", error)


def _unstored(current: Current, kind: str, error: Exception, server: str = "") -> StageResult:
    """A store that is locked, or cannot be read or written: the same may go well later."""
    return _ended(current, kind, "A-STORE", "store", "a store that can be read and written", error, server)


def _ended(
    current: Current, kind: str, code: str, path: str, expected: str, actual: object, server: str = ""
) -> StageResult:
    """The result of a stage that found out nothing, and why."""
    findings = Findings()
    findings.against(code, path, expected, actual)
    return StageResult(kind, server, current.latest.policy.digest.hex(), current.now(), False, findings.outcome())


def _text_of(call: Call) -> str:
    """Return the URL as the record has it; what is no text is no URL either."""
    given = call.payload.get("url")
    return given if isinstance(given, str) else ""


def _handed_over(call: Call) -> Sequence[bytes]:
    """Return the chain of the record, in base64 of DER: looked at only where nothing is dialled."""
    given = call.payload.get("certificates") or []
    return [_decoded(one) for one in given] if isinstance(given, list) else [b""]


def _decoded(text: object) -> bytes:
    """Decode base64; what is none is no certificate either, and is found out where certificates are read."""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return b""


def plugin_with(clock: Callable[[], datetime]) -> Plugin:
    """Make the plugin with a clock of one's own: the one place where it gets one."""

    def settings_of(config: Config) -> Current:
        """Read `with` once for each distinct one."""
        return Current(read_settings(config, config.secrets), clock)

    made = Plugin()
    made.startup(open_store)
    made.configure(settings_of)
    stages = {"collateral": collateral, "identity": identity, "challenge": challenge, "appraise": appraise_server}
    for name, stage in stages.items():
        made.stage(name)(stage)
    return made


plugin = plugin_with(lambda: datetime.now(UTC))
