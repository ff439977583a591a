"""The cases of the Autobahn suite, by its list, against our endpoint: from frames and pings to text and closing.

It is no echo server: a text that is a `session.ping` is answered by its pong, bytes by an error, and both leave the
connection as it is. Where it does otherwise than the list says, service/README.md tells so. Each number is a group of
the list.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from tests.service.api.raw import BINARY, CLOSE, CONTINUE, PING, PONG, TEXT, RawSocket, frame, pieces
from tests.service.api.running import FAST, Running, running

LIMIT = FAST.max_message_bytes
PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG = 1002, 1007, 1009


def ping_message(length: int = 0, mark: str = "here") -> bytes:
    """A text of so many bytes that is answered with its mark."""
    text = json.dumps({"type": "session.ping", "id": mark}, ensure_ascii=False).encode()
    return text + b" " * max(0, length - len(text))


def pong_message(mark: str = "here") -> bytes:
    return json.dumps({"type": "session.pong", "id": mark}, ensure_ascii=False, separators=(",", ":")).encode()


@asynccontextmanager
async def _socket(service: Running) -> AsyncIterator[RawSocket]:
    socket = await RawSocket.connect(service)
    try:
        yield socket
    finally:
        socket.end()


async def check_answers(cases: Iterable[tuple[str, bytes, int, list[tuple[int, bytes]]]]) -> None:
    """Each case in a connection of its own: what is sent, in pieces of how many bytes, and what is heard, in order."""
    async with running() as service:
        for name, sent, chop, wanted in cases:
            async with _socket(service) as socket:
                await socket.send(sent, chop=chop)
                assert [await socket.receive() for _ in wanted] == wanted, name


async def check_closes(cases: Iterable[tuple[str, bytes, int]]) -> None:
    """Each case in a connection of its own: what is sent, and the code with which the server closes."""
    async with running() as service:
        for name, sent, code in cases:
            async with _socket(service) as socket:
                await socket.send(sent)
                assert await socket.close_code() == code, name


async def test_1_framing() -> None:
    pong = (TEXT, pong_message())
    lengths = [125, 126, 127, 128, 65535, LIMIT]
    cases = [(f"text of {n}", frame(TEXT, ping_message(n)), 0, [pong]) for n in lengths]
    cases.append(("text of 65536 in writes of 997", frame(TEXT, ping_message(LIMIT)), 997, [pong]))
    await check_answers(cases)
    async with running() as service, _socket(service) as socket:
        for length in (0, *lengths):
            await socket.send(frame(BINARY, bytes(length)))
            opcode, said = await socket.receive()
            assert (opcode, json.loads(said)["code"]) == (TEXT, "binary_unexpected"), length
        await socket.send(frame(TEXT))
        assert json.loads((await socket.receive())[1])["code"] == "json_invalid"


async def test_2_pings_and_pongs() -> None:
    here = (TEXT, pong_message())
    ten = b"".join(frame(PING, b"%d" % number) for number in range(10))
    pongs = [(PONG, b"%d" % number) for number in range(10)]
    await check_answers(
        [
            ("empty", frame(PING), 0, [(PONG, b"")]),
            ("text", frame(PING, b"Hello, world!"), 0, [(PONG, b"Hello, world!")]),
            (
                "bytes",
                frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
                0,
                [(PONG, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")],
            ),
            ("125 bytes", frame(PING, b"\xfe" * 125), 0, [(PONG, b"\xfe" * 125)]),
            ("125 bytes one by one", frame(PING, b"\xfe" * 125), 1, [(PONG, b"\xfe" * 125)]),
            ("a pong nobody asked for", frame(PONG) + frame(TEXT, ping_message()), 0, [here]),
            ("one with a payload", frame(PONG, b"unsolicited") + frame(TEXT, ping_message()), 0, [here]),
            ("and a ping", frame(PONG, b"unsolicited") + frame(PING, b"x"), 0, [(PONG, b"x")]),
            ("ten", ten, 0, pongs),
            ("ten byte by byte", ten, 1, pongs),
        ]
    )
    await check_closes([("126 bytes", frame(PING, b"\xfe" * 126), PROTOCOL_ERROR)])


async def test_3_reserved_bits() -> None:
    good = frame(TEXT, ping_message())
    cases = [(f"bits {bits} in a text", frame(TEXT, b"x", reserved=bits), PROTOCOL_ERROR) for bits in range(1, 8)]
    cases += [(f"bits {bits} after one", good + frame(TEXT, b"x", reserved=bits), PROTOCOL_ERROR) for bits in (2, 3)]
    cases += [(f"bits {bits} in a ping", good + frame(PING, reserved=bits), PROTOCOL_ERROR) for bits in (4, 5)]
    cases += [("bits in bytes", frame(BINARY, b"\x00\xff", reserved=6), PROTOCOL_ERROR)]
    await check_closes([*cases, ("bits in a close", frame(CLOSE, reserved=7), PROTOCOL_ERROR)])


async def test_4_reserved_opcodes() -> None:
    good = frame(TEXT, ping_message())
    opcodes = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    cases = [(f"opcode {opcode}", frame(opcode), PROTOCOL_ERROR) for opcode in opcodes]
    cases += [(f"opcode {opcode} after a text", good + frame(opcode, b"x") + frame(PING), 1002) for opcode in opcodes]
    await check_closes(cases)


async def test_5_fragments() -> None:
    text, here = ping_message(), (TEXT, pong_message())
    first, rest = frame(TEXT, text[:9], last=False), frame(CONTINUE, text[9:])
    five = [text[at : at + 8] for at in range(0, 40, 8)]
    between = frame(TEXT, five[0], last=False) + b"".join(
        frame(PING, b"%d" % number) + frame(CONTINUE, part, last=number == 3) for number, part in enumerate(five[1:])
    )
    await check_answers(
        [
            ("two", first + rest, 0, [here]),
            ("two byte by byte", first + rest, 1, [here]),
            ("a ping between", first + frame(PING, b"x") + rest, 0, [(PONG, b"x"), here]),
            ("a ping between, byte by byte", first + frame(PING, b"x") + rest, 1, [(PONG, b"x"), here]),
            ("empty ones", first + frame(CONTINUE, last=False) + rest, 0, [here]),
            ("pings between five", between, 0, [*((PONG, b"%d" % number) for number in range(4)), here]),
        ]
    )
    stray = frame(CONTINUE, b"x")
    await check_closes(
        [
            ("a ping in two", frame(PING, b"a", last=False) + frame(CONTINUE, b"b"), PROTOCOL_ERROR),
            ("a pong in two", frame(PONG, b"a", last=False) + frame(CONTINUE, b"b"), PROTOCOL_ERROR),
            ("continues nothing", stray + frame(TEXT, text), PROTOCOL_ERROR),
            ("continues nothing, not the last", frame(CONTINUE, b"x", last=False), PROTOCOL_ERROR),
            ("continues what is over", first + rest + stray, PROTOCOL_ERROR),
            ("another text within", first + frame(TEXT, text), PROTOCOL_ERROR),
            ("bytes within a text", first + frame(BINARY, text, last=False), PROTOCOL_ERROR),
        ]
    )


GOOD_TEXTS = (
    *("Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\u07ff", "\u0800", "\uffff"),
    *("\U00010000", "\U0010ffff", "\ue000", "\ufffd"),
)
GREEK = "κόσμε".encode()
BAD_BYTES = {
    "surrogate within": GREEK + b"\xed\xa0\x80edited",
    "lone continuation": b"\x80",
    "lone last continuation": b"\xbf",
    "continuations": b"\x80\xbf\x80\xbf",
    "first of two alone": b"\xc3 ",
    "first of three alone": b"\xe0 ",
    "first of four alone": b"\xf0 ",
    "first of five": b"\xf8\x88\x80\x80\x80",
    "first of six": b"\xfc\x84\x80\x80\x80\x80",
    "never in a text": b"\xfe\xfe\xff\xff",
    "too long for /": b"\xc0\xaf",
    "too long for /, three": b"\xe0\x80\xaf",
    "too long for /, four": b"\xf0\x80\x80\xaf",
    "too long for NUL": b"\xc0\x80",
    "just too long": b"\xf0\x8f\xbf\xbf",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond the last": b"\xf4\x90\x80\x80",
    "cut off": b"\xf0\x9f\x98",
}


async def test_6_text() -> None:
    cases = [(text, frame(TEXT, ping_message(mark=text)), 0, [(TEXT, pong_message(text))]) for text in GOOD_TEXTS]
    cases += [
        (f"{text} in pieces", pieces(TEXT, ping_message(mark=text), 1), 0, [(TEXT, pong_message(text))])
        for text in GOOD_TEXTS
    ]
    await check_answers(cases)


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_6_bytes_that_are_no_text(in_pieces: bool) -> None:
    def sent(bad: bytes) -> bytes:
        message = b'{"type": "session.ping", "id": "' + bad + b'"}'
        return pieces(TEXT, message, 1) if in_pieces else frame(TEXT, message)

    await check_closes((name, sent(bad), INVALID_TEXT) for name, bad in BAD_BYTES.items())


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


async def test_7_closing() -> None:
    good, bye = frame(TEXT, ping_message()), closing(1000)
    async with running() as service:
        async with _socket(service) as socket:
            await socket.send(good)
            assert await socket.receive() == (TEXT, pong_message())
            await socket.send(bye)
            assert await socket.frames() == [(CLOSE, b"\x03\xe8")]
        for name, sent, wanted in (
            ("twice", bye + bye, [(CLOSE, b"\x03\xe8")]),
            ("a ping after", bye + frame(PING), [(CLOSE, b"\x03\xe8")]),
            ("a text after", bye + good, [(CLOSE, b"\x03\xe8")]),
            ("without a code", frame(CLOSE), [(CLOSE, b"")]),
            ("with a reason", closing(1000, b"Hello World!"), [(CLOSE, b"\x03\xe8Hello World!")]),
            ("with a long reason", closing(1000, b"*" * 123), [(CLOSE, b"\x03\xe8" + b"*" * 123)]),
        ):
            async with _socket(service) as socket:
                await socket.send(sent)
                assert await socket.frames() == wanted, name
    await check_closes(
        [
            ("within a message", frame(TEXT, b"{", last=False) + bye, PROTOCOL_ERROR),
            ("one byte", frame(CLOSE, b"a"), PROTOCOL_ERROR),
            ("a reason too long", closing(1000, b"*" * 124), PROTOCOL_ERROR),
            ("a reason that is no text", closing(1000, BAD_BYTES["surrogate within"]), INVALID_TEXT),
        ]
    )


async def test_7_close_codes() -> None:
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    bad = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    cases = [(f"{code}", closing(code), code) for code in good]
    await check_closes(cases + [(f"{code}", closing(code), PROTOCOL_ERROR) for code in bad])


async def test_9_limits() -> None:
    over = ping_message(LIMIT + 1)
    cases = [(f"in pieces of {size}", pieces(TEXT, over, size), TOO_BIG) for size in (64, 256, 1024, 4096, 16384)]
    await check_closes([("at once", frame(TEXT, over), TOO_BIG), ("bytes", frame(BINARY, over), TOO_BIG), *cases])
    async with running() as service, _socket(service) as socket:
        for number in range(1000):
            await socket.send(frame(TEXT, ping_message(mark=str(number))))
        for number in range(1000):
            assert await socket.receive() == (TEXT, pong_message(str(number)))


async def test_10_many_pieces_are_one_message() -> None:
    await check_answers([("1300 bytes each", pieces(TEXT, ping_message(LIMIT), 1300), 0, [(TEXT, pong_message())])])


async def test_others_go_on_beside_all_of_this() -> None:
    async with running() as service, service.connection() as other:
        sockets = [await RawSocket.connect(service) for _ in range(20)]
        for number, socket in enumerate(sockets):
            await socket.send((frame(3), frame(TEXT, b"\xff"), frame(TEXT, b"x", reserved=1), closing(999))[number % 4])
        await other.say(ping_message().decode())
        await other.hear()
        codes = await asyncio.gather(*(socket.close_code() for socket in sockets))
        assert codes == [PROTOCOL_ERROR, INVALID_TEXT, PROTOCOL_ERROR, PROTOCOL_ERROR] * 5
        for socket in sockets:
            socket.end()
            await socket.gone()
