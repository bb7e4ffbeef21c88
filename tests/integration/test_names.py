"""C08: names that resolve badly, or to addresses that are dead, cost their own account only.

The program runs with an /etc/hosts, nsswitch.conf and resolv.conf of its own, in a mount namespace.
"""
import os
import socket
import threading

import pytest
from conftest import expect
from mdtest import daemon, messages, net
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

NXDOMAIN, SERVFAIL, SILENT = 3, 2, None

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")


class Names(threading.Thread):
    """A DNS server: a dict from a name to an IPv4 address or one of the above."""

    def __init__(self, address, answers):
        super().__init__(daemon=True)
        self.answers = answers
        self.asked = set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.start()

    def run(self):
        while True:
            query, peer = self.socket.recvfrom(512)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += query[at] + 1
            name, question = ".".join(labels), query[12:at + 5]
            self.asked.add(name)
            answer = self.answers.get(name, NXDOMAIN)
            if answer is SILENT:
                continue
            records = b""
            if isinstance(answer, str) and question[-4:-2] == b"\0\1":
                records = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(answer)
            code = answer if isinstance(answer, int) else 0
            self.socket.sendto(query[:2] + bytes([0x81, 0x80 + code]) + b"\0\1\0"
                               + bytes([bool(records)]) + b"\0\0\0\0" + question + records, peer)


@pytest.fixture
def world(config, monkeypatch):
    """Files of /etc for the program: world(hosts, resolv) writes them."""
    def write(hosts, nameserver="127.0.0.77"):
        config.file("hosts", hosts)
        config.file("resolv.conf", f"nameserver {nameserver}\noptions timeout:20 attempts:1\n")
    config.file("nsswitch.conf", "hosts: files dns\n")
    write("")
    binds = " && ".join(f"mount --bind {config.directory}/{name} $(readlink -f /etc/{name})"
                        for name in ("hosts", "resolv.conf", "nsswitch.conf"))
    wrapper = config.file("multidropd", "#!/bin/sh\nexec unshare -m sh -c "
                          f"""'{binds} && exec "$0" "$@"' {daemon.program()} "$@"\n""", 0o755)
    monkeypatch.setenv("MULTIDROPD", wrapper)
    return write


def serve(config, sink, hosts, port, **keys):
    """One account at each of these hosts: its name is the host's first label."""
    for host in hosts:
        name = host.split(".")[0]
        config.provider(name, host=host, port=port)
        config.account(name, name, "house", "geheim-4711", **keys)
    config.relay("house", port=sink.port)


def one():
    return [messages.stored("hans", "eins")]


def test_dead_first_address_costs_seconds(config, world):
    with Pop3Fake(one()) as provider, Sink() as sink:
        dead = net.FullBacklog(provider.port, "::1")
        world("::1 pop.test\n127.0.0.1 pop.test\n")
        serve(config, sink, ["pop.test"], provider.port)
        run = expect(daemon.once(config), 0)
        [cycle] = run.log.find("cycle.finished")
        assert len(sink.transactions) == 1 and dead
        assert 9000 < cycle["duration_ms"] < 25000  # it was tried first, and given up


def test_address_of_the_other_family(config, world):
    with Pop3Fake(one()) as provider, Sink() as sink:
        world("::1 pop.test\n127.0.0.1 pop.test\n")
        serve(config, sink, ["pop.test"], provider.port)
        expect(daemon.once(config), 0)
        assert len(sink.transactions) == 1


def test_bad_names_cost_nobody_else_anything(config, world):
    names = Names("127.0.0.77", {"fail.test": SERVFAIL, "slow.test": SILENT})
    with Pop3Fake() as provider, Sink() as sink:
        world("127.0.0.1 good.test\n")
        serve(config, sink, ["good.test", "missing.test", "fail.test", "slow.test"],
              provider.port, interval="1s")
        with daemon.Daemon(config) as running:
            running.wait(lambda: "slow.test" in names.asked, what="the slow name")
            before = len(running.log.find("cycle.finished", account="good"))
            running.wait(lambda: len(running.log.find("cycle.finished", account="good"))
                         >= before + 3, what="three more cycles")
            assert not running.log.find("cycle.failed", account="slow")  # it still waits
            for account in ("missing", "fail"):
                [failed, *_] = running.wait_event("cycle.failed", account=account)
                assert failed["error"] == "NET" and f"{account}.test" in failed["message"]
            assert running.stop() == 0  # a question that is out holds up nobody


def test_new_resolv_conf_needs_no_restart(config, world):
    Names("127.0.0.78", {})
    good = Names("127.0.0.79", {"pop.test": "127.0.0.1"})
    with Pop3Fake(one()) as provider, Sink() as sink:
        world("", "127.0.0.78")
        serve(config, sink, ["pop.test"], provider.port, interval="1s")
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.failed", account="pop")
            world("", "127.0.0.79")
            running.wait_event("cycle.finished", account="pop", timeout=60)
            assert "pop.test" in good.asked and len(sink.transactions) == 1
            assert net.wait_until(lambda: provider.maildrop == [], 10, "an empty maildrop")
