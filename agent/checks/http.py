"""HTTP checks: one request over a new connection, so that accepting is checked too.

It follows no redirects, ignores proxies in the environment, inflates nothing, and reads only the start of the answer.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from agent.checks.connection import converse
from agent.checks.http_answer import MAX_BODY_BYTES, HttpAnswer
from agent.checks.pattern import Pattern
from agent.checks.result import WELL, CheckOutcome, Judgement, NotChecked, after_error, critical
from agent.checks.spec import HttpCheck
from agent.checks.tls import tls_context
from registry_core.blocking import NoThread, Threads
from registry_core.domain.host_port import host_port
from registry_core.domain.records import Registration

# A search with more steps than this, about 3 ms, runs outside the event loop.
STEPS_AT_ONCE: Final = 100_000
# Threads for slow searches: more of them would only share the same processors.
_SEARCHES: Final = Threads("search a body", 4)
# Left out of the Host header (RFC 9110 section 7.2).
_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443


class HttpRequest:
    """Sends the request of a check to an address, by default GET of the health path, and judges the answer."""

    def __init__(self, claim: Registration, how: HttpCheck, timeout_s: float) -> None:
        self._how = how
        self._port = claim.port
        self._tls = None if how.tls is None else tls_context(how.tls)
        self._server_name = (how.tls.server_name or claim.host) if how.tls is not None else None
        self._request = request_head(claim, how)
        self._pattern = Pattern(how.body) if how.body else None
        self._timeout_s = timeout_s

    async def __call__(self, address: str) -> CheckOutcome | Judgement:
        """Return the outcome at `address`, or what gives it. Raises OSError when there is no connection to it."""
        answer = HttpAnswer(self._how.method, wants_body=self._pattern is not None)
        error = await converse(
            _HttpConversation(self._request, answer),
            address,
            self._port,
            tls=self._tls,
            server_name=self._server_name,
        )
        if error is not None:
            return after_error(error)
        if not any(low <= answer.status <= high for low, high in self._how.statuses):
            return critical(f"HTTP {answer.status}")
        return WELL if self._pattern is None else partial(self._searched, self._pattern, answer)

    async def _searched(self, pattern: Pattern, answer: HttpAnswer) -> CheckOutcome:
        text = answer.body.decode("utf-8", "replace")
        try:
            if await matches(pattern, text, self._timeout_s):
                return WELL
        except (TimeoutError, NoThread):
            return NotChecked(f"the body could not be searched within {self._timeout_s:g} s")
        whole = "" if len(answer.body) < MAX_BODY_BYTES else f" the first {MAX_BODY_BYTES} bytes of"
        return critical(f"HTTP {answer.status}, but{whole} the body did not match {self._how.body!r}")


class _HttpConversation:
    """A request and its answer."""

    def __init__(self, request: bytes, answer: HttpAnswer) -> None:
        self._request = request
        self._answer = answer

    @property
    def done(self) -> bool:
        return self._answer.done

    def start(self) -> bytes:
        return self._request

    def feed(self, data: bytes) -> bytes:
        self._answer.feed(data)
        return b""

    def end(self) -> None:
        self._answer.end()


async def matches(pattern: Pattern, text: str, timeout_s: float) -> bool:
    """Return whether `pattern` matches in `text`, without blocking the loop. Raises TimeoutError or NoThread."""
    if pattern.steps(text) <= STEPS_AT_ONCE:
        return pattern.is_in(text)
    return await _SEARCHES.run(lambda: pattern.is_in(text), timeout_s=timeout_s)


def request_head(claim: Registration, how: HttpCheck) -> bytes:
    """Return the request of a check; its own headers replace ours of the same name."""
    where = host_port(claim.host, claim.port)
    if claim.port == (_HTTP_PORT if how.tls is None else _HTTPS_PORT):
        where = where.removesuffix(f":{claim.port}")
    headers = {"Host": where, "User-Agent": "vertice-agent", "Accept-Encoding": "identity", "Accept": "*/*"}
    if how.method == "POST":
        headers["Content-Type"] = "application/octet-stream"
    own = {name.lower() for name, _ in how.headers}
    lines = [f"{name}: {value}" for name, value in headers.items() if name.lower() not in own]
    lines += [f"{name}: {value}" for name, value in how.headers]
    if how.method == "POST":
        lines.append("Content-Length: 0")
    lines.append("Connection: close")
    return "\r\n".join((f"{how.method} {how.path} HTTP/1.1", *lines, "", "")).encode("latin-1")
