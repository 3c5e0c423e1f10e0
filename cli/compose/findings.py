"""What can be found wrong with a fleet: each kind with its code, its weight and its cure, in one table."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import msgspec

from cli.compose.errors import Place, printable


class AuditSeverity(enum.Enum):
    """How much a finding matters: does not work, looks wrong, is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class AuditRule(NamedTuple):
    """A kind of finding. `cure` is filled in with what the finding knows."""

    severity: AuditSeverity
    meaning: str
    cure: str


_E, _W, _I = AuditSeverity.ERROR, AuditSeverity.WARNING, AuditSeverity.INFO
KINDS: Final[dict[str, AuditRule]] = {
    "published-port": AuditRule(
        _E, "the address names the port that the host shows, not the one that the target listens on", "write {right}"
    ),
    "wrong-port": AuditRule(_E, "the address names a port on which the target does not listen", "write {right}"),
    "port-out-of-range": AuditRule(_E, "there are no ports above 65535, nor port 0", "write {right}"),
    "unknown-target": AuditRule(_E, "no service, container or alias has that name", "name a service of the file"),
    "other-spelling": AuditRule(
        _E, "to Docker '_' and '-' are two letters, and the name has the other one", "write {right}"
    ),
    "no-shared-network": AuditRule(_E, "the target exists, and the two share no network", "put both into one network"),
    "doubtful-port": AuditRule(
        _W, "only the target's health check or a variable speaks of that port", "add the port to `expose` of {target}"
    ),
    "unproven-port": AuditRule(
        _W, "the target says of no such port, though it declares none at all", "add its ports to `expose` of {target}"
    ),
    "localhost": AuditRule(_W, "inside a container, localhost is the container itself", "write {right}"),
    "unknown-port": AuditRule(
        _I, "nothing says on which port the target listens", "add its port to `expose` of {target}"
    ),
    "no-port": AuditRule(_I, "a host without a port: the program decides", "nothing, if its own default is {right}"),
    "by-the-host": AuditRule(_I, "the address goes out to the host", "call {right} if that is who is meant"),
    "outside": AuditRule(_I, "the address is of somebody outside of the file", "nothing, if that is meant"),
    "unset-variable": AuditRule(
        _I, "a variable without a value, so the address is not known", "set it, or give a default"
    ),
    "dns-clash": AuditRule(_E, "in DNS '_' and '-' are one letter, and the two names one", "rename one of them"),
    "container-name-twice": AuditRule(_E, "two containers cannot have one name", "rename one of them"),
    "bad-name": AuditRule(_W, "the name cannot be registered", "rename the service"),
    "shared-host-port": AuditRule(_E, "two services publish one port of the host", "publish one of them elsewhere"),
    "replicas-host-port": AuditRule(_E, "several replicas publish one port of the host", "publish no port, or a range"),
    "no-healthcheck": AuditRule(_W, "nobody is told whether the service is well", "add a `healthcheck`"),
    "health-port": AuditRule(
        _W, "the health check asks a port that is not declared", "ask {right}, or declare the port"
    ),
    "depends-missing": AuditRule(_E, "it depends on a service that is not in the file", "take it out of `depends_on`"),
    "depends-cycle": AuditRule(_E, "services wait for each other, and none can start", "take one out of `depends_on`"),
    "env-file": AuditRule(_E, "an env file is not there, or a line of it is none", "add it, or say `required: false`"),
    "variable-required": AuditRule(
        _E, "a variable that the file insists on is not set", "set it, or put it into `.env`"
    ),
    "variable": AuditRule(_E, "a variable is written in no form that Compose knows", "write a dollar itself as `$$`"),
    "port": AuditRule(_E, "what stands in `ports` or `expose` is no port", "write it as in `8000:8034`"),
    "include": AuditRule(_E, "an included file cannot be used", "see the message"),
}


class AuditFinding(msgspec.Struct, frozen=True):
    """One thing that was found. `variable`: where, within the service; `right`: what should stand there."""

    code: str
    service: str
    place: Place
    message: str
    variable: str | None = None
    right: str | None = None
    target: str | None = None
    # Not that of its kind, where circumstances make it lighter.
    lighter: bool = False

    @property
    def severity(self) -> AuditSeverity:
        """How much it matters."""
        own = KINDS[self.code].severity
        return AuditSeverity.WARNING if self.lighter and own is AuditSeverity.ERROR else own

    @property
    def cure(self) -> str:
        """What to do about it."""
        if self.right is None and KINDS[self.code].cure == "write {right}":
            return "see which service is meant"
        return printable(KINDS[self.code].cure.format(right=self.right or "the right one", target=self.target or "it"))
