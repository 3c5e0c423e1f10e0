"""gRPC with the options of docs/guide/clients.md: `serve HOST:PORT` runs a server, `ask TARGET` a client.

Every call is answered with the server's address. The client makes a call five times a second, and prints the answers.
"""

from __future__ import annotations

import sys
import time
from concurrent import futures
from typing import Any

import grpc

from tests.guides import block

METHOD = "/test.Answering/Ask"


def serve(address: str, options: list[tuple[str, Any]]) -> None:
    """Answer calls until a signal ends the program."""
    answers = {"Ask": grpc.unary_unary_rpc_method_handler(lambda _request, _context: address.encode())}
    server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Answering", answers),))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def ask(channel: grpc.Channel) -> None:
    """Make calls until a signal ends the program."""
    call = channel.unary_unary(METHOD)
    while True:
        sys.stdout.write(f"{call(b'', timeout=10, wait_for_ready=True).decode()}\n")
        sys.stdout.flush()
        time.sleep(0.2)


def main(role: str, where: str) -> None:
    guide: dict[str, Any] = {}
    exec(block("clients.md", "python"), guide)  # the page under test
    if role == "serve":
        serve(where, guide["SERVER_OPTIONS"])
    else:
        ask(guide["channel"](where))


if __name__ == "__main__":
    main(*sys.argv[1:])
