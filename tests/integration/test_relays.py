"""docs/relays.md: each server runs with the section that the page shows, and does what it says.

Known people get their mail; an unknown one is refused at RCPT with a 5xx, another domain too;
nobody is bounced to, and no backscatter risk is seen.
"""
import json
import os
import re
import shutil
import smtplib
import socket
import struct
import threading
import urllib.request

import pytest
from conftest import PASSWORD, expect
from mdtest import daemon, messages, net
from mdtest.sink import Sink
from mdtest.unpacked import Unpacked
from mdtest import dovecot as dovecot_module, exim as exim_module, postfix as postfix_module

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "relays.md")
MULTIDROPD, SERVER = "192.0.2.25", "192.0.2.10"


def section(name, **values):
    """The fenced block of that name, with addresses and files of this test."""
    with open(PAGE) as f:
        (text,) = re.findall(rf"^```{re.escape(name)}\n(.*?)^```$", f.read(), re.M | re.S)
    for old, new in ((MULTIDROPD, "127.0.0.1"), (SERVER, "127.0.0.1"), *values.items()):
        old = {"port": "10025"}.get(old, old)
        assert old in text or old in (MULTIDROPD, SERVER), old
        text = text.replace(old, str(new))
    return text


def check(config, dovecot, box, port, **relay):
    """Real mail by way of multidropd."""
    for who in ("hans", "niemand", "eva"):
        dovecot.put(box, messages.stored(who, f"An {who}"))
    config.provider("hoster", port=dovecot.pop3)
    config.relay("house", port=port, **relay)
    config.account("sammel", "hoster", "house", PASSWORD, user=box, unknown="hold")
    log = expect(daemon.run("--once", "-l", "json", "-c", config.write()), 0).log
    assert sorted(e["recipient"] for e in log.find("message.delivered")) == [
        "eva@firma.example", "hans@firma.example"], str(log)
    (held,) = log.find("message.held")
    assert "niemand@firma.example" in held["reason"] and re.search(r"\b5\d\d\b", held["reason"])
    assert not log.find("relay.warning"), str(log)
    assert dovecot.count(box) == 1


def check_smtp(port):
    """What it says to others, with a client of the standard library; where it offers reports."""
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
        smtp.ehlo("gate.firma.example")
        smtp.mail("anna@outside.example")
        assert smtp.rcpt("hans@firma.example")[0] == 250
        assert 500 <= smtp.rcpt("niemand@firma.example")[0] <= 559
        assert 500 <= smtp.rcpt("anna@outside.example")[0] <= 559
        return smtp.has_extn("dsn")


def test_postfix(directory, certificate, config, dovecot, box):
    """Blocklists and the like, which refuse everybody else, stand for themselves."""
    strict = {f"smtpd_{kind}_restrictions": "reject" for kind in ("client", "helo", "sender")}
    port = net.free_port()
    place = os.path.join(directory, "relays-postfix")
    os.mkdir(place)
    server = postfix_module.Postfix(place, certificate, settings=strict,
                                    services=section("postfix-master.cf", port=port))
    server.start()
    try:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as smtp:
            smtp.ehlo("gate.firma.example")
            smtp.mail("anna@outside.example")
            assert smtp.rcpt("hans@firma.example")[0] == 554
        assert check_smtp(port)
        check(config, dovecot, box, port, xforward=True)
        assert [len(server.messages(who)) for who in ("hans", "eva")] == [1, 1]
        assert "status=bounced" not in server.log() and "bounce" not in server.log()
        assert "NOQUEUE: reject: RCPT" in server.log()
    finally:
        server.stop()


EXIM = """
primary_hostname = mail.internal.example
spool_directory = {dir}/spool
log_file_path = {dir}/log/%s
pid_file_path = {dir}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
keep_environment =
exim_path = {program}
deliver_drop_privilege = true
domainlist local_domains = {domains}
domainlist relay_to_domains =
acl_smtp_rcpt = rcpt
"""
EXIM_ROUTERS = """
  deny
    message = this server's own rules, blocklists for example
begin routers
people:
  driver = accept
  domains = +local_domains
  local_parts = hans : eva : postmaster
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {maildir}/$local_part_data
  maildir_format
  create_directory
  user = nobody
  group = nogroup
begin retry
* * F,1h,1m
"""


def test_exim(directory, config, dovecot, box):
    place = os.path.join(directory, "relays-exim")
    os.mkdir(place)
    text = (EXIM + section("exim-main") + "begin acl\nrcpt:\n" + section("exim-acl")
            + EXIM_ROUTERS)
    server = exim_module.Exim(place, "mail.internal.example", ["firma.example"], None,
                              os.path.join(place, "log"), config=text).start()
    try:
        assert check_smtp(server.port)
        check(config, dovecot, box, server.port)
        server.settle()
        new = [os.listdir(os.path.join(place, "log", who, "new")) for who in ("hans", "eva")]
        assert [len(names) for names in new] == [1, 1]
        assert "<= <>" not in server.log(), server.log()
        assert "rejected RCPT <niemand@firma.example>" in server.log()
    finally:
        server.stop()


def test_dovecot_lmtp(directory, certificate, config, dovecot, box):
    place = os.path.join(directory, "relays-dovecot")
    os.mkdir(place)
    people = os.path.join(place, "people")
    with open(people, "w") as f:
        f.write("hans:::::::\neva:::::::\n")
    server = dovecot_module.Dovecot(place, certificate)
    text = section("dovecot", **{
        "/etc/dovecot/people": people, "port = 24": f"port = {server.lmtp}",
        "uid=vmail gid=vmail": "uid=nobody gid=nogroup", "/var/vmail/": f"{place}/mail/"})
    server.people = text
    server.start()
    try:
        check(config, dovecot, box, server.lmtp, protocol="lmtp")
        assert [server.count(who) for who in ("hans", "eva", "niemand")] == [1, 1, 0]
    finally:
        server.stop()


def test_opensmtpd(directory, config, dovecot, box):
    place = os.path.join(directory, "relays-opensmtpd")
    mail = os.path.join(place, "mail")
    os.makedirs(mail)
    shutil.chown(mail, "nobody")
    port = net.free_port()
    text = section("opensmtpd", **{"port": port, "/var/mail": mail})
    people = "hans@firma.example nobody\neva@firma.example nobody\n"
    server = Unpacked(place, "opensmtpd", port, ["smtpd", "-d", "-v"],
                      users="opensmtpd opensmtpq",
                      folders="/var/lib/opensmtpd/empty /var/spool/smtpd",
                      etc={"smtpd.conf": text, "mail/people": people})
    server.start()
    try:
        assert check_smtp(port), server.log()
        check(config, dovecot, box, port)
        net.wait_until(lambda: server.log().count("result=Ok stat=Delivered") == 2, 20, server.log)
        assert [len(os.listdir(os.path.join(mail, who, "new"))) for who in ("hans", "eva")] == \
            [1, 1]
        assert "from=<> " not in server.log(), server.log()
    finally:
        server.stop()


class Names:
    """A DNS server that knows one SPF record: outside.example may send from 192.0.2.10."""

    SPF = b"v=spf1 ip4:192.0.2.10 -all"

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            if not query:
                return
            end = query.index(b"\0", 12) + 5
            asked, identity = query[12:end], query[:2]
            if asked == b"\7outside\7example\0\0\x10\0\1":
                answer = struct.pack("!HHHIHB", 0xc00c, 16, 1, 60, len(self.SPF) + 1,
                                     len(self.SPF)) + self.SPF
                head = struct.pack("!HHHHH", 0x8400, 1, 1, 0, 0)
            else:
                answer, head = b"", struct.pack("!HHHHH", 0x8403, 1, 0, 0, 0)
            self.socket.sendto(identity + head + asked + answer, client)

    def stop(self):
        self.socket.sendto(b"", ("127.0.0.1", self.port))


def relayed(config, dovecot, box):
    """Two messages as the house gets them: from the sender's own host, and from a stranger's."""
    for who, client in (("hans", "192.0.2.10"), ("eva", "203.0.113.9")):
        message = messages.stored(who, f"An {who}").replace(b"[192.0.2.10]", f"[{client}]".encode())
        # in the provider's house it was handed on once
        inner = (b"Received: from mx.provider.example (mx.provider.example [198.51.100.7])\r\n"
                 b"\tby box.provider.example (Postfix) with ESMTP id 5x; " +
                 messages.DATE.encode() + b"\r\nReceived: from mail.outside")
        dovecot.put(box, message.replace(b"Received: from mail.outside", inner, 1))
    with Sink() as sink:
        config.provider("hoster", port=dovecot.pop3)
        config.relay("house", port=sink.port)
        config.account("sammel", "hoster", "house", PASSWORD, user=box)
        expect(daemon.run("--once", "-l", "json", "-c", config.write()), 0)
        got = dict(sink.recipients())
    return got["hans@firma.example"], got["eva@firma.example"]


def test_rspamd_judges_the_original_client(directory, config, dovecot, box):
    """SPF of the client that the provider saw, not of multidropd; others keep their own."""
    right, wrong = relayed(config, dovecot, box)
    names, port = Names(), net.free_port()
    place = os.path.join(directory, "relays-rspamd")
    os.mkdir(place)
    with open(PAGE) as f:  # the addresses as the page has them
        page = f.read()
    options, relay = (re.search(rf"^```{name}\n(.*?)^```$", page, re.M | re.S)[1]
                      for name in ("rspamd-options", "rspamd-relay"))
    off = "enabled = false;\n"
    local = {"options.inc": f'dns {{ nameserver = ["127.0.0.1:{names.port}:1"]; }}\n' + options,
             "external_relay.conf": relay, "logging.inc": 'type = "console";\n',
             "worker-normal.inc": f'bind_socket = "127.0.0.1:{port}";\n',
             "worker-controller.inc": off, "worker-proxy.inc": off, "worker-fuzzy.inc": off}
    server = Unpacked(
        place, "rspamd", port, ["rspamd", "-f", "-u", "root", "-g", "root", "--insecure"],
        folders="/var/lib/rspamd /var/log/rspamd /run/rspamd",
        etc={"rspamd/local.d/" + name: text for name, text in local.items()})
    server.start()
    try:
        def symbols(message, client):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/checkv2", data=message,
                headers={"IP": client, "From": "anna@outside.example", "Helo": "x.example"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                return {s for s in json.load(answer)["symbols"] if s.startswith("R_SPF")}
        assert symbols(right, MULTIDROPD) == {"R_SPF_ALLOW"}
        assert symbols(wrong, MULTIDROPD) == {"R_SPF_FAIL"}
        assert symbols(right, "203.0.113.9") == {"R_SPF_FAIL"}, "no relay of ours"
    finally:
        server.stop()
        names.stop()
