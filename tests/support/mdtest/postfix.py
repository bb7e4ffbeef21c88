"""A private Postfix: as it stands the in-house mail server, a domain of Maildirs on loopback.

Unknown recipients are refused at RCPT. It has no SMTP client at all, so nothing can leave the
machine, and it shares no directory with the system's Postfix. Its settings may be overridden; the
providers of hoster.py are made that way.
"""
import grp
import os
import pwd
import re
import shutil
import signal
import subprocess

from . import net

DOMAIN = "firma.example"

MAIN = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
multi_instance_enable = no
maillog_file = {dir}/postfix.log
maillog_file_prefixes = {dir}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.internal.example
mydestination =
alias_maps =
alias_database =
mynetworks =
local_header_rewrite_clients =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 0
smtp_tls_security_level =
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = texthash:{dir}/etc/mailboxes
virtual_mailbox_base = {dir}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
local_transport = error:no local delivery
"""

MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self, directory, certificate, mailboxes=("hans", "eva", "otto", "postmaster"),
                 settings=None, services=""):
        """settings: lines of main.cf that replace ours; services: more lines of master.cf."""
        self.directory = directory
        self.certificate = certificate
        self.mailboxes = mailboxes
        self.settings = settings or {}
        self.services = services
        self.port = net.free_port()

    def configure(self):
        """Writes its files; the command without its last word, start or start-fg."""
        etc = os.path.join(self.directory, "etc")
        for folder in ("etc", "queue", "data", "mail"):
            os.makedirs(os.path.join(self.directory, folder), exist_ok=True)
        nobody = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid
        os.chown(os.path.join(self.directory, "mail"), *nobody)
        shutil.chown(os.path.join(self.directory, "data"), "postfix")
        main = MAIN.format(dir=self.directory, cert=self.certificate.cert,
                           key=self.certificate.key, domain=DOMAIN, uid=nobody[0], gid=nobody[1])
        settings = dict(re.findall(r"^(\w+) = ?(.*)$", main, re.M)) | self.settings
        self._write(os.path.join(etc, "main.cf"),
                    "".join(f"{name} = {value}\n" for name, value in settings.items()))
        self._write(os.path.join(etc, "master.cf"), MASTER.format(port=self.port) + self.services)
        self._write(os.path.join(etc, "mailboxes"),
                    "".join(f"{box}@{DOMAIN} {box}/\n" for box in self.mailboxes))
        return ["postfix", "-c", etc]

    def start(self):
        start = subprocess.Popen([*self.configure(), "start"], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                 start_new_session=True)
        try:
            errors = start.communicate()[1]
        finally:
            # Interrupted or not, the start runs to its end: afterwards it is known what to stop.
            start.wait()
        if start.returncode:
            raise RuntimeError("Postfix does not start: " + errors + self.log())
        net.wait_until(lambda: net.answers(self.port), 30,
                       lambda: "Postfix does not answer: " + self.log())
        return self

    def stop(self):
        # master detaches from us; this file names the process that we started, and only that.
        pid_file = os.path.join(self.directory, "queue", "pid", "master.pid")
        if not os.path.exists(pid_file):
            return
        with open(pid_file) as f:
            os.kill(int(f.read()), signal.SIGTERM)
        net.wait_until(lambda: not net.answers(self.port), 10, "Postfix does not stop")
        os.remove(pid_file)

    def log(self):
        try:
            with open(os.path.join(self.directory, "postfix.log")) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def settle(self):
        """Waits until every message that was accepted lies in its Maildir."""
        queues = [os.path.join(self.directory, "queue", q) for q in ("incoming", "active")]
        net.wait_until(lambda: not any(files for q in queues for _, _, files in os.walk(q)), 30,
                       "Postfix's queue does not run empty")

    def messages(self, mailbox):
        """What arrived there, oldest first, as bytes with LF ends."""
        self.settle()
        folder = os.path.join(self.directory, "mail", mailbox, "new")
        if not os.path.isdir(folder):
            return []
        paths = [os.path.join(folder, name) for name in os.listdir(folder)]
        result = []
        for path in sorted(paths, key=lambda p: (os.stat(p).st_mtime_ns, p)):
            with open(path, "rb") as f:
                result.append(f.read())
        return result

    def clear(self):
        self.settle()
        for box in self.mailboxes:
            shutil.rmtree(os.path.join(self.directory, "mail", box), ignore_errors=True)

    @staticmethod
    def as_relayed(message):
        """The message as it came over SMTP: without the lines that Postfix put on top."""
        own = re.compile(rb"\A(?:(?:Return-Path|X-Original-To|Delivered-To):[^\n]*\n)*"
                         rb"Received:[^\n]*\n(?:[ \t][^\n]*\n)*")
        return own.sub(b"", message, count=1)

    @staticmethod
    def _write(path, text):
        with open(path, "w") as f:
            f.write(text)
