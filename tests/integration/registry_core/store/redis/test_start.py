"""`vertice registry` on a Redis that cannot be used, as a program: one clear line and an end, or a start and a reason.

What somebody has to change a setting for ends the start with 2. What may pass by itself does not: the replica
comes up, serves what it knows, and says why it is warming.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.faulty_proxy import proxied
from tests.programs import VERTICE, accepts, free_port, running, wait_until
from tests.redis_topology import Guarding, RedisServer, Tls, redis_server, topology

pytestmark = pytest.mark.long

# The permissions that the store needs; docs/guide/redis.md lists them.
LEAST = (
    "resetchannels -@all +eval +evalsha +script|load +info +role +ping +wait +select +time +exists +type +hget +hset "
    "+hmget +hdel +hexists +hincrby +hscan +zadd +zrem +zrange +zrangebyscore +zrevrange +zrevrangebyscore +zcard "
    "+zcount +zscore +zmscore +zrank +zrandmember +xadd +xread +hlen +hrandfield +xrevrange +xdel +del "
    "+get +set"
)


def ended(store: str) -> str:
    """Run a replica that cannot start; return the one line with the reason."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    done = subprocess.run(
        [*VERTICE, "registry", "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**clean, "REGISTRY_STORE": store},
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    # After the log, which is JSON.
    *logged, said = done.stderr.splitlines()
    assert all(json.loads(line)["level"] != "error" for line in logged), done.stderr
    assert said.startswith("vertice: REGISTRY_STORE: ")
    return said


@contextlib.contextmanager
def warming(store: str, folder: Path) -> Iterator[list[Any]]:
    """Run a replica that starts without its store; yield what it logs about it."""
    port = free_port()
    with running(
        [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], folder / "log", {"REGISTRY_STORE": store}
    ) as program:

        def health() -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection), contextlib.suppress(OSError):
                connection.request("GET", "/health")
                return json.loads(connection.getresponse().read())
            return None

        def told() -> list[str]:
            lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
            return [line["details"]["reason"] for line in lines if line["event"] == "no redis master"]

        wait_until(lambda: health() is not None, "it serves", timeout_s=30)
        wait_until(lambda: bool(told()), "it says why it does not know anything")
        said, reasons = health(), told()
        assert said["state"] == "warming"
        assert len(set(reasons)) == len(reasons) >= 1, "each reason is logged once, and not again within 30 s"
        assert said["components"]["store"]["shards"][0]["problem"] == reasons[-1]
        yield reasons


# -- faults that only an operator can repair


def test_a_missing_or_wrong_password_ends_the_start(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", password="s3cret") as server:
        for user in ("", ":wrong@", "nobody:s3cret@"):
            said = ended(f"redis://{user}127.0.0.1:{server.port}")
            assert f"main: redis 127.0.0.1:{server.port}: it rejects the credentials that user:password@" in said
            assert "s3cret" not in said


def test_a_user_without_the_needed_permissions_ends_the_start(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        for name, rules, said in (
            ("keys", f"~other:* {LEAST}", r"can't access at least one of the keys|No permissions to access a key"),
            ("scripts", f"~vertice:* {LEAST} -eval", "no permissions to run the 'eval' command"),
            (
                "commands",
                f"~vertice:* {LEAST} -hset",
                r"can't run this command|no permissions to run the 'hset' command",
            ),
            ("marks", f"~vertice:* {LEAST} -set", r"can't run this command|no permissions to run the 'set' command"),
            ("asking", f"~vertice:* {LEAST} -info", "no permissions to run the 'info' command"),
        ):
            server.ask("ACL", "SETUSER", name, "on", ">pw", *rules.split())
            line = ended(f"redis://{name}:pw@127.0.0.1:{server.port}")
            assert "its ACL does not allow the user a command that is needed" in line
            assert re.search(said, line)  # servers have different words for it


def test_a_redis_that_is_too_old_ends_the_start(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        version = str(server.ask("INFO", "server")).partition("redis_version:")[2].split()[0]
        old = "6.0." + "9" * (len(version) - len("6.0."))
        # The server itself, with a different version.
        with proxied(server.port) as proxy:
            proxy.replaced = (f"redis_version:{version}".encode(), f"redis_version:{old}".encode())
            said = ended(f"redis://127.0.0.1:{proxy.port}")
    assert said.endswith(f"redis 127.0.0.1:{proxy.port}: it is Redis {old}; 6.2 or newer is required")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("SET", "vertice:records", "a string"), "vertice:records"),
        (("SET", "vertice:meta", "a string"), "vertice:meta"),
        (("HSET", "vertice:meta", "format", "mine"), "vertice:meta"),
        (("XADD", "vertice:events", "1-0", "a", "b"), "vertice:events"),
    ],
)
def test_keys_of_another_program_under_the_prefix_end_the_start(
    tmp_path: Path, words: tuple[str, ...], key: str
) -> None:
    with redis_server(tmp_path / "redis") as server:
        server.ask(*words)
        said = ended(server.url)
        assert said.endswith(f"main: {key} is a key of another program: choose another prefix=")
        assert server.ask("KEYS", "*") == [key], "none of it is touched"


def test_keys_of_a_later_release_are_left_alone_and_named_as_such(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        server.ask("HSET", "vertice:meta", "format", "2")
        said = ended(server.url)
        assert "main: a later release has written to this prefix (layout 2)" in said
        assert server.ask("HGETALL", "vertice:meta") == ["format", "2"], "none of it is touched"


def test_a_missing_database_ends_the_start(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        assert "it has no database with the number in the URL" in ended(f"{server.url}/99")


def test_a_replica_in_place_of_a_master_ends_the_start(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", f"replicaof 127.0.0.1 {free_port()}") as server:
        assert ended(server.url).endswith("it is a replica and takes no writes")


def test_a_node_of_a_cluster_ends_the_start(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", "cluster-enabled yes", f"cluster-port {free_port()}") as server:
        assert "it is a node of a Redis Cluster" in ended(server.url)


def test_a_server_that_is_not_redis_ends_the_start() -> None:
    class Web(BaseHTTPRequestHandler):
        default_request_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            said = ended(f"redis://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join(10)
    assert "it does not speak the Redis protocol" in said


def test_wrong_names_or_credentials_for_sentinels_end_the_start(tmp_path: Path) -> None:
    guarding = Guarding(password="n0de", sentinel_password="s3ntinel")
    with topology(tmp_path, replicas=1, guarding=guarding) as whole:
        sentinels = [f"127.0.0.1:{sentinel.port}" for sentinel in whole.sentinels]
        at, url = ",".join(sentinels), whole.url
        said = ended(url.replace("masters=a", "masters=nobody"))
        assert f"nobody: sentinel {sentinels[0]}: it watches no master named 'nobody'" in said
        for wrong in (url.replace("s3ntinel", "wrong"), url.partition("&sentinel_password")[0]):
            assert "it rejects the credentials that sentinel_user= and sentinel_password= say" in ended(wrong)
        said = ended(f"redis+sentinel://{at}/?masters=a&sentinel_password=s3ntinel")
        assert f"a: redis 127.0.0.1:{whole.shards[0].nodes[0].port}: it rejects the credentials that user:" in said
        assert "it is a Sentinel; a URL" in ended(f"redis://:s3ntinel@{sentinels[0]}")
        node = whole.shards[0].nodes[0]
        assert "it is a Redis, not a Sentinel" in ended(
            f"redis+sentinel://127.0.0.1:{node.port}/?masters=a&sentinel_password=n0de"
        )


def test_an_unreachable_sentinel_does_not_hide_a_wrong_name(tmp_path: Path) -> None:
    with topology(tmp_path, replicas=0) as whole, proxied(whole.sentinels[0].port) as proxy:
        proxy.stalled = True
        others = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in whole.sentinels[1:])
        said = ended(f"redis+sentinel://127.0.0.1:{proxy.port},{others}/?masters=nobody")
        assert "it watches no master named 'nobody'" in said


def test_an_untrusted_certificate_ends_the_start(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    local = ours.issue("IP:127.0.0.1")
    certificates = {
        "good": local,
        "expired": ours.issue("IP:127.0.0.1", expired=True),
        "elsewhere": ours.issue("DNS:redis.internal"),
    }
    with contextlib.ExitStack() as stack:
        servers: dict[str, RedisServer] = {
            name: stack.enter_context(redis_server(tmp_path / name, tls=Tls(certificate, ours.ca)))
            for name, certificate in certificates.items()
        }
        asking = stack.enter_context(redis_server(tmp_path / "asking", tls=Tls(local, ours.ca, ask_clients=True)))
        url, stranger = servers["good"].url, others.issue("DNS:stranger")
        plain = url.partition("/?")[0]
        for wrong, said in (
            (f"{plain}/?ca={others.ca}", "not signed by a trusted authority; set ca="),
            (plain, "not signed by a trusted authority; set ca="),
            (servers["expired"].url, "its certificate has expired"),
            (servers["elsewhere"].url, "is for a different name than the one in the URL"),
            (url.replace("127.0.0.1", "localhost"), "certificate is not valid for 'localhost'"),
            (asking.url, "it requires a client certificate: set cert= and key="),
            (
                f"{asking.url}&cert={stranger.cert}&key={stranger.key}",
                "it does not trust the authority that signed the certificate of cert=",
            ),
            (f"{plain}/?ca={tmp_path / 'missing'}", f"ca={tmp_path / 'missing'}: No such file or directory"),
            (f"{plain}/?ca={local.key}", "it does not hold certificates in PEM"),
            (f"{url}&cert={local.cert}&key={stranger.key}", "the key is not that of the certificate"),
        ):
            assert said in ended(wrong)


def test_a_taken_port_is_reported_at_once_whatever_the_store_does(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "REGISTRY_STORE": f"redis://127.0.0.1:{free_port()}"},
        )
    assert (done.returncode, done.stdout) == (1, "")
    said = f"vertice: cannot listen on 127.0.0.1:{port}: the port is taken by "
    assert done.stderr.startswith(said), "no Redis was contacted"


# -- faults that may pass


def test_every_request_is_served_from_the_moment_a_replica_listens(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server, proxied(server.port) as proxy:
        proxy.delay_s = 0.05  # so that replica and Redis talk for a while before anything is known
        for number, (method, path, status) in enumerate((("POST", "/register", 201), ("GET", "/services/a-b", 200))):
            port = free_port()
            argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
            store = {"REGISTRY_STORE": f"redis://127.0.0.1:{proxy.port}"}
            with running(argv, tmp_path / f"log-{number}", store) as program:
                wait_until(lambda port=port: accepts(port), "it listens", every_s=0.001)  # type: ignore[misc]
                assert "replica started" not in program.output(), "nothing is known yet"
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                with contextlib.closing(connection):
                    body = json.dumps({"service_name": "a-b", "host": "10.0.0.7", "port": 8034})
                    connection.request(method, path, body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    assert answer.status == status, answer.read()


def test_an_unreachable_redis_is_waited_for(tmp_path: Path) -> None:
    with warming(f"redis://127.0.0.1:{free_port()}", tmp_path) as reasons:
        assert reasons[-1].endswith(": Connection refused"), "and no words of a library"


def test_a_name_that_does_not_resolve_yet_is_waited_for(tmp_path: Path) -> None:
    with warming("redis://redis.invalid", tmp_path) as reasons:
        assert reasons[-1].startswith("redis redis.invalid:6379: ")


def test_a_silent_redis_is_waited_for(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        server.pause()
        with warming(server.url, tmp_path) as reasons:
            assert reasons[-1] == f"redis 127.0.0.1:{server.port}: it does not answer"


def test_mixing_up_tls_and_plain_text_is_reported(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        redis_server(tmp_path / "plain") as plain,
        warming(f"rediss://127.0.0.1:{plain.port}/?ca={ours.ca}", tmp_path / "a") as reasons,
    ):
        assert reasons[-1].endswith("it does not answer; is it one that speaks TLS?")
    tls = Tls(ours.issue("IP:127.0.0.1"), ours.ca)
    with (
        redis_server(tmp_path / "tls", tls=tls) as server,
        warming(f"redis://127.0.0.1:{server.port}", tmp_path / "b") as reasons,
    ):
        assert "it closes the connection; if it speaks TLS, the URL must begin with rediss" in reasons[-1]


def test_unreachable_sentinels_are_waited_for(tmp_path: Path) -> None:
    at = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    with warming(f"redis+sentinel://{at}/?masters=a", tmp_path) as reasons:
        assert reasons[-1].count("sentinel 127.0.0.1:") == 2
