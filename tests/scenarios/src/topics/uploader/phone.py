"""A phone and its site, on the access side of an uploader.

`begin DOMAIN` uploads a first part, and destroys the domain while the second is on its way; it prints where
the upload is. `finish LOCATION` goes on where the uploader says, and waits until the site has all of it.
"""

import base64
import hashlib
import http.client
import http.server
import subprocess
import sys
import threading
import urllib.request

UPLOADER = "10.0.0.2"
SITE = ("10.0.0.1", 8080)
PHOTOGRAPH = bytes(at * at % 251 for at in range(1 << 16)) * 96
FIRST = 1_000_000
DESTROYED_AT = 2_500_000
# An emulated machine is slow, and the scenario has a limit of its own.
LIMIT_S = 200


def ask(method, path, fields, body=None):
    connection = http.client.HTTPConnection(UPLOADER, timeout=LIMIT_S)
    connection.request(method, path, body, {"Tus-Resumable": "1.0.0", **fields})
    answer = connection.getresponse()
    answer.read()
    return answer


def patch(offset):
    return {
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
    }


def begin(domain):
    metadata = {
        "url": "http://photos.example/upload/1",
        "address": "%s:%d" % SITE,
        "method": "POST",
        "content-type": "image/jpeg",
        "cookie": "who=me",
    }
    pairs = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items()]
    made = ask("POST", "/files/", {"Upload-Length": str(len(PHOTOGRAPH)), "Upload-Metadata": ",".join(pairs)})
    assert made.status == 201, made.status
    location = made.headers["Location"]
    stored = ask("PATCH", location, patch(0), PHOTOGRAPH[:FIRST])
    assert stored.status == 204 and stored.headers["Upload-Offset"] == str(FIRST), stored.status
    connection = http.client.HTTPConnection(UPLOADER, timeout=LIMIT_S)
    connection.putrequest("PATCH", location)
    for name, value in {"Tus-Resumable": "1.0.0", **patch(FIRST)}.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(PHOTOGRAPH) - FIRST))
    connection.endheaders()
    connection.send(PHOTOGRAPH[FIRST:DESTROYED_AT])
    subprocess.run(["xl", "destroy", domain], check=True)
    print(location)


class Site(http.server.BaseHTTPRequestHandler):
    came = []
    change = threading.Condition()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Host"] == "photos.example" and self.headers["Cookie"] == "who=me"
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()
        with Site.change:
            Site.came.append((self.path, hashlib.sha256(body).hexdigest()))
            Site.change.notify_all()

    def log_message(self, *_):
        pass


def delivered():
    metrics = urllib.request.urlopen(f"http://{UPLOADER}:8008/metrics", timeout=LIMIT_S).read().decode()
    return 'uploader_attempts_total{outcome="delivered"} 1' in metrics


def finish(location):
    site = http.server.ThreadingHTTPServer(SITE, Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    offset = int(ask("HEAD", location, {}).headers["Upload-Offset"])
    assert FIRST <= offset <= DESTROYED_AT, offset
    stored = ask("PATCH", location, patch(offset), PHOTOGRAPH[offset:])
    assert stored.status == 204 and stored.headers["Upload-Offset"] == str(len(PHOTOGRAPH)), stored.status
    with Site.change:
        assert Site.change.wait_for(lambda: Site.came, LIMIT_S), "nothing came"
    assert any(delivered() for _ in range(1000)), "it is not written down"
    assert Site.came == [("/upload/1", hashlib.sha256(PHOTOGRAPH).hexdigest())], Site.came
    print(f"the site has it, after {offset} bytes")


if __name__ == "__main__":
    {"begin": begin, "finish": finish}[sys.argv[1]](sys.argv[2])
