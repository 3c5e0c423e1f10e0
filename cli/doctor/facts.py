"""What the collectors hand to the judges. Only structures: nothing is read here, and nothing judged.

Addresses are texts as the system writes them, durations are seconds.
"""

from __future__ import annotations

import enum

import msgspec

from registry_core.settings import Listen

DNS_PORT = 53


class ZoneAnswer(enum.Enum):
    """What a name server says of our zone. OURS is an agent's answer, also when it came through another server."""

    OURS = "answers for the zone"
    ELSEWHERES = "knows a zone of that name that is not ours"
    UNKNOWN = "knows no such zone"
    REFUSES = "does not want to say"  # REFUSED, SERVFAIL, NOTIMP: glibc asks the next server then
    SILENT = "does not answer"


class AdvertisedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service that is registered from here, and how its address looks from here."""

    name: str
    host: str
    port: int
    is_udp: bool = False
    addresses: tuple[str, ...] = ()  # none: the host cannot be resolved here
    listening: bool | None = None  # None: it was not tried


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent of this machine is told, as far as it matters here."""

    zone: str
    http_listen: Listen
    dns_listen: Listen
    registry_urls: tuple[str, ...]
    has_token: bool = False
    forwards: bool = True
    forwards_to_system: bool = True
    allows_only_loopback: bool = True
    services: tuple[AdvertisedService, ...] = ()
    state_dir: str = ""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """The agent that answers at the configured HTTP address, as it says of itself in `/self`."""

    services: tuple[AdvertisedService, ...] = ()
    registry_urls: tuple[str, ...] = ()


class Listener(msgspec.Struct, frozen=True):
    """A socket that somebody has on this machine."""

    kind: str  # "tcp" | "udp"
    host: str
    port: int
    holder: str = ""  # the program and its pid, where we may see it


class Libc(msgspec.Struct, frozen=True):
    """Whose resolver programs here use."""

    is_musl: bool
    version: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of this machine say. None: there is no such file, or it cannot be read."""

    resolv_conf: str | None = None
    nsswitch: str | None = None
    libc: Libc = Libc(is_musl=False)
    in_container: bool = False
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    low_ports_end: int = 1024  # ports below it want a privilege
    may_bind_low: bool = False
    rmem_max: int | None = None
    open_files: int | None = None


class RegistrySeen(msgspec.Struct, frozen=True, kw_only=True):
    """One address of REGISTRY_URL, asked from here. `problem` is empty when it answered as a registry does."""

    url: str
    problem: str = ""
    dead_addresses: tuple[str, ...] = ()  # of several that its name has, those that do not answer
    is_ready: bool = True
    state: str = ""
    version: str = ""
    ahead_s: float | None = None  # its clock, against ours
    error_s: float = 0.0  # how far that may be wrong
    seen_as: str = ""  # the address that it sees us come from
    write_status: int | None = None  # the HTTP status of a harmless write


class StateDirFacts(msgspec.Struct, frozen=True, kw_only=True):
    """AGENT_STATE_DIR as it stands."""

    path: str
    problem: str = ""  # why it cannot be looked at
    exists: bool = True
    can_be_made: bool = True
    is_folder: bool = True
    writable: bool = True
    owner: int = 0
    user: int = 0
    free_bytes: int = 0
    locked_by: str = ""
    has_damaged_snapshot: bool = False


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine's own resolver made of a name that only an agent knows. Not `done`: not in time."""

    name: str
    done: bool = True
    addresses: tuple[str, ...] = ()
    problem: str = ""
    took_s: float = 0.0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was collected."""

    subject: Subject
    machine: Machine
    settings_problem: str = ""
    told_by_agent: tuple[str, ...] = ()  # settings that were not given here, and that the running agent told
    agent: Agent | None = None  # None: nobody answers as an agent does
    dns_answer: ZoneAnswer | None = None  # of who listens at the agent's DNS address
    nameservers: dict[str, ZoneAnswer] = {}
    registries: tuple[RegistrySeen, ...] = ()
    state: StateDirFacts | None = None
    lookup: Lookup | None = None
    proxies: dict[str, str] = {}
    not_in_time: tuple[str, ...] = ()
    python: str = ""
