"""Attackers with forged tokens: `flood.py PORTAL SECONDS ADDRESS…` shows as many as it can from each of these
addresses, over connections that it keeps, and prints how many were answered. The tokens are right but for
their signatures.
"""
import base64
import http.client
import json
import os
import sys
import threading
import time

portal, seconds, addresses = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
end = time.monotonic() + seconds
answered = []


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def attack(address):
    count = 0
    while time.monotonic() < end:
        connection = http.client.HTTPConnection(portal, 80, timeout=5, source_address=(address, 0))
        try:
            while time.monotonic() < end:
                now = int(time.time())
                claims = {"aud": "station", "nbf": now, "exp": now + 300, "jti": os.urandom(8).hex()}
                head = part({"alg": "EdDSA", "kid": "chat-1"})
                token = f"{head}.{part(claims)}.{part(os.urandom(64))}"
                fields = {"Authorization": "Bearer " + token, "Host": "portal.station.example"}
                connection.request("POST", "/token", body="", headers=fields)
                connection.getresponse().read()
                count += 1
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    answered.append(count)


attackers = [threading.Thread(target=attack, args=[address]) for address in addresses]
for attacker in attackers:
    attacker.start()
for attacker in attackers:
    attacker.join()
print(sum(answered))
