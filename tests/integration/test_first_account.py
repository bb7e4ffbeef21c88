"""docs/first-account.md, and the same in German: its configuration, its commands, in its order."""
import os
import re
import textwrap

import pytest
from conftest import PASSWORD, expect
from mdtest import ctl, daemon, messages

DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "docs")
PAGES = ("first-account.md", "de/schnellstart.md")


def read(page):
    with open(os.path.join(DOCS, page)) as f:
        return f.read()


def blocks(page):
    """What is indented or fenced: the configuration, and the commands."""
    texts = re.findall(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", read(page), re.M)
    return [textwrap.dedent(text).strip() for text in texts]


def commands(page):
    text = "\n".join(b for b in blocks(page) if not b.startswith("hostname"))
    return [line for line in text.splitlines() if re.match(r"multidrop(d|ctl) ", line)]


def the_section(conf, kind, name, place):
    """Puts what the probe printed in the place of the section of that name."""
    new = re.search(rf'^{kind} "{name}" {{\n.*?^}}\n', place, re.M | re.S)[0]
    return re.sub(rf'^{kind} "{name}" {{\n.*?^}}\n', lambda _: new, conf, flags=re.M | re.S)


def test_the_pages_show_the_same():
    english, german = (
        [re.sub(r"#.*", "", b).replace("DATEI", "FILE") for b in blocks(page)] for page in PAGES)
    assert [b.split() for b in english] == [b.split() for b in german] and len(english) >= 8


@pytest.mark.parametrize("page", PAGES)
def test_the_steps(config, dovecot, postfix, ca, page):
    box = "sammel@firma.example"
    dovecot.clear(box)
    for i in range(24):
        dovecot.put(box, messages.stored(("hans", "eva")[i % 2], f"Nr {i}"))
    (conf,) = [b + "\n" for b in blocks(page) if b.startswith("hostname")]
    secret = config.file("sammel.pw", PASSWORD, mode=0o600)
    for old, new in (
            ('"pop3.hoster.example"', f'"localhost"\n    port = {dovecot.pop3s}\n'
             f'    tls_ca_file = "{ca.cert}"\n    min_interval = "0s"'),
            ('"mail.internal"', f'"localhost"\n    port = {postfix.port}\n'
             f'    tls_ca_file = "{ca.cert}"'),
            ("/etc/multidropd/sammel.pw", secret)):
        assert old in conf
        conf = conf.replace(old, new)
    top = f'state_dir = "{config.state}"\ncontrol_socket = "{config.directory}/control"\n'

    def run(line):
        program, *words = line.split()
        call = {"multidropd": daemon.run, "multidropctl": ctl.run}[program]
        return expect(call(*words, "-c", config.file("multidropd.conf", top + conf)), 0)
    check, probe, dry, *rest = commands(page)
    run(check)
    found = run(probe).stdout
    for kind, name in (("provider", "hoster"), ("account", "sammel")):
        conf = the_section(conf, kind, name, found)
    assert 'envelope "X-Original-To"' in conf and conf.count("account ") == 1
    run(check)
    assert run(dry).stdout.count(": deliver\n") == 24 and dovecot.count(box) == 24
    run("multidropd --once")
    assert [len(postfix.messages(who)) for who in ("hans", "eva")] == [12, 12]
    assert dovecot.count(box) == 0
    (trace,) = [line for line in rest if " trace " in line]
    assert run(trace).stdout.count("hans@firma.example: delivered") == 12
    assert any(line == "multidropctl status" for line in rest)
