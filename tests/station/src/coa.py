"""A RADIUS server's request to end or change sessions (RFC 5176), and the code of what it is answered:
`coa.py SECRET-FILE FROM PORTAL CODE USER-NAME [KBIT]`. Made by the RFC's text and nothing of ours.
"""
import hashlib
import hmac
import os
import socket
import struct
import sys
import time

path, here, portal, code, name = sys.argv[1:6]
with open(path, "rb") as file:
    secret = file.read().strip()


def attribute(number, value):
    return struct.pack("BB", number, len(value) + 2) + value


# User-Name, Event-Timestamp, and WISPr-Bandwidth-Max-Down (vendor 14122, number 8).
attributes = attribute(1, name.encode()) + attribute(55, struct.pack("!I", int(time.time())))
if len(sys.argv) > 6:
    rate = attribute(8, struct.pack("!I", int(sys.argv[6]) * 1000))
    attributes += attribute(26, struct.pack("!I", 14122) + rate)
# Message-Authenticator first, over the packet with zeroes in its place and in the authenticator's.
blank = attribute(80, bytes(16))
head = struct.pack("!BBH", int(code), os.urandom(1)[0], 20 + len(blank) + len(attributes))
signed = hmac.new(secret, head + bytes(16) + blank + attributes, "md5").digest()
attributes = attribute(80, signed) + attributes
authenticator = hashlib.md5(head + bytes(16) + attributes + secret).digest()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.bind((here, 0))
    udp.settimeout(10)
    for attempt in range(3):
        udp.sendto(head + authenticator + attributes, (portal, 3799))
        try:
            answer = udp.recv(4096)
            break
        except TimeoutError:
            if attempt == 2:
                raise
length = struct.unpack("!H", answer[2:4])[0]
expected = hashlib.md5(answer[:4] + authenticator + answer[20:length] + secret).digest()
assert answer[1] == head[1] and answer[4:20] == expected, "an answer of somebody else"
print(answer[0])
