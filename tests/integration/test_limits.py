"""Limits that only the whole daemon can show (X02 and others; docs/limits.md)."""
import glob
import os
import subprocess
import threading

import pytest
from conftest import expect, fake_provider
from mdtest import daemon, messages
from mdtest.pop3fake import HANG, Pop3Fake
from mdtest.sink import Sink

LIMIT = 64 << 10
SPOOL_MEMORY_OCTETS = 256 << 10  # a message that needs a file
FASTER = 1000
HOUR = 3600 * 1000  # in ms


def serve(config, provider, sink, provider_keys=None, **keys):
    fake_provider(config, provider, **(provider_keys or {}))
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", provider.password, **keys)
    return config


def of_octets(octets):
    message = messages.stored("hans", "passt genau")
    return message + b"x" * (octets - len(message) - 2) + b"\r\n"


def lying(octets):
    """LIST with the same size for each."""
    return lambda s: ("+OK\r\n" + "".join(f"{i + 1} {octets}\r\n" for i in range(len(s.snapshot))) +
                      ".\r\n").encode()


@pytest.mark.parametrize("listed", [LIMIT, 100], ids=["LIST is right", "LIST lies"])
def test_a_message_of_exactly_max_size(config, listed):
    """X02: what counts is what arrives, not what LIST says."""
    with Pop3Fake([of_octets(LIMIT)], {"LIST": lying(listed)}) as provider, Sink() as sink:
        run = expect(daemon.once(serve(config, provider, sink, max_size="64K")), 0)
        assert len(sink.transactions) == 1 and provider.maildrop == []
        assert not run.log.find("limit.exceeded")


def test_one_octet_more_than_max_size(config):
    """Marked as held first, then the connection goes: it is never fetched again and again."""
    with Pop3Fake([of_octets(LIMIT + 1)], {"LIST": lying(LIMIT)}) as provider, Sink() as sink:
        run = expect(daemon.once(serve(config, provider, sink, max_size="64K")), 75)
        events = [e["event"] for e in run.log.entries]
        assert events.index("message.held") < events.index("limit.exceeded")
        assert run.log.find("message.held")[0]["reason"] == "larger than max_size"
        assert not provider.said("QUIT") and sink.attempts == []
        expect(daemon.once(config), 0)
        assert len(provider.said("RETR")) == 1 and len(provider.maildrop) == 1


@pytest.mark.parametrize("more", [0, 1])
def test_a_hundred_received_fields(config, more):
    """Of a message that has passed a hundred servers no one wants to be the next."""
    message = of_octets(1000)
    message = b"Received: from a by b\r\n" * (100 - message.count(b"Received:") + more) + message
    with Pop3Fake([message]) as provider, Sink() as sink:
        run = expect(daemon.once(serve(config, provider, sink)), 0)
        assert len(run.log.find("message.held")) == more
        assert len(sink.transactions) == 1 - more


def fast_clock():
    [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return {"LD_PRELOAD": library, "FAKETIME": f"+0 x{FASTER}",
            "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}


def test_a_session_has_an_end(config):
    """After four hours no message is asked for, after five the session is closed: each answer comes
    in time, and there is no end of them."""
    def slowly(session):
        session.server.stopped.wait(0.4)
        return "-ERR cannot read it"
    mails = [of_octets(1000)] * 80
    behaviour = {"RETR": slowly, "LIST": lying(5 << 20)}
    with Pop3Fake(mails, {"RETR": slowly}) as endless, Pop3Fake(mails, behaviour) as patient, \
            Sink() as sink:
        serve(config, endless, sink, {"timeout": "10m"}, interval="7d")
        fake_provider(config, patient, "patient", timeout="10m")
        config.account("langsam", "patient", "house", patient.password, interval="7d")
        with daemon.Daemon(config, **fast_clock()) as running:
            [ended] = running.wait_event("cycle.finished", account="langsam", timeout=60)
            assert 4 <= ended["duration_ms"] / HOUR < 5
            assert len(patient.said("RETR")) < len(mails) and patient.said("QUIT")
            [failed] = running.wait_event("cycle.failed", account="sammel", timeout=60)
            assert running.log.find("limit.exceeded", account="sammel")
            assert 5 <= failed["duration_ms"] / HOUR < 6
            assert "lasts too long" in failed["reason"] and not endless.said("QUIT")
            running.kill()


def ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        return sum(map(int, f.read().rsplit(")")[1].split()[11:13]))


def descriptors(pid, more):
    """Leaves the process what it has and so many more."""
    used = {int(n) for n in os.listdir(f"/proc/{pid}/fd")}
    free = sorted(set(range(len(used) + more + 1)) - used)
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={free[more]}:"], check=True)


@pytest.mark.parametrize("more", range(6))
def test_out_of_descriptors(config, more):
    """EMFILE, wherever it strikes: nothing is lost or deleted, nothing spins, and it ends by
    itself."""
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, interval="1s")
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.finished")
            pid = running.process.pid
            descriptors(pid, more)
            before, cpu = len(running.log.entries), ticks(pid)
            provider.maildrop = [("uid-1", of_octets(SPOOL_MEMORY_OCTETS + 1))]
            running.wait(lambda: [e for e in running.log.entries[before:] if e["event"] in (
                "state.failed", "cycle.failed", "relay.down", "message.deferred")] or
                provider.maildrop == [], what="a failure or a delivery")
            settled = threading.Event()
            settled.wait(1.5)  # what is watched for is that nothing happens
            assert ticks(pid) - cpu < os.sysconf("SC_CLK_TCK")
            assert (provider.maildrop == []) == (len(sink.transactions) == 1)
            subprocess.run(["prlimit", "--pid", str(pid), "--nofile=1024:"], check=True)
            running.wait(lambda: provider.maildrop == [], what="the delivery")
            assert len(sink.transactions) == 1
            assert running.stop() == 0


def timers(port):
    """The kernel's timers of connections to this port: 2 is keepalive (proc_net_tcp.txt)."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return {row[5].split(":")[0] for row in rows
            if row[2].endswith(f":{port:04X}") and row[3] == "01"}


def test_half_open_connections_are_noticed(config):
    """X11: keepalive on both sides of the house, for a peer that is gone without a word."""
    with Pop3Fake([of_octets(1000)], {"STAT": [HANG]}) as provider, Sink() as sink, \
            Pop3Fake([of_octets(1000)]) as other:
        serve(config, provider, sink)
        sink.behaviour["MAIL"] = [HANG]
        fake_provider(config, other, "other")
        config.account("zweites", "other", "house", other.password)
        with daemon.Daemon(config) as running:
            running.wait(lambda: timers(provider.port) == {"02"}, what="keepalive, POP3")
            running.wait(lambda: timers(sink.port) == {"02"}, what="keepalive, SMTP")
            running.kill()
