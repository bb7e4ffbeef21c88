"""How far a cycle is: shown on a terminal, and on nothing else."""
import os
import pty
import re
import socket
import subprocess
import threading
import time

from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

SHOWN = re.compile(r"sammel: 2 of 3 messages, \d[\d.]* [kM]?B")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (error|warning|notice|info|debug) ")


class Terminal:
    """A program whose three streams are one terminal."""
    def __init__(self, *command):
        self.leader, follower = pty.openpty()
        self.process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower,
                                        env=daemon.environment(TERM="xterm"))
        os.close(follower)
        self.text = ""

    def read_until(self, pattern):
        """None: to the end."""
        while pattern is None or not pattern.search(self.text):
            try:
                piece = os.read(self.leader, 4096)
            except OSError:  # EIO: the other side is closed
                piece = b""
            if not piece:
                assert pattern is None, self.text
                break
            self.text += piece.decode()

    def end(self):
        self.read_until(None)
        os.close(self.leader)
        return self.process.wait(daemon.RUN_TIMEOUT)

    def lines(self):
        """What is left to be read on it."""
        shown = [line.split("\r\033[K")[-1].rstrip("\r") for line in self.text.split("\n")]
        return [line for line in shown if line]


class Gate:
    """The first final dot is answered once it is opened, the others at once."""
    def __init__(self):
        self.opened, self.closed = threading.Event(), threading.Lock()
        self.first = True

    def __call__(self, session):
        with self.closed:
            first, self.first = self.first, False
        if first:
            assert self.opened.wait(60)
        return None


def prepare(config, provider, sink, **keys):
    fake_provider(config, provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", PASSWORD, **keys)
    return config.write()


def three(first=1):
    return [messages.stored("hans", f"Nr {n}") for n in range(first, first + 3)]


def test_once_shows_it_below_the_log(config):
    gate = Gate()
    with Pop3Fake(three()) as provider, Sink({"dot": gate}) as sink:
        path = prepare(config, provider, sink)
        terminal = Terminal(daemon.program(), "-c", path, "--once")
        terminal.read_until(SHOWN)
        gate.opened.set()
        assert terminal.end() == 0
    assert len(sink.transactions) == 3
    lines = terminal.lines()
    assert all(STAMP.match(line) for line in lines), lines
    assert sum("message.delivered" in line for line in lines) == 3
    assert not SHOWN.search("\n".join(lines)) and "of 3 messages" not in "\n".join(lines)


def test_once_shows_nothing_in_a_pipe_nor_with_json(config):
    with Pop3Fake(three()) as provider, Sink() as sink:
        path = prepare(config, provider, sink)
        done = subprocess.run([daemon.program(), "-c", path, "--once"], capture_output=True,
                              text=True, env=daemon.environment(), timeout=daemon.RUN_TIMEOUT)
        assert done.returncode == 0
        assert all(STAMP.match(line) for line in done.stderr.splitlines()), done.stderr
        assert "\r" not in done.stderr and "\033" not in done.stderr and not done.stdout
    gate = Gate()
    with Pop3Fake(three(4)) as provider, Sink({"dot": gate}) as sink:
        path = prepare(config, provider, sink)
        terminal = Terminal(daemon.program(), "-c", path, "--once", "-l", "json")
        terminal.read_until(re.compile('"message.delivered"'))
        gate.opened.set()
        terminal.end()
        assert "\033" not in terminal.text and "of 3 messages" not in terminal.text


def test_fetch_wait_shows_it_and_then_the_result(config):
    gate = Gate()
    with Pop3Fake(three()) as provider, Sink({"dot": gate}) as sink:
        prepare(config, provider, sink)
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.started", account="sammel")
            terminal = Terminal(ctl.program(), "fetch", "--wait", "sammel", "-s",
                                config.top["control_socket"])
            terminal.read_until(SHOWN)
            progress = ctl.status(config)["accounts"]["sammel"]["progress"]
            assert (progress["done"], progress["of"]) == (2, 3)
            assert progress["octets"] > 0 and progress["duration_ms"] >= 0
            gate.opened.set()
            assert terminal.end() == 0
            assert ctl.status(config)["accounts"]["sammel"]["progress"] is None
            run = expect(ctl.ask(config, "fetch", "--wait", "sammel"), 0)
    assert terminal.lines() == [
        "sammel: a cycle is running already",
        "sammel: 3 listed, 3 delivered, 0 deferred, 0 held, 0 suppressed, 3 deleted"]
    assert run.stdout.splitlines()[0] == "sammel: cycle started" and "\r" not in run.stdout
    assert run.stderr == ""


class SlowDaemon:
    """The control socket of a daemon whose status takes a while; a cycle ends after a few."""
    TAKES, ASKED = 0.1, 3

    def __init__(self, path):
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        self.path, self.spans = path, []  # of the requests for the status: from, to
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        waiting, _ = self.listening.accept()
        assert waiting.recv(4096) == b"control/1 fetch sammel wait\n"
        while len(self.spans) < self.ASKED:
            asking, _ = self.listening.accept()
            begin = time.monotonic()
            assert asking.recv(4096).startswith(b"control/1 status")
            time.sleep(self.TAKES)  # what it does meanwhile
            self.spans.append((begin, time.monotonic()))
            asking.sendall(b'+{"accounts": []}\n=0\n')
            asking.close()
        waiting.sendall(b"+sammel: done\n=0\n")
        waiting.close()


def test_fetch_wait_asks_a_busy_daemon_less(config):
    slow = SlowDaemon(config.directory + "/slow")
    terminal = Terminal(ctl.program(), "fetch", "--wait", "sammel", "-s", slow.path)
    assert terminal.end() == 0 and terminal.lines() == ["sammel: done"]
    for (begin, end), (again, _) in zip(slow.spans, slow.spans[1:]):
        assert again - end > 19 * (end - begin), "twenty times what the last answer took"
