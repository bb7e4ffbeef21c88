"""What a relay wants to know: who we are (S34, T17), and whose mail it is (S37)."""
import base64
import os
import re

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import daemon, dovecot as dovecot_module, postfix as postfix_module
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

MECHANISMS = "plain login cram-md5 scram-sha-1 scram-sha-256"
RECEIVED = (b"Received: from ehlo.example (mx.b.example [192.0.2.7])\r\n"
            b"\tby mx.hoster.example (Postfix) with ESMTP id 4T;\r\n"
            b"\tMon, 1 Jan 2024 00:00:00 +0100 (CET)\r\n")
BODY = (b"X-Original-To: hans@firma.example\r\n" + RECEIVED
        + b"From: anna@b.example\r\n\r\nhallo\r\n")
EXTENSIONS = ("PIPELINING", "8BITMIME")


@pytest.fixture(scope="module")
def strict_postfix(directory, certificate):
    """A Postfix that takes mail only after a login, which a Dovecot of its own checks, and that
    believes this host what it says of clients."""
    d, p = (os.path.join(directory, name) for name in ("sasl", "strict"))
    os.mkdir(d), os.mkdir(p)
    path = os.path.join(d, "auth.sock")
    dovecot = dovecot_module.Dovecot(d, certificate, more=f"""
auth_mechanisms = {MECHANISMS}
service auth {{
  unix_listener {path} {{
    mode = 0666
  }}
}}
""")
    postfix = postfix_module.Postfix(p, certificate, settings={
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": path,
        "smtpd_tls_auth_only": "yes",
        "smtpd_client_restrictions": "permit_sasl_authenticated, defer",
        "smtpd_authorized_xforward_hosts": "127.0.0.1"})
    try:
        dovecot.start()
        yield postfix.start()
    finally:
        postfix.stop()
        dovecot.stop()


def login(config, provider, port, ca, **relay):
    fake_provider(config, provider)
    secret = config.file("relay.pw", PASSWORD + "\n", mode=0o600)
    keys = {"host": "localhost", "port": port, "tls": "starttls", "user": "gate",
            "password_file": secret, "tls_ca_file": ca.cert if ca else None}
    config.relay("house", **{**keys, **relay})
    config.account("sammel", "fake", "house", provider.password)
    return config


@pytest.mark.parametrize("auth, method", [
    ("auto", "SCRAM-SHA-256"), ("plain", "PLAIN"), ("login", "LOGIN"), ("cram-md5", "CRAM-MD5"),
    ("scram-sha-256", "SCRAM-SHA-256")])
@pytest.mark.parametrize("tls", ["starttls", "opportunistic"])
def test_every_mechanism_at_postfix(config, strict_postfix, ca, auth, method, tls):
    strict_postfix.clear()
    before = len(strict_postfix.log())
    with Pop3Fake([BODY]) as provider:
        login(config, provider, strict_postfix.port, ca, auth=auth, tls=tls)
        expect(daemon.once(config), 0)
    assert len(strict_postfix.messages("hans")) == 1
    log = strict_postfix.log()[before:]
    assert f"sasl_method={method}, sasl_username=gate" in log


def test_without_a_login_that_postfix_takes_nothing(config, strict_postfix, ca):
    with Pop3Fake([BODY]) as provider:
        login(config, provider, strict_postfix.port, ca, user=None, password_file=None)
        expect(daemon.once(config), 75)
        assert len(provider.maildrop) == 1


def test_s34_wrong_password_at_postfix(config, strict_postfix, ca):
    with Pop3Fake([BODY] * 3) as provider:
        login(config, provider, strict_postfix.port, ca,
              password_file=config.file("wrong.pw", "falsch-0815", mode=0o600))
        run = expect(daemon.once(config), 75)
        down = run.log.find("relay.down", relay="house")
        assert len(down) == 1 and down[0]["error"] == "AUTH" and "535" in down[0]["reason"]
        assert len(provider.maildrop) == 3 and "falsch-0815" not in run.stderr


def test_the_password_comes_from_a_command(config, strict_postfix, ca):
    strict_postfix.clear()
    with Pop3Fake([BODY]) as provider:
        login(config, provider, strict_postfix.port, ca, password_file=None,
              password_command=f"printf '{PASSWORD}\\n'")
        expect(daemon.once(config), 0)
    assert len(strict_postfix.messages("hans")) == 1


def test_a_command_that_fails_is_a_relay_that_is_down(config, certificate, ca):
    with Pop3Fake([BODY]) as provider, Sink(tls="starttls", certificate=certificate) as sink:
        login(config, provider, sink.port, ca, password_file=None,
              password_command="echo 'no network' >&2; exit 1")
        run = expect(daemon.once(config), 75)
        assert "no network" in run.log.find("relay.down")[0]["reason"]
        assert sink.connections == 0 and len(provider.maildrop) == 1


# ---- a scripted server ----

def auth_sink(certificate, reply, mechanisms="PLAIN", **keys):
    """Offers AUTH; `reply` is its script."""
    return Sink({"AUTH": reply}, tls=keys.get("tls", "starttls"), certificate=certificate,
                extensions=EXTENSIONS + ("AUTH " + mechanisms,))


def test_s34_535_leaves_all_mail_charges_none_and_alerts_once(config, certificate, ca):
    """A daemon that goes on: tries with a growing pause, one line, and all is well afterwards."""
    with Pop3Fake([BODY + b"%d\r\n" % n for n in range(20)]) as provider, \
            auth_sink(certificate, lambda s: "535 5.7.8 authentication failed") as sink:
        login(config, provider, sink.port, ca, connections=1)
        config.accounts["sammel"].update(interval="1s", rejected="hold")
        with daemon.Daemon(config) as d:
            d.wait_event("relay.down")
            tries = len(sink.said("AUTH"))
            d.wait(lambda: len(sink.said("AUTH")) > tries, what="another try")
            assert len(d.log.find("relay.down")) == 1
            assert not sink.said("MAIL") and len(provider.maildrop) == 20
            assert not d.log.find("message.held") and not d.log.find("message.deferred")
            sink.behaviour["AUTH"] = lambda s: "235 2.7.0 fine"
            d.wait_event("relay.up")
            d.wait(lambda: len(sink.transactions) == 20, what="20 messages")
            assert d.stop() == 0


@pytest.mark.parametrize("reply", ["334 ", "334", "334 !!!!", "334 " + "QUJD" * 100,
                                   "454 4.7.0 later", "504 5.5.4 what?", "354 go ahead",
                                   b"334 \0\xff\r\n", b"AUTH\r\n"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_s34_whatever_a_server_says_to_auth(config, certificate, ca, mechanism, reply):
    def endless(session):
        for _ in range(1000):
            session.perform(reply)
            if not (reply if isinstance(reply, str) else reply.decode("latin-1")) \
                    .startswith("334") or session.read_command() == "*":
                break
        return "501 5.7.0 cancelled"
    with Pop3Fake([BODY]) as provider, auth_sink(certificate, endless, mechanism) as sink:
        login(config, provider, sink.port, ca)
        run = expect(daemon.once(config), 75)
        assert len(run.log.find("relay.down")) == 1
        assert not sink.said("MAIL") and len(provider.maildrop) == 1
        assert len(sink.commands) < 10, sink.commands


def test_s34_what_a_server_echoes_is_masked(config, certificate, ca):
    blob = base64.b64encode(f"\0gate\0{PASSWORD}".encode()).decode()
    with Pop3Fake([BODY]) as provider, \
            auth_sink(certificate, lambda s: f"535 {blob} is not {PASSWORD}") as sink:
        login(config, provider, sink.port, ca)
        run = expect(daemon.once(config, "-v", "debug"), 75)
        assert PASSWORD not in run.stderr and blob not in run.stderr
        assert "*** is not ***" in run.log.find("relay.down")[0]["reason"]


@pytest.mark.parametrize("tls", ["none", "opportunistic"])
def test_t17_no_password_over_clear_text(config, ca, tls):
    with Pop3Fake([BODY]) as provider, auth_sink(None, lambda s: "235 fine", tls=None) as sink:
        login(config, provider, sink.port, ca if tls != "none" else None, tls=tls)
        run = expect(daemon.once(config), 75)
        assert not sink.said("AUTH") and not sink.said("MAIL")
        down = run.log.find("relay.down", error="TLS")
        assert down and "the password stays here" in down[0]["reason"]
        assert len(provider.maildrop) == 1


def test_t17_no_password_to_somebody_else(config, ca):
    """Opportunistic TLS asks for no certificate; who gets the password, does."""
    with Pop3Fake([BODY]) as provider, \
            auth_sink(ca.wrong_name(), lambda s: "235 fine") as sink:
        login(config, provider, sink.port, ca, tls="opportunistic")
        run = expect(daemon.once(config), 75)
        assert not sink.said("AUTH") and run.log.find("relay.down", error="TLS")


# ---- whose mail it is ----

def orig_client(postfix, before):
    return re.findall(r"orig_client=(\S+)", postfix.log()[before:])


def test_s37_postfix_believes_us(config, strict_postfix, ca):
    strict_postfix.clear()
    before = len(strict_postfix.log())
    with Pop3Fake([BODY]) as provider:
        login(config, provider, strict_postfix.port, ca, xforward=True)
        run = expect(daemon.once(config), 0)
    assert len(strict_postfix.messages("hans")) == 1
    assert orig_client(strict_postfix, before) == ["mx.b.example[192.0.2.7]"]
    assert not run.log.find("relay.warning")


def test_s37_off_says_nothing(config, strict_postfix, ca):
    before = len(strict_postfix.log())
    with Pop3Fake([BODY]) as provider:
        login(config, provider, strict_postfix.port, ca)
        expect(daemon.once(config), 0)
    assert not orig_client(strict_postfix, before)


def xforward_sink(reply=lambda s: "250 fine"):
    return Sink({"XFORWARD": reply}, extensions=EXTENSIONS + (
        "XFORWARD NAME ADDR PROTO HELO SOURCE PORT", "XCLIENT NAME ADDR"))


def hand_on(config, provider, sink, provider_keys=(), **keys):
    fake_provider(config, provider, **dict(provider_keys))
    config.relay("house", port=sink.port, **keys)
    config.account("sammel", "fake", "house", provider.password)
    return config


def test_s37_before_mail_in_one_write(config):
    with Pop3Fake([BODY]) as provider, xforward_sink() as sink:
        expect(daemon.once(hand_on(config, provider, sink, xforward=True)), 0)
        verbs = [c.split(" ")[0] for c in sink.commands]
        assert verbs[1:5] == ["XFORWARD", "MAIL", "RCPT", "DATA"]
        assert sink.said("XFORWARD") == ["XFORWARD NAME=mx.b.example ADDR=192.0.2.7"]


def test_s37_off_and_advertised(config):
    with Pop3Fake([BODY]) as provider, xforward_sink() as sink:
        expect(daemon.once(hand_on(config, provider, sink)), 0)
        assert not sink.said("XFORWARD") and not sink.said("XCLIENT")


@pytest.mark.parametrize("block, trusted", [
    (b"X-Original-To: hans@firma.example\r\n", None),
    (BODY.partition(b"From:")[0].replace(b"192.0.2.7", b"127.0.0.1"), None),
    (BODY.partition(b"From:")[0], ["*.hoster.example", "mx.b.example"])])
def test_s37_a_client_that_is_not_known(config, block, trusted):
    """Postfix must not take the provider's machine, or a forged line, for the client."""
    message = block + b"From: anna@b.example\r\n\r\nhallo\r\n"
    with Pop3Fake([message]) as provider, xforward_sink() as sink:
        hand_on(config, provider, sink, xforward=True,
                provider_keys={"trusted_by": trusted} if trusted else {})
        expect(daemon.once(config), 0)
        assert sink.said("XFORWARD") == ["XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]"]


def test_s37_a_refusal_is_ignored_with_one_warning(config):
    with Pop3Fake([BODY + b"%d\r\n" % n for n in range(12)]) as provider, \
            xforward_sink(lambda s: "550 5.7.0 insufficient authorization") as sink:
        run = expect(daemon.once(hand_on(config, provider, sink, xforward=True)), 0)
        assert len(sink.transactions) == 12
        warnings = [w for w in run.log.find("relay.warning") if "XFORWARD" in w["message"]]
        assert len(warnings) == 1 and warnings[0]["reply"].startswith("550")
        assert len(sink.said("XFORWARD")) <= 4, "once per connection"
