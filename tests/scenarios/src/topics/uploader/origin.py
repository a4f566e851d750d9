"""Origins of several names at one address, `origin.py ADDRESS PORT`, each rough in its own way.

| host | how it takes an upload |
|---|---|
| `plain.example` | at once |
| `broken.example` | answers 500 twice |
| `busy.example` | answers 429 at first, and asks for four seconds of patience |
| `slow.example` | reads 200 kB a second |
| `silent.example` | takes it, and closes the connection instead of an answer at first |
| `liar.example` | by tus; the first bytes are lost, and said to be more than there are |
| `held.example` | by tus; see `reach` |

What it has is a line in the file `have`: host, SHA-256, and `first`, or `again` for one whose Idempotency-Key it
knows. A client that comes before it may is a line `early`.
"""

import hashlib
import http.server
import os
import sys
import threading
import time

PATIENCE_S = 4
LIMIT_S = 200
TUS = ("liar.example", "held.example")

lock = threading.Lock()
keys, requests, resources = set(), {}, []
busy_until = 0.0


def reach(stage):
    """A client that comes to this stage while the file `hold-STAGE` is there is told by its absence, and gets
    nothing more."""
    try:
        os.rename(f"hold-{stage}", f"held-{stage}")
    except FileNotFoundError:
        return
    time.sleep(LIMIT_S)
    raise ConnectionError(stage)


def note(line):
    with open("have", "a") as have:
        have.write(line + "\n")


def keep(host, key, body):
    with lock:
        kind = "again" if (host, key) in keys else "first"
        keys.add((host, key))
        note(f"{host} {hashlib.sha256(body).hexdigest()} {kind}")


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, **fields):
        self.send_response(status)
        self.send_header("Tus-Resumable", "1.0.0")
        self.send_header("Content-Length", "0")
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def pieces(self):
        left = int(self.headers["Content-Length"] or 0)
        while left:
            piece = self.rfile.read1(min(left, 40_000))
            if not piece:
                raise ConnectionError("it ended in the middle")
            left -= len(piece)
            yield piece
            if self.headers["Host"] == "slow.example":
                time.sleep(0.2)

    def do_POST(self):
        host = self.headers["Host"]
        if host in TUS:
            resources.append((bytearray(), int(self.headers["Upload-Length"])))
            number = len(resources) - 1
            reach("made")
            return self.answer(201, Location=f"/files/{number}")
        global busy_until
        body = b"".join(self.pieces())
        before = requests[host] = requests.get(host, -1) + 1
        if host == "broken.example" and before < 2:
            return self.answer(500)
        if host == "busy.example" and before == 0:
            busy_until = time.monotonic() + PATIENCE_S
            return self.answer(429, Retry_After=PATIENCE_S)
        if host == "busy.example" and time.monotonic() < busy_until:
            note("early")
        keep(host, self.headers["Idempotency-Key"], body)
        if host == "silent.example" and before == 0:
            self.close_connection = True
            return None
        return self.answer(201)

    def do_HEAD(self):
        has, length = resources[int(self.path.rpartition("/")[2])]
        lies = self.headers["Host"] == "liar.example" and not has
        self.answer(200, Upload_Offset=99_999_999 if lies else len(has), Upload_Length=length)

    def do_PATCH(self):
        host, number = self.headers["Host"], int(self.path.rpartition("/")[2])
        if host == "liar.example" and number == 0:
            b"".join(self.pieces())
            return self.answer(204, Upload_Offset=99_999_999)
        has, length = resources[number]
        if int(self.headers["Upload-Offset"]) != len(has):
            return self.answer(409)
        for piece in self.pieces():
            has.extend(piece)
            if len(has) > length // 2:
                reach("half")
        if len(has) == length:
            keep(host, self.headers["Idempotency-Key"], bytes(has))
            reach("whole")
        return self.answer(204, Upload_Offset=len(has))

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        print(sys.exc_info()[1], flush=True)


server = Server((sys.argv[1], int(sys.argv[2])), Origin)
print("listening", flush=True)
server.serve_forever()
