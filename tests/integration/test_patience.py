"""The provider's patience: its limits between processes, and its autologout.

A clock that runs a hundred times faster (libfaketime) stands for long waits.
"""
import collections
import concurrent.futures
import glob
import signal
import threading

from conftest import expect, fake_provider
from mdtest import daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

FASTER = 100
NOOPS = 6  # one in two minutes: this is past the ten minutes of an autologout


def fast_clock(faster=FASTER):
    [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return {"LD_PRELOAD": library, "FAKETIME": f"+0 x{faster}",
            # the library comes before the sanitizer's own
            "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}


def test_p50_slow_relay_outlasts_the_autologout(config):
    """P50: the relay takes its time over one message; the maildrop's session is kept alive."""
    def slow(_session):
        if not delivered.wait(60):
            return "451 4.3.0 no NOOP came"
        return None
    delivered = threading.Event()
    with Pop3Fake([messages.stored("hans", "langsam")]) as provider, \
            Sink({"dot": [slow]}) as sink:
        fake_provider(config, provider, timeout="600s")
        config.relay("house", port=sink.port, dot_timeout="60m")
        config.account("sammel", "fake", "house", provider.password, interval="7d")
        with daemon.Daemon(config, **fast_clock()) as running:
            running.wait(lambda: len(provider.said("NOOP")) >= NOOPS, what="NOOPs")
            delivered.set()
            running.wait_event("cycle.finished", account="sammel")
            running.kill()
        assert len(sink.transactions) == 1 and provider.maildrop == []
        assert provider.connections == 1


def test_p50_quit_follows_a_noop_that_was_answered_last(config):
    """P50: the last message settles, as held, while a NOOP is unanswered: QUIT comes after it."""
    def slow(_session):
        asked.wait(60)
        return "554 5.7.1 not wanted"

    def noop(_session):
        asked.set()
        settled.wait(60)
    asked, settled = threading.Event(), threading.Event()
    with Pop3Fake([messages.stored("hans", "langsam")], {"NOOP": noop}) as provider, \
            Sink({"dot": slow}) as sink:
        fake_provider(config, provider, timeout="600s")
        config.relay("house", port=sink.port, dot_timeout="60m")
        config.account("sammel", "fake", "house", provider.password, interval="7d")
        with daemon.Daemon(config, **fast_clock()) as running:
            running.wait_event("message.held")
            assert not provider.said("QUIT")
            settled.set()
            running.wait(lambda: provider.said("QUIT"), what="QUIT")
            running.kill()


def crowd(config, providers, sink):
    """Three accounts at each of two providers, which count what they see."""
    for name, provider in providers.items():
        config.provider(name, port=provider.port, min_interval="10m", login_limit=2,
                        login_window="10m", max_sessions=1)
    config.relay("house", port=sink.port)
    for i in range(6):
        config.account(f"konto{i}", list(providers)[i % 2], "house", "geheim-4711",
                       interval="10m")
    return config


class Counting(Pop3Fake):
    """Counts sessions at once, and holds each at LIST until two others could have come."""

    def __init__(self, held):
        self.now = self.most = 0
        self.held = held
        super().__init__([messages.stored("hans", "eins")],
                         {"LIST": self.enter, "QUIT": self.leave})

    def enter(self, _session):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.held.wait(60)
        return None

    def leave(self, _session):
        with self.lock:
            self.now -= 1
        return None


def test_twenty_at_once_beside_a_daemon(config):
    """Twenty --once and a daemon at the same moment: no limit is passed by one login."""
    held = threading.Event()
    with Counting(held) as a, Counting(held) as b, Sink() as sink:
        crowd(config, {"a": a, "b": b}, sink).write()
        with daemon.Daemon(config) as running, \
                concurrent.futures.ThreadPoolExecutor(20) as pool:
            runs = [pool.submit(daemon.run, "--once", "-l", "json", "-c", config.path)
                    for _ in range(20)]
            running.wait(lambda: a.said("LIST") and b.said("LIST"), what="the first sessions")
            held.set()
            runs = [r.result() for r in runs]
            running.stop()
        for provider in (a, b):
            assert provider.most == 1  # max_sessions, over all processes
            assert len(provider.said("PASS")) <= 2  # login_limit
            users = collections.Counter(provider.said("USER"))
            assert max(users.values()) == 1  # min_interval
        assert len(a.said("PASS")) + len(b.said("PASS")) >= 2
        for run in runs:
            expect(run, 75 if run.status else 0)
            reasons = {e["reason"] for e in run.log.find("cycle.skipped")}
            assert reasons <= {"limit", "locked", "not-due"}
            assert not run.log.noise


def test_counted_failures_are_summed_up_while_nothing_happens(config):
    """X14: the sum comes when it is due, not with the next cycle, which is a week away."""
    refuse = {"greeting": lambda session: "-ERR [SYS/TEMP] try later"}
    with Pop3Fake((), refuse) as provider, Sink() as sink:
        fake_provider(config, provider, timeout="10m")
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", provider.password, interval="7d")
        with daemon.Daemon(config, **fast_clock(1000)) as running:
            running.wait_event("cycle.failed", account="sammel")
            running.signal(signal.SIGUSR1)
            running.wait(lambda: provider.connections == 2, what="a second cycle")
            running.wait_event("cycle.failed", account="sammel", repeated=1)
            assert provider.connections == 2
            running.kill()


def test_limit_in_disguise(config):
    """"Login incorrect" right after many good logins is a limit, once; then it is what it says."""
    def moody(session):
        with session.server.lock:
            session.server.logins += 1
            return None if session.server.logins <= 12 else "-ERR login incorrect"
    with Pop3Fake((), {"PASS": moody}) as provider, Sink() as sink:
        provider.logins = 0
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", provider.password, interval="1s")
        with daemon.Daemon(config, **fast_clock()) as running:
            [limited] = running.wait_event("login.limited", account="sammel")
            assert "taken for a limit" in limited["reason"]
            assert not running.log.find("login.failed")
            running.wait_event("account.suspended", account="sammel", timeout=90)
            assert len(running.log.find("login.failed")) == 1  # the others are counted
            assert provider.logins == 12 + 1 + 3
            running.kill()


def test_suspension_survives_and_ends_with_the_right_password(config):
    """P13: three refusals, over restarts and --once, are all that the provider sees of it."""
    with Pop3Fake() as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", "wrong", interval="1s")
        for _ in range(3):
            expect(daemon.once(config), 75)
        run = expect(daemon.once(config), 75)
        assert run.log.find("cycle.skipped", reason="suspended")
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.skipped", reason="suspended")
            assert len(provider.said("PASS")) == 3
            config.account("sammel", "fake", "house", provider.password, interval="1s")
            config.write()
            running.signal(signal.SIGHUP)
            running.wait_event("account.resumed", account="sammel")
            running.wait_event("cycle.finished", account="sammel")
