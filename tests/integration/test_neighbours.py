"""Accounts with healthy peers are served on time, whatever those of the others do (C01), and no
host is connected to more often than it allows (C04).

Fifty accounts hang at each place where a peer can stop, those of a group all at the same time,
while the healthy one polls each second and delivers. The times are the healthy server's own.
"""
import collections
import signal
import socket
import threading
import time

import pytest
from conftest import fake_provider
from mdtest import daemon, messages, net
from mdtest.peer import DEAF, HANG
from mdtest.pop3fake import PASSWORD, Pop3Fake, stuffed
from mdtest.sink import Sink

CROWD = 50
CROWD_OF_LARGE = 15  # theirs are long to transfer
INTERVAL = 1
TOLERANCE = 2  # for a busy machine; the shortest deadline that could be waited for is ten seconds
LOGINS = 4
SMALL = messages.stored("hans", "klein")
LARGE = messages.stored("hans", "gross", b"x" * 4_000_000 + b"\r\n")  # more than sockets take


class Punctual(Pop3Fake):
    """Notes when it is logged in to; there is always a new message."""

    def __init__(self):
        super().__init__((), {"PASS": self.login})
        self.logins = []

    def login(self, _session):
        with self.lock:
            self.logins.append(time.monotonic())
            serial = len(self.logins)
            self.maildrop.append((f"new-{serial}", messages.stored("eva", f"Nr {serial}")))


class Full:
    """A server that does not even accept."""

    def __init__(self):
        self.port = net.free_port()

    def start(self):
        self.backlog = net.FullBacklog(self.port)

    def stop(self):
        del self.backlog


def hang_inside(session):
    session.send(b"+OK\r\n" + stuffed(session.message())[:300])
    return HANG


def deaf_inside(session):
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    session.say("354 go ahead")
    return DEAF


# A server that stops: its tls, what it does. None: it does not even accept.
POP3 = {
    "open": {
        "connect": None,
        "greeting": (None, {"greeting": HANG}),
        "handshake": ("implicit", {"handshake": HANG}),
        "stls": ("starttls", {"STLS": HANG}),
        "stls-handshake": ("starttls", {"handshake": HANG}),
        "capa": (None, {"CAPA": HANG}),
    },
    "login": {
        "user": (None, {"USER": HANG}),
        "pass": ("implicit", {"PASS": HANG}),
        "stat": ("implicit", {"STAT": HANG}),
        "uidl": (None, {"UIDL": HANG}),
        "list": (None, {"LIST": HANG}),
    },
    "transaction": {
        "retr": (None, {"RETR": HANG}),
        "retr-inside": ("implicit", {"RETR": hang_inside}),
        "dele": (None, {"DELE": HANG}),
        "quit": (None, {"QUIT": HANG}),
    },
}
RELAY = {
    "open": {
        "connect": None,
        "greeting": (None, {"greeting": HANG}),
        "handshake": ("implicit", {"handshake": HANG}),
        "ehlo": (None, {"EHLO": HANG}),
        "starttls": ("starttls", {"STARTTLS": HANG}),
        "starttls-handshake": ("starttls", {"handshake": HANG}),
    },
    "transaction": {
        "mail": (None, {"MAIL": HANG}),
        "rcpt": (None, {"RCPT": HANG}),
        "data": (None, {"DATA": HANG}),
        "dot": (None, {"dot": HANG}),
        "rset": (None, {"RCPT": lambda session: "450 4.2.0 later", "RSET": HANG}),
    },
    "text": {
        "text-inside": (None, {"DATA": deaf_inside}),
    },
}


class Crowd:
    """The healthy account, and the others with the servers at which they hang."""

    def __init__(self, config, ca, certificate):
        self.config, self.ca, self.certificate = config, ca, certificate
        self.servers = []
        self.size = CROWD
        self.waiting = {}  # place -> whether all of its accounts hang there
        self.healthy, self.sink = self.start(Punctual()), self.start(Sink())
        fake_provider(config, self.healthy, "good")
        config.relay("good", port=self.sink.port)
        config.account("good", "good", "good", PASSWORD, interval=f"{INTERVAL}s")
        config.top["max_sessions"] = 1024

    def start(self, server):
        server.start()
        self.servers.append(server)
        return server

    def stop(self):
        for server in self.servers:
            server.stop()

    def stopping(self, name, place, server_class, *args):
        """A server of that class that stops at that place; the keys that lead to it."""
        server = Full() if place is None else server_class(*args, behaviour=place[1], tls=place[0],
                                                           certificate=self.certificate)
        self.start(server)
        if place is not None:
            self.waiting[name] = lambda _log: server.hanging >= self.size
            tls = place[0]
        else:
            self.waiting[name] = lambda log: self.size <= len(
                [e for e in log.find("cycle.started") if e["account"].startswith(name)])
            tls = None
        return {"host": "localhost" if tls else "127.0.0.1", "port": server.port,
                "tls": tls or "none", "tls_ca_file": self.ca.cert if tls else None}

    def accounts(self, name, provider, relay):
        for i in range(self.size):
            self.config.account(f"{name}-{i}", provider, relay(i), PASSWORD, interval="1h")

    def examine(self):
        """Runs the daemon until everybody hangs, and then looks at the healthy one."""
        with daemon.Daemon(self.config) as running:
            running.wait_event("daemon.started")
            running.signal(signal.SIGUSR1)  # all are due at once
            for name, all_hang in self.waiting.items():
                running.wait(lambda: all_hang(running.log), 60, f"crowd at {name}")
            before = len(self.healthy.logins)
            running.wait(lambda: len(self.healthy.logins) >= before + LOGINS,
                         what="healthy logins")
            times = self.healthy.logins[before:]
            gaps = [later - earlier for earlier, later in zip(times, times[1:])]
            assert max(gaps) <= INTERVAL + TOLERANCE, gaps
            # each login brings one message, which is delivered before the next
            assert len(self.sink.transactions) >= before + LOGINS - 1
            running.kill()
            assert not running.log.noise


@pytest.fixture
def crowd(config, ca, certificate):
    crowd = Crowd(config, ca, certificate)
    yield crowd
    crowd.stop()


@pytest.mark.parametrize("group", POP3)
def test_c01_hanging_providers(crowd, group):
    spare = crowd.start(Sink())
    crowd.config.relay("spare", port=spare.port)
    for name, place in POP3[group].items():
        keys = crowd.stopping(name, place, Pop3Fake, [SMALL])
        crowd.config.provider(name, max_sessions=CROWD, **keys)
        crowd.accounts(name, name, lambda i: "spare")
    crowd.examine()


@pytest.mark.parametrize("group", RELAY)
def test_c01_hanging_relays(crowd, group):
    mail = SMALL
    if group == "text":
        mail, crowd.size = LARGE, CROWD_OF_LARGE
    for name, place in RELAY[group].items():
        provider = crowd.start(Pop3Fake([mail]))
        fake_provider(crowd.config, provider, name, max_sessions=CROWD)
        keys = crowd.stopping(name, place, Sink)
        for i in range(crowd.size):  # a relay that is not up yet gets one connection only
            crowd.config.relay(f"{name}-{i}", **keys)
        crowd.accounts(name, name, lambda i, name=name: f"{name}-{i}")
    crowd.examine()


def test_c04_connections_to_a_host(config):
    """No more than max_sessions at once; the others come in turn, and another host's at once."""
    most, crowd = 3, 10
    now = collections.Counter()
    leave = threading.Event()

    def enter(session):
        with session.server.lock:
            now["open"] += 1
            now["most"] = max(now["most"], now["open"])
        leave.wait(60)

    def end(session):
        with session.server.lock:
            now["open"] -= 1

    with Pop3Fake((), {"greeting": enter, "QUIT": end}) as busy, Pop3Fake() as other, \
            Sink() as sink:
        fake_provider(config, busy, "busy", max_sessions=most)
        fake_provider(config, other, "other", max_sessions=1)
        config.relay("house", port=sink.port)
        for i in range(crowd):
            config.account(f"konto{i}", "busy", "house", PASSWORD)
        config.account("zuletzt", "other", "house", PASSWORD)
        with daemon.Daemon(config) as running:
            running.wait_event("daemon.started")
            running.signal(signal.SIGUSR1)
            running.wait(lambda: now["open"] == most, what="sessions")
            running.wait_event("cycle.finished", account="zuletzt")
            assert busy.connections == most
            leave.set()
            for i in range(crowd):
                running.wait_event("cycle.finished", account=f"konto{i}")
            assert now["most"] == most and busy.connections == crowd
            assert running.stop() == 0
