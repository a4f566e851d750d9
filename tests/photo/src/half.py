"""A phone whose upload stops in the middle: `half.py NAME ADDRESS CA PATH FILE BYTES SECONDS` sends the head of
an upload and so many bytes of the file, and prints `ended`, and what it was answered, when that is over."""
import socket
import ssl
import sys

name, address, authority, path, file, count, seconds = sys.argv[1:]
with open(file, "rb") as photo:
    body = photo.read()
tls = ssl.create_default_context(cafile=authority)
with socket.create_connection((address, 443), timeout=int(seconds)) as plain:
    with tls.wrap_socket(plain, server_hostname=name) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {name}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = b""
        try:
            connection.sendall(head.encode() + body[: int(count)])
            answer = connection.recv(4096)
        except OSError as error:
            print(error)
        print("ended", answer[:80])
