"""A scripted POP3 server, for everything that Dovecot would never do.

Stages of the script (see peer.py): greeting, and each command's verb. The maildrop is a list of
(uid, bytes); a message stays in `maildrop` until a QUIT takes it away.
"""
from . import peer
from .peer import CLOSE, HANG  # noqa: F401, for the scripts

PASSWORD = "geheim-4711"


def stuffed(message):
    """A message as it goes over the wire, terminator included."""
    lines = message.split(b"\r\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if x.startswith(b".") else b"") + x + b"\r\n" for x in lines) + b".\r\n"


class _Session(peer.Session):
    def run(self):
        self.snapshot = None
        self.deleted = set()
        if not self.act("greeting"):
            self.say("+OK fake ready")
        while True:
            self.line = self.read_command()
            verb, _, self.argument = self.line.partition(" ")
            if self.act(verb.upper()):
                continue
            handler = getattr(self, "do_" + verb.lower(), None)
            if handler is None or (self.snapshot is None and verb.upper() not in BEFORE_LOGIN):
                self.say("-ERR not now")
            else:
                handler()

    def do_capa(self):
        capabilities = list(self.server.capabilities)
        if self.server.tls == "starttls" and not self.secured:
            capabilities.append("STLS")
        self.send("".join(x + "\r\n" for x in ["+OK", *capabilities, "."]).encode())

    def do_stls(self):
        self.say("+OK go ahead")
        self.start_tls()

    def do_user(self):
        self.say("+OK")

    def do_pass(self):
        if self.argument != self.server.password:
            self.say("-ERR [AUTH] wrong password")
            return
        with self.server.lock:
            self.snapshot = list(self.server.maildrop)
        self.say("+OK logged in")

    def do_auth(self):
        # USER/PASS is enough here; a client that insists on SASL meets Dovecot elsewhere.
        self.say("-ERR not supported")

    def do_stat(self):
        self.say(f"+OK {len(self.snapshot)} {sum(len(m) for _, m in self.snapshot)}")

    def do_uidl(self):
        self._list(lambda uid, message: uid)

    def do_list(self):
        self._list(lambda uid, message: len(message))

    def do_retr(self):
        message = self.message()
        if message is not None:
            self.send(f"+OK {len(message)} octets\r\n".encode() + stuffed(message))

    def do_top(self):
        message = self.message()
        if message is not None:
            head = message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            self.send(b"+OK\r\n" + stuffed(head))

    def do_dele(self):
        if self.message() is not None:
            self.deleted.add(int(self.argument) - 1)
            self.say("+OK deleted")

    def do_rset(self):
        self.deleted.clear()
        self.say("+OK")

    def do_noop(self):
        self.say("+OK")

    def do_quit(self):
        self.apply_deletions()
        self.say("+OK bye")
        raise peer.Closed

    def message(self):
        """The bytes of the message that the command names, or None after an -ERR."""
        index = int(self.argument.split(" ")[0]) - 1 if self.argument[:1].isdigit() else -1
        if index in self.deleted or not 0 <= index < len(self.snapshot):
            self.say("-ERR no such message")
            return None
        return self.snapshot[index][1]

    def apply_deletions(self):
        gone = {self.snapshot[i][0] for i in self.deleted}
        with self.server.lock:
            self.server.maildrop = [m for m in self.server.maildrop if m[0] not in gone]

    def _list(self, value):
        lines = [f"{i + 1} {value(*entry)}\r\n" for i, entry in enumerate(self.snapshot)
                 if i not in self.deleted]
        self.send(("+OK\r\n" + "".join(lines) + ".\r\n").encode())


BEFORE_LOGIN = ("CAPA", "STLS", "USER", "PASS", "AUTH", "QUIT")


class Pop3Fake(peer.Server):
    session_class = _Session

    def __init__(self, messages=(), behaviour=None, tls=None, certificate=None,
                 capabilities=("UIDL", "TOP", "USER", "PIPELINING", "RESP-CODES")):
        super().__init__(behaviour, tls, certificate)
        self.capabilities = capabilities
        self.password = PASSWORD
        self.maildrop = [(f"uid-{i + 1}", m) for i, m in enumerate(messages)]


def quit_reply_lost(session):
    """For behaviour["QUIT"]: the deletions happen, the client never hears of it."""
    session.apply_deletions()
    return CLOSE


def quit_not_done(session):
    """For behaviour["QUIT"]: the connection breaks before anything was deleted."""
    return CLOSE


def cut_in_retr(number, octets):
    """For behaviour["RETR"]: cuts the connection after so many octets of that message."""
    def step(session):
        if session.argument != str(number):
            return None
        session.send(b"+OK\r\n" + stuffed(session.message())[:octets])
        return CLOSE
    return step
