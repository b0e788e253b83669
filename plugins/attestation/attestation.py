"""The stages `identity` (who is this server), `challenge` (is it fresh) and `appraise` (may it in).

Only `appraise` admits. The other two find out and object until it has decided: where a pipeline enforces them without
it, nobody is let in.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from attest.appraisal import Appraisal, appraise
from attest.hostnames import warm
from attest.results import BadResult, StageResult, read_result
from attest.spiffe import SpiffeId, read_id
from attest.urls import BadUrl, read_url
from attest.verdict import Findings, Outcome, Verdict
from penstock_plugin import Answer, Call, Config, Plugin, Start
from world.challenge import Challenger
from world.identity import identify
from world.settings import Settings, read_settings

plugin = Plugin()
_challengers: list[Challenger] = []

_UNDECIDED = "attestation.undecided"
_DENIED, _FAILED = "attestation.denied", "attestation.error"
_RETRY_AFTER_MS = 30_000
"""When to register again after an error that may pass: sources of collateral are asked more often than that."""


@plugin.startup
def open_store(start: Start) -> None:
    """Open the store of nonces and read what children may not."""
    warm()
    if start.data is not None:
        _challengers[:] = [Challenger.at(start.data)]


@plugin.configure
def settings_of(config: Config) -> Settings:
    """Read `with` once for each distinct one."""
    return read_settings(config, config.secrets)


@plugin.stage("identity")
def identity(call: Call) -> Answer:
    """Find out who the server is; `out.result` is for `appraise`."""
    settings: Settings = call.config
    try:
        url = read_url(str(call.payload["url"]))
    except BadUrl as error:
        return _objection(call, _misread(settings, error.code))
    return _objection(call, identify(url, settings, _now(), _handed_over(call)))


@plugin.stage("challenge")
def challenge(call: Call) -> Answer:
    """Ask the server for the evidence that its rule requires; `out.result` is for `appraise`."""
    settings: Settings = call.config
    try:
        url = read_url(str(call.payload["url"]))
        known = read_result(call.input["identity"])
    except (BadUrl, BadResult, KeyError) as error:
        return _objection(call, _misread(settings, _code_of(error)))
    rule = settings.policy.rule_for(url, _verified_id(known))
    spki = known.outcome.claims.get("spki")
    if rule is None or rule.evidence is None or not isinstance(spki, str) or not known.pop:
        return call.allow(out={"result": {}, "verdict": "none", "codes": []})
    found = _challengers[0].challenge(url, rule, spki, settings, _now)
    return _objection(call, found)


@plugin.stage("appraise")
def appraise_server(call: Call) -> Answer:
    """Hold what was found to the policy: the one stage that admits."""
    settings: Settings = call.config
    try:
        url = read_url(str(call.payload["url"]))
        results = _results(call)
    except (BadUrl, BadResult) as error:
        return _refusal(call, _misread(settings, _code_of(error)).outcome, {})
    appraisal = appraise(settings.policy, url, results, _now())
    return _decision(call, appraisal)


def _results(call: Call) -> list[StageResult]:
    given = (call.input.get(name) for name in ("identity", "evidence"))
    return [read_result(one) for one in given if one]


def _verified_id(known: StageResult) -> SpiffeId | None:
    claimed = known.outcome.claims.get("spiffe_id")
    return read_id(claimed) if isinstance(claimed, str) and known.pop else None


def _decision(call: Call, appraisal: Appraisal) -> Answer:
    out = {
        "verdict": appraisal.outcome.verdict.value,
        "codes": sorted(appraisal.outcome.codes),
        "rule": appraisal.rule.name if appraisal.rule else "",
        "result": appraisal.ear(),
    }
    if appraisal.outcome.verdict is Verdict.ADMIT:
        return call.allow(out=out)
    return _refusal(call, appraisal.outcome, out)


def _refusal(call: Call, outcome: Outcome, out: Mapping[str, object]) -> Answer:
    is_denial = outcome.verdict is Verdict.DENY
    codes = ", ".join(sorted(outcome.codes))
    return call.deny(
        _DENIED if is_denial else _FAILED,
        f"the server is not admitted: {codes}",
        details={"verdict": outcome.verdict.value, "retryable": outcome.retryable, "reasons": _told(outcome)},
        retry_after_ms=_RETRY_AFTER_MS if outcome.retryable else None,
        out=out or None,
    )


def _objection(call: Call, found: StageResult) -> Answer:
    """Object whatever was found: it is for `appraise` to admit."""
    out = {
        "verdict": found.outcome.verdict.value,
        "codes": sorted(found.outcome.codes),
        "result": found.as_json(),
    }
    if found.outcome.verdict is Verdict.ADMIT:
        reason = "found good; only an enforcing appraise admits"
        return call.deny(_UNDECIDED, reason, details={"verdict": "admit"}, out=out)
    return _refusal(call, found.outcome, out)


def _told(outcome: Outcome) -> list[dict[str, str]]:
    return [
        {"code": one.code, "path": one.path, "expected": one.expected, "actual": one.actual} for one in outcome.reasons
    ]


def _code_of(error: Exception) -> str:
    return error.code if isinstance(error, BadUrl) else "A-RESULT-FORM"


def _misread(settings: Settings, code: str) -> StageResult:
    findings = Findings()
    findings.against(code, "payload.url" if code.startswith("U-") else "input", "", "")
    return StageResult("identity", "", settings.policy.digest.hex(), _now(), False, findings.outcome())


def _handed_over(call: Call) -> Sequence[bytes]:
    """Return the chain of the record, in base64 of DER: looked at only where nothing is dialled."""
    given = call.payload.get("certificates") or []
    return [base64.b64decode(one) for one in given if isinstance(one, str)]


def _now() -> datetime:
    return datetime.now(UTC)
