"""avahi, an unmodified DNS-SD client, browses the zone: the types of services, their instances, and what each has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import wait_until
from tests.scenarios.judged import ZONE, Judged, claim, judged, own_network

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={bus}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
"""
AVAHI = "[server]\nuse-ipv6=no\n[wide-area]\nenable-wide-area=yes\n[publish]\ndisable-publishing=yes\n"


class Browser:
    """avahi-browse, by a daemon that asks the agent."""

    def __init__(self, system: Judged, bus: Path) -> None:
        self.system = system
        self.bus = bus

    def browse(self, *words: str) -> set[tuple[str, ...]]:
        """Return what avahi-browse prints for programs (-p): the fields after the interface and the protocol."""
        at = f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self.bus}"
        out = self.system.run("env", at, "timeout", "20", "avahi-browse", "-d", ZONE, "-pt", *words)
        return {tuple(line.split(";")[3:]) for line in out.splitlines() if line[:1] == "=" or "-r" not in words}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("avahi")
    bus, bus_conf, avahi_conf = folder / "bus", folder / "bus.conf", folder / "avahi.conf"
    bus_conf.write_text(BUS.format(bus=bus))
    avahi_conf.write_text(AVAHI)
    # Its file of the process stands in /run, where this machine's own may be.
    avahi = f"mount -t tmpfs tmpfs /run && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {avahi_conf}"
    files = {"resolv_conf": f"nameserver 127.0.0.1\nsearch {ZONE}\n", "nsswitch_conf": "hosts: files dns\n"}
    with own_network(folder, **files) as network, judged(folder, network) as system:
        system.register(
            claim("billing", "10.0.0.1", version="1.4.2", metadata={"path": "/app"}),
            claim("billing", "10.0.0.2") | {"instance_id": "web-2"},
            claim("syslog", "10.0.0.9", 5140, protocol="udp"),
        )
        with system.program("dbus-daemon", f"--config-file={bus_conf}", "--nofork", "--nopidfile", log="bus.log"):
            wait_until(bus.exists, "the bus is there")
            at = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
            with system.program("sh", "-c", avahi, log="avahi.log", env=at) as daemon:
                wait_until(lambda: "startup complete" in daemon.output(), "avahi is up")
                yield Browser(system, bus)


def test_avahi_finds_each_instance_of_every_service_with_its_host_port_and_text(browser: Browser) -> None:
    found = {(one[0], one[1], *one[4:7]) for one in browser.browse("-a", "-r")}
    assert found == {
        (r"10\.0\.0\.1\0588034", "_billing._tcp", "10.0.0.1", "8034", '"path=/app" "version=1.4.2"'),
        ("web-2", "_billing._tcp", "10.0.0.2", "8034", ""),
        (r"10\.0\.0\.9\0585140", "_syslog._udp", "10.0.0.9", "5140", ""),
    }


def test_avahi_browses_one_type(browser: Browser) -> None:
    assert {one[0] for one in browser.browse("-r", "_syslog._udp")} == {r"10\.0\.0\.9\0585140"}


def test_avahi_is_told_which_domain_to_browse(browser: Browser) -> None:
    assert browser.browse("-D") == {(ZONE,)}
