"""The commands of multidropctl that ask the running daemon: what they do, say, and exit with."""
import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon, messages, net
from mdtest.pop3fake import HANG, Pop3Fake
from mdtest.sink import Sink

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
STATES = {"idle", "waiting", "connecting", "fetching", "backoff", "suspended", "paused",
          "disabled"}


def serve(config, provider, sink, name="sammel", password=PASSWORD, limits=None, **keys):
    fake_provider(config, provider, **(limits or {}))
    config.relay("house", port=sink.port)
    config.account(name, "fake", "house", password, **keys)
    return config


def three():
    return [messages.stored("hans", f"Nr {n}") for n in (1, 2, 3)]


def first_cycle(running, account="sammel"):
    running.wait_event("cycle.finished", account=account)


def is_time(text):
    return text is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)


# ---- status ----

def test_status_json_has_the_agreed_shape(config):
    with Pop3Fake(three()) as provider, Sink() as sink:
        serve(config, provider, sink)
        config.account("aus", "fake", "house", PASSWORD, enabled=False)
        with daemon.Daemon(config) as running:
            first_cycle(running)
            said = json.loads(expect(ctl.ask(config, "status", "--json"), 0).stdout)
    assert said["version"] and is_time(said["now"]) and is_time(said["started"])
    sammel, aus = said["accounts"]
    for account in (sammel, aus):
        assert {"name", "provider", "state", "last_start", "last_success", "last_error",
                "next_due", "delivered", "held", "pending_delete"} <= set(account)
        assert account["provider"] == "fake" and account["state"] in STATES
        for key in ("last_start", "last_success", "next_due"):
            assert is_time(account[key])
        for key in ("delivered", "held", "pending_delete"):
            assert isinstance(account[key], int)
    assert (sammel["name"], sammel["state"], sammel["delivered"]) == ("sammel", "idle", 3)
    assert sammel["last_start"] <= sammel["last_success"] < sammel["next_due"]
    assert sammel["last_error"] is None and sammel["next_reason"] == "interval"
    assert sammel["logins_left"] == 9999
    assert (aus["state"], aus["last_start"], aus["next_due"]) == ("disabled", None, None)
    assert said["providers"] == [{
        "name": "fake", "logins_in_window": 1, "login_limit": 10000,
        "login_window_seconds": 600, "next_login_allowed": None}]
    relay, = said["relays"]
    assert {"name", "state", "idle", "busy"} <= set(relay)
    assert (relay["name"], relay["state"], relay["busy"]) == ("house", "up", 0)


def masked(text):
    """Times in a page, replaced; columns may be wider or narrower by them."""
    text = re.sub(r"\b\d+ (s|min|h)( \d+ min)?\b", "TIME", text)
    return re.sub(r" {2,}", "  ", text)


def test_status_page(config):
    """Golden text: one account that is well, one with a wrong password, one disabled."""
    with Pop3Fake(three()) as provider, Sink() as sink:
        serve(config, provider, sink, limits={"login_limit": 20})
        config.relays["house"]["idle_timeout"] = "1s"
        config.account("falsch", "fake", "house", "nicht-das-passwort", interval="1h")
        config.account("aus", "fake", "house", PASSWORD, enabled=False)
        with daemon.Daemon(config) as running:
            first_cycle(running)
            running.signal(signal.SIGUSR1)
            running.wait_event("cycle.failed", account="falsch")
            running.wait(lambda: all(r["idle"] == 0 for r in ctl.status(config)["relays"]),
                         60, "idle connections to be closed")
            page = expect(ctl.ask(config, "status"), 0).stdout
            one = expect(ctl.ask(config, "status", "sammel"), 0).stdout
    with open(os.path.join(GOLDEN, "status.txt")) as f:
        assert masked(page) == f.read(), masked(page)
    assert one.startswith("All is well: 1 account; last cycle ") and "falsch" not in one
    assert "\033" not in page


def on_terminal(config, columns, **variables):
    """The status page as a terminal of that width gets it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ,
                (24).to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4))
    process = subprocess.Popen([ctl.program(), "status", "-s", config.top["control_socket"]],
                               stdout=follower, stderr=follower, stdin=subprocess.DEVNULL,
                               env=daemon.environment(TERM="xterm", **variables))
    os.close(follower)
    text = b""
    try:
        while piece := os.read(leader, 4096):
            text += piece
    except OSError:
        pass  # EIO: the other side is closed
    os.close(leader)
    assert process.wait(10) == 0
    return text.decode()


def test_status_on_a_terminal_is_cut_and_coloured(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, password="falsch", interval="1h")
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.failed", account="sammel")
            page = on_terminal(config, 50)
            plain = on_terminal(config, 50, NO_COLOR="1")
            wide = on_terminal(config, 400)
    assert "\033[31mNot all is well" in page and "\033[31mbackoff" in page
    assert "\033" not in plain
    shown = masked(re.sub(r"\033\[\d+m", "", page))
    assert shown == masked(plain)
    assert max(len(line) for line in plain.splitlines()) <= 50
    assert "multidropctl fetch sammel" in " ".join(shown.split())  # folded, not cut
    assert "WHY THEN" in wide and "WHY THEN" not in shown and "  RESULT" in shown


def test_status_fits_80_columns_and_names_what_comes_next(config):
    with Pop3Fake(three()) as provider, Sink() as sink:
        serve(config, provider, sink)
        with daemon.Daemon(config) as running:
            first_cycle(running)
            page = on_terminal(config, 80)
    lines = [re.sub(r"\033\[\d+m", "", line) for line in page.splitlines()]
    assert re.fullmatch(r"All is well: 1 account; last cycle \d+ s ago, next in \d+ min", lines[0])
    assert page.startswith("\033[32m") and "\033[31m" not in page
    assert lines[2].split() == ["ACCOUNT", "STATE", "LAST", "CYCLE", "RESULT", "NEXT", "DELIVERED",
                                "HELD", "LOGINS", *lines[2].split()[9:]]
    assert max(len(line) for line in lines) <= 80


def test_status_says_what_a_running_cycle_does(config):
    with Pop3Fake(three(), {"greeting": [HANG]}) as provider, Sink() as sink:
        serve(config, provider, sink)
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.started")
            assert ctl.status(config)["accounts"]["sammel"]["state"] == "connecting"
    with Pop3Fake(three(), {"LIST": [HANG]}) as provider, Sink() as sink:
        serve(config, provider, sink)
        with daemon.Daemon(config) as running:
            running.wait(lambda: provider.said("LIST"), what="a listing")
            sammel = ctl.status(config)["accounts"]["sammel"]
            assert (sammel["state"], sammel["next_due"]) == ("fetching", None)


def test_status_with_a_dead_relay(config):
    with Pop3Fake(three()) as provider:
        fake_provider(config, provider)
        config.relay("house", port=net.free_port())
        config.account("sammel", "fake", "house", PASSWORD, interval="1s")
        with daemon.Daemon(config) as running:
            running.wait_event("relay.down")
            said = running.wait(
                lambda: (s := ctl.status(config))["accounts"]["sammel"]["state"] == "waiting" and s)
            assert said["accounts"]["sammel"]["next_reason"] == "relay-down"
            assert said["relays"][0]["state"] == "down" and said["relays"][0]["last_error"]
            page = ctl.ask(config, "status").stdout
            assert page.startswith("Not all is well: 1 account in trouble, 1 relay down;")
            assert "relay house: down: " in page
            refused = expect(ctl.ask(config, "fetch", "sammel"), 1)
            assert "relay house is down" in refused.stderr


# ---- fetch ----

def test_fetch_starts_a_cycle_and_waits_for_it(config):
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink, interval="1h")) as running:
            first_cycle(running)
            provider.maildrop = [(f"later-{n}", m) for n, m in enumerate(three())]
            run = expect(ctl.ask(config, "fetch", "--wait", "sammel"), 0)
            assert run.stdout.splitlines() == [
                "sammel: cycle started",
                "sammel: 3 listed, 3 delivered, 0 deferred, 0 held, 0 suppressed, 3 deleted"]
            assert len(sink.transactions) == 3
            run = expect(ctl.ask(config, "fetch", "sammel"), 0)
            assert run.stdout == "sammel: cycle started\n"


def test_fetch_wait_tells_a_failure(config):
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink, interval="1h")) as running:
            first_cycle(running)
            provider.behaviour["STAT"] = ["-ERR [SYS/TEMP] broken"]
            run = expect(ctl.ask(config, "fetch", "sammel", "--wait"), 1)
            assert run.stdout == "sammel: cycle started\n"
            assert "[SYS/TEMP] broken" in run.stderr
            # A back-off is ours to pass over.
            assert ctl.status(config)["accounts"]["sammel"]["state"] == "backoff"
            expect(ctl.ask(config, "fetch", "sammel", "--wait"), 0)


@pytest.mark.parametrize("limits, words, state", [
    ({"min_interval": "1h"}, "min_interval is not over", "not-due"),
    ({"login_limit": 1, "login_window": "1h"}, "the provider's login_limit is used up", "limit"),
])
def test_fetch_overrides_no_limit_and_tells_the_time(config, limits, words, state):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, limits=limits, interval="2h")
        with daemon.Daemon(config) as running:
            first_cycle(running)
            run = expect(ctl.ask(config, "fetch", "sammel"), 1)
            assert run.stdout == ""
            match = re.fullmatch(rf"sammel: not now: {words}; the next login is allowed at "
                                 r"(\d\d:\d\d:\d\d), in (\d+) min, and will be made then\n",
                                 run.stderr)
            assert match and int(match[2]) in (59, 60)
            sammel = ctl.status(config)["accounts"]["sammel"]
            assert (sammel["state"], sammel["next_reason"]) == ("waiting", state)
            at = time.strptime(sammel["next_due"], "%Y-%m-%dT%H:%M:%SZ")
            shown = int(match[1][3:5]) * 60 + int(match[1][6:])
            assert (at.tm_min * 60 + at.tm_sec - shown + 2) % 3600 <= 4
            if state == "limit":
                assert ctl.status(config)["providers"][0]["next_login_allowed"]
                assert sammel["logins_left"] == 0
            assert provider.connections == 1


def test_fetch_respects_the_lock_of_another_process(config):
    with Pop3Fake() as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink, interval="1h")) as running:
            first_cycle(running)
            with open(os.path.join(config.state, "sammel.lock")) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                run = expect(ctl.ask(config, "fetch", "sammel"), 1)
                assert "another process is fetching this account; the next try is at" in run.stderr
            expect(ctl.ask(config, "fetch", "sammel", "--wait"), 0)


def test_fetch_during_a_cycle_joins_it(config):
    go_on = threading.Event()

    def wait(session):
        go_on.wait(30)

    with Pop3Fake(three(), {"UIDL": [wait]}) as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait(lambda: provider.said("UIDL"), what="UIDL")
            run = expect(ctl.ask(config, "fetch", "sammel"), 0)
            assert run.stdout == "sammel: a cycle is running already\n"
            waiting = subprocess.Popen(
                [ctl.program(), "fetch", "--wait", "sammel", "-s", config.top["control_socket"]],
                stdout=subprocess.PIPE)
            assert waiting.stdout.readline() == b"sammel: a cycle is running already\n"
            go_on.set()
            assert b"3 delivered" in waiting.stdout.read()
            assert waiting.wait(30) == 0 and provider.connections == 1


def test_fetch_all(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, interval="1h")
        config.account("zwei", "fake", "house", PASSWORD, interval="1h")
        config.account("aus", "fake", "house", PASSWORD, enabled=False)
        with daemon.Daemon(config) as running:
            running.wait_event("daemon.started")
            expect(ctl.ask(config, "fetch", "--all", "--wait"), 0)
            running.wait_event("cycle.finished", account="zwei")
            first_cycle(running)
            expect(ctl.ask(config, "pause", "zwei"), 0)
            run = expect(ctl.ask(config, "fetch", "--all", "--wait"), 1)
            assert run.stdout.startswith("sammel: cycle started\nsammel: 0 listed")
            assert run.stderr.startswith("zwei: not now: paused by an administrator")
            run = expect(ctl.ask(config, "fetch", "aus"), 1)
            assert run.stderr == "aus: not enabled in the configuration; " \
                "set enabled = true, then: multidropctl reload\n"


def test_stop_ends_the_wait(config):
    with Pop3Fake(three(), {"UIDL": [HANG]}) as provider, Sink() as sink:
        with daemon.Daemon(serve(config, provider, sink)) as running:
            running.wait(lambda: provider.said("UIDL"), what="UIDL")
            waiting = subprocess.Popen(
                [ctl.program(), "fetch", "--wait", "sammel", "-s", config.top["control_socket"]],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            waiting.stdout.readline()
            assert running.stop() == 0
            out, errors = waiting.communicate(timeout=30)
            assert waiting.returncode == 1 and b"stopped" in errors, (out, errors)


# ---- pause and resume ----

def test_pause_survives_a_restart(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, interval="1s")
        with daemon.Daemon(config) as running:
            first_cycle(running)
            assert expect(ctl.ask(config, "pause", "sammel"), 0).stdout == "sammel: paused\n"
            expect(ctl.ask(config, "pause", "sammel"), 0)
            assert len(running.log.find("cycle.skipped", reason="paused")) == 1
            run = expect(ctl.ask(config, "fetch", "sammel"), 1)
            assert run.stderr == ("sammel: not now: paused by an administrator; "
                                  "multidropctl resume sammel ends that\n")
            assert running.kill() < 0
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.skipped", account="sammel", reason="paused")
            sammel = ctl.status(config)["accounts"]["sammel"]
            assert (sammel["state"], sammel["next_due"]) == ("paused", None)
            running.signal(signal.SIGUSR1)
            assert masked(expect(ctl.ask(config, "status"), 0).stdout).startswith(
                "All is well: 1 account, 1 paused; last cycle TIME ago\n"
                "sammel: paused by an administrator\n"
                "  it goes on with: multidropctl resume sammel\n\n")
            assert not running.log.find("cycle.started")
            assert expect(ctl.ask(config, "resume", "sammel"), 0).stdout == "sammel: resumed\n"
            first_cycle(running)
            assert len(running.log.find("cycle.skipped", reason="paused")) == 1
            run = expect(ctl.ask(config, "resume", "sammel"), 0)
            assert run.stdout == "sammel: was neither paused nor suspended\n"


def test_corrected_password_does_not_end_a_pause(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, interval="1s")
        config.account("sammel", "fake", "house", "wrong", interval="1s")
        with daemon.Daemon(config) as running:
            running.wait_event("login.failed", account="sammel")
            expect(ctl.ask(config, "pause", "sammel"), 0)
            config.account("sammel", "fake", "house", provider.password, interval="1s")
            config.write()
            expect(ctl.ask(config, "reload"), 0)
            sammel = ctl.status(config)["accounts"]["sammel"]
            assert sammel["state"] == "paused"
            expect(ctl.ask(config, "resume", "sammel"), 0)
            running.wait_event("cycle.finished", account="sammel")


def test_pause_frees_the_relay_for_others(config):
    """The only connection hangs with one account's mail: its pause lets the other's through."""
    def hang(session):  # not with the daemon's own question, which has no sender
        said = [c for c in session.server.said("MAIL") if "<>" not in c]
        return HANG if len(said) == 1 else None

    with Pop3Fake(three()) as provider, Pop3Fake() as other, Sink({"MAIL": hang}) as sink:
        serve(config, provider, sink)
        config.relays["house"]["connections"] = 1
        config.provider("other", port=other.port)
        config.account("zweite", "other", "house", other.password, interval="1s")
        with daemon.Daemon(config) as running:
            running.wait(lambda: any("<>" not in c for c in sink.said("MAIL")),
                         what="a transaction that hangs")
            with other.lock:
                other.maildrop.append(("nine", messages.stored("eva", "Nr 9")))
            running.wait(lambda: other.said("RETR"), what="the other account's RETR")
            expect(ctl.ask(config, "pause", "sammel"), 0)
            running.wait_event("message.delivered", account="zweite")


def test_pause_in_mid_cycle_cuts_off_nothing_past_its_final_dot(config):
    go_on = threading.Event()

    def wait(session):
        go_on.wait(30)

    with Pop3Fake(three()) as provider, Sink({"dot": [wait]}) as sink:
        serve(config, provider, sink)
        config.relays["house"]["connections"] = 1
        with daemon.Daemon(config) as running:
            running.wait(lambda: sink.attempts, what="a final dot")
            run = expect(ctl.ask(config, "pause", "sammel"), 0)
            assert run.stdout == "sammel: paused; the running cycle is being ended\n"
            go_on.set()
            running.wait_event("message.delivered")
            running.wait(lambda: running.log.find("cycle.failed") or
                         running.log.find("cycle.finished"), what="the cycle's end")
            assert len(sink.transactions) == 1
            sammel = ctl.status(config)["accounts"]["sammel"]
            assert sammel["state"] == "paused" and sammel["last_error"] is None
            assert sammel["failures"] == 0
            expect(ctl.ask(config, "resume", "sammel"), 0)
            expect(ctl.ask(config, "fetch", "--wait", "sammel"), 0)
            subjects = sorted(messages.subject(t.body) for t in sink.transactions)
            assert subjects == ["Nr 1", "Nr 2", "Nr 3"] and provider.maildrop == []


def test_resume_lifts_a_suspension(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, interval="1s")
        provider.password = "changed-meanwhile"
        with daemon.Daemon(config) as running:
            for _ in range(10):
                if running.log.find("account.suspended"):
                    break
                ctl.ask(config, "fetch", "--wait", "sammel")
            running.wait_event("account.suspended")
            page = ctl.ask(config, "status").stdout
            assert page.startswith("Not all is well: 1 account in trouble;")
            assert "multidropctl resume sammel" in page
            run = expect(ctl.ask(config, "fetch", "sammel"), 1)
            assert "password refused again and again" in run.stderr
            provider.password = PASSWORD
            expect(ctl.ask(config, "resume", "sammel"), 0)
            running.wait_event("account.resumed")
            first_cycle(running)


# ---- reload ----

def test_reload_tells_the_outcome(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink, interval="1h")
        with daemon.Daemon(config) as running:
            first_cycle(running)
            run = expect(ctl.ask(config, "reload"), 0)
            assert run.stdout == "configuration reloaded\n" and run.stderr == ""
            line = config.text().count("\n") + 1
            config.file("multidropd.conf", config.text() + "nonsense = 1\nunknown { }\n")
            run = expect(ctl.ask(config, "reload"), 1)
            assert run.stdout == ""
            assert f"{config.path}:{line}: " in run.stderr
            assert run.stderr.endswith("refused: the old configuration stays\n")
            expect(ctl.ask(config, "fetch", "sammel"), 0)
            config.account("neu", "fake", "house", PASSWORD)
            config.write()
            expect(ctl.ask(config, "reload"), 0)
            running.wait_event("cycle.finished", account="neu")


# ---- the exit statuses, and how the socket is found ----

def test_exit_statuses(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink)
        with daemon.Daemon(config) as running:
            first_cycle(running)
            for args in (["status", "nix"], ["fetch", "nix"], ["pause", "nix"],
                         ["resume", "nix"]):
                run = expect(ctl.ask(config, *args), 64)
                assert run.stderr == 'there is no account "nix"; multidropctl status lists them\n'
            for args in (["fetch"], ["fetch", "--all", "sammel"], ["pause"], ["resume"],
                         ["reload", "sammel"], ["metrics", "sammel"], ["status", "a", "b"],
                         ["status", "--wait"], ["pause", "--all"]):
                expect(ctl.ask(config, *args), 64)
            run = expect(ctl.ask(config, "fetch", 'a"\n=0'), 64)
            assert run.stderr == 'multidropctl: "a"\\x0a=0" is no name of an account\n'
            expect(ctl.run("status", "-c", config.path), 0)
            broken = config.file("broken.conf", "account = {\n")
            assert "broken.conf:1: " in expect(ctl.run("status", "-c", broken), 78).stderr
            expect(ctl.run("status", "-c", config.path + ".none"), 78)
            running.stop()
        run = expect(ctl.ask(config, "status"), 69)
        assert config.top["control_socket"] + ": no such socket" in run.stderr
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(config.top["control_socket"])
        run = expect(ctl.ask(config, "metrics"), 69)
        assert "nobody listens there: multidropd is not running" in run.stderr


def test_the_default_socket(config):
    """Without -c and -s: the key of the default file if there is one, else the built-in place."""
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink)
        config.top["control_socket"] = None
        runtime = os.path.join(config.directory, "run")
        with daemon.Daemon(config, RUNTIME_DIRECTORY=runtime) as running:
            first_cycle(running)
            done = subprocess.run([ctl.program(), "status"], capture_output=True,
                                  env=daemon.environment(RUNTIME_DIRECTORY=runtime))
            assert done.returncode == 0, done.stderr


def test_an_answer_that_is_cut_off(config):
    """A daemon that dies in mid-answer has not said that all is well."""
    path = os.path.join(config.directory, "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        for answer in (b"", b"+{}\n", b"+{}\n=0", b"nonsense\n=0\n", b"=999\n"):
            process = subprocess.Popen([ctl.program(), "metrics", "-s", path],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            peer = listener.accept()[0]
            peer.recv(256)
            peer.sendall(answer)
            peer.close()
            assert b"ended before its answer did" in process.communicate(timeout=30)[1]
            assert process.returncode == 69
