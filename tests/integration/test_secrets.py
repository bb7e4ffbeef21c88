"""Passwords and tokens stay where they belong (F13, T17): in a build as it is shipped (MULTIDROPD
is the one without sanitizers), with everything logged, as an unprivileged user, after logins at
both sides over TLS."""
import base64
import os
import pwd
import signal
import stat
import subprocess

import pytest
from mdtest import ctl, daemon, net, process
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink
from test_http import ROUTES, get, listen

# Long, so that of a freed copy more is left than what malloc() writes over its beginning.
POP3_SECRET = "Der-Zaunkoenig-sitzt-im-Heckenrosenbusch-und-singt-4711-mal-am-Tag"
SMTP_SECRET = "Das-Rotkehlchen-huepft-0815-mal-ueber-die-Gartenmauer-und-zurueck"
PIECE = 12  # octets that nothing else contains by chance
USERS = {POP3_SECRET: "sammel@firma.example", SMTP_SECRET: "gate"}
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")
# More than is kept in memory: there is a spool file.
MAIL = (b"X-Original-To: hans@firma.example\r\nFrom: a@b.example\r\n\r\n"
        + b"hallo\r\n" * 50_000)
EXTENSIONS = ("PIPELINING", "8BITMIME", "AUTH PLAIN LOGIN")


pytestmark = pytest.mark.usefixtures("anybodys_programs")


def blobs(secret):
    """What it looks like in the mechanisms that can be read; of what precedes it, nothing."""
    user = USERS[secret]
    encoded = [secret.encode()]
    for before, behind in (("", ""), (f"\0{user}\0", ""), (f"user={user}\1auth=Bearer ", "\1\1")):
        blob = base64.b64encode((before + secret + behind).encode())
        encoded.append(blob[(len(before) + 2) // 3 * 4:])
    return encoded


def pieces(blob):
    return [blob[i:i + PIECE] for i in range(0, len(blob) - PIECE + 1, PIECE)]


def found(text, *secrets):
    return [piece for secret in secrets for blob in blobs(secret) for piece in pieces(blob)
            if piece in text]


def owned(path):
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


def set_secret(config, keys, origin, name, secret):
    """Of an account's or relay's section, from that origin; variables for the daemon."""
    keys.pop("password_file", None)
    if origin == "password":
        keys[origin] = secret
        config.write = lambda: owned(config.file("multidropd.conf", config.text(), 0o600))
        return {}
    path = owned(config.file(name, secret + "\n", mode=0o400))
    if origin == "password_credential":
        keys[origin] = name
        return {"CREDENTIALS_DIRECTORY": config.directory}
    keys[origin] = path if origin == "password_file" else "cat " + path
    return {}


@pytest.fixture
def world(config, certificate, ca):
    """world(origin, auth): a running daemon of nobody's that has delivered one message."""
    opened = []

    def start(origin, auth):
        answers = {"AUTH": lambda s: None} if auth == "user" else {"AUTH": sasl}
        provider = Pop3Fake([MAIL], answers, tls="implicit", certificate=certificate)
        sink = Sink({"AUTH": smtp_sasl}, tls="starttls", certificate=certificate,
                    extensions=EXTENSIONS)
        provider.password = POP3_SECRET
        provider.capabilities += ("SASL PLAIN LOGIN XOAUTH2",)
        opened.extend((provider, sink))
        config.provider("fake", host="localhost", port=provider.start().port, tls="implicit",
                        tls_ca_file=ca.cert, auth=auth)
        # One connection: a second, for the question of backscatter.h, may still be logging in.
        relay = config.relay("house", host="localhost", port=sink.start().port, tls="starttls",
                             tls_ca_file=ca.cert, user="gate", connections=1,
                             auth="login" if auth == "login" else "plain")
        account = config.account("sammel", "fake", "house", POP3_SECRET, interval="1h",
                                 user=USERS[POP3_SECRET])
        variables = set_secret(config, account, origin, "sammel.secret", POP3_SECRET)
        variables |= set_secret(config, relay, origin, "house.secret", SMTP_SECRET)
        listen(config)
        owned(config.directory), owned(config.state)
        running = daemon.Daemon(config, "-v", "debug", prefix=AS_NOBODY, **variables)
        opened.append(running)
        running.start().wait_event("cycle.finished")
        assert len(sink.transactions) == 1, str(running.log)
        return running
    yield start
    for one in reversed(opened):
        one.__exit__(None, None, None)


def sasl(session):
    """AUTH with or without an initial response; whatever is said is right."""
    words = session.argument.split(" ")
    if words[0] == "LOGIN":
        session.say("+ VXNlcm5hbWU6")
        session.read_command()
        session.say("+ UGFzc3dvcmQ6")
        session.read_command()
    elif len(words) == 1:
        session.say("+ ")
        session.read_command()
    with session.server.lock:
        session.snapshot = list(session.server.maildrop)
    return "+OK logged in"


def smtp_sasl(session):
    line = session.server.commands[-1]
    if line.split(" ")[1:] == ["LOGIN"]:
        session.say("334 VXNlcm5hbWU6")
        session.read_command()
        session.say("334 UGFzc3dvcmQ6")
        session.read_command()
    return "235 2.7.0 welcome"


ORIGINS = ("password", "password_file", "password_credential", "password_command")
AUTHS = ("user", "plain", "login", "xoauth2")


def state_files(config):
    text = b""
    for folder, _, names in os.walk(config.state):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                text += name.encode() + f.read()
    return text


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("auth", AUTHS)
def test_nothing_shows_a_secret(world, config, origin, auth):
    running = world(origin, auth)
    pid = running.process.pid
    said = "".join(ctl.ask(config, *command).stdout for command in (
        ("status",), ("status", "--json"), ("metrics",), ("reload",), ("fetch", "sammel")))
    said += ctl.run("trace", "-c", config.path, "hans@firma.example").stdout
    assert "hans@firma.example" in said and running.log.find("connection.opened")
    everything = {"/proc": process.everything_shown(pid), "the log": str(running.log).encode(),
                  "answers": said.encode(), "the state": state_files(config),
                  "pages": b"".join(get(config.top["metrics_listen"], p).body for p in ROUTES)}
    for place, text in everything.items():
        assert text and not found(text, POP3_SECRET, SMTP_SECRET), place


@pytest.mark.parametrize("auth", AUTHS)
def test_what_a_command_printed_is_gone_from_memory(world, auth):
    """After the login, of daemon and runner: the secret and all that was made of it."""
    pid = world("password_command", auth).process.pid
    for each in (pid, process.runner(pid)):
        memory = process.memory(each)
        for blob in [b for secret in USERS for b in blobs(secret)]:
            left = [(p, process.occurrences(memory, p)) for p in pieces(blob)]
            assert not [x for x in left if x[1]], each == pid


@pytest.mark.parametrize("origin", ["password_file", "password_credential"])
@pytest.mark.parametrize("auth", AUTHS)
def test_of_what_is_configured_memory_has_one_copy(world, origin, auth):
    """The one that the next login takes; the runner has none."""
    pid = world(origin, auth).process.pid
    memory, beside = process.memory(pid), process.memory(process.runner(pid))
    for plain, *encoded in map(blobs, USERS):
        for piece in [p for blob in encoded for p in pieces(blob)]:
            assert not process.occurrences(memory, piece), piece
        for piece in pieces(plain):
            places = process.occurrences(memory, piece)
            assert len(places) == 1 and "[stack]" not in places[0], (piece, places)
            assert not process.occurrences(beside, piece), piece


def test_the_search_finds_what_is_there(world):
    """Else it would prove nothing: the user's name stands in memory more than once."""
    pid = world("password_file", "plain").process.pid
    assert process.occurrences(process.memory(pid), USERS[POP3_SECRET].encode())


def test_the_program_holds_none(world):
    with open(daemon.program(), "rb") as f:
        assert not found(f.read(), POP3_SECRET, SMTP_SECRET)


# ---- others of the same user, and cores ----

@pytest.mark.parametrize("which", ["daemon", "runner"])
def test_its_own_user_cannot_look_into_it(world, which):
    pid = world("password_file", "plain").process.pid
    pid = pid if which == "daemon" else process.runner(pid)
    for name in ("mem", "environ", "maps"):
        done = subprocess.run([*AS_NOBODY, "/usr/bin/python3", "-c",
                               f"open('/proc/{pid}/{name}', 'rb').read(1)"],
                              capture_output=True, text=True)
        assert done.returncode and "PermissionError" in done.stderr, (name, done)


TRACE = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(0 if libc.ptrace(16, int(sys.argv[1]), None, None) == 0 else ctypes.get_errno())
"""


def attach(pid):
    """PTRACE_ATTACH as nobody, as gdb and gcore begin; 0 or errno."""
    return subprocess.run([*AS_NOBODY, "/usr/bin/python3", "-c", TRACE, str(pid)]).returncode


def test_its_own_user_cannot_trace_it(world):
    pid = world("password_file", "plain").process.pid
    assert attach(pid) == 1 and attach(process.runner(pid)) == 1  # EPERM
    with subprocess.Popen([*AS_NOBODY, "sleep", "1000"]) as other:
        net.wait_until(lambda: process.status(other.pid)["Name"] == "sleep", 10, "no sleep")
        assert attach(other.pid) == 0, "this machine lets nobody trace anything"
        other.kill()


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGQUIT, signal.SIGSEGV])
def test_no_core(world, config, number):
    """With any core_pattern: nothing is written, and nothing is piped to a helper."""
    running = world("password_file", "plain")
    running.signal(number)
    assert running.ended() == -number
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    cores = [name for folder in (config.directory, config.state, os.getcwd(), "/")
             for name in os.listdir(folder) if name.startswith("core")]
    assert not [c for c in cores if stat.S_ISREG(os.stat(c).st_mode)], (pattern, cores)
