"""Peers that fail at random, from a seed: for the soak.

A Weather decides what goes wrong and counts it; while it is calm, every peer behaves. Trouble on
the wire (cut, stall, slow, garbage) strikes at an octet of a whole session that is drawn when the
connection begins, so that every phase is hit; answers that refuse are drawn for each command.
What a server may not do, lie about the text of a message, does not happen: no client could notice.
"""
import collections
import random
import socket
import threading
import time

from . import peer
from .peer import CLOSE
from .pop3fake import Pop3Fake
from .sink import Sink

WIRE = ("cut", "cut", "cut", "stall", "slow", "garbage")
HANDSHAKE = ("cut", "stall", "garbage", "expired")
SESSION_CHANCE = 0.2  # that something happens on the wire of a session
HANDSHAKE_CHANCE = 0.05
ANSWER_CHANCE = 0.02  # that a command is refused
SPAN = 100_000  # octets of a session
STALL = (1, 20)  # seconds; then the connection is closed
LONG_STALL = 400  # longer than any of the daemon's deadlines

POP3_ANSWERS = {
    "greeting": ("-ERR [SYS/TEMP] later", "-ERR [IN-USE] busy", "-ERR go away"),
    "PASS": ("-ERR [AUTH] no", "-ERR no", "-ERR [IN-USE] locked", "-ERR [SYS/TEMP] later",
             "-ERR [SYS/PERM] broken", "-ERR [LOGIN-DELAY] login allowed only every 5 seconds",
             "+OKAY", CLOSE),
    "CAPA": ("-ERR what?", CLOSE),
    "STLS": ("-ERR not now", CLOSE),
    "STAT": ("-ERR no", "+OK many 1", CLOSE),
    "UIDL": ("-ERR no", b"+OK\r\n0 x\r\n.\r\n", CLOSE),
    "LIST": ("-ERR no", b"+OK\r\n1 -1\r\n.\r\n", CLOSE),
    "RETR": ("-ERR unreadable", "-ERR [SYS/TEMP] later", CLOSE),
    "DELE": ("-ERR no", CLOSE),
    "QUIT": ("-ERR some deleted messages not removed", CLOSE),
}
SMTP_ANSWERS = {
    "greeting": ("421 4.3.2 later", "554 5.3.2 no", CLOSE),
    "EHLO": ("502 5.5.1 what?", "421 4.3.2 later", CLOSE),
    "STARTTLS": ("454 4.7.0 not now", CLOSE),
    "MAIL": ("451 4.3.0 later", "421 4.3.2 later", "553 5.1.8 no", CLOSE),
    "RCPT": ("450 4.2.0 later", "452 4.5.3 too many", "550 5.1.1 no", "251 2.1.5 fine", CLOSE),
    "DATA": ("451 4.3.0 later", "554 5.6.0 no", "250 what?", CLOSE),
    "dot": ("451 4.3.0 later", "554 5.7.1 no", "421 4.3.2 later", CLOSE),
    "RSET": ("421 4.3.2 later", CLOSE),
    "QUIT": (CLOSE,),
}


class Weather:
    def __init__(self, seed):
        self.calm = False
        self.counts = collections.Counter()
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    def draw(self, chance, kinds):
        """One of the kinds, at that chance, else None."""
        with self._lock:
            if self.calm or not kinds or self._rng.random() >= chance:
                return None
            kind = self._rng.choice(kinds)
            self.counts[name_of(kind)] += 1
            return kind

    def number(self, low, high):
        """Every order of magnitude is as likely as the others."""
        with self._lock:
            return int(low * (high / low) ** self._rng.random())

    def octets(self, count):
        with self._lock:
            return self._rng.randbytes(count)


def name_of(kind):
    if kind is CLOSE:
        return "closed"
    text = kind.decode() if isinstance(kind, bytes) else kind
    return text.split("\r")[0]


class Trouble:
    """What may befall any session; mixed into the sessions of the scripted servers."""

    def __init__(self, server, sock):
        super().__init__(server, sock)
        self.weather = server.weather
        self.wire = self.weather.draw(SESSION_CHANCE, WIRE)
        self.left = self.weather.number(1, SPAN)  # octets until it strikes

    def start_tls(self):
        kind = self.weather.draw(HANDSHAKE_CHANCE, HANDSHAKE)
        if kind == "expired":
            self.sock = self.server.expired.wrap_socket(self.sock, server_side=True)
            self._reader = self.sock.makefile("rb")
            return
        if kind == "garbage":
            self.sock.sendall(self.weather.octets(100))
        elif kind == "stall":
            self.stall()
        if kind:
            raise peer.Closed
        super().start_tls()

    def send(self, data):
        if not self.wire or self.left > len(data):
            self.left -= len(data)
            super().send(data)
            return
        kind, self.wire = self.wire, None
        if kind == "garbage":  # in front of the answer, never inside of a message
            super().send(self.weather.octets(self.weather.number(1, 5000)) + b"\r\n" + data)
            return
        super().send(data[:self.left])
        if kind == "slow":
            self.trickle(data[self.left:])
        elif kind == "stall":
            self.stall()
            raise peer.Closed
        else:
            raise peer.Closed

    def trickle(self, data):
        for at in range(0, min(100, len(data))):
            time.sleep(0.02)
            super().send(data[at:at + 1])
        super().send(data[100:])

    def stall(self):
        """Says nothing, and hears everything, until the client or the patience is gone."""
        rarely = self.weather.number(1, 10) == 9
        self.sock.settimeout(LONG_STALL if rarely else self.weather.number(*STALL))
        while self.sock.recv(4096):
            pass


class Pop3Session(Trouble, Pop3Fake.session_class):
    def scripted(self, stage):
        kind = self.weather.draw(ANSWER_CHANCE, POP3_ANSWERS.get(stage))
        if stage == "QUIT" and kind and self.weather.number(1, 10) < 5:
            self.apply_deletions()  # done all the same
        return kind


class SinkSession(Trouble, Sink.session_class):
    def scripted(self, stage):
        if stage.startswith(("RCPT ", "dot ")):
            return None  # the plain stage is asked next
        kind = self.weather.draw(ANSWER_CHANCE, SMTP_ANSWERS.get(stage))
        if kind is CLOSE and stage == "dot":
            self.wire, self.left = "cut", self.weather.number(1, 8) - 1
            return None  # accepted, and the answer is lost
        return kind

    def _accept(self, transaction, recipients):
        self.server.ledger.arrived(transaction.body, recipients)
        with self.server.lock:
            self.server.attempts.clear()


class Pop3(Pop3Fake):
    session_class = Pop3Session

    def __init__(self, weather, expired, **keys):
        super().__init__(**keys)
        self.weather, self.expired = weather, expired


class Relay(Sink):
    session_class = SinkSession

    def __init__(self, weather, expired, ledger, **keys):
        super().__init__(**keys)
        self.weather, self.expired, self.ledger = weather, expired, ledger


def bother(path, weather):
    """A client of the control socket that nobody wants."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(path)
            client.sendall(weather.octets(weather.number(1, 2000)))
            client.recv(10)
        except OSError:
            pass
