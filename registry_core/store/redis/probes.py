"""Probes of one server: asks a Redis node for its role, and a Sentinel which node is the master.

A failure comes back as a Fault with a reason for an operator. Nothing is remembered or decided here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from registry_core.store.redis.choice import Sighting, Vote
from registry_core.store.redis.failures import words_of
from registry_core.store.redis.pool import speaks_tls
from registry_core.store.redis.url import ServerAddress

LEAST_VERSION: Final = (6, 2)
# Messages of Sentinels about a change to the master: probe every server now.
CHANNELS: Final = (
    "+sdown",
    "-sdown",
    "+odown",
    "+try-failover",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+promoted-slave",
    "+switch-master",
)
# A Sentinel does not promote a replica that it reports with these flags.
_DOWN: Final = frozenset({"s_down", "o_down"})


class Fault(msgspec.Struct, frozen=True):
    """Why a server cannot be used at present."""

    reason: str
    lasting: bool = False  # a retry cannot help: a setting has to change


# OpenSSL's messages, and what they mean for the options of the URL. The first match counts.
_TLS_FAULTS: Final = (
    ("mismatch, certificate is not valid", "its certificate is for a different name than the one in the URL"),
    ("certificate has expired", "its certificate has expired"),
    ("certificate is not yet valid", "its certificate is not valid yet"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by a trusted authority; set ca="),
    ("CERTIFICATE_REQUIRED", "it requires a client certificate: set cert= and key="),
    ("HANDSHAKE_FAILURE", "it requires a client certificate (cert= and key=), or a different TLS configuration"),
    ("UNKNOWN_CA", "it does not trust the authority that signed the certificate of cert="),
    ("ALERT_BAD_CERTIFICATE", "it does not take the certificate of cert="),
    ("ALERT_CERTIFICATE", "it does not take the certificate of cert="),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS; then the URL begins with redis"),
    ("RECORD_LAYER_FAILURE", "it does not speak TLS; then the URL begins with redis"),
    ("UNSUPPORTED_PROTOCOL", "it speaks no TLS of 1.2 or newer"),
    ("ALERT_PROTOCOL_VERSION", "it speaks no TLS of 1.2 or newer"),
)


def fault_of(error: BaseException, *, tls: bool = False, sentinel: bool = False) -> Fault:
    """Return what a server's error means. `tls` and `sentinel`: how the server was asked, and as what."""
    text = _CONNECTING.sub("", words_of(error)).removesuffix(".")
    if isinstance(error, NoPermissionError) or _NOT_PERMITTED.search(text):
        return Fault(f"its ACL does not allow the user a command that is needed ({text})", lasting=True)
    if isinstance(error, AuthenticationError | AuthorizationError) or "NOAUTH" in text:
        said = "sentinel_user= and sentinel_password= say" if sentinel else "user:password@ in the URL says"
        return Fault(f"it rejects the credentials that {said} ({text})", lasting=True)
    meant = next((words for sign, words in _TLS_FAULTS if sign in text), None)
    if meant is not None:
        return Fault(f"{meant} ({_PLACE.sub('', text)})", lasting=True)
    if isinstance(error, InvalidResponse):
        return Fault("it does not speak the Redis protocol", lasting=True)
    if "DB index is out of range" in text:
        return Fault("it has no database with the number in the URL", lasting=True)
    if isinstance(error, TimeoutError) or "imeout" in type(error).__name__:
        # A Redis without TLS reads the start of a handshake as half a command and waits for the rest.
        return Fault(f"it does not answer{'; is it one that speaks TLS?' if tls else ''}")
    if isinstance(error, ConnectionError | RedisConnectionError) and not tls and _CUT_SHORT.search(text):
        return Fault(f"it closes the connection; if it speaks TLS, the URL must begin with rediss ({text})")
    return Fault(text)


# redis-py: "Error 111 connecting to 127.0.0.1:6379. Connect call failed ('127.0.0.1', 6379)."
_CONNECTING: Final = re.compile(r"^Error (-?\d+ )?(connecting to|while reading from) [^ ]+( :)? ?")
# In a script: Redis 7.0, and since 7.2.
_NOT_PERMITTED: Final = re.compile(r"NOPERM|The user executing the script|ACL failure in script")
_PLACE: Final = re.compile(r" ?\(_ssl\.c:\d+\)")
_CUT_SHORT: Final = re.compile(r"reset by peer|closed by server", re.IGNORECASE)


async def ask_node(client: Redis) -> Sighting | Fault:
    """Return a Redis node's role and identity."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("INFO", "server")
    pipeline.execute_command("ROLE")
    pipeline.execute_command("PING")
    try:
        info, role, pong = await pipeline.execute(raise_on_error=False)
    except (RedisError, OSError) as error:
        return fault_of(error, tls=speaks_tls(client))
    for answer in (info, role):
        if isinstance(answer, BaseException):
            return fault_of(answer)
    mode = info.get("redis_mode", info.get("server_mode"))  # Valkey has a word of its own
    if mode == "sentinel":
        return Fault("it is a Sentinel; a URL of Sentinels begins with redis+sentinel", lasting=True)
    if mode == "cluster":
        return Fault("it is a node of a Redis Cluster; use standalone masters with Sentinels instead", lasting=True)
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < LEAST_VERSION:
        least = ".".join(str(part) for part in LEAST_VERSION)
        return Fault(f"it is Redis {version}; {least} or newer is required", lasting=True)
    if isinstance(pong, ResponseError) and "LOADING" in f"{pong} {type(pong).__name__}".upper():
        return Fault("it is still loading its data")
    return _sighting(role, str(info["run_id"]))


async def ask_sections(client: Redis, sections: Sequence[str]) -> Mapping[str, Any] | None:
    """Return these sections of a node's INFO, merged, or None when it does not answer.

    One INFO per section: several sections in one came with Redis 7.0.
    """
    pipeline = client.pipeline(transaction=False)
    for section in sections:
        pipeline.execute_command("INFO", section)
    try:
        answers = await pipeline.execute()
    except (RedisError, OSError):
        return None
    return {name: value for answer in answers for name, value in answer.items()}


def _sighting(role: Sequence[Any], run_id: str) -> Sighting:
    if _text(role[0]) == "master":
        return Sighting(
            True,
            run_id,
            replicas=tuple(_address(r[0], r[1]) for r in role[2]),
            offset=int(role[1]),
            confirmed=tuple(int(r[2]) for r in role[2]),
        )
    master = _address(role[1], role[2]) if _text(role[0]) == "slave" else None
    return Sighting(False, run_id, master=master)


async def ask_sentinel(client: Redis, name: str) -> Vote | Fault:
    """Return a Sentinel's vote on the master it knows as `name`."""
    pipeline = client.pipeline(transaction=False)
    # get-master-addr-by-name returns the new address as soon as it is decided, MASTER only at the end.
    pipeline.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    pipeline.execute_command("SENTINEL", "MASTER", name)
    pipeline.execute_command("SENTINEL", "REPLICAS", name)
    try:
        address, master, replicas = await pipeline.execute(raise_on_error=False)
    except (RedisError, OSError) as error:
        return fault_of(error, tls=speaks_tls(client), sentinel=True)
    if isinstance(address, BaseException):
        unknown = "unknown command" in str(address).lower()
        return Fault("it is a Redis, not a Sentinel", lasting=True) if unknown else fault_of(address, sentinel=True)
    if address is None or isinstance(master, BaseException) or isinstance(replicas, BaseException):
        return Fault(f"it watches no master named {name!r}", lasting=True)
    known = {_address(node["ip"], node["port"]): node for node in map(_fields, replicas)}
    flags = {node: frozenset(said.get("flags", "").split(",")) for node, said in known.items()}
    seen = _fields(master)
    return Vote(
        _address(*address),
        int(seen.get("config-epoch", "0")),
        tuple(known),
        next((node for node in known if "promoted" in flags[node]), None),
        "failover_in_progress" in seen.get("flags", "").split(","),
        frozenset(node for node in known if flags[node] & _DOWN),
        frozenset(node for node, said in known.items() if said.get("slave-priority") == "0"),
    )


async def listen(client: Redis, name: str, speaks: Callable[[], None]) -> None:
    """Call `speaks` whenever a Sentinel announces a doubt or a decision about the master it knows as `name`.

    The message is only a reason to probe. Raises what redis-py raises when the connection ends.
    """
    async with client.pubsub() as messages:
        await messages.subscribe(*CHANNELS)
        while True:
            message = await messages.get_message(ignore_subscribe_messages=True, timeout=5.0)
            if message is not None and name in str(message["data"]):
                speaks()


def _fields(flat: Sequence[Any]) -> Mapping[str, str]:
    return {_text(flat[i]): _text(flat[i + 1]) for i in range(0, len(flat) - 1, 2)}


def _address(host: Any, port: Any) -> ServerAddress:
    return ServerAddress(_text(host), int(port))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
