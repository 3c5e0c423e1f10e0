"""One question to one server: to a Redis node, who it is; to a Sentinel, whom it takes for the master.

What is wrong comes back as a Fault with words for people. Nothing is remembered or decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError, ResponseError

from registry_core.store.redis.choice import Sighting, Vote
from registry_core.store.redis.url import Address

LEAST_VERSION: Final = (6, 2)
# Messages of Sentinels that mean: something happens to this master, ask everybody now.
CHANNELS: Final = ("+sdown", "+odown", "+selected-slave", "+promoted-slave", "+switch-master")


class Fault(msgspec.Struct, frozen=True):
    """Why a server is of no use at present."""

    reason: str
    lasting: bool = False  # asking again cannot help: somebody has to change a setting


def fault_of(error: BaseException) -> Fault:
    """Return what an error of the connection means."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError) or "NOAUTH" in text:
        return Fault(f"it wants other credentials ({text})", lasting=True)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return Fault(f"its certificate is not trusted ({text})", lasting=True)
    if isinstance(error, TimeoutError) or "imeout" in type(error).__name__:
        return Fault("it does not answer")
    # redis-py: "Error 111 connecting to 127.0.0.1:6379. Connect call failed ('127.0.0.1', 6379)."
    return Fault(re.sub(r"^Error (-?\d+ )?connecting to [^ ]+ ?", "", text))


async def ask_node(client: Redis) -> Sighting | Fault:
    """Return what a Redis node says of itself."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("INFO", "server")
    pipeline.execute_command("ROLE")
    pipeline.execute_command("PING")
    try:
        info, role, pong = await pipeline.execute(raise_on_error=False)
    except (RedisError, OSError) as error:
        return fault_of(error)
    for answer in (info, role):
        if isinstance(answer, BaseException):
            return fault_of(answer)
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < LEAST_VERSION:
        least = ".".join(str(part) for part in LEAST_VERSION)
        return Fault(f"it is Redis {version}, and {least} or newer is needed", lasting=True)
    if isinstance(pong, ResponseError) and "LOADING" in f"{pong} {type(pong).__name__}".upper():
        return Fault("it is still loading its data")
    return _sighting(role, str(info["run_id"]))


def _sighting(role: Sequence[Any], run_id: str) -> Sighting:
    if _text(role[0]) == "master":
        return Sighting(True, run_id, replicas=tuple(_address(r[0], r[1]) for r in role[2]))
    master = _address(role[1], role[2]) if _text(role[0]) == "slave" else None
    return Sighting(False, run_id, master=master)


async def ask_sentinel(client: Redis, name: str) -> Vote | Fault:
    """Return what a Sentinel says about the master that it knows by `name`."""
    pipeline = client.pipeline(transaction=False)
    # get-master-addr-by-name tells the new address as soon as it is decided, MASTER only at the end.
    pipeline.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    pipeline.execute_command("SENTINEL", "MASTER", name)
    pipeline.execute_command("SENTINEL", "REPLICAS", name)
    try:
        address, master, replicas = await pipeline.execute(raise_on_error=False)
    except (RedisError, OSError) as error:
        return fault_of(error)
    if isinstance(address, BaseException):
        unknown = "unknown command" in str(address).lower()
        return Fault("it is a Redis, not a Sentinel", lasting=True) if unknown else fault_of(address)
    if address is None or isinstance(master, BaseException) or isinstance(replicas, BaseException):
        return Fault(f"it watches no master named {name!r}", lasting=True)
    known = [_fields(replica) for replica in replicas]
    return Vote(
        _address(*address),
        int(_fields(master).get("config-epoch", "0")),
        tuple(_address(node["ip"], node["port"]) for node in known),
        next((_address(n["ip"], n["port"]) for n in known if "promoted" in n["flags"].split(",")), None),
    )


def _fields(flat: Sequence[Any]) -> Mapping[str, str]:
    return {_text(flat[i]): _text(flat[i + 1]) for i in range(0, len(flat) - 1, 2)}


def _address(host: Any, port: Any) -> Address:
    return Address(_text(host), int(port))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
