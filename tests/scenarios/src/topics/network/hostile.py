"""Malformed frames from Ethernet to TCP, sent by scapy from the namespace of a site.

    hostile.py MAC SEED

MAC is the guest's Ethernet address; it is at 10.0.0.2 and fd00::2, and we are at .1. Prints `REASON
COUNT` for what must be dropped for that reason at least, and `any COUNT` for what may be dropped for
one reason or another, or answered.
"""

import random
import sys

from scapy.all import (
    ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_RA, IPv6,
    IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting, IPOption_LSRR, IPOption_NOP,
    IPOption_RR, Raw, conf, fragment, fuzz, get_if_hwaddr, raw,
)

GUEST, INTERFACE = sys.argv[1], "eth0"
random.seed(int(sys.argv[2]))
OURS = get_if_hwaddr(INTERFACE)
FUZZED = 60
counts = {}


def ethernet(payload, **fields):
    return Ether(dst=GUEST, src=OURS, **fields) / payload


def v4(payload, **fields):
    return ethernet(IP(**{"src": "10.0.0.1", "dst": "10.0.0.2", **fields}) / payload)


def v6(payload, **fields):
    return ethernet(IPv6(**{"src": "fd00::1", "dst": "fd00::2", **fields}) / payload)


def syn(**fields):
    return TCP(**{"sport": random.randint(1024, 65535), "dport": 80, "flags": "S", **fields})


def flip(frame, at):
    """The frame with one byte changed, checksums left alone."""
    changed = bytearray(raw(frame))
    changed[at] ^= 0x55
    return bytes(changed)


def attacks():
    """(reason, frame) for everything."""
    # Ethernet.
    yield "not-ours", Ether(dst="02:aa:bb:cc:dd:ee", src=OURS) / IP(dst="10.0.0.2") / UDP()
    yield "unknown-protocol", ethernet(Raw(b"x" * 40), type=0x88B5)
    yield "unknown-protocol", ethernet(Dot1Q(vlan=7) / IP(src="10.0.0.1", dst="10.0.0.2") / syn())
    yield "truncated", ethernet(Raw(b""), type=0x0800)
    # IPv4: cut anywhere in its header, lengths and versions that lie.
    whole = raw(v4(syn()))
    for length in range(14, 34):
        yield "truncated", whole[:length]
    yield "truncated", v4(syn(), len=1400)
    yield "bad-header", v4(syn(), len=19)
    yield "bad-header", v4(syn(), ihl=4)
    yield "bad-header", v4(syn(), version=5)
    yield "truncated", v4(syn(), ihl=15, len=60)
    yield "bad-checksum", flip(v4(syn()), 24)
    # Senders that cannot be: LAND, loopback, a group.
    yield "bad-header", v4(syn(sport=80), src="10.0.0.2")
    yield "bad-header", v4(syn(), src="127.0.0.1")
    yield "bad-header", v4(syn(), src="224.0.0.1")
    yield "bad-header", v6(syn(sport=80), src="fd00::2")
    yield "bad-header", v6(syn(), src="ff02::1")
    # IP options, source routes among them.
    yield "any", v4(syn(), options=[IPOption_LSRR(routers=["10.9.9.9"])])
    yield "any", v4(syn(), options=[IPOption_RR(routers=["0.0.0.0"] * 9)])
    yield "any", v4(syn(), options=[IPOption_NOP()] * 40)
    # Fragments: overlapping, too far, never the last, tiny.
    data = v4(UDP(sport=1, dport=9) / Raw(b"f" * 4000), id=random.randint(1, 65535))
    first, second, *_ = fragment(data, fragsize=1400)
    second[IP].frag -= 5
    yield "any", first
    yield "fragment", second
    yield "fragment", v4(Raw(b"x" * 800), proto=17, frag=8190, flags="MF")
    for number in range(40):
        yield "any", v4(Raw(b"x" * 8), proto=17, id=number, frag=number, flags="MF")
    yield "fragment", v6(IPv6ExtHdrFragment(m=1, id=7) / Raw(b"x" * 64))
    # IPv6: lengths, chains of headers, routes.
    yield "truncated", v6(syn(), plen=1400)
    yield "bad-header", v6(syn(), version=4)
    yield "bad-header", v6(IPv6ExtHdrRouting(segleft=1, addresses=["fd00::9"]) / syn())
    chain = syn()
    for _ in range(12):
        chain = IPv6ExtHdrDestOpt() / chain
    yield "bad-header", v6(chain)
    yield "truncated", v6(Raw(b"\x06\xff\x01\x04\0\0\0\0"), nh=60)
    yield "unknown-protocol", v4(Raw(b"x" * 20), proto=253)
    yield "unknown-protocol", v6(Raw(b"x" * 20), nh=253)
    # Checksums of all that has one.
    for packet in (v4(syn()), v6(syn())):
        yield "bad-checksum", flip(packet, len(raw(packet)) - 1)
    for packet in (v4(UDP(dport=9) / b"hello"), v6(UDP(dport=9) / b"hello"),
                   v4(ICMP() / b"hello"), v6(ICMPv6EchoRequest(data=b"hello"))):
        yield "bad-checksum", flip(packet, len(raw(packet)) - 1)
    # TCP: no room for what the header says, flags that contradict each other, closed ports.
    yield "bad-header", v4(syn(dataofs=4))
    yield "truncated", v4(syn(dataofs=15))
    yield "any", v4(syn(options=[(253, b"x" * 30)]))
    for flags in ("", "F", "FPU", "SF", "SR", "SFRPAUEC", "A", "R", "RA", "PA"):
        yield "no-listener", v4(syn(dport=81, flags=flags.replace("S", "") or "F"))
        contradict = "S" in flags and ("F" in flags or "R" in flags)
        yield "bad-header" if contradict else "any", v4(syn(flags=flags))
        yield "bad-header" if contradict else "any", v6(syn(flags=flags))
    # Neighbours and routers of others' making.
    yield "any", ethernet(ARP(op=2, psrc="10.0.0.2", hwsrc=OURS, pdst="10.0.0.2"))
    yield "any", ethernet(ARP(op=2, hwlen=0, plen=0))
    yield "any", ethernet(Raw(raw(ARP())[:20]), type=0x0806)
    yield "any", v6(ICMPv6ND_NA(tgt="fd00::2", O=1, R=1), hlim=255)
    yield "any", v6(ICMPv6ND_RA(), hlim=64, src="fe80::9")
    yield "any", v6(Raw(b"\x86\0\0\0"), nh=58, hlim=255, src="fe80::9")
    # Anything at all.
    for _ in range(FUZZED):
        yield "any", v4(fuzz(TCP(dport=80)))
        yield "any", v4(fuzz(UDP()))
        yield "any", v4(fuzz(ICMP()) / Raw(random.randbytes(random.randint(0, 60))))
        yield "any", ethernet(fuzz(IP(dst="10.0.0.2")) / syn())
        yield "any", v6(fuzz(TCP(dport=80)))
        yield "any", ethernet(Raw(random.randbytes(random.randint(0, 1500))),
                              type=random.choice([0x0800, 0x0806, 0x86DD]))


link = conf.L2socket(iface=INTERFACE)
for reason, frame in attacks():
    link.send(frame if isinstance(frame, bytes) else raw(frame))
    counts[reason] = counts.get(reason, 0) + 1
for reason, count in sorted(counts.items()):
    print(reason, count)
