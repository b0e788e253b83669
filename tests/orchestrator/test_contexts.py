"""What gateways send becomes one context."""

from __future__ import annotations

import pytest

from orchestrator.contexts import ContextError, normalise
from pipelines.fields import misfits
from pipelines.hooks import CONTEXT

_USER = {"email": "ann@example.com", "is_admin": True, "full_name": "Ann"}
_USER_CONTEXT = {
    "user_id": "u-1",
    "email": "ann@example.com",
    "is_admin": True,
    "groups": ["ops"],
    "roles": ["admin"],
    "attributes": {},
    "auth_method": "jwt",
}


def _sent(**shared: object) -> dict[str, object]:
    return {
        "state": {"http": {"path": "/rpc"}},
        "global_context": {"request_id": "r1", "state": {}, "metadata": {}, **shared},
        "metadata": {},
    }


def test_an_unauthenticated_request_has_an_empty_user() -> None:
    context = normalise(_sent())
    assert context["user"] == {"id": "", "email": "", "roles": [], "groups": [], "is_admin": False}
    assert (context["tenant"], context["server_id"], context["content_type"]) == ("", "", "")


@pytest.mark.parametrize("user", [_USER, "ann@example.com", None])
def test_a_user_is_the_same_whether_sent_as_an_object_a_text_or_only_in_its_context(user: object) -> None:
    expected = {"id": "u-1", "email": "ann@example.com", "roles": ["admin"], "groups": ["ops"], "is_admin": True}
    assert normalise(_sent(user=user, user_context=_USER_CONTEXT))["user"] == expected


def test_a_user_without_a_context_is_known_by_its_mail() -> None:
    assert normalise(_sent(user=_USER))["user"] == {
        "id": "ann@example.com",
        "email": "ann@example.com",
        "roles": [],
        "groups": [],
        "is_admin": True,
    }
    assert normalise(_sent(user="svc-7"))["user"]["id"] == "svc-7"  # type: ignore[index]  # an object by its kind


def test_tool_and_gateway_leave_the_metadata() -> None:
    context = normalise(_sent(metadata={"tool": {"name": "echo"}, "gateway": {"id": "g"}, "other": 1}))
    assert (context["tool"], context["gateway"], context["metadata"]) == ({"name": "echo"}, {"id": "g"}, {"other": 1})


def test_state_of_earlier_hooks_is_kept() -> None:
    assert normalise(_sent(state={"a": 1}))["state"] == {"a": 1, "http": {"path": "/rpc"}}


def test_our_own_shape_passes_flat_and_unchanged() -> None:
    flat = normalise({"tenant": "acme", "user": {"id": "u", "email": "e@x", "roles": ["r"]}, "tool": {"name": "t"}})
    assert normalise(flat) == flat
    assert flat["tenant"] == "acme"


@pytest.mark.parametrize("sent", [None, {}, _sent(), _sent(user=_USER, user_context=_USER_CONTEXT, tenant_id="t")])
def test_every_context_fits_its_description(sent: dict[str, object] | None) -> None:
    assert list(misfits(CONTEXT, normalise(sent))) == []


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"tenat": "acme"}, "did you mean 'tenant'"),
        ({"tenant": 3}, "tenant must be a text"),
        ({"user": 3}, "user must be an object"),
        ({"user": {"roles": "admin"}}, "roles must be a list"),
        ({"user": {"is_admin": "yes"}}, "is_admin must be true or false"),
        ({"global_context": []}, "global_context must be an object"),
    ],
)
def test_what_is_no_context_is_refused(sent: dict[str, object], message: str) -> None:
    with pytest.raises(ContextError, match=message):
        normalise(sent)


def test_a_gateway_may_know_more_than_we_do() -> None:
    assert normalise(_sent(new_member=1))["request_id"] == "r1"
