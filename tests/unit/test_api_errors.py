"""What an error answer of the Prefect API says, in one sentence."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flow_of_flows.retrying import detail, refused

REQUEST = httpx.Request("POST", "http://api/deployments/", json={"parameters": {"token": "canary"}})
COLOUR = "Value error, Validation failed for field 'colour'. Failure reason: 'green' is not one of ['red', 'blue']"


def error(status: int, body: Any) -> PrefectHTTPStatusError:
    """An error as Prefect's client raises it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = httpx.Response(status, request=REQUEST, content=content)
    return PrefectHTTPStatusError("Client error", request=REQUEST, response=response)


def invalid(*entries: dict[str, Any]) -> dict[str, Any]:
    """A body of a request that does not fit its schema, as Prefect's server writes it; it repeats the request."""
    return {
        "exception_message": "Invalid request received.",
        "exception_detail": list(entries),
        "request_body": {"token": "canary"},
    }


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"detail": "Error creating flow run:\n 7 is not a string"}, "Error creating flow run: 7 is not a string"),
        (
            invalid({"loc": ["body"], "msg": COLOUR, "input": {"token": "canary"}}),
            "Validation failed for field 'colour'. Failure reason: 'green' is not one of ['red', 'blue']",
        ),
        (
            invalid(
                {"loc": ["body", "schedules", 0, "cron"], "msg": "Field required", "input": "canary"},
                {"loc": ["query", "limit"], "msg": "Input should be less than 200", "input": "canary"},
            ),
            "schedules.0.cron: Field required; limit: Input should be less than 200",
        ),
        ({"detail": [{"loc": ["body", "name"], "msg": "Field required"}]}, "name: Field required"),
        (
            invalid(*({"loc": ["body", f"f{number}"], "msg": "wrong"} for number in range(7))),
            "f0: wrong; f1: wrong; f2: wrong; f3: wrong; f4: wrong; and 2 more",
        ),
        ({"exception_message": "Internal Server Error"}, "Internal Server Error"),
        ({"detail": []}, "status 422"),
        ([], "status 422"),
        (b"<html>Bad Gateway</html>", "status 422"),
    ],
    ids=[
        "detail",
        "whole body",
        "fields",
        "FastAPI",
        "many fields",
        "internal",
        "nothing said",
        "no object",
        "no JSON",
    ],
)
def test_the_apis_own_words_are_told_and_the_request_is_not(body: Any, sentence: str) -> None:
    """The field and the reason; never a value of the request beyond what the API says of it."""
    assert detail(error(422, body)) == sentence


def test_an_answer_that_prefect_wraps_without_a_text_keeps_its_words() -> None:
    """404 and 409 are exceptions of their own in Prefect's client."""
    assert detail(ObjectNotFound(http_exc=error(404, {"detail": "Deployment not found"}))) == "Deployment not found"


def test_an_error_without_an_answer_is_told_by_its_text_or_kind() -> None:
    """A connection that fails has no body."""
    assert detail(httpx.ConnectError("All connection attempts failed")) == "All connection attempts failed"
    assert detail(httpx.ReadTimeout("")) == "ReadTimeout"


def test_only_wrong_credentials_are_refused_as_such() -> None:
    """A conflict is about the request."""
    told = refused(error(403, {"detail": "Forbidden"}), "http://api")
    assert str(told) == (
        "The Prefect API does not allow this with these credentials: Forbidden. Where: http://api. "
        "Next: correct PREFECT_API_AUTH_STRING (a server's user:password) or PREFECT_API_KEY (Prefect Cloud)."
    )
    assert refused(error(409, {"detail": "conflict"}), "http://api") is None
