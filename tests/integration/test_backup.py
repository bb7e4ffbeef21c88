"""A relay with backup_hosts: in order while the first is down, and back to it."""
import pytest
from conftest import expect, fake_provider
from mdtest import ctl, daemon, messages, net
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink


def mails(n):
    return [messages.stored("hans", f"Nr {i}") for i in range(n)]


def serve(config, provider, first, *backups, **relay):
    fake_provider(config, provider)
    config.relay("house", port=first, backup_hosts=[f"127.0.0.1:{b.port}" for b in backups],
                 **relay)
    config.account("sammel", "fake", "house", provider.password, interval="1s")
    return config


def warnings(log, text):
    return [w for w in log.find("relay.warning") if text in w["message"]]


def test_the_second_takes_what_the_first_cannot(config):
    with Pop3Fake(mails(20)) as provider, Sink() as second, Sink() as third:
        run = expect(daemon.once(serve(config, provider, net.free_port(), second, third)), 0)
        assert len(second.transactions) == 20 and third.connections == 0
        assert len(warnings(run.log, "backup host")) == 1 and not run.log.find("relay.down")


@pytest.mark.parametrize("stage, reply", [("greeting", "554 5.3.2 not today"),
                                          ("EHLO", "421 4.3.2 closing")])
def test_a_first_host_that_answers_and_refuses(config, stage, reply):
    with Pop3Fake(mails(1)) as provider, Sink({stage: lambda s: reply}) as first, \
            Sink() as second:
        run = expect(daemon.once(serve(config, provider, first.port, second)), 0)
        assert first.connections and len(second.transactions) == 1
        assert reply.split(" ", 1)[1] in warnings(run.log, "backup host")[0]["reason"]


def test_in_order_and_not_at_random(config):
    with Pop3Fake(mails(3)) as provider, Sink({"greeting": lambda s: "421 no"}) as second, \
            Sink() as third:
        expect(daemon.once(serve(config, provider, net.free_port(), second, third)), 0)
        assert second.connections and len(third.transactions) == 3


def test_a_refused_message_is_not_offered_to_the_next_host(config):
    """What a server says about a message is its word; only a dead server has a substitute."""
    with Pop3Fake(mails(1)) as provider, Sink({"MAIL": lambda s: "451 4.3.0 later"}) as first, \
            Sink() as second:
        expect(daemon.once(serve(config, provider, first.port, second)), 75)
        assert len(provider.maildrop) == 1 and second.connections == 0


def test_all_of_them_down_is_a_relay_that_is_down(config):
    with Pop3Fake(mails(3)) as provider:
        backups = [Sink(), Sink()]
        run = expect(daemon.once(serve(config, provider, net.free_port(), *backups)), 75)
        assert len(run.log.find("relay.down")) == 1 and len(provider.maildrop) == 3


def test_back_to_the_first(config):
    """Goes on while the first is down, and comes back to it under steady traffic."""
    with Pop3Fake(mails(1)) as provider, Sink() as first, Sink() as second:
        serve(config, provider, first.port, second, connections=1, idle_timeout="1h")
        with daemon.Daemon(config) as d:
            d.wait(lambda: first.transactions, what="the first message at the first host")
            first.stop()
            put(provider, d, second, 1)
            first.start()
            before = len(first.transactions)
            n = 1
            while len(first.transactions) == before:
                n += 1
                deliver_one(provider, d, (first, second), n)
            d.wait(lambda: warnings(d.log, "first host is usable again"), what="a notice")
            assert not d.log.find("relay.down")
            put(provider, d, first, 2)
            assert d.stop() == 0


def deliver_one(provider, d, sinks, n):
    had = sum(len(s.transactions) for s in sinks)
    with provider.lock:
        provider.maildrop.append((f"later-{n}", messages.stored("hans", f"weiter {n}")))
    d.wait(lambda: sum(len(s.transactions) for s in sinks) > had, what=f"message {n}")


def put(provider, d, sink, n):
    """One more message, which that sink gets."""
    had = len(sink.transactions)
    with provider.lock:
        provider.maildrop.append((f"put-{n}-{sink.port}", messages.stored("hans", f"nun {n}")))
    d.wait(lambda: len(sink.transactions) > had, what=f"the message at port {sink.port}")


def test_status_tells_that_a_backup_host_serves(config):
    with Pop3Fake(mails(1)) as provider, Sink() as second:
        with daemon.Daemon(serve(config, provider, net.free_port(), second)) as running:
            running.wait_event("message.delivered")
            relay, = ctl.status(config)["relays"]
            assert (relay["state"], relay["degraded"]) == ("up", True)
            page = ctl.ask(config, "status").stdout
            assert "relay house: its first host is down, a backup host serves\n" in page
