"""Many phones at once: `phones.py NAME ADDRESS CA SECONDS SOURCE=FILE...` uploads each file from an address of its
own, all at the same time, and prints a list of JSON: what each was answered (0 for no answer), in the files'
order. A photograph's path is made of the file's name, `phone-DIGEST`."""
import http.client
import json
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

name, address, authority, seconds, *files = sys.argv[1:]
tls = ssl.create_default_context(cafile=authority)


def upload(phone):
    source, _, file = phone.partition("=")
    path = "/upload/" + file.rpartition("-")[2][:8]
    with open(file, "rb") as photo:
        body = photo.read()
    connection = http.client.HTTPSConnection(name, timeout=int(seconds), context=tls)
    try:
        plain = socket.create_connection((address, 443), int(seconds), (source, 0))
        connection.sock = tls.wrap_socket(plain, server_hostname=name)
        connection.request("POST", path, body=body, headers={"Content-Type": "image/jpeg"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(path, error, file=sys.stderr)
        return 0
    finally:
        connection.close()


with ThreadPoolExecutor(len(files)) as phones:
    print(json.dumps(list(phones.map(upload, files))))
