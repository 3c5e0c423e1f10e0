"""Names: which are allowed, why others are not, and which spellings are equal."""

from __future__ import annotations

import pytest

from registry_core.domain import names
from registry_core.errors import ValidationError


@pytest.mark.parametrize("name", ["abc", "ip_intelligence_service", "osint-service", "0ab", "a" * 62, "c2_x"])
def test_a_good_name_is_taken_as_it_is(name: str) -> None:
    assert names.check_service_name(name) == name


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("", "needs a name"),
        ("ab", "at least 3"),
        ("a" * 63, "a DNS label has at most 63"),
        ("Osint", "lower case"),
        ("_osint", "starts with"),
        ("-osint", "starts with"),
        ("os.int", "not '.'"),
        ("os int", "not ' '"),
        ("osint\n", "not '\\n'"),
        ("os\u00efnt", "not '\u00ef'"),
        ("i-0123456789ab", "reserved for"),
        ("i_0123456789ab", "reserved for"),
    ],
)
def test_an_invalid_name_is_refused_with_the_broken_rule(name: str, because: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        names.check_service_name(name)
    assert because in refusal.value.message
    assert refusal.value.field == "service_name"
    assert refusal.value.example == "ip_intelligence_service"


def test_underscore_and_hyphen_are_equal_in_names() -> None:
    assert names.label_of("ip_intel-Service") == names.label_of("ip-intel_service") == "ip-intel-service"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:DB8::0001", "2001:db8::1"),
        ("Vertice-OSINT", "vertice-osint"),
        ("vertice-edge_agent_service", "vertice-edge_agent_service"),
        ("a.example", "a.example"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::FFFF:A00:7", "10.0.0.7"),
        ("169.254.0.7", "169.254.0.7"),
    ],
)
def test_a_host_is_kept_in_canonical_form(given: str, kept: str) -> None:
    assert names.check_host(given) == kept


def test_a_name_of_63_characters_is_refused_with_the_reason_and_an_example() -> None:
    with pytest.raises(ValidationError, match=r"at most 62 .* a DNS label has at most 63 .* '_' in front") as refusal:
        names.check_service_name("a" * 63)
    assert (refusal.value.field, refusal.value.example) == ("service_name", names.NAME_EXAMPLE)
    assert names.check_known_name("a" * 63) == "a" * 63, "an earlier release registered it"
    with pytest.raises(ValidationError, match="at most 62"):
        names.check_known_name("a" * 64)


def test_a_tag_has_62_characters_at_most() -> None:
    assert names.check_tag("t" * 62) == "t" * 62
    with pytest.raises(ValidationError, match="1 to 62") as refusal:
        names.check_tag("t" * 63)
    assert refusal.value.example == "canary"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "300.1.2.3",
        "10.0.0",
        "a..b",
        "-a",
        "a b",
        "a/b",
        "a:80",
        "[::1]",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1%eth0",
        "::ffff:0.0.0.0",
        "x" * 254,
    ],
)
def test_an_unusable_host_is_refused(host: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        names.check_host(host)
    assert refusal.value.field == "host"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("fe80::1", "is another machine on each link"),
        ("FE80:0::1", "is another machine on each link"),
        ("febf::1", "is another machine on each link"),
        ("fe80::1%eth0", "makes sense on one machine only"),
        ("10.0.0.7%eth0", "makes sense on one machine only"),
    ],
)
def test_an_address_that_means_nothing_elsewhere_is_refused_with_the_reason(host: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as refusal:
        names.check_host(host)
    assert (refusal.value.provided, refusal.value.example) == (host, "10.0.0.7")
    assert "register a global or a unique local address" in refusal.value.message


def test_the_short_id_is_the_same_for_both_spellings_and_differs_by_instance() -> None:
    assert names.short_id("ip_intel", "a:1") == names.short_id("ip-intel", "a:1")
    assert names.short_id("ip_intel", "a:1") != names.short_id("ip_intel", "a:2")
    assert len(names.short_id("ip_intel", "a:1")) == names.SHORT_ID_LENGTH


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("auth", "auth"),
        ("Auth", "auth"),
        ("auth.", "auth"),
        ("Auth.vertice.internal.", "auth"),
        ("auth.VERTICE.internal", "auth"),
        ("auth.other.internal", "auth.other.internal"),
        ("vertice.internal", "vertice.internal"),
        ("", ""),
    ],
)
def test_a_name_is_found_with_capitals_and_with_the_zone(text: str, name: str) -> None:
    assert names.name_in_zone(text, "vertice.internal") == name
    assert names.name_in_zone(text, "Vertice.Internal.") == name


def test_what_is_too_long_for_a_name_is_not_remembered() -> None:
    before = names.cached_label_of.cache_info().currsize
    for number in range(10):
        assert names.label_of(f"A_{number}" * 100) == f"a-{number}" * 100
    assert names.cached_label_of.cache_info().currsize == before
