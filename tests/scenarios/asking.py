"""A steady load of requests, in its own process: `python -m tests.scenarios.asking URL`.

Each request has its own connection and is tried once. On SIGTERM it prints one line of JSON: how many requests were
sent, which server answered how many, and what went wrong.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import urllib.request
from collections import Counter

CLIENTS = 4
PAUSE_S = 0.02
TIMEOUT_S = 10.0


def ask_on(url: str, done: threading.Event, answered: Counter[str], failed: list[str]) -> None:
    """Send requests until `done`, and count them."""
    while not done.wait(PAUSE_S):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                answered[json.load(response)["instance"]] += 1
        except OSError as error:
            failed.append(str(error))


def main(url: str) -> None:
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    counts: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]
    failed: list[str] = []
    threads = [threading.Thread(target=ask_on, args=(url, done, count, failed)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = sum(counts, Counter[str]())
    result = {"asked": answered.total() + len(failed), "answered": answered, "failed": failed[:20]}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
