"""One side misbehaves: what cannot be delivered stays, the log says who and why, others go on."""
import json
import re

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import daemon, messages, net
from mdtest.pop3fake import CLOSE, Pop3Fake, cut_in_retr
from mdtest.sink import Sink

MAIL = messages.stored("hans", "Hallo", body=b"a line of text\r\n" * 50)
ALWAYS = lambda reply: lambda session: reply  # noqa: E731, a scripted reply that is never used up


@pytest.fixture
def healthy(config):
    """An account with well-behaved peers, and the name "bad" still to be given."""
    with Pop3Fake([MAIL]) as provider, Sink() as sink:
        fake_provider(config, provider, "good-hoster")
        config.relay("good-house", port=sink.port)
        config.account("good", "good-hoster", "good-house", provider.password)
        yield config
        assert provider.maildrop == [] and len(sink.transactions) == 1, "the healthy one waits"


def complaint(run, account, peers, cause):
    """The log line at warning or above that names the account, the peer and the cause."""
    lines = [json.dumps(e) for e in run.log.entries
             if e["level"] in ("warning", "error") and e.get("account") == account]
    for line in lines:
        if any(peer in line for peer in peers) and re.search(cause, line, re.I):
            return line
    raise AssertionError(f"no line names {account}, {peers} and {cause!r}\n{run!r}")


# Name, the fake's tls, its certificate, behaviour, account and provider keys, cause in the log.
PROVIDER_FAULTS = {
    "wrong password": dict(password="not-it", cause="wrong password"),
    "busy": dict(behaviour={"PASS": ["-ERR [IN-USE] maildrop locked"]}, cause="locked"),
    "temporary": dict(behaviour={"greeting": ["-ERR [SYS/TEMP] try later"]}, cause="try later"),
    "expired certificate": dict(tls="implicit", certificate="expired", cause="expired"),
    "wrong name": dict(tls="implicit", certificate="wrong_name", cause="name|match"),
    "unknown issuer": dict(tls="implicit", ca=False, cause="certificate|issuer|verif"),
    "no STLS": dict(keys={"tls": "starttls"}, cause="STLS|TLS"),
    "no TLS at all": dict(keys={"tls": "implicit"}, cause="TLS"),
    "garbage as greeting": dict(behaviour={"greeting": [b"\x00\xff\x1b[2J nonsense\r\n"]},
                                cause="PROTO"),
    "garbage in the listing": dict(behaviour={"UIDL": [b"+OK\r\n-7 x\r\n.\r\n"]}, cause="PROTO"),
    "cut after login": dict(behaviour={"STAT": [CLOSE]}, cause="NET|closed"),
    "cut in the listing": dict(behaviour={"UIDL": [b"+OK\r\n1 uid-1\r\n", CLOSE], "LIST": [CLOSE]},
                               cause="NET|PROTO|closed"),
    "cut in the message": dict(behaviour={"RETR": [cut_in_retr(1, 200)]}, cause="NET|closed"),
    "RETR refused": dict(behaviour={"RETR": ["-ERR cannot read it"]}, cause="cannot read it"),
}


@pytest.mark.parametrize("name", PROVIDER_FAULTS)
def test_provider_at_fault(healthy, ca, certificate, name):
    fault = {"tls": None, "certificate": None, "behaviour": {}, "keys": {}, "ca": True,
             "password": PASSWORD, **PROVIDER_FAULTS[name]}
    own = getattr(ca, fault["certificate"])() if fault["certificate"] else certificate
    with Pop3Fake([MAIL], fault["behaviour"], fault["tls"], own) as server, Sink() as sink:
        keys = {"host": "localhost", "tls": fault["tls"] or "none", **fault["keys"]}
        if keys["tls"] != "none" and fault["ca"]:
            keys["tls_ca_file"] = ca.cert
        fake_provider(healthy, server, "bad-hoster", **keys)
        healthy.relay("bad-house", port=sink.port)
        healthy.account("bad", "bad-hoster", "bad-house", fault["password"])
        run = expect(daemon.once(healthy), 75)
        complaint(run, "bad", ("bad-hoster", f"localhost:{server.port}"), fault["cause"])
        assert len(server.maildrop) == 1 and sink.transactions == []
        assert fault["password"] not in run.stderr
        assert "\x1b" not in run.stderr
        if keys["tls"] != "none":
            assert server.said("USER") == [] and server.said("PASS") == []


def test_unreachable_provider(healthy):
    port = net.free_port()
    healthy.provider("bad-hoster", port=port)
    healthy.account("bad", "bad-hoster", "good-house", PASSWORD)
    run = expect(daemon.once(healthy), 75)
    complaint(run, "bad", ("bad-hoster", f"127.0.0.1:{port}"), "refused")


def test_truncated_message_is_not_delivered(healthy):
    """The server ends the message properly but LIST promised more: only the size shows it."""
    cut = b"+OK\r\n" + MAIL[:300] + b"\r\n.\r\n"
    with Pop3Fake([MAIL], {"RETR": ALWAYS(cut)}) as server, Sink() as sink:
        fake_provider(healthy, server, "bad-hoster")
        healthy.relay("bad-house", port=sink.port)
        healthy.account("bad", "bad-hoster", "bad-house", PASSWORD)
        run = expect(daemon.once(healthy), 75)
        assert run.log.find("message.truncated", account="bad")
        assert len(server.maildrop) == 1 and sink.attempts == []


RELAY_FAULTS = {
    "greeting 554": dict(behaviour={"greeting": ALWAYS("554 5.3.2 not today")}, cause="not today"),
    "greeting garbage": dict(behaviour={"greeting": ALWAYS(b"\x1b[2J\xff\r\n")}, cause="PROTO"),
    "S04 EHLO without end": dict(behaviour={"EHLO": ALWAYS(b"250-X\r\n" * 1000)},
                                 cause='"event": "limit.exceeded"'),
    "EHLO cut": dict(behaviour={"EHLO": ALWAYS(CLOSE), "HELO": ALWAYS(CLOSE)},
                     cause="NET|closed"),
    "no STARTTLS": dict(keys={"tls": "starttls"}, cause="STARTTLS|TLS"),
    "expired certificate": dict(tls="starttls", certificate="expired", cause="expired"),
    "wrong name": dict(tls="starttls", certificate="wrong_name", cause="name|match"),
    "MAIL 451": dict(behaviour={"MAIL": ALWAYS("451 4.3.0 queue full")}, cause="queue full"),
    "RCPT 450": dict(behaviour={"RCPT": ALWAYS("450 4.2.0 greylisted")}, cause="greylisted"),
    "DATA 250": dict(behaviour={"DATA": ALWAYS("250 what?")}, cause="PROTO|250"),
    "dot 451": dict(behaviour={"dot": ALWAYS("451 4.3.0 disk full")}, cause="disk full"),
    "dot garbage": dict(behaviour={"dot": ALWAYS("hm")}, cause="PROTO|doubt"),
}


@pytest.mark.parametrize("name", RELAY_FAULTS)
def test_relay_at_fault(healthy, ca, certificate, name):
    fault = {"tls": None, "certificate": None, "behaviour": {}, "keys": {}, **RELAY_FAULTS[name]}
    own = getattr(ca, fault["certificate"])() if fault["certificate"] else certificate
    with Pop3Fake([MAIL]) as server, Sink(fault["behaviour"], False, fault["tls"], own) as sink:
        keys = {"host": "localhost", "tls": fault["tls"] or "none", **fault["keys"]}
        if keys["tls"] != "none":
            keys["tls_ca_file"] = ca.cert
        fake_provider(healthy, server, "bad-hoster")
        healthy.relay("bad-house", port=sink.port, **keys)
        healthy.account("bad", "bad-hoster", "bad-house", PASSWORD)
        run = expect(daemon.once(healthy), 75)
        says = [json.dumps(e) for e in run.log.entries
                if "bad-house" in (e.get("relay") or "") or e.get("account") == "bad"]
        assert any(re.search(fault["cause"], line, re.I) for line in says), repr(run)
        assert len(server.maildrop) == 1 and sink.transactions == []
        assert "\x1b" not in run.stderr

        sink.behaviour.clear()
        if not fault["keys"] and not fault["certificate"]:
            expect(daemon.once(healthy), 0)
            assert server.maildrop == [] and len(sink.transactions) == 1


def test_relay_down_and_back(healthy):
    """A relay that is away costs no RETR, and nothing is lost."""
    port = net.free_port()
    with Pop3Fake([MAIL] * 3) as server:
        fake_provider(healthy, server, "bad-hoster")
        relay = healthy.relay("bad-house", port=port)
        healthy.account("bad", "bad-hoster", "bad-house", PASSWORD, dedupe="0s")
        run = expect(daemon.once(healthy), 75)
        assert [e for e in run.log.find("relay.down") if e["relay"] == "bad-house"], repr(run)
        assert "refused" in run.stderr
        assert len(server.maildrop) == 3
        with Sink() as sink:
            relay["port"] = sink.port
            expect(daemon.once(healthy), 0)
            assert len(sink.transactions) == 3 and server.maildrop == []


def test_retr_refused_for_one_of_three(healthy):
    def refuse_second(session):
        return "-ERR unreadable" if session.argument == "2" else None
    three = [messages.stored("hans", f"Nr {n}") for n in (1, 2, 3)]
    with Pop3Fake(three, {"RETR": refuse_second}) as server, Sink() as sink:
        fake_provider(healthy, server, "bad-hoster")
        healthy.relay("bad-house", port=sink.port)
        healthy.account("bad", "bad-hoster", "bad-house", PASSWORD)
        expect(daemon.once(healthy), 75)
        assert [uid for uid, _ in server.maildrop] == ["uid-2"]
        assert sorted(messages.subject(t.body) for t in sink.transactions) == ["Nr 1", "Nr 3"]
