"""The receiver closes the last window: Dovecot's LMTP with the Sieve script that we ship.

A second copy with the same X-Multidrop-Id is made for real: an older state is restored, so the
daemon does not know that it has delivered the message (docs/guarantees.md).
"""
import os
import shutil

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import daemon, dovecot as dovecot_module, messages
from mdtest.pop3fake import Pop3Fake

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "conf", "multidropd.sieve")
SETTINGS = """
plugin {{
  sieve_before = {script}
}}
protocol lmtp {{
  mail_plugins = sieve
}}
"""


@pytest.fixture(scope="module", params=["with the script", "without"])
def receiver(request, directory, certificate):
    """The in-house server; without the script it shows that the test can tell the difference."""
    home = os.path.join(directory, "s" + str(len(request.param)))
    os.mkdir(home)
    os.chmod(home, 0o755)
    script = shutil.copy(SCRIPT, home)
    if request.param == "without":
        with open(script, "w") as f:
            f.write("keep;\n")
    server = dovecot_module.Dovecot(home, certificate, more=SETTINGS.format(script=script))
    try:
        server.start()
        server.drops_copies = request.param != "without"
        yield server
    finally:
        server.stop()


def subjects(receiver, mailbox):
    return sorted(messages.subject(m) for m in receiver.messages(mailbox))


def test_second_copy_is_dropped_and_nothing_else(config, receiver):
    for mailbox in ("hans", "eva"):
        receiver.clear(mailbox)
        receiver.maildir(mailbox)
    same = messages.stored("hans", "zweimal im Postfach")
    mails = [messages.stored("hans@firma.example, eva@firma.example", "an beide"),
             messages.stored("hans", "an Hans"),
             same, same]  # the last two: stored twice, so two ids
    with Pop3Fake(mails) as provider:
        fake_provider(config, provider, envelope=[("X-Original-To", {"pick": "all"})])
        config.relay("house", protocol="lmtp", port=receiver.lmtp, connections=1)
        config.account("sammel", "fake", "house", PASSWORD, keep="forever", dedupe="0s")
        empty = shutil.copytree(config.state, os.path.join(config.directory, "empty"))
        provider.maildrop = []
        expect(daemon.once(config), 0)  # the key of the ids is made, and belongs to the backup
        shutil.rmtree(empty)
        shutil.copytree(config.state, empty)
        provider.maildrop = [(f"uid-{i}", m) for i, m in enumerate(mails)]
        expect(daemon.once(config), 0)
        once = {"hans": ["an Hans", "an beide", "zweimal im Postfach", "zweimal im Postfach"],
                "eva": ["an beide"]}
        assert {m: subjects(receiver, m) for m in once} == once

        shutil.rmtree(config.state)
        shutil.copytree(empty, config.state)
        provider.maildrop.append(("uid-9", messages.stored("eva", "neu")))
        run = expect(daemon.once(config), 0)
        assert len(run.log.find("message.delivered")) == 6
        if not receiver.drops_copies:
            once = {m: sorted(s * 2) for m, s in once.items()}
        once["eva"].append("neu")
        assert {m: subjects(receiver, m) for m in once} == once
