"""Counts the bytes of the frames between two addresses that an interface has: `frames.py INTERFACE ONE OTHER
FILE` keeps the sum in a file, from when that is there.
"""
import os
import socket
import sys

interface, one, other, target = sys.argv[1:]
one, other = socket.inet_aton(one), socket.inet_aton(other)
ETH_P_ALL, IPV4 = 3, b"\x08\x00"
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
# SO_RCVBUFFORCE: on a busy machine all of it waits here, and the system's limit is 200 kB.
tap.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
tap.bind((interface, 0))
tap.settimeout(0.05)
total, told = 0, None
while True:
    if told != total:
        with open(target + ".new", "w") as file:
            file.write(str(total))
        os.replace(target + ".new", target)
        told = total
    try:
        while True:
            frame = tap.recv(1 << 17)
            if frame[12:14] == IPV4 and {frame[26:30], frame[30:34]} == {one, other}:
                total += len(frame)
    except TimeoutError:
        pass
