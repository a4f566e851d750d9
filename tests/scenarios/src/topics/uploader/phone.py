"""A phone that uploads by tus 1.0: `phone.py UPLOADER ORIGIN VERB …`, where the uploader is to reach all
origins at ORIGIN.

| verb | does | prints |
|---|---|---|
| `all HOST SEED LENGTH` | uploads for an origin | the last status, and the upload's place |
| `part HOST SEED LENGTH` | uploads a third | the same |
| `stop HOST SEED LENGTH` | uploads a third, begins to send the rest, and stops in the middle for ever | the same |
| `finish PLACE SEED LENGTH` | goes on where the uploader says | the last status, and where that was |
| `digest SEED LENGTH` | | the SHA-256 of these bytes |
"""

import base64
import hashlib
import http.client
import random
import sys
import time

# An emulated machine is slow.
LIMIT_S = 200
uploader, origin, verb, *words = sys.argv[1:]


def photograph(seed, length):
    return random.Random(int(seed)).randbytes(int(length))


def begin(method, path, fields, length):
    connection = http.client.HTTPConnection(uploader, timeout=LIMIT_S)
    connection.putrequest(method, path)
    for name, value in {"Tus-Resumable": "1.0.0", "Content-Length": str(length), **fields}.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def ask(method, path, fields, body=b""):
    connection = begin(method, path, fields, len(body))
    connection.send(body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def patch(offset):
    return {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}


def create(host, length):
    metadata = {
        "url": f"http://{host}/upload",
        "address": origin,
        "method": "POST",
        "content-type": "image/jpeg",
        "cookie": f"who={host}",
    }
    pairs = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items()]
    return ask("POST", "/files/", {"Upload-Length": length, "Upload-Metadata": ",".join(pairs)})


def upload(host, seed, length):
    bytes, third = photograph(seed, length), int(length) // 3
    made = create(host, length)
    place = made.headers["Location"]
    if made.status != 201:
        return print(made.status)
    stored = ask("PATCH", place, patch(0), bytes if verb == "all" else bytes[:third])
    print(stored.status, place, flush=True)
    if verb == "stop":
        connection = begin("PATCH", place, patch(third), int(length) - third)
        connection.send(bytes[third : 2 * third])
        time.sleep(LIMIT_S)


def finish(place, seed, length):
    offset = int(ask("HEAD", place, {}).headers["Upload-Offset"])
    assert offset >= int(length) // 3, offset
    stored = ask("PATCH", place, patch(offset), photograph(seed, length)[offset:])
    print(stored.status, offset)


if verb == "digest":
    print(hashlib.sha256(photograph(*words)).hexdigest())
elif verb == "finish":
    finish(*words)
else:
    upload(*words)
