"""Other users of this machine, and what they may have put in the way: links and FIFOs in place of
the files of multidropd, secrets that others can read (F01), the control socket.

The daemon runs as `daemon`, the stranger is `nobody`; both are everywhere, and neither is root.
"""
import os
import pwd
import socket
import stat
import subprocess
import threading

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

OURS, STRANGER = pwd.getpwnam("daemon"), pwd.getpwnam("nobody")
MAIL = (b"X-Original-To: hans@firma.example\r\nFrom: a@b.example\r\n\r\n"
        + b"hallo\r\n" * 50_000)  # a spool file
PRECIOUS = b"root:x:0:0:precious\n"


pytestmark = pytest.mark.usefixtures("anybodys_programs")


def become(user):
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def give(path, user):
    os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    return path


@pytest.fixture
def world(config):
    """A configuration of the daemon's user; `provider` and `sink` are its peers."""
    with Pop3Fake([MAIL]) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        account = config.account("sammel", "fake", "house", PASSWORD, interval="1h")
        for path in (config.directory, config.state, account["password_file"]):
            give(path, OURS)
        config.provider_server, config.sink = provider, sink
        yield config


@pytest.fixture(params=[PRECIOUS, b""], ids=["text", "empty"])
def victim(world, request):
    """A file of somebody else's that must stay as it is, and that the daemon may not even read. An
    empty one is what SQLite would take for a new database."""
    path = os.path.join(os.path.dirname(world.directory), "victim-" + os.path.basename(
        world.directory))
    with open(path, "wb") as f:
        f.write(request.param)
    os.chmod(path, 0o600)
    give(path, STRANGER)
    before = os.stat(path)
    yield path
    with open(path, "rb") as f:
        assert f.read() == request.param
    after = os.stat(path)
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid)


def run_as(user, *args):
    done = subprocess.run([*become(user), daemon.program(), "-l", "json", *args],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, env=daemon.environment())
    return daemon.Run(done.returncode, done.stdout, done.stderr)


def once(config, user=OURS):
    return run_as(user, "--once", "-c", config.write())


def untouched(config):
    assert config.provider_server.connections == 0


# ---- the state directory ----

def test_root_does_not_lock_the_daemon_out(world):
    """An administrator tries it by hand before the service has ever run."""
    expect(daemon.once(world), 0)
    made = os.listdir(world.state)
    assert "state.db" in made and "sammel.lock" in made
    for name in made:
        assert os.stat(os.path.join(world.state, name)).st_uid == OURS.pw_uid, name
    world.accounts["sammel"]["interval"] = "1s"
    world.provider_server.maildrop.append(("later", MAIL + b"more\r\n"))
    expect(once(world), 0)
    assert len(world.sink.transactions) == 2


@pytest.mark.parametrize("user", [OURS, None], ids=["user", "root"])
@pytest.mark.parametrize("name, status", [
    ("state.db", 73), ("sammel.lock", 75), (".session-fake-0.lock", 75)])
def test_a_link_in_place_of_our_file(world, victim, name, status, user):
    """Refused and named, for root as well, who could have written there."""
    os.symlink(victim, os.path.join(world.state, name))
    run = once(world, user) if user else daemon.once(world)
    expect(run, status)
    assert name in run.stderr
    untouched(world)


@pytest.mark.parametrize("user", [OURS, None], ids=["user", "root"])
def test_a_link_in_place_of_the_daemons_lock(world, victim, user):
    os.symlink(victim, os.path.join(world.state, ".daemon.lock"))
    with daemon.Daemon(world, prefix=become(user) if user else ()) as running:
        assert running.ended() == 73
        assert ".daemon.lock" in str(running.log)
    untouched(world)


@pytest.mark.parametrize("name", ["state.db-wal", "state.db-shm", "state.db-journal"])
def test_a_link_in_place_of_what_belongs_to_the_database(world, victim, name):
    """As root, who could write to the victim."""
    expect(daemon.once(world), 0)
    for each in os.listdir(world.state):
        if each.startswith("state.db-"):
            os.remove(os.path.join(world.state, each))
    os.symlink(victim, os.path.join(world.state, name))
    daemon.once(world)  # whatever it says: the victim is looked at afterwards


@pytest.mark.parametrize("name", ["state.db", "sammel.lock"])
def test_a_hard_link_in_place_of_our_file(world, victim, name):
    os.link(victim, os.path.join(world.state, name))
    run = once(world)
    assert run.status in (73, 75) and name in run.stderr
    untouched(world)


@pytest.mark.parametrize("name", ["state.db", "sammel.lock"])
def test_a_fifo_in_place_of_our_file(world, name):
    """Nobody waits for its other end."""
    path = os.path.join(world.state, name)
    os.mkfifo(path, 0o600)
    give(path, OURS)
    run = once(world)
    if name == "state.db":
        assert run.status == 73 and name in run.stderr
        untouched(world)
    else:
        expect(run, 0)  # a lock needs no content


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_state_directory_that_others_may_write_to(world, mode):
    """Whoever can put a file there decides what was delivered."""
    os.chmod(world.state, mode)
    assert world.state in expect(once(world), 73).stderr
    untouched(world)


def test_nothing_of_ours_is_open_to_others(world):
    """With the widest umask, and whatever is there while it runs."""
    prefix = ("sh", "-c", 'umask 0; exec "$@"', "sh", *become(OURS))
    os.chmod(world.state, 0o755)
    held = threading.Event()
    world.sink.behaviour["dot"] = [lambda s: held.wait(20) and None]
    with daemon.Daemon(world, prefix=prefix) as running:
        running.wait(lambda: world.sink.attempts, what="message before its dot")
        files = {name: os.lstat(os.path.join(world.state, name))
                 for name in os.listdir(world.state)}
        assert {"state.db", "state.db-wal", "state.db-shm", "sammel.lock",
                ".daemon.lock"} <= set(files)
        for name, status in files.items():
            assert stat.S_IMODE(status.st_mode) == 0o600, name
            assert status.st_uid == OURS.pw_uid, name
        spools = [os.readlink(f"/proc/{running.process.pid}/fd/{fd}")
                  for fd in os.listdir(f"/proc/{running.process.pid}/fd")]
        assert any(x.startswith(world.state + "/#") and x.endswith("(deleted)") for x in spools)
        held.set()
        running.wait_event("cycle.finished")


# ---- secrets and configuration (F01) ----

def secret_of(config):
    return config.accounts["sammel"]["password_file"]


@pytest.mark.parametrize("mode, owner", [
    (0o644, OURS), (0o640, OURS), (0o604, OURS), (0o660, OURS), (0o620, OURS), (0o602, OURS),
    (0o600, STRANGER), (0o644, STRANGER)])
@pytest.mark.parametrize("command", [("--once",), ("--test-config",), ()])
def test_f01_a_secret_that_is_not_ours_alone(world, mode, owner, command):
    os.chmod(secret_of(world), mode)
    give(secret_of(world), owner)
    for user in (OURS, None):
        if user and owner is STRANGER and not mode & 0o044:
            continue  # it cannot even be read
        args = (*command, "-c", world.write())
        run = expect(run_as(user, *args) if user else daemon.run("-l", "json", *args), 78)
        assert secret_of(world) in run.stderr
        assert PASSWORD not in run.stderr + run.stdout
    untouched(world)


@pytest.mark.parametrize("owner", [None, OURS], ids=["root", "user"])
def test_f01_root_and_the_daemons_user_may_own_it(world, owner):
    if owner is None:
        os.chown(secret_of(world), 0, 0)
        expect(daemon.run("--test-config", "-c", world.write()), 0)
    else:
        expect(run_as(OURS, "--test-config", "-c", world.write()), 0)


@pytest.mark.parametrize("mode, status", [(0o600, 0), (0o640, 78), (0o604, 78)])
def test_f01_a_password_in_the_configuration(world, mode, status):
    account = world.accounts["sammel"]
    del account["password_file"]
    account["password"] = PASSWORD
    path = give(world.file("own.conf", world.text(), mode), OURS)
    run = expect(run_as(OURS, "--test-config", "-c", path), status)
    assert PASSWORD not in run.stderr + run.stdout


def test_f01_the_mode_that_counts_is_that_of_the_file_behind_a_link(world):
    """A link is followed, what it leads to is looked at: on the opened descriptor."""
    real = secret_of(world) + ".real"
    os.rename(secret_of(world), real)
    os.symlink(real, secret_of(world))
    expect(run_as(OURS, "--test-config", "-c", world.write()), 0)
    os.chmod(real, 0o644)
    expect(run_as(OURS, "--test-config", "-c", world.path), 78)


@pytest.mark.parametrize("what", ["secret", "include", "map_file", "the configuration itself"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "device"])
def test_what_is_no_file(world, what, kind):
    """None of them is waited for, or read from."""
    path = secret_of(world)
    if what == "include":
        path = os.path.join(world.directory, "more.conf")
    elif what == "map_file":
        path = world.accounts["sammel"]["map_file"] = os.path.join(world.directory, "map")
    text = world.text() + ('include("more.conf")\n' if what == "include" else "")
    conf = world.file("multidropd.conf", text)
    path = conf if what == "the configuration itself" else path
    if os.path.exists(path):
        os.remove(path)
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "fifo":
            os.mkfifo(path, 0o600)
        elif kind == "directory":
            os.mkdir(path, 0o700)
        elif kind == "socket":
            listener.bind(path)
        else:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
        run = expect(daemon.run("--test-config", "-c", conf), 78)
    assert path in run.stderr


# ---- the control socket ----

@pytest.fixture
def running(world):
    with daemon.Daemon(world, prefix=become(OURS)) as process:
        process.wait_event("cycle.finished")
        yield process


def test_the_control_socket_is_ours(world, running):
    status = os.stat(world.top["control_socket"])
    assert stat.S_IMODE(status.st_mode) == 0o660 and status.st_uid == OURS.pw_uid
    expect(ctl.ask(world, "status", prefix=become(STRANGER)), 69)
    expect(ctl.ask(world, "status", prefix=become(OURS)), 0)
    expect(ctl.ask(world, "status"), 0)


def test_a_strangers_credentials_are_looked_at(world, running):
    """Behind a door that somebody has opened; and what he sends is not read."""
    os.chmod(world.top["control_socket"], 0o666)
    for command in (("status",), ("pause", "sammel"), ("reload",)):
        run = expect(ctl.ask(world, *command, prefix=become(STRANGER)), 1)
        assert "only root, the daemon's user and its group" in run.stderr
    assert not running.log.find("config.reloaded")
    assert ctl.status(world)["accounts"]["sammel"]["state"] != "paused"


def test_a_strangers_socket_is_not_taken_for_the_daemon(world):
    """Where the folder is his: root's multidropctl hears what it hears, and gives nothing away."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(world.top["control_socket"])
        listener.listen()
        give(world.top["control_socket"], STRANGER)
        with daemon.Daemon(world, prefix=become(OURS)) as running:
            running.wait_event("control.failed")
            running.wait_event("cycle.finished")


def test_a_link_in_place_of_the_socket(world, victim):
    os.symlink(victim, world.top["control_socket"])
    with daemon.Daemon(world) as running:  # as root, who could remove anything
        (entry,) = running.wait_event("control.failed")
        assert "is there and is no socket" in entry["reason"]
        assert running.stop() == 0
    assert os.path.islink(world.top["control_socket"])


def test_others_cannot_start_it_on_our_state(world):
    """They may read a configuration; the state and the secrets are not theirs."""
    give(world.directory, STRANGER)
    os.chmod(world.state, 0o700)
    run = once(world, STRANGER)
    assert run.status in (73, 78), repr(run)
    untouched(world)
