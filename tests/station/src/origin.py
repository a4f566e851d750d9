"""The servers behind the backhaul: `origin.py PORT BYTES ADDRESS…` answers at `/` who was asked, and at
`/file` with so many bytes, at all of these addresses.
"""
import http.server
import socketserver
import sys
import threading

port, size, addresses = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        here = self.connection.getsockname()[0]
        body = b"\0" * size if self.path == "/file" else f"this is {here}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    # A train's passengers at once.
    request_queue_size = 512

    def handle_error(self, *_):
        # A client that was cut off.
        pass


for address in addresses:
    threading.Thread(target=Server((address, port), Answers).serve_forever).start()
