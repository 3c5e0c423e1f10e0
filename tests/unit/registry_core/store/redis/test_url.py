"""REGISTRY_STORE as a Redis URL: what it may contain, and one clear line for everything else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core.store.redis.url import ServerAccess, ServerAddress, redis_settings


def test_a_plain_url_names_one_server_that_needs_no_confirmation() -> None:
    found = redis_settings("redis://redis.internal")
    assert found.server == ServerAddress("redis.internal", 6379)
    assert (found.sentinels, found.masters, found.shards) == ((), (), ("main",))
    assert (found.prefix, found.replicas, found.access) == ("vertice", 0, ServerAccess())


def test_a_sentinel_url_names_the_sentinels_and_the_masters_of_all_shards() -> None:
    found = redis_settings("redis+sentinel://s1:26380,s2,[::1]:26381/?masters=a,b,c&prefix=fleet")
    assert found.server is None
    assert found.sentinels == (ServerAddress("s1", 26380), ServerAddress("s2", 26379), ServerAddress("::1", 26381))
    assert found.shards == ("a", "b", "c")
    assert (found.prefix, found.replicas) == ("fleet", 1)


def test_credentials_are_decoded_and_never_shown() -> None:
    found = redis_settings("redis+sentinel://me:p%40ss%3a@s1/2?masters=a&sentinel_user=su&sentinel_password=s%26p")
    assert found.access == ServerAccess("me", "p@ss:", db=2)
    assert found.sentinel_access == ServerAccess("su", "s&p")
    assert "p@ss" not in repr(found)
    assert "s&p" not in repr(found)


def test_a_password_without_a_user_is_for_the_default_user() -> None:
    assert redis_settings("redis://:secret@h:7000").access == ServerAccess(None, "secret")


def test_tls_applies_to_redis_and_sentinels() -> None:
    found = redis_settings("rediss+sentinel://s1/?masters=a&ca=/etc/ca.pem")
    assert found.access == found.sentinel_access == ServerAccess(tls=True, ca_file="/etc/ca.pem")
    assert redis_settings("rediss://h").access.tls


def test_a_certificate_is_presented_to_redis_and_sentinels() -> None:
    found = redis_settings("rediss+sentinel://s1/?masters=a&cert=/c.pem&key=/k.pem&sentinel_password=p")
    assert found.access == ServerAccess(tls=True, cert_file="/c.pem", key_file="/k.pem")
    assert found.sentinel_access == ServerAccess(password="p", tls=True, cert_file="/c.pem", key_file="/k.pem")


def test_the_number_of_confirming_replicas_can_be_set() -> None:
    assert redis_settings("redis://h/?replicas=1").replicas == 1
    assert redis_settings("redis+sentinel://h/?masters=a&replicas=0").replicas == 0


def test_the_early_repointing_of_replicas_can_be_turned_off() -> None:
    assert redis_settings("redis+sentinel://h/?masters=a").hasten
    assert not redis_settings("redis+sentinel://h/?masters=a&hasten=no").hasten


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    assert str(redis_settings("redis://[fd00::1]:7000").server) == "[fd00::1]:7000"
    assert str(ServerAddress("h", 1)) == "h:1"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "does not start with"),
        ("http://h", "does not start with redis://, rediss://"),
        ("redis:h", "does not start with"),
        ("redis://", "names no server"),
        ("redis://h:port", "not host:port"),
        ("redis://h:0", "0 is not a port"),
        ("redis://h:65536", "'65536' is not a port"),
        ("redis://h1,h2", "not host:port"),
        ("redis://::1", "not host:port"),
        ("redis://user@h", "before the @"),
        ("redis://user:@h", "password before the @ is empty"),
        ("redis://h/one", "number of a database"),
        ("redis://h/?masters=a", "unknown option masters=; known options: ca, cert, key, prefix, replicas"),
        ("redis://h/?prefx=a", "unknown option prefx="),
        ("redis://h/?prefix", "name=value"),
        ("redis://h/?prefix=", "prefix= is empty"),
        ("redis://h/?prefix=a&prefix=b", "prefix= occurs twice"),
        ("redis://h/?prefix=a:b", "prefix= is 1 to 64"),
        ("redis://h/?prefix=" + "p" * 65, "prefix= is 1 to 64"),
        ("redis://h/?replicas=2", "replicas= is 0 or 1"),
        ("redis://h/?ca=/ca.pem", "ca= is for rediss"),
        ("redis://h/?cert=/c.pem", "cert= is for rediss"),
        ("redis://h/?key=/k.pem", "key= is for rediss"),
        ("rediss://h/?key=/k.pem", "key= needs cert="),
        ("redis://h/#a", "%23"),
        ("redis+sentinel://s1", "masters= is missing"),
        ("redis+sentinel://s1/?masters=a&hasten=maybe", "hasten= is yes or no"),
        ("redis+sentinel://s1/?masters=,", "masters= is missing"),
        ("redis+sentinel://s1/?masters=a b", "'a b' in masters="),
        ("redis+sentinel://s1/?masters=a,a", "twice"),
        ("redis+sentinel://s1,s1/?masters=a", "a Sentinel occurs twice"),
        ("redis+sentinel://s1,/?masters=a", "names no server"),
        ("redis+sentinel://s1/?masters=a&sentinel_user=u", "needs sentinel_password="),
        ("redis+sentinel://s1/?masters=" + ",".join(f"m{n}" for n in range(65)), "more than 64"),
        ("redis+sentinel://" + ",".join(f"s{n}" for n in range(16)) + "/?masters=a", "more than 15"),
    ],
)
def test_an_error_is_one_line(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("(", r"\(").replace("+", r"\+")) as error:
        redis_settings(url)
    assert "\n" not in str(error.value)


@given(st.text(max_size=60), st.sampled_from(["redis://", "rediss://", "redis+sentinel://", ""]))
def test_any_text_is_read_or_refused_with_a_reason(text: str, scheme: str) -> None:
    try:
        redis_settings(scheme + text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - no error is as good


def test_reading_the_url_does_not_import_redis() -> None:
    check = "import sys, registry_core.store.redis.url; print('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "False\n"
