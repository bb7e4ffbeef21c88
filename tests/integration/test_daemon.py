"""The long-running daemon: signals, a lost QUIT, and kill -9 at any moment."""
import collections
import os
import random
import re
import signal
import socket
import threading

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import daemon, messages
from mdtest.pop3fake import HANG, Pop3Fake, quit_not_done, quit_reply_lost
from mdtest.sink import Sink


def serve(config, provider, sink, connections=4, **keys):
    fake_provider(config, provider)
    config.relay("house", port=sink.port, connections=connections)
    config.account("sammel", "fake", "house", provider.password, **keys)
    return config


def subjects(sink):
    with sink.lock:
        return collections.Counter(messages.subject(t.body) for t in sink.transactions)


def three():
    return [messages.stored("hans", f"Nr {n}") for n in (1, 2, 3)]


def test_daemon_delivers_and_ends_on_sigterm(config):
    with Pop3Fake(three()) as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("cycle.finished", account="sammel")
            assert provider.maildrop == [] and len(sink.transactions) == 3
            assert running.stop() == 0
            assert running.log.find("daemon.started") and running.log.find("daemon.stopping")


@pytest.mark.parametrize("where", ["UIDL", "RETR", "EHLO", "MAIL", "DATA"])
def test_sigterm_while_a_peer_hangs(config, where):
    """What is not past its final dot stays on the server; nobody waits for a silent peer."""
    side = ("UIDL", "RETR")
    hang = {where: [HANG]}
    with Pop3Fake(three(), hang if where in side else {}) as provider, \
            Sink({} if where in side else hang) as sink:
        peer = provider if where in side else sink
        with daemon.Daemon(serve(config, provider, sink, connections=1)) as running:
            running.wait(lambda: peer.said(where), what=where)
            assert running.stop(timeout=20) == 0
        delivered = sum(subjects(sink).values())
        assert len(provider.maildrop) >= 3 - delivered
        expect(daemon.once(config), 0)
        assert subjects(sink) == {"Nr 1": 1, "Nr 2": 1, "Nr 3": 1}


def test_broken_file_at_sighup_changes_nothing(config):
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("cycle.finished")
            good = config.text()
            config.file("multidropd.conf", good + "nonsense = = =\n")
            running.signal(signal.SIGHUP)
            running.wait_event("config.refused")
            provider.maildrop = [(f"later-{n}", m) for n, m in enumerate(three())]
            running.signal(signal.SIGUSR1)
            running.wait(lambda: len(sink.transactions) == 3, what="delivery by the old file")
            config.file("multidropd.conf", good)
            running.signal(signal.SIGHUP)
            running.wait_event("config.reloaded")
            assert running.stop() == 0


def test_reload_brings_in_a_new_account(config):
    with Pop3Fake() as provider, Sink() as sink, Pop3Fake(three()) as other:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("cycle.finished", account="sammel")
            fake_provider(config, other, "zweiter")
            config.account("neu", "zweiter", "house", PASSWORD)
            config.write()
            running.signal(signal.SIGHUP)
            running.wait_event("cycle.finished", account="neu")
            assert len(sink.transactions) == 3
            assert running.stop() == 0


def test_reload_leaves_the_spool_where_it_was(config):
    """What does not fit into memory goes to the state directory, after a reload as well."""
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink, interval="1s")) as running:
            running.wait_event("cycle.finished")
            running.signal(signal.SIGHUP)
            running.wait_event("config.reloaded")
            config.top["state_dir"] = config.directory + "/elsewhere"
            os.mkdir(config.top["state_dir"])
            config.write()
            running.signal(signal.SIGHUP)
            [refused] = running.wait_event("config.refused")
            assert "state_dir" in refused["reason"]
            large = messages.stored("hans", "gross") + b"x" * 70 * 1000 + b"\r\n"
            with provider.lock:
                provider.maildrop.append(("large", large + b"0123456789\r\n" * 100000))
            running.wait_event("message.delivered", account="sammel")
            assert not running.log.find("state.failed") and running.stop() == 0


def test_reload_in_mid_cycle_puts_nothing_off(config):
    """The running cycle delivers on the relay that it began with, though that one was replaced."""
    reloaded = threading.Event()

    def wait_for_reload(session):
        reloaded.wait(20)

    with Pop3Fake(three()) as provider, Sink({"MAIL": [wait_for_reload]}) as sink:
        with daemon.Daemon(serve(config, provider, sink, connections=1)) as running:
            running.wait(lambda: sink.said("MAIL"), what="the first transaction")
            config.relays["house"]["connections"] = 2
            config.write()
            running.signal(signal.SIGHUP)
            running.wait_event("config.reloaded")
            reloaded.set()
            running.wait_event("cycle.finished", account="sammel")
            assert len(sink.transactions) == 3 and provider.maildrop == []
            assert not running.log.find("message.deferred")
            assert running.stop() == 0


def test_service_manager_is_told(config):
    """READY only with configuration and state open, RELOADING around a reload, STOPPING."""
    path = os.path.join(config.directory, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Pop3Fake() as provider, \
            Sink() as sink:
        manager.bind(path)
        manager.settimeout(20)

        def told(word):
            while not re.search(rf"^{word}$", text := manager.recv(4096).decode(), re.M):
                pass
            return text

        with daemon.Daemon(serve(config, provider, sink), NOTIFY_SOCKET=path) as running:
            told("READY=1")
            running.wait_event("cycle.finished")
            running.signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in told("RELOADING=1")
            told("READY=1")
            config.file("multidropd.conf", "nonsense = = =\n")
            running.signal(signal.SIGHUP)
            running.wait_event("config.refused")
            told("READY=1")
            running.signal(signal.SIGTERM)
            told("STOPPING=1")
            assert running.ended() == 0


def test_second_daemon_on_the_same_state(config):
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as first:
            first.wait_event("cycle.finished")
            with daemon.Daemon(config) as second:
                assert second.ended(timeout=20) == 75
            assert first.process.poll() is None
            assert first.stop() == 0


@pytest.mark.parametrize("quit_step", [quit_reply_lost, quit_not_done])
def test_lost_quit_is_made_good_without_fetching_again(config, quit_step):
    with Pop3Fake(three(), {"QUIT": [quit_step]}) as provider, Sink() as sink:
        serve(config, provider, sink)
        daemon.once(config)
        assert len(sink.transactions) == 3
        fetched = len(provider.said("RETR"))
        expect(daemon.once(config), 0)
        assert len(provider.said("RETR")) == fetched and len(sink.transactions) == 3
        assert provider.maildrop == []


def kill_often(config, provider, sink, rng, kills, total):
    """Kills a run after a random number of accepted messages, so many times; then lets one end."""
    for _ in range(kills):
        goal = len(sink.transactions) + rng.randrange(total // kills)
        with daemon.Daemon(config, "--once") as running:
            try:
                running.wait(lambda: len(sink.transactions) >= goal, 60, f"{goal} messages")
            except RuntimeError:
                break  # it was done before the goal was reached
            running.kill()
    return expect(daemon.once(config), 0)


@pytest.mark.parametrize("connections", [1, 4])
def test_kill_nine_loses_nothing(config, connections):
    """Nothing is lost, and one kill costs at most one copy for each connection to the relay."""
    total, kills = 2000, 6
    seed = random.randrange(1 << 32)
    print("seed", seed)
    mails = [messages.stored("hans", f"Nr {n}", body=b"x" * 2000 + b"\r\n") for n in range(total)]
    with Pop3Fake(mails) as provider, Sink() as sink:
        serve(config, provider, sink, connections)
        kill_often(config, provider, sink, random.Random(seed), kills, total)
        got = subjects(sink)
        assert len(got) == total, f"lost: {total - len(got)}, seed {seed}"
        assert sum(got.values()) - total <= kills * connections, f"seed {seed}"
        assert provider.maildrop == []


def test_copy_in_doubt_is_marked_and_recognisable(config):
    """The relay has the message but its answer never came: it goes out again, marked."""
    with Pop3Fake(three()[:1]) as provider, Sink({"dot": [HANG]}) as sink:
        serve(config, provider, sink)
        with daemon.Daemon(config, "--once") as running:
            running.wait(lambda: sink.attempts, what="a final dot")
            running.kill()
        run = expect(daemon.once(config), 0)
        assert run.log.find("message.in_doubt", account="sammel")
        first, second = (t.body for t in sink.attempts)
        assert messages.field(second, "X-Multidrop-In-Doubt") == ["yes"]
        assert messages.field(first, "X-Multidrop-In-Doubt") == []
        assert messages.field(first, "X-Multidrop-Id") == messages.field(second, "X-Multidrop-Id")
