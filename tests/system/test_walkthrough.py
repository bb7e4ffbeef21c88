"""The whole story, as an administrator lives it, in one go on a booted Debian: install the package,
probe a catch-all maildrop, paste what it prints, check, look, start, get mail; then the password
breaks, the alert comes and the page shows it, and then it is right again."""
import email
import email.policy
import json
import re
import urllib.error
import urllib.request

import pytest
from conftest import CA, CONF, UNIT, machine_of, put_package
from mdtest import dovecot, messages, net

BOX = "alles@firma.example"
SECRET = "/etc/multidropd/alles.pw"
STORED = [("hans", "eva", "otto")[n % 3] for n in range(24)]
PAGE = "http://127.0.0.1:9477"


@pytest.fixture(scope="module")
def host():
    with machine_of() as host:
        yield host


def by_hand(host):
    """What has to be known before the probe: who the provider is, and where the mail goes."""
    top = ('hostname = "gate.firma.example"\nmetrics_listen = "127.0.0.1:9477"\n'
           'alert_to = "admin@firma.example"\n\n'
           f'relay "house" {{\n\thost = "localhost"\n\tport = {host.postfix.port}\n'
           f'\ttls = "starttls"\n\ttls_ca_file = "{CA}"\n}}\n\n')
    sections = (f'provider "hoster" {{\n\thost = "localhost"\n\tport = {host.dovecot.pop3s}\n'
                f'\ttls_ca_file = "{CA}"\n\tmin_interval = "0s"\n\tlogin_limit = 1000\n'
                '\tenvelope "X-Envelope-To" { }\n}\n\n'
                'account "alles" {\n\tprovider = "hoster"\n\trelay = "house"\n'
                f'\tuser = "{BOX}"\n\tpassword_file = "{SECRET}"\n\tinterval = "1s"\n'
                '\tdomains = { "firma.example" }\n\tpostmaster = "postmaster@firma.example"\n}\n')
    return top, sections


def configure(host, text):
    host.machine.write(CONF, text, 0o640, "root:multidropd")


def password(host, text):
    host.machine.write(SECRET, text + "\n", 0o600, "multidropd:multidropd")


def arrived(host, mailbox, subject):
    return [m for m in host.postfix.messages(mailbox) if messages.subject(m) == subject]


def wait_mail(host, mailbox, n, timeout=30):
    net.wait_until(lambda: len(host.postfix.messages(mailbox)) >= n, timeout, lambda: (
        f"{mailbox} has {len(host.postfix.messages(mailbox))} of {n}:\n"
        + host.machine.run("journalctl", "-q", "-n", "100").stdout))
    return host.postfix.messages(mailbox)


def get(host, path):
    """(status, text) of the page, asked from inside."""
    def ask():
        try:
            with urllib.request.urlopen(PAGE + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
    return host.machine.in_its_network(ask)


def state(host):
    said = json.loads(host.machine.run("multidropctl", "status", "--json").stdout)
    return said["accounts"][0]["state"]


def set_up(host):
    """From the package to a configuration that is the administrator's lines and probe's."""
    for n, who in enumerate(STORED):
        host.dovecot.put(BOX, messages.stored(who, f"Nr {n}"))
    host.machine.run("dpkg", "--install", put_package(host, host.package))
    assert host.machine.show(UNIT, "ActiveState") == "active"
    password(host, dovecot.PASSWORD)
    top, sections = by_hand(host)
    configure(host, top + sections)
    probed = host.machine.run("multidropctl", "probe", "-a", "alles").stdout
    assert re.search(r"^Certainty: +high$", probed, re.M), probed
    stanza = probed[probed.index('provider "hoster" {'):]
    assert 'envelope "X-Original-To"' in stanza and "X-Envelope-To" not in stanza
    configure(host, top + stanza)
    checked = host.machine.run("multidropd", "-t")
    assert (checked.stdout, checked.stderr) == (f"{CONF}: good\n", "")


def look_first(host):
    """--dry-run says who would get what, and moves nothing."""
    planned = host.machine.run("multidropd", "--once", "--dry-run").stdout
    for who in set(STORED):
        assert planned.count(f"{who}@firma.example") >= STORED.count(who)
    assert host.dovecot.count(BOX) == len(STORED) and not host.postfix.messages("hans")


def begin(host):
    net.wait_until(lambda: host.machine.in_its_network(lambda: net.answers(host.postfix.port)),
                   60, "the house does not answer")
    host.machine.run("systemctl", "restart", UNIT)
    for who in set(STORED):
        assert len(wait_mail(host, who, STORED.count(who))) == STORED.count(who)
    net.wait_until(lambda: not host.dovecot.count(BOX), 20, "the maildrop is not emptied")
    first, *_ = host.machine.run("multidropctl", "status").stdout.splitlines()
    assert first.startswith("All is well: 1 account"), first
    assert get(host, "/healthz")[0] == 200 and "All is well" in get(host, "/")[1]


def break_the_password(host):
    password(host, "nicht-mehr-richtig")
    host.machine.run("systemctl", "reload", UNIT)
    [mail] = wait_mail(host, "admin", 1, timeout=60)
    alert = email.message_from_bytes(mail, policy=email.policy.default)
    assert alert["X-Multidrop-Alert"].startswith("account.suspended"), mail.decode()
    assert alert["Return-Path"] == "<>" and "alles" in alert["Subject"]
    said = alert.get_content()
    assert "      multidropctl reload\n" in said and "nicht-mehr-richtig" not in said
    assert state(host) == "suspended"
    net.wait_until(lambda: get(host, "/healthz")[0] == 503, 10, "/healthz does not notice")
    page = get(host, "/")[1]
    assert "Not all is well" in page and "suspended" in page
    assert "multidropctl resume alles" in page and "nicht-mehr-richtig" not in page
    host.dovecot.put(BOX, messages.stored("hans", "waits for the password"))


def mend_it(host):
    password(host, dovecot.PASSWORD)
    host.machine.run("multidropctl", "reload")  # a corrected password ends the suspension
    net.wait_until(lambda: arrived(host, "hans", "waits for the password"), 30,
                   "the mail that has waited does not arrive")
    net.wait_until(lambda: get(host, "/healthz")[0] == 200, 10, "/healthz does not recover")
    assert "All is well" in get(host, "/")[1]
    assert len(host.postfix.messages("admin")) == 1
    assert not host.postfix.messages("postmaster"), "nobody's mail"


def test_from_the_package_to_mail_and_through_trouble(host):
    set_up(host)
    look_first(host)
    begin(host)
    break_the_password(host)
    mend_it(host)
