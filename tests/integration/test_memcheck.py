"""The daemon without sanitizers under valgrind's memcheck: reads of what was never written, which
the sanitizers do not see, and descriptors that are still open at the end.

Its own CTest label: ctest -L valgrind.
"""
import glob
import os
import re
import shutil

import pytest
from conftest import expect
from mdtest import daemon, messages, rude
from test_main_job import put_kinds, subjects
from test_rude import World, certificates  # noqa: F401, a fixture

PATIENCE = 60  # seconds: everything takes thirty times as long
ROWS = ("T01-fine", "T02-unknown-ca", "T04-mended", "T10-stls-missing",
        "T12-data-before-handshake", "T15-injected", "X12-hello-requests", "X12-no-record-inside",
        "P04-greeting-binary", "P08-capa-endless", "P13-echo", "P21-uidl-x", "P21-uidl-repeated",
        "P27-no-uid", "P36-cut-inside-retr", "P38-look-alikes", "P41-nul", "P42-empty-mails",
        "S04-ehlo-endless", "S13-dot-mixed", "S15-closed-at-DATA", "S16-closed-at-dot",
        "S34-auth-endless")

if not shutil.which("valgrind"):
    print("SKIPPED: valgrind is not installed")
    pytest.exit("no valgrind", 77)


@pytest.fixture
def memcheck(directory, monkeypatch, request):
    """Runs of the daemon go through valgrind; what it has to say is looked at in the end."""
    place = os.path.join(directory, request.node.name)
    os.mkdir(place)
    wrapper = os.path.join(place, "multidropd")
    with open(wrapper, "w") as f:
        f.write("#!/bin/sh\nexec valgrind --error-exitcode=99 --track-fds=yes --leak-check=full "
                "--errors-for-leak-kinds=definite --show-leak-kinds=definite "
                "--run-libc-freeres=no "  # it trips over glibc's resolver
                "--child-silent-after-fork=yes "  # that is the runner
                # valgrind makes its code at run time, which the sandbox forbids
                f"--log-file={place}/said.%p {daemon.program()} --no-sandbox \"$@\"\n")
    os.chmod(wrapper, 0o755)
    monkeypatch.setenv("MULTIDROPD", wrapper)
    yield
    said = glob.glob(os.path.join(place, "said.*"))
    assert said
    for path in said:
        with open(path) as f:
            text = f.read()
        assert "ERROR SUMMARY: 0 errors" in text, text
        assert "FILE DESCRIPTORS: " in text
        still_open = [x for x in re.findall(r"Open (.*)", text) if "/said." not in x]
        # the runner, which ends when this closes
        assert [re.sub(r"\d+", "N", x) for x in still_open] == ["AF_UNIX socket N: <unknown>"], text


def test_main_job(memcheck, house, dovecot, postfix, box):
    """Dovecot over TLS, Postfix with STARTTLS, every kind of message, twice."""
    wanted = put_kinds(dovecot, box, large=300_000)
    expect(daemon.once(house), 0)
    dovecot.put(box, messages.stored("hans", "noch eine"))
    expect(daemon.once(house), 0)
    wanted["hans"].append("noch eine")
    assert {m: subjects(postfix, m) for m in postfix.mailboxes} == \
        {m: sorted(s) for m, s in wanted.items()}
    assert dovecot.count(box) == 0


def test_rude_peers(memcheck, directory, ca, certificates):  # noqa: F811
    cases = {name: rude.EVERY[name] for name in ROWS}
    world = World(cases, os.path.join(directory, "m"), ca, certificates, patience=PATIENCE)
    for name in ROWS:
        world.examine(name)
    assert world.status == 0 and world.log.noise == []
