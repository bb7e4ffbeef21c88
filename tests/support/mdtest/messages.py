"""Messages as a provider stores them in a catch-all maildrop, and what must become of them.

The provider is Postfix: it puts Return-Path, X-Original-To and Delivered-To above its own Received
line. What stands below that line is the sender's.
"""
import re
from dataclasses import dataclass

DOMAIN = "firma.example"
PROVIDER = "mx.provider.example"
DATE = "Tue, 03 Nov 2026 09:12:45 +0100"
# Fields of the stored message that a relayed one no longer has.
REMOVED = ("Return-Path", "Delivered-To", "X-Original-To", "X-Multidrop-Id",
           "X-Multidrop-Reason", "X-Multidrop-In-Doubt")


def stored(recipient, subject, body=b"Guten Tag!\r\n", sender="anna@outside.example",
           to="verteiler@outside.example", fields="", ident=None):
    """One stored copy for `recipient` (local part, or address); `fields` are the sender's own."""
    address = recipient if "@" in recipient else f"{recipient}@{DOMAIN}"
    ident = ident or re.sub(r"\W+", "-", subject)
    head = (f"Return-Path: <{sender}>\r\n"
            f"X-Original-To: {address}\r\n"
            f"Delivered-To: box17@{DOMAIN}\r\n"
            f"Received: from mail.outside.example (mail.outside.example [192.0.2.10])\r\n"
            f"\tby {PROVIDER} (Postfix) with ESMTPS id 4{ident[:8]}\r\n"
            f"\tfor <{address}>; {DATE}\r\n"
            f"{fields}"
            f"From: Anna Muster <{sender}>\r\n"
            f"To: {to}\r\n"
            f"Subject: {subject}\r\n"
            f"Message-ID: <{ident}@outside.example>\r\n"
            f"Date: {DATE}\r\n")
    return head.encode("ascii") + b"\r\n" + body


@dataclass(frozen=True)
class Kind:
    """One kind of message: its stored copies, and the mailbox that must get each of them."""
    title: str
    copies: tuple
    mailboxes: tuple


def kinds(large=5_000_000):
    """The eight kinds that a company's catch-all maildrop holds; `large` in octets."""
    hans, eva, otto = (f"{name}@{DOMAIN}" for name in ("hans", "eva", "otto"))
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    eight_bit = ("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
                 "MIME-Version: 1.0\r\n")
    three = ("An alle drei", b"Besprechung um zehn.\r\n")
    return (
        Kind("plain mail", (stored("hans", "Angebot", to=hans),), ("hans",)),
        Kind("blind copy (To names somebody else)",
             (stored("eva", "Vertraulich", to="chef@outside.example"),), ("eva",)),
        Kind("to three people, stored three times",
             tuple(stored(name, *three, to=f"{hans}, {eva}, {otto}")
                   for name in ("hans", "eva", "otto")), ("hans", "eva", "otto")),
        Kind("mailing list (To is the list)",
             (stored("otto", "[liste] Neues", to="liste@lists.example",
                     sender="liste-bounces@lists.example",
                     fields="List-Id: <liste.lists.example>\r\n"),), ("otto",)),
        Kind("forged envelope header below the provider's",
             (stored("hans", "Gewinn", to=hans, fields=f"X-Original-To: {otto}\r\n"),), ("hans",)),
        Kind("unknown local part",
             (stored("niemand", "An niemand", to=f"niemand@{DOMAIN}"),), ("postmaster",)),
        Kind("8-bit text",
             (stored("eva", "Umlaute", "Grüße aus Köln, 100 €\r\n".encode(), to=eva,
                     fields=eight_bit),), ("eva",)),
        Kind(f"large, {large / 1e6:g} MB",
             (stored("otto", "Plaene", line * (large // len(line) + 1), to=otto),), ("otto",)),
    )


def split(message):
    """Header fields (each with its folded lines, without the last line end) and body; LF ends."""
    head, _, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    return re.split(rb"\n(?![ \t])", head), body


def field(message, name):
    """The unfolded values of all fields of that name."""
    fields, _ = split(message)
    return [re.sub(rb"\s+", b" ", f.partition(b":")[2]).strip().decode("utf-8", "replace")
            for f in fields if f.partition(b":")[0].strip().lower() == name.lower().encode()]


def subject(message):
    return (field(message, "Subject") or [""])[0]


def expected(message):
    """What of a stored message must arrive unchanged, with LF ends: (fields, body)."""
    fields, body = split(message)
    gone = [name.lower().encode() for name in REMOVED]
    return [f for f in fields if f.partition(b":")[0].strip().lower() not in gone], body


def arrived(message):
    """A relayed message taken apart: (fields that multidropd put on top, other fields, body)."""
    fields, body = split(message)
    added = 0
    while added < len(fields) and (
            (added == 0 and fields[0].lower().startswith(b"received:"))
            or fields[added].lower().startswith(b"x-multidrop-")):
        added += 1
    return fields[:added], fields[added:], body
