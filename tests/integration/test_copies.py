"""A message to three people that the provider stored three times, a thousand times over: every
person gets every message exactly once, however the recipients are found."""
from collections import Counter

import pytest
from conftest import PASSWORD, expect
from mdtest import daemon, messages
from mdtest.sink import Sink

PEOPLE = tuple(f"{name}@firma.example" for name in ("hans", "eva", "otto"))
MESSAGES = 1000


def copies(number):
    """The three stored copies. Some senders give all their messages one Message-ID."""
    ident = "always-the-same" if number % 10 == 0 else f"m{number}"
    for person in PEOPLE:
        yield messages.stored(person, f"Nr {number}", b"Guten Tag, Nr %d!\r\n" % number,
                              to=", ".join(PEOPLE), ident=ident)


def without_envelope(message):
    """As a provider stores it who writes no recipient down, `for` included."""
    return b"\r\n".join(line for line in message.split(b"\r\n") if not line.lower().startswith(
        (b"x-original-to:", b"delivered-to:", b"\tfor "))).replace(b" id 4", b"; ", 1)


def with_envelope(message):
    return message


@pytest.mark.parametrize("stored", [with_envelope, without_envelope])
def test_everybody_gets_every_message_once(config, dovecot, ca, box, stored):
    for number in range(MESSAGES):
        for copy in copies(number):
            dovecot.put(box, stored(copy))
    with Sink() as sink:
        config.provider("hoster", host="localhost", port=dovecot.pop3s, tls="implicit",
                        tls_ca_file=ca.cert)
        config.relay("house", port=sink.port)
        config.account("sammel", "hoster", "house", PASSWORD, user=box, unresolved="to-cc")
        run = expect(daemon.once(config), 0)
        got = Counter((who, messages.subject(body)) for who, body in sink.recipients())
    assert got == Counter((who, f"Nr {n}") for who in PEOPLE for n in range(MESSAGES))
    assert dovecot.count(box) == 0
    suppressed = len(run.log.find("message.suppressed"))
    assert suppressed == (2 * 3 * MESSAGES if stored is without_envelope else 0)
