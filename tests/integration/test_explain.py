"""multidropctl explain: the daemon's answer, shown as an argument."""
import os
import re

import pytest
from conftest import expect, fake_provider
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import Pop3Fake

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
MX = ("Received: from out.example (out.example [192.0.2.7])\r\n"
      "\tby mx.provider.example (Postfix) with ESMTP id 4T; Tue, 03 Nov 2026 09:12:45 +0100\r\n")
QMAIL = "Received: (qmail 4711 invoked by uid 89); 3 Nov 2026 08:12:45 -0000\r\n"
AUTHOR = "From: Anna <anna@outside.example>\r\nTo: team@lists.example\r\nSubject: Hallo\r\n"


def message(*parts):
    return ("".join(parts) + "\r\nGuten Tag!\r\n").encode()


MATRIX = {
    "plain": messages.stored("hans", "plain"),
    "null sender": messages.stored("eva", "null", sender=""),
    "mapped to two": messages.stored("info", "mapped"),
    "foreign": messages.stored("ceo@corp.example", "foreign"),
    "own mailbox": messages.stored("sammel", "own"),
    "unknown to recipients_file": messages.stored("niemand", "unknown"),
    "prefix": message("Return-Path: <a@b.example>\r\n"
                      "X-Original-To: firma.example-eva@firma.example\r\n", MX, AUTHOR),
    "several in one line": message("X-Original-To: hans@firma.example, eva@firma.example,\r\n"
                                   " \"otto (x)\" <otto@firma.example>\r\n", MX, AUTHOR),
    "two lines": message("X-Original-To: hans@firma.example\r\n"
                         "X-Original-To: eva@firma.example\r\n", MX, AUTHOR),
    "forged below": message(MX, "X-Original-To: eva@firma.example\r\n", AUTHOR),
    "malformed": message("X-Original-To: |/usr/bin/vacation\r\n", MX, AUTHOR),
    "no header": message(MX, AUTHOR),
    "no Received": message("X-Original-To: hans@firma.example\r\n", AUTHOR),
    "bytes of no charset": messages.stored("hans", "bytes").replace(b"Anna", b"\xff\x1b[31m"),
    "only a header": b"X-Original-To: hans@firma.example\r\nSubject: x\r\n",
}


@pytest.fixture
def account(config):
    fake = config.provider("fake", port=1, strip_prefix=["firma.example-"])
    config.relay("house", port=1)
    config.account("sammel", "fake", "house", "geheim", map=[
        "info@firma.example = hans@firma.example, eva@outside.example"],
        recipients_file=config.file("valid", "\n".join(
            f"{p}@firma.example" for p in ("hans", "eva", "otto", "info")) + "\n"))
    return config, fake


def plan(text):
    """What --dry-run prints: per message its action, sender, recipients, reason."""
    result = []
    for block in re.split(r"\n(?=\S)", text.strip()):
        head = re.match(r".* from <(.*)>: (\w+)$", block.splitlines()[0])
        result.append({
            "sender": head[1], "action": head[2],
            "recipients": re.findall(r"^  to <(.*?)>", block, re.M),
            "unresolved": (re.findall(r"^  unresolved: (.*)$", block, re.M) or [None])[0]})
    return result


@pytest.mark.parametrize("trusted", [[], ["mx.provider.example"]])
@pytest.mark.parametrize("position", ["top", "bottom"])
def test_explain_says_what_the_daemon_does(account, trusted, position):
    config, provider = account
    with Pop3Fake(MATRIX.values()) as server:
        provider.update(port=server.port, trusted_by=trusted,
                        envelope=[("X-Original-To", {"position": position})])
        config.file("sammel.pw", server.password, mode=0o600)
        run = expect(daemon.once(config, "--dry-run"), 0)
    answers = [ctl.explain_json(config, m) for m in MATRIX.values()]
    ours = [{"sender": a["sender"], "action": a["action"], "unresolved": a["unresolved"],
             "recipients": [r["address"] for r in a["recipients"]]} for a in answers]
    for name, daemons, explained in zip(MATRIX, plan(run.stdout), ours, strict=True):
        assert explained == daemons, name
    if position == "top":  # and there is something to compare
        assert {a["action"] for a in ours} == {"deliver", "postmaster"}


def test_json_names_each_candidate_and_its_verdict(account):
    config, _ = account
    answer = ctl.explain_json(config, message(
        "X-Original-To: info@firma.example\r\n", "X-Original-To: x@corp.example\r\n", MX,
        "X-Original-To: eva@firma.example\r\n", AUTHOR))
    assert answer["recipients"][0] == {
        "address": "hans@firma.example", "original": "info@firma.example",
        "header": "X-Original-To", "line": 1, "unknown": False}
    assert [r["address"] for r in answer["recipients"]] == ["hans@firma.example",
                                                           "eva@outside.example"]
    assert [(c["line"], c["value"], c["verdict"]) for c in answer["candidates"]] == [
        (1, "info@firma.example", "chosen"), (2, "x@corp.example", "foreign-domain"),
        (5, "eva@firma.example", "untrusted-position")]
    assert answer["boundary"] == {"line": 3, "reason": "first Received line"}
    assert answer["unresolved"] is None and answer["action"] == "deliver"


GOLDEN_MESSAGES = {
    "postfix": message("Return-Path: <anna@outside.example>\r\n",
                       "X-Original-To: info@firma.example\r\n", MX,
                       "X-Original-To: chef@firma.example\r\n", AUTHOR, "X-Long: ", "long " * 40,
                       "\r\n"),
    "qmail": message("Delivered-To: firma.example-all@firma.example\r\n", QMAIL,
                     "Delivered-To: firma.example-eva@firma.example\r\n", QMAIL, MX, AUTHOR),
    "nobody": message("Delivered-To: firma.example-eva@firma.example\r\n", QMAIL,
                      "Received: from a (b.example [192.0.2.9]) by c.example; date\r\n",
                      "Subject: \x1b[31mred\r\n"),
}


@pytest.mark.parametrize("name", GOLDEN_MESSAGES)
@pytest.mark.parametrize("ends", [b"\r\n", b"\n"])
def test_text_reads_like_this(account, name, ends):
    config, provider = account
    if name != "postfix":
        provider.update(trusted_by=["mx.provider.example"],
                        envelope=[("Delivered-To", {"pick": "last"})])
    run = expect(ctl.explain(config, GOLDEN_MESSAGES[name].replace(b"\r\n", ends)), 0)
    path = os.path.join(GOLDEN, f"explain-{name}.txt")
    if os.environ.get("MULTIDROPD_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as f:
            f.write(run.stdout)
    with open(path, encoding="utf-8") as f:
        assert run.stdout == f.read()


def test_a_file_is_read_like_standard_input(account):
    config, _ = account
    by_stdin = ctl.explain(config, MATRIX["plain"])
    path = config.file("message", MATRIX["plain"].decode())
    by_file = ctl.run("explain", "--account", "sammel", "--config", config.path, path)
    assert by_file.stdout == by_stdin.stdout and by_file.status == 0


def test_single_mode_does_not_ask_the_header(account):
    config, _ = account
    single = config.accounts["sammel"]
    for key in ("domains", "map", "recipients_file"):
        del single[key]
    single.update(mode="single", recipient="otto@firma.example")
    answer = ctl.explain_json(config, MATRIX["plain"])
    assert [r["address"] for r in answer["recipients"]] == ["otto@firma.example"]
    assert answer["candidates"] == []
    assert "trust boundary" not in ctl.explain(config, MATRIX["plain"]).stdout


@pytest.mark.parametrize("garbage", [b"", b"\r\n", b"\x00\x01\xfe garbage\n" * 9, b"Hello\r\n"])
def test_what_is_no_message_is_refused(account, garbage):
    config, _ = account
    run = expect(ctl.explain(config, garbage), 1)
    assert "is no message" in run.stderr and run.stdout == ""


def test_misuse_and_bad_configuration(account):
    config, _ = account
    path = config.write()
    assert ctl.run().status == 64
    assert ctl.run("frobnicate").status == 64
    assert ctl.run("explain", "-c", path, "-").status == 64
    assert ctl.run("explain", "-a", "nobody", "-c", path, "-").status == 64
    assert ctl.run("explain", "-a", "sammel", "-c", path).status == 64
    assert ctl.run("explain", "-a", "sammel", "-c", path, "--samples", "3", "-").status == 64
    assert ctl.run("explain", "-a", "sammel", "-c", path, path + ".none").status == 1
    config.accounts["sammel"]["map"] = ["no map line"]
    run = ctl.explain(config, MATRIX["plain"])
    assert run.status == 78 and re.search(r"multidropd\.conf:\d+: ", run.stderr)
    for args in (("--help",), ("explain", "--help"), ("-V",)):
        assert expect(ctl.run(*args), 0).stdout
