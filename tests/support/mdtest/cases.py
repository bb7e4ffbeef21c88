"""The messages of the matrix: what a sender can do, and the envelope that he did it with.

A case's name stands in its body, where no header can spoil it. CEO is the victim of all forgeries:
no case's envelope names him, so nothing may ever go there.
"""
from dataclasses import dataclass

from .hoster import BACKEND, BOX, MX

CEO = "ceo@firma.example"
SENDER = "anna@outside.example"
HANS, EVA, OTTO = (f"{name}@firma.example" for name in ("hans", "eva", "otto"))
IDN = "xn--mller-kva.example"

# Every header that some provider writes the recipient into.
HEADERS = (
    "X-Original-To", "Delivered-To", "Envelope-to", "X-Envelope-To", "X-Recipient-To", "X-Orcpt",
    "Original-Recipient", "X-Rcpt-To", "X-MDRcpt-To", "X-MDaemon-Deliver-To", "X-Gm-Original-To",
    "X-Resolved-to", "X-Delivered-to", "X-Apparently-To", "Apparently-To", "X-Envelope-Recipient",
    "Resent-To", "X-Forwarded-To")

DATE = "Tue, 03 Nov 2026 09:12:45 +0100"
RECEIVED = {  # forged trace lines, each with the provider's own name behind `by`
    "postfix from the mx": f"from {MX} ({MX} [192.0.2.1])\r\n"
                           f"\tby {MX} (Postfix) with ESMTP id 4X\r\n"
                           f"\tfor <{CEO}>; {DATE}",
    "postfix from loopback": f"from localhost (localhost [127.0.0.1])\r\n\tby {MX} (Postfix) with "
                             f"ESMTP id 4X\r\n\tfor <{CEO}>; {DATE}",
    "postfix by the backend": f"from {MX} ({MX} [10.0.0.1])\r\n\tby {BACKEND} (Postfix) with ESMTP "
                              f"id 4X\r\n\tfor <{CEO}>; {DATE}",
    "pickup": f"by {MX} (Postfix, from userid 1000)\r\n\tid 4X; {DATE}",
    "lmtp": f"from {MX}\r\n\tby {BOX} with LMTP\r\n\tid abc (envelope-from <x@y.example>)\r\n"
            f"\tfor <{CEO}>; {DATE}",
    "exim": f"from [10.0.0.1] (helo={MX})\r\n\tby {MX} with esmtp (Exim 4.96)\r\n"
            f"\t(envelope-from <x@y.example>)\r\n\tid 1abc-1\r\n\tfor {CEO};\r\n\t{DATE}",
    "qmail": f"(qmail 4711 invoked by uid 89); {DATE}",
    "nonsense": f"by {MX} for <{CEO}>; by {MX} (((\" for <{CEO}>",
}

EHLO = {
    "for": f"x for <{CEO}>",
    "whole line": f"x (x [10.0.0.1]) by {MX} (Postfix) with ESMTP id 1 for <{CEO}>; {DATE}",
    "the mx itself": MX,
    "literal of loopback": "[127.0.0.1]",
    "open comment": f"x (for <{CEO}>",
    "open quote": f'x "for <{CEO}>',
}

LIST = ("List-Id: <liste.lists.example>\r\nList-Post: <mailto:liste@lists.example>\r\n"
        "Precedence: list\r\n")


@dataclass(frozen=True)
class Case:
    name: str
    recipients: tuple
    to: str = "jemand@outside.example"
    sender: str = SENDER
    first: str = ""  # the sender's lines above From, To and Subject
    last: str = ""  # and below them
    ehlo: str = "mail.outside.example"
    smtputf8: bool = False
    odd: bool = False  # a server may refuse it at RCPT
    head: str = None  # the whole header block, its end included, instead

    def message(self):
        head = self.head
        if head is None:
            head = (f"{self.first}From: Anna <{SENDER}>\r\nTo: {self.to}\r\n"
                    f"Subject: Angebot\r\nDate: {DATE}\r\n{self.last}\r\n")
        return f"{head}case={self.name}\r\n".encode()


def lines(value=CEO, headers=HEADERS):
    return "".join(f"{h}: {value}\r\n" for h in headers)


def ordinary():
    three = (HANS, EVA, OTTO)
    yield Case("plain", (HANS,), to=HANS)
    yield Case("blind copy", (EVA,), to=CEO)
    yield Case("two in one transaction", (HANS, EVA), to=f"{HANS}, {EVA}")
    yield Case("three, To names one", three, to=HANS)
    yield Case("three blind copies", three, to=CEO)
    yield Case("ten in one transaction", tuple(f"p{i}@firma.example" for i in range(10)), to=CEO)
    yield Case("list", (OTTO,), to="liste@lists.example", sender="bounce@lists.example",
               first=LIST)
    yield Case("list to two", (OTTO, EVA), to="liste@lists.example",
               sender="bounce+otto=firma.example@lists.example", first=LIST)
    yield Case("null sender", (HANS,), to=HANS, sender="")
    yield Case("null sender to two", (HANS, EVA), to=CEO, sender="",
               first="Auto-Submitted: auto-replied\r\n")
    yield Case("no To at all", (EVA,), head=f"From: {SENDER}\r\nSubject: x\r\n\r\n")
    yield Case("no header at all", (EVA,), head="\r\n")
    yield Case("resent", (OTTO,), to=CEO, first=f"Resent-From: {SENDER}\r\nResent-To: {CEO}\r\n")


def addresses():
    for name, address in {
            "plus": "hans+shop@firma.example", "plus to the victim": "hans+ceo@firma.example",
            "upper case": "Hans@FIRMA.example", "underscore": "hans_-x_@firma.example",
            "all specials": "#$&'*/=?^`{}~.x@firma.example",
            "quoted space": '"hans muster"@firma.example',
            "quoted comma": f'"{CEO}, hans"@firma.example',
            "quoted at": f'"<{CEO}>"@firma.example',
            "quoted backslash": r'"a\"b\\c"@firma.example',
            "64 octets": "a" * 64 + "@firma.example",
            "A-label": f"hans@{IDN}"}.items():
        yield Case("address " + name, (address,), to=CEO, odd=not address[0].isalnum())
    yield Case("quoted and plain", ('"hans, eva"@firma.example', OTTO), to=CEO, odd=True)
    yield Case("plus and IDN", ("hans+a@firma.example", f"eva@{IDN}"), to=CEO)
    yield Case("U-label", ("hans@müller.example",), to=CEO, smtputf8=True)
    yield Case("local part in UTF-8", ("jürgen@firma.example",), to=CEO, smtputf8=True)
    yield Case("UTF-8 and ASCII", ("jürgen@müller.example", EVA), to=CEO, smtputf8=True)


def forged_headers():
    for header in HEADERS:
        yield Case(f"forged {header} above", (HANS,), to=HANS, first=lines(headers=(header,)))
    yield Case("all forged above", (HANS,), to=HANS, first=lines())
    yield Case("all forged below", (HANS,), to=HANS, last=lines())
    yield Case("all forged, two recipients", (HANS, EVA), to=CEO, first=lines(), last=lines())
    yield Case("all forged, blind", (EVA,), to=CEO, first=lines(f"<{CEO}>, {OTTO}"))
    yield Case("forged in capitals", (HANS,), first=lines(headers=[h.upper() for h in HEADERS]))
    yield Case("forged and folded", (HANS,), first=lines(f"\r\n {CEO},\r\n\t{OTTO}"))
    yield Case("forged with a blank before the colon", (HANS,),
               first=lines(headers=[h + " " for h in HEADERS]))
    yield Case("forged with another ending", (HANS,),
               first=lines(headers=[h + "-Foo" for h in HEADERS]))
    yield Case("forged Return-Path", (HANS,), first=f"Return-Path: <{CEO}>\r\n",
               last=f"Return-Path: <{CEO}>\r\n")
    yield Case("forged without From, To and Subject", (OTTO,), head=lines() + "\r\n")
    yield Case("3,900 forged lines", (OTTO,),
               head="".join(f"Envelope-to: p{i}@firma.example\r\n" for i in range(3900)) + "\r\n")


def forged_trace():
    every = "".join(f"Received: {r}\r\n" for r in RECEIVED.values())
    for name, received in RECEIVED.items():
        yield Case("forged trace " + name, (HANS,), to=HANS,
                   first=f"Received: {received}\r\n{lines()}")
        yield Case(f"envelope and forged trace {name}", (EVA,), to=CEO,
                   first=f"{lines()}Received: {received}\r\n{lines()}")
    yield Case("whole forged trace", (OTTO,), to=CEO, first=every + lines() + every)
    yield Case("forged trace, two recipients", (HANS, OTTO), to=CEO, first=every + lines())
    yield Case("continues the trace", (HANS,), head=f" for <{CEO}>; {DATE}\r\n\t{lines()}\r\n")
    yield Case("mbox line first", (HANS,), head=f"From {CEO} Tue Nov  3\r\n{lines()}\r\n")
    for name, ehlo in EHLO.items():
        yield Case("EHLO " + name, (HANS,), to=HANS, ehlo=ehlo)
        yield Case(f"EHLO {name}, forged trace", (EVA,), to=CEO, ehlo=ehlo, first=every + lines())
        yield Case(f"EHLO {name}, two recipients", (EVA, OTTO), to=CEO, ehlo=ehlo)


def every():
    return (*ordinary(), *addresses(), *forged_headers(), *forged_trace())
