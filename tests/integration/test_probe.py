"""multidropctl probe: finds the envelope header in a maildrop, and changes nothing there."""
import json
import os
import re
import shutil

import pytest
from conftest import expect, fake_provider
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import Pop3Fake

PEOPLE = ("hans", "eva", "otto", "info")
DATE = "Tue, 03 Nov 2026 09:12:45 +0100"
MX = ("Received: from out.example (out.example [192.0.2.7])\r\n"
      f"\tby mx.provider.example (Server) with ESMTP id 4T; {DATE}\r\n")
QMAIL = "Received: (qmail 4711 invoked by uid 89); 3 Nov 2026 08:12:45 -0000\r\n"
FORGED = ("X-Original-To: otto@firma.example\r\nEnvelope-To: <otto@firma.example>\r\n"
          "Delivered-To: firma.example-otto@firma.example\r\n")
AUTHOR = ("From: Anna <anna@outside.example>\r\nTo: info@firma.example\r\n"
          "Subject: Nr {n}\r\nMessage-ID: <{n}@outside.example>\r\n")

SHAPES = {
    "postfix": ("Return-Path: <a@outside.example>\r\nX-Original-To: {to}@firma.example\r\n"
                "Delivered-To: m0123@server.provider.example\r\n" + MX + FORGED + AUTHOR,
                {"header": "X-Original-To", "position": "top", "pick": "first"}, [], []),
    "exim": ("Return-path: <a@outside.example>\r\nEnvelope-to: {to}@firma.example\r\n" + MX
             + FORGED + AUTHOR,
             {"header": "Envelope-to", "position": "top", "pick": "first"}, [], []),
    "qmail": ("Return-Path: <a@outside.example>\r\nDelivered-To: firma.example-all@firma.example"
              "\r\n" + QMAIL + "Delivered-To: firma.example-{to}@firma.example\r\n" + QMAIL
              + MX + FORGED + AUTHOR,
              {"header": "Delivered-To", "position": "top", "pick": "last"},
              ["firma.example-"], ["mx.provider.example"]),
    "gmx": ("Return-Path: <a@outside.example>\r\n" + MX + FORGED + AUTHOR
            + "Envelope-To: <{to}@firma.example>\r\nX-GMX-Antispam: 0\r\n",
            {"header": "Envelope-To", "position": "bottom", "pick": "first"}, [], []),
}


def maildrop(shape, n=24):
    return [(shape.format(to=PEOPLE[i % len(PEOPLE)], n=i) + "\r\nGuten Tag!\r\n").encode()
            for i in range(n)]


@pytest.fixture
def sink_config(config, dovecot, ca, box):
    """An account that knows nothing about its provider yet; the relay is never asked."""
    config.provider("hoster", host="localhost", port=dovecot.pop3s, tls="implicit",
                    tls_ca_file=ca.cert, envelope=[("X-Guess", {})])
    config.relay("house", port=1)
    config.account("sammel", "hoster", "house", "geheim-4711", user=box)
    return config


def paste(config, stanza):
    """The configuration with the stanza in place of the two sections that it names."""
    provider, account = dict(config.providers), dict(config.accounts)
    config.providers.clear()
    config.accounts.clear()
    path = config.file("multidropd.conf", config.text() + stanza)
    config.providers.update(provider)
    config.accounts.update(account)
    return path


@pytest.mark.parametrize("name", SHAPES)
def test_stanza_is_accepted_and_resolves_the_maildrop(sink_config, dovecot, box, name):
    shape, envelope, prefix, trusted = SHAPES[name]
    stored = maildrop(shape)
    for m in stored:
        dovecot.put(box, m)
    before = dovecot.messages(box)
    run = expect(ctl.probe(sink_config, "--json"), 0)
    found = json.loads(run.stdout)
    assert found["samples"] == len(stored) and found["verdict"] == "found"
    assert {k: found["envelope"][k] for k in envelope} == envelope
    assert (found["strip_prefix"], found["trusted_by"]) == (prefix, trusted)
    assert found["envelope"]["resolves"] == len(stored)
    assert {h["host"]: h["seen"] for h in found["by"]} == {"mx.provider.example": len(stored)}
    assert dovecot.messages(box) == before == stored

    path = paste(sink_config, found["stanza"])
    expect(daemon.check(sink_config), 0)
    for i, m in enumerate(stored):
        answer = json.loads(ctl.run("explain", "-a", "sammel", "-c", path, "--json", "-",
                                    stdin=m).stdout)
        assert [r["address"] for r in answer["recipients"]] == [
            f"{PEOPLE[i % len(PEOPLE)]}@firma.example"]
        assert answer["action"] == "deliver" and answer["unresolved"] is None


@pytest.fixture
def faked(config):
    """A scripted server with 24 Postfix messages, and an account for it."""
    with Pop3Fake(maildrop(SHAPES["postfix"][0])) as server:
        fake_provider(config, server)
        config.relay("house", port=1)
        config.account("sammel", "fake", "house", server.password)
        yield config, server


def verbs(server):
    return {line.split(" ")[0].upper() for line in server.commands}


def test_only_headers_are_read(faked):
    config, server = faked
    before = list(server.maildrop)
    expect(ctl.probe(config), 0)
    assert verbs(server) <= {"CAPA", "USER", "PASS", "AUTH", "STAT", "TOP", "QUIT"}
    assert len(server.said("TOP")) == 24 and all(c.endswith(" 0") for c in server.said("TOP"))
    assert server.maildrop == before and server.connections == 1


def test_text_shows_evidence_and_ends_in_the_stanza(faked):
    config, _ = faked
    run = expect(ctl.probe(config), 0)
    assert re.search(r"^  X-Original-To +24 of 24 +24 +top +4$", run.stdout, re.M)
    assert re.search(r"^  Delivered-To +24 of 24 +0 +top +1  always the same$", run.stdout, re.M)
    assert "Delivered-To is the same in all 24" in run.stdout
    paste(config, run.stdout[run.stdout.index("# Replaces"):])
    expect(daemon.check(config), 0)


def test_samples_are_the_newest(faked):
    config, server = faked
    found = json.loads(expect(ctl.probe(config, "--json", "--samples", "2"), 0).stdout)
    assert server.said("TOP") == ["TOP 23 0", "TOP 24 0"]
    assert found["samples"] == 2 and found["messages"] == 24
    assert any("20 are wanted" in d for d in found["doubts"])
    assert found["certainty"] == "weak"


@pytest.mark.parametrize("bad", ["0", "501", "x", "-1"])
def test_samples_out_of_range(faked, bad):
    config, server = faked
    assert ctl.probe(config, "--samples", bad).status == 64
    assert server.connections == 0


def test_server_that_deletes_what_was_read_gets_no_quit(faked):
    config, server = faked
    server.capabilities += ("EXPIRE 0",)
    expect(ctl.probe(config), 0)
    assert server.said("TOP") and not server.said("QUIT")


def test_second_login_at_once_is_refused_and_says_when(faked):
    config, server = faked
    config.providers["fake"]["min_interval"] = "5m"
    expect(ctl.probe(config), 0)
    run = expect(ctl.probe(config), 1)
    wait = int(re.search(r"min_interval is not over; the next one is allowed in (\d+) s, at "
                         r"\d{4}-\d\d-\d\dT", run.stderr)[1])
    assert 200 < wait <= 300 and server.connections == 1
    run = expect(daemon.once(config), 75)  # the probe's login counts for the daemon too
    assert run.log.find("cycle.skipped", reason="not-due") and server.connections == 1


def test_run_by_root_the_state_stays_the_daemons(faked):
    config, _ = faked
    shutil.chown(config.state, "nobody", "nogroup")
    expect(ctl.probe(config), 0)
    owners = {name: os.stat(os.path.join(config.state, name)).st_uid
              for name in os.listdir(config.state)}
    assert "state.db" in owners and "sammel.lock" in owners
    assert set(owners.values()) == {os.stat(config.state).st_uid} != {0}


def test_used_up_login_limit(faked):
    config, server = faked
    config.providers["fake"].update(login_limit=1, login_window="1h")
    expect(ctl.probe(config), 0)
    assert "login_limit" in expect(ctl.probe(config), 1).stderr
    assert server.connections == 1


def test_account_that_is_being_fetched_is_left_alone(faked):
    config, server = faked
    server.behaviour["STAT"] = lambda session: ctl_inside.append(ctl.probe(config)) or None
    ctl_inside = []
    daemon.once(config, "--dry-run")
    assert ctl_inside[0].status == 1 and "another process" in ctl_inside[0].stderr
    assert server.connections == 1


def test_without_top_it_says_how_to_go_on(faked):
    config, server = faked
    server.behaviour["TOP"] = lambda session: "-ERR unknown command"
    run = expect(ctl.probe(config), 1)
    assert "unknown command" in run.stderr and "explain" in run.stderr
    assert "RETR" not in verbs(server)


@pytest.mark.parametrize("stage, answer, words", [
    ("PASS", "-ERR [AUTH] no", "no"), ("greeting", "nonsense", "sammel"),
    ("STAT", "+OK rubbish", "sammel")])
def test_failed_session(faked, stage, answer, words):
    config, server = faked
    server.behaviour[stage] = answer
    run = expect(ctl.probe(config), 1)
    assert words in run.stderr and run.stdout == ""


def test_certificate_is_checked_as_ever(sink_config):
    del sink_config.providers["hoster"]["tls_ca_file"]
    run = expect(ctl.probe(sink_config), 1)
    assert "certificate" in run.stderr


def test_empty_maildrop(faked):
    config, server = faked
    server.maildrop.clear()
    assert "empty" in expect(ctl.probe(config), 1).stderr


def test_mailbox_that_cannot_be_used(faked):
    config, server = faked
    server.maildrop = [(uid, m.replace(b"X-Original-To", b"X-Nothing"))
                       for uid, m in server.maildrop]
    server.maildrop = [(uid, re.sub(rb"X-Nothing: \S+", b"X-Nothing: none", m))
                       for uid, m in server.maildrop]
    found = json.loads(expect(ctl.probe(config, "--json"), 0).stdout)
    assert found["envelope"] is None and found["stanza"] is None
    assert found["verdict"] == "constant"
    assert any("cannot be used for multidrop" in w for w in found["warnings"])


def test_keys_of_the_old_sections_are_kept(faked):
    config, _ = faked
    config.providers["fake"].update(trusted_by=["mx.elsewhere.example"], lf_lines=False,
                                    login_window="20m", max_sessions=1)
    config.accounts["sammel"].update(keep="7d", dedupe="1d", map=[
        '"a \\"b"@firma.example = hans@firma.example', "*@alt.example = *@firma.example"])
    config.account("second", "fake", "house", "x")
    stanza = json.loads(expect(ctl.probe(config, "--json"), 0).stdout)["stanza"]
    for line in ('login_window = "20m"', 'keep = "7d"', 'dedupe = "1d"',
                 f'password_file = "{config.accounts["sammel"]["password_file"]}"',
                 '# account "second" uses this provider too'):
        assert line in stanza
    assert "mx.elsewhere.example" not in stanza and "X-Guess" not in stanza
    paste(config, stanza)
    expect(daemon.check(config), 0)


def test_single_account_becomes_multidrop(faked):
    config, _ = faked
    account = config.accounts["sammel"]
    del account["domains"], account["postmaster"]
    account.update(mode="single", recipient="hans@firma.example")
    stanza = json.loads(expect(ctl.probe(config, "--json"), 0).stdout)["stanza"]
    assert 'domains = { "firma.example" }' in stanza and "recipient" not in stanza
    paste(config, stanza)
    expect(daemon.check(config), 0)


def test_password_in_the_configuration_is_not_shown(faked):
    config, server = faked
    account = config.accounts["sammel"]
    account.update(password=server.password, password_file=None)
    path = config.file("multidropd.conf", config.text(), mode=0o600)
    run = expect(ctl.run("probe", "-a", "sammel", "-c", path), 0)
    assert server.password not in run.stdout
    assert re.search(r"# password: keep the line .*multidropd\.conf:\d+", run.stdout)


def test_one_copy_for_several(faked):
    config, server = faked
    server.maildrop = [(uid, re.sub(rb"X-Original-To: (\S+)",
                                    rb"X-Original-To: \1, chef@firma.example", m))
                       for uid, m in server.maildrop]
    found = json.loads(expect(ctl.probe(config, "--json"), 0).stdout)
    assert found["copies"] == "joined" and any("blind" in w for w in found["warnings"])


def test_messages_of_the_main_job(faked):
    config, server = faked
    copies = [c for kind in messages.kinds(1000) for c in kind.copies]
    server.maildrop = [(f"k{i}", c) for i, c in enumerate(copies)]
    found = json.loads(expect(ctl.probe(config, "--json"), 0).stdout)
    assert found["envelope"]["header"] == "X-Original-To" and found["copies"] == "each"
