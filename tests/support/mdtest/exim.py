"""A private Exim with a catch-all: everything for its domains ends in one Maildir.

Debian's Exim excludes Postfix, so its package is unpacked into the build folder, not installed. The
program wants a user "Debian-exim": it gets one in a mount namespace of its own, where a copy of
/etc/passwd lies over the original. It has no SMTP client and delivers to that one Maildir only.
"""
import grp
import os
import pwd
import subprocess

from . import net

SUPPORT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
ROOT = os.path.realpath(os.path.join(SUPPORT, "..", "..", "build", "exim"))
PROGRAM = os.path.join(ROOT, "usr/sbin/exim4")

CONFIG = """
primary_hostname = {hostname}
spool_directory = {dir}/spool
log_file_path = {dir}/log/%s
pid_file_path = {dir}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
smtputf8_advertise_hosts = *
# A sender may call himself what he likes: that is what the test is about.
helo_accept_junk_hosts = *
host_lookup =
rfc1413_hosts =
dns_again_means_nonexist = *
keep_environment =
exim_path = {program}
deliver_drop_privilege = true
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
ignore_bounce_errors_after = 0s
# Forged lines stay in the message: no test may depend on the server's cleaning up.
envelope_to_remove = false
delivery_date_remove = false
return_path_remove = false
domainlist ours = {domains}
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept domains = +ours
  deny
begin routers
catchall:
  driver = redirect
  domains = +ours
  data = {mailbox}
  no_verify
mailbox:
  driver = accept
  condition = ${{if eq{{$local_part@$domain}}{{{mailbox}}}}}
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {maildir}
  maildir_format
  create_directory
  user = nobody
  group = nogroup
  envelope_to_add
  delivery_date_add
  return_path_add
begin retry
* * F,1h,1m
"""


def install():
    """Unpacks the program unless it is there."""
    if not os.path.exists(PROGRAM):
        subprocess.run(["bash", "-c", '. "$0" && unpack_package "$1" $exim_package',
                        os.path.join(SUPPORT, "packages.sh"), ROOT],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Exim:
    def __init__(self, directory, hostname, domains, mailbox, maildir, config=CONFIG):
        """config: another configuration, with the same names in braces."""
        self.directory = directory
        self.config = config
        self.hostname = hostname
        self.domains = domains
        self.mailbox = mailbox
        self.maildir = maildir
        self.port = net.free_port()
        self._process = None

    def start(self):
        install()
        nobody = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid
        for folder in ("", "spool", "log"):
            os.makedirs(os.path.join(self.directory, folder), exist_ok=True)
            os.chown(os.path.join(self.directory, folder), *nobody)
        config = os.path.join(self.directory, "exim.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(self.config.format(dir=self.directory, hostname=self.hostname, port=self.port,
                                  domains=" : ".join(self.domains), mailbox=self.mailbox,
                                  maildir=self.maildir, program=PROGRAM))
        self._copy("/etc/passwd", "passwd",
                   f"Debian-exim:x:{nobody[0]}:{nobody[1]}::/nonexistent:/usr/sbin/nologin\n")
        self._copy("/etc/group", "group", f"Debian-exim:x:{nobody[1]}:\n")
        script = ("mount --bind passwd /etc/passwd && mount --bind group /etc/group && "
                  'exec "$0" -bdf -C "$1"')
        self._process = subprocess.Popen(["unshare", "-m", "sh", "-c", script, PROGRAM, config],
                                         cwd=self.directory, stdin=subprocess.DEVNULL)
        net.wait_until(lambda: net.answers(self.port) or self._process.poll() is not None, 20,
                       lambda: "Exim does not answer: " + self.log())
        if self._process.poll() is not None:
            raise RuntimeError("Exim ended at once: " + self.log())
        return self

    def stop(self):
        net.end_process(self._process)
        self._process = None

    def log(self):
        text = ""
        for name in ("main", "panic", "reject"):
            path = os.path.join(self.directory, "log", name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text += f.read()
        return text

    def settle(self):
        """Waits until every message that was accepted lies in the Maildir."""
        queue = os.path.join(self.directory, "spool", "input")
        net.wait_until(lambda: not any(files for _, _, files in os.walk(queue)), 30,
                       lambda: "Exim's queue does not run empty: " + self.log())

    def _copy(self, source, name, more):
        with open(source) as f, open(os.path.join(self.directory, name), "w") as out:
            out.write(f.read() + more)
