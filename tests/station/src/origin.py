"""The servers behind the backhaul: `origin.py PORTS BYTES ADDRESS[=CERTIFICATE]…` answers at `/` who was
asked, and at `/file` with so many bytes, at all of these addresses and ports (80,443). Who begins with a
handshake is answered with the certificate, whose file has its key as well. Each connection is a line of its
output, with the address and port that it came to.
"""
import http.server
import socket
import socketserver
import ssl
import sys
import threading

ports, size, places = [int(port) for port in sys.argv[1].split(",")], int(sys.argv[2]), sys.argv[3:]
HANDSHAKE = b"\x16"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        address, port = self.request.getsockname()
        sys.stdout.write(f"visitor {address} {port}\n")
        sys.stdout.flush()
        if self.server.tls and self.request.recv(1, socket.MSG_PEEK) == HANDSHAKE:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self):
        here = self.connection.getsockname()[0]
        body = b"\0" * size if self.path == "/file" else f"this is {here}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def finish(self):
        super().finish()
        # The server closes what it accepted, which is no more the connection after a handshake.
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.close()

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    # A train's passengers at once.
    request_queue_size = 512

    def __init__(self, place, certificate):
        super().__init__(place, Answers)
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)

    def server_bind(self):
        # HTTPServer's asks name servers who it is, for seconds where there are none.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    def handle_error(self, *_):
        # A client that was cut off.
        pass


for place in places:
    address, _, certificate = place.partition("=")
    for port in ports:
        threading.Thread(target=Server((address, port), certificate).serve_forever).start()
