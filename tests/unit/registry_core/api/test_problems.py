"""From errors to answers: every error of the product has a status, and reveals nothing that it should not."""

from __future__ import annotations

import msgspec
import pytest
from aiohttp import web

from registry_core import errors
from registry_core.api import problems
from registry_core.api.health import Health, judged, worst
from registry_core.api.health_settings import HealthLimits


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ValidationError("m"), 400),
        (errors.Unauthorized("m"), 401),
        (errors.Forbidden("m"), 403),
        (errors.NotFound("m"), 404),
        (problems.RequestTimeout("m"), 408),
        (errors.Conflict("m"), 409),
        (errors.Fenced("m"), 409),
        (errors.Late("m"), 409),
        (errors.AmbiguousInstance("m"), 409),
        (problems.PayloadTooLarge(), 413),
        (problems.UnsupportedMediaType("m"), 415),
        (problems.BrokenBody("m"), 400),
        (errors.StoreUnavailable("m"), 503),
        (errors.Warming("m"), 503),
        (errors.Overloaded("m"), 503),
    ],
)
def test_each_error_has_its_status_and_its_name(error: errors.VerticeError, status: int) -> None:
    assert problems.status_of(error) == status
    assert problems.problem_of(error).error == type(error).__name__


def test_an_unlisted_error_is_an_internal_one_and_reveals_nothing() -> None:
    error = errors.SettingsError("the secret is s3cret")
    assert problems.status_of(error) == 500
    assert problems.problem_of(error).message == problems.INTERNAL.message


@pytest.mark.parametrize(("wait_s", "header"), [(0.0, "1"), (0.2, "1"), (12.1, "13")])
def test_a_retryable_error_says_when_to_retry(wait_s: float, header: str) -> None:
    response = problems.error_response(errors.Warming("m", retry_after_s=wait_s))
    assert response.headers["Retry-After"] == header


@pytest.mark.parametrize(
    ("provided", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (8034, 8034),
        (10**40, str(10**40)),
        ("x" * 500, "x" * 200),
        ("a\ud800b", "a?b"),
        (["a"], "['a']"),
    ],
)
def test_the_provided_value_is_shown_in_a_serializable_form(provided: object, shown: object) -> None:
    error = errors.ValidationError("m", field="f", provided=provided)
    body = problems.error_response(error).body
    assert isinstance(body, bytes)
    assert msgspec.json.decode(body)["provided"] == shown


def test_refusals_by_aiohttp_have_the_same_shape() -> None:
    teapot = problems.aiohttp_response(web.HTTPTooManyRequests())
    assert teapot.status == 429
    assert isinstance(teapot.body, bytes)
    assert msgspec.json.decode(teapot.body)["error"] == "HttpError"


def test_health_is_that_of_the_worst_part() -> None:
    assert [judged(v, HealthLimits().cpu) for v in (None, 0.0, 69.9, 70.0, 85.0, 85.1)] == [
        Health.HEALTHY,
        Health.HEALTHY,
        Health.HEALTHY,
        Health.DEGRADED,
        Health.DEGRADED,
        Health.UNHEALTHY,
    ]
    assert worst() is Health.HEALTHY
    assert worst(Health.HEALTHY, Health.UNHEALTHY, Health.DEGRADED) is Health.UNHEALTHY
