"""The provider: mail servers with a catch-all for firma.example, each as hosters set them up.

A set-up takes mail by SMTP on loopback and stores it in one maildrop that Dovecot serves by POP3.
The table SETUPS says which header each of them writes, and whether a message's recipients can be
known from it at all. Postfix is told the client's name and address by XCLIENT: on loopback every
client would look like a host of the provider's own.
"""
import os
import smtplib
from contextlib import closing
from dataclasses import dataclass, field

from . import dovecot as dovecot_module
from . import exim, postfix

DOMAINS = ("firma.example", "xn--mller-kva.example", "müller.example")
MAILBOX = "sammel@hoster.example"  # the alias behind the catch-all
MX, BACKEND, BOX = "mx.hoster.example", "backend.hoster.example", "box.hoster.example"


@dataclass(frozen=True)
class Setup:
    name: str
    envelope: tuple  # (header, options) as the administrator would configure them
    build: object  # function (place) -> server that is not running yet
    trusted_by: tuple = ()
    states: object = staticmethod(lambda case: True)  # whether the recipients are written down
    smtputf8: bool = True
    odd: bool = True  # takes local parts with blanks and quotes
    received_for: bool = False  # its Received lines have a `for` that names the recipient


@dataclass
class Place:
    """Where a set-up lives: its directory, its certificate, and the Dovecot that has its mail."""
    directory: str
    certificate: object
    dovecot: object
    user: str
    extra: list = field(default_factory=list)  # servers to start before and to stop after it

    @property
    def maildir(self):
        return self.dovecot.maildir(self.user)

    def file(self, name, text):
        os.makedirs(os.path.join(self.directory, "etc"), exist_ok=True)
        path = os.path.join(self.directory, "etc", name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def postfix(self, settings, services=""):
        every = {"myhostname": MX, "smtpd_authorized_xclient_hosts": "127.0.0.1",
                 "smtputf8_enable": "yes", "virtual_alias_domains": "",
                 "virtual_mailbox_base": os.path.dirname(os.path.dirname(self.maildir)),
                 "in_flow_delay": "0", "strict_smtputf8": "no"}
        return postfix.Postfix(self.directory, self.certificate, (), every | settings, services)

    def virtual(self, settings=None):
        """The alias domain's catch-all goes to one virtual mailbox."""
        aliases = self.file("aliases", "".join(f"@{d} {MAILBOX}\n" for d in DOMAINS))
        boxes = self.file("boxes", f"{MAILBOX} {self.user}/Maildir/\n")
        return self.postfix({"virtual_alias_domains": " ".join(DOMAINS),
                             "virtual_alias_maps": "texthash:" + aliases,
                             "virtual_mailbox_domains": "hoster.example",
                             "virtual_mailbox_maps": "texthash:" + boxes} | (settings or {}))

    def transport(self, settings, services=""):
        """The whole domain is handed over as it is, local parts included."""
        boxes = self.file("boxes", "".join(f"@{d} any\n" for d in DOMAINS))
        return self.postfix({"virtual_mailbox_domains": " ".join(DOMAINS),
                             "virtual_mailbox_maps": "texthash:" + boxes} | settings, services)


def postfix_virtual(place):
    return place.virtual()


def postfix_virtual_nothing(place):
    return place.virtual({"enable_original_recipient": "no"})


def postfix_local(place):
    aliases = place.file("aliases", f"sammel {place.maildir}/\n")
    local = "local unix - n n - - local\n"
    return place.postfix({"mydestination": " ".join((MX, *DOMAINS)), "virtual_mailbox_domains": "",
                          "alias_maps": "texthash:" + aliases, "local_recipient_maps": "",
                          "luser_relay": "sammel", "local_transport": "local:$myhostname",
                          "default_privs": "nobody"}, local)


def lmtp(place, limit):
    own = os.path.join(place.directory, "dovecot")
    os.mkdir(own)
    place.dovecot = dovecot_module.Dovecot(own, place.certificate, lmtp_user=place.user)
    place.extra.append(place.dovecot)
    services = "lmtp unix - - n - - lmtp\n"
    return place.transport({"virtual_transport": "lmtp:unix:" + place.dovecot.lmtp_socket,
                            "lmtp_destination_recipient_limit": limit}, services)


def dovecot_lmtp_one(place):
    return lmtp(place, "1")


def dovecot_lmtp_many(place):
    return lmtp(place, "50")


def postfix_pipe(place):
    script = place.file("deliver", 'cat >"$1/tmp/$2.$$" && mv "$1/tmp/$2.$$" "$1/new"\n')
    services = ("pipe unix - n n - - pipe flags=DORhu user=nobody "
                f"argv=/bin/sh {script} {place.maildir} ${{queue_id}}\n")
    return place.transport({"virtual_transport": "pipe:",
                            "pipe_destination_recipient_limit": "1"}, services)


def postfix_two_hosts(place):
    """The MX hands everything to another host, which has the mailboxes."""
    behind = os.path.join(place.directory, "backend")
    os.mkdir(behind)
    backend = Place(behind, place.certificate, place.dovecot, place.user)
    backend = backend.virtual({"myhostname": BACKEND})
    place.extra.append(backend)
    services = "relay unix - - n - - smtp -o syslog_name=postfix/relay\n"
    return place.transport({"virtual_transport": f"relay:[127.0.0.1]:{backend.port}",
                            "virtual_mailbox_domains": " ".join(DOMAINS)}, services)


def exim_catch_all(place):
    return exim.Exim(place.directory, MX, DOMAINS, MAILBOX, place.maildir)


def one_recipient(case):
    return len(case.recipients) == 1


ORIGINAL = (("X-Original-To", {}),)
SETUPS = (
    Setup("postfix-virtual", ORIGINAL, postfix_virtual, (MX,), received_for=True),
    Setup("postfix-local", ORIGINAL, postfix_local, (MX,), received_for=True),
    Setup("postfix-virtual-nothing", ORIGINAL, postfix_virtual_nothing, (MX,),
          states=lambda case: False, received_for=True),
    Setup("dovecot-lmtp-one", (("Delivered-To", {}),), dovecot_lmtp_one, (MX, BOX),
          smtputf8=False, odd=False),
    Setup("dovecot-lmtp-many", (("Delivered-To", {}),), dovecot_lmtp_many, (MX, BOX),
          states=one_recipient, smtputf8=False, odd=False),
    Setup("postfix-pipe", ORIGINAL, postfix_pipe, (MX,), received_for=True),
    Setup("postfix-two-hosts", ORIGINAL, postfix_two_hosts, (MX, BACKEND),
          received_for=True),
    Setup("exim", (("Envelope-to", {}),), exim_catch_all, received_for=True),
)


class Hoster:
    """A running set-up."""

    def __init__(self, setup, directory, certificate, dovecot):
        os.makedirs(directory)
        self.setup = setup
        self.place = Place(directory, certificate, dovecot, f"{setup.name}@hoster.example")
        self.server = setup.build(self.place)
        self._running = []

    @property
    def user(self):
        return self.place.user

    @property
    def dovecot(self):
        return self.place.dovecot

    def start(self):
        for server in (*self.place.extra, self.server):
            self._running.append(server)
            server.start()
        return self

    def stop(self):
        while self._running:
            self._running.pop().stop()

    def settle(self):
        for server in (self.server, *self.place.extra):
            if hasattr(server, "settle"):
                server.settle()

    def accept(self, message, sender, recipients, ehlo="mail.outside.example", smtputf8=False):
        """One transaction. False: a recipient was refused, and so nothing sent. message: CRLF."""
        # No QUIT: Exim waits a moment behind it, and a name spares a look-up of this host's.
        with closing(smtplib.SMTP("127.0.0.1", self.server.port, "client", 30)) as smtp:
            if isinstance(self.server, postfix.Postfix):
                smtp.ehlo("xclient")
                _want(smtp.docmd("XCLIENT NAME=mail.outside.example ADDR=192.0.2.10"), 220)
            _want(smtp.ehlo(ehlo), 250)
            if smtputf8:
                smtp.command_encoding = "utf-8"
            options = " SMTPUTF8 BODY=8BITMIME" if smtputf8 else ""
            _want(smtp.docmd(f"MAIL FROM:<{sender}>{options}"), 250)
            for recipient in recipients:
                if smtp.docmd(f"RCPT TO:<{recipient}>")[0] != 250:
                    return False
            _want(smtp.data(message), 250)
            return True


def _want(answer, code):
    if answer[0] != code:
        raise RuntimeError(f"the provider said {answer}")
