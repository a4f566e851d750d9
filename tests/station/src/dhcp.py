"""A device that arrives: `dhcp.py DEVICE` asks for an address (RFC 2131) and prints where the captive
portal's API is, as option 114 of the offer says (RFC 8910).
"""
import os
import socket
import struct
import sys

transaction = os.urandom(4)
hardware = b"\x02\x00\x0a\x00\x01\x01"
# BOOTREQUEST; the answer may come as a broadcast; the cookie; DISCOVER; parameters: mask, router, 114.
head = struct.pack("!BBBB4sHH", 1, 1, 6, 0, transaction, 0, 0x8000) + bytes(16)
discover = head + hardware.ljust(16, b"\0") + bytes(192) + b"\x63\x82\x53\x63"
discover += b"\x35\x01\x01" + b"\x37\x03\x01\x03\x72" + b"\xff"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    udp.bind(("", 68))
    udp.settimeout(5)
    offer = b""
    for attempt in range(4):
        udp.sendto(discover.ljust(300, b"\0"), ("255.255.255.255", 67))
        try:
            while offer[4:8] != transaction:
                offer = udp.recv(1500)
            break
        except TimeoutError:
            if attempt == 3:
                raise
at = 240
while at + 1 < len(offer) and offer[at] != 255:
    if offer[at] == 0:
        at += 1
        continue
    number, length = offer[at], offer[at + 1]
    if number == 114:
        print(offer[at + 2 : at + 2 + length].decode())
    at += 2 + length
