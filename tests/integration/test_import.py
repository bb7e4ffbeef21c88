"""Moving from fetchmail, getmail and pullmail: the imported configuration passes --test-config and
delivers the same messages to the same people as the original program did, from the same maildrop.

The original programs are Debian's, on the same Dovecot and against the same recording relay.
"""
import os
import re
import stat
import subprocess

import pytest
from conftest import PASSWORD, expect
from mdtest import ctl, daemon, messages
from mdtest.sink import Sink

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures", "import")
# Stands for a mail program that getmail runs: notes for whom, and the subject.
MDA = """#!/bin/sh
to=${2:-$1}
subject=$(sed -n 's/^Subject: //p' | tr -d '\\r')
echo "$to $subject" >>@LOG@
"""
MULTIDROP = ("hans", "eva", "info", "niemand", "hans@alt.example")


class World:
    """What a fixture's placeholders stand for, and what has arrived."""

    def __init__(self, directory, dovecot, ca, box, sink, lmtp):
        self.directory, self.dovecot = directory, dovecot
        self.box, self.box2 = box, "zweite-" + box
        self.sink, self.lmtp = sink, lmtp
        self.log = os.path.join(directory, "mda.log")
        mda = self.file("mda", MDA.replace("@LOG@", self.log), 0o755)
        fingerprint = subprocess.check_output(
            ["openssl", "x509", "-in", dovecot.certificate.cert, "-noout", "-md5",
             "-fingerprint"], text=True).strip().partition("=")[2]
        self.values = {"BOX": box, "BOX2": self.box2, "PASSWORD": PASSWORD, "CA": ca.cert,
                       "MD5": fingerprint, "POP3": dovecot.pop3, "POP3S": dovecot.pop3s,
                       "SMTP": sink.port, "LMTP": lmtp.port, "MDA": mda,
                       "SECRET": self.file("secret", PASSWORD)}
        self.secrets = os.path.join(directory, "secrets")
        os.mkdir(self.secrets)

    def file(self, name, text, mode=0o600):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def fixture(self, name, **more):
        with open(os.path.join(FIXTURES, name)) as f:
            text = f.read()
        # keep.fetchmailrc breaks a placeholder over two lines
        text = text.replace("@BO\\\nX@", self.box[:1] + "\\\n" + self.box[1:])
        for word, value in (self.values | more).items():
            text = text.replace(f"@{word}@", str(value))
        assert not re.search("@[A-Z0-9]+@", text)
        return self.file(name, text)

    def fill(self, recipients=MULTIDROP, qmail=False, prefix="Nr"):
        for i, recipient in enumerate(recipients):
            message = messages.stored(recipient, f"{prefix} {i} {recipient}",
                                      to="verteiler@outside.example", ident=f"{prefix}-{i}")
            if qmail:
                message = message.replace(b"Delivered-To: box17@", b"X-Mailbox: box17@").replace(
                    b"X-Original-To: ", b"Delivered-To: firma-")
            if qmail == "chain":  # the last step is on top: the mailbox
                message = b"Delivered-To: firma-sammel@firma.example\r\n" + message
            self.dovecot.put(self.box, message)
        return self

    def run(self, *command):
        """The original program; its home is the test's directory."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                              env=os.environ | {"HOME": self.directory,
                                                "FETCHMAILHOME": self.directory})
        return done.returncode, (done.stdout + done.stderr).decode()

    def original(self, path):
        if path.endswith("getmailrc"):
            status, said = self.run("getmail", "--getmaildir", self.directory, "--rcfile", path)
            assert status == 0, said
        else:
            status, said = self.run("fetchmail", "-d0", "--nosyslog", "-f", path)
            assert status in (0, 1), said  # 1: there was no mail
        return self.arrived()

    def arrived(self):
        """(who, subject) of all that has come since the last call."""
        got = []
        for sink in (self.sink, self.lmtp):
            got += [(who, messages.subject(body)) for who, body in sink.recipients()]
            with sink.lock:
                sink.transactions.clear()
        if os.path.exists(self.log):
            with open(self.log) as f:
                got += [tuple(line.rstrip("\n").split(" ", 1)) for line in f]
            os.remove(self.log)
        return sorted(got)

    def imported(self, path, *changes, kind=None):
        """The configuration as printed, with what a person would add: a state of its own."""
        kind = kind or path.rsplit(".", 1)[1]
        run = expect(ctl.run("import", kind, "--secrets", self.secrets, path), 0)
        assert run.stderr == ""
        assert PASSWORD not in run.stdout
        text = run.stdout
        for old, new in (*changes, ("provider \"localhost\" {",
                                    "provider \"localhost\" {\n\tmin_interval = \"0s\"")):
            assert re.search(old, text), (old, text)
            text = re.sub(old, new, text)
        top = (f'hostname = "gate.firma.example"\nstate_dir = "{self.directory}/state"\n'
               f'control_socket = "{self.directory}/control"\n')
        return self.file("multidropd.conf", top + text), run.stdout

    def ours(self, conf):
        checked = expect(daemon.run("--test-config", "-c", conf), 0)
        assert "error" not in checked.stderr
        run = expect(daemon.run("--once", "-l", "json", "-c", conf), 0)
        assert not run.log.find("cycle.failed")
        return self.arrived()


@pytest.fixture
def world(directory, dovecot, ca, box, config):
    with Sink() as sink, Sink(lmtp=True) as lmtp:
        yield World(config.directory, dovecot, ca, box, sink, lmtp)


def to_local_relay(world):
    """getmail delivered by itself: the person names the mail server."""
    return (('host = "localhost"\n}', f'host = "localhost"\n\tport = {world.sink.port}\n}}'),)


def both(world, name, qmail=False):
    path = world.fixture(name)
    world.fill(qmail=qmail)
    original = world.original(path)
    world.dovecot.clear(world.box)
    world.fill(qmail=qmail)
    return path, original


@pytest.mark.parametrize("name, qmail", [
    ("one-line.fetchmailrc", False),
    ("localdomains.fetchmailrc", False),
    ("map.fetchmailrc", False),
    ("qmail.fetchmailrc", True),
    ("chain.fetchmailrc", "chain"),
    ("pinned.fetchmailrc", False),
    ("keep.fetchmailrc", False),
    ("lmtp.fetchmailrc", False),
    ("lmtp.getmailrc", False),
])
def test_same_mail_to_the_same_people(world, name, qmail):
    path, original = both(world, name, qmail)
    conf, text = world.imported(path)
    assert original and world.ours(conf) == original
    files = [os.path.join(world.secrets, name) for name in os.listdir(world.secrets)]
    assert files or "password_command" in text
    assert all(stat.S_IMODE(os.stat(path).st_mode) == 0o600 for path in files)
    left = world.dovecot.count(world.box)
    assert left == (len(MULTIDROP) if name.startswith("keep") else 0)


def test_two_users_of_a_server_share_its_section(world):
    path = world.fixture("english.fetchmailrc")

    def fill():
        world.fill(["hans"])
        world.dovecot.put(world.box2, messages.stored("eva", "fuer Eva"))
    fill()
    original = world.original(path)
    assert [who for who, _ in original] == ["eva@firma.example", "hans@firma.example"]
    fill()
    conf, text = world.imported(path)
    assert text.count("\nprovider ") == text.count("\nrelay ") == 1 and \
        text.count("\naccount ") == 2
    assert world.ours(conf) == original


def test_defaults_hold_for_all_and_skip_is_not_polled(world):
    path = world.fixture("defaults.fetchmailrc")

    def fill():
        world.fill(["irgendwer"])
        world.dovecot.put(world.box2, messages.stored("eva", "fuer Hans"))
    fill()
    original = world.original(path)
    assert [who for who, _ in original] == ["eva@firma.example", "hans@firma.example"]
    fill()
    conf, text = world.imported(path)
    assert text.count("enabled = false") == 1 and text.count("fetch_limit = 50") == 3
    assert world.ours(conf) == original


def test_fetchmail_hands_to_a_program(world):
    """On purpose otherwise, and the text says so: a certificate is checked, no program is run."""
    path, original = both(world, "mda.fetchmailrc")
    trusting = ('tls = "implicit"', f'tls = "implicit"\n\ttls_ca_file = "{world.values["CA"]}"')
    conf, text = world.imported(path, *to_local_relay(world), trusting)
    for said in ("mda", "preconnect", "postconnect", "no sslcertck"):
        assert re.search(f"DECIDE: .*{said}", text.replace("\n# ", " ")), said
    inside = [o for o in original if o[0].endswith("@firma.example")]
    assert len(inside) == 4 and [o for o in world.ours(conf) if "alt" not in o[1]] == inside


def test_what_fetchmail_guesses_is_unresolved_here(world):
    """On purpose otherwise, and the text says so: To names hans, the blind copy was for eva."""
    path = world.fixture("guess.fetchmailrc")
    blind = messages.stored("eva", "Blindkopie", to="hans@firma.example")
    world.dovecot.put(world.box, blind)
    assert world.original(path) == [("hans@firma.example", "Blindkopie")]
    world.dovecot.put(world.box, blind)
    conf, text = world.imported(path)
    for said in ("guessed the recipient from Received, To and Cc", "antispam", "preconnect"):
        assert said in text.replace("\n# ", " ")
    assert world.ours(conf) == [("chef@firma.example", "Blindkopie")]


def test_getmail_hands_to_a_program(world):
    path, original = both(world, "external.getmailrc")
    conf, text = world.imported(path, *to_local_relay(world))
    assert "list yours" in text.replace("\n# ", " ")
    inside = [o for o in original if o[0].endswith("@firma.example")]
    # on purpose: another domain counts when the person has listed it
    assert len(original) == 5 and len(inside) == 4
    held = expect(daemon.run("--once", "-l", "json", "-c", conf), 0).log.find("message.held")
    assert len(held) == 1 and world.arrived() == inside


def test_getmail_sorts_by_expressions(world):
    path, original = both(world, "sorter.getmailrc")
    conf, text = world.imported(path, *to_local_relay(world))
    assert 'keep = "7d"' in text and 'tls = "none"' in text
    here = [(who.split("@")[0], subject) for who, subject in world.ours(conf)]
    # on purpose: hans@alt.example is outside of `domains` and goes to the postmaster
    assert [(who, subject) for who, subject in original if "alt" not in subject] == \
        [(who, subject) for who, subject in here if "alt" not in subject]
    assert ("chef", "Nr 4 hans@alt.example") in here
    assert world.dovecot.count(world.box) == len(MULTIDROP)


def local_parts(mail):
    return sorted((who.split("@")[0], subject) for who, subject in mail)


def test_getmail_sorts_to_several(world):
    path, original = both(world, "teams.getmailrc")
    conf, text = world.imported(path, *to_local_relay(world))
    assert "info@firma.example = hans@firma.example, eva@firma.example" in text
    # hans@alt.example: as in the test above
    assert len(original) == 6 and local_parts(world.ours(conf)) == local_parts(original)


def test_getmail_delivers_to_several_places(world):
    """On purpose otherwise, and the text says so: a place that is nobody's gets no copy."""
    path, original = both(world, "archive.getmailrc")
    conf, text = world.imported(path, *to_local_relay(world))
    assert "DECIDE: [archive]: whose that is cannot be told" in text
    assert len(original) == 10 and local_parts(world.ours(conf)) == \
        [o for o in original if o[0] != "archive"]


def test_what_getmail_guesses_goes_to_the_postmaster(world):
    """On purpose otherwise, and the text says so: To names hans, the blind copy was for eva."""
    path = world.fixture("guesser.getmailrc")
    blind = messages.stored("eva", "Blindkopie", to="hans@firma.example").replace(
        b"Delivered-To: box17@firma.example\r\n", b"")  # which it would have taken
    world.dovecot.put(world.box, blind)
    assert world.original(path) == [("hans", "Blindkopie")]
    world.dovecot.put(world.box, blind)
    conf, text = world.imported(path, *to_local_relay(world))
    assert "which any sender can write" in text.replace("\n# ", " ")
    assert local_parts(world.ours(conf)) == [("chef", "Blindkopie")]


def test_pullmail_lines(world):
    world.fill(["hans", "eva"])
    world.dovecot.put(world.box2, messages.stored("irgendwer", "an Eva"))
    conf, text = world.imported(world.fixture("catchall.bat"), kind="pullmail")
    assert text.count("\nprovider ") == 1 and text.count("\naccount ") == 2
    assert world.ours(conf) == [("eva@firma.example", "Nr 1 eva"), ("eva@firma.example", "an Eva"),
                                ("hans@firma.example", "Nr 0 hans")]


@pytest.mark.parametrize("name", ["keep.fetchmailrc", "lmtp.getmailrc"])
def test_adopt_takes_over_what_the_other_left(world, name):
    """No mail twice, none lost: what the other program has fetched stays, and what comes is new."""
    path = world.fixture(name)
    if name.endswith("getmailrc"):
        with open(path) as f:
            text = f.read()
        path = world.file(name, text.replace("delete = yes", "delete = no\nread_all = no"))
    world.fill(["hans", "eva", "otto"])
    assert len(world.original(path)) == 3
    assert world.original(path) == []  # its state is good
    conf, text = world.imported(path)
    assert 'keep = "forever"' in text
    (account,) = [a for a in re.findall(r'account "([^"]+)"', text) if a != "nobody"]
    run = expect(ctl.run("adopt", "-c", conf, account), 0)
    assert "3 of 3 messages adopted" in run.stdout
    world.fill(["hans"], prefix="Neu")
    assert [subject for _, subject in world.ours(conf)] == ["Neu 0 hans"]
    assert world.ours(conf) == [] and world.dovecot.count(world.box) == 4


@pytest.mark.parametrize("name", ["one-line.fetchmailrc", "lmtp.getmailrc"])
def test_what_the_other_has_deleted_needs_no_adopting(world, name):
    """No mail twice, none lost: what lies there after its last run is new, and adopt says so."""
    path = world.fixture(name)
    world.fill(["hans", "eva", "otto"])
    assert len(world.original(path)) == 3 and world.dovecot.count(world.box) == 0
    conf, text = world.imported(path)
    world.fill(["hans"], prefix="Neu")
    (account,) = re.findall(r'account "([^"]+)"', text)
    refused = expect(ctl.run("adopt", "-c", conf, account), 1)
    assert "--yes" in refused.stderr
    assert [subject for _, subject in world.ours(conf)] == ["Neu 0 hans"]
    assert world.ours(conf) == [] and world.original(path) == []


def test_passwords_are_not_overwritten(world):
    path = world.fixture("english.fetchmailrc")
    args = ("import", "fetchmailrc", "--secrets", world.secrets, path)
    second = os.path.join(world.secrets, "zweite-" + world.box.split("@")[0] + ".pw")
    with open(second, "w") as f:
        f.write("alt")
    run = expect(ctl.run(*args), 1)
    assert second in run.stderr and "not overwritten" in run.stderr and run.stdout == ""
    assert os.listdir(world.secrets) == [os.path.basename(second)]  # all or none
    os.remove(second)
    os.symlink("/dev/null", second)  # nor is a link followed
    expect(ctl.run(*args), 1)
    os.remove(second)
    expect(ctl.run(*args), 0)
    with open(second) as f:
        assert f.read() == PASSWORD


def test_without_secrets_the_text_says_what_to_write(world):
    path = world.fixture("english.fetchmailrc")
    run = expect(ctl.run("import", "fetchmailrc", path), 0)
    assert f"write the password from {path}:6 into this file" in run.stdout
    assert PASSWORD not in run.stdout + run.stderr


def test_faults_name_file_and_line(world):
    path = world.file("bad", f'poll localhost\n user x pass {PASSWORD};geheim2 keep\n')
    run = expect(ctl.run("import", "fetchmailrc", path), 78)
    assert run.stderr.startswith(f"{path}:2: ") and "quote" in run.stderr and run.stdout == ""
    assert PASSWORD not in run.stderr and "geheim2" not in run.stderr
    assert "no such file" in expect(ctl.run("import", "getmailrc", path + "x"), 1).stderr.lower()
    expect(ctl.run("import", "getmailrc"), 64)
    expect(ctl.run("import", "something", path), 64)
