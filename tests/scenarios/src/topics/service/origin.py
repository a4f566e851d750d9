"""An origin beside a guest: the DNS server and the HTTPS server that the guest's client is to find.

origin.py NAME CERTIFICATE KEY COMMAND...

Answers DNS on 10.0.0.1 for NAME, starts COMMAND, answers one request on port 443, says how it came,
and ends.
"""

import http.server
import socket
import ssl
import subprocess
import sys
import threading

ADDRESS = "10.0.0.1"
LIMIT_S = 150
name, certificate, key, *command = sys.argv[1:]


def question(query):
    """The name and the type that a query asks for, and where its question ends (RFC 1035, 4.1.2)."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), int.from_bytes(query[at + 1 : at + 3], "big"), at + 5


def answer(query):
    asked, kind, end = question(query)
    known = asked.lower() == name
    records = b""
    if known and kind == 1:
        # A pointer to the name in the question, type A, class IN, a minute.
        records = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + socket.inet_aton(ADDRESS)
    flags = b"\x81\x80" if known else b"\x81\x83"
    counts = b"\x00\x01" + (b"\x00\x01" if records else b"\x00\x00") + bytes(4)
    return query[:2] + flags + counts + query[12:end] + records


def serve_names(server):
    while True:
        query, client = server.recvfrom(512)
        server.sendto(answer(query), client)


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        tls = self.connection.version()
        print(f"origin: {self.path} for {self.headers['Host']} over {tls} from {self.client_address[0]}")
        body = f"the origin of {name}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind((ADDRESS, 53))
threading.Thread(target=serve_names, args=(names,), daemon=True).start()
server = http.server.HTTPServer((ADDRESS, 443), Origin)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.timeout = LIMIT_S
server.handle_timeout = lambda: sys.exit(f"origin: nobody came within {LIMIT_S} s")
subprocess.run(command, check=True)
server.handle_request()
