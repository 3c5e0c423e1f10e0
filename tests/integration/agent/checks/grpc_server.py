"""A real gRPC server (grpcio) in its own process, with or without grpc.health.v1.

Usage: grpc_server.py PORT STATUSES [PEM]. STATUSES are `service=status` pairs, comma-separated, where the empty
service is the whole server; `none` registers no health service; PEM is a key with its certificate.
"""

from __future__ import annotations

import sys
from concurrent import futures
from pathlib import Path

import grpc


def main() -> None:
    """Serve until killed."""
    port, statuses, *pem = sys.argv[1:]
    server = grpc.server(futures.ThreadPoolExecutor(2))
    if statuses != "none":
        known = {name: int(status) for name, _, status in (pair.partition("=") for pair in statuses.split(","))}

        def check(request: bytes, context: grpc.ServicerContext) -> bytes:
            service = request[2:].decode()
            if service not in known:
                context.set_trailing_metadata((("x-long", "y" * 3000),))
                context.abort(grpc.StatusCode.NOT_FOUND, "unknown service ü")
            status = known[service]
            return bytes([8, status]) if status else b""

        handler = grpc.unary_unary_rpc_method_handler(check)  # without a serializer: bytes in, bytes out
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
        )
    where = f"127.0.0.1:{port}"
    if pem:
        both = Path(pem[0]).read_bytes()
        key, _, certificate = both.partition(b"-----BEGIN CERTIFICATE")
        pairs = [(key, b"-----BEGIN CERTIFICATE" + certificate)]
        server.add_secure_port(where, grpc.ssl_server_credentials(pairs))
    else:
        server.add_insecure_port(where)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
