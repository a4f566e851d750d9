"""Clients of a hotspot, many at once: `crowd.py ORDERS` does what the file of JSON says, each order as a
client with an address of its own, and prints a list of JSON with what came of each, in the same order.

An order has `client` (its address), `do`, and what that needs:

    get       address, port, path; host: another `Host`; tls: the name in a ClientHello; trust: the only
              certificate that is believed, without it all are; times: so often
    voucher   code              log in by the page, and then ask the far server
    login     name, password    as well
    token     token             as an app does, and then ask the far server
    logout                      by the page

What comes of it: `status` (0 for no answer) or `error`, `bytes`, `redirect`, `body` (where it begins), and
for those who log in `online_ms`, from sending the form to the first byte of the far server.
"""
import http.client
import json
import re
import socket
import ssl
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

with open(sys.argv[1]) as file:
    told = json.load(file)
patience = told["patience"]
portal, far = tuple(told["portal"]), tuple(told["far"])
tls = ssl.create_default_context()
tls.check_hostname = False
tls.verify_mode = ssl.CERT_NONE


def ask(client, address, port, path="/", host=None, name=None, trust=None, body=None, fields=()):
    connection = http.client.HTTPConnection(address, port, timeout=patience, source_address=(client, 0))
    try:
        connection.connect()
        if name:
            context = ssl.create_default_context(cafile=trust) if trust else tls
            connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        fields = dict(fields, Host=host or address, Connection="close")
        if body is not None:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("GET" if body is None else "POST", path, body=body, headers=fields)
        response = connection.getresponse()
        first = response.read(1)
        at = time.monotonic()
        rest = first + response.read()
        return {
            "status": response.status,
            "bytes": len(rest),
            "redirect": response.getheader("Location", ""),
            "body": rest[:8192].decode(errors="replace"),
            "at": at,
        }
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "error": type(error).__name__, "bytes": 0, "redirect": "", "body": ""}
    finally:
        connection.close()


def at_portal(client, path, body=None, fields=()):
    return ask(client, portal[0], portal[1], path, host=portal[2], body=body, fields=fields)


def form(client, path, **fields):
    page = at_portal(client, "/")
    field = re.search(r'name="form" value="([^"]*)"', page["body"])
    if not field:
        return dict(page, error=page.get("error", "NoForm"))
    fields["form"] = field.group(1)
    return at_portal(client, path, body=urllib.parse.urlencode(fields))


def and_online(client, since, answer, good):
    if answer["status"] == good:
        # The switch may meet a client's first packets by what it remembers of those before.
        end = since + patience
        while True:
            far_answer = ask(client, *far)
            if far_answer["status"] == 200 or time.monotonic() > end:
                break
            time.sleep(0.02)
        answer["online"] = far_answer["status"]
        if far_answer["status"] == 200:
            answer["online_ms"] = round((far_answer["at"] - since) * 1000, 1)
    return answer


def carry_out(order):
    client, what = order["client"], order["do"]
    since = time.monotonic()
    if what == "get":
        place = (order["address"], order["port"], order.get("path", "/"), order.get("host"), order.get("tls"),
                 order.get("trust"))
        for _ in range(order.get("times", 1)):
            answer = ask(client, *place)
        answer["online_ms"] = round((answer.get("at", since) - since) * 1000, 1)
    elif what == "voucher":
        answer = and_online(client, since, form(client, "/voucher", code=order["code"]), 303)
    elif what == "login":
        fields = {"name": order["name"], "password": order["password"]}
        answer = and_online(client, since, form(client, "/login", **fields), 303)
    elif what == "token":
        fields = {"Authorization": "Bearer " + order["token"]}
        answer = and_online(client, since, at_portal(client, "/token", body="", fields=fields), 200)
    elif what == "logout":
        answer = form(client, "/logout")
    else:
        raise ValueError(what)
    answer.pop("at", None)
    answer["body"] = answer["body"][:1024]
    return answer


socket.setdefaulttimeout(patience)
with ThreadPoolExecutor(told["at_once"]) as crowd:
    print(json.dumps(list(crowd.map(carry_out, told["orders"]))))
