"""Viewers of a programme: `viewers.py URL COUNT` has so many watch the playlist at the URL at once.

A playlist has segments of a second each, with their SHA-256. A viewer plays from the first segment on; one
that comes too late makes it wait. Prints a line of JSON: segments that came and were right, those that were
wrong or did not come, and for how many seconds all viewers together waited.
"""
import hashlib
import http.client
import json
import sys
import threading
import time
import urllib.parse

url, count = urllib.parse.urlsplit(sys.argv[1]), int(sys.argv[2])
lock = threading.Lock()
told = {"right": 0, "wrong": 0, "missing": 0, "stalled": 0.0}


def get(connection, path):
    connection.request("GET", path, headers={"Host": "tv.example"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise OSError(f"{path}: {response.status}")
    return body


def watch():
    mine = {"right": 0, "wrong": 0, "missing": 0, "stalled": 0.0}
    connection = http.client.HTTPConnection(url.netloc, timeout=120)
    try:
        lines = get(connection, url.path).decode().splitlines()
    except OSError:
        mine["missing"] += 1
        lines = []
    programme = [line.split() for line in lines if not line.startswith("#")]
    due = None
    for name, digest in programme:
        try:
            body = get(connection, urllib.parse.urljoin(url.path, name))
            right = hashlib.sha256(body).hexdigest() == digest
            mine["right" if right else "wrong"] += 1
        except (OSError, http.client.HTTPException):
            mine["missing"] += 1
            connection.close()
        now = time.monotonic()
        if due is not None and now > due:
            mine["stalled"] += now - due
        due = max(due or now, now) + 1
        if due - now > 2:  # Enough is buffered.
            time.sleep(due - now - 2)
    with lock:
        for key, value in mine.items():
            told[key] += value


viewers = [threading.Thread(target=watch) for _ in range(count)]
for viewer in viewers:
    viewer.start()
for viewer in viewers:
    viewer.join()
told["stalled"] = round(told["stalled"], 1)
print(json.dumps(told))
