"""The world of the integration tests: one CA, Dovecot and Postfix a test program, and for every
test an own maildrop and configuration."""
import itertools
import os
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from mdtest import ca as ca_module  # noqa: E402
from mdtest import ctl, daemon, net  # noqa: E402
from mdtest import dovecot as dovecot_module, postfix as postfix_module  # noqa: E402

PASSWORD = dovecot_module.PASSWORD
_serial = itertools.count(1)


@pytest.fixture(scope="session")
def directory():
    if os.getuid() != 0:
        pytest.exit("the integration tests start Dovecot and Postfix and need root", 1)
    path = net.temp_dir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def ca(directory):
    return ca_module.CA(os.path.join(directory, "ca"))


@pytest.fixture(scope="session")
def certificate(ca):
    return ca.server()


@pytest.fixture(scope="session")
def dovecot(directory, certificate):
    os.mkdir(os.path.join(directory, "d"))
    server = dovecot_module.Dovecot(os.path.join(directory, "d"), certificate)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postfix_server(directory, certificate):
    os.mkdir(os.path.join(directory, "p"))
    server = postfix_module.Postfix(os.path.join(directory, "p"), certificate)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def postfix(postfix_server):
    """The in-house server, its mailboxes empty."""
    postfix_server.clear()
    return postfix_server


@pytest.fixture
def box():
    """The name of a maildrop that no other test uses."""
    return f"box{next(_serial)}@firma.example"


@pytest.fixture
def config(directory):
    return daemon.Config(os.path.join(directory, f"c{next(_serial)}"))


@pytest.fixture
def anybodys_programs(directory, monkeypatch):
    """The programs where other users can run them, too."""
    for variable, path in (("MULTIDROPCTL", ctl.program()), ("MULTIDROPD", daemon.program())):
        copy = os.path.join(directory, "anybodys-" + os.path.basename(path))
        if not os.path.exists(copy):
            subprocess.run(["install", "-m", "755", path, copy], check=True)
        monkeypatch.setenv(variable, copy)


@pytest.fixture
def house(config, dovecot, postfix, ca, box):
    """The main job: account "sammel", Dovecot over implicit TLS, Postfix with STARTTLS."""
    config.provider("hoster", host="localhost", port=dovecot.pop3s, tls="implicit",
                    tls_ca_file=ca.cert)
    config.relay("house", host="localhost", port=postfix.port, tls="starttls",
                 tls_ca_file=ca.cert)
    config.account("sammel", "hoster", "house", PASSWORD, user=box)
    return config


def fake_provider(config, server, name="fake", **keys):
    """A provider section for a scripted POP3 server."""
    return config.provider(name, **{"port": server.port, **keys})


def expect(run, status):
    assert run.status == status, f"exit status {status} expected\n{run!r}"
    assert "Sanitizer" not in run.stderr and "runtime error:" not in run.stderr, repr(run)
    return run
