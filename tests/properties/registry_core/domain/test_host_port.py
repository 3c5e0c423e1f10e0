"""Any host and port that are joined can be split again unchanged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.host_port import host_port, split_host_port

LABELS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,8}[A-Za-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.one_of(
    NAMES,
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: f"{address}%eth0"),
)


@given(HOSTS, st.integers(0, 65535))
def test_host_and_port_survive_a_round_trip(host: str, port: int) -> None:
    assert split_host_port(host_port(host, port)) == (host, port)


@given(st.text(st.sampled_from("[]:.a19%"), max_size=20))
def test_every_accepted_text_survives_a_round_trip(text: str) -> None:
    try:
        host, port = split_host_port(text)
    except ValueError:
        return
    if port is not None and not set(host) & set("[]"):
        assert split_host_port(host_port(host, port)) == (host, port)
