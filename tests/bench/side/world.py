"""The servers of the comparison, and maildrops that are the same for everybody.

A Stock is a set of messages in files; a maildrop is filled with hard links to them, so that it is
fresh for every program and every round, and takes no time to make. Dovecot unlinks or renames a
Maildir's files and never writes to them.
"""
import os
import re
import subprocess

from . import ROOT
from mdtest import ca, dovecot, messages, net, postfix, sink

TOOLS = os.path.join(ROOT, "build", "release", "tests", "bench")
PASSWORD = dovecot.PASSWORD
RECIPIENT = "hans@firma.example"

# As somebody would set it up who has many users: processes are used again. A message that stays is
# not renamed when it is read.
DOVECOT = """
pop3_no_flag_updates = yes
service pop3-login {
  service_count = 0
  process_min_avail = 1
  client_limit = 2000
}
service pop3 {
  service_count = 1000
  process_min_avail = 2
}
service auth {
  client_limit = 4000
}
"""


def tool(name):
    path = os.path.join(TOOLS, name)
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{path} is missing: cmake --preset release && "
                         "cmake --build --preset release")
    return path


class Stock:
    def __init__(self, directory, count, octets):
        self.directory, self.count, self.octets = directory, count, octets
        os.makedirs(directory)
        line = b"x" * 70 + b"\r\n"
        self.total = 0
        for n in range(count):
            head = messages.stored(RECIPIENT, f"n{n:06d}", b"")
            body = line * max(1, (octets - len(head)) // len(line))
            with open(self._path(n), "wb") as f:
                f.write(head)
                f.write(body)
            os.chown(self._path(n), *dovecot.owner())
            self.total += len(head) + len(body)

    def _path(self, n):
        return os.path.join(self.directory, f"n{n:06d}")

    def fill(self, server, user, first=0, count=None):
        """Puts `count` messages from number `first` on into the user's maildrop."""
        new = os.path.join(server.maildir(user), "new")
        for n in range(first, first + (self.count - first if count is None else count)):
            size = os.path.getsize(self._path(n))
            # sizes in the name, as Dovecot's own delivery writes them
            name = f"{1700000000 + n}.M0P1.bench,S={size},W={size}"
            os.link(self._path(n), os.path.join(new, name))

    def close(self):
        for name in os.listdir(self.directory):
            os.unlink(os.path.join(self.directory, name))
        os.rmdir(self.directory)


class Sink(sink.SmtpSink):
    """With `dump` it also keeps what it took."""

    def __init__(self, directory, lmtp=False, dump=False):
        super().__init__()
        options = ["-L"] * lmtp
        self._dump = None
        if dump:
            folder = os.path.join(directory, "dump")
            os.makedirs(folder)
            os.chown(folder, *dovecot.owner())
            self._dump = os.path.join(folder, "all")
            options += ["-D", self._dump]
        self.start(*options)

    def subjects(self):
        with open(self._dump, "rb") as f:
            return subjects(f.read())


class MaildirTarget:
    """Where the programs deliver that speak no SMTP."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "inbox")
        for folder in (self.path, *(os.path.join(self.path, p) for p in dovecot.PARTS)):
            os.makedirs(folder)
            os.chown(folder, *dovecot.owner())

    def _files(self):
        return [os.path.join(self.path, p, n) for p in ("new", "cur")
                for n in os.listdir(os.path.join(self.path, p))]

    def stop(self):
        return len(self._files())

    def subjects(self):
        found = []
        for path in self._files():
            with open(path, "rb") as f:
                found += subjects(f.read())
        return found


class House:
    """A real Postfix with a real queue, whose mail is thrown away behind it."""
    SETTINGS = {"virtual_transport": "discard:", "in_flow_delay": "0s"}

    def __init__(self, directory, certificate):
        place = os.path.join(directory, "postfix")
        os.makedirs(place)
        self._server = postfix.Postfix(place, certificate, settings=self.SETTINGS).start()
        self.port = self._server.port

    def taken(self):
        """All that has been delivered so far; waits until the queue is empty."""
        self._server.settle()
        return self._server.log().count("status=sent")

    def stop(self):
        self._server.stop()


class Line:
    """A line to a server's port with a round trip of so many milliseconds."""

    def __init__(self, target, rtt):
        self.port = net.free_port()
        self._process = subprocess.Popen([tool("delay_proxy"), str(self.port), str(target),
                                          str(rtt)], stdin=subprocess.DEVNULL)
        net.wait_until(lambda: net.answers(self.port), 10, "the proxy does not answer")

    def stop(self):
        net.end_process(self._process)


def subjects(text):
    return [s.decode() for s in re.findall(rb"^Subject: (n\d+)\r?$", text, re.M)]


class World:
    """One Dovecot for all, and places for everything else."""

    def __init__(self, options):
        self.options = options
        self.directory = net.temp_dir()
        self._serial = 0
        authority = ca.CA(os.path.join(self.directory, "ca"))
        self.certificate = authority.server()
        place = os.path.join(self.directory, "dovecot")
        self.dovecot = dovecot.Dovecot(place, self.certificate, more=DOVECOT).start()

    def place(self, name):
        """A new directory that everybody's user may write into."""
        self._serial += 1
        path = os.path.join(self.directory, f"{self._serial:04d}-{name}")
        os.mkdir(path)
        os.chown(path, *dovecot.owner())
        return path

    def stop(self):
        self.dovecot.stop()
