"""Runs a whole system on this machine: stand-ins in this process, registry and agent as its children.

It starts them, shows progress, explains once what a dead child means, and stops everything in the right
order: first the agent, which deregisters every service, then the rest. It restarts nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from cli.dev import guide
from cli.dev.children import Child
from cli.dev.guide import Ports
from cli.dev.plan import FIRST_NET, NETS, Plan, PlanFinding, PlannedInstance, Weight, instances
from cli.dev.standin import StandIns
from cli.plurals import counted
from registry_core.causes import cause_of
from registry_core.errors import Unavailable, VerticeError
from registry_core.listener import why_not_listening
from registry_core.listening_sockets import holder_of
from registry_core.settings import Listen

START_TIMEOUT_S: Final = 30.0
POLL_EVERY_S: Final = 0.05
ASK_TIMEOUT_S: Final = 1.0
# All timeouts together stay below the three seconds that an impatient user allows a Ctrl-C.
AGENT_STOP_S: Final = 2.0
COUNT_TIMEOUT_S: Final = 0.3
REGISTRY_STOP_S: Final = 0.4
_CLAIM_PORT: Final = 7777

# Short times, so that the user sees effects at once. No warming at the first start: nothing can be registered yet,
# so the empty registry is the truth. That does not hold after a restart.
REGISTRY_SETTINGS: Final = {"REGISTRY_WARMING": "0", "REGISTRY_MIN_PORT": "1"}
REGISTRY_AGAIN: Final = {**REGISTRY_SETTINGS, "REGISTRY_WARMING": "3"}
AGENT_SETTINGS: Final = {
    "AGENT_CHECK_INTERVAL": "2",
    "AGENT_CHECK_RISE": "1",
    "AGENT_DRAIN_CONFIRM": "0",
    "AGENT_DRAIN_WAIT": "0",
    "INITIAL_WAIT_TIMEOUT": "10",
}


class PortTaken(VerticeError):
    """Raised when another process listens where one of the three listeners should."""


class ChildEnded(Unavailable):
    """Raised when a child ends while the system starts; its text has the child's last lines."""


class Supervisor:
    """Runs everything of one `vertice dev`."""

    def __init__(self, plan: Plan, ports: Ports, say: Callable[[str], None], check_command: str) -> None:
        self._plan = plan
        self._ports = ports
        self._say = say
        self._check_command = check_command
        self._command = guide.shown_command(Path(sys.executable), Path.cwd())
        self._stand_ins = StandIns()
        self._children: dict[str, Child] = {}
        self._restarts: dict[str, str] = {}
        self._mourners: list[asyncio.Task[None]] = []
        self._claim: socket.socket | None = None
        self._folder: Path | None = None
        self._keep_logs = False
        self._closing = False

    async def start(self) -> Supervisor:
        """Start everything and say what to try.

        Raises PortTaken, and ChildEnded when a child cannot start; in both cases nothing is left running.
        """
        check_ports(self._ports)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)) as http:
                await self._start(http)
        except BaseException:
            await self._end_all()
            raise
        return self

    async def _start(self, http: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="vertice-dev-"))
        await self._start_child("registry", self._registry_argv(), REGISTRY_SETTINGS, REGISTRY_AGAIN)
        refused = await self._start_stand_ins()
        plan = msgspec.structs.replace(self._plan, findings=self._plan.findings + refused)
        for line in guide.findings_text(plan, self._check_command):
            self._say(line)
        await self._until(lambda: _answers(http, f"{self._ports.registry_url}/live"), "the registry to answer")
        config = self._folder / "agent.toml"
        await asyncio.to_thread(config.write_text, agent_toml(self._stand_ins.listening), encoding="utf-8")
        settings = {**AGENT_SETTINGS, "REGISTRY_URL": self._ports.registry_url}
        await self._start_child("agent", self._agent_argv(config), settings)
        missing = await self._until_found(http)
        took_s = time.monotonic() - began
        self._mourners = [asyncio.create_task(self._mourn(child)) for child in self._children.values()]
        count = len({i.service_name for i in self._stand_ins.listening}) - len(missing)
        found = f"{counted(count, 'service')} and {counted(len(self._stand_ins.listening), 'instance')}"
        self._say(f"{found} found after {took_s:.1f} s.")
        if missing:
            self._say(
                f"Not found within {START_TIMEOUT_S:g} s: {', '.join(missing)}; {self._folder}/agent.log says why."
            )
        self._say(f"Logs: {self._folder}")
        for line in guide.next_text(
            self._stand_ins.listening, self._ports, self._command, self._children["registry"].pid
        ):
            self._say(line)
        self._say("Ctrl-C ends everything.")

    async def close(self) -> None:
        """Deregister every service and stop everything, within three seconds."""
        if self._closing:
            return
        self._closing = True
        agent = self._children.get("agent")
        try:
            if agent is not None and agent.exit_code is None:
                drained = await agent.stop(AGENT_STOP_S)
                left = await self._count_left()
                self._keep_logs = self._keep_logs or bool(left) or not drained
                self._say(guide.farewell_text(len(self._stand_ins.listening), left, drained=drained))
            if self._keep_logs:
                self._say(f"The logs stay in {self._folder}.")
        finally:
            await self._end_all()  # also when nobody reads what is said

    # -- the parts

    async def _start_stand_ins(self) -> tuple[PlanFinding, ...]:
        net, self._claim = claim_net()
        refused = await self._stand_ins.start(instances(self._plan.services, net))
        return tuple(
            PlanFinding(Weight.UNUSABLE, i.service_name, f"cannot listen on {i.address}: {_reason(i, error)}")
            for i, error in refused.items()
        )

    def _registry_argv(self) -> list[str]:
        return ["registry", "--listen", f"127.0.0.1:{self._ports.registry}"]

    def _agent_argv(self, config: Path) -> list[str]:
        return [
            "agent",
            *("--config", str(config)),
            *("--http-listen", f"127.0.0.1:{self._ports.http}"),
            *("--dns-listen", f"127.0.0.1:{self._ports.dns}"),
        ]

    async def _start_child(
        self, name: str, argv: Sequence[str], settings: dict[str, str], again: dict[str, str] | None = None
    ) -> None:
        """Start a child, and remember how to restart it with the settings `again` (default: the same)."""
        assert self._folder is not None
        argv_in_full = [sys.executable, "-m", "cli.main", *argv, "--die-with-parent"]
        self._children[name] = await Child.start(name, argv_in_full, settings, self._folder / f"{name}.log")
        shown = (f"{k}={v}" for k, v in (settings if again is None else again).items())
        self._restarts[name] = " ".join([*shown, self._command, *argv])

    async def _until_found(self, http: aiohttp.ClientSession) -> list[str]:
        """Wait until the agent finds every instance; return the services that it does not find completely."""
        wanted: dict[str, int] = {}
        for instance in self._stand_ins.listening:
            wanted[instance.service_name] = wanted.get(instance.service_name, 0) + 1
        progress = ProgressLine(self._say, len(wanted))
        found: set[str] = set()

        async def all_found() -> bool:
            names = await _ask(http, f"{self._ports.agent_url}/services")
            if not isinstance(names, list):
                return False
            for name in names:
                # A service with a single instance is complete once its name is known.
                if name in wanted and name not in found:
                    if wanted[name] > 1:
                        view = await _ask(http, f"{self._ports.agent_url}/services/{name}?status=passing")
                        if not isinstance(view, dict) or len(view.get("instances", ())) < wanted[name]:
                            continue
                    found.add(name)
            progress.show(len(found))
            return len(found) == len(wanted)

        with contextlib.suppress(TimeoutError):
            await self._until(all_found, "all services")
        progress.end()
        return [name for name in wanted if name not in found]

    async def _until(self, condition: Callable[[], Any], what: str) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await condition():
                    for child in self._children.values():
                        if child.exit_code is not None:
                            last = " ".join(await child.last_lines(1)).removeprefix("vertice: ")
                            raise ChildEnded(f"the {child.name} ended while starting: {last or 'without output'}")
                    await asyncio.sleep(POLL_EVERY_S)
        except TimeoutError:
            raise TimeoutError(f"waited {START_TIMEOUT_S:g} s for {what}") from None

    async def _mourn(self, child: Child) -> None:
        exit_code = await child.ended()
        if not self._closing:
            self._keep_logs = True
            for line in guide.death_text(child.name, exit_code, await child.last_lines(), self._restarts[child.name]):
                self._say(line)

    async def _count_left(self) -> int | None:
        timeout = aiohttp.ClientTimeout(total=COUNT_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            catalog = await _ask(http, f"{self._ports.registry_url}/catalog")
        return len(catalog["instances"]) if isinstance(catalog, dict) and "instances" in catalog else None

    async def _end_all(self) -> None:
        self._closing = True
        for task in self._mourners:
            task.cancel()
        await asyncio.gather(*self._mourners, return_exceptions=True)
        await asyncio.gather(
            self._stand_ins.close(), *(child.stop(REGISTRY_STOP_S) for child in self._children.values())
        )
        if self._claim is not None:
            self._claim.close()
        if self._folder is not None and not self._keep_logs:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


class ProgressLine:
    """Shows how many services are found: on one updated line of a terminal, else now and then."""

    def __init__(self, say: Callable[[str], None], total: int) -> None:
        self._say = say
        self._total = total
        self._shown = -1
        self._on_terminal = sys.stdout.isatty()

    def show(self, found: int) -> None:
        """Show that `found` of the total are found."""
        if found == self._shown:
            return
        if self._on_terminal:
            print(f"\rservices {found}/{self._total}", end="", flush=True)
        elif found == self._total or found - max(self._shown, 0) >= self._total / 4:
            self._say(f"services {found}/{self._total}")
        else:
            return
        self._shown = found

    def end(self) -> None:
        """End the line."""
        if self._on_terminal and self._shown >= 0:
            print(flush=True)


def check_ports(ports: Ports) -> None:
    """Raise PortTaken for the first port that another process holds. Blocks."""
    wanted = (
        ("registry", ports.registry, socket.SOCK_STREAM),
        ("http", ports.http, socket.SOCK_STREAM),
        ("dns", ports.dns, socket.SOCK_DGRAM),
        ("dns", ports.dns, socket.SOCK_STREAM),
    )
    for name, port, kind in wanted:
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                where = Listen("127.0.0.1", port)
                holder = holder_of("tcp" if kind == socket.SOCK_STREAM else "udp", where)
                why = why_not_listening(where, error, f"--{name}-port", holder)
                raise PortTaken(f"cannot listen on {where}: {why}") from None


def claim_net() -> tuple[int, socket.socket]:
    """Return an unused net 127.n.0.0/16 and the socket that reserves it.

    Raises PortTaken when other `vertice dev` processes use them all.
    """
    for net in range(FIRST_NET, FIRST_NET + NETS):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((f"127.{net}.255.254", _CLAIM_PORT))
        except OSError:
            claim.close()
            continue
        return net, claim
    raise PortTaken(f"{NETS} of these run on this machine already; no addresses are left for more")


def agent_toml(listening: Iterable[PlannedInstance]) -> str:
    """Return the configuration of an agent for all these instances."""
    tables = (
        f"[[service]]\nname = {json.dumps(i.service_name)}\nhost = {json.dumps(i.host)}\nport = {i.port}\n"
        f"health_endpoint = {json.dumps(i.health_endpoint)}\n"
        for i in listening
    )
    return "# Written by `vertice dev`, which deletes it at its end.\n\n" + "\n".join(tables)


def _reason(instance: PlannedInstance, error: OSError) -> str:
    hint = " (ports below 1024 need root)" if isinstance(error, PermissionError) and instance.port < 1024 else ""
    return f"{cause_of(error)}{hint}"


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _ask(http: aiohttp.ClientSession, url: str) -> Any:
    """Return the JSON at `url`, or None when it cannot be fetched."""
    try:
        async with http.get(url) as response:
            return await response.json() if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
