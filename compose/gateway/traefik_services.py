"""Writes the instances of services, as the agent on this machine answers them, to a file for Traefik's file provider.

    python3 traefik_services.py /etc/traefik/services/fleet.yml web shop

It asks the agent (VERTICE_AGENT, by default http://127.0.0.1:8880) once a second, and replaces the file when the
instances have changed. While the agent gives no answer, the file stays as it is.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

AGENT = os.environ.get("VERTICE_AGENT", "http://127.0.0.1:8880")
EVERY_S = 1.0


def instances(service: str) -> list[dict[str, Any]]:
    """Return the instances of a service; none when the agent says that there is no such service.

    Raises OSError or ValueError when the agent cannot tell.
    """
    try:
        with urllib.request.urlopen(f"{AGENT}/services/{service}", timeout=2) as answer:  # noqa: S310 - the agent's URL
            found: list[dict[str, Any]] = json.load(answer)["instances"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    return sorted(found, key=lambda one: one["instance_id"])


def server(instance: dict[str, Any]) -> dict[str, Any]:
    """Return an instance as one of Traefik's servers."""
    address = (instance["addresses"] or [instance["host"]])[0]
    scheme = "https" if instance["protocol"] == "https" else "http"
    netloc = f"[{address}]" if ":" in address else address
    return {"url": f"{scheme}://{netloc}:{instance['port']}", "weight": instance["weight"]}


def configuration(fleet: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return Traefik's configuration: /<service>/<path> goes to an instance of <service>, as /<path>."""
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {}
    middlewares: dict[str, Any] = {"again": {"retry": {"attempts": 5}}}
    for name, found in fleet.items():
        routers[name] = {"rule": f"PathPrefix(`/{name}/`)", "service": name, "middlewares": [f"strip-{name}", "again"]}
        middlewares[f"strip-{name}"] = {"stripPrefix": {"prefixes": [f"/{name}"]}}
        services[name] = {"loadBalancer": {"servers": [server(one) for one in found]}}
        if found:
            check = {"path": found[0]["health_endpoint"], "interval": "1s", "timeout": "1s"}
            services[name]["loadBalancer"]["healthCheck"] = check
    return {"http": {"routers": routers, "middlewares": middlewares, "services": services}}


def main() -> None:
    """Keep the file up to date until a signal ends the program."""
    file, names = Path(sys.argv[1]), sys.argv[2:]
    written = ""
    while True:
        try:
            text = json.dumps(configuration({name: instances(name) for name in names}), indent=1)
            if text != written:
                # In one step, so that Traefik never reads half a file. JSON is YAML.
                beside = file.with_suffix(".new")
                beside.write_text(text, encoding="utf-8")
                beside.replace(file)
                written = text
        except (OSError, ValueError, KeyError) as error:
            print(f"traefik_services: {error}", file=sys.stderr, flush=True)  # noqa: T201 - it is a program
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
