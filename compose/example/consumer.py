"""A consumer that uses nothing but DNS: it calls a service by its name, once a second, and says what came back."""

from __future__ import annotations

import signal
import sys
import time
import urllib.request

URL = "http://hello.vertice.internal:8080/"


def main() -> None:
    """Call until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            with urllib.request.urlopen(URL, timeout=5) as answer:
                said = answer.read().decode().strip()
        except OSError as error:
            said = f"failed: {error}"
        print(f"{URL} {said}", flush=True)  # noqa: T201 - it is a program
        time.sleep(1)


if __name__ == "__main__":
    main()
