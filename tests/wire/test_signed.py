"""Messages signed with TSIG: agents have no keys (RFC 8945 sections 5.2 and 5.3.2)."""

from __future__ import annotations

import struct
from typing import Any

import dnslib
import pytest

from dns import signatures
from dns.signatures import bad_key
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, question, responder
from tests.wire.test_cookies import CLIENT

KEY = b"\3key\4Corp\0"
ALGORITHM = b"\x0bhmac-sha256\0"
TIME, FUDGE, ORIGINAL_ID = b"\0\0\x69\x29\x12\x34", 300, 4711
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
QUERY = question(f"billing.{ZONE}")


def data(mac: bytes = b"m" * 32, algorithm: bytes = ALGORITHM, other: bytes = b"", error: int = 0) -> bytes:
    head = algorithm + TIME + struct.pack("!HH", FUDGE, len(mac)) + mac
    return head + struct.pack("!HHH", ORIGINAL_ID, error, len(other)) + other


def tsig(rdata: bytes | None = None, owner: bytes = KEY, class_: int = 255) -> bytes:
    rdata = data() if rdata is None else rdata
    return owner + struct.pack("!HHIH", 250, class_, 0, len(rdata)) + rdata


def signed(*additional: bytes, query: bytes = QUERY) -> bytes:
    return query[:11] + bytes((len(additional),)) + query[12:] + b"".join(additional)


def answered(query: bytes, *, tcp: bool = False) -> bytes:
    server = responder(StandingView([instance("billing", "10.0.0.1")]))
    answer = server.tcp(query) if tcp else server.udp(query)
    assert answer is not None
    assert answer[:2] == query[:2]
    return answer


def code(answer: bytes) -> int:
    return answer[3] & 0xF


REJECTED = tsig(data(b"", error=17), owner=KEY.lower())


@pytest.mark.parametrize("tcp", [False, True])
def test_a_signed_query_is_answered_with_notauth_and_an_unsigned_badkey(tcp: bool) -> None:
    answer = answered(signed(tsig()), tcp=tcp)
    assert (code(answer), answer[4:12]) == (9, b"\0\1\0\0\0\0\0\1")
    assert answer[12:] == QUERY[12:] + REJECTED, "key, algorithm, time and id are the client's; there is no MAC"


def test_the_signature_comes_last_behind_opt_and_cookie() -> None:
    with_cookie = question(f"billing.{ZONE}", edns=1232, options=(dnslib.EDNSOption(10, CLIENT),))
    answer = answered(signed(with_cookie[len(QUERY) :], tsig()))
    assert (code(answer), answer[10:12], answer.endswith(REJECTED)) == (9, b"\0\2", True)
    opt: Any = dnslib.DNSRecord.parse(answer[:11] + b"\1" + answer[12 : -len(REJECTED)]).ar[0]
    assert [len(option.data) for option in opt.rdata if option.code == 10] == [24]


@pytest.mark.parametrize("opcode", [4, 5])
def test_a_signed_message_of_another_kind_is_answered_likewise(opcode: int) -> None:
    query = signed(tsig())
    assert code(answered(query[:2] + bytes((opcode << 3,)) + query[3:])) == 9


@pytest.mark.parametrize(
    "additional",
    [
        (tsig(), OPT),
        (tsig(), tsig()),
        (tsig(class_=1),),
        (tsig(owner=b"\xc0\xff"),),
        (tsig(data(algorithm=b"\xc0\x0c")),),
        (tsig(data()[:-1]),),
        (tsig(data() + b"x"),),
        (tsig(data()[:20]),),
        (tsig(ALGORITHM),),
        (tsig(b""),),
        (tsig(data(b"m")[: len(ALGORITHM) + 8] + b"\xff\xff" + b"m" * 10),),
    ],
)
def test_a_signature_that_is_malformed_or_not_last_is_a_format_error(additional: tuple[bytes, ...]) -> None:
    answer = answered(signed(*additional))
    assert code(answer) == 1
    assert answer[10:12] == (b"\0\1" if OPT in additional else b"\0\0")


@pytest.mark.parametrize("count_at", [7, 9])
def test_a_signature_in_another_section_is_a_format_error(count_at: int) -> None:
    query = QUERY[:count_at] + b"\1" + QUERY[count_at + 1 :] + tsig()
    assert code(answered(query)) == 1


def test_the_name_of_a_key_may_be_compressed_and_is_written_out() -> None:
    answer = answered(signed(tsig(owner=b"\3key\xc0\x14")))
    assert answer[12 + len(QUERY) - 12 :] == tsig(data(b"", error=17), owner=b"\3key" + QUERY[20:-4])


def test_one_of_many_signatures_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(message: bytes, owner_at: int, fields_at: int) -> bytes | None:
        read.append(owner_at)
        return bad_key(message, owner_at, fields_at)

    monkeypatch.setattr(signatures, "bad_key", counted)
    for one in (tsig(), tsig(b"")):
        read.clear()
        assert code(answered(signed(*[one] * 50))) == 1
        assert len(read) == 1


def test_a_question_for_tsig_is_a_format_error() -> None:
    assert code(answered(question(f"billing.{ZONE}", "TSIG"))) == 1


def test_what_is_no_tsig_has_no_answer() -> None:
    message = signed(tsig(b""))
    assert bad_key(message, len(QUERY), len(QUERY) + len(KEY)) is None
