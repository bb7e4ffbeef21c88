"""The programs: how each is configured for a job, and which command does it.

Every one gets the same maildrops and the least work that it can do: one recipient for fetchmail,
getmail, mpop and fdm; multidropd divides a catch-all maildrop, as it does everywhere.
"""
import os
import shutil
import subprocess
from dataclasses import dataclass, field

from . import ROOT
from .world import PASSWORD, RECIPIENT
from mdtest import daemon, dovecot


@dataclass
class Job:
    directory: str
    users: list  # one maildrop each
    pop3: int  # port
    port: int = 0  # of the SMTP or LMTP server
    inbox: str = ""  # or the Maildir
    keep: bool = False
    connections: int = 4
    top: dict = field(default_factory=dict)  # more keys of multidropd.conf

    def file(self, name, text):
        """Private, and of the user that the programs run as."""
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        os.chown(path, *dovecot.owner())
        return path


class Fetcher:
    name = package = binary = ""
    target = "SMTP"  # or LMTP, Maildir
    good = (0,)

    def configure(self, job):
        """Writes its files; the command."""
        raise NotImplementedError

    def missing(self):
        return shutil.which(self.binary) is None

    def command(self, job):
        return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
                *self.configure(job)]


class Multidropd(Fetcher):
    name = "multidropd"

    def missing(self):
        return False

    def config(self, job):
        config = daemon.Config(job.directory)
        config.top |= {"max_sessions": 64, **job.top}
        config.provider("hoster", host="127.0.0.1", port=job.pop3, login_limit=10000,
                        max_sessions=64, timeout="60s")
        config.relay("sink", port=job.port, connections=job.connections)
        keep = {"keep": "forever"} if job.keep else {}
        for i, user in enumerate(job.users):
            config.account(f"a{i}", "hoster", "sink", PASSWORD, user=user, max_size="1G", **keep)
        config.write()
        return config

    def configure(self, job):
        return [daemon.program(), "--once", "-l", "json", "-c", self.config(job).path]

    command = configure


class Fetchmail(Fetcher):
    name = package = binary = "fetchmail"
    good = (0, 1)  # 1: there was no mail

    def configure(self, job):
        keep = "keep" if job.keep else "no keep"
        text = "set no bouncemail\nset no spambounce\n" + "".join(
            f'skip a{i} via "127.0.0.1" protocol pop3 port {job.pop3} uidl timeout 60\n'
            f'  user "{user}" there with password "{PASSWORD}" is "{RECIPIENT}" here {keep}\n'
            f'  sslproto "" smtphost "127.0.0.1/{job.port}" fetchlimit 0 batchlimit 0\n'
            for i, user in enumerate(job.users)).replace("skip a", "poll a")
        path = job.file("fetchmailrc", text)
        return ["fetchmail", "-d0", "--nosyslog", "--silent", "-f", path,
                "-i", os.path.join(job.directory, "fetchids"),
                "--pidfile", os.path.join(job.directory, "fetchmail.pid")]


class Getmail(Fetcher):
    name = package = "getmail6"
    binary = "getmail"
    target = "LMTP"

    def configure(self, job):
        command = ["getmail", "--quiet", "--getmaildir", job.directory]
        for i, user in enumerate(job.users):
            keep = f"delete = {str(not job.keep).lower()}\nread_all = {str(not job.keep).lower()}\n"
            command += ["--rcfile", job.file(f"getmailrc{i}", (
                f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {job.pop3}\n"
                f"username = {user}\npassword = {PASSWORD}\ntimeout = 60\n"
                f"[destination]\ntype = MDA_lmtp\nhost = 127.0.0.1\nport = {job.port}\n"
                f"override = {RECIPIENT}\n[options]\n{keep}"))]
        return command


class Mpop(Fetcher):
    name = package = binary = "mpop"
    target = "Maildir"

    def configure(self, job):
        text = "".join(
            f"account a{i}\nhost 127.0.0.1\nport {job.pop3}\nuser {user}\npassword {PASSWORD}\n"
            f"auth user\ntls off\nkeep {'on' if job.keep else 'off'}\n"
            f"delivery maildir {job.inbox}\nuidls_file {job.directory}/uidls\n"
            for i, user in enumerate(job.users))
        path = job.file("mpoprc", text)
        return ["mpop", "--quiet", "--all-accounts", "--file", path]


class Fdm(Fetcher):
    name = package = binary = "fdm"

    def configure(self, job):
        text = ("set maximum-size 1G\nset lock-types flock\nset default-user \"nobody\"\n"
                f'set lock-file "{job.directory}/lock"\n'
                f'action "relay" smtp server "127.0.0.1" port {job.port} '
                f'from "anna@outside.example" to "{RECIPIENT}"\n'
                'match all action "relay"\n')
        for i, user in enumerate(job.users):
            cache = f' new-only cache "{job.directory}/cache{i}"' if job.keep else ""
            text += (f'account "a{i}" pop3 server "127.0.0.1" port {job.pop3} user "{user}" '
                     f'pass "{PASSWORD}"{cache} no-apop insecure{" keep" if job.keep else ""}\n')
        path = job.file("fdm.conf", text)
        return ["fdm", "-f", path, "fetch"]


EVERY = (Multidropd(), Getmail(), Mpop(), Fdm(), Fetchmail())


def install(programs):
    """Gets the packages of those that are not here; those that stay missing are named and left out.
    """
    missing = sorted({p.package for p in programs if p.missing()})
    script = ". tests/support/packages.sh && need_packages time $peer_packages $*"
    subprocess.run(["bash", "-c", script, "bash", *missing], cwd=ROOT)
    gone = [p.name for p in programs if p.missing()]
    if gone:
        print("not here, and left out: " + ", ".join(gone), flush=True)
    return [p for p in programs if not p.missing()]
