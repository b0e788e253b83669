"""Asks a source that the operator configured, through the one connector, as sceptically as a server is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from attest.chain import verify_chain
from attest.policy import TlsIdentity
from attest.rules import Revocation
from attest.strictjson import Json
from attest.urls import Url
from attest.verdict import Verdict

from world.connector import Post
from world.identity import Presented, Refusal, reach
from world.sandbox import VERIFYING, Died, run_apart
from world.settings import Settings

__all__ = ["apart", "ask"]


def ask(url: Url, anchors: str, post: Post, settings: Settings, now: datetime) -> bytes:
    """Make one request to a source whose certificate leads to the named anchors. Raises Refusal.

    Its own revocation is not asked: it is where that would be answered.
    """
    identity = TlsIdentity(anchors=(anchors,), revocation=Revocation.OFF)
    presented = reach(url, settings, identity)
    spki = apart(lambda: _verified(url, settings, identity, presented, now))["spki"]
    return reach(url, settings, identity, replace(post, spki=str(spki))).answer or b""


def apart(look: Callable[[], dict[str, Json]]) -> dict[str, Json]:
    """Look at what a source sent in a child: it is trusted for what it says, and not for how it says it."""
    try:
        answer = run_apart(look, VERIFYING)
    except Died as death:
        raise Refusal(death.code, str(death)) from death
    if "refused" in answer:
        raise Refusal(str(answer["refused"]), str(answer["why"]))
    return answer


def _verified(
    url: Url, settings: Settings, identity: TlsIdentity, presented: Presented, now: datetime
) -> dict[str, Json]:
    found = verify_chain(presented.chain, settings.anchors_of(identity), identity.rules(url), now)
    if found.verdict is Verdict.ADMIT:
        return {"spki": str(found.claims["spki"])}
    return {"refused": min(found.codes), "why": ", ".join(sorted(found.codes))}
