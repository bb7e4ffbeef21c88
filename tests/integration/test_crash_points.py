"""SIGKILL and SIGTERM at named points of a cycle (cases K01 to K12), and the state that is not what
it was (K16, K18) or cannot get past one message (K19).

A scripted peer strikes when it has reached the point, so the moment is exact. Each test names its
case.
"""
import collections
import os
import shutil
import signal
import time

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import daemon, messages
from mdtest.pop3fake import CLOSE, HANG, Pop3Fake, stuffed
from mdtest.sink import Sink

ATTEMPTS_MAX = 10  # failed attempts after which a message is held
TERM_SECONDS = 10  # SIGTERM has done its work by then


class Strike:
    """Sends the signal at the point; afterwards a killed client hears nothing more."""

    def __init__(self, number):
        self.number = number
        self.running = None  # the Daemon, once it is started
        self.struck = False

    def __call__(self, usual=None, undisturbed=None):
        """What the peer does next: `usual` if the client was killed, else `undisturbed`."""
        self.struck = True
        self.running.signal(self.number)
        if self.number == signal.SIGKILL:
            self.running.process.wait()
            return usual
        return undisturbed


def at_uidl(strike):
    return {"UIDL": [lambda s: strike(CLOSE)]}, {}


def inside_retr(strike):
    def step(session):
        session.send(b"+OK\r\n" + stuffed(session.message())[:500])
        return strike(CLOSE, HANG)
    return {"RETR": [step]}, {}


def at_rcpt(strike):
    return {}, {"RCPT": [lambda s: strike(CLOSE)]}


def inside_data(strike):
    """The message is larger than what fits into the sockets: its dot is not on the way yet."""
    def step(session):
        session.say("354 go ahead")
        for _ in range(100):
            session.read_line()
        return strike(CLOSE, HANG)
    return {}, {"DATA": [step]}


def at_dot_accepted(strike):
    return {}, {"dot": [lambda s: strike("250 2.0.0 fine")]}


def at_dot_not_accepted(strike):
    return {}, {"dot": [lambda s: strike(CLOSE, "451 4.3.0 later")]}


def at_dele(strike):
    return {"DELE": [lambda s: strike(CLOSE)]}, {}


def after_dele(strike):
    def step(session):
        session.do_dele()
        return strike(CLOSE, b"")
    return {"DELE": [step]}, {}


def after_quit(strike):
    def step(session):
        session.apply_deletions()
        return strike(CLOSE)
    return {"QUIT": [step]}, {}


Point = collections.namedtuple("Point", "script octets extra marked left",
                               defaults=(200, 0, 0, 1))
# What the kill leaves behind: copies too many in the end, copies that are marked, and messages
# on the provider's server.
POINTS = {
    "K01 during UIDL": Point(at_uidl),
    "K02 inside RETR": Point(inside_retr),
    "K03 after RCPT": Point(at_rcpt),
    "K04 inside DATA": Point(inside_data, octets=12_000_000),
    "K05 after the dot, accepted": Point(at_dot_accepted, extra=1, marked=1),
    "K06 after the dot, not accepted": Point(at_dot_not_accepted, marked=1),
    "K08 after the commit, before DELE": Point(at_dele),
    "K09 after DELE, before QUIT": Point(after_dele),
    "K10 after QUIT": Point(after_quit, left=0),
}


def serve(config, provider, sink, **keys):
    fake_provider(config, provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", PASSWORD, **keys)
    return config


def mail(subject, octets=200):
    return messages.stored("hans", subject, b"a line of text.\r\n" * (octets // 17 + 1))


def marked(sink):
    return [t for t in sink.transactions if messages.field(t.body, "X-Multidrop-In-Doubt")]


@pytest.mark.parametrize("case", POINTS)
def test_sigkill(config, case):
    """The next cycle makes it good; only a dot without an answer may cost a copy, marked."""
    point, strike = POINTS[case], Strike(signal.SIGKILL)
    pop3, smtp = point.script(strike)
    with Pop3Fake([mail("Nr 1", point.octets)], pop3) as provider, Sink(smtp) as sink:
        with daemon.Daemon(serve(config, provider, sink), "--once") as running:
            strike.running = running
            assert running.ended() == -signal.SIGKILL
        assert strike.struck and len(provider.maildrop) == point.left
        expect(daemon.once(config), 0)
        assert provider.maildrop == []
        assert len(sink.transactions) == 1 + point.extra
        assert len(marked(sink)) == point.marked
        assert len({messages.field(t.body, "X-Multidrop-Id")[0] for t in sink.transactions}) == 1


@pytest.mark.parametrize("case", POINTS)
def test_sigterm_K12(config, case):
    """It ends soon and in good order: nothing is in doubt, the rest comes with the next cycle."""
    point, strike = POINTS[case], Strike(signal.SIGTERM)
    pop3, smtp = point.script(strike)
    with Pop3Fake([mail("Nr 1", point.octets)], pop3) as provider, Sink(smtp) as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            strike.running = running
            running.wait(lambda: strike.struck, what=case)
            start = time.monotonic()
            assert running.ended() == 0
            assert time.monotonic() - start < TERM_SECONDS
        expect(daemon.once(config), 0)
        assert provider.maildrop == []
        assert len(sink.transactions) == 1 and marked(sink) == []


@pytest.mark.parametrize("case", POINTS)
def test_sigterm_of_once_K12(config, case):
    """The same for --once, whose status tells whether the cycle was finished."""
    point, strike = POINTS[case], Strike(signal.SIGTERM)
    pop3, smtp = point.script(strike)
    with Pop3Fake([mail("Nr 1", point.octets)], pop3) as provider, Sink(smtp) as sink:
        with daemon.Daemon(serve(config, provider, sink), "--once") as running:
            strike.running = running
            assert running.ended(timeout=TERM_SECONDS) in (0, 75)
        assert strike.struck
        expect(daemon.once(config), 0)
        assert provider.maildrop == []
        assert len(sink.transactions) == 1 and marked(sink) == []


def copy_state(source, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def test_older_state_restored_K16(config):
    """What was delivered since the backup comes again, with the same id; nothing is lost."""
    backup = os.path.join(config.directory, "backup")
    with Pop3Fake([mail("Nr 1")]) as provider, Sink() as sink:
        serve(config, provider, sink, keep="forever", dedupe="0s")
        expect(daemon.once(config), 0)
        copy_state(config.state, backup)
        provider.maildrop += [("later-1", mail("Nr 2")), ("later-2", mail("Nr 3"))]
        expect(daemon.once(config), 0)
        copy_state(backup, config.state)
        provider.maildrop.append(("later-3", mail("Nr 4")))
        expect(daemon.once(config), 0)
        ids = collections.defaultdict(list)
        for t in sink.transactions:
            ids[messages.subject(t.body)] += messages.field(t.body, "X-Multidrop-Id")
        assert {s: len(i) for s, i in ids.items()} == \
            {"Nr 1": 1, "Nr 2": 2, "Nr 3": 2, "Nr 4": 1}
        assert all(len(set(i)) == 1 for i in ids.values())
        assert len(provider.maildrop) == 4


def test_provider_renamed_K18(config):
    """The account's name is its identity: another host and user bring nothing again."""
    with Pop3Fake([mail("Nr 1"), mail("Nr 2")]) as provider, Sink() as sink:
        serve(config, provider, sink, keep="forever")
        expect(daemon.once(config), 0)
        config.providers["moved"] = {**config.providers.pop("fake"), "host": "localhost"}
        config.accounts["sammel"] |= {"provider": "moved", "user": "neu@firma.example"}
        fetched = len(provider.said("RETR"))
        expect(daemon.once(config), 0)
        assert provider.said("USER")[-1] == "USER neu@firma.example"
        assert len(provider.said("RETR")) == fetched and len(sink.transactions) == 2


def test_message_that_kills_K19(config):
    """Its neighbours do not wait for it and are not taken for it; after ten attempts it is held."""
    strike = Strike(signal.SIGKILL)

    def poison(session):
        return strike(CLOSE) if b"Subject: Gift" in session.message() else None

    mails = [mail("Nr 1"), mail("Gift"), *(mail(f"Nr {n}") for n in range(2, 6))]
    with Pop3Fake(mails, {"RETR": poison}) as provider, Sink() as sink:
        serve(config, provider, sink)
        for attempt in range(ATTEMPTS_MAX):
            with daemon.Daemon(config, "--once") as running:
                strike.running = running
                assert running.ended() == -signal.SIGKILL, f"attempt {attempt + 1}"
            if attempt == 2:  # the third cycle has fetched all that the first ones had to leave
                assert {messages.subject(t.body) for t in sink.transactions} >= \
                    {f"Nr {n}" for n in range(1, 6)}
        provider.maildrop.append(("late", mail("Nr 6")))
        run = expect(daemon.once(config), 0)
        assert run.log.find("message.held", account="sammel")
        assert [messages.subject(m) for _, m in provider.maildrop] == ["Gift"]
        assert sorted({messages.subject(t.body) for t in sink.transactions}) == \
            [f"Nr {n}" for n in range(1, 7)]
