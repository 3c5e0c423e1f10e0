"""The rules of this project that no linter checks."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dns
from tools.sources import ROOT, modules

# The modules of dnspython: a module of ours with such a name would be mistaken for it.
DNSPYTHON_MODULES = frozenset(
    [
        "asyncbackend",
        "asyncquery",
        "asyncresolver",
        "dnssec",
        "e164",
        "edns",
        "entropy",
        "enum",
        "exception",
        "flags",
        "grange",
        "immutable",
        "inet",
        "ipv4",
        "ipv6",
        "message",
        "name",
        "namedict",
        "nameserver",
        "node",
        "opcode",
        "query",
        "quic",
        "rcode",
        "rdata",
        "rdataclass",
        "rdataset",
        "rdatatype",
        "rdtypes",
        "renderer",
        "resolver",
        "reversename",
        "rrset",
        "serial",
        "set",
        "tokenizer",
        "transaction",
        "tsig",
        "tsigkeyring",
        "ttl",
        "update",
        "version",
        "versioned",
        "win32util",
        "wire",
        "xfr",
        "zone",
        "zonefile",
        "zonetypes",
    ]
)


def tracked() -> list[Path]:
    """Return every file that git tracks, or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_dns_is_our_own_package() -> None:
    assert Path(str(dns.__file__)).resolve().parent == ROOT / "dns"
    assert "dnspython" not in {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    assert {m.stem for m in (ROOT / "dns").glob("*.py")} & DNSPYTHON_MODULES == set()


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    lengths = {m.relative_to(ROOT): len(m.read_text(encoding="utf-8").splitlines()) for m in modules()}
    assert {m: n for m, n in lengths.items() if n > 400} == {}


def test_a_class_name_stands_for_one_thing() -> None:
    defined: dict[str, list[str]] = {}
    for path in tracked():
        relative = path.relative_to(ROOT)
        if path.suffix != ".py" or relative.parts[0] == "tests":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in _types(node):
                defined.setdefault(name, []).append(str(relative))
    assert {name: places for name, places in defined.items() if len(places) > 1} == {}


def _types(node: ast.stmt) -> Iterator[str]:
    """Yield the name of the class, or of the type alias, that a module defines with this statement."""
    match node:
        case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
            yield name


def test_the_locks_have_hashes_and_no_addresses() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text, lock.name
        assert not re.search(r"^\s*-{1,2}(index|extra-index|find|trusted)", text, re.MULTILINE), lock.name
        packages = re.findall(r"^[a-z0-9-]+==.*?(?=^[a-z0-9-]+==|\Z)", text, re.MULTILINE | re.DOTALL)
        assert packages, lock.name
        assert all("--hash=sha256:" in package for package in packages), lock.name


def test_the_repository_speaks_only_of_the_product() -> None:
    private = re.compile(
        r"/work/|\.\./shared/(?!fleet|tools/containers\.sh)|\bissue #?\d|DESIGN §|FACTS\.md|STYLE\.md", re.IGNORECASE
    )
    here = Path(__file__).resolve()
    for path in tracked():
        if path.resolve() == here or path.suffix in {".lock", ".png"}:
            continue
        found = private.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]!r}"


def test_a_host_and_a_port_are_joined_in_one_place() -> None:
    by_hand = re.compile(r"\{[^{}]*(host|address|target|[^a-z]ip)\w*[\]\"']*\}:\{", re.IGNORECASE)
    for module in modules():
        found = [line for line in module.read_text(encoding="utf-8").splitlines() if by_hand.search(line)]
        assert not found or module.name == "host_port.py", f"{module.relative_to(ROOT)}: {found}"


def test_the_agent_imports_neither_redis_nor_the_registry() -> None:
    check = (
        "import sys, agent.sidecar, cli.commands.agent; "
        "print([m for m in sys.modules if m.split('.')[0] == 'redis' or m in "
        "('registry_core.replica', 'registry_core.api.app', 'registry_core.store.memory')])"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout.strip() == "[]"


def test_every_package_is_installed_and_copied_into_both_images() -> None:
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("agent", "cli", "dns", "registry_core")
        for path in (ROOT / top).rglob("__init__.py")
    }
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert set(listed) == packages
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for top in {package.partition(".")[0] for package in packages}:
        assert f"!{top}" in let_in
        for recipe in ("Dockerfile.agent", "Dockerfile.registry"):
            assert f"COPY {top}/ {top}/\n" in (ROOT / recipe).read_text(encoding="utf-8"), recipe
