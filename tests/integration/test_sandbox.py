"""F14: the sandbox that the process closes itself, in a build as it is shipped (MULTIDROPD is the
one without sanitizers): everything works in it, and nothing gets out of it."""
import ctypes
import os
import platform
import subprocess

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon, messages, net, process
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

MAIL = b"X-Original-To: hans@firma.example\r\nFrom: a@b.example\r\n\r\nhallo\r\n"
LIMIT = "Max core file size"


def from_command(account, secret=PASSWORD):
    del account["password_file"]
    account["password_command"] = f"printf {secret}"


def core_limit(pid):
    with open(f"/proc/{pid}/limits") as f:
        (line,) = [x for x in f if x.startswith(LIMIT)]
    return line[len(LIMIT):].split()[:2]


@pytest.fixture
def running(config):
    with Pop3Fake([MAIL]) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        from_command(config.account("sammel", "fake", "house", PASSWORD, interval="1h"))
        with daemon.Daemon(config) as process_:
            process_.wait_event("cycle.finished")
            yield process_


def test_everything_works_in_it(house, dovecot, postfix, box):
    """TLS, names, a spool file, programs, a reload that brings another one, the control socket."""
    other = "x" + box
    big = messages.stored("hans", "gross", b"x" * 70 + b"\r\n" + b"y" * 500 * 1024 + b"\r\n")
    dovecot.put(box, big)
    dovecot.put(other, messages.stored("hans", "zweite"))
    from_command(house.accounts["sammel"])
    house.accounts["sammel"]["interval"] = "1h"
    with daemon.Daemon(house) as running:
        running.wait_event("cycle.finished", account="sammel")
        from_command(house.account("zweite", "hoster", "house", PASSWORD, user=other,
                                   interval="1h"))
        house.write()
        expect(ctl.ask(house, "reload"), 0)
        running.wait_event("cycle.finished", account="zweite")
        expect(ctl.ask(house, "pause", "sammel"), 0)
        expect(ctl.ask(house, "resume", "sammel"), 0)
        dovecot.put(box, messages.stored("hans", "dritte"))
        expect(ctl.ask(house, "fetch", "--wait", "sammel"), 0)
        expect(ctl.run("trace", "-c", house.path, "hans@firma.example"), 0)
        assert {a["delivered"] for a in ctl.status(house)["accounts"].values()} == {2, 1}
        assert process.status(running.process.pid)["Seccomp"] == "2"
        assert running.stop() == 0
        assert not [e for e in running.log.entries if e["level"] in ("error", "warning")]
    assert sorted(messages.subject(m) for m in postfix.messages("hans")) == [
        "dritte", "gross", "zweite"]


def test_once_works_in_it(house, dovecot, postfix, box):
    dovecot.put(box, messages.stored("hans", "einmal"))
    from_command(house.accounts["sammel"])
    expect(daemon.once(house), 0)
    assert len(postfix.messages("hans")) == 1


def test_probe_works_in_it(house, dovecot, box):
    dovecot.put(box, messages.stored("hans", "einmal"))
    from_command(house.accounts["sammel"])
    expect(ctl.probe(house), 0)


def test_what_the_kernel_says(running):
    pid = running.process.pid
    shown = process.status(pid)
    assert shown["Seccomp"] == "2" and shown["NoNewPrivs"] == "1"
    assert core_limit(pid) == ["0", "0"]
    beside = process.status(process.runner(pid))
    assert beside["Seccomp"] == "0" and beside["NoNewPrivs"] == "1"  # programs need their calls
    assert core_limit(process.runner(pid)) == ["0", "0"]


def test_no_sandbox(config):
    with Pop3Fake() as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        from_command(config.account("sammel", "fake", "house", PASSWORD))
        with daemon.Daemon(config, "--no-sandbox") as open_:
            open_.wait_event("cycle.finished")
            shown = process.status(open_.process.pid)
            assert shown["Seccomp"] == "0" and shown["NoNewPrivs"] == "0"


# ---- the process that starts programs ----

def test_it_goes_with_the_daemon(running):
    beside = process.runner(running.process.pid)
    assert running.stop() == 0
    net.wait_until(lambda: not process.is_alive(beside), 10, "the runner outlives the daemon")


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_it_waits_for_the_daemon(running, signal):
    """A service manager tells all processes of a service to end, a terminal those in front."""
    beside = process.runner(running.process.pid)
    subprocess.run(["kill", "-s", signal[3:], str(beside)], check=True)
    expect(ctl.ask(running.config, "fetch", "--wait", "sammel"), 0)
    assert process.is_alive(beside)


def test_programs_go_with_the_daemon(config):
    """kill -9 of the daemon leaves no program behind."""
    with Pop3Fake() as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        account = config.account("sammel", "fake", "house", PASSWORD)
        del account["password_file"]
        note = os.path.join(config.directory, "pid")
        account["password_command"] = f"echo $$ > {note}.new; mv {note}.new {note}; sleep 1000"
        with daemon.Daemon(config) as running:
            running.wait(lambda: os.path.exists(note), what="program")
            beside = process.runner(running.process.pid)
            with open(note) as f:
                program = int(f.read())
            running.kill()
            net.wait_until(lambda: not process.is_alive(program), 10, "the program lives on")
            net.wait_until(lambda: not process.is_alive(beside), 10, "the runner lives on")


def test_without_it_the_log_says_what_to_do(running):
    os.kill(process.runner(running.process.pid), 9)
    expect(ctl.ask(running.config, "fetch", "--wait", "sammel"), 1)
    assert "restart multidropd" in running.log.find("cycle.failed")[0]["reason"]


def test_without_standard_descriptors(config):
    """Nothing of ours takes their place: neither the runner's socket nor one that is logged to."""
    with Pop3Fake([MAIL]) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        from_command(config.account("sammel", "fake", "house", PASSWORD))
        done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", daemon.program(),
                               "--once", "-c", config.write()], env=daemon.environment(),
                              timeout=60)
        assert done.returncode == 0
        assert len(sink.transactions) == 1


# ---- where it cannot be closed ----

class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction))]


def forbid_seccomp():
    """As a container's profile does: seccomp(2) and prctl(PR_SET_SECCOMP) fail with EPERM."""
    seccomp, prctl = {"x86_64": (317, 157), "aarch64": (277, 167)}[platform.machine()]
    load, equal, give = 0x20, 0x15, 0x06
    eperm, allow = 0x00050001, 0x7FFF0000
    code = [(load, 0, 0, 0), (equal, 3, 0, seccomp), (equal, 0, 3, prctl), (load, 0, 0, 16),
            (equal, 0, 1, 22), (give, 0, 0, eperm), (give, 0, 0, allow)]
    program = _Program(len(code), (_Instruction * len(code))(*code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program)) == 0


def test_it_does_not_run_without(config):
    """Not unnoticed, that is: the administrator may say so."""
    with Pop3Fake([MAIL]) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", PASSWORD)
        command = [daemon.program(), "--once", "-l", "json", "-c", config.write()]

        def run(*more):
            done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60,
                                  preexec_fn=forbid_seccomp, env=daemon.environment())
            return daemon.Run(done.returncode, done.stdout, done.stderr)
        refused = expect(run(), 70)
        (entry,) = refused.log.find("sandbox.failed")
        assert "--no-sandbox" in entry["reason"] and provider.connections == 0
        expect(run("--no-sandbox"), 0)
        assert len(sink.transactions) == 1


def test_nor_does_the_tool_that_logs_in(config):
    with Pop3Fake([MAIL]) as provider:
        fake_provider(config, provider)
        config.relay("house", port=1)
        config.account("sammel", "fake", "house", PASSWORD)
        command = [ctl.program(), "adopt", "--yes", "-c", config.write(), "sammel"]

        def run(*more):
            return subprocess.run([*command, *more], capture_output=True, text=True, timeout=60,
                                  preexec_fn=forbid_seccomp, env=daemon.environment())
        refused = run()
        assert refused.returncode == 1 and "--no-sandbox" in refused.stderr
        assert provider.connections == 0
        done = run("--no-sandbox")
        assert done.returncode == 0, done.stderr
