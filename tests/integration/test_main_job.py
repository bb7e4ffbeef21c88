"""The main job with real servers: a catch-all maildrop in Dovecot, Postfix as in-house server."""
import smtplib

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink, SmtpSink


def mail(recipient="hans", subject="Hallo", **keys):
    return messages.stored(recipient, subject, **keys)


def subjects(postfix, mailbox):
    return sorted(messages.subject(m) for m in postfix.messages(mailbox))


def put_kinds(dovecot, box, large):
    wanted = {}
    for kind in messages.kinds(large):
        for copy, mailbox in zip(kind.copies, kind.mailboxes):
            dovecot.put(box, copy)
            wanted.setdefault(mailbox, []).append(messages.subject(copy))
    return {mailbox: sorted(subjects) for mailbox, subjects in wanted.items()}


def test_each_kind_reaches_its_person_once(house, dovecot, postfix, box):
    wanted = put_kinds(dovecot, box, large=1_000_000)
    run = expect(daemon.once(house), 0)
    assert {m: subjects(postfix, m) for m in postfix.mailboxes} == wanted
    assert dovecot.count(box) == 0
    assert len(run.log.find("message.delivered", account="sammel")) == 10
    assert len(run.log.find("message.deleted", account="sammel")) == 10
    assert run.log.find("cycle.finished", account="sammel")

    expect(daemon.once(house), 0)
    assert {m: subjects(postfix, m) for m in postfix.mailboxes} == wanted


def test_message_arrives_with_our_trace_and_otherwise_unchanged(house, dovecot, postfix, box):
    bodies = {"dots": b".\r\n..\r\n.x\r\n\r\n.", "eight bit": bytes(range(128, 256)) + b"\r\n",
              "empty": b"", "no line end": b"the end", "long line": b"x" * 5000 + b"\r\n"}
    sent = {}
    for name, body in bodies.items():
        sent[name] = mail("eva", name, body=body, fields="X-Multidrop-Id: forged\r\n"
                          "X-Multidrop-Reason: forged\r\nReceived: from a by b; then\r\n")
        dovecot.put(box, sent[name])
    expect(daemon.once(house), 0)
    got = {messages.subject(m): postfix.as_relayed(m) for m in postfix.messages("eva")}
    assert sorted(got) == sorted(bodies)
    for name, message in got.items():
        added, fields, body = messages.arrived(message)
        received = added[0].decode()
        assert received.startswith("Received: from localhost (") and "127.0.0.1" in received
        assert "by gate.firma.example (multidropd) with POP3S id " in " ".join(received.split())
        assert "for <eva@firma.example>;" in " ".join(received.split())
        assert [f.split(b":")[0] for f in added[1:]] == [b"X-Multidrop-Id"]
        assert b"forged" not in added[1]
        want_fields, want_body = messages.expected(sent[name])
        assert fields == want_fields, name
        # The Maildir's last line has an end, whether the message's had one or not.
        assert body.rstrip(b"\n") == want_body.rstrip(b"\n"), name


def test_envelope_sender_is_the_return_path(house, dovecot, postfix, box):
    dovecot.put(box, mail("hans", "von Anna", sender="anna@outside.example"))
    dovecot.put(box, mail("hans", "Autoreply", sender=""))
    expect(daemon.once(house), 0)
    got = {messages.subject(m): messages.field(m, "Return-Path")[0]
           for m in postfix.messages("hans")}
    assert got == {"von Anna": "<anna@outside.example>", "Autoreply": "<>"}


def test_unknown_recipient_goes_to_postmaster_with_the_reason(house, dovecot, postfix, box):
    dovecot.put(box, mail("niemand"))
    expect(daemon.once(house), 0)
    (message,) = postfix.messages("postmaster")
    assert "niemand@firma.example" in messages.field(message, "X-Multidrop-Reason")[0]
    assert dovecot.count(box) == 0


def test_foreign_and_missing_recipients_are_never_sent_outside(house, dovecot, postfix, box):
    dovecot.put(box, mail("ceo@corp.example", "fremd"))
    dovecot.put(box, b"From: a@b.example\r\nTo: hans@firma.example\r\nSubject: ohne\r\n\r\nx\r\n")
    run = expect(daemon.once(house), 0)
    assert subjects(postfix, "postmaster") == ["fremd", "ohne"]
    assert subjects(postfix, "hans") == []
    assert run.log.find("envelope.missing", account="sammel")


def test_single_mode_delivers_everything_to_one(house, dovecot, postfix, box):
    account = house.accounts["sammel"]
    del account["domains"], account["postmaster"]
    account.update(mode="single", recipient="otto@firma.example")
    dovecot.put(box, mail("hans", "eins"))
    dovecot.put(box, b"Subject: zwei\r\n\r\nno envelope at all\r\n")
    expect(daemon.once(house), 0)
    assert subjects(postfix, "otto") == ["eins", "zwei"]
    assert dovecot.count(box) == 0


def test_keep_forever_leaves_the_maildrop_alone(house, dovecot, postfix, box):
    house.accounts["sammel"]["keep"] = "forever"
    for n in range(3):
        dovecot.put(box, mail("hans", f"Nr {n}"))
    expect(daemon.once(house), 0)
    dovecot.put(box, mail("hans", "Nr 3"))
    expect(daemon.once(house), 0)
    assert subjects(postfix, "hans") == ["Nr 0", "Nr 1", "Nr 2", "Nr 3"]
    assert dovecot.count(box) == 4


def test_dry_run_prints_the_plan_and_changes_nothing(house, dovecot, postfix, box):
    dovecot.put(box, mail("hans"))
    dovecot.put(box, mail("ceo@corp.example", "fremd"))
    run = expect(daemon.once(house, "--dry-run"), 0)
    assert "hans@firma.example" in run.stdout and "postmaster@firma.example" in run.stdout
    assert dovecot.count(box) == 2
    assert all(not postfix.messages(m) for m in postfix.mailboxes)
    expect(daemon.once(house), 0)
    assert subjects(postfix, "hans") == ["Hallo"]


def test_stls(house, dovecot, postfix, box):
    house.providers["hoster"].update(tls="starttls", port=dovecot.pop3)
    dovecot.put(box, mail())
    expect(daemon.once(house), 0)
    (message,) = postfix.messages("hans")
    assert "with POP3S id" in messages.field(postfix.as_relayed(message), "Received")[0]


def test_only_the_named_account_runs(house, dovecot, postfix, box):
    other = "other-" + box
    house.account("zweites", "hoster", "house", PASSWORD, user=other)
    dovecot.put(box, mail("hans"))
    dovecot.put(other, mail("eva"))
    expect(daemon.once(house, "--account", "zweites"), 0)
    assert (dovecot.count(box), dovecot.count(other)) == (1, 0)


def test_minimum_interval_holds_across_processes(house, dovecot, postfix, box):
    house.providers["hoster"]["min_interval"] = "5m"
    dovecot.put(box, mail("hans", "eins"))
    expect(daemon.once(house), 0)
    dovecot.put(box, mail("hans", "zwei"))
    run = expect(daemon.once(house), 75)
    (skipped,) = run.log.find("cycle.skipped", account="sammel")
    assert skipped["reason"] == "not-due"
    assert subjects(postfix, "hans") == ["eins"]


@pytest.mark.parametrize("by", ["tcp", "unix"])
def test_lmtp(house, dovecot, box, by):
    inbox = f"inbox-{by}-{box.split('@')[0]}"
    address = {"tcp": {"host": "127.0.0.1", "port": dovecot.lmtp},
               "unix": {"host": "unix:" + dovecot.lmtp_socket, "port": None}}[by]
    house.relays["house"] = {"protocol": "lmtp", "tls": "none", **address}
    dovecot.put(box, mail(inbox))
    expect(daemon.once(house), 0)
    (message,) = dovecot.messages(inbox)
    assert messages.subject(message) == "Hallo"
    assert dovecot.count(box) == 0


def test_lmtp_answers_for_each_recipient(config):
    """S30: 250, 450 and 550 behind one final dot; the next cycle asks for the second one only."""
    with Pop3Fake([THREE + mail("hans", "An drei")]) as provider, Sink(lmtp=True) as sink:
        fake_provider(config, provider, envelope=[("X-Envelope-To", {})])
        config.relay("house", protocol="lmtp", port=sink.port)
        config.account("sammel", "fake", "house", provider.password)
        sink.behaviour.update({"dot eva@firma.example": ["452 4.2.2 full"],
                               "dot otto@firma.example": ["550 5.1.1 gone"]})
        expect(daemon.once(config), 75)
        assert accepted(sink) == ["hans", "postmaster"]
        expect(daemon.once(config), 0)
        assert accepted(sink) == ["eva", "hans", "postmaster"]
        assert provider.maildrop == []


THREE = b"X-Envelope-To: hans@firma.example, eva@firma.example, otto@firma.example\r\n"


@pytest.fixture
def one_for_three(config):
    """One stored message that names three recipients, and a sink that obeys."""
    message = THREE + mail("hans", "An drei")
    with Pop3Fake([message]) as provider, Sink() as sink:
        fake_provider(config, provider, envelope=[("X-Envelope-To", {})])
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", provider.password)
        yield config, provider, sink


def accepted(sink):
    return sorted(recipient.split("@")[0] for recipient, _ in sink.recipients())


def test_refused_for_now_is_sent_again_to_that_one_only(one_for_three):
    config, provider, sink = one_for_three
    sink.behaviour["RCPT otto@firma.example"] = ["450 4.2.0 greylisted"]
    run = expect(daemon.once(config), 75)
    assert accepted(sink) == ["eva", "hans"]
    (deferred,) = run.log.find("message.deferred", recipient="otto@firma.example")
    assert "greylisted" in deferred["reply"]
    assert len(provider.maildrop) == 1
    expect(daemon.once(config), 0)
    assert accepted(sink) == ["eva", "hans", "otto"]
    assert provider.maildrop == []


def test_refused_for_good_goes_to_postmaster_and_the_others_get_theirs(one_for_three):
    config, provider, sink = one_for_three
    sink.behaviour["RCPT otto@firma.example"] = lambda session: "550 5.1.1 no such user"
    expect(daemon.once(config), 0)
    assert accepted(sink) == ["eva", "hans", "postmaster"]
    assert provider.maildrop == []


def test_no_blind_copy_leaks_and_no_bounce_is_asked_for(one_for_three):
    config, provider, sink = one_for_three
    expect(daemon.once(config), 0)
    assert accepted(sink) == ["eva", "hans", "otto"]
    for _, body in sink.recipients():
        head = body.partition(b"\r\n\r\n")[0].lower()
        assert b"eva@" not in head and b"otto@" not in head and b"x-envelope-to" not in head
    assert all("NOTIFY=NEVER" in c for c in sink.said("RCPT"))


def test_message_refused_for_good_is_held_once(one_for_three):
    config, provider, sink = one_for_three
    sink.behaviour["dot"] = lambda session: "554 5.6.0 not this one"
    run = daemon.once(config)
    assert run.log.find("message.held", account="sammel"), repr(run)
    attempts = len(sink.attempts)
    daemon.once(config)
    assert len(sink.attempts) == attempts and len(provider.said("RETR")) == 1
    assert len(provider.maildrop) == 1


def test_same_mail_stored_twice_for_one_person_arrives_once(config):
    copies = [mail("hans", "doppelt", ident="same")] * 2 + [mail("eva", "doppelt", ident="same")]
    with Pop3Fake(copies) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", provider.password)
        run = expect(daemon.once(config), 0)
        assert accepted(sink) == ["eva", "hans"]
        assert len(run.log.find("message.suppressed", recipient="hans@firma.example")) == 1
        assert provider.maildrop == []


def test_large_message_to_a_relay_that_keeps_up(house, dovecot, box):
    """Output that goes out at once never blocks: the rest of the body must follow all the same."""
    target = SmtpSink().start()
    try:
        house.relays["house"] = {"host": "127.0.0.1", "port": target.port, "tls": "none"}
        dovecot.put(box, messages.stored("hans", "large", (b"x" * 70 + b"\r\n") * 500_000))
        expect(daemon.once(house), 0)
        assert dovecot.count(box) == 0
    finally:
        assert target.stop() == 1


def test_smtp_sink_takes_more_than_a_pipe_of_counts():
    """What it prints on the way is more than 64 KiB."""
    target = SmtpSink().start()
    try:
        with smtplib.SMTP("127.0.0.1", target.port, timeout=20) as client:
            for _ in range(4000):
                client.sendmail("", "hans@firma.example", b"x")
    finally:
        assert target.stop() == 4000
