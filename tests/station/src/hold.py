"""A client that holds a connection: `hold.py CLIENT ADDRESS PORT NAME CERTIFICATE` asks a server, which it
believes by that certificate alone, says `held`, and then how the connection ends.
"""
import errno
import select
import socket
import ssl
import sys

client, address, port, name, certificate = sys.argv[1:]
tls = ssl.create_default_context(cafile=certificate)
plain = socket.create_connection((address, int(port)), timeout=60, source_address=(client, 0))
connection = tls.wrap_socket(plain, server_hostname=name)
connection.settimeout(600)
connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
said = b""
while b"this is" not in said:
    said += connection.recv(4096)
print("held", flush=True)
while True:
    select.select([connection], [], [])
    # A read would say that the other side has ended, also where it was cut off.
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET:
        print("reset", flush=True)
        break
    if not connection.recv(4096):
        print("ended", flush=True)
        break
