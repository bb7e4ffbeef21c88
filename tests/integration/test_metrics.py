"""multidropctl metrics, read by a strict parser; and the status line of the service manager."""
import os
import re
import socket
import time

from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
VALUE = r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN"

FAMILIES = {
    "multidropd_messages_total": ("counter", {"account", "result"}),
    "multidropd_cycles_total": ("counter", {"account", "result"}),
    "multidropd_cycle_seconds": ("histogram", set()),
    "multidropd_logins_total": ("counter", {"provider", "result"}),
    "multidropd_login_budget": ("gauge", {"provider"}),
    "multidropd_last_success_timestamp_seconds": ("gauge", {"account"}),
    "multidropd_next_due_timestamp_seconds": ("gauge", {"account"}),
    "multidropd_held": ("gauge", {"account"}),
    "multidropd_relay_connections": ("gauge", {"relay", "state"}),
    "multidropd_relay_up": ("gauge", {"relay"}),
    "multidropd_envelope_missing_total": ("counter", {"account"}),
    "multidropd_build_info": ("gauge", {"version"}),
}


def parse(text):
    """{family: (type, {(name, labels): value})}; anything that the format forbids is an error."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line):
            assert match[1] not in families, f"a second HELP: {line}"
            current = match[1]
            families[current] = [None, {}]
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            assert match[1] == current and families[current] == [None, {}], line
            families[current][0] = match[2]
        else:
            match = re.fullmatch(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ({VALUE})", line)
            assert match, f"no sample: {line!r}"
            name, labels = match[1], tuple(re.findall(LABEL, match[2] or ""))
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            kind = families[current][0]
            assert current == (base if kind == "histogram" else name), line
            assert (name, labels) not in families[current][1], f"twice: {line}"
            assert len({k for k, _ in labels}) == len(labels), f"a label twice: {line}"
            families[current][1][name, labels] = float(match[match.re.groups])
    return families


def check_histogram(name, samples):
    buckets = [(float(dict(labels)["le"].replace("+Inf", "inf")), value)
               for (n, labels), value in samples.items() if n == name + "_bucket"]
    assert buckets == sorted(buckets) and buckets[-1][0] == float("inf")
    values = [v for _, v in buckets]
    assert values == sorted(values) and values[-1] == samples[name + "_count", ()]
    assert len(samples) == len(buckets) + 2 and samples[name + "_sum", ()] >= 0


def get(families, name, **labels):
    return families[name][1].get((name, tuple(labels.items())))


def test_names_types_and_values(config):
    stored = [messages.stored("hans", f"Nr {n}") for n in (1, 2)]
    stored.append(messages.stored("hans", "ohne").replace(b"X-Original-To", b"X-Other"))
    refuse_one = {"RCPT hans@firma.example": ["550 5.1.1 who?"]}
    with Pop3Fake(stored) as provider, Sink(refuse_one) as sink:
        fake_provider(config, provider, login_limit=20)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", PASSWORD, unknown="hold", interval="1h")
        config.account("falsch", "fake", "house", "nicht-das-passwort", interval="1h")
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.finished", account="sammel")
            ctl.ask(config, "fetch", "--all", "--wait")
            running.wait_event("login.failed")
            ctl.ask(config, "pause", "falsch")
            run = expect(ctl.ask(config, "metrics"), 0)
    found = parse(run.stdout)
    assert {name: kind for name, (kind, _) in found.items()} == \
        {name: kind for name, (kind, _) in FAMILIES.items()}
    for name, (kind, labels) in FAMILIES.items():
        if kind == "histogram":
            check_histogram(name, found[name][1])
            continue
        for (_, pairs), _value in found[name][1].items():
            assert {k for k, _ in pairs} == labels
    accounts = running.log.find("message.delivered")
    assert get(found, "multidropd_messages_total", account="sammel", result="delivered") == \
        len(accounts) > 0
    assert get(found, "multidropd_messages_total", account="sammel", result="held") == 1
    assert get(found, "multidropd_held", account="sammel") == 1
    assert get(found, "multidropd_held", account="falsch") == 0
    assert get(found, "multidropd_envelope_missing_total", account="sammel") == \
        len(running.log.find("envelope.missing")) > 0
    finished = len(running.log.find("cycle.finished", account="sammel"))
    failed = len(running.log.find("cycle.failed", account="falsch"))
    assert get(found, "multidropd_cycles_total", account="sammel", result="finished") == finished
    assert get(found, "multidropd_cycles_total", account="falsch", result="failed") == failed
    assert found["multidropd_cycle_seconds"][1]["multidropd_cycle_seconds_count", ()] == \
        finished + failed
    assert get(found, "multidropd_logins_total", provider="fake", result="ok") == finished
    assert get(found, "multidropd_logins_total", provider="fake", result="failed") == failed
    assert get(found, "multidropd_login_budget", provider="fake") == 20 - finished - failed
    assert abs(get(found, "multidropd_last_success_timestamp_seconds", account="sammel")
               - time.time()) < 60
    assert get(found, "multidropd_last_success_timestamp_seconds", account="falsch") is None
    due = get(found, "multidropd_next_due_timestamp_seconds", account="sammel")
    assert 3000 < due - time.time() < 4000
    assert get(found, "multidropd_next_due_timestamp_seconds", account="falsch") is None
    assert get(found, "multidropd_relay_up", relay="house") == 1
    assert get(found, "multidropd_relay_connections", relay="house", state="busy") == 0
    (_, labels), value = next(iter(found["multidropd_build_info"][1].items()))
    assert value == 1 and dict(labels)["version"]


def test_status_line_of_the_service_manager(config):
    path = os.path.join(config.directory, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Pop3Fake() as provider, \
            Sink() as sink:
        manager.bind(path)
        manager.settimeout(20)
        heard = []

        def told(pattern):
            while True:
                heard.append(manager.recv(4096).decode())
                if match := re.search(rf"^STATUS={pattern}$", heard[-1], re.M):
                    return match
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", PASSWORD, interval="1h")
        with daemon.Daemon(config, NOTIFY_SOCKET=path):
            told(r"1 account; last cycle \d\d:\d\d; relay house up")
            expect(ctl.ask(config, "pause", "sammel"), 0)
            told(r"1 account, 1 paused; last cycle \d\d:\d\d; relay house up")
            for _ in range(3):
                expect(ctl.ask(config, "status"), 0)
            expect(ctl.ask(config, "resume", "sammel"), 0)
            told(r"1 account; last cycle \d\d:\d\d; relay house up")
    said = [h for h in heard if "STATUS=" in h]
    assert all(a != b for a, b in zip(said, said[1:])), "said again without a change"
