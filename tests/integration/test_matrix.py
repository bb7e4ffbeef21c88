"""Resolver and delivery on mail that real servers wrote: every case by every set-up of a provider.

The envelope of each message is known. Nothing may reach anybody who is not in it, and nothing may
stay unresolved whose envelope the server states.
"""
import json
import os
import poplib
import re
from collections import Counter
from dataclasses import dataclass

import pytest
from conftest import PASSWORD, expect
from mdtest import cases, ctl, daemon, hoster, plan
from mdtest.sink import Sink

POSTMASTER = "postmaster@firma.example"
CASES = {case.name: case for case in cases.every()}


def wire(address):
    """An address of the envelope as it goes to the relay."""
    local, _, domain = address.rpartition("@")
    domain = domain.replace("müller.example", cases.IDN)
    return f"{local}@{domain}"


def case_of(message):
    return re.search(rb"^case=(.*?)\r?$", message, re.M)[1].decode()


@dataclass
class Filled:
    """A set-up's maildrop with the cases in it."""
    hoster: hoster.Hoster
    taken: set  # the cases that the server accepted
    names: list  # the stored messages' cases, by number

    @property
    def setup(self):
        return self.hoster.setup

    def wanted(self, case, states=None, otherwise=(POSTMASTER,)):
        """Who gets the case's messages, taken together; `otherwise` what is not resolved."""
        if not (states or self.setup.states)(case):
            return set(otherwise)
        return {wire(r) for r in case.recipients}

    def account(self, config, ca, sink, name="sammel", trusted_by=None, **keys):
        """An account on this maildrop, and its provider."""
        setup = self.setup
        config.provider("p-" + name, host="localhost", port=self.hoster.dovecot.pop3s,
                        tls="implicit", tls_ca_file=ca.cert, envelope=list(setup.envelope),
                        trusted_by=setup.trusted_by if trusted_by is None else trusted_by)
        config.relay("house", port=sink.port)
        config.account(name, "p-" + name, "house", PASSWORD, user=self.hoster.user,
                       domains=["firma.example", "müller.example"], **keys)


def fill(running):
    """Sends every case to it."""
    taken = set()
    for case in CASES.values():
        if case.smtputf8 > running.setup.smtputf8 or case.odd > running.setup.odd:
            continue
        if running.accept(case.message(), case.sender, case.recipients, case.ehlo, case.smtputf8):
            taken.add(case.name)
    running.settle()
    pop3 = poplib.POP3("127.0.0.1", running.dovecot.pop3)
    pop3.user(running.user)
    pop3.pass_(PASSWORD)
    names = [case_of(b"\n".join(pop3.retr(n + 1)[1])) for n in range(pop3.stat()[0])]
    pop3.quit()
    return Filled(running, taken, names)


@pytest.fixture(scope="module", params=hoster.SETUPS, ids=lambda setup: setup.name)
def filled(request, directory, certificate, dovecot):
    running = hoster.Hoster(request.param, os.path.join(directory, request.param.name),
                            certificate, dovecot)
    try:
        yield fill(running.start())
    finally:
        running.stop()


@pytest.fixture(scope="module")
def total():
    """The messages by set-up."""
    return Counter()


def check_plan(filled, text, may_hold=lambda case: False, **keys):
    """Each copy goes to recipients of its case's envelope only, and all of them get one."""
    got = {name: set() for name in filled.names}
    planned = plan.read(text)
    assert len(planned) == len(filled.names)
    faults = []
    for message in planned:
        case = CASES[filled.names[message.number - 1]]
        wanted = filled.wanted(case, **keys)
        got[case.name] |= set(message.recipients)
        if not set(message.recipients) <= wanted:
            faults.append(f"wrong person: {case.name}: {message}")
        if message.sender != case.sender:
            faults.append(f"wrong sender: {case.name}: {message}")
    for name, who in got.items():
        case = CASES[name]
        if who != filled.wanted(case, **keys) and not (may_hold(case) and not who):
            faults.append(f"not all: {name}: {who}")
    assert not faults, "\n".join(faults)


def test_every_case_was_stored(filled, total):
    for case in CASES.values():
        assert case.name in filled.taken or case.odd or case.smtputf8
    assert set(filled.names) == filled.taken
    total[filled.setup.name] += len(filled.taken)


@pytest.mark.parametrize("boundary", ["trusted_by", "first Received line"])
def test_plan_names_the_envelope(config, ca, filled, boundary):
    trusted_by = filled.setup.trusted_by if boundary == "trusted_by" else ()
    with Sink() as sink:
        filled.account(config, ca, sink, trusted_by=trusted_by)
        run = expect(daemon.once(config, "--dry-run"), 0)
        check_plan(filled, run.stdout)
        assert sink.recipients() == []


def test_probe_proposes_what_answers(config, ca, filled):
    """From a guess to rules with which the whole matrix passes, or to the word that none do."""
    with Sink() as sink:
        filled.account(config, ca, sink, trusted_by=())
        provider = config.providers["p-sammel"]
        provider["envelope"] = [("X-Guess", {})]
        found = json.loads(expect(ctl.probe(config, "--json", "--samples", "500"), 0).stdout)
        if not any(filled.setup.states(case) for case in CASES.values()):
            assert found["verdict"] in ("constant", "nothing"), found
            return
        assert found["verdict"] == "found", found
        rule = found["envelope"]
        provider["envelope"] = [(rule["header"], {k: rule[k] for k in ("position", "pick")})]
        provider |= {key: found[key] for key in ("trusted_by", "strip_prefix")}
        check_plan(filled, expect(daemon.once(config, "--dry-run"), 0).stdout)


def test_received_for_answers_for_one_recipient_only(config, ca, filled):
    """Without an envelope header the server's own `for` is right, or silent: then it is held."""
    if not filled.setup.received_for:
        pytest.skip("this server's `for` names the mailbox, or there is none")
    with Sink() as sink:
        filled.account(config, ca, sink, unresolved="received-for")
        config.providers["p-sammel"]["envelope"] = [("X-Not-There", {})]
        run = expect(daemon.once(config, "--dry-run"), 0)
        # Exim writes quoted local parts bare, and what EHLO said as it came: they say nothing.
        check_plan(filled, run.stdout, states=hoster.one_recipient, otherwise=(),
                   may_hold=lambda case: case.odd or set(case.ehlo) & set('()"'))


def test_delivery_follows_the_envelope(config, ca, filled):
    with Sink() as sink:
        filled.account(config, ca, sink)
        expect(daemon.once(config), 0)
        got = {name: [] for name in filled.names}
        for recipient, body in sink.recipients():
            got[case_of(body)].append(recipient.encode("latin-1").decode())
        # Whoever looks after the unresolved ones gets to see every copy.
        wanted = {name: sorted(filled.wanted(CASES[name])) for name in filled.names}
        wanted = {name: who * filled.names.count(name) if who == [POSTMASTER] else who
                  for name, who in wanted.items()}
        assert {name: sorted(who) for name, who in got.items()} == wanted
        senders = {case_of(t.body): t.sender for t in sink.transactions}
        assert senders == {name: CASES[name].sender for name in filled.names}
    assert filled.hoster.dovecot.count(filled.hoster.user) == 0


def test_matrix_is_large_enough(total, capsys):
    with capsys.disabled():
        print(f"\nmatrix: {sum(total.values())} messages, {len(CASES)} cases, "
              f"{len(total)} set-ups")
    assert sum(total.values()) >= 200 and len(total) == len(hoster.SETUPS)
