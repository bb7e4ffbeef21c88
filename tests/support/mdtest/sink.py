"""SMTP and LMTP receivers: a recording one that refuses on command, and Postfix's smtp-sink.

Stages of the script (see peer.py): greeting, EHLO, HELO, STARTTLS, AUTH, XFORWARD, MAIL, RCPT,
DATA, dot, RSET, NOOP, QUIT, and "RCPT addr" or "dot addr" (LMTP: one reply per recipient) for one
recipient alone.
A reply that starts with 2 (at DATA: with 3) accepts.
"""
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field

from . import net, peer
from .peer import CLOSE, HANG  # noqa: F401, for the scripts

PATH = r'(?:"(?:[^"\\]|\\.)*"|[^>"])*'  # a quoted local part may hold a >


@dataclass
class Transaction:
    sender: str
    parameters: str
    recipients: list = field(default_factory=list)
    body: bytes = b""
    accepted: list = field(default_factory=list)  # the recipients whose final dot got a 2xx


class _Session(peer.Session):
    def run(self):
        self.transaction = None
        if not self.act("greeting"):
            self.say("220 sink.example ready")
        while True:
            line = self.read_command()
            verb = line.split(" ")[0].upper()
            handler = getattr(self, "do_" + verb.lower(), None)
            if verb in ("MAIL", "RCPT", "DATA"):
                handler(line)
            elif self.act(verb):
                continue
            elif handler is None:
                self.say("500 5.5.1 unknown command")
            else:
                handler(line)

    def do_ehlo(self, line):
        lines = ["sink.example"] + list(self.server.extensions)
        if self.server.tls == "starttls" and not self.secured:
            lines.append("STARTTLS")
        for i, text in enumerate(lines):
            self.say(f"250{' ' if i == len(lines) - 1 else '-'}{text}")

    do_lhlo = do_ehlo

    def do_helo(self, line):
        self.say("250 sink.example")

    def do_starttls(self, line):
        self.say("220 go ahead")
        self.start_tls()

    def do_noop(self, line):
        self.say("250 2.0.0 fine")

    def do_rset(self, line):
        self.transaction = None
        self.say("250 2.0.0 fine")

    def do_quit(self, line):
        self.say("221 2.0.0 bye")
        raise peer.Closed

    def do_mail(self, line):
        match = re.match(rf"MAIL FROM:<({PATH})>\s*(.*)", line, re.I)
        if self._answer(self.scripted("MAIL"), "250 2.1.0 fine" if match else "501 5.5.2 syntax"):
            self.transaction = Transaction(match[1], match[2])

    def do_rcpt(self, line):
        match = re.match(rf"RCPT TO:<({PATH})>", line, re.I)
        if self.transaction is None or not match:
            self.say("503 5.5.1 MAIL first")
            return
        step = self.scripted("RCPT " + match[1]) or self.scripted("RCPT")
        if self._answer(step, "250 2.1.5 fine"):
            self.transaction.recipients.append(match[1])

    def do_data(self, line):
        if self.transaction is None or not self.transaction.recipients:
            self.say("503 5.5.1 no valid recipients")
            return
        if not self._answer(self.scripted("DATA"), "354 go ahead", good="3"):
            return
        transaction, self.transaction = self.transaction, None
        transaction.body = self._read_body()
        with self.server.lock:
            self.server.attempts.append(transaction)
        if not self.server.lmtp:
            self._answer(self.scripted("dot"), "250 2.0.0 fine",
                         on_accept=lambda: self._accept(transaction, transaction.recipients))
            return
        for recipient in transaction.recipients:
            step = self.scripted("dot " + recipient) or self.scripted("dot")
            self._answer(step, "250 2.0.0 fine",
                         on_accept=lambda: self._accept(transaction, [recipient]))

    def _accept(self, transaction, recipients):
        """Recorded before the reply: a client that sees its 2xx finds the message here."""
        with self.server.lock:
            if not transaction.accepted:
                self.server.transactions.append(transaction)
            transaction.accepted += recipients

    def _read_body(self):
        lines = []
        while True:
            line = self.read_line()
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)

    def _answer(self, step, usual, good="2", on_accept=lambda: None):
        """Says the scripted or the usual reply; whether it accepts."""
        reply = usual if step is None else step
        text = reply.decode("latin-1") if isinstance(reply, bytes) else reply
        accepted = isinstance(text, str) and text.startswith(good)
        if accepted:
            on_accept()
        self.perform(reply)
        return accepted


class Sink(peer.Server):
    """Records every message: `transactions` were accepted, `attempts` reached their final dot."""
    session_class = _Session

    def __init__(self, behaviour=None, lmtp=False, tls=None, certificate=None,
                 extensions=("PIPELINING", "8BITMIME", "SIZE 104857600", "DSN", "SMTPUTF8",
                             "ENHANCEDSTATUSCODES")):
        super().__init__(behaviour, tls, certificate)
        self.lmtp = lmtp
        self.extensions = extensions
        self.transactions = []
        self.attempts = []

    def recipients(self):
        """All (recipient, body) pairs that were accepted."""
        with self.lock:
            return [(r, t.body) for t in self.transactions for r in t.accepted]


class SmtpSink:
    """Postfix's smtp-sink: takes everything, fast, and counts."""

    def __init__(self):
        self.port = net.free_port()
        self._process = None
        self._counters = tempfile.TemporaryFile()  # a pipe would be full after 2600 messages

    def start(self, *options):
        command = ["smtp-sink", "-u", "nobody", "-c", *options, f"127.0.0.1:{self.port}", "1024"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._counters)
        net.wait_until(lambda: net.answers(self.port), 10, "smtp-sink does not answer")
        return self

    def stop(self):
        """Ends it and returns the number of messages that it took."""
        self._process.terminate()
        self._process.wait(10)
        self._counters.seek(max(0, self._counters.seek(0, os.SEEK_END) - 200))
        # "sess=1 quit=1 mesg=3", again and again, separated by carriage returns
        counts = re.findall(rb"mesg=(\d+)", self._counters.read())
        self._counters.close()
        return int(counts[-1]) if counts else 0
