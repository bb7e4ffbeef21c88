"""What rude servers do, and what must come of it: a table, a row for each.

A row's name begins with the case that it plays. The provider speaks implicit TLS and the relay
STARTTLS unless the row says otherwise; there is one message, for Hans.
"""
import ctypes
import os
import socket
import struct
from dataclasses import dataclass, field

from . import messages
from .peer import DEAF
from .pop3fake import CLOSE, HANG, PASSWORD, stuffed

MAIL = messages.stored("hans", "Hallo", b"a line of text\r\n" * 50)
LOOK_ALIKES = messages.stored("hans", "Punkte", b"a\n.\nb\r.\rc\r\n.\nd\n.\r\n+OK 9\r\n"
                              b"-ERR no\r\n.\r.\r\nMAIL FROM:<x@y.example>\r\n\n.\r\nQUIT\r\n")
NUL = messages.stored("hans", "Null", b"a\0b\r\n", fields="X-Nul: a\0b\r\n")
LARGE = messages.stored("hans", "gross", b"x" * 4_000_000 + b"\r\n")  # more than sockets take
HELLO_REQUEST = b"\x16\x03\x03\x00\x04\0\0\0\0"  # a TLS record that asks for nothing


@dataclass(frozen=True)
class Case:
    events: tuple = ()  # "event: what its class and text have in it", a regular expression
    sink: int = 0  # transactions that the relay took
    left: int = 1  # messages in the maildrop
    secret: bool = True  # False: no credential is sent
    body: bool = True  # False: no text of a message is sent
    pop3: dict = field(default_factory=dict)
    smtp: dict = field(default_factory=dict)
    mails: tuple = (MAIL,)
    tls: str = "implicit"
    relay_tls: str = "starttls"
    certificate: str = ""
    relay_certificate: str = ""
    lmtp: bool = False
    extensions: tuple = ()
    provider: dict = field(default_factory=dict)
    relay: dict = field(default_factory=dict)
    account: dict = field(default_factory=dict)
    unsaid: tuple = ()  # commands that the provider must not hear
    freed: bool = False  # behind it all no connection is open


def endless(line, first=b""):
    """That line, as fast as it goes out, until the client has enough."""
    def step(session):
        session.send(first)
        while not session.server.stopped.is_set():
            session.send(line * (65536 // len(line)))
        return CLOSE
    return step


def trickle(text, first=b"", pause=0.05):
    """An octet now and then, for ever: the text again and again."""
    def step(session):
        session.send(first)
        while True:
            for octet in text:
                session.sock.sendall(bytes((octet,)))
                if session.server.stopped.wait(pause):
                    return CLOSE
    return step


def part(data, then=CLOSE):
    """Only this, and then nothing, or the end."""
    def step(session):
        session.send(data)
        return then
    return step


def once(step):
    return [step]


def always(data):
    """A reply that the scripted relay does not look at itself."""
    def step(session):
        session.send(data)
        return b""
    return step


def swear_inside_tls(session):
    """Octets that are no TLS record, in the middle of a message."""
    session.send(b"+OK\r\n" + stuffed(session.message())[:100])
    os.write(session.sock.fileno(), b"\x17\x03\x03\x00\x20" + b"x" * 32)
    return HANG


def injected(before_tls):
    def step(session):
        session.send(before_tls)
        session.start_tls()
        return b""
    return step


def challenges(session):
    """AUTH is never through."""
    while True:
        session.say("334 %%%=")
        session.read_command()


def first_as_it_is(session):
    """The row's certificate for this handshake, a good one for the others."""
    try:
        session.start_tls()
    finally:
        session.server.tls_context = session.server.good_context
    return CLOSE


_ret_0 = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF: keep nothing
SO_ATTACH_FILTER = 26


def dead(session):
    """From here on the network swallows what the client sends, and nothing comes back."""
    session.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                            struct.pack("HL", 1, ctypes.addressof(_ret_0)))
    return DEAF


def dead_behind(data):
    def step(session):
        session.send(data)
        return dead(session)
    return step


def later(session):
    """The usual, in a while."""
    session.server.stopped.wait(5)


FAILED, DOWN, DEFERRED, HELD = ("cycle.failed: ", "relay.down: ", "message.deferred: ",
                                "message.held: ")
NO_TLS = dict(secret=False, events=(FAILED + "TLS",))
NUMBERS = ("0", "-1", "4294967297", "99999999999999999999", "x", "2")

TLS = {
    "T01-fine": Case(sink=1, left=0),
    "T02-unknown-ca": Case(certificate="stranger", secret=False, events=(FAILED + "TLS.*issuer",)),
    "T02-self-signed": Case(certificate="self_signed", secret=False,
                            events=(FAILED + "TLS.*self.signed",)),
    "T02-relay-unknown-ca": Case(relay_certificate="stranger", body=False,
                                 events=(DOWN + "TLS.*issuer",)),
    "T03-expired": Case(certificate="expired", secret=False, events=(FAILED + "TLS.*expired",)),
    "T03-wrong-name": Case(certificate="wrong_name", secret=False,
                           events=(FAILED + "TLS.*(name|match)",)),
    "T03-relay-expired": Case(relay_certificate="expired", body=False,
                              events=(DOWN + "TLS.*expired",)),
    "T04-not-yet-valid": Case(certificate="future", secret=False,
                              events=(FAILED + "TLS.*not yet valid.*valid from .* to ",)),
    "T04-mended": Case(certificate="future", pop3={"handshake": once(first_as_it_is)}, sink=1,
                       left=0, account={"interval": "1s"},
                       events=(FAILED + "TLS.*not yet valid.*valid from .* to ",)),
    "T10-stls-missing": Case(tls="starttls", pop3={"CAPA": b"+OK\r\nUSER\r\n.\r\n"}, **NO_TLS),
    "T10-stls-refused": Case(tls="starttls", pop3={"STLS": "-ERR not today"}, **NO_TLS),
    "T10-capa-refused": Case(tls="starttls", pop3={"CAPA": "-ERR what?", "STLS": "-ERR what?"},
                             **NO_TLS),
    "T12-data-before-handshake": Case(
        tls="starttls", pop3={"STLS": injected(b"+OK go\r\n+OK injected\r\n")}, secret=False,
        events=(FAILED + "TLS|PROTO",)),
    "T13-silent-handshake": Case(pop3={"handshake": HANG}, provider={"timeout": "3s"},
                                 secret=False, events=(FAILED + "TIMEOUT.*handshake",)),
    "T13-relay-closed-instead": Case(smtp={"handshake": CLOSE}, body=False,
                                     events=(DOWN + "TLS",)),
    "T13-clear-text-instead": Case(pop3={"handshake": b"+OK ready\r\n"}, **NO_TLS),
    "T13-garbage-instead": Case(pop3={"handshake": b"\x16\x03\x03\xff\xff" + b"\xa5" * 5000},
                                **NO_TLS),
    "T13-closed-instead": Case(pop3={"handshake": CLOSE}, **NO_TLS),
    "T15-not-offered": Case(relay_tls="none", relay={"tls": "starttls"}, body=False,
                            events=(DOWN + "TLS",)),
    "T15-454": Case(smtp={"STARTTLS": "454 4.7.0 not now"}, body=False, events=(DOWN + "TLS",)),
    "T15-injected": Case(smtp={"STARTTLS": injected(b"220 go\r\n250 injected\r\n")}, body=False,
                         events=(DOWN + "TLS|PROTO",)),
    "T17-auth-in-clear": Case(
        relay_tls="none", relay={"tls": "opportunistic", "user": "gate", "password": PASSWORD},
        extensions=("AUTH PLAIN LOGIN",), body=False, events=(DOWN + "TLS",)),
    "X12-hello-requests": Case(pop3={"handshake": endless(HELLO_REQUEST)}, secret=False,
                               events=(FAILED + "LIMIT.*record",)),
    "X12-no-record-inside": Case(pop3={"RETR": swear_inside_tls}, events=(FAILED + "TLS",)),
}

POP3 = {
    "P03-greeting-err": Case(pop3={"greeting": "-ERR [SYS/TEMP] later"}, secret=False,
                             events=(FAILED + "TEMP",)),
    "P04-greeting-silent": Case(pop3={"greeting": HANG}, provider={"timeout": "3s"}, secret=False,
                                events=(FAILED + "TIMEOUT",)),
    "P04-greeting-trickles": Case(pop3={"greeting": trickle(b"+OK aaaa")}, secret=False,
                                  provider={"timeout": "3s"}, events=(FAILED + "TIMEOUT",)),
    "P04-greeting-binary": Case(pop3={"greeting": b"\0\xff\x1b[2J\r\n"}, secret=False,
                                events=(FAILED + "PROTO",)),
    "P04-greeting-without-end": Case(pop3={"greeting": endless(b"+OK " + b"a" * 100)},
                                     secret=False, events=("limit.exceeded: LIMIT",)),
    **{f"P06-{name}": Case(pop3={"PASS": reply}, events=(FAILED + "PROTO",), unsaid=("STAT",))
       for name, reply in (("OKAY", "+OKAY"), ("lower-case", "+ok"), ("OK", "OK"), ("empty", ""),
                           ("blank", " +OK"), ("nul", b"\0+OK\r\n"))},
    "P08-capa-endless": Case(pop3={"CAPA": endless(b"X-MORE\r\n", b"+OK\r\n")}, secret=False,
                             events=("limit.exceeded: LIMIT",)),
    "P08-capa-long-line": Case(pop3={"CAPA": endless(b"X", b"+OK\r\n")}, secret=False,
                               events=("limit.exceeded: LIMIT",)),
    "P09-uidl-refused": Case(pop3={"UIDL": "-ERR no"}, events=(FAILED + "UIDL",)),
    "P10-in-use": Case(pop3={"PASS": "-ERR [IN-USE] busy"}, events=("account.busy: busy",)),
    "P11-login-delay": Case(pop3={"PASS": "-ERR [LOGIN-DELAY] wait"},
                            events=("login.limited: wait",)),
    "P13-echo": Case(pop3={"PASS": f"-ERR \x1b]0;\x07 {PASSWORD} %s%n\x7f wrong"},
                     events=("login.failed: wrong",)),
    "P15-locked": Case(pop3={"PASS": "-ERR maildrop already locked"},
                       events=("account.busy: locked",)),
    "P19-no-message-id": Case(pop3={"greeting": "+OK <\r.x@y> ready"},
                              provider={"auth": "apop"}, secret=False, events=(FAILED,)),
    "P20-uidl-cut": Case(pop3={"UIDL": part(b"+OK\r\n1 uid-1\r\n")}, events=(FAILED + "NET",),
                         unsaid=("RETR", "DELE")),
    **{f"P21-uidl-{number}": Case(pop3={"UIDL": f"+OK\r\n{number} x\r\n.\r\n".encode()},
                                  events=(FAILED + "PROTO",), unsaid=("RETR", "QUIT"))
       for number in NUMBERS},
    **{f"P21-list-{number}": Case(pop3={"LIST": f"+OK\r\n{number} 99\r\n.\r\n".encode()},
                                  events=(FAILED + "PROTO",), unsaid=("RETR", "QUIT"))
       for number in NUMBERS},
    "P21-uidl-repeated": Case(pop3={"UIDL": b"+OK\r\n1 x\r\n1 y\r\n.\r\n"},
                              events=(FAILED + "PROTO",), unsaid=("RETR", "QUIT")),
    "P21-uidl-endless": Case(pop3={"UIDL": endless(b"1 x\r\n", b"+OK\r\n")},
                             events=(FAILED + "PROTO",), unsaid=("RETR", "QUIT")),
    "P21-uid-long": Case(pop3={"UIDL": endless(b"x", b"+OK\r\n1 ")},
                         events=("limit.exceeded: LIMIT",), unsaid=("RETR", "QUIT")),
    "P21-stat-garbage": Case(pop3={"STAT": "+OK -1 x"}, events=(FAILED + "PROTO",),
                             unsaid=("RETR", "QUIT")),
    "P27-no-uid": Case(pop3={"UIDL": b"+OK\r\n1 a\r\n2 \r\n.\r\n"}, mails=(MAIL, LOOK_ALIKES),
                       sink=1, left=1, events=(DEFERRED + "UIDL",)),
    "P33-list-size-0": Case(pop3={"LIST": b"+OK\r\n1 0\r\n.\r\n"}, sink=1, left=0),
    "P34-truncated": Case(pop3={"RETR": b"+OK\r\n" + MAIL[:300] + b"\r\n.\r\n"},
                          events=("message.truncated: ",), body=False),
    "P35-retr-refused": Case(pop3={"RETR": "-ERR unreadable"}, events=(DEFERRED,), body=False),
    "P36-cut-inside-retr": Case(pop3={"RETR": part(b"+OK\r\n" + MAIL[:300])},
                                events=(FAILED + "NET",)),
    "P38-look-alikes": Case(mails=(LOOK_ALIKES,), sink=1, left=0),
    "P39-bare-lf": Case(pop3={"greeting": b"+OK ready\n"}, provider={"timeout": "3s"},
                        secret=False, events=(FAILED + "PROTO|TIMEOUT",)),
    "P41-nul": Case(mails=(NUL,), sink=1, left=0),
    "P42-empty-mails": Case(mails=(b"", b"Subject: x\r\n", b"\r\nbody\r\n", b"\r\n\r\n\r\n"),
                            sink=4, left=0),
    "P44-dele-refused": Case(pop3={"DELE": "-ERR no"}, sink=1),
    "P45-quit-refused": Case(pop3={"QUIT": "-ERR some deleted messages not removed"}, sink=1),
    "P51-utf8": Case(pop3={"RETR": "-ERR [UTF8] UTF8 mode needed"}, events=(HELD + "UTF8",),
                     body=False),
    **{f"P55-closed-at-{verb}": Case(pop3={verb: CLOSE}, events=(FAILED + "NET",))
       for verb in ("PASS", "STAT", "UIDL", "RETR")},
    "P55-closed-inside-list": Case(pop3={"LIST": part(b"+OK\r\n")}, events=(FAILED + "NET",)),
    "X02-larger-than-listed": Case(pop3={"LIST": b"+OK\r\n1 10\r\n.\r\n"}, sink=1, left=0),
    "X02-beyond-max-size": Case(pop3={"LIST": b"+OK\r\n1 10\r\n.\r\n",
                                      "RETR": endless(b"x" * 60 + b"\r\n", b"+OK\r\n")},
                                account={"max_size": "100K"}, events=(HELD + "max_size",)),
    "X02-header-without-end": Case(pop3={"RETR": endless(b"x" * 60, b"+OK\r\nX-Long: ")},
                                   account={"max_size": "2M"}, events=(HELD,)),
    "X04-stat-huge": Case(pop3={"STAT": "+OK 4294967295 1"}, events=("limit.exceeded: LIMIT",)),
}

SMTP = {
    "S01-helo": Case(smtp={"EHLO": "502 5.5.1 what?"}, relay_tls="none", sink=1, left=0),
    "S02-greeting-554": Case(smtp={"greeting": "554 5.3.2 no"}, events=(DOWN + "no",), body=False),
    "S02-greeting-421": Case(smtp={"greeting": "421 4.3.2 later"}, events=(DOWN + "later",),
                             body=False),
    "S02-greeting-binary": Case(smtp={"greeting": b"\0\xff\x1b[2J\r\n"}, events=(DOWN + "PROTO",),
                                body=False),
    "S04-ehlo-endless": Case(smtp={"EHLO": endless(b"250-X-MORE\r\n")}, events=(DOWN + "LIMIT",),
                             body=False),
    "S04-ehlo-without-end": Case(smtp={"EHLO": endless(b"x", b"250-")}, events=(DOWN + "LIMIT",),
                                 body=False),
    "S05-mail-451": Case(smtp={"MAIL": "451 4.3.0 later"}, events=(DEFERRED + "later",),
                         body=False),
    "S05-mail-553": Case(smtp={"MAIL": "553 5.7.1 no"}, events=(HELD + "no",), body=False),
    "S09-rcpt-452": Case(smtp={"RCPT": "452 4.5.3 too many"}, events=(DEFERRED + "too many",),
                         body=False),
    "S10-data-451": Case(smtp={"DATA": "451 4.3.0 later"}, events=(DEFERRED + "later",),
                         body=False),
    "S10-data-554": Case(smtp={"DATA": "554 5.6.0 no"}, events=(HELD + "no",), body=False),
    "S10-data-250": Case(smtp={"DATA": "250 2.0.0 fine"}, body=False, events=(DEFERRED,)),
    "S11-dot-451": Case(smtp={"dot": "451 4.3.0 later"}, events=(DEFERRED + "later",)),
    "S11-dot-554": Case(smtp={"dot": "554 5.7.1 no"}, events=(HELD + "no",)),
    "S13-dot-mixed": Case(smtp={"dot": always(b"250-fine\r\n550 no\r\n")},
                          events=("message.in_doubt: ",)),
    "S13-dot-unfinished": Case(smtp={"dot": part(b"250-fine\r\n")},
                               events=("message.in_doubt: ",)),
    "S13-dot-no-reply": Case(smtp={"dot": always(b"2500 fine\r\n")},
                             events=("message.in_doubt: ",)),
    **{f"S15-closed-at-{stage}": Case(smtp={stage: CLOSE}, events=(event,), body=False)
       for stage, event in (("greeting", DOWN), ("EHLO", DOWN), ("MAIL", DEFERRED),
                            ("RCPT", DEFERRED), ("DATA", DEFERRED))},
    "S16-closed-at-dot": Case(smtp={"dot": CLOSE}, events=("message.in_doubt: ",)),
    "S20-size": Case(relay_tls="none", smtp={"EHLO": b"250-sink\r\n250 SIZE 500\r\n"},
                     events=(HELD + "SIZE",), body=False),
    "S28-line-too-long": Case(smtp={"dot": "500 5.5.2 line too long"},
                              events=(HELD + "line too long",)),
    "S30-lmtp-too-few": Case(lmtp=True, relay={"protocol": "lmtp"}, smtp={"dot": CLOSE},
                             events=("message.in_doubt: ",)),
    "S34-auth-endless": Case(extensions=("AUTH PLAIN LOGIN",), smtp={"AUTH": challenges},
                             relay={"user": "gate", "password": PASSWORD}, body=False,
                             events=(DOWN,)),
    "S34-auth-535": Case(extensions=("AUTH PLAIN LOGIN",),
                         smtp={"AUTH": f"535 5.7.8 {PASSWORD}?"}, body=False,
                         relay={"user": "gate", "password": PASSWORD}, events=(DOWN + "AUTH",)),
}

EVERY = TLS | POP3 | SMTP

# Under a clock that runs a hundred times faster: what only a deadline ends.
PATIENT = {"timeout": "300s"}
AGAIN = {"interval": "10m"}  # a busy machine may be too late for the deadline of the connect
GIVEN_UP = dict(provider=PATIENT, account=AGAIN, sink=1, left=0, freed=True,
                events=(FAILED + "TIMEOUT",))
RELAY_LEFT = GIVEN_UP | dict(events=("message.delivered: ",))  # by another connection

SLOW = {
    "T13-handshake-trickles": Case(pop3={"handshake": trickle(HELLO_REQUEST)}, secret=False,
                                   provider=PATIENT, account=AGAIN,
                                   events=(FAILED + "TIMEOUT.*handshake",)),
    "T13-relay-handshake-trickles": Case(smtp={"handshake": trickle(HELLO_REQUEST)}, body=False,
                                         relay_tls="implicit",
                                         events=(DOWN + "TIMEOUT.*handshake",)),
    "X05-retr": Case(pop3={"RETR": trickle(b"abc\r\n", b"+OK\r\n")}, provider=PATIENT,
                     account=AGAIN, events=(FAILED + "TIMEOUT.*trickles",)),
    "X05-list": Case(pop3={"LIST": trickle(b"a", b"+OK\r\n1 ")}, provider=PATIENT,
                     account=AGAIN, events=(FAILED + "TIMEOUT",)),
    "X05-ehlo": Case(smtp={"EHLO": trickle(b"250-x\r\n")}, events=(DOWN + "TIMEOUT",),
                     provider=PATIENT, account=AGAIN, body=False),
    "X11-stls": Case(tls="starttls", pop3={"STLS": once(dead)}, **GIVEN_UP),
    **{f"X11-{stage}": Case(pop3={stage: once(dead)}, **GIVEN_UP)
       for stage in ("greeting", "handshake", "CAPA", "USER", "PASS", "STAT", "UIDL", "LIST",
                     "RETR", "DELE", "QUIT")},
    "X11-inside-retr": Case(pop3={"RETR": once(dead_behind(b"+OK\r\n" + MAIL[:99]))}, **GIVEN_UP),
    "X11-inside-list": Case(pop3={"LIST": once(dead_behind(b"+OK\r\n"))}, **GIVEN_UP),
    "X11-noop": Case(pop3={"NOOP": once(dead)}, smtp={"dot": once(later)},
                     **GIVEN_UP | dict(relay={"dot_timeout": "60m"})),
    **{f"X11-relay-{stage}": Case(smtp={stage: once(dead)}, **RELAY_LEFT)
       for stage in ("greeting", "handshake", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA")},
    "X11-relay-inside-text": Case(smtp={"DATA": once(dead_behind(b"354 go ahead\r\n"))},
                                  mails=(LARGE,), **RELAY_LEFT),
    "X11-relay-dot": Case(smtp={"dot": once(dead)}, provider=PATIENT, freed=True,
                          events=("message.in_doubt: ",)),
}
