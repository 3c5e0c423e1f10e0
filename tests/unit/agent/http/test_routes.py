"""How a target is matched: exactly as it was sent."""

from __future__ import annotations

import pytest

from agent.http.routes import ROUTES, MatchedRoute, RequestTarget, matched, target_of
from registry_core.errors import ValidationError
from registry_core.security.rights import MAY, Right


def test_the_table_of_rights_names_what_every_route_needs() -> None:
    for path, rights in ROUTES.items():
        assert rights, path
        assert set(rights.values()) <= set(MAY), path
        assert rights.get("HEAD") is rights.get("GET"), path


def test_what_changes_something_is_never_open() -> None:
    for path, rights in ROUTES.items():
        for method, right in rights.items():
            if method not in ("GET", "HEAD"):
                assert right in (Right.TEND, Right.REPORT, Right.SET_LOG_LEVEL), (method, path)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/services", MatchedRoute("/services", ())),
        ("/services/a%2Fb", MatchedRoute("/services/{name}", ("a/b",))),
        ("/services/%2e%2e", MatchedRoute("/services/{name}", ("..",))),
        ("/services/..", MatchedRoute("/services/{name}", ("..",))),
        ("/check/a%2Fb/c", MatchedRoute("/check/{service}/{instance}", ("a/b", "c"))),
        ("/services/", None),
        ("/services//", None),
        ("//services", None),
        ("/services/a/b", None),
        ("/%73ervices", None),
        ("/Services", None),
        ("/services%2Fa", None),
        ("/", None),
    ],
)
def test_a_path_is_split_before_it_is_decoded(path: str, route: MatchedRoute | None) -> None:
    assert matched(path) == route


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ValidationError):
        matched("/services/%ff")


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        ("/services?tag=a?b", RequestTarget("/services")),
        ("http://evil.example/services?x", RequestTarget("/services", "evil.example")),
        ("HTTP://a:1", RequestTarget("/", "a:1")),
        ("http:///services", RequestTarget("/services", "")),
        ("http://a@b/services", RequestTarget("/services", "a@b")),
    ],
)
def test_a_target_may_name_its_host(raw: str, target: RequestTarget) -> None:
    assert target_of(raw) == target


@pytest.mark.parametrize("raw", ["*", "localhost:8880", "ftp://a/b", "services", ""])
def test_another_target_is_refused(raw: str) -> None:
    with pytest.raises(ValidationError):
        target_of(raw)
