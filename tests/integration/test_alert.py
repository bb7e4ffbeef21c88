"""Mail to the people who run it: who is told of what, how often, and that it never comes back."""
import email
import email.policy
import re
import signal
from datetime import datetime

from conftest import expect, fake_provider
from mdtest import ctl, daemon, messages, net
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink
from test_patience import fast_clock
from test_watch import without_envelope

ADMIN = "admin@firma.example"
SOON = 20  # seconds; events that come together are gathered for five of them


def serve(config, provider, sink, password=None, to=ADMIN, **keys):
    fake_provider(config, provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", password or provider.password, **keys)
    config.top["alert_to"] = to
    return config


def alerts(sink, kind="", to=ADMIN):
    found = []
    for t in sink.transactions:
        mail = email.message_from_bytes(t.body, policy=email.policy.default)
        if t.recipients == [to] and mail.get("X-Multidrop-Alert", "").startswith(kind):
            found.append((t, mail))
    return found


def wait_alert(running, sink, kind, n=1, timeout=SOON, **more):
    running.wait(lambda: len(alerts(sink, kind, **more)) >= n, timeout, what=f"alert {kind}")
    return alerts(sink, kind, **more)[n - 1]


def add(provider, message):
    with provider.lock:
        uid = f"later-{len(provider.commands)}-{len(provider.maildrop)}"
        provider.maildrop.append((uid, message))


def text(mail):
    return re.sub(r"\n(> )?|\s+", " ", mail.get_content())


def lines_are_mail(body):
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", body)
    assert max(len(x) for x in body.split(b"\r\n")) <= 78


def test_suspended_account_is_told_once_an_hour(config):
    """One mail, null sender, no DSN, with the account, the reason and the command to go on."""
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, password="falsch-0815", interval="1s")
        with daemon.Daemon(config, **fast_clock(400)) as running:
            running.wait_event("account.suspended", account="sammel", timeout=90)
            transaction, mail = wait_alert(running, sink, "account.suspended")
            assert transaction.sender == ""
            assert any(ADMIN in x and "NOTIFY=NEVER" in x for x in sink.said("RCPT"))
            assert mail["To"] == ADMIN and mail["From"] == \
                "multidropd <multidropd@gate.firma.example>"
            assert mail["Auto-Submitted"] == "auto-generated" and mail["Date"]
            assert re.fullmatch(r"<[0-9a-f]+@gate\.firma\.example>", mail["Message-ID"])
            assert "sammel" in mail["Subject"] and "suspended" in mail["Subject"]
            said = text(mail)
            assert "[AUTH] wrong password" in said, said
            assert "falsch-0815" not in transaction.body.decode()
            assert "multidropctl resume sammel" in said
            lines_are_mail(transaction.body)
            # Suspended again, a minute later by its own clock: not before the hour is over.
            running.signal(signal.SIGHUP)
            expect(ctl.ask(config, "resume", "sammel"), 0)
            running.wait(lambda: len(running.log.find("account.suspended")) == 2, 90)
            assert len(alerts(sink)) == 1
            second = wait_alert(running, sink, "account.suspended", n=2, timeout=90)[1]
            assert second["Message-ID"] != mail["Message-ID"]
            gap = second["Date"].datetime - mail["Date"].datetime
            assert 3599 <= gap.total_seconds() < 3600 + 600
            running.kill()


def test_the_hour_is_over_for_no_restart(config):
    """The daemon and --once, before and after a restart: one mail for one matter in an hour."""
    def large(n):
        return messages.stored("hans", f"zu gross {n}", body=b"x" * 2000 + b"\r\n")
    with Pop3Fake([large(1), large(2)]) as provider, Sink() as sink:
        serve(config, provider, sink, max_size="1K")
        expect(daemon.once(config), 0)
        [(_, mail)] = alerts(sink, "message.held")
        assert "2 messages held" in mail["Subject"]
        assert "larger than max_size" in text(mail)
        assert "multidropctl held list" in text(mail)
        add(provider, large(3))
        with daemon.Daemon(config) as running:
            running.wait_event("message.held")
            running.wait_event("cycle.finished")
            assert running.stop() == 0
        add(provider, large(4))
        expect(daemon.once(config), 0)  # it waits for what it can send
        assert len(alerts(sink)) == 1


def test_header_missing_and_changed(config):
    with Pop3Fake([messages.stored("hans", f"Nr {n}") for n in range(20)]) as provider, \
            Sink() as sink:
        serve(config, provider, sink)
        expect(daemon.once(config), 0)
        assert alerts(sink) == []
        for n in range(5):
            add(provider, without_envelope(n))
        with daemon.Daemon(config) as running:
            _, missing = wait_alert(running, sink, "envelope.missing")
            _, changed = wait_alert(running, sink, "envelope.changed")
            assert running.stop() == 0
        assert "5 messages" in missing["Subject"]
        for mail in (missing, changed):
            assert "multidropctl probe -a sammel" in text(mail)
        assert len(alerts(sink)) == 2


def longer_than_a_blink(running, config, down):
    def passed():
        now = ctl.status(config)["now"]
        return (datetime.fromisoformat(now) - datetime.fromisoformat(down["time"])).seconds > 60
    running.wait(passed, what="a minute of the daemon's")


def test_relay_down_is_told_when_it_is_back(config):
    """The only relay cannot tell that it is down: one mail, with from and to."""
    sink = Sink()
    with Pop3Fake() as provider:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", provider.password, interval="10s")
        config.top["alert_to"] = ADMIN
        with daemon.Daemon(config, **fast_clock()) as running:
            [down] = running.wait_event("relay.down", relay="house")
            longer_than_a_blink(running, config, down)
            with sink:
                running.wait_event("relay.up", relay="house", timeout=60)
                _, mail = wait_alert(running, sink, "relay.up")
                assert alerts(sink, "relay.down") == []
                assert "relay house is back" in mail["Subject"]
                assert re.search(r"It was down from \d{4}-\S+ \S+ \S+ to \d{4}-", text(mail))
                running.kill()


def test_another_relay_tells_that_one_is_down(config):
    with Pop3Fake() as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=net.free_port())
        config.relay("other", port=sink.port)
        config.account("sammel", "fake", "house", provider.password)
        config.top |= {"alert_to": ADMIN, "alert_relay": "other"}
        with daemon.Daemon(config, **fast_clock()) as running:
            _, mail = wait_alert(running, sink, "relay.down")
            assert "relay house is down" in mail["Subject"]
            running.kill()


def two_relays(config, provider, house, other):
    fake_provider(config, provider)
    config.relay("house", port=house)
    config.relay("other", port=other)
    config.account("sammel", "fake", "house", provider.password)
    config.top |= {"alert_to": ADMIN, "alert_relay": "other"}


def test_relay_that_a_reload_mends_is_told_as_back(config):
    """The new relay has never been down itself: its name has, and people were told."""
    with Pop3Fake() as provider, Sink() as sink:
        two_relays(config, provider, net.free_port(), sink.port)
        with daemon.Daemon(config, **fast_clock()) as running:
            wait_alert(running, sink, "relay.down")
            config.relay("house", port=sink.port)
            config.write()
            expect(ctl.ask(config, "reload"), 0)
            _, mail = wait_alert(running, sink, "relay.up")
            assert "relay house is back" in mail["Subject"]
            assert re.search(r"It was down from \d{4}-\S+ \S+ \S+ to \d{4}-", text(mail))
            assert len(running.log.find("relay.up", relay="house")) == 1
            running.kill()


def test_relay_that_a_reload_removes_is_not_told_as_down(config):
    """Nobody was told yet that it is down, and now nobody uses it."""
    with Pop3Fake() as provider, Sink() as sink:
        two_relays(config, provider, net.free_port(), sink.port)
        with daemon.Daemon(config, **fast_clock(5)) as running:
            [down] = running.wait_event("relay.down", relay="house")
            del config.relays["house"]
            config.accounts["sammel"] |= {"relay": "other", "max_size": "1K"}
            config.write()
            expect(ctl.ask(config, "reload"), 0)
            assert alerts(sink) == []
            longer_than_a_blink(running, config, down)
            add(provider, messages.stored("hans", "zu gross", body=b"x" * 2000 + b"\r\n"))
            running.wait(lambda: "cycle" in ctl.ask(config, "fetch", "sammel").stdout)
            wait_alert(running, sink, "message.held")  # the other would have been before it
            assert len(alerts(sink)) == 1
            running.kill()


def test_reload_switches(config):
    """alert_to changes with a reload, and so does whether there are alerts at all."""
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, to=None)
        large = messages.stored("hans", "zu gross", body=b"x" * 2000 + b"\r\n")
        config.accounts["sammel"] |= {"max_size": "1K"}
        add(provider, large)
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.finished")
            config.top["alert_to"] = "chef@firma.example"
            config.write()
            expect(ctl.ask(config, "reload"), 0)
            add(provider, large.replace(b"zu gross", b"zu lang"))
            running.wait(lambda: "cycle" in ctl.ask(config, "fetch", "sammel").stdout)
            wait_alert(running, sink, "message.held", to="chef@firma.example")
            assert running.stop() == 0
        assert len(running.log.find("message.held")) == 2
        assert len(sink.transactions) == 1, "the one before the reload is nobody's"


def test_refused_alert_is_logged_once_and_disturbs_nothing(config):
    class Picky(dict):
        def get(self, stage, default=None):
            return "550 5.7.1 no null sender" if stage == "RCPT " + ADMIN else \
                super().get(stage, default)

    large = messages.stored("hans", "zu gross", body=b"x" * 2000 + b"\r\n")
    with Pop3Fake([large, messages.stored("hans", "klein")]) as provider, Sink() as sink:
        sink.behaviour = Picky()
        serve(config, provider, sink, max_size="1K")
        run = expect(daemon.once(config), 0)
        [warning] = run.log.find("relay.warning", reason="alert mail refused")
        assert warning["reply"] == "550 5.7.1 no null sender"
        assert warning["recipient"] == ADMIN and "alert_to" in warning["message"]
        assert [t.recipients for t in sink.transactions] == [["hans@firma.example"]]


class Poisoned(dict):
    """The relay puts off the first kind of alert that it sees, again and again."""

    def __init__(self):
        self.kind, self.tries = None, 0

    def get(self, stage, default=None):
        return self.answer if stage == "dot" else default

    def answer(self, session):
        found = re.search(rb"^X-Multidrop-Alert: (\S+);", session.server.attempts[-1].body, re.M)
        if not found:
            return None
        self.kind = self.kind or found[1].decode()
        if found[1].decode() != self.kind:
            return None
        self.tries += 1
        return "451 4.7.1 this one later"


def two_matters(config, provider, sink):
    """One message that is held, one without the header: two alerts at the same time."""
    add(provider, messages.stored("hans", "zu gross", body=b"x" * 2000 + b"\r\n"))
    add(provider, without_envelope(1))
    serve(config, provider, sink, max_size="1K")


def test_alert_that_is_always_put_off_lets_the_others_pass(config):
    with Pop3Fake() as provider, Sink() as sink:
        sink.behaviour = poisoned = Poisoned()
        two_matters(config, provider, sink)
        with daemon.Daemon(config, **fast_clock()) as running:
            running.wait(lambda: alerts(sink), 90, what="the other alert")
            assert poisoned.tries >= 3
            tries = poisoned.tries
            running.wait(lambda: poisoned.tries >= tries + 2, 90, what="its next turns")
            [(_, mail)] = alerts(sink)
            assert not mail["X-Multidrop-Alert"].startswith(poisoned.kind)
            [warning] = running.log.find("relay.warning", reason="alert mail put off")
            assert warning["reply"] == "451 4.7.1 this one later"
            assert warning["recipient"] == ADMIN
            running.kill()


def test_once_asks_for_each_alert(config):
    """--once has no time to wait for one: it asks for each, once."""
    with Pop3Fake() as provider, Sink() as sink:
        sink.behaviour = poisoned = Poisoned()
        two_matters(config, provider, sink)
        run = expect(daemon.once(config), 0)
        assert len(alerts(sink)) == 1 and poisoned.tries == 1
        assert len(run.log.find("relay.warning", reason="alert mail put off")) == 1


def test_alert_that_comes_back_raises_none(config):
    """Fetched again it is delivered like any mail, once more it is a loop and held: no alert."""
    large = messages.stored("hans", "zu gross", body=b"x" * 2000 + b"\r\n")
    with Pop3Fake([large]) as provider, Sink() as sink:
        serve(config, provider, sink, to="boss@outside.example", max_size="1K")
        expect(daemon.once(config), 0)
        [(first, _)] = alerts(sink, to="boss@outside.example")
        returned = first.body  # without an envelope header, so that is missing, too
        config.accounts["sammel"]["max_size"] = "100M"
        provider.maildrop.clear()
        add(provider, returned)
        run = expect(daemon.once(config), 0)
        assert run.log.find("envelope.missing") and not run.log.find("message.held")
        second = sink.transactions[-1]
        assert second.recipients == ["postmaster@firma.example"]
        assert b"X-Multidrop-Alert: message.held" in second.body
        add(provider, second.body)
        run = expect(daemon.once(config), 0)
        [held] = run.log.find("message.held")
        assert "mail loop" in held["reason"]
        # A stranger's imitation is no proof.
        add(provider, re.sub(rb"id=[0-9a-f]{8}", b"id=00000000", returned))
        expect(daemon.once(config), 0)
        assert len(alerts(sink, "envelope.missing", to="boss@outside.example")) == 1
        assert len(alerts(sink, "message.held", to="boss@outside.example")) == 1


def faults(config):
    config.write()
    return expect(daemon.check(config), 78).stderr


def test_faults_have_their_line(config):
    config.top["alert_to"] = ADMIN
    assert "conf:4: alert_to needs a relay" in faults(config)
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, to="nobody")
        assert re.search(r"conf:4: alert_to \"nobody\" is not a mail address", faults(config))
        config.top["alert_to"] = "a@x.example, b@x.example"
        assert re.search(r"conf:4: alert_to .* is more than one mail address, one is expected: "
                         r"for several people name an alias ", faults(config))
        config.top |= {"alert_to": ADMIN, "alert_relay": "gone"}
        assert re.search(r"conf:5: relay \"gone\" is not defined", faults(config))
        del config.top["alert_relay"]
        config.relay("other", port=sink.port)
        assert "conf:4: alert_to needs alert_relay: there are several relays" in faults(config)
        config.top |= {"alert_to": "SAMMEL@firma.example", "alert_relay": "other"}
        assert re.search(r"conf:4: alert_to is the maildrop of account \"sammel\"", faults(config))
        config.accounts["sammel"]["postmaster"] = "sammel@firma.example"
        config.write()
        assert expect(daemon.check(config), 0).stderr == ""
        del config.top["alert_to"]
        config.write()
        warned = expect(daemon.check(config), 0).stderr
        assert "conf:4: warning: alert_relay has no effect without alert_to" in warned
