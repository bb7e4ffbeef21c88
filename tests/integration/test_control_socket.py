"""The control socket itself: who may, stale and living ones, hostile clients, and where it is."""
import os
import pwd
import signal
import socket
import stat
import subprocess

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon
from mdtest.pop3fake import HANG, Pop3Fake
from mdtest.sink import Sink

LINE_MAX, CLIENTS_MAX = 256, 16  # control_line.h, control.h


def serve(config, provider, sink, **keys):
    fake_provider(config, provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", PASSWORD, interval="1h", **keys)
    return config


@pytest.fixture
def running(config):
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as process:
            process.wait_event("cycle.finished")
            yield process


def client(config):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(30)
    peer.connect(config.top["control_socket"])
    return peer


def answer(peer):
    """All that comes until the daemon closes."""
    text = b""
    try:
        while piece := peer.recv(65536):
            text += piece
    except ConnectionResetError:
        pass  # it did not want to read what we had sent
    peer.close()
    return text


def say(config, request):
    peer = client(config)
    try:
        peer.sendall(request)
    except BrokenPipeError:
        pass  # turned away at the door
    return answer(peer)


# ---- the file ----

def test_its_mode_and_its_end(config, running):
    path = config.top["control_socket"]
    status = os.stat(path)
    assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o660
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    assert running.stop() == 0
    assert not os.path.exists(path)


def test_stale_socket_is_replaced(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink)
        with daemon.Daemon(config) as first:
            first.wait_event("daemon.started")
            first.kill()
        assert os.path.exists(config.top["control_socket"])
        with daemon.Daemon(config) as second:
            second.wait_event("daemon.started")
            expect(ctl.ask(config, "status"), 0)
            assert not second.log.find("control.failed")


@pytest.mark.parametrize("obstacle, words", [
    ("living", "belongs to another process that listens there"),
    ("file", "is there and is no socket"),
    ("no folder", "No such file or directory"),
])
def test_mail_goes_on_without_it(config, obstacle, words):
    path = config.top["control_socket"]
    with Pop3Fake() as provider, Sink() as sink, socket.socket(socket.AF_UNIX) as other:
        if obstacle == "living":
            other.bind(path)
            other.listen()
        elif obstacle == "file":
            config.file("control", "precious")
        else:
            config.top["control_socket"] = os.path.join(config.directory, "a", "b", "control")
        with daemon.Daemon(serve(config, provider, sink)) as running:
            entry, = running.wait_event("control.failed")
            assert words in entry["reason"]
            running.wait_event("cycle.finished")
            assert running.stop() == 0
        if obstacle == "living":
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)  # it is still theirs
        if obstacle == "file":
            assert open(path).read() == "precious"


def test_missing_folder_is_made(config):
    config.top["control_socket"] = os.path.join(config.directory, "run", "control")
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("daemon.started")
            expect(ctl.ask(config, "status"), 0)


def test_once_opens_none_and_is_safe_beside_the_daemon(config, running):
    run = daemon.once(config)
    assert run.status == 0, repr(run)
    expect(ctl.ask(config, "status"), 0)
    running.stop()
    with Pop3Fake((), {"UIDL": [HANG]}) as provider, Sink() as sink:
        serve(config, provider, sink)
        with daemon.Daemon(config, "--once") as once:
            once.wait(lambda: provider.said("UIDL"), what="UIDL")
            assert not os.path.exists(config.top["control_socket"])


def test_reload_moves_it(config, running):
    old = config.top["control_socket"]
    config.top["control_socket"] = os.path.join(config.directory, "elsewhere")
    config.write()
    run = expect(ctl.run("reload", "-s", old), 0)
    assert run.stdout == "configuration reloaded\n"
    assert not os.path.exists(old)
    expect(ctl.ask(config, "status"), 0)
    config.top["control_socket"] = os.path.join(config.directory, "no", "such", "folder")
    config.write()
    kept = os.path.join(config.directory, "elsewhere")
    run = expect(ctl.run("reload", "-s", kept), 0)
    assert "the control socket stays where it was" in run.stderr
    expect(ctl.run("status", "-s", kept), 0)


def test_reload_brings_it_back_when_somebody_has_removed_it(config, running):
    os.unlink(config.top["control_socket"])
    expect(ctl.ask(config, "status"), 69)
    running.signal(signal.SIGHUP)
    running.wait_event("config.reloaded")
    expect(ctl.ask(config, "status"), 0)


def test_reload_keeps_the_control_socket_when_there_can_be_no_other(config, running):
    """Who is connected to a socket that was removed is served, also when no new one can be made."""
    path = config.top["control_socket"]
    with socket.socket(socket.AF_UNIX) as early:
        early.settimeout(20)
        early.connect(path)
        os.rename(path, path + ".away")
        os.mkdir(path)
        running.signal(signal.SIGHUP)
        running.wait_event("control.failed", reason=f"{path} is there and is no socket")
        expect(ctl.run("status", "-s", path + ".away"), 0)  # the old one still listens
        os.rmdir(path)
        running.signal(signal.SIGHUP)
        running.wait(lambda: len(running.log.find("config.reloaded")) == 2)
        early.sendall(b"control/1 status\n")
        assert b"\n=0\n" in early.recv(65536)
    expect(ctl.ask(config, "status"), 0)


# ---- who may ----

def as_nobody(*groups):
    nobody = pwd.getpwnam("nobody")
    more = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", *more]


@pytest.fixture
def anybodys_ctl(directory, monkeypatch):
    """multidropctl where other users can run it."""
    path = os.path.join(directory, "multidropctl")
    subprocess.run(["install", "-m", "755", ctl.program(), path], check=True)
    monkeypatch.setenv("MULTIDROPCTL", path)


def test_other_users(config, running, anybodys_ctl):
    run = expect(ctl.ask(config, "status", prefix=as_nobody()), 69)
    assert "Permission denied; be root or in the group root" in run.stderr
    # The socket's group may, by a supplementary group as well as by the primary one.
    expect(ctl.ask(config, "status", prefix=as_nobody(0)), 0)
    # Somebody opens the door: the second line holds.
    os.chmod(config.top["control_socket"], 0o666)
    for command in ("status", "reload", "metrics"):
        run = expect(ctl.ask(config, command, prefix=as_nobody()), 1)
        assert run.stdout == ""
        assert run.stderr == ("only root, the daemon's user and its group may talk to the "
                              "daemon\n")
    assert not running.log.find("config.reloaded")


# ---- what they may send ----

def test_requests(config, running):
    status = b"control/1 status\n"
    assert say(config, status).endswith(b"\n=0\n")
    assert say(config, b"control/0 status\n") == (
        b"-the daemon speaks control/1 and was asked in another way; use the multidropctl of its "
        b"version\n=1\n")
    assert say(config, b"\0\xff\x01\n").endswith(b"\n=1\n")
    assert say(config, b"\n").endswith(b"\n=1\n")
    assert say(config, b"control/1 nonsense\n") == \
        b'-the daemon knows no command "nonsense"\n=1\n'
    # One request a connection: what follows it is not read.
    assert say(config, status + b"control/1 reload\n" * 100).count(b"=0\n") == 1
    assert not running.log.find("config.reloaded")


@pytest.mark.parametrize("length, words", [
    (LINE_MAX - 1, b"there is no account"), (LINE_MAX, b"there is no account"),
    (LINE_MAX + 1, b"the request is too long")])
def test_length_of_a_request(config, running, length, words):
    line = b"control/1 status "
    assert words in say(config, line + b"x" * (length - len(line) - 1) + b"\n")


def test_a_request_in_pieces_and_a_closed_half(config, running):
    peer = client(config)
    for octet in b"control/1 status\n":
        peer.sendall(bytes([octet]))
    assert answer(peer).endswith(b"\n=0\n")
    peer = client(config)
    peer.sendall(b"control/1 status\n")
    peer.shutdown(socket.SHUT_WR)
    assert answer(peer).endswith(b"\n=0\n")
    peer = client(config)
    peer.sendall(b"control/1 sta")
    peer.shutdown(socket.SHUT_WR)
    assert answer(peer) == b""


def descriptors(process):
    return len(os.listdir(f"/proc/{process.process.pid}/fd"))


def memory_kib(process):
    with open(f"/proc/{process.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_thousands_of_connections(config, running):
    """They come and go, and cost neither descriptors nor memory."""
    expect(ctl.ask(config, "status"), 0)
    before, memory = descriptors(running), memory_kib(running)
    for _ in range(3000):
        client(config).close()
    running.wait(lambda: descriptors(running) == before, what="all descriptors to be closed")
    assert memory_kib(running) - memory < 8 * 1024
    expect(ctl.ask(config, "status"), 0)


def test_clients_beyond_the_limit_are_told(config, running):
    silent = [client(config) for _ in range(CLIENTS_MAX)]
    assert say(config, b"control/1 status\n") == \
        b"-too many connections to the control socket; try again\n=1\n"
    silent[0].close()
    running.wait(lambda: say(config, b"control/1 status\n").endswith(b"=0\n"),
                 what="a free place")
    for peer in silent:
        peer.close()


def test_silent_and_greedy_clients_are_dropped(config, running):
    """One says nothing, one half a line, one sends without end, one does not take its answer."""
    before = descriptors(running)
    for n in range(1200):  # makes the answer larger than the kernel's buffers
        config.account(f"konto-{n:04d}-{'x' * 50}", "fake", "house", PASSWORD, enabled=False)
    config.write()
    expect(ctl.ask(config, "reload"), 0)
    silent, half, endless, deaf = (client(config) for _ in range(4))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    half.sendall(b"control/1 st")
    deaf.sendall(b"control/1 status\n")
    with pytest.raises(OSError):
        while True:
            endless.sendall(b"x" * 65536)
    expect(ctl.ask(config, "status"), 0)  # nobody was held up
    assert answer(silent) == b"" and answer(half) == b""  # within the deadline, or a timeout
    running.wait(lambda: descriptors(running) <= before, what="the deaf one to be dropped")
    assert not answer(deaf).endswith(b"=0\n")
    expect(ctl.ask(config, "status"), 0)


def test_who_hangs_up_while_waiting_frees_his_place(config):
    with Pop3Fake((), {"UIDL": [HANG]}) as provider, Sink() as sink:
        serve(config, provider, sink)
        config.providers["fake"]["timeout"] = "5m"
        with daemon.Daemon(config) as running:
            running.wait(lambda: provider.said("UIDL"), what="UIDL")
            waiting = [client(config) for _ in range(CLIENTS_MAX)]
            for peer in waiting:
                peer.sendall(b"control/1 fetch sammel wait\n")
                assert peer.recv(100).startswith(b"+sammel: a cycle is running already")
            assert b"too many" in say(config, b"control/1 status\n")
            for peer in waiting:
                peer.close()
            running.wait(lambda: say(config, b"control/1 status\n").endswith(b"=0\n"),
                         what="free places")
            assert running.stop() == 0


def test_no_descriptors_left(config):
    """Out of descriptors: the loop neither spins nor stops, and it goes on when there are some."""
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("cycle.finished")
            pid = running.process.pid
            used = {int(n) for n in os.listdir(f"/proc/{pid}/fd")}
            free = min(set(range(len(used) + 1)) - used)
            subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={free}:"], check=True)
            peer = client(config)
            peer.sendall(b"control/1 status\n")
            peer.settimeout(1.5)

            def ticks():
                with open(f"/proc/{pid}/stat") as f:
                    return sum(map(int, f.read().rsplit(")")[1].split()[11:13]))
            before = ticks()
            with pytest.raises(TimeoutError):
                peer.recv(1)
            assert ticks() - before < os.sysconf("SC_CLK_TCK") // 4
            subprocess.run(["prlimit", "--pid", str(pid), "--nofile=1024:"], check=True)
            peer.settimeout(30)
            assert answer(peer).endswith(b"\n=0\n")
