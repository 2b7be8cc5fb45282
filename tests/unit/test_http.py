"""What HTTP sessions share."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
import tracemalloc
import zlib

import pytest

from fetchline.http import (
    PERMANENT,
    UNAVAILABLE,
    UNDECODABLE,
    BodyTooLarge,
    Decoder,
    HTTPFailure,
    Meter,
    by_status,
    is_credential,
    judge,
    same_origin,
    without_password,
)

URL = "http://127.0.0.1/x"
TEXT = b"".join(b"%d," % n for n in range(30_000))


def deflated(data: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(data) + packer.flush()


def decoded(encoding: str, body: bytes, size: int = 1 << 20, limit: int | None = None) -> bytes:
    decoder = Decoder(encoding, Meter(URL, limit, "max_decoded_bytes"))
    parts = [decoder.decode(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join([*parts, decoder.flush()])


def test_importing_fetchline_does_not_import_it() -> None:
    code = "import sys, fetchline; assert 'fetchline.http' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("GZIP", gzip.compress(TEXT) + b"\0\0\0"),
        ("deflate", deflated(TEXT, 15)),
        ("deflate", deflated(TEXT, -15)),
        ("deflate, gzip", gzip.compress(deflated(TEXT, 15))),
        ("gzip, identity", gzip.compress(TEXT)),
        ("", TEXT),
    ],
    ids=["gzip", "members", "trailing", "zlib", "raw", "both", "identity", "none"],
)
def test_a_body_is_decoded_whatever_its_pieces(encoding: str, body: bytes, size: int) -> None:
    assert decoded(encoding, body, size) == TEXT


def test_a_body_that_ends_exactly_with_a_piece_of_the_decoder_is_whole() -> None:
    for count in ((1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 17):
        assert decoded("gzip", gzip.compress(bytes(count))) == bytes(count)


@pytest.mark.parametrize(
    "body",
    [b"this is not gzip", gzip.compress(TEXT)[:-1], gzip.compress(TEXT)[:5]],
    ids=["other", "cut", "begun"],
)
def test_a_body_that_is_not_what_it_says_is_an_error(body: bytes) -> None:
    with pytest.raises(zlib.error):
        decoded("gzip", body)


def test_an_empty_body_has_nothing_to_decode() -> None:
    assert decoded("gzip", b"") == b""


def test_an_encoding_that_cannot_be_bounded_is_refused() -> None:
    with pytest.raises(ValueError, match="'br'"):
        decoded("gzip, br", b"")


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
def test_a_bomb_is_refused_before_it_is_unpacked(encoding: str) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    bomb = gzip.compress(bomb) if "," in encoding else bomb
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        decoded(encoding, bomb, limit=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_meter_allows_as_much_as_its_limit() -> None:
    meter = Meter(URL, 10, "max_bytes")
    meter.add(10)
    with pytest.raises(BodyTooLarge, match=r"larger than max_bytes=10$"):
        meter.add(1)


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        *((status, {}, PERMANENT) for status in (400, 401, 403, 404, 405, 410, 422)),
        *((status, {}, UNAVAILABLE) for status in (500, 502, 503, 504, 599)),
        *((status, {}, None) for status in (200, 302, 408, 409, 425, 429)),
        (503, {"retry-after": "1"}, None),
        (500, {"retry-after": "1"}, UNAVAILABLE),
    ],
)
def test_a_status_means_the_same_to_every_client(
    status: int, headers: dict[str, str], verdict: object
) -> None:
    assert by_status(status, headers) == verdict
    assert judge(HTTPFailure("GET", URL, status, headers)) == verdict


def test_what_else_is_judged() -> None:
    import json

    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("<html>")
    assert judge(caught.value) == UNDECODABLE
    assert judge(BodyTooLarge(URL, 10, "max_bytes")) == PERMANENT
    assert judge(ValueError()) is None


def test_errors_pickle_with_their_notes() -> None:
    for error in (HTTPFailure("GET", URL, 404, {"Date": "now"}, "no"), BodyTooLarge(URL, 10, "max_bytes")):
        error.add_note("symbol AAPL")
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_a_failure_keeps_what_tells_something() -> None:
    headers = {"X-Request-Id": "r1", "Set-Cookie": "secret", "Retry-After": "3"}
    failure = HTTPFailure("GET", "http://me:secret@127.0.0.1:80/x?q=a@b", 500, headers, "y" * 1000)
    assert failure.url == "http://127.0.0.1:80/x?q=a@b"
    assert failure.headers == {"x-request-id": "r1", "retry-after": "3"}
    assert len(failure.body) == 500


@pytest.mark.parametrize("url", ["http://a.example/x@y", "/relative", "http://[::1]:80/x", ""])
def test_an_address_without_a_password_stays_as_it_is(url: str) -> None:
    assert without_password(url) == url


def test_credentials_are_known_by_name() -> None:
    secret = (
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "X-API-KEY",
        "X-Auth-Token",
        "X-Amz-Signature",
    )
    assert all(map(is_credential, secret))
    assert not any(map(is_credential, ("Accept", "User-Agent", "X-Trace", "Host", "Content-Type")))


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("http://a.example/x", "http://A.example:80/y", True),
        ("http://a.example", "https://a.example", True),
        ("https://a.example", "http://a.example", False),
        ("http://a.example:8000", "https://a.example", False),
        ("http://a.example", "http://b.example", False),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", False),
        ("http://127.0.0.1", "http://127.0.0.2", False),
    ],
)
def test_another_port_is_another_origin_and_https_is_a_step_up(here: str, there: str, same: bool) -> None:
    assert same_origin(here, there) is same
