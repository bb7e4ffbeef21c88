"""What the system tests share: a booted Debian of its own for each program of them, with a provider
(Dovecot, POP3 over TLS) and a house (Postfix, STARTTLS) in it, and the package beside it."""
import contextlib
import os
import shutil
import sys
import tempfile
from types import SimpleNamespace

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from mdtest import ca, dovecot, machine, postfix  # noqa: E402

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
UNIT = "multidropd.service"
CONF = "/etc/multidropd/multidropd.conf"
CA = "/etc/ssl/mdtest.pem"
SKIPPED = 77
MAILBOXES = ("hans", "eva", "otto", "postmaster", "admin")


def bring_up(host, stack):
    """Everything that the tests share; what is to be undone goes on the stack."""
    machine.check_host()
    host.package = machine.build_package(SOURCE, os.environ["PACKAGE_BUILD"])
    cache = machine.Cache()
    stack.append(cache.close)
    root = cache.root((*machine.PEERS, *machine.dependencies(host.package)))
    # Not below /tmp, which a booting machine clears.
    host.directory = tempfile.mkdtemp(prefix="mdtest-", dir="/var/tmp")
    stack.append(lambda: shutil.rmtree(host.directory))
    os.chmod(host.directory, 0o755)
    authority = ca.CA(os.path.join(host.directory, "ca"))
    certificate = authority.server()
    host.machine = machine.Machine(root, host.directory)
    host.machine.boot()
    stack.append(host.machine.stop)
    host.machine.write("/etc/hosts", "127.0.0.1 localhost\n")
    with open(authority.cert) as f:
        host.machine.write(CA, f.read())
    for name in ("dovecot", "postfix"):
        os.mkdir(os.path.join(host.directory, name))
    host.dovecot = dovecot.Dovecot(os.path.join(host.directory, "dovecot"), certificate)
    host.postfix = postfix.Postfix(
        os.path.join(host.directory, "postfix"), certificate, MAILBOXES)
    host.machine.run("systemd-run", "-q", "--unit=provider", *host.dovecot.configure())
    house = host.postfix.configure()
    host.machine.run("chown", "postfix", os.path.join(host.directory, "postfix", "data"))
    host.machine.run("systemd-run", "-q", "--unit=house", *house, "start-fg")


def put_package(host, package):
    shutil.copy(package, host.directory)
    return os.path.join(host.directory, os.path.basename(package))


@contextlib.contextmanager
def machine_of():
    """The machine, its peers running, the package not installed."""
    stack, host = [], SimpleNamespace()
    try:
        bring_up(host, stack)
        yield host
    except machine.Unavailable as reason:
        print(f"SKIPPED: no system test: {reason}", file=sys.stderr)
        pytest.exit("skipped", SKIPPED)
    finally:
        while stack:
            stack.pop()()
