"""Peers that break every rule, over real sockets and TLS: the tables of mdtest/rude.py.

All rows are played at the same time, to one daemon, while a healthy account is served; then each
test looks at what has become of one row.
"""
import collections
import os
import re
import signal
import ssl
import subprocess
import time

import pytest
from conftest import fake_provider
from mdtest import ca as ca_module
from mdtest import daemon, messages, net, rude
from mdtest.pop3fake import PASSWORD, Pop3Fake
from mdtest.sink import Sink
from test_patience import fast_clock

TOLERANCE = 8  # seconds, for a busy machine: all rows begin at once
PATIENCE = 40  # seconds until every row has come to its end
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SECRETS = ("USER", "PASS", "AUTH", "APOP")


class World:
    """A daemon that has met every row of a table once."""

    def __init__(self, cases, directory, ca, certificates, patience=PATIENCE, **variables):
        self.cases, self.ca, self.certificates = cases, ca, certificates
        self.patience = patience
        self.config = daemon.Config(directory)
        self.config.top["max_sessions"] = 1024
        self.logins, self.providers, self.relays = [], {}, {}
        self.entries, self.indexed = collections.defaultdict(list), 0  # of the log, by row
        self.done = set()  # rows that have come to their end
        for name, case in cases.items():
            self._add(name, case)
        self._run(variables)

    def _server(self, server):
        server.sni, server.good_context = None, context(self.certificates[""])
        server.tls_context.sni_callback = \
            lambda _sock, name, _context: setattr(server, "sni", name)
        return server.start()

    def _section(self, server, tls, keys):
        return {"host": "localhost", "port": server.port, "tls": tls,
                "tls_ca_file": self.ca.cert if keys.get("tls", tls) != "none" else None, **keys}

    def _add(self, name, case):
        provider = Pop3Fake(case.mails, case.pop3, None if case.tls == "none" else case.tls,
                            self.certificates[case.certificate])
        relay = Sink(case.smtp, case.lmtp, None if case.relay_tls == "none" else case.relay_tls,
                     self.certificates[case.relay_certificate])
        relay.extensions += case.extensions
        self.providers[name], self.relays[name] = self._server(provider), self._server(relay)
        self.config.provider(name, **self._section(provider, case.tls,
                                                   {"timeout": "60s"} | case.provider))
        keys = dict(case.relay)
        if "password" in keys:
            keys["password_file"] = self.config.file(name + ".relay", keys.pop("password"), 0o600)
        self.config.relay(name, **self._section(relay, case.relay_tls, keys))
        self.config.account(name, name, name, PASSWORD, **{"interval": "30d"} | case.account)

    def _healthy(self):
        def login(_session):
            self.logins.append(time.monotonic())
            serial = len(self.logins)
            healthy.maildrop.append((f"u{serial}", messages.stored("eva", f"Nr {serial}")))
        healthy, relay = Pop3Fake((), {"PASS": login}), Sink()
        fake_provider(self.config, healthy, "healthy", timeout="600s")
        self.config.relay("healthy", port=relay.port)
        self.config.account("healthy", "healthy", "healthy", PASSWORD, interval=self.interval)
        return healthy.start(), relay.start()

    interval = "1s"

    def _run(self, variables):
        healthy, relay = self._healthy()
        with daemon.Daemon(self.config, "-v", "debug", **variables) as running:
            self.log, self.pid = running.log, running.process.pid
            running.wait_event("daemon.started")
            running.signal(signal.SIGUSR1)  # all are due at once
            try:
                running.wait(self.is_over, self.patience, "an end")
            except TimeoutError:
                pass  # whose it was, its own test will say
            enough = len(self.logins) + 2
            running.wait(lambda: len(self.logins) >= enough, self.patience,
                         "healthy logins")
            self.status = running.stop()
            self.is_over()  # the rest of the log
        self.delivered = len(relay.transactions)
        for server in (healthy, relay, *self.providers.values(), *self.relays.values()):
            server.stop()

    def is_over(self):
        """Every row has come to its end, at some time."""
        for entry in self.log.entries[self.indexed:]:
            self.indexed += 1
            for name in {entry.get("account"), entry.get("relay")}:
                self.entries[name].append(entry)
        self.done |= {name for name in self.cases.keys() - self.done if self.has_ended(name)}
        return self.done == self.cases.keys()

    def has_ended(self, name):
        case = self.cases[name]
        return (len(self.relays[name].transactions) >= case.sink
                and len(self.providers[name].maildrop) <= case.left
                and all(self.events(name, event) for event in case.events)
                and not (case.freed and self.connections(name)))

    def connections(self, name):
        """The daemon's open sockets to the row's servers."""
        ports = (self.providers[name].port, self.relays[name].port)
        with open(f"/proc/{self.pid}/net/tcp") as f:
            rows = [line.split() for line in f][1:]
        # remote address and port in hex; the inode is 0 when no process has it any more
        return [r for r in rows if int(r[2].partition(":")[2], 16) in ports and r[9] != "0"]

    def events(self, name, event):
        """Those of the row's account or relay whose class and text match."""
        kind, _, text = event.partition(": ")
        return [e for e in self.entries[name] if e["event"] == kind
                and re.search(text, f"{e.get('error')} {e.get('reason')} {e['message']}", re.S)]

    def about(self, name):
        return "\n".join(map(str, self.entries[name]))

    def examine(self, name):
        """One row: log, relay, maildrop, secrets."""
        case, provider, relay = self.cases[name], self.providers[name], self.relays[name]
        for event in case.events:
            assert self.events(name, event), f"no {event}:\n{self.about(name)}"
        assert len(relay.transactions) == case.sink, self.about(name)
        assert len(provider.maildrop) == case.left, self.about(name)
        if not case.secret:
            assert not [c for verb in SECRETS for c in provider.said(verb)]
        if not case.body:
            assert relay.attempts == []
        if "password" in case.relay and case.relay_tls == "none":
            assert relay.said("AUTH") == []
        assert name in self.done
        for verb in case.unsaid:
            assert provider.said(verb) == []

    def examine_daemon(self):
        """It lives, says nothing odd, and the healthy account never had to wait."""
        assert self.status == 0 and self.log.noise == []
        text = str(self.log)
        assert PASSWORD not in text
        for entry in self.log.entries:
            assert not [v for v in entry.values() if isinstance(v, str) and CONTROL.search(v)]
        gaps = [later - earlier for earlier, later in zip(self.logins, self.logins[1:])]
        assert max(gaps) <= 1 + TOLERANCE, gaps
        assert self.delivered >= len(self.logins) - 1


def context(certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate.cert, certificate.key)
    return made


@pytest.fixture(scope="module")
def certificates(directory, ca, certificate):
    stranger = ca_module.CA(os.path.join(directory, "stranger"), "stranger")
    return {"": certificate, "expired": ca.expired(), "wrong_name": ca.wrong_name(),
            "future": ca.future(), "stranger": stranger.server(),
            "self_signed": ca_module.Certificate(stranger.cert, stranger.key)}


@pytest.fixture(scope="module")
def world(directory, ca, certificates):
    return World(rude.EVERY, os.path.join(directory, "rude"), ca, certificates)


@pytest.fixture(scope="module")
def slow_world(directory, ca, certificates):
    return World(rude.SLOW, os.path.join(directory, "slow"), ca, certificates, **fast_clock())


@pytest.mark.parametrize("name", rude.EVERY)
def test_rude(world, name):
    world.examine(name)


def test_nobody_else_suffers(world):
    world.examine_daemon()


@pytest.mark.parametrize("name", rude.SLOW)
def test_rude_slowly(slow_world, name):
    slow_world.examine(name)


def test_nobody_else_suffers_slowly(slow_world):
    slow_world.examine_daemon()


def test_t01_the_name_that_is_asked_for(world):
    """SNI is the configured host, towards both sides."""
    assert world.providers["T01-fine"].sni == world.relays["T01-fine"].sni == "localhost"


@pytest.mark.parametrize("kind", ["key-update", "key-update-requested", "session-ticket",
                                  "renegotiation"])
def test_x12_records_without_data(config, ca, certificate, kind):
    """As fast as they go out. OpenSSL would read them for ever, within one call."""
    flood = subprocess.Popen([os.environ["TLS_FLOOD"], certificate.cert, certificate.key, kind],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with Pop3Fake() as healthy, Sink() as sink:
        fake_provider(config, healthy, "healthy")
        config.provider("rude", host="localhost", port=int(flood.stdout.readline()),
                        tls="implicit", tls_ca_file=ca.cert)
        config.relay("house", port=sink.port)
        config.account("healthy", "healthy", "house", PASSWORD, interval="1s")
        config.account("rude", "rude", "house", PASSWORD, interval="30d")
        try:
            with daemon.Daemon(config) as running:
                running.wait_event("daemon.started")
                running.signal(signal.SIGUSR1)
                [failed] = running.wait_event("cycle.failed", account="rude")
                assert failed["error"] == "LIMIT" and "no data" in failed["reason"]
                logins = len(healthy.said("PASS"))
                running.wait(lambda: len(healthy.said("PASS")) > logins, what="a healthy login")
                assert running.stop() == 0
        finally:
            net.end_process(flood)
