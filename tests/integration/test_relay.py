"""What the relay is told: sender, extensions, transport (S18, S23, S29, S38, S39)."""
import pytest
from conftest import expect, fake_provider
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import CLOSE, Pop3Fake
from mdtest.sink import Sink

BODY = b"X-Original-To: hans@firma.example\r\nFrom: anna@outside.example\r\n\r\nhallo\r\n"


def serve(config, provider, sink, **relay):
    fake_provider(config, provider)
    config.relay("house", port=sink.port, **relay)
    config.account("sammel", "fake", "house", provider.password)
    return config


def mail_from(sink):
    return [line.split("<", 1)[1].split(">", 1)[0] for line in sink.said("MAIL")]


# S23: Return-Path lines of a message, and the reverse-path that comes of them. "!" is the fallback.
RETURN_PATHS = {
    "plain": (b"Return-Path: <a@b.example>\r\n", "a@b.example"),
    "null": (b"Return-Path: <>\r\n", ""),
    "two, topmost wins": (b"Return-Path: <a@b.example>\r\nReturn-Path: <c@d.example>\r\n",
                          "a@b.example"),
    "none": (b"", "!"),
    "garbage": (b"Return-Path: nobody here\r\n", "!"),
    "white space": (b"Return-Path: <a @b.example>\r\n", "!"),
    "bare CR": (b"Return-Path: <a@b.example>\r MAIL FROM:<x@y.example>\r\n", "!"),
    "300 octets": (b"Return-Path: <" + b"a" * 290 + b"@b.example>\r\n", "!"),
}


def test_discarded_recipient_is_on_record(config):
    """unknown = "discard": whoever asks finds who did not get it, and why."""
    with Pop3Fake([BODY]) as provider, Sink({"RCPT": "550 5.1.1 nobody here"}) as sink:
        serve(config, provider, sink)
        config.accounts["sammel"]["unknown"] = "discard"
        run = expect(daemon.once(config), 0)
        [line] = run.log.find("message.discarded", recipient="hans@firma.example")
        assert "nobody here" in line["reply"] and provider.maildrop == []
        traced = ctl.run("trace", "-c", config.path, "--json", "hans@firma.example")
        assert '"discarded"' in traced.stdout and "nobody here" in traced.stdout


@pytest.mark.parametrize("name", RETURN_PATHS)
def test_s23_return_path_becomes_mail_from(config, name):
    header, sender = RETURN_PATHS[name]
    with Pop3Fake([header + BODY]) as provider, Sink() as sink:
        serve(config, provider, sink, sender_fallback="fallback@firma.example")
        expect(daemon.once(config), 0)
        assert mail_from(sink) == ["fallback@firma.example" if sender == "!" else sender]
        assert b"return-path" not in sink.transactions[0].body.lower()


@pytest.mark.parametrize("rule, sender", [("null", ""), ("post@firma.example",) * 2])
def test_sender_of_the_administrators_choice(config, rule, sender):
    with Pop3Fake([b"Return-Path: <a@b.example>\r\n" + BODY]) as provider, Sink() as sink:
        expect(daemon.once(serve(config, provider, sink, sender=rule)), 0)
        assert mail_from(sink) == [sender]


def test_s29_eight_bit_is_announced_where_it_can_be_and_sent_all_the_same(config):
    body = messages.stored("hans", "acht Bit", "Grüße\r\n".encode())
    for offered in (True, False):
        with Pop3Fake([body]) as provider, Sink() as sink:
            if not offered:
                sink.behaviour["EHLO"] = lambda session: b"250-sink\r\n250 PIPELINING\r\n"
            config.accounts.clear()
            serve(config, provider, sink)
            config.account(f"acht-{offered}", "fake", "house", provider.password)
            del config.accounts["sammel"]
            expect(daemon.once(config), 0)
            (line,) = sink.said("MAIL")
            assert ("BODY=8BITMIME" in line) == offered
            assert "Grüße".encode() in sink.transactions[0].body


def test_s38_lmtp_is_no_protocol_for_port_25(config):
    with Pop3Fake() as provider, Sink(lmtp=True) as sink:
        serve(config, provider, sink, protocol="lmtp")
        config.relays["house"]["port"] = 25
        config.write()
        run = expect(daemon.check(config), 78)
        assert "25" in run.stderr and "LMTP" in run.stderr


def test_s39_recipient_taken_with_251_and_252(config):
    with Pop3Fake([BODY, BODY + b"zwei\r\n"]) as provider, \
            Sink({"RCPT": ["251 2.1.5 forwarded", "252 2.1.5 who knows"]}) as sink:
        expect(daemon.once(serve(config, provider, sink)), 0)
        assert len(sink.transactions) == 2 and provider.maildrop == []


def test_s18_session_that_turns_out_to_be_closed_costs_nothing(config):
    """The second message finds its pooled session gone: one fresh try, nothing deferred or down."""
    with Pop3Fake([BODY, BODY + b"zwei\r\n"]) as provider, Sink({"MAIL": [None, CLOSE]}) as sink:
        serve(config, provider, sink, connections=1)
        run = expect(daemon.once(config), 0)
        assert len(sink.transactions) == 2 and len(sink.said("EHLO")) == 2
        assert not run.log.find("message.deferred") and not run.log.find("relay.down")
        assert provider.maildrop == []
