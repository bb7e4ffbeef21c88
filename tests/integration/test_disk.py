"""Full, read-only and foreign state (cases K13, K15, X09), on a small tmpfs of this process's own.

The file system lives in a private mount namespace and goes with the process. A full disk never
costs a message or a second copy: nothing happens that could not be recorded.
"""
import ctypes
import errno
import os
import signal
import sqlite3
import subprocess

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import daemon, messages, net
from mdtest.pop3fake import Pop3Fake, stuffed
from mdtest.sink import Sink
from test_http import get, health, listen

CLONE_NEWNS = 0x00020000
DISK_OCTETS = 12 << 20
PAGE = 4096


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


@pytest.fixture(scope="module", autouse=True)
def private_mounts():
    """Threads and processes that are started from now on see mounts that nobody else does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        pytest.fail("these tests need a private mount namespace, and this machine does not allow "
                    "one: " + os.strerror(ctypes.get_errno()))
    mount("--make-rprivate", "/")


class Disk:
    """The state directory's file system."""

    def __init__(self, path):
        self.path = path
        self.ballast = os.path.join(path, "ballast")
        mount("-t", "tmpfs", "-o", f"size={DISK_OCTETS},mode=700", "none", path)

    def fill(self, leave=0):
        """Leaves so many octets."""
        self.free()
        with open(self.ballast, "wb", buffering=0) as f:
            try:
                while f.write(b"x" * PAGE):
                    pass
            except OSError as e:
                assert e.errno == errno.ENOSPC
            f.truncate(f.tell() - leave)

    def fill_behind_commit(self):
        """Once the redo log is empty: in a page that it has, there would be room for an answer."""
        log = os.path.join(self.path, "state.db-redo0")
        net.wait_until(lambda: not os.path.getsize(log), 10, "the redo log is not emptied")
        self.fill()

    def free(self):
        if os.path.exists(self.ballast):
            os.remove(self.ballast)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def disk(config):
    disk = Disk(config.state)
    yield disk
    disk.unmount()


def mail(subject, octets=100):
    return messages.stored("hans", subject, b"a line of text.\r\n" * (octets // 17 + 1))


def serve(config, provider, sink, **keys):
    fake_provider(config, provider)
    config.relay("house", port=sink.port, **keys)
    config.account("sammel", "fake", "house", PASSWORD)
    return config


def again(running):
    """Another cycle of the running daemon, to its end."""
    ends = ("cycle.finished", "cycle.failed")
    before = sum(len(running.log.find(e)) for e in ends)
    running.signal(signal.SIGUSR1)
    running.wait(lambda: sum(len(running.log.find(e)) for e in ends) > before, what="a cycle")


def delivered(sink):
    return sorted(messages.subject(t.body) for t in sink.transactions)


def marked(sink):
    return [t for t in sink.transactions if messages.field(t.body, "X-Multidrop-In-Doubt")]


def test_full_before_the_login_K13(config, disk):
    """No permit can be stored: no login, and /healthz says so. With space again it goes on, without
    a restart."""
    address = listen(config)
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("cycle.finished")
            provider.maildrop = [("uid-1", mail("Nr 1"))]
            sessions = provider.connections
            assert get(address, "/healthz").status == 200
            disk.fill()
            running.signal(signal.SIGUSR1)
            running.wait_event("state.failed", account="sammel")
            assert provider.connections == sessions and sink.attempts == []
            health(running, address, 503, "sammel: ")
            disk.free()
            again(running)
            health(running, address, 200)
            assert delivered(sink) == ["Nr 1"] and provider.maildrop == []
            assert running.stop() == 0


def test_start_on_a_full_disk_K13(config, disk):
    with Pop3Fake([mail("Nr 1")]) as provider, Sink() as sink:
        serve(config, provider, sink)
        disk.fill()
        run = daemon.once(config)
        assert run.status in (73, 75) and run.log.find("state.failed"), repr(run)
        assert provider.connections == 0 and sink.connections == 0
        disk.free()
        expect(daemon.once(config), 0)
        assert delivered(sink) == ["Nr 1"]


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
def test_full_before_the_dot_K13(config, disk, stage):
    """The dot's record cannot be stored: no dot. Later it is sent once, and nobody is in doubt."""
    with Pop3Fake([mail("Nr 1"), mail("Nr 2")]) as provider, \
            Sink({stage: [lambda s: disk.fill()]}) as sink:
        with daemon.Daemon(serve(config, provider, sink, connections=1)) as running:
            running.wait_event("cycle.failed")
            assert running.log.find("state.failed")
            assert sink.attempts == [] and len(provider.maildrop) == 2
            disk.free()
            again(running)
            assert delivered(sink) == ["Nr 1", "Nr 2"] and marked(sink) == []
            assert provider.maildrop == []
            assert running.stop() == 0


def test_full_at_the_outcome_K13(config, disk):
    """Accepted, and that cannot be stored: no DELE, no login; remembered till it can be."""
    def accept(session):
        disk.fill_behind_commit()
        return "250 2.0.0 fine"

    address = listen(config)
    with Pop3Fake([mail("Nr 1"), mail("Nr 2")]) as provider, Sink({"dot": [accept]}) as sink:
        with daemon.Daemon(serve(config, provider, sink, connections=1)) as running:
            running.wait_event("cycle.failed")
            assert running.log.find("state.failed")
            assert provider.said("DELE") == [] and len(sink.attempts) == 1
            health(running, address, 503, "the state cannot be written: ")
            sessions = provider.connections
            running.signal(signal.SIGUSR1)
            running.wait(lambda: running.log.find("state.failed", account="sammel"), what="pause")
            assert provider.connections == sessions
            disk.free()
            again(running)
            assert delivered(sink) == ["Nr 1", "Nr 2"] and marked(sink) == []
            assert provider.maildrop == []
            health(running, address, 200)
            assert running.stop() == 0


def test_full_at_the_outcome_and_killed_K13(config, disk):
    """What was only remembered is gone with the process; the dot's record says so, and it shows."""
    def accept(session):
        disk.fill_behind_commit()
        return "250 2.0.0 fine"

    with Pop3Fake([mail("Nr 1")]) as provider, Sink({"dot": [accept]}) as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("cycle.failed")
            running.kill()
        disk.free()
        expect(daemon.once(config), 0)
        assert delivered(sink) == ["Nr 1", "Nr 1"] and len(marked(sink)) == 1
        assert provider.maildrop == []


def test_spool_full_inside_retr_X09(config, disk):
    """Messages stay and are not charged, and each is named; those around them go on."""
    large = [mail("Nr 2", 6_000_000), mail("Nr 3", 6_000_000)]

    def fill(session):
        if session.argument not in ("2", "3"):
            return None
        disk.fill(leave=2 << 20)
        return b"+OK\r\n" + stuffed(large[int(session.argument) - 2])

    mails = [mail("Nr 1"), *large, mail("Nr 4")]
    with Pop3Fake(mails, {"RETR": [None, fill, fill]}) as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait(lambda: running.log.find("cycle.finished") +
                         running.log.find("cycle.failed"), what="a cycle")
            failed = running.log.find("state.failed", account="sammel")
            assert [e.get("repeated") for e in failed] == [None, 1]
            left = running.log.find("message.deferred", account="sammel")
            assert [e["uidl"] for e in left] == ["uid-2", "uid-3"]
            assert all(e["reason"].startswith("spool in ") for e in left)
            assert delivered(sink) == ["Nr 1", "Nr 4"]
            assert [messages.subject(m) for _, m in provider.maildrop] == ["Nr 2", "Nr 3"]
            disk.free()
            again(running)
            assert delivered(sink) == ["Nr 1", "Nr 2", "Nr 3", "Nr 4"] and marked(sink) == []
            assert provider.maildrop == []
            assert running.stop() == 0


def content(path):
    """Of the database, as a proof that nobody has touched it."""
    with open(path, "rb") as f:
        return f.read()


@pytest.fixture
def used(config):
    """A state that has seen a delivery, and a maildrop with one message more."""
    with Pop3Fake([mail("Nr 1")]) as provider, Sink() as sink:
        expect(daemon.once(serve(config, provider, sink)), 0)
        provider.maildrop = [("later", mail("Nr 2"))]
        yield config, provider, sink


def refused(used, says):
    """Exit 73 before any login, for the daemon and for --once, and the file is what it was."""
    config, provider, sink = used
    database = os.path.join(config.state, "state.db")
    before, sessions = content(database), provider.connections
    for arguments in ((), ("--once",)):
        run = daemon.run("-l", "json", "-c", config.write(), *arguments)
        expect(run, 73)
        assert any(says in str(e.get("reason")) for e in run.log.find("state.failed")), repr(run)
    assert provider.connections == sessions and len(sink.transactions) == 1
    assert content(database) == before


def test_read_only_file_system_K15(used):
    config = used[0]
    mount("--bind", config.state, config.state)
    try:
        mount("-o", "remount,bind,ro", config.state)
        refused(used, config.state)
    finally:
        subprocess.run(["umount", config.state], check=True)
    expect(daemon.once(config), 0)
    assert delivered(used[2]) == ["Nr 1", "Nr 2"]


def test_read_only_database_K15(used):
    database = os.path.join(used[0].state, "state.db")
    mount("--bind", database, database)
    try:
        mount("-o", "remount,bind,ro", database)
        refused(used, database)
    finally:
        subprocess.run(["umount", database], check=True)
    expect(daemon.once(used[0]), 0)
    assert delivered(used[2]) == ["Nr 1", "Nr 2"]


@pytest.mark.parametrize("statement,says", [
    ("PRAGMA user_version = 4711", "schema 4711"),
    ("PRAGMA application_id = 7", "not a database of multidropd")])
def test_newer_and_foreign_database_K15(used, statement, says):
    with sqlite3.connect(os.path.join(used[0].state, "state.db")) as db:
        db.execute(statement)
    db.close()
    refused(used, says)


def test_corrupt_database_K15(used):
    database = os.path.join(used[0].state, "state.db")
    with open(database, "r+b") as f:
        f.write(b"\xa5" * 100)
    refused(used, "not a database; stop multidropd and restore a backup, or move it away: all that "
                  "is still listed is then delivered once more")


def test_missing_state_directory_K15(used):
    config = used[0]
    config.top["state_dir"] = os.path.join(config.directory, "nowhere")
    run = expect(daemon.run("-l", "json", "-c", config.write()), 73)
    assert run.log.find("state.failed") and len(used[2].transactions) == 1


def test_locked_by_another_process_K13(config):
    """For longer than is waited: the message stays, nothing ends, and the next cycle brings it."""
    locks = []

    def lock(session):
        locks.append(sqlite3.connect(os.path.join(config.state, "state.db"), isolation_level=None,
                                     check_same_thread=False))
        locks[0].execute("BEGIN IMMEDIATE")

    with Pop3Fake([mail("Nr 1")], {"RETR": [lock]}) as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("state.failed", timeout=90)  # each change is waited for: 10 s
            assert sink.attempts == []
            locks[0].close()
            running.wait_event("cycle.failed")
            again(running)
            assert delivered(sink) == ["Nr 1"] and provider.maildrop == []
            assert running.stop() == 0
