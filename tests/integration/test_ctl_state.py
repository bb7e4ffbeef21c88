"""Held messages, trace and adopt: what multidropctl asks the state and decides in it."""
import json
import os

import pytest
from conftest import expect, fake_provider
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import CLOSE, Sink

HANS, EVA, OTTO = (f"{name}@firma.example" for name in ("hans", "eva", "otto"))


@pytest.fixture
def peers():
    with Pop3Fake() as provider, Sink() as sink:
        yield provider, sink


@pytest.fixture
def house(config, peers):
    """Mail to info@ goes to Hans and Eva; what the relay refuses for good is held."""
    provider, sink = peers
    fake_provider(config, provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", provider.password, unknown="hold",
                   map=[f"info@firma.example = {HANS}, {EVA}"])
    return config


def put(provider, recipient, subject, **keys):
    uid = "uid-" + subject
    provider.maildrop.append((uid, messages.stored(recipient, subject, **keys)))
    return uid


def ctl_(config, *words, status=0):
    return expect(ctl.run(*words, "-c", config.write()), status)


def held(config):
    return json.loads(ctl_(config, "held", "list", "--json").stdout)


def trace(config, pattern):
    return json.loads(ctl_(config, "trace", "--json", pattern).stdout)


def outcomes(record):
    return {r["address"]: r["outcome"] for r in record["recipients"]}


def delivered(sink):
    return sorted((messages.subject(body), who) for who, body in sink.recipients())


def refuse(sink, *addresses):
    for address in addresses:
        sink.behaviour["RCPT " + address] = lambda _: "550 5.1.1 no such user"


@pytest.fixture
def one_held(house, peers):
    """Hans has it, Eva was refused. Returns the message's number."""
    provider, sink = peers
    put(provider, "info", "Angebot")
    refuse(sink, EVA)
    run = expect(daemon.once(house), 0)
    assert run.log.find("message.held", account="sammel")
    assert delivered(sink) == [("Angebot", HANS)]
    (message,) = held(house)
    return message["id"]


def test_held_message_is_listed_and_shown(house, peers, one_held):
    """F16: it waits on the provider's server, across restarts, and is not fetched again."""
    provider, sink = peers
    expect(daemon.once(house), 0)
    assert len(provider.said("RETR")) == 1 and len(provider.maildrop) == 1
    (message,) = held(house)
    assert message["account"] == "sammel" and message["uidl"] == "uid-Angebot"
    assert message["message_id"] == "<Angebot@outside.example>"
    assert message["sender"] == "anna@outside.example" and message["attempts"] == 1
    assert message["size"] == len(provider.maildrop[0][1]) and message["state"] == "held"
    assert outcomes(message) == {HANS: "accepted", EVA: "unknown"}
    text = ctl_(house, "held", "list").stdout
    assert "anna@outside.example" in text and "550 5.1.1 no such user" in text
    text = ctl_(house, "held", "show", str(one_held)).stdout
    assert f"{HANS}: delivered" in text and f"{EVA}: refused" in text and "now: held" in text
    assert json.loads(ctl_(house, "held", "show", "--json", str(one_held)).stdout) == message


def test_release_serves_those_who_have_not_got_it(house, peers, one_held):
    provider, sink = peers
    ctl_(house, "held", "release", str(one_held))
    expect(daemon.once(house), 0)  # the relay still refuses: held again
    assert [m["id"] for m in held(house)] == [one_held]
    sink.behaviour.clear()
    ctl_(house, "held", "release", str(one_held))
    assert held(house) == []
    expect(daemon.once(house), 0)
    expect(daemon.once(house), 0)
    assert delivered(sink) == [("Angebot", EVA), ("Angebot", HANS)]
    assert provider.maildrop == []


def test_release_to_another_address(house, peers, one_held):
    provider, sink = peers
    for wrong in ("nobody", "a@b, c@d", "", f"{HANS}\r\nDATA"):
        ctl_(house, "held", "release", "--to", wrong, str(one_held), status=1)
    run = ctl_(house, "held", "release", "--to", HANS, str(one_held), status=1)
    assert "has it already" in run.stderr
    refuse(sink, OTTO)
    ctl_(house, "held", "release", "--to", OTTO, str(one_held))
    expect(daemon.once(house), 0)
    (message,) = held(house)  # the word counts, but the relay has the last one
    assert message["redirect"] == OTTO
    del sink.behaviour["RCPT " + OTTO]
    ctl_(house, "held", "release", "--to", OTTO, str(one_held))
    expect(daemon.once(house), 0)
    assert delivered(sink) == [("Angebot", HANS), ("Angebot", OTTO)]
    assert provider.maildrop == []
    assert len([line for line in sink.said("RCPT") if EVA in line]) == 1


def test_what_would_only_be_held_again_is_refused(house, peers):
    provider, sink = peers
    house.accounts["sammel"]["max_size"] = "1K"
    put(provider, "hans", "Plaene", body=b"x" * 70 + b"\r\n" * 2000)
    expect(daemon.once(house), 0)
    (message,) = held(house)
    run = ctl_(house, "held", "release", str(message["id"]), status=1)
    assert "max_size" in run.stderr and len(held(house)) == 1
    house.accounts["sammel"]["max_size"] = "1M"
    ctl_(house, "held", "release", str(message["id"]))
    expect(daemon.once(house), 0)
    assert delivered(sink) == [("Plaene", HANS)]


def test_release_from_doubt_is_marked(house, peers):
    provider, sink = peers
    house.accounts["sammel"]["in_doubt"] = "hold"
    put(provider, "hans", "Zweifel")
    sink.behaviour["dot"] = [CLOSE]
    daemon.once(house)
    daemon.once(house)
    (message,) = held(house)
    assert outcomes(message) == {HANS: "in-doubt"} and delivered(sink) == []
    ctl_(house, "held", "release", str(message["id"]))
    expect(daemon.once(house), 0)
    ((_, body),) = sink.recipients()
    assert messages.field(body, "X-Multidrop-In-Doubt") == ["yes"]


@pytest.mark.parametrize("unknown", ["hold", "postmaster", "discard"])
def test_trace_shows_who_is_not_in_recipients_file(house, peers, unknown):
    """And once he is in it, he gets the mail that was held for him."""
    provider, sink = peers
    account = house.accounts["sammel"]
    account["recipients_file"] = house.file("valid", f"{HANS}\n")
    account["unknown"] = unknown
    put(provider, "eva", "Angebot")
    expect(daemon.once(house), 0)
    [message] = trace(house, EVA)
    what = {r["address"]: (r["outcome"], r["reply"]) for r in message["recipients"]}
    assert what[EVA] == ("discarded" if unknown == "discard" else "unknown",
                         "not in recipients_file")
    assert not [c for c in sink.said("RCPT") if EVA in c], "the relay is not asked"
    if unknown == "hold":
        house.file("valid", f"{HANS}\n{EVA}\n")
        ctl_(house, "held", "release", str(message["id"]))
        expect(daemon.once(house), 0)
        assert delivered(sink) == [("Angebot", EVA)] and provider.maildrop == []


def test_discard_deletes_that_message_and_nothing_else(house, peers, one_held):
    provider, sink = peers
    house.accounts["sammel"]["keep"] = "forever"
    put(provider, "hans", "bleibt")
    expect(daemon.once(house), 0)
    ctl_(house, "held", "discard", str(one_held))
    assert held(house) == [] and len(provider.maildrop) == 2
    run = expect(daemon.once(house), 0)
    assert run.log.find("message.discarded", uidl="uid-Angebot")
    assert run.log.find("message.deleted", uidl="uid-Angebot")
    assert [uid for uid, _ in provider.maildrop] == ["uid-bleibt"]
    (message,) = trace(house, EVA)
    assert message["state"] == "deleted" and "discarded by an administrator" in message["reason"]
    assert delivered(sink) == [("Angebot", HANS), ("bleibt", HANS)]


def test_only_held_messages_are_decided_about(house, peers):
    provider, sink = peers
    state = os.path.join(house.state, "state.db")
    for words in (("held", "list"), ("held", "discard", "1"), ("trace", "x")):
        assert state in ctl_(house, *words, status=1).stderr
    assert not os.path.exists(state), "a question has made it"
    put(provider, "hans", "Hallo")
    expect(daemon.once(house), 0)
    (message,) = trace(house, HANS)
    for what in ("show", "release", "discard"):
        for number in (str(message["id"]), "99"):
            run = ctl_(house, "held", what, number, status=1)
            assert f"no held message {number}; see multidropctl held list" in run.stderr
        assert "no number" in ctl_(house, "held", what, "x1", status=1).stderr
    ctl_(house, "held", status=64)
    ctl_(house, "held", "list", "1", status=64)


def test_trace_by_each_thing_that_people_know(house, peers):
    """Deleted, kept, deferred, held: each by Message-ID, recipient, sender, UIDL, reply."""
    provider, sink = peers
    sink.behaviour["dot"] = ["250 2.0.0 Ok: queued as 4AF0C1", "250 2.0.0 Ok: queued as 4AF0C2"]
    sink.behaviour["RCPT eva@firma.example"] = lambda _: "450 4.2.0 greylisted, ticket 88113"
    sink.behaviour["RCPT otto@firma.example"] = lambda _: "550 5.1.1 unknown, ticket 99224"
    put(provider, "hans", "weg", sender="w@outside.example")
    expect(daemon.once(house), 0)
    house.accounts["sammel"]["keep"] = "forever"
    put(provider, "fritz", "kopie", sender="k@outside.example")
    put(provider, "eva", "spaeter", sender="s@outside.example")
    put(provider, "otto", "nie", sender="n@outside.example")
    daemon.once(house)
    for subject, who, queue, outcome, state, where in (
            ("weg", "hans", "4AF0C1", "accepted", "deleted", "deleted at the provider"),
            ("kopie", "fritz", "4AF0C2", "accepted", "delivered", "as long as `keep` says"),
            ("spaeter", "eva", "88113", "later", "waiting", "on the provider's server"),
            ("nie", "otto", "99224", "unknown", "held", "held on the provider's server")):
        address = f"{who}@firma.example"
        for pattern in (f"<{subject}@outside.example>", f"{subject}@outside.example", address,
                        address.upper(), f"{subject[0]}@outside.example", f"uid-{subject}", queue):
            (message,) = trace(house, pattern)
            assert message["uidl"] == f"uid-{subject}", pattern
        assert outcomes(message) == {address: outcome}
        assert message["state"] == state and where in message["where"], message
        assert queue in message["recipients"][0]["reply"] and message["relay"] == "house"
        text = ctl_(house, "trace", queue).stdout
        assert f"<{subject}@outside.example>" in text and where in text and queue in text
    run = ctl_(house, "trace", "fremd@x.example", status=1)
    assert run.stderr.endswith("nothing known of fremd@x.example; see multidropctl help trace\n")
    run = ctl_(house, "trace", "Ange", status=1)
    assert "nothing known of Ange; in replies of the relay, only five characters" in run.stderr
    assert [m["uidl"] for m in trace(house, "ticket")] == ["uid-nie", "uid-spaeter"]


def test_trace_knows_what_is_gone_and_what_was_a_duplicate(house, peers):
    provider, sink = peers
    put(provider, "hans", "Hallo")
    expect(daemon.once(house), 0)
    provider.maildrop.append(("copy", messages.stored("hans", "Hallo")))
    for _ in range(4):  # two listings without it, each after a confirmed QUIT
        expect(daemon.once(house), 0)
    copy, first = trace(house, HANS)
    assert (first["state"], copy["state"]) == ("deleted", "deleted")
    assert outcomes(copy) == {HANS: "suppressed"}
    assert copy["recipients"][0]["reply"] == f"same content as message {first['id']}"
    assert delivered(sink) == [("Hallo", HANS)]


def test_trace_shows_the_newest_hundred(house, peers):
    provider, sink = peers
    for n in range(101):
        put(provider, "hans", f"Nr-{n}")
    expect(daemon.once(house), 0)
    run = ctl_(house, "trace", "--json", HANS)
    found = json.loads(run.stdout)
    assert len(found) == 100 and "more than 100" in run.stderr
    assert found[0]["uidl"] == "uid-Nr-100" and found[-1]["uidl"] == "uid-Nr-1"


def test_foreign_bytes_reach_no_terminal(house, peers):
    provider, sink = peers
    put(provider, "hans", "x")
    uid, message = provider.maildrop[0]
    provider.maildrop[0] = (uid, message.replace(b"<x@outside", b"<\x1b[2J\xff@outside"))
    sink.behaviour["RCPT"] = lambda _: b"550 5.1.1 \x1b[31m no\r\n"
    expect(daemon.once(house), 0)
    for words in (("held", "list"), ("trace", uid), ("trace", "--json", uid)):
        assert "\x1b" not in ctl_(house, *words).stdout


def test_adopt_then_only_what_came_after_is_delivered(house, peers):
    provider, sink = peers
    house.accounts["sammel"]["keep"] = "forever"
    for n in range(3):
        put(provider, "hans", f"alt-{n}")
    run = ctl_(house, "adopt", "sammel")
    assert "3 of 3 messages adopted" in run.stdout and "they stay on the server" in run.stdout
    assert not provider.said("RETR") and not provider.said("TOP") and not provider.said("DELE")
    put(provider, "hans", "neu")
    expect(daemon.once(house), 0)
    assert delivered(sink) == [("neu", HANS)] and len(provider.maildrop) == 4
    run = ctl_(house, "adopt", "sammel")
    assert "0 of 4 messages adopted, 4 were known already" in run.stdout
    assert "adopted" in trace(house, "uid-alt-0")[0]["reason"]


def test_adopt_asks_before_keep_deletes(house, peers):
    """While the daemon runs, too: the account's lock keeps the two apart."""
    provider, sink = peers
    with daemon.Daemon(house) as running:
        running.wait_event("cycle.finished", account="sammel")
        logins = len(provider.said("PASS"))
        put(provider, "hans", "alt")
        run = ctl_(house, "adopt", "sammel", status=1)
        assert "--yes" in run.stderr and "deletes them" in run.stderr
        assert len(provider.said("PASS")) == logins
        run = ctl_(house, "adopt", "--yes", "sammel")
        assert "1 of 1 messages adopted" in run.stdout and "deletes them" in run.stdout
        put(provider, "hans", "neu")
        assert running.stop() == 0
    expect(daemon.once(house), 0)
    assert delivered(sink) == [("neu", HANS)] and provider.maildrop == []


def test_adopt_leaves_what_has_no_name_of_its_own(house, peers):
    provider, sink = peers
    for subject in ("eins", "zwei"):
        provider.maildrop.append(("dup", messages.stored("hans", subject)))
    put(provider, "hans", "alt")
    run = ctl_(house, "adopt", "--yes", "sammel")
    assert "1 of 3 messages adopted" in run.stdout and "2 share a UIDL" in run.stdout
    expect(daemon.once(house), 0)
    assert delivered(sink) == [("eins", HANS), ("zwei", HANS)]


def test_adopt_says_why_it_failed(house, peers):
    provider, sink = peers
    put(provider, "hans", "alt")
    provider.behaviour["UIDL"] = lambda _: "-ERR not here"
    assert "no UIDL" in ctl_(house, "adopt", "--yes", "sammel", status=1).stderr
    provider.behaviour.clear()
    provider.password = "other"
    assert "wrong password" in ctl_(house, "adopt", "--yes", "sammel", status=1).stderr
    ctl_(house, "adopt", "--yes", "nobody", status=64)
    ctl_(house, "adopt", status=64)
