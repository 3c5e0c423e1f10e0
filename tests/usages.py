"""Wrong usages of the `vertice` program: words, addresses, answers of servers, settings and files.

Each usage ends at once with its exit code and one line on standard error, and leaves nothing written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from agent.settings.table import TABLE
from cli.command_tree import leaves
from cli.exit_codes import FAILED, USAGE
from registry_core.replica_settings import SETTINGS
from registry_core.settings import Setting

NASTY: Final = "\x1b[2J\nsecond line\u202e"
GOOD: Final = "services:\n  web: {image: x, ports: ['8000:80']}\n  api: {image: x, expose: [9000]}\n"
# What stands where FILE is required.
FILES: Final[Mapping[str, bytes]] = {
    "good.yml": GOOD.encode(),
    "empty": b"",
    "binary": bytes(range(256)) * 8,
    "latin1.yml": "services: {caf\xe9: {image: x}}\n".encode("latin-1"),
    "nul.yml": b"services: {web: {image: 'a\0b'}}\n",
    "list.yml": b"- services\n- web\n",
    "scalar.yml": b"services: 42\n",
    "open.yml": b"services: {web: [\n",
    "tabs.yml": b"services:\n\tweb: {image: x}\n",
    "python.yml": b"services: {web: !!python/object/apply:os.system ['touch pwned']}\n",
    "deep.yml": b"services: " + b"[" * 20_000 + b"]" * 20_000 + b"\n",
    "bomb.yml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 107))
    + b"services: *j\n",
    "itself.yml": b"services: &s {web: *s}\n",
    "twice.yml": b"services: {web: {image: x}}\nservices: {web: {image: y}}\n",
    "extends.yml": b"services: {a: {extends: b}, b: {extends: a}}\n",
    "variable.yml": b"services: {web: {image: '${UNCLOSED'}}\n",
    "typed.yml": b"services: {web: {ports: {a: b}, environment: 7, networks: 9, depends_on: 3}}\n",
    "no-header.snapshot": b'{"service_name": "x"}\n',
    "other.snapshot": b'{"format": "something else", "version": 1}\n',
    "cut.snapshot": b'{"format": "vertice-snapshot", "version": 1, "count": 9}\n{"service',
    "list.toml": b"service = 3\n",
    "syntax.toml": b"[agent\n",
    "unknown.toml": b"[agent]\nhttp_lissten = ':1'\n",
    "typed.toml": b"[agent]\nhttp_listen = [1, 2]\n",
    "table.toml": b"[agent.http_listen]\nx = 1\n",
    "nested.toml": b"x = " + b"[" * 5_000 + b"]" * 5_000 + b"\n",
    "service.toml": b"[[service]]\nname = 3\nport = 'x'\n",
    "latin1.toml": "[agent]\nzone = 'caf\xe9'\n".encode("latin-1"),
    "date.toml": b"[agent]\nzone = 2024-01-01\n",
}
FOLDER: Final = "a-folder"


class Usage(NamedTuple):
    """One wrong usage, the exit code that it has, and a part of the line that it prints."""

    argv: tuple[str, ...]
    code: int
    said: str = ""
    environment: Mapping[str, str] = {}
    stdin: str = ""

    @property
    def name(self) -> str:
        """Its name in a report."""
        environment = [f"{name}={value[:40]!r}" for name, value in self.environment.items()]
        return " ".join([*environment, "vertice", *(repr(word[:60]) for word in self.argv)])


def usages(servers: Mapping[str, int]) -> Iterator[Usage]:
    """Return all of them. `servers` are the ports of the misbehaving servers, by name."""
    yield from _words()
    yield from _addresses()
    yield from _answers(servers)
    yield from _settings()
    yield from _compose_files()
    yield from _other_files()


# -- words

# For each command, the words that are right apart from what is added.
RIGHT: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("resolve",): ("billing",),
    ("explain",): ("billing",),
    ("drain",): ("billing",),
    ("snapshot", "save"): ("out",),
    ("snapshot", "restore"): ("no-header.snapshot",),
    ("compose", "audit"): ("good.yml",),
    ("compose", "inject"): ("good.yml",),
    ("compose", "eject"): ("good.yml",),
    ("compose", "rewrite"): ("good.yml", "--recipe", "netns"),
    ("migrate", "plan"): ("good.yml",),
    ("migrate", "status"): ("good.yml",),
}
WRONG: Final[tuple[tuple[str, ...], ...]] = (
    ("--nosuch",),
    ("--nosuch=1",),
    ("-Z",),
    ("--help=1",),
    ("x", "y", NASTY, "-"),
    ("--", "--a", "b"),
)
MANY_FILES: Final = (("compose", "audit"), ("migrate", "plan"), ("migrate", "status"))
LINES: Final[tuple[tuple[str, ...], ...]] = (
    ("resolve",),
    ("explain",),
    ("drain",),
    ("snapshot", "save"),
    ("snapshot", "restore"),
    ("compose", "audit"),
    ("compose", "inject"),
    ("migrate", "plan"),
    ("services", "--agent"),
    ("services", "-o"),
    ("services", "-o", "xml"),
    ("services", "-o", ""),
    ("resolve", "billing", "-o", "yaml"),
    ("drain", "billing/"),
    ("drain", "/10.0.0.7:8034"),
    ("maintenance", "on", "/"),
    ("maintenance", "on", "billing/"),
    ("resolve", "../self"),
    ("explain", "billing/a"),
    ("watch", "billing/a"),
    ("drain", "billing", "--timeout", "soon"),
    ("drain", "billing", "--timeout", "-1"),
    ("drain", "billing", "--timeout", "nan"),
    ("migrate", "plan", "good.yml", "--pilot", "-3"),
    ("migrate", "plan", "good.yml", "--pilot", "1e3"),
    ("migrate", "plan", "good.yml", "--wave-size", "0"),
    ("migrate", "plan", "good.yml", "--by", "luck"),
    ("migrate", "plan", "good.yml", "--zone", "a b"),
    ("compose", "audit", "good.yml", "--zone", "-"),
    ("compose", "inject", "good.yml", "--recipe", "host"),
    ("compose", "inject", "good.yml", "--recipe", "cake"),
    ("compose", "inject", "good.yml", "--image", ""),
    ("compose", "inject", "good.yml", "--image", "\udcff"),
    ("compose", "inject", "good.yml", "--memory", "lots"),
    ("compose", "inject", "good.yml", "--cpus", "-1"),
    ("compose", "inject", "good.yml", "--registry", "foo"),
    ("compose", "inject", "good.yml", "--registry", "http://nosuch:1"),
    ("compose", "inject", "good.yml", "--forward", "x"),
    ("compose", "inject", "good.yml", "--service", "nosuch"),
    ("compose", "inject", "good.yml", "--service", NASTY),
    ("compose", "inject", "good.yml", "--write", "--diff"),
    ("compose", "inject", "good.yml", "--to", ""),
    ("compose", "rewrite", "good.yml"),
    ("compose", "rewrite", "good.yml", "--override", "nosuch"),
    ("dev", "--check", "nosuch.yml"),
    ("dev", "--dns-port", "0", "good.yml"),
    ("dev", "--dns-port", "65536", "good.yml"),
    ("dev", "--registry-port", "eight", "good.yml"),
    ("agent", "--http-listen", "x"),
    ("agent", "--http-listen", "127.0.0.1:99999"),
    ("agent", "--dns-listen", ""),
    ("registry", "--listen", "[::1"),
    ("registry", "--listen", "\udcff:1"),
)


def _words() -> Iterator[Usage]:
    yield Usage((), USAGE)
    for word in ("", "nosuch", "servces", "-x", "--nosuch", "--version=3", NASTY, "\udcff"):
        yield Usage((word,), USAGE)
    for group in ("compose", "guard", "snapshot", "migrate", "maintenance"):
        yield Usage((group,), USAGE)
        for word in ("", "nosuch", "--nosuch", "-h1", "é" * 300):
            yield Usage((group, word), USAGE)
    for leaf in leaves():
        right = RIGHT.get(leaf.words, ())
        for wrong in WRONG:
            if leaf.words not in MANY_FILES or wrong[0] not in ("x", "--"):
                yield Usage((*leaf.words, *right, *wrong), USAGE)
    for words in LINES:
        yield Usage(words, USAGE)


# -- addresses

ADDRESSES: Final = (
    "",
    " ",
    "foo",
    "http://",
    "http://:80",
    "http://[::1",
    "http://a b/",
    "http://u:p@127.0.0.1:1",
    "ftp://127.0.0.1",
    "127.0.0.1:99999",
    "127.0.0.1:x",
    "http://127.0.0.1:1/?x=1",
    "http://" + "a" * 64 + ".example",
    "http://a..b:1",
    "\udcff:1",
    "http://127.0.0.1:1\n2",
    NASTY,
)
ASK_AGENT: Final[tuple[tuple[str, ...], ...]] = (
    ("services",),
    ("resolve", "billing"),
    ("explain", "billing"),
    ("drain", "billing"),
    ("status",),
    ("maintenance", "status"),
    ("maintenance", "off", "billing"),
)
ASK_REGISTRY: Final[tuple[tuple[str, ...], ...]] = (
    ("guard", "status"),
    ("guard", "release"),
    ("snapshot", "save", "out"),
    ("snapshot", "restore", "good.snapshot"),
    ("migrate", "status", "good.yml"),
)


def _addresses() -> Iterator[Usage]:
    for at, address in enumerate(ADDRESSES):
        # Each address at two commands of each kind, in turn.
        for words in (ASK_AGENT[at % 7], ASK_AGENT[(at + 3) % 7]):
            yield Usage((*words, f"--agent={address}"), USAGE)
        yield Usage((*ASK_REGISTRY[at % 3], f"--registry={address}"), USAGE)
    for value in ("x", "127.0.0.1", "127.0.0.1:-1", "\udcff", "[::1"):
        yield Usage(("services",), USAGE, "AGENT_HTTP_LISTEN", {"AGENT_HTTP_LISTEN": value})
    for value in ("x", "http://", "http://u:p@a", "http://a,\x01"):
        yield Usage(("guard", "status"), USAGE, "REGISTRY_URL", {"REGISTRY_URL": value})
    for value in ("a b", "é", "a\nb", "\x7f", "\udcff"):
        yield Usage(("guard", "release"), USAGE, "VERTICE_REGISTRY_TOKEN", {"VERTICE_REGISTRY_TOKEN": value})


# -- answers of servers

ANSWERS: Final[Mapping[str, bytes]] = {
    "closes": b"",
    "garbage": b"\0\xff\xfe garbage\r\n\r\n",
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<html>hi</html",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "object": b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"a": [1, {"b": 2}]} ',
    "null": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
    "number": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42",
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
    "bytes": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc",
    "cut": b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"message": "billing"}',
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[1,2",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n",
    "status": b"HTTP/1.1 9999 Odd\r\n\r\n",
    "broken": b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<h1>5</h1",
    "moved": b"HTTP/1.1 302 Found\r\nLocation: http://example.invalid/\r\nContent-Length: 0\r\n\r\n",
    "denied": b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 23\r\n\r\n{"message": "no token"}',
    "escapes": b'HTTP/1.1 500 E\r\nContent-Length: 42\r\n\r\n{"message": "\\u001b[2J\\nsecond \\u202e line"}',
    "headers": b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 300 + b"\r\n",
    "line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 200,
}
REFUSES: Final = "refuses"  # nothing listens there


def _answers(servers: Mapping[str, int]) -> Iterator[Usage]:
    for name, port in servers.items():
        for words in ASK_AGENT:
            yield Usage((*words, "--agent", f"127.0.0.1:{port}"), FAILED, "", {"WHICH": name})
        for words in ASK_REGISTRY[:3] + ASK_REGISTRY[4:]:
            yield Usage((*words, "--registry", f"http://127.0.0.1:{port}/"), FAILED, "", {"WHICH": name})
    for words in ASK_AGENT:
        yield Usage((*words, "--agent", "http://nosuch.invalid:8880"), FAILED)


# -- settings

VALUES: Final = (
    "\udcff",
    "-1",
    "x\x1b[2J",
    "nan",
    "1e999",
    "[",
    "{",
    ",,,",
    "é" * 400,
    "http://[",
    "99999999999999",
    "'",
)


def _settings() -> Iterator[Usage]:
    for command, table in (("agent", TABLE), ("registry", SETTINGS)):
        for setting in table:
            for value in _refused(setting):
                yield Usage((command,), USAGE, setting.name, {setting.name: value})
    for name in ("AGENT_HTP_LISTEN", "SERVICE_PORTT"):
        yield Usage(("agent",), USAGE, name, {name: "1"})
    yield Usage(("registry",), USAGE, "REGISTRY_LISTE", {"REGISTRY_LISTE": "1"})


def _refused(setting: Setting[Any]) -> list[str]:
    """Return up to two values that the reader of a setting refuses."""
    found = []
    for value in VALUES:
        try:
            setting.read(value)
        except ValueError:
            found.append(value)
        except Exception:  # noqa: BLE001 - it is what the test is about
            found.insert(0, value)
    return found[:2]


# -- files


def _compose_files() -> Iterator[Usage]:
    read_all_the_same = ("good.yml", "twice.yml", "typed.yml", "variable.yml", "python.yml", "extends.yml")
    bad = [name for name in FILES if name.endswith(".yml") and name not in read_all_the_same]
    bad += ["empty", "binary", "nosuch.yml", FOLDER, "/dev/null", "/dev/zero", "a-pipe", "\udcff.yml", NASTY]
    bad += ["x" * 5000]
    commands: tuple[tuple[str, ...], ...] = (
        ("compose", "audit"),
        ("compose", "inject"),
        ("compose", "rewrite"),
        ("migrate", "plan"),
        ("dev", "--check"),
    )
    for at, name in enumerate(bad):
        for words in (commands[at % 5], commands[(at + 2) % 5]):
            more = ("--recipe", "netns") if words[-1] == "rewrite" else ()
            yield Usage((*words, name, *more), USAGE)
    for name in ("python.yml", "extends.yml", "typed.yml", "twice.yml"):
        yield Usage(("compose", "inject", name), USAGE)
    for where in (FOLDER, "nosuch/out.yml", "/dev/full", "/proc/out.yml", "\udcff/x", "x" * 300):
        yield Usage(("compose", "inject", "good.yml", "--to", where), FAILED)
    yield Usage(("compose", "inject", "good.yml", "--to", "good.yml"), USAGE)
    yield Usage(("compose", "rewrite", "good.yml", "--recipe", "netns", "--to", "empty"), USAGE)


def _other_files() -> Iterator[Usage]:
    for name in ("empty", "binary", "no-header.snapshot", "other.snapshot", "cut.snapshot", "good.yml", "/dev/zero"):
        yield Usage(("snapshot", "restore", name, "--registry", "127.0.0.1:1"), USAGE)
    for name in ("nosuch", FOLDER, "\udcff"):
        yield Usage(("snapshot", "restore", name, "--registry", "127.0.0.1:1"), USAGE)
    for text in ("", "[]", "\udcff", '{"format": 1}', "x" * 100_000):
        yield Usage(("snapshot", "restore", "-", "--registry", "127.0.0.1:1"), USAGE, stdin=text)
    for name in (
        *(name for name in FILES if name.endswith(".toml")),
        "binary",
        "nosuch.toml",
        FOLDER,
        "/dev/zero",
        "a-pipe",
    ):
        yield Usage(("agent", "--config", name), USAGE)
    for name in ("list.toml", "nosuch.toml", FOLDER):
        yield Usage(("agent",), USAGE, environment={"AGENT_CONFIG": name})
        yield Usage(("agent",), USAGE, environment={"AGENT_STATIC_FILE": name})
