"""One HTTP connection of a replica or an agent: aiohttp's, within the limits of `connections.py`.

What aiohttp refuses before a handler sees it (bytes that are not HTTP, headers that are too large) is answered in the
one shape of errors. It reads no request, and decides nothing about one.

A request with nothing before or behind it can be answered *at once*, in the turn of the loop in which it arrives: that
saves aiohttp's task, its request, its routing and its response, which take five times as long as a ready answer. What
is not answered so goes aiohttp's way, with what was noted about it meanwhile. A write takes longer and has a task of
its own: it stays the first of the requests that wait until it is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, NamedTuple, TypeAlias, cast

from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD

from registry_core.api.connections import Connections
from registry_core.api.http_faults import MAX_FIELD_BYTES, MAX_FIELDS, MAX_HEADER_BYTES, MAX_TARGET_BYTES, fault_of
from registry_core.api.known_heads import ends_a_head
from registry_core.api.problems import INTERNAL, HeaderTooLarge, error_response, problem_of, problem_response, status_of
from registry_core.api.problems import encoded as encoded_problem
from registry_core.api.ready_heads import NO_ANSWER, ReadyAnswer
from registry_core.api.request_head import RequestHead
from registry_core.domain.connection_slots import Closing

# So many requests wait on one connection before it is not read from any more; aiohttp's 32 of a thousand connections
# take longer to parse than others should wait.
_READ_AHEAD: Final = 2
# Of a body that nobody reads yet, so much and as much again is held; aiohttp's default is a mebibyte.
_READ_BUFFER: Final = 32 * 1024
# Returns the answer to a request without a body, or nothing: then a handler answers it, and finds in the request what
# this one noted in its head. It raises no errors.
AnswersAtOnce: TypeAlias = Callable[[RequestHead], ReadyAnswer]
# Returns what carries out a request whose body has come, and returns such an answer; None: a handler carries it out.
CarriesOut: TypeAlias = Callable[[RequestHead, StreamReader], Coroutine[Any, Any, ReadyAnswer] | None]


def _no_answer(_: RequestHead) -> ReadyAnswer:
    return NO_ANSWER


def _nothing(_head: RequestHead, _body: StreamReader) -> None:
    return None


class AtOnce(NamedTuple):
    """What answers a request without waking aiohttp's task."""

    answer: AnswersAtOnce = _no_answer
    carry_out: CarriesOut = _nothing


class HttpConnection(web.RequestHandler):
    """One connection, from its first byte to its last."""

    __slots__ = (
        "_at_once",
        "_body",
        "_connections",
        "_is_between",
        "_is_free",
        "_is_refused",
        "_lacks_header",
        "_remote",
        "_slots",
        "_unfinished",
        "_waits_for_turn",
        "_writing",
        "began_at",
        "begun",
    )

    def __init__(
        self, connections: Connections, server: web.Server, logger: logging.Logger, at_once: AtOnce | None
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for none
            logger=logger,
            keepalive_timeout=connections.limits.keepalive_s,
            lingering_time=connections.limits.linger_s,
            read_bufsize=_READ_BUFFER,
            auto_decompress=False,  # compressed bodies are refused, so never inflate them
            max_line_size=MAX_TARGET_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_FIELDS,
        )
        # A client that sends several requests at once is not read from while any of them waits.
        self._max_msg_queue_size, self._msg_queue_resume_size = _READ_AHEAD, 0
        self._connections = connections
        self._slots = connections.slots
        self._at_once = at_once
        # The head of the next request, which was not answered at once.
        self.begun: RequestHead | None = None
        # Carries out the first of the requests that wait.
        self._writing: asyncio.Task[None] | None = None
        self._remote: str | None = None
        # Whether no request is aiohttp's task's, so that the next one may be answered at once.
        self._is_free = True
        # Whether the parser is between two requests.
        self._is_between = True
        self._is_refused = False
        self._waits_for_turn = False
        self.began_at = 0.0
        # It has a deadline for the header that has not come, or only in part.
        self._lacks_header = True
        # The body of the last request, and how many bytes have come after it that are no whole request yet.
        self._body: StreamReader | None = None
        self._unfinished = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        whole = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if isinstance(peer, list | tuple) and peer else None
        if self._connections.enters(self, whole):
            super().connection_made(transport)
        else:
            self._is_refused, self._is_free = True, False
            whole.abort()

    @property
    def is_busy(self) -> bool:
        """Whether a request is in flight; one that waits for its peer, or for its turn, is not."""
        is_waiting = self.writing_paused or self._waits_for_turn
        return not is_waiting and (self._request_in_progress or bool(self._messages))

    def data_received(self, data: bytes) -> None:
        waiting, idle, is_writing = self._messages, self._waiter, self._writing is not None
        before = len(waiting)
        # When the task has just answered, it is free before it has had the turn in which it begins to wait.
        is_free = (self._is_free or (idle is not None and not idle.done())) and not before and not is_writing
        if is_free and self._is_between and not self._close and not self._force_close:
            known = self._connections.heads.find(data)
            if known is not None and self._answered_at_once(known):
                self._has_header()
                return
        if not self._is_refused:
            self._waiter = None  # aiohttp's task is woken below, unless that is not necessary
            super().data_received(data)
            self._waiter = idle
            if not is_free:
                self._is_between = False
        if len(waiting) > before:
            self._body = waiting[-1][1]
            if not before and not self._request_in_progress:
                self.began_at = monotonic()
            self._has_header()
            if not is_writing and not (is_free and self._is_taken_alone(data)):
                self._wake()
        elif not self._is_refused and (self._body is None or self._body.is_eof()):
            self._received_a_part(len(data))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        result = await super().finish_response(request, resp, start_time)
        if self._messages:
            self._waits_for_turn = True
            await self._connections.turn(self)
            self._waits_for_turn = False
        else:
            self._slots.rested(self, monotonic())
            is_read = self._body is None or self._body.is_eof()
            self._is_free = resp.keep_alive is True and is_read and not result[1]
        return result

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words; the answer has ours
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, and there is no second one")
        if isinstance(exc, HttpProcessingError):
            response = error_response(fault_of(exc))
        else:
            self.log_exception("Error handling request", exc_info=exc)
            response = problem_response(status, INTERNAL)
        response.force_close()
        return response

    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp says so after each body. Unless reading was paused, nothing waits to be parsed.
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.stalled(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._connections.reads_again(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        task = self._task_handler
        if exc is None and self._request_in_progress:
            exc = ConnectionResetError("the peer has left")
        super().connection_lost(exc)
        self._body = self.begun = None  # they refer to this connection
        self._connections.left(self, task, self._writing)
        if exc is not None and task is not None:
            # It is kept by the body, which its traceback leads to: thousands of these would wait for the collector.
            task.add_done_callback(lambda _: exc.with_traceback(None))

    def close(self) -> None:
        if self._writing is None:
            super().close()
        else:
            self._close = True  # once it is answered, as for a request in a handler

    def _process_keepalive(self) -> None:
        if self._writing is not None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def _has_header(self) -> None:
        if self._lacks_header:
            self._lacks_header = False
            self._unfinished = 0
            self._connections.has_header(self)

    def _is_taken_alone(self, data: bytes) -> bool:
        """Return whether the request that waits is the only one, and has been answered, or is being carried out."""
        message, body = self._messages[0]
        was_between, self._is_between = self._is_between, False
        if len(self._messages) > 1 or not isinstance(message, RawRequestMessage) or message.upgrade:
            return False
        is_bare = body is EMPTY_PAYLOAD
        self._is_between = is_bare and ends_a_head(data)
        if (
            message.method != (hdrs.METH_GET if is_bare else hdrs.METH_POST)
            or message.version != HttpVersion11
            or message.should_close
            or hdrs.EXPECT in message.headers
            or self.begun is not None
        ):
            return False
        if not is_bare:
            return body.is_eof() and self._is_carried_out(message, body)
        if not self._answered_at_once(message):
            return False
        self._consumed()
        if was_between and self._is_between:
            self._connections.heads.learn(data, message)
        return True

    def _answered_at_once(self, message: RawRequestMessage) -> bool:
        """Return whether a plain request has been answered."""
        transport, at_once = self.transport, self._at_once
        # While the peer has not read the last answer, this one has to wait.
        if transport is None or at_once is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        head = RequestHead(message, transport, self._remote)
        answer = at_once.answer(head)
        if not answer:
            self.begun = head
            return False
        self._send(transport, answer)
        return True

    def _is_carried_out(self, message: RawRequestMessage, body: StreamReader) -> bool:
        """Return whether a plain request with this body, all of which has come, is being carried out from now on."""
        transport, at_once = self.transport, self._at_once
        if transport is None or at_once is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        if self._waiter is None or self._waiter.done():
            return False  # it would find the request among those that wait
        head = RequestHead(message, transport, self._remote)
        work = at_once.carry_out(head, body)
        if work is None:
            return False
        self._request_in_progress = True
        self._writing = self._loop.create_task(self._carried_out(head, work))
        return True

    async def _carried_out(self, head: RequestHead, work: Coroutine[Any, Any, ReadyAnswer]) -> None:
        """Send the answer to the first of the requests that wait, or leave it to its handler."""
        try:
            answer = await work
        finally:
            self._writing = None
            self._request_in_progress = False
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
        transport = self.transport
        if transport is None:
            return  # the peer has left
        if not answer:
            self.begun = head
            self._wake()
            return
        self._consumed()
        self._send(transport, answer)
        if self._close or self._force_close:
            super().close()
            transport.close()
            return
        if self._messages:
            self._wake()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()

    def _consumed(self) -> None:
        """Drop the first of the requests that wait: it has been answered."""
        self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()

    def _send(self, transport: asyncio.Transport, answer: ReadyAnswer) -> None:
        if len(answer) == 1:
            transport.write(answer[0])
        else:
            transport.writelines(answer)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._slots.rested(self, monotonic())

    def _wake(self) -> None:
        """Leave the first of the requests that wait to aiohttp's task, unless that has ended."""
        self._is_free = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _received_a_part(self, size: int) -> None:
        """Count bytes that are no whole request yet."""
        self._unfinished += size
        self._lacks_header = True
        self._is_between = False
        if self._unfinished > MAX_HEADER_BYTES:
            self._refuse_header()
        elif not self.is_busy:
            self._connections.received_a_part(self)

    def _refuse_header(self) -> None:
        """Answer a header that is too large as a whole; behind a request in flight there is no place for an answer."""
        transport, self._is_refused, self._is_free = self.transport, True, False
        assert transport is not None  # it has just received something
        self._connections.refused(self, Closing.TOO_LARGE)
        if self.is_busy or not transport.can_write_eof():
            transport.abort()
            return
        error = HeaderTooLarge()
        body = encoded_problem(problem_of(error))
        status = status_of(error)
        head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head.encode(), len(body), body))
        transport.write_eof()


def serving(
    connections: Connections, server: web.Server, logger: logging.Logger, at_once: AtOnce | None = None
) -> Callable[[], asyncio.Protocol]:
    """Return a factory of connections that `server` answers, within the limits of `connections`.

    `at_once` is asked first about each request that may be answered without a handler.
    """
    make = server.request_factory

    def made(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        assert isinstance(protocol, HttpConnection)  # made below
        request = make(message, payload, protocol, writer, task)
        if protocol.begun is not None:
            for key, value in protocol.begun.items():
                request[key] = value
            protocol.begun = None
        return request

    server.request_factory = made
    return lambda: HttpConnection(connections, server, logger, at_once)
