"""kill -9 at random moments, hundreds of times, with a real Dovecot: nothing is lost, and what
comes twice is marked.

The seed is printed and can be given: MDTEST_SEED=N. Named points are in test_crash_points.py.
"""
import collections
import os
import random
import statistics
import subprocess
import time

import pytest
from conftest import PASSWORD, expect
from mdtest import daemon, messages
from mdtest.sink import Sink

BATCH = 12  # messages in the maildrop whenever a run starts


class Maildrop:
    """Refilled on the fly; knows the body of every message that was ever put there."""

    def __init__(self, dovecot, box, rng):
        self.dovecot, self.box, self.rng = dovecot, box, rng
        self.bodies = {}

    def refill(self):
        for _ in range(BATCH - self.dovecot.count(self.box)):
            subject = f"Nr {len(self.bodies)}"
            body = b"a line of text\n" * self.rng.choice((1, 30, 300, 3000))
            self.bodies[subject] = body
            self.dovecot.put(self.box, messages.stored("hans", subject, body))


def timed_cycle(config, log):
    """Seconds of one whole cycle that nobody kills."""
    start = time.monotonic()
    status = subprocess.call(command(config), stdin=subprocess.DEVNULL, stderr=log,
                             env=daemon.environment())
    assert status == 0
    return time.monotonic() - start


def command(config):
    return [daemon.program(), "--once", "-l", "json", "-c", config.path]


def killed_after(config, log, seconds):
    """Whether the run was still there to be killed."""
    process = subprocess.Popen(command(config), stdin=subprocess.DEVNULL, stderr=log,
                               env=daemon.environment())
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() < 0


def storm(config, maildrop, rng, kills):
    """So many kills, each uniformly within a cycle's time; then a run that empties the rest."""
    config.write()
    idle = min(daemon_start() for _ in range(3))
    with open(os.path.join(config.directory, "log"), "w+b") as log:
        cycles = []
        for _ in range(3):
            maildrop.refill()
            cycles.append(timed_cycle(config, log))
        span = statistics.median(cycles)
        done = 0
        while done < kills:
            maildrop.refill()
            done += killed_after(config, log, rng.uniform(idle, span))
        log.seek(0)
        assert b"Sanitizer" not in log.read()
    expect(daemon.once(config), 0)
    assert maildrop.dovecot.count(maildrop.box) == 0
    return span


def daemon_start():
    """Seconds until the program does anything at all: no kill is wasted on that."""
    start = time.monotonic()
    daemon.run("--version")
    return time.monotonic() - start


@pytest.fixture
def say(capsys):
    """Prints past pytest's capture: the figures are for whoever reads the log of a good run."""
    def line(text):
        with capsys.disabled():
            print(text, flush=True)
    return line


def examine(say, arrived, maildrop, kills, what):
    """What arrived against what was put: nothing lost, extra copies few, marked, recognisable."""
    copies = collections.defaultdict(list)
    for message in arrived:
        copies[messages.subject(message)].append(message)
    lost = len(maildrop.bodies.keys() - copies.keys())
    extra = len(arrived) - len(copies)
    say(f"{what}: {kills} kills, {len(maildrop.bodies)} messages, {lost} lost, "
          f"{extra} extra copies")
    assert lost == 0
    assert copies.keys() == maildrop.bodies.keys()
    assert extra <= kills
    for subject, same in copies.items():
        assert len({tuple(messages.field(m, "X-Multidrop-Id")) for m in same}) == 1, subject
        assert messages.field(same[0], "X-Multidrop-Id"), subject
        unmarked = [m for m in same if not messages.field(m, "X-Multidrop-In-Doubt")]
        assert len(unmarked) <= 1, f"{subject}: {len(unmarked)} copies do not say that they may be"
        for message in same:
            assert messages.split(message)[1] == maildrop.bodies[subject], subject


@pytest.fixture
def rng(say):
    seed = int(os.environ.get("MDTEST_SEED") or random.randrange(1 << 32))
    say(f"MDTEST_SEED={seed}")
    return random.Random(seed)


@pytest.mark.parametrize("connections", [4, 1])
def test_kills_into_a_recording_relay(config, dovecot, box, rng, say, connections):
    kills = 135
    maildrop = Maildrop(dovecot, box, rng)
    with Sink() as sink:
        config.provider("hoster", host="localhost", port=dovecot.pop3)
        config.relay("house", port=sink.port, connections=connections)
        config.account("sammel", "hoster", "house", PASSWORD, user=box)
        storm(config, maildrop, rng, kills)
        examine(say, [t.body for t in sink.transactions], maildrop, kills,
                f"{connections} connections")


def test_kills_into_postfix(house, dovecot, postfix, box, rng, say):
    """The same with TLS on both sides and a receiver that keeps its own promises."""
    kills = 40
    maildrop = Maildrop(dovecot, box, rng)
    storm(house, maildrop, rng, kills)
    examine(say, postfix.messages("hans"), maildrop, kills, "Postfix")
