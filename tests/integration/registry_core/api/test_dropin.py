"""The existing fleet's sidecars and clients, unchanged: what they send and read keeps working."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from typing import Any

from tests.programs import VERTICE, accepts, free_port, running, wait_until

TOKEN = "the-shared-token"


class PresentClient:
    """Sends exactly what the existing sidecars send, with only the standard library."""

    def __init__(self, port: int) -> None:
        self._port = port

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        headers = {"X-Registry-Token": TOKEN}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text)


def test_an_existing_sidecar_and_client_need_no_change(tmp_path: Path) -> None:
    port = free_port()
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    with running(argv, tmp_path / "log", {"REGISTRY_SECRET": TOKEN, "REGISTRY_WARMING": "0"}):
        wait_until(lambda: accepts(port), "the registry listens")
        client = PresentClient(port)
        status, _ = client.call(
            "POST",
            "/register",
            {
                "service_name": "ip_intelligence_service",
                "endpoint": "http://10.0.0.7:8034",
                "health_endpoint": "/health",
                "metadata": {"version": "1.0", "type": "worker"},
            },
        )
        assert status in (200, 201)
        status, _ = client.call("POST", "/heartbeat", {"service_name": "ip_intelligence_service"})
        assert status == 200
        assert client.call("GET", "/services") == (200, ["ip_intelligence_service"])
        status, found = client.call("GET", "/services/ip_intelligence_service")
        assert status == 200
        assert found["service_name"] == "ip_intelligence_service"
        assert found["endpoint"] == "http://10.0.0.7:8034"
        assert (found["host"], found["port"]) == ("10.0.0.7", 8034)
        assert found["health_endpoint"] == "/health"
        assert found["metadata"] == {"version": "1.0", "type": "worker"}
        assert found["registered_at"] <= found["last_heartbeat"]
        assert 0 < found["ttl_remaining"] <= 60
        status, _ = client.call("DELETE", "/deregister/ip_intelligence_service")
        assert status == 200
        assert client.call("GET", "/services") == (200, [])
        status, _ = client.call("POST", "/heartbeat", {"service_name": "ip_intelligence_service"})
        assert status == 404


def test_many_existing_sidecars_are_registered_at_once(tmp_path: Path) -> None:
    port = free_port()
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    with running(argv, tmp_path / "log", {"REGISTRY_SECRET": TOKEN, "REGISTRY_WARMING": "0"}):
        wait_until(lambda: accepts(port), "the registry listens")
        statuses: list[int] = []

        def sidecar(number: int) -> None:
            body = {"service_name": f"service_{number}", "endpoint": f"http://10.0.0.{number}:8000", "metadata": {}}
            statuses.append(PresentClient(port).call("POST", "/register", body)[0])

        threads = [threading.Thread(target=sidecar, args=(number,)) for number in range(1, 41)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert statuses == [201] * 40
        assert len(PresentClient(port).call("GET", "/services")[1]) == 40
