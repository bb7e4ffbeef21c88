"""The window that no protocol closes, beyond one message and one lost answer: what goes out because
of it is marked and carries the id of the copy that the relay may have, and it comes to an end."""
import sqlite3

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import CLOSE, Sink

ATTEMPTS_MAX = 10
MAIL = messages.stored("hans", "Nr 1", b"Guten Tag!\r\n")


def serve(config, provider, sink, **keys):
    fake_provider(config, provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", PASSWORD, **keys)
    return config


def ids(sink):
    """All that reached its final dot: the relay may have any of it."""
    return [messages.field(t.body, "X-Multidrop-Id")[0] for t in sink.attempts]


def marks(sink):
    return [bool(messages.field(t.body, "X-Multidrop-In-Doubt")) for t in sink.attempts]


def no_pause(config):
    """What waits for its next try need not."""
    with sqlite3.connect(f"{config.state}/state.db") as db:
        db.execute("UPDATE message SET retry_at = 0")
    db.close()


def test_second_copy_while_the_first_is_in_doubt(config):
    """The provider stored it twice, and the first one's answer got lost."""
    with Pop3Fake([MAIL, MAIL]) as provider, Sink({"dot": [CLOSE]}) as sink:
        serve(config, provider, sink)
        expect(daemon.once(config), 75)
        expect(daemon.once(config), 0)
        assert provider.maildrop == []
        assert marks(sink) == [False, True] and len(set(ids(sink))) == 1


def test_all_uids_change_while_one_is_in_doubt(config):
    with Pop3Fake([MAIL], capabilities=("UIDL", "PIPELINING")) as provider, \
            Sink({"dot": [CLOSE, CLOSE]}) as sink:
        serve(config, provider, sink)
        expect(daemon.once(config), 75)
        provider.maildrop = [("moved-1", MAIL)]
        expect(daemon.once(config), 75)  # this answer is lost too
        provider.maildrop = [("moved-again-1", MAIL)]
        run = expect(daemon.once(config), 0)
        assert run.log.find("message.in_doubt", account="sammel", uidl="moved-again-1")
        assert provider.maildrop == []
        assert marks(sink) == [False, True, True] and len(set(ids(sink))) == 1


def test_what_the_relay_refused_leaves_no_doubt(config):
    """A dot that was answered 451 is no copy: the other stored copy goes out as usual."""
    with Pop3Fake([MAIL, MAIL]) as provider, \
            Sink({"dot": ["451 4.3.0 later", "451 4.3.0 later"]}) as sink:
        serve(config, provider, sink)
        expect(daemon.once(config), 75)
        expect(daemon.once(config), 0)
        assert provider.maildrop == []
        assert len(sink.transactions) == 1 and True not in marks(sink)


def test_held_as_the_copy_in_doubt_is(config):
    with Pop3Fake([MAIL, MAIL]) as provider, Sink({"dot": [CLOSE]}) as sink:
        serve(config, provider, sink, in_doubt="hold")
        run = daemon.once(config)
        assert len(run.log.find("message.held", account="sammel")) == 2
        assert len(sink.attempts) == 1 and len(provider.maildrop) == 2
        # A person lets both go. The recipient has the second one with the first.
        expect(ctl.run("held", "release", "2", "-c", config.write()), 0)
        expect(ctl.run("held", "release", "1", "-c", config.write()), 0)
        expect(daemon.once(config), 0)
        assert marks(sink) == [False, True] and provider.maildrop == []
        assert len(set(ids(sink))) == 1


def test_redirect_does_not_revive_the_postmaster(config):
    """Released to somebody else: nobody but him gets it, whoever was in doubt."""
    behaviour = {"RCPT hans@firma.example": lambda _: "550 5.1.1 no such user", "dot": [CLOSE]}
    with Pop3Fake([MAIL]) as provider, Sink(behaviour) as sink:
        serve(config, provider, sink, in_doubt="hold", unknown="postmaster")
        assert daemon.once(config).log.find("message.held", account="sammel")
        expect(ctl.run("held", "release", "--to", "eva@firma.example", "1", "-c",
                       config.write()), 0)
        expect(daemon.once(config), 0)
        assert [t.accepted for t in sink.transactions] == [["eva@firma.example"]]
        assert provider.maildrop == []


@pytest.mark.parametrize("stage", ["dot", "inside DATA"])
def test_message_that_breaks_each_connection_is_held(config, stage):
    """The relay hangs up over this one message, always: after ten attempts a person has to look."""
    def break_off(session):
        if stage == "dot":
            return CLOSE
        session.say("354 go ahead")
        session.read_line()
        return CLOSE

    behaviour = {"dot" if stage == "dot" else "DATA": break_off}
    with Pop3Fake([MAIL]) as provider, Sink(behaviour) as sink:
        serve(config, provider, sink)
        for attempt in range(ATTEMPTS_MAX):
            run = daemon.once(config)
            assert not run.log.find("message.held"), f"attempt {attempt + 1}"
            no_pause(config)
        run = daemon.once(config)
        assert run.log.find("message.held", account="sammel"), repr(run)
        assert len(provider.maildrop) == 1
        seen = len(provider.said("RETR"))
        daemon.once(config)
        assert len(provider.said("RETR")) == seen
        assert marks(sink) == ([False] + [True] * (ATTEMPTS_MAX - 1) if stage == "dot" else [])


def test_connection_that_breaks_before_the_content_charges_nobody(config):
    behaviour = {"RCPT": lambda _: CLOSE}
    with Pop3Fake([MAIL]) as provider, Sink(behaviour) as sink:
        serve(config, provider, sink)
        for _ in range(ATTEMPTS_MAX + 2):
            daemon.once(config)
            no_pause(config)
        sink.behaviour.clear()
        expect(daemon.once(config), 0)
        assert provider.maildrop == [] and len(sink.transactions) == 1


def test_message_without_uidl_that_is_never_answered_is_held(config):
    """Its row is found by content alone: the attempts count all the same."""
    with Pop3Fake([MAIL], {"UIDL": lambda _: "-ERR what?"}, capabilities=("USER",)) as provider, \
            Sink({"dot": lambda _: CLOSE}) as sink:
        serve(config, provider, sink)
        for _ in range(ATTEMPTS_MAX):
            assert not daemon.once(config).log.find("message.held")
            no_pause(config)
        run = daemon.once(config)
        assert run.log.find("message.held", account="sammel"), repr(run)
        assert marks(sink) == [False] + [True] * (ATTEMPTS_MAX - 1)
        daemon.once(config)
        assert len(sink.attempts) == ATTEMPTS_MAX and len(provider.maildrop) == 1
