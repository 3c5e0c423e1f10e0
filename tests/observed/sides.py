"""Faults of programs beside the deployment: a registry with one fault of its own, and what goes with it.

Each is watched while it lasts, and forgotten after it has healed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cli.ca.authority_folder import AuthorityFolder
from cli.ca.authority_work import make_authority
from tests.authorities import DOMAIN, PASSPHRASE
from tests.certificates import Authority
from tests.observed.deployment import Restartable, agent, replica
from tests.observed.faults import ObservedFault, Scene
from tests.programs import wait_until
from tests.scenarios.system import get_json, health_of

MEMORY: Final = "memory:"
ONE_DISK: Final = "256k"
OTHER_VERSION: Final = (sys.executable, "-m", "tests.observed.other_version")


def _post(url: str, body: Mapping[str, Any], **headers: str) -> int:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _register(at: Restartable, count: int, first_port: int = 7000) -> None:
    for port in range(first_port, first_port + count):
        body = {"service_name": f"side-{port}", "host": "127.0.0.1", "port": port}
        assert _post(f"{at.url}/register", body) in (200, 201)


def _is_healthy(at: Restartable) -> bool:
    with contextlib.suppress(OSError):
        return bool(health_of(at.url)["status"] == "healthy")
    return False


@contextlib.contextmanager
def _watched(scene: Scene, job: str, program: Restartable, *, scheme: str = "http") -> Iterator[Restartable]:
    """Run a program and scrape it, until its alerts have ended."""
    program.start()
    scene.prometheus.watch(job, program.at, __scheme__=scheme)
    try:
        yield program
    finally:
        scene.after(lambda: scene.prometheus.forget(program.at), program.stop)


@contextlib.contextmanager
def registry_warming(scene: Scene) -> Iterator[None]:
    """Start a registry without a store, which knows nothing and says so; then one that says it at once."""
    side = replica(scene.folder, "warming", MEMORY, {"REGISTRY_WARMING": "3600"})
    with _watched(scene, "registry", side):
        yield
        side.stop()
        side.change({"REGISTRY_WARMING": "0"})
        side.start()


@contextlib.contextmanager
def agent_cannot_tell(scene: Scene) -> Iterator[None]:
    """Start an agent without a registry and without a snapshot, and ask it; then start its registry."""
    registry = replica(scene.folder, "absent", MEMORY, {"REGISTRY_WARMING": "0"})
    lost, _ = agent(scene.folder, "lost", "", [registry.url], {})
    with _watched(scene, "agent", lost):
        with scene.asking(f"{lost.url}/resolve/billing"):
            yield
            registry.start()
            wait_until(lambda: _is_healthy(lost), "it follows", timeout_s=30)
            scene.until_ended("AgentCannotTell")
        scene.after(registry.stop)


@contextlib.contextmanager
def snapshot_held_back(scene: Scene) -> Iterator[None]:
    """Restart a registry without a store, so that an agent is sent a view without all that it knew."""
    registry = replica(scene.folder, "forgetful", MEMORY, {"REGISTRY_WARMING": "0", "REGISTRY_LEASE_TTL": "600"})
    registry.start()
    _register(registry, 20)
    careful, _ = agent(scene.folder, "careful", "", [registry.url], {})
    with _watched(scene, "agent", careful):
        wait_until(lambda: len(get_json(f"{careful.url}/services")) == 20, "it knows all", timeout_s=20)
        registry.kill()
        registry.start()
        yield
        _register(registry, 20)
        scene.after(registry.stop)


@contextlib.contextmanager
def writes_refused(scene: Scene) -> Iterator[None]:
    """Send a registry writes with a wrong secret alone; then some with the right one."""
    right = "right-secret-of-the-fleet"
    registry = replica(scene.folder, "strict", MEMORY, {"REGISTRY_AUTH": "on", "REGISTRY_SECRET": right})
    with _watched(scene, "registry", registry):
        body = {"service_name": "mail", "host": "127.0.0.1", "port": 7000}
        for _ in range(20):
            assert _post(f"{registry.url}/register", body, **{"X-Registry-Token": "another-secret-entirely"}) == 401
        yield
        assert _post(f"{registry.url}/register", body, **{"X-Registry-Token": right}) in (200, 201)


def _pem_for(authority: Authority, days: int, name: str) -> Path:
    made = authority.issue("IP:127.0.0.1", "DNS:localhost", days=days)
    path = made.cert.with_name(f"{name}.pem")
    path.write_bytes(made.cert.read_bytes() + made.key.read_bytes())
    return path


@contextlib.contextmanager
def certificate_ends(scene: Scene) -> Iterator[None]:
    """Give a registry a certificate that ends soon; then one that does not."""
    authority = Authority(scene.folder / "tls")
    short, long = (_pem_for(authority, days, name) for days, name in ((2, "short"), (60, "long")))
    used = scene.folder / "used.pem"
    shutil.copy(short, used)
    side = replica(scene.folder, "ending", MEMORY, {"REGISTRY_TLS_CERT": str(used)})
    with _watched(scene, "registry", side, scheme="https"):
        yield
        _replaced(long, used)
        scene.until_ended("RegistryCertificateEnds")


@contextlib.contextmanager
def tls_files_unusable(scene: Scene) -> Iterator[None]:
    """Put garbage in the place of a registry's certificate; then the certificate again."""
    authority = Authority(scene.folder / "tls")
    good = _pem_for(authority, 60, "good")
    used, garbage = scene.folder / "used.pem", scene.folder / "garbage.pem"
    shutil.copy(good, used)
    garbage.write_text("no certificate\n")
    side = replica(scene.folder, "garbled", MEMORY, {"REGISTRY_TLS_CERT": str(used)})
    with _watched(scene, "registry", side, scheme="https"):
        _replaced(garbage, used)
        yield
        _replaced(good, used)
        scene.until_ended("RegistryTlsFilesUnusable")


def _replaced(source: Path, target: Path) -> None:
    whole = target.with_suffix(".new")
    shutil.copy(source, whole)
    whole.replace(target)


@contextlib.contextmanager
def certificates_end(scene: Scene) -> Iterator[None]:
    """Run an authority that ends within a week and issues certificates for an hour; then one for years and months."""
    soon, later = (AuthorityFolder(scene.folder / name) for name in ("soon", "later"))
    for authority, days in ((soon, 7.0), (later, 365.0)):
        make_authority(authority, DOMAIN, PASSPHRASE, time.time(), days=days)
    settings = {"REGISTRY_TRUST_DOMAIN": DOMAIN.trust_domain, "REGISTRY_WARMING": "0"}
    registry = replica(scene.folder, "authority", MEMORY, {**settings, **_issues(soon, "1h")})
    folder = scene.folder / "certificates"
    holder, _ = agent(scene.folder, "holder", "billing", [registry.url], {"AGENT_CERT_DIR": str(folder)})
    with _watched(scene, "registry", registry), _watched(scene, "agent", holder):
        wait_until((folder / "billing.crt").exists, "it has a certificate", timeout_s=30)
        yield
        holder.stop()
        registry.stop()
        shutil.rmtree(folder)
        registry.change(_issues(later, "720h"))
        registry.start()
        holder.start()


def _issues(authority: AuthorityFolder, lifetime: str) -> dict[str, str]:
    return {
        "REGISTRY_CA_CERT": str(authority.replicas.cert),
        "REGISTRY_CA_KEY": str(authority.replicas.key),
        "REGISTRY_CERT_LIFETIME": lifetime,
    }


@contextlib.contextmanager
def audit_disk_full(scene: Scene) -> Iterator[None]:
    """Fill the disk of a registry's audit log; then empty it."""
    disk = scene.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ONE_DISK}", "tmpfs", str(disk)], check=True, timeout=10)
    scene.after(lambda: subprocess.run(["umount", "--lazy", str(disk)], check=True, timeout=10))
    side = replica(scene.folder, "full", MEMORY, {"REGISTRY_AUDIT": str(disk / "audit"), "REGISTRY_WARMING": "0"})
    with _watched(scene, "registry", side):
        _register(side, 3)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        _register(side, 200, 8000)
        yield
        filler.unlink()
        scene.until_ended("AuditNotWritten")


@contextlib.contextmanager
def audit_cut_short(scene: Scene) -> Iterator[None]:
    """Put an older copy of a replica's audit log back, which its peers have signed more of; then begin a new one."""
    victim = scene.deployment.replicas[1]
    log, copy = scene.deployment.folder / f"{victim.name}-audit", scene.folder / "copy"
    lines = 'registry_audit_countersigned_lines{instance="' + victim.at + '"}'
    victim.kill()
    shutil.copytree(log, copy)
    # Of the next life: what Prometheus has until then is of the one before.
    victim.start()
    copied = sum(len(segment.read_bytes().splitlines()) for segment in copy.glob("*.jsonl"))
    wait_until(
        lambda: (scene.prometheus.value(lines) or 0) > copied + 5,
        "its peers have signed more",
        timeout_s=90,
        every_s=0.5,
    )
    victim.kill()
    shutil.rmtree(log)
    shutil.copytree(copy, log)
    victim.start()
    yield
    victim.kill()
    shutil.rmtree(log)
    victim.change({"REGISTRY_AUDIT_NAME": f"{victim.name}-anew"})
    victim.start()


@contextlib.contextmanager
def task_dies(scene: Scene) -> Iterator[None]:
    """Run a registry one of whose background tasks dies at each start; then one whose does not."""
    file = scene.folder / "dies"
    program = (sys.executable, "-m", "tests.observed.failing_task", str(file))
    side = replica(scene.folder, "failing", MEMORY, {"REGISTRY_WARMING": "0"}, vertice=program)
    with _watched(scene, "registry", side):
        restarts = 'registry_background_restarts_total{instance="' + side.at + '",task="sync"}'
        wait_until(lambda: scene.prometheus.value(restarts) == 0, "it is watched", timeout_s=30, every_s=0.2)
        file.touch()
        yield
        file.unlink()


@contextlib.contextmanager
def two_versions(scene: Scene) -> Iterator[None]:
    """Run an agent of another version."""
    urls = [each.url for each in scene.deployment.replicas]
    other, _ = agent(scene.folder, "other", "auth", urls, {}, vertice=OTHER_VERSION)
    with _watched(scene, "agent", other):
        yield
        other.stop()


SIDES: Final[tuple[ObservedFault, ...]] = (
    ObservedFault("registry warming", registry_warming, ("RegistryWarming",)),
    ObservedFault("agent knows nothing", agent_cannot_tell, ("AgentCannotTell",)),
    ObservedFault("snapshot held back", snapshot_held_back, ("AgentHoldsBackASnapshot",)),
    ObservedFault("writes refused", writes_refused, ("RegistryRefusesAllWrites",)),
    ObservedFault("certificate of a registry ends", certificate_ends, ("RegistryCertificateEnds",)),
    ObservedFault("TLS files unusable", tls_files_unusable, ("RegistryTlsFilesUnusable",)),
    ObservedFault("authority and its certificates end", certificates_end, ("AuthorityEnds", "AgentCertificateEnds")),
    ObservedFault("disk of an audit log full", audit_disk_full, ("AuditNotWritten",)),
    ObservedFault("audit log cut short", audit_cut_short, ("AuditDisputed",)),
    ObservedFault("background task dies", task_dies, ("BackgroundTaskDies",)),
    ObservedFault("agents of two versions", two_versions, ("AgentsOfTwoVersions",)),
)
