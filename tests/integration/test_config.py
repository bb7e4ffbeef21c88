"""What is refused before anything happens: configuration (F02, F10, F11, F12), secrets (F01, and
test_strangers.py), the state directory; and that looking touches no network (F03)."""
import os

import pytest
from conftest import PASSWORD, expect
from mdtest import ctl, daemon, messages
from mdtest.pop3fake import Pop3Fake


@pytest.fixture
def plain(config):
    """A complete configuration whose provider must never be called."""
    with Pop3Fake() as server:
        config.provider("hoster", port=server.port)
        config.relay("house", port=server.port)
        config.account("sammel", "hoster", "house", PASSWORD)
        yield config
        assert server.connections == 0, "the network was touched"


def line_of(config, section, key):
    """The line of a key within its section."""
    inside = False
    with open(config.path) as f:
        for n, line in enumerate(f, 1):
            inside = line.startswith(section + " ") or (inside and not line.startswith("}"))
            if inside and line.strip().startswith(key + " ="):
                return n
    raise KeyError(key)


FAULTS = {
    "unknown key": ("account", "colour", "blue"),
    "wrong type": ("account", "enabled", "perhaps"),
    "zero interval": ("account", "interval", "0s"),
    "negative interval": ("account", "interval", "-5m"),
    "interval beyond its range": ("account", "interval", "31d"),
    "interval that overflows": ("account", "interval", "99999999999999999999d"),
    "interval that overflows when multiplied": ("account", "interval", "9223372036854775807s"),
    "dangling provider": ("account", "provider", "nobody"),
    "bad unit": ("provider", "timeout", "60 parsecs"),
    "port out of range": ("relay", "port", 70000),
    "not one of the words": ("account", "mode", "both"),
    "no domain": ("account", "domains", []),  # F12
    "LMTP on port 25": ("relay", "protocol", "lmtp"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_f02_fault_is_named_with_its_line(plain, name):
    section, key, value = FAULTS[name]
    {"account": plain.accounts["sammel"], "provider": plain.providers["hoster"],
     "relay": plain.relays["house"]}[section][key] = value
    if name == "LMTP on port 25":
        plain.relays["house"]["port"] = 25
    plain.write()
    run = expect(daemon.check(plain), 78)
    faults = [x for x in run.stderr.splitlines() if x.startswith(plain.path + ":")]
    assert faults and all(x.split(":")[1].isdigit() for x in faults), repr(run)
    if name not in ("no domain", "LMTP on port 25"):
        place = f"{plain.path}:{line_of(plain, section, key)}: "
        assert any(x.startswith(place) for x in faults), repr(run)
    expect(daemon.once(plain), 78)


@pytest.mark.parametrize("kind, name", [
    ("provider", "hoster"), ("relay", "house"), ("account", "sammel")])
def test_f02_defined_twice(plain, kind, name):
    """With the place of both."""
    keys = getattr(plain, kind + "s")[name]
    with open(plain.write(), "a") as f:
        f.write(f'{kind} "{name}" {{\n' + "\n".join(plain._keys(keys, "\t")) + "\n}\n")
    with open(plain.path) as f:
        first, second = [n for n, line in enumerate(f, 1) if line == f'{kind} "{name}" {{\n']
    run = expect(daemon.check(plain), 78)
    assert (f'{plain.path}:{second}: {kind} "{name}" is defined twice; first at '
            f"{plain.path}:{first}\n") in run.stderr


def test_f10_without_tls_it_is_implicit(plain):
    """Towards a server that speaks first, in clear: nothing is said but a TLS handshake."""
    with Pop3Fake() as server:
        plain.provider("hoster", host="localhost", port=server.port, tls=None)
        run = expect(daemon.once(plain), 75)
        assert run.log.find("cycle.failed")[0]["error"] == "TLS"
        assert not [c for c in server.commands if c.split(" ")[0] in ("CAPA", "USER", "AUTH")]


@pytest.mark.parametrize("host, warned", [
    ("pop3.hoster.example", 1), ("192.0.2.1", 1), ("127.hoster.example", 1),
    ("127.0.0.1", 0), ("localhost", 0), ("::1", 0)])
def test_f10_clear_text_is_written_out_and_warned_about_once(plain, host, warned):
    plain.providers["hoster"] |= {"host": host, "tls": "none"}
    plain.account("zweite", "hoster", "house", PASSWORD)
    for account in plain.accounts.values():
        account["enabled"] = False
    with daemon.Daemon(plain) as running:
        running.wait_event("daemon.started")
        assert running.stop() == 0
        warnings = [e for e in running.log.find("config.warning") if "clear text" in e["message"]]
    assert len(warnings) == warned
    line = line_of(plain, 'provider "hoster"', "tls")
    assert all(w["reason"] == f"{plain.path}:{line}" for w in warnings)


def test_f11_no_envelope_header_and_no_word_on_how_else(plain):
    del plain.providers["hoster"]["envelope"]
    plain.write()
    run = expect(daemon.check(plain), 78)
    assert plain.path + ":" in run.stderr and "envelope" in run.stderr
    for decided in ("received-for", "to-cc"):
        plain.accounts["sammel"]["unresolved"] = decided
        plain.write()
        expect(daemon.check(plain), 0)


def test_syntax_error(plain):
    with open(plain.write(), "a") as f:
        f.write('account "x" {\n')
    assert plain.path + ":" in expect(daemon.check(plain), 78).stderr


def test_missing_file(plain):
    run = expect(daemon.run("--once", "-c", plain.path + ".absent"), 78)
    assert ".absent" in run.stderr


def test_f03_good_configuration_passes_without_network(plain):
    plain.write()
    expect(daemon.check(plain), 0)


def test_f01_secret_that_others_may_read(plain):
    plain.write()
    secret = plain.accounts["sammel"]["password_file"]
    os.chmod(secret, 0o644)
    for run in (daemon.check(plain), daemon.once(plain)):
        expect(run, 78)
        assert secret in run.stderr and PASSWORD not in run.stderr + run.stdout


def test_secret_that_is_missing(plain):
    os.remove(plain.accounts["sammel"]["password_file"])
    assert "sammel.pw" in expect(daemon.once(plain), 78).stderr


def test_usage(plain):
    expect(daemon.run("--no-such-option"), 64)


def test_state_directory_is_a_file(plain):
    os.rmdir(plain.state)
    plain.file("state", "in the way")
    run = expect(daemon.once(plain), 73)
    assert plain.state in run.stderr


@pytest.mark.parametrize("garbage", [b"this is no database" * 500, b"\0" * 8192],
                         ids=["text", "zeros"])
def test_corrupt_state_is_refused_and_not_made_anew(config, garbage):
    with Pop3Fake() as server:
        config.provider("hoster", port=server.port)
        config.relay("house", port=server.port)
        config.account("sammel", "hoster", "house", PASSWORD)
        expect(daemon.once(config), 0)
        files = [os.path.join(config.state, n) for n in os.listdir(config.state)]
        (database,) = [f for f in files if os.path.isfile(f) and open(f, "rb").read(6) == b"SQLite"]
        for extra in (database + "-wal", database + "-shm"):
            if os.path.exists(extra):
                os.remove(extra)
        with open(database, "wb") as f:
            f.write(garbage)
        connections = server.connections
        run = expect(daemon.once(config), 73)
        assert database in run.stderr
        assert server.connections == connections, "a login with unusable state"
        with open(database, "rb") as f:
            assert f.read() == garbage


SERVICE_ONLY = "only the service can read"


def credential(section, name):
    section.pop("password_file", None)
    section["password_credential"] = name


def test_f13_what_needs_no_credential_works_in_a_shell(plain):
    """Everything else is checked and asked; who would log in says how it can."""
    credential(plain.accounts["sammel"], "sammel.pw")
    plain.account("aus", "hoster", "house", PASSWORD, enabled=False)
    path = plain.write()
    run = expect(daemon.check(plain), 0)
    assert run.stdout == f"{path}: good\n" and run.stderr.count("\n") == 1
    line = line_of(plain, 'account "sammel"', "password_credential")
    assert run.stderr.startswith(f"{path}:{line}: warning: ") and SERVICE_ONLY in run.stderr
    run = expect(ctl.explain(plain, messages.stored("hans", "Angebot")), 0)
    assert "hans@firma.example" in run.stdout and run.stderr == ""
    for command in (["held", "list"], ["trace", "hans@firma.example"]):
        run = expect(ctl.run(*command, "-c", path), 1)
        assert "has multidropd run with this configuration?" in run.stderr
    for command in (["probe", "-a", "sammel"], ["adopt", "--yes", "sammel"]):
        run = expect(ctl.run(*command, "-c", path), 1)
        assert SERVICE_ONLY in run.stderr and "CREDENTIALS_DIRECTORY=/run/" in run.stderr
    run = expect(ctl.run("adopt", "--yes", "aus", "-c", path), 1)
    assert "set enabled = true, and repeat this before multidropd reloads" in run.stderr
    plain.accounts["sammel"]["colour"] = "blue"
    plain.write()
    assert "colour" in expect(daemon.check(plain), 78).stderr


def test_f13_who_logs_in_needs_the_credential(plain):
    credential(plain.accounts["sammel"], "sammel.pw")
    for options in ([], ["--once"]):
        run = expect(daemon.run("-c", plain.write(), *options), 78)
        assert "$CREDENTIALS_DIRECTORY is not set" in run.stderr


def test_f13_probe_needs_the_one_password_that_it_uses(config):
    """Not the relay's."""
    with Pop3Fake([messages.stored("hans", "Angebot")]) as server:
        config.provider("hoster", port=server.port)
        credential(config.relay("house", port=1, user="gate", tls="starttls"), "house.pw")
        config.account("sammel", "hoster", "house", server.password)
        expect(ctl.probe(config), 0)
        assert server.connections == 1


@pytest.mark.parametrize("words, says", {
    "pause": "ACCOUNT is missing; see multidropctl pause --help",
    "held show": "ID is missing; see multidropctl held show --help",
    "explain -a x": "MESSAGE|- is missing; see multidropctl explain --help",
    "import getmailrc": "FILE... is missing; see multidropctl import getmailrc --help",
    "held": "held has parts; see multidropctl help held",
    "held nix": "held has no such part; see multidropctl help held",
    "import pullmial x": "import has no such part; see multidropctl help import",
    "import": "import has parts; see multidropctl help import",
}.items())
def test_misuse_says_what_is_missing(words, says):
    run = expect(ctl.run(*words.split()), 64)
    assert run.stderr == f"multidropctl: {says}\n" and not run.stdout


def test_what_multidropctl_cannot_read_names_the_way_out(plain, anybodys_programs):
    """Not there, and not for us: who asks learns what to do, nothing about other causes."""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    run = expect(ctl.explain(plain, b"", account="nix"), 64)
    assert f'no account "nix" in {plain.path}: sammel' in run.stderr
    asked = (["held", "list"], ["status"])  # the state, the daemon
    for command in asked:
        run = expect(ctl.run(*command, "-c", plain.path + ".none"), 78)
        assert run.stderr.endswith("multidropctl: -c FILE names another one\n")
    os.chmod(plain.path, 0o600)
    for command in asked:
        run = expect(ctl.run(*command, "-c", plain.path, prefix=nobody), 78)
        assert run.stderr.endswith("multidropctl: be root, or another who may read that file\n")
    os.chmod(plain.path, 0o644)
    os.makedirs(plain.state, exist_ok=True)
    os.chmod(plain.state, 0o700)
    run = expect(ctl.run("held", "list", "-c", plain.path, prefix=nobody), 1)
    assert run.stderr.endswith("Permission denied; be root or the daemon's user\n")
