"""What the daemon notices around it: a provider that changes, a relay that will bounce."""
from conftest import fake_provider
from mdtest import daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink


def serve(config, provider, sink):
    fake_provider(config, provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", provider.password)
    return config


def without_envelope(number):
    stored = messages.stored("hans", f"ohne {number}")
    return stored.replace(b"X-Original-To: hans@firma.example\r\n", b"")


def asked(sink):
    return [line for line in sink.said("RCPT") if "no-such-user-" in line]


def risk(running):
    return [e for e in running.log.find("relay.warning") if e.get("reason") == "backscatter risk"]


def test_relay_that_takes_any_address_is_named_once_a_day(config):
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait(lambda: risk(running), what="the warning")
            (question,) = asked(sink)
            assert "@firma.example>" in question
            assert not sink.said("DATA") and sink.transactions == []
            assert running.stop() == 0
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.finished", account="sammel")
            assert running.stop() == 0
        assert len(asked(sink)) == 1, "asked again within a day"


def test_relay_that_refuses_unknown_addresses_is_fine(config):
    class Strict(dict):
        def get(self, stage, default=None):
            unknown = stage.startswith("RCPT no-such-user-")
            return "550 5.1.1 unknown" if unknown else super().get(stage, default)

    with Pop3Fake([messages.stored("hans", "Hallo")]) as provider, Sink() as sink:
        sink.behaviour = Strict()
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait_event("message.deleted", account="sammel")
            running.wait(lambda: asked(sink), what="the question")
            assert running.stop() == 0
            assert not risk(running)


def test_header_that_stops_coming(config):
    """20 messages with the header, then 5 without: said once; the messages go to the postmaster."""
    usual = [messages.stored("hans", f"Nr {n}") for n in range(20)]
    with Pop3Fake(usual) as provider, Sink() as sink:
        serve(config, provider, sink)
        run = daemon.once(config)
        assert run.status == 0 and not run.log.find("envelope.changed")
        for n in range(4):
            provider.maildrop.append((f"o-{n}", without_envelope(n)))
        run = daemon.once(config)
        assert len(run.log.find("envelope.missing")) == 4 and not run.log.find("envelope.changed")
        provider.maildrop.extend((f"p-{n}", without_envelope(n + 4)) for n in range(2))
        run = daemon.once(config)
        (event,) = run.log.find("envelope.changed", account="sammel")
        assert event["level"] == "error" and "found in 20 of the last 25" in event["reason"]
        people = [r for r, body in sink.recipients() if messages.subject(body).startswith("ohne")]
        assert people == ["postmaster@firma.example"] * 6
