"""Asks a resolver for many names at once, as a tunnel does: how many were answered, how many refused (RFC 1035's
code 5), and in how many seconds."""

import socket
import sys
import time

REFUSED = 5
# More would be dropped where they arrive, not refused.
AT_ONCE = 30
client, server, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


def question(number):
    labels = [b"payload-%d" % number, b"tunnel", b"example"]
    name = b"".join(bytes([len(label)]) + label for label in labels)
    return number.to_bytes(2, "big") + b"\x01\x00\x00\x01" + bytes(6) + name + b"\0\0\x01\0\x01"


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.bind((client, 0))
    udp.settimeout(2)
    begun = time.monotonic()
    codes = {}
    for first in range(0, count, AT_ONCE):
        for number in range(first, min(first + AT_ONCE, count)):
            udp.sendto(question(number), (server, 53))
        try:
            while len(codes) < first + AT_ONCE:
                answer = udp.recv(2048)
                codes[answer[:2]] = answer[3] & 15
        except TimeoutError:
            pass  # Some got no answer.
    refused = sum(code == REFUSED for code in codes.values())
    print(len(codes) - refused, refused, int(time.monotonic() - begun))
