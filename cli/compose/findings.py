"""The table of findings about a fleet: each kind with its code, severity and cure."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import msgspec

from cli.compose.errors import Place
from cli.terminal import printable


class AuditSeverity(enum.Enum):
    """The severity of a finding: does not work, looks wrong, worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class AuditRule(NamedTuple):
    """A kind of finding. `cure` is a template filled in from the finding."""

    severity: AuditSeverity
    meaning: str
    cure: str


_E, _W, _I = AuditSeverity.ERROR, AuditSeverity.WARNING, AuditSeverity.INFO
KINDS: Final[dict[str, AuditRule]] = {
    "published-port": AuditRule(
        _E, "the address has the port published on the host, not the one that the target listens on", "write {right}"
    ),
    "wrong-port": AuditRule(
        _E, "the target does not listen on that port: its image is built here, and says otherwise", "write {right}"
    ),
    "port-out-of-range": AuditRule(_E, "a port is between 1 and 65535", "write {right}"),
    "unknown-target": AuditRule(
        _E, "no service, container or alias has that name", "use the name of a service in the file"
    ),
    "other-spelling": AuditRule(
        _E, "the name has '-' for '_', or the reverse; to Docker these differ", "write {right}"
    ),
    "no-shared-network": AuditRule(_E, "the target exists, but the two share no network", "put both in one network"),
    "doubtful-port": AuditRule(
        _I, "only the target's health check or a variable mentions that port", "none needed if it works"
    ),
    "unproven-port": AuditRule(
        _I,
        "nothing shows whether the target listens on that port; `ports` and `expose` neither open nor close any",
        "none needed if it works",
    ),
    "identity": AuditRule(
        _I, "a name that is compared, or that others resolve: an origin, an issuer, a public URL", "keep it as it is"
    ),
    "localhost": AuditRule(
        _W,
        "inside a container, localhost is the container itself",
        "write {right} if the container calls it, and keep it if a browser does",
    ),
    "unknown-port": AuditRule(
        _I, "the file does not say on which port the target listens", "add its port to `expose` of {target}"
    ),
    "no-port": AuditRule(_I, "a host without a port; the program chooses one", "none needed if its default is {right}"),
    "by-the-host": AuditRule(_I, "the address is on the host", "use {right} if that service is meant"),
    "outside": AuditRule(_I, "the address is outside the file", "none needed if that is intended"),
    "unset-variable": AuditRule(
        _I, "a variable without a value; the address is not known", "set it, or give a default"
    ),
    "dns-clash": AuditRule(_E, "the two names are equal in DNS, where '_' and '-' are the same", "rename one of them"),
    "container-name-twice": AuditRule(_E, "two containers have the same name", "rename one of them"),
    "bad-name": AuditRule(
        _W,
        "the name cannot be registered, and no other can be made of it",
        "give it another by the label `vertice.name`",
    ),
    "mapped-name": AuditRule(
        _I,
        "the name cannot be registered, so that the service gets another one there",
        "none needed; the label `vertice.name` chooses another name",
    ),
    "shared-host-port": AuditRule(
        _E, "two services publish the same port of the host", "publish one of them on another port"
    ),
    "replicas-host-port": AuditRule(
        _E, "several replicas publish the same port of the host", "publish no port, or a range of ports"
    ),
    "no-healthcheck": AuditRule(_W, "nothing checks whether the service is healthy", "add a `healthcheck`"),
    "health-port": AuditRule(
        _W, "the health check uses a port that is not declared", "use {right}, or declare the port"
    ),
    "depends-missing": AuditRule(_E, "it depends on a service that is not in the file", "remove it from `depends_on`"),
    "depends-cycle": AuditRule(
        _E, "services wait for each other, so that none can start", "remove one from `depends_on`"
    ),
    "env-file": AuditRule(_E, "an env file is missing, or has an invalid line", "add it, or set `required: false`"),
    "variable-required": AuditRule(_E, "a required variable is not set", "set it, or put it in `.env`"),
    "variable": AuditRule(_E, "a variable has a form that Compose does not know", "write a literal dollar as `$$`"),
    "port": AuditRule(_E, "an entry of `ports` or `expose` is not a port", "write it like {example}"),
    "include": AuditRule(_E, "an included file cannot be used", "see the message"),
    "shape": AuditRule(_E, "a list or a map has something in it that Compose refuses there", "write it like {example}"),
    "undefined-network": AuditRule(
        _E, "the service is in a network that the file does not define", "define it: {example}"
    ),
    "network-mode": AuditRule(_E, "a service has both `network_mode` and `networks`", "remove one of them"),
    "misspelt-key": AuditRule(_E, "a key that Compose refuses looks like one that it knows", "write {example}"),
    "unknown-key": AuditRule(_W, "a key that Compose refuses, or one newer than this program", "write {example}"),
    "command": AuditRule(_E, "a command has a quote that is not closed", "write {example}"),
    "project-name": AuditRule(_E, "the project is named in a way that Compose refuses", "write it like {example}"),
}


class AuditFinding(msgspec.Struct, frozen=True):
    """One finding. `variable`: its place within the service; `right`: the correct value; `evidence`: what proves it."""

    code: str
    service: str
    place: Place
    message: str
    variable: str | None = None
    right: str | None = None
    target: str | None = None
    # Overrides the severity of its kind where circumstances make it less severe.
    lighter: bool = False
    evidence: str = ""
    # How it is written where Compose takes it.
    example: str | None = None

    @property
    def severity(self) -> AuditSeverity:
        """Its severity."""
        own = KINDS[self.code].severity
        return AuditSeverity.WARNING if self.lighter and own is AuditSeverity.ERROR else own

    @property
    def cure(self) -> str:
        """What to do about it."""
        if self.right is None and KINDS[self.code].cure.startswith("write {right}"):
            return "find out which service is meant"
        right, target, example = self.right or "the right one", self.target or "it", self.example or "the example"
        return printable(KINDS[self.code].cure.format(right=right, target=target, example=f"`{example}`"))
