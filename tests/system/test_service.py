"""Life as a service, F05 F07 F08 F09 F13 F14 K12: the package as an administrator installs it, on a
booted Debian with a provider (Dovecot, POP3 over TLS) and a house (Postfix, STARTTLS)."""
import json
import os
import re
import shutil
import subprocess
import threading
import time

import pytest
from conftest import CA, CONF, UNIT, machine_of, put_package
from mdtest import daemon, dovecot, messages, net, sink

STATE = "/var/lib/multidropd/state.db"
QUICK = "[Service]\nRestartSec=100ms\n"  # what is tested is that, not how long


class World:
    def __init__(self, host, box):
        self.host, self.box = host, box
        self.config = daemon.Config(os.path.join(host.directory, "config"))
        self.config.top = {"hostname": "gate.firma.example"}
        self.config.provider("hoster", host="localhost", port=host.dovecot.pop3s, tls="implicit",
                             tls_ca_file=CA)
        self.config.relay("house", host="localhost", port=host.postfix.port, tls="starttls",
                          tls_ca_file=CA)
        self.account = self.config.account(
            "sammel", "hoster", "house", "", user=box, interval="1s",
            password_file="/etc/multidropd/sammel.pw")

    def __getattr__(self, name):
        return getattr(self.host, name)

    def configure(self, more=""):
        self.machine.write(CONF, self.config.text() + more, 0o640, "root:multidropd")

    def start(self):
        self.configure()
        return self.systemctl("restart")

    def systemctl(self, verb, check=True):
        return self.machine.run("systemctl", verb, UNIT, check=check)

    def drop_in(self, text):
        self.machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def show(self, name):
        return self.machine.show(UNIT, name)

    def pid(self):
        return int(self.show("MainPID"))

    def signal(self, name):
        self.machine.run("systemctl", "kill", "--kill-who=main", "-s", name, UNIT)

    def put(self, subject, body=b"Guten Tag!\r\n"):
        self.dovecot.put(self.box, messages.stored("hans", subject, body))

    def arrived(self, subject):
        """What the house has of it."""
        return [m for m in self.postfix.messages("hans") if messages.subject(m) == subject]

    def wait_arrived(self, subject, timeout=20):
        found = net.wait_until(lambda: self.arrived(subject), timeout, lambda: (
            f"{subject!r} does not arrive:\n"
            + self.machine.run("journalctl", "-q", "-n", "2000").stdout))
        assert len(found) == 1
        return found[0]

    def now(self):
        """For journal(): what comes after this."""
        return f"--since=@{time.time():.6f}"

    def event(self, name, since, *matches, **more):
        """The latest such entry of the daemon."""
        return self.machine.wait_journal(since, f"MULTIDROP_EVENT={name}", *matches, **more)[-1]


@pytest.fixture(scope="session")
def host():
    with machine_of() as host:
        install = host.machine.run("dpkg", "--install", put_package(host, host.package))
        host.installation = install.stdout + install.stderr
        host.machine.write("/etc/multidropd/sammel.pw", dovecot.PASSWORD + "\n", 0o600,
                           "multidropd:multidropd")
        yield host


@pytest.fixture
def world(host, request):
    """A maildrop and a configuration of the test's own; the service is as it was left."""
    yield World(host, f"{request.node.name}@firma.example")
    drop_in = host.machine.path(f"/etc/systemd/system/{UNIT}.d")
    if os.path.isdir(drop_in):
        shutil.rmtree(drop_in)
        host.machine.run("systemctl", "daemon-reload")
    host.machine.run("systemctl", "reset-failed", UNIT, check=False)


def test_installed_and_running(world):
    """As shipped: started, enabled, harmless, and nobody else reads the configuration."""
    assert world.show("ActiveState") == "active" and world.show("UnitFileState") == "enabled"
    assert world.show("StatusText").startswith("0 accounts")
    status = world.machine.run("stat", "-c", "%A %U:%G", "/etc/multidropd", CONF,
                               "/var/lib/multidropd", "/run/multidropd").stdout.split("\n")
    assert status[:4] == ["drwxr-x--- root:multidropd", "-rw-r----- root:multidropd",
                          "drwx------ multidropd:multidropd",
                          "drwxr-x--- multidropd:multidropd"]
    assert f"\nUid:\t{world.machine.run('id', '-u', 'multidropd').stdout.strip()}\t" in \
        world.machine.run("cat", f"/proc/{world.pid()}/status").stdout
    accounts = json.loads(world.machine.run("multidropctl", "status", "--json").stdout)["accounts"]
    assert [a["state"] for a in accounts] == ["disabled"]
    for group, status in (("multidropd", 0), ("nogroup", 69)):
        asked = world.machine.run("setpriv", "--reuid=nobody", f"--regid={group}",
                                  "--clear-groups", "multidropctl", "status", "-s",
                                  "/run/multidropd/control", check=False)
        assert asked.returncode == status, asked
    page = "/usr/share/doc/multidropd/"
    for name in ("copyright", "changelog.gz", "operations.md", "examples/credentials.conf"):
        assert os.path.exists(world.machine.path(page + name))


def test_lintian(host):
    """Debian's checker of packages finds nothing that is not explained."""
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", host.package],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sandbox(world):
    """F14: at most 1.5 of exposure, the whole system read-only, and no other process to be seen."""
    shown = world.machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    assert float(re.search(r"exposure level for \S+: ([\d.]+)", shown)[1]) <= 1.5
    mounts = world.machine.run("cat", f"/proc/{world.pid()}/mountinfo").stdout
    options = {fields[4]: fields[5].split(",") for fields in map(str.split, mounts.splitlines())}
    assert "ro" in options["/"] and "rw" in options["/var/lib/multidropd"]
    assert "rw" in options["/run/multidropd"]
    daemons, runners = filters(world, world.pid()), filters(world, runner(world))
    assert daemons == runners + 2, "its own filters, on top of the unit's"


def runner(world):
    """The process beside the daemon that starts programs."""
    return int(world.machine.run("cat", f"/proc/{world.pid()}/task/{world.pid()}/children").stdout)


def filters(world, pid):
    status = world.machine.run("cat", f"/proc/{pid}/status").stdout
    return int(re.search(r"^Seccomp_filters:\t(\d+)$", status, re.M)[1])


def test_a_command_gives_the_password(world):
    """In both sandboxes, and one that comes with a reload."""
    world.start()
    since = world.now()
    del world.account["password_file"]
    world.account["password_command"] = "cat /etc/multidropd/sammel.pw"
    world.configure()
    world.systemctl("reload")
    world.event("config.reloaded", since)
    world.put("by command")
    world.wait_arrived("by command")


def test_fetches_and_the_journal_has_all_fields(world):
    world.put("fields")
    since = world.now()
    world.start()
    world.wait_arrived("fields")
    entry = world.event("message.delivered", since)
    assert entry["MULTIDROP_ACCOUNT"] == "sammel" and entry["MULTIDROP_PROVIDER"] == "hoster"
    assert entry["MULTIDROP_RELAY"] == "house" and entry["MULTIDROP_REPLY"].startswith("250 ")
    assert entry["MULTIDROP_MESSAGE_ID"] == "<fields@outside.example>"
    assert entry["MULTIDROP_SENDER"] == "anna@outside.example"
    assert entry["MULTIDROP_RECIPIENT"] == "hans@firma.example"
    assert int(entry["MULTIDROP_SIZE"]) > 300 and entry["MULTIDROP_UIDL"]
    assert entry["_SYSTEMD_UNIT"] == UNIT and entry["SYSLOG_IDENTIFIER"] == "multidropd"
    finished = world.event("cycle.finished", since, f"MULTIDROP_CYCLE={entry['MULTIDROP_CYCLE']}")
    assert int(finished["MULTIDROP_DURATION_MS"]) > 0
    boot = world.machine.run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip()
    environ = world.machine.run("cat", f"/proc/{world.pid()}/environ").stdout.split("\0")
    assert f"BOOT_ID={boot.replace('-', '')}" in environ  # else there would be no redo log
    assert os.path.exists(world.machine.path("/var/lib/multidropd/state.db-redo0"))
    of_account = world.machine.journal(since, "MULTIDROP_ACCOUNT=sammel")
    assert {"cycle.started", "message.delivered", "cycle.finished"} <= {
        e["MULTIDROP_EVENT"] for e in of_account}


def test_the_catalog_explains(world):
    """journalctl -x; what stands there in full is the catalog's own test."""
    since = world.now()
    world.systemctl("restart")
    world.event("daemon.started", since)
    shown = world.machine.run("journalctl", "-q", "-x", since, f"-u{UNIT}").stdout
    for text in ("Subject: multidropd has started", "Subject: multidropd is stopping",
                 "Event: daemon.started"):
        assert text in shown


def test_a_password_stays_out_of_the_journal(world):
    """F13: with everything that can be logged."""
    world.drop_in("[Service]\nExecStart=\nExecStart=/usr/sbin/multidropd -v debug\n")
    world.put("secrets")
    since = world.now()
    world.start()
    world.wait_arrived("secrets")
    world.event("connection.opened", since)
    everything = world.machine.run("journalctl", "-q", "-o", "export", "--all", since).stdout
    assert "secrets" in everything and dovecot.PASSWORD not in everything


def test_reload(world):
    """F05: a broken file changes nothing but the log, a good one is used."""
    world.start()
    pid, since = world.pid(), world.now()
    world.configure(more="\nrelay \"broken\" {\n\tprot = 25\n}\n")
    line = world.config.text().count("\n") + 3
    world.systemctl("reload")
    refused = world.event("config.refused", since)
    assert refused["MULTIDROP_REASON"] == f"{CONF}:{line}"
    assert f"{CONF}:{line}: " in refused["MESSAGE"] and "prot" in refused["MESSAGE"]
    net.wait_until(lambda: "refused" in world.show("StatusText"), 10, "the status says nothing")
    assert world.show("SubState") == "running"
    world.put("after a bad reload")
    world.wait_arrived("after a bad reload")
    shown = world.machine.run("journalctl", "-q", "-x", since, f"-u{UNIT}").stdout
    assert "Subject: Configuration refused" in shown and "Correct the line" in shown

    world.account["postmaster"] = "eva@firma.example"
    world.configure()
    world.systemctl("reload")
    world.event("config.reloaded", since)
    net.wait_until(lambda: "refused" not in world.show("StatusText"), 10,
                   "the status does not change")
    world.dovecot.put(world.box, messages.stored("nobody", "for the new postmaster"))
    net.wait_until(lambda: world.postfix.messages("eva"), 30, "the new file is not in use")
    assert world.pid() == pid and world.show("NRestarts") == "0"


def test_ready_only_with_configuration_and_state(world):
    """F07: else the start fails, with the status that says which, and is not tried again."""
    world.drop_in(QUICK)
    world.systemctl("stop")
    since = world.now()
    world.configure(more="hostname = 3 4\n")
    assert world.systemctl("start", check=False).returncode
    assert (world.show("ExecMainStatus"), world.show("ActiveState")) == ("78", "failed")
    assert f"{CONF}:" in world.event("config.refused", since)["MESSAGE"]

    world.configure()
    with open(world.machine.path(STATE), "r+b") as f:
        good = f.read(16)
        f.seek(0)
        f.write(b"no database here")
    assert world.systemctl("start", check=False).returncode
    assert (world.show("ExecMainStatus"), world.show("ActiveState")) == ("73", "failed")
    assert STATE in world.event("state.failed", since)["MESSAGE"]
    assert not world.machine.journal(since, "MULTIDROP_EVENT=daemon.started")
    assert world.show("NRestarts") == "0"
    with open(world.machine.path(STATE), "r+b") as f:
        assert f.read(16) == b"no database here"  # never replaced
        f.seek(0)
        f.write(good)
    world.systemctl("start")


def test_kill(world):
    """A process that is gone comes again, and so does the mail."""
    world.drop_in(QUICK)
    world.start()
    pid = world.pid()
    world.put("before the kill")
    world.wait_arrived("before the kill")
    world.signal("KILL")
    net.wait_until(lambda: world.show("ActiveState") == "active" and world.pid() != pid, 30,
                   "it is not restarted")
    world.put("after the kill")
    world.wait_arrived("after the kill")
    assert len(world.arrived("before the kill")) == 1


def test_frozen(world):
    """F07: the watchdog hears from a loop that turns, and ends one that does not."""
    world.drop_in(QUICK + "WatchdogSec=3s\nTimeoutAbortSec=2s\n")
    world.start()
    pid, since = world.pid(), world.now()
    heard = world.show("WatchdogTimestampMonotonic")
    net.wait_until(lambda: world.show("WatchdogTimestampMonotonic") != heard, 10,
                   "the watchdog hears nothing")
    assert world.pid() == pid
    world.signal("STOP")
    net.wait_until(lambda: world.show("ActiveState") == "active" and world.pid() != pid, 30,
                   "it is not restarted")
    assert [e for e in world.machine.journal(since, f"UNIT={UNIT}")
            if "atchdog timeout" in e["MESSAGE"]]
    world.put("after the frost")
    world.wait_arrived("after the frost")


class Stalled:
    """A house that stops at a stage of a transaction until it is told to go on."""

    def __init__(self, world, stage, answer):
        self.reached, self.go_on, self._answer = threading.Event(), threading.Event(), answer
        self.sink = world.machine.in_its_network(
            lambda: sink.Sink({stage: [self._stall]}).start())
        world.config.relay("house", host="127.0.0.1", port=self.sink.port, tls="none")

    def _stall(self, session):
        if self._answer:
            session.say(self._answer)
        self.reached.set()
        self.go_on.wait(60)
        return sink.CLOSE if self._answer else None


def stopped_well(world, since):
    net.wait_until(lambda: world.show("ActiveState") == "inactive", 30, "it does not stop")
    assert (world.show("Result"), world.show("ExecMainStatus")) == ("success", "0")
    assert world.machine.journal(since, "MULTIDROP_EVENT=daemon.stopping")


def test_stop_before_the_final_dot(world):
    """K12: the message stays with the provider, at once and without a doubt."""
    house = dict(world.config.relays["house"])
    stalled = Stalled(world, "DATA", "354 go ahead")
    world.put("stopped in its content", b"x" * 70 + b"\r\n" + b"y" * 8_000_000 + b"\r\n")
    world.start()
    assert stalled.reached.wait(30)
    since, before = world.now(), time.monotonic()
    world.systemctl("stop")
    assert time.monotonic() - before < 10  # of 20 that a final dot would have been given
    stopped_well(world, since)
    assert world.dovecot.count(world.box) == 1 and not stalled.sink.transactions
    stalled.go_on.set()
    stalled.sink.stop()
    world.config.relays["house"] = house
    world.start()
    assert b"X-Multidrop-In-Doubt" not in world.wait_arrived("stopped in its content")
    assert not world.machine.journal(since, "MULTIDROP_EVENT=message.in_doubt")


def test_stop_behind_the_final_dot(world):
    """K12: the reply is waited for, and the message is not sent again."""
    stalled = Stalled(world, "dot", None)
    world.put("stopped behind its dot")
    world.start()
    assert stalled.reached.wait(30)
    since = world.now()
    world.machine.run("systemctl", "stop", "--no-block", UNIT)
    world.event("daemon.stopping", since)
    stalled.go_on.set()
    stopped_well(world, since)
    world.start()
    net.wait_until(lambda: not world.dovecot.count(world.box), 30, "it is not deleted")
    assert len(stalled.sink.recipients()) == 1
    assert not world.machine.journal(since, "MULTIDROP_EVENT=message.in_doubt")
    stalled.sink.stop()


def test_without_a_network_at_the_start(world):
    """F08: up, patient, and back by itself."""
    world.systemctl("stop")
    # Nothing is reachable any more. (Taking lo down is not enough: systemd brings it up again.)
    local = ("pref", "0", "from", "all", "lookup", "local")
    world.machine.run("ip", "rule", "del", *local)
    since = world.now()
    try:
        world.start()
        world.put("waits for the network")
        failed = world.event("cycle.failed", since)
        assert failed["MULTIDROP_ERROR"] == "NET" and failed["MULTIDROP_REASON"]
        assert world.show("ActiveState") == "active"
    finally:
        world.machine.run("ip", "rule", "add", *local)
    world.wait_arrived("waits for the network", timeout=120)
    assert world.show("NRestarts") == "0"


def failures(world):
    status = json.loads(world.machine.run("multidropctl", "status", "--json").stdout)
    return next(a["failures"] for a in status["accounts"] if a["name"] == "sammel")


def test_failures_are_counted(world):
    """X14: of four refused connections the journal has the first, and a count of the others."""
    world.config.providers["hoster"]["port"] = 9
    since = world.now()
    world.start()
    world.event("cycle.failed", since)
    for tries in range(2, 5):
        world.signal("USR1")  # due again
        # ended, not only begun: what a stop cuts off is another failure
        net.wait_until(lambda: failures(world) == tries, 30, "no further failure")
    world.systemctl("stop")
    said = world.machine.journal(since, "MULTIDROP_EVENT=cycle.failed")
    said = [e for e in said if "localhost:9:" in e["MESSAGE"]]  # no end of an earlier test
    assert len(said) == 2, [e["MESSAGE"] for e in said]
    first, count = said
    assert "MULTIDROP_REPEATED" not in first and count["MULTIDROP_REPEATED"] == "3"
    assert re.search(r"^sammel: 3 times more since 20\S+Z: localhost:9: ", count["MESSAGE"])
    assert count["MULTIDROP_REASON"] == first["MULTIDROP_REASON"]


def test_second_daemon(world):
    """F09: 75, and the first one does not notice."""
    world.start()
    pid, since = world.pid(), world.now()
    second = world.machine.run("runuser", "-u", "multidropd", "--", "multidropd", check=False)
    assert second.returncode == 75 and "another multidropd" in second.stderr
    world.put("beside another")
    world.wait_arrived("beside another")
    assert world.pid() == pid and not world.machine.journal(since, "MULTIDROP_EVENT=state.failed")


def test_credential(world):
    """F14: the password in a file that is root's alone."""
    world.machine.write("/etc/multidropd/root.pw", dovecot.PASSWORD, 0o600, "root:root")
    world.drop_in("[Service]\nLoadCredential=sammel:/etc/multidropd/root.pw\n")
    del world.account["password_file"]
    world.account["password_credential"] = "sammel"
    world.put("by credential")
    world.start()
    world.wait_arrived("by credential")
    since = world.now()
    world.systemctl("reload")  # the credential is still there
    world.event("config.reloaded", since)


def test_dynamic_user(world):
    """F14: a unit of one's own, with a user that exists only meanwhile and a read-only system."""
    world.systemctl("stop")
    world.machine.write("/etc/multidropd/root.pw", dovecot.PASSWORD, 0o600, "root:root")
    del world.account["password_file"]
    world.account["password_credential"] = "sammel"
    world.machine.write("/etc/dynamic.conf", world.config.text())
    properties = ("DynamicUser=yes", "ProtectSystem=strict", "StateDirectory=dynamic",
                  "RuntimeDirectory=dynamic", "LoadCredential=sammel:/etc/multidropd/root.pw")
    world.put("dynamic")
    world.machine.run("systemd-run", "-q", "--unit=dynamic", "--service-type=notify",
                      *(f"-p{p}" for p in properties), "/usr/sbin/multidropd", "-c",
                      "/etc/dynamic.conf")
    world.wait_arrived("dynamic")
    world.machine.run("systemctl", "stop", "dynamic.service")
    assert os.path.exists(world.machine.path("/var/lib/private/dynamic/state.db"))


def rebuilt(world, version, changed):
    """The package once more, with another version and these conffiles a line longer."""
    tree = os.path.join(world.directory, "rebuilt")
    subprocess.run(["dpkg-deb", "-R", world.package, tree], check=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control) as f:
        text = re.sub(r"^Version: .*", f"Version: {version}", f.read(), flags=re.M)
    with open(control, "w") as f:
        f.write(text)
    for name in changed:
        with open(tree + name, "a") as f:
            f.write("# new in this version\n")
    package = os.path.join(world.directory, "newer.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, package], check=True,
                   stdout=subprocess.DEVNULL)
    return package


def test_upgrade(world):
    """Restarted, own changes kept, the untouched files brought up to date."""
    world.start()
    pid = world.pid()
    gmx = "/etc/multidropd/providers.d/gmx.conf"
    mine = world.config.text()
    package = rebuilt(world, "99.0", (CONF, gmx))
    world.machine.run("dpkg", "--force-confdef", "--force-confold", "--install", package)
    assert world.pid() not in (0, pid) and world.show("ActiveState") == "active"
    with open(world.machine.path(CONF)) as f, open(world.machine.path(gmx)) as g:
        assert f.read() == mine and g.read().endswith("# new in this version\n")
    owner = world.machine.run("stat", "-c", "%a %U:%G", CONF, "/etc/multidropd").stdout
    assert owner == "640 root:multidropd\n750 root:multidropd\n"
    world.put("after the upgrade")
    world.wait_arrived("after the upgrade")


def test_removed_purged_and_back(world):
    """The state outlives the package: nothing is delivered a second time."""
    world.account["keep"] = "forever"
    world.put("known before the purge")
    since = world.now()
    world.start()
    world.wait_arrived("known before the purge")
    world.event("cycle.finished", since)
    world.machine.run("dpkg", "--remove", "multidropd")
    assert world.show("ActiveState") == "inactive"
    assert os.path.exists(world.machine.path(CONF)) and os.path.exists(world.machine.path(STATE))
    purge = world.machine.run("dpkg", "--purge", "multidropd")
    assert "/var/lib/multidropd" in purge.stdout + purge.stderr
    assert not os.path.exists(world.machine.path(CONF))
    assert os.path.exists(world.machine.path(STATE)) and world.machine.run("id", "multidropd")
    assert "multidropd has started" not in world.machine.run("journalctl", "--list-catalog").stdout

    world.machine.run("dpkg", "--install", put_package(world, world.package))
    world.machine.write("/etc/multidropd/sammel.pw", dovecot.PASSWORD, 0o600,
                        "multidropd:multidropd")
    world.start()
    world.put("new after the purge")
    world.wait_arrived("new after the purge")
    assert len(world.arrived("known before the purge")) == 1
