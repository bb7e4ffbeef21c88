"""A provider's maildrop: UIDs that are none, reused or listed twice, sizes that lie, limits."""
import pytest
from conftest import expect, fake_provider
from mdtest import daemon, messages
from mdtest.pop3fake import Pop3Fake, quit_not_done
from mdtest.sink import Sink

NO_UIDL = {"UIDL": lambda session: "-ERR what?"}


def mails(*subjects):
    return [messages.stored("hans", s) for s in subjects]


def serve(config, provider, sink, provider_keys=None, **keys):
    fake_provider(config, provider, **(provider_keys or {}))
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", provider.password, **keys)
    return config


def subjects(sink):
    return sorted(messages.subject(body) for _, body in sink.recipients())


def test_p09_uidl_announced_and_refused_leaves_the_maildrop_alone(config):
    with Pop3Fake(mails("eins"), NO_UIDL) as provider, Sink() as sink:
        run = expect(daemon.once(serve(config, provider, sink)), 75)
        assert run.log.find("cycle.failed", account="sammel", error="UIDL")
        assert len(provider.maildrop) == 1 and not provider.said("RETR")


def test_p09_without_uidl_the_content_tells_messages_apart(config):
    """45 messages, two of them identical: in batches, each once; a lost QUIT repeats nothing."""
    twins = mails("Zwilling") * 2
    with Pop3Fake(mails(*(f"Nr {n:02}" for n in range(43))) + twins, NO_UIDL,
                  capabilities=("TOP", "USER", "PIPELINING")) as provider, Sink() as sink:
        serve(config, provider, sink, dedupe="0s")
        provider.behaviour["QUIT"] = [quit_not_done]
        expect(daemon.once(config), 75)
        assert len(provider.maildrop) == 45, "the QUIT was lost"
        for _ in range(5):
            daemon.once(config)
        assert provider.maildrop == []
        assert subjects(sink) == sorted([f"Nr {n:02}" for n in range(43)] + ["Zwilling"] * 2)


def test_p09_without_uidl_nothing_may_stay(config):
    with Pop3Fake(mails("eins"), NO_UIDL, capabilities=("USER",)) as provider, Sink() as sink:
        run = expect(daemon.once(serve(config, provider, sink, keep="forever")), 75)
        assert run.log.find("cycle.failed", error="UIDL") and sink.recipients() == []


def test_same_uid_twice_both_are_delivered(config):
    with Pop3Fake(mails("eins", "zwei")) as provider, Sink() as sink:
        provider.maildrop = [("uid-1", m) for _, m in provider.maildrop]
        expect(daemon.once(serve(config, provider, sink)), 0)
        assert subjects(sink) == ["eins", "zwei"] and provider.maildrop == []


def test_uid_reused_after_a_lost_quit_is_not_deleted_unseen(config):
    """The recorded message is gone, and another one has its UID: it is read before any DELE."""
    with Pop3Fake(mails("alt")) as provider, Sink() as sink:
        serve(config, provider, sink)
        provider.behaviour["QUIT"] = [quit_not_done]
        expect(daemon.once(config), 75)
        provider.maildrop = [("uid-1", messages.stored("hans", "ganz neu", b"anders\r\n" * 9))]
        expect(daemon.once(config), 0)
        assert subjects(sink) == ["alt", "ganz neu"] and provider.maildrop == []


def test_all_uids_new_overnight_sends_nothing_again(config):
    with Pop3Fake(mails("eins", "zwei")) as provider, Sink() as sink:
        serve(config, provider, sink, keep="forever")
        expect(daemon.once(config), 0)
        provider.maildrop = [(f"moved-{n}", m) for n, (_, m) in enumerate(provider.maildrop)]
        run = expect(daemon.once(config), 0)
        assert subjects(sink) == ["eins", "zwei"]
        assert len(run.log.find("message.suppressed")) == 2 and len(provider.maildrop) == 2


def test_p02_kept_mail_is_sent_once(config):
    with Pop3Fake(mails("eins", "zwei", "drei")) as provider, Sink() as sink:
        serve(config, provider, sink, keep="forever")
        for _ in range(2):
            expect(daemon.once(config), 0)
        assert subjects(sink) == ["drei", "eins", "zwei"]
        assert len(provider.maildrop) == 3 and not provider.said("DELE")


def list_sizes(value):
    """A LIST answer with sizes of its own."""
    def step(session):
        session._list(lambda uid, message: value(len(message)))
        return b""
    return step


def test_p34_shorter_than_listed_is_left_and_then_delivered_and_kept(config):
    with Pop3Fake(mails("kurz")) as provider, Sink() as sink:
        serve(config, provider, sink)
        provider.behaviour["LIST"] = list_sizes(lambda octets: octets + 2000)
        for _ in range(3):
            run = expect(daemon.once(config), 75)
            assert run.log.find("message.truncated") and sink.recipients() == []
        expect(daemon.once(config), 0)
        assert subjects(sink) == ["kurz"] and len(provider.maildrop) == 1
        expect(daemon.once(config), 0)
        assert subjects(sink) == ["kurz"], "held: not sent again"


@pytest.mark.parametrize("size", [lambda octets: octets // 2, lambda octets: 0])
def test_p33_listed_too_small_is_delivered(config, size):
    with Pop3Fake(mails("eins")) as provider, Sink() as sink:
        serve(config, provider, sink)
        provider.behaviour["LIST"] = list_sizes(size)
        expect(daemon.once(config), 0)
        assert subjects(sink) == ["eins"] and provider.maildrop == []


def test_size_check_off(config):
    with Pop3Fake(mails("eins")) as provider, Sink() as sink:
        serve(config, provider, sink, {"size_check": False})
        provider.behaviour["LIST"] = list_sizes(lambda octets: octets * 2)
        expect(daemon.once(config), 0)
        assert subjects(sink) == ["eins"]


def test_larger_than_max_size_is_held_and_not_fetched_again(config):
    big = messages.stored("hans", "groß".encode("ascii", "replace").decode(), b"x\r\n" * 50_000)
    with Pop3Fake([big] + mails("klein")) as provider, Sink() as sink:
        serve(config, provider, sink, max_size="64K")
        run = expect(daemon.once(config), 0)
        assert run.log.find("message.held", uidl="uid-1") and subjects(sink) == ["klein"]
        expect(daemon.once(config), 0)
        assert [c for c in provider.said("RETR")] == ["RETR 2"] and len(provider.maildrop) == 1


def test_larger_than_listed_and_than_max_size_is_held(config):
    """The listing lies: the limit counts what arrives; what is behind it is served next time."""
    big = messages.stored("hans", "riesig", b"x\r\n" * 50_000)
    with Pop3Fake([big] + mails("klein")) as provider, Sink() as sink:
        serve(config, provider, sink, max_size="64K")
        provider.behaviour["LIST"] = list_sizes(lambda octets: 100)
        run = expect(daemon.once(config), 75)
        assert run.log.find("message.held", uidl="uid-1") and run.log.find("limit.exceeded")
        daemon.once(config)
        assert subjects(sink) == ["klein"]


def test_c10_fetch_limit_oldest_first(config):
    with Pop3Fake(mails(*(f"Nr {n}" for n in range(5)))) as provider, Sink() as sink:
        serve(config, provider, sink, fetch_limit=2)
        for seen in (2, 4, 5):
            daemon.once(config)
            assert subjects(sink) == [f"Nr {n}" for n in range(seen)]


def test_p47_expire_0_never_quits_over_undelivered_mail(config):
    """What was only retrieved would be gone at QUIT: no QUIT, and a clean-up later."""
    with Pop3Fake(mails("eins", "zwei"), capabilities=("UIDL", "USER", "EXPIRE 0")) as provider, \
            Sink({"dot": ["250 2.0.0 fine", "451 4.3.0 later"]}) as sink:
        serve(config, provider, sink)
        config.relays["house"]["connections"] = 1
        expect(daemon.once(config), 75)
        assert not provider.said("QUIT") and len(provider.maildrop) == 2
        retrieved = len(provider.said("RETR"))
        daemon.once(config)
        assert len(provider.said("RETR")) == retrieved, "the cleaning session retrieves nothing"
        assert len(provider.maildrop) == 1
        expect(daemon.once(config), 0)
        assert subjects(sink) == ["eins", "zwei"] and provider.maildrop == []


def test_keep_for_some_days(config):
    with Pop3Fake(mails("eins")) as provider, Sink() as sink:
        serve(config, provider, sink, keep="7d")
        expect(daemon.once(config), 0)
        expect(daemon.once(config), 0)
        assert len(provider.maildrop) == 1 and subjects(sink) == ["eins"]
        config.accounts["sammel"]["keep"] = "none"
        expect(daemon.once(config), 0)
        assert provider.maildrop == [] and subjects(sink) == ["eins"]


def test_one_that_fails_ten_times_is_held_and_the_others_go_on(config):
    with Pop3Fake(mails("gut", "schlecht", "auch gut")) as provider, Sink() as sink:
        serve(config, provider, sink)
        provider.behaviour["RETR"] = (
            lambda session: "-ERR broken" if session.argument == "2" or
            len(session.snapshot) == 1 else None)
        for _ in range(10):
            expect(daemon.once(config), 75)
            assert subjects(sink) == ["auch gut", "gut"]
        run = expect(daemon.once(config), 0)
        assert run.log.find("message.held", uidl="uid-2") and len(provider.maildrop) == 1


def test_p51_handed_out_in_utf8_mode_only_is_held(config):
    with Pop3Fake(mails("eins", "zwei"), {"RETR": ["-ERR [UTF8] use UTF8"]}) as provider, \
            Sink() as sink:
        serve(config, provider, sink)
        run = expect(daemon.once(config), 0)
        assert run.log.find("message.held", uidl="uid-1") and subjects(sink) == ["zwei"]
        expect(daemon.once(config), 0)
        assert provider.said("RETR") == ["RETR 1", "RETR 2"], "held: not asked for again"


def test_p52_top_is_not_needed(config):
    with Pop3Fake(mails("eins"), {"TOP": lambda session: "-ERR no TOP here"},
                  capabilities=("UIDL", "USER")) as provider, Sink() as sink:
        expect(daemon.once(serve(config, provider, sink)), 0)
        assert subjects(sink) == ["eins"] and not provider.said("TOP")


def test_p54_listed_newest_first_none_is_skipped(config):
    """The numbers decide the order, whatever order the listing comes in."""
    def backwards(value):
        def step(session):
            lines = [f"{n + 1} {value(*entry)}\r\n" for n, entry in enumerate(session.snapshot)]
            session.send(("+OK\r\n" + "".join(reversed(lines)) + ".\r\n").encode())
            return b""
        return step

    with Pop3Fake(mails("eins", "zwei", "drei")) as provider, Sink() as sink:
        serve(config, provider, sink)
        provider.behaviour["UIDL"] = backwards(lambda uid, message: uid)
        provider.behaviour["LIST"] = backwards(lambda uid, message: len(message))
        expect(daemon.once(config), 0)
        assert provider.said("RETR") == ["RETR 1", "RETR 2", "RETR 3"]
        assert subjects(sink) == ["drei", "eins", "zwei"] and provider.maildrop == []


def test_only_listings_behind_a_confirmed_quit_forget_a_message(config):
    """Missing from two listings, the second behind a session whose QUIT nobody answered: it is
    known when it is listed again."""
    with Pop3Fake(mails("eins")) as provider, Sink() as sink:
        serve(config, provider, sink, keep="forever")
        expect(daemon.once(config), 0)
        there, provider.maildrop = provider.maildrop, []
        for _ in range(2):
            provider.behaviour["QUIT"] = [quit_not_done]
            daemon.once(config)
        provider.maildrop = there
        expect(daemon.once(config), 0)
        assert len(provider.said("RETR")) == 1 and subjects(sink) == ["eins"]
