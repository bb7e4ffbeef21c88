"""A private Dovecot: POP3 (clear, STLS, implicit TLS) and LMTP on loopback, with Maildirs.

Any user name exists, with the one password; a maildrop is made by the first put(). LMTP delivers to
the local part's maildrop, or with `lmtp_user` to a certain one. Nothing outside the directory is
read or written, /etc/dovecot and the system's Dovecot included.
"""
import grp
import os
import pwd
import re
import shutil
import subprocess

from . import net

PASSWORD = "geheim-4711"
PARTS = ("cur", "new", "tmp")  # of a Maildir

CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/state
instance_name = {name}
log_path = {dir}/dovecot.log
protocols = pop3 lmtp
listen = 127.0.0.1
hostname = box.hoster.example
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_fsync = never
mail_location = maildir:~/Maildir
first_valid_uid = 1
mail_max_userip_connections = 100
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={dir}/mail/%u allow_all_users=yes
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
  unix_listener {dir}/lmtp.sock {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
protocol lmtp {{
  auth_username_format = {lmtp_user}
  postmaster_address = postmaster@firma.example
}}
"""


def owner():
    """(uid, gid) of everything in the maildrops."""
    return pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid


class Dovecot:
    def __init__(self, directory, certificate, lmtp_user="%Ln", more="", people=None):
        """more: lines that follow our dovecot.conf; people: some that say instead who exists, and
        where LMTP listens."""
        self.directory = directory
        self.certificate = certificate
        self.lmtp_user = lmtp_user
        self.more = more
        self.people = people
        self.pop3 = net.free_port()
        self.pop3s = net.free_port()
        self.lmtp = net.free_port()
        self.lmtp_socket = os.path.join(directory, "lmtp.sock")
        self._process = None
        self._serial = 0

    def configure(self):
        """Writes its files; the command that runs it in the foreground."""
        os.makedirs(os.path.join(self.directory, "mail"), exist_ok=True)
        os.chown(os.path.join(self.directory, "mail"), *owner())
        config = os.path.join(self.directory, "dovecot.conf")
        text = CONFIG
        if self.people is not None:
            for block in ("userdb", "service lmtp", "protocol lmtp"):
                text = re.sub(rf"^{block} {{{{\n.*?^}}}}\n", "", text, flags=re.M | re.S)
        with open(config, "w") as f:
            f.write(text.format(dir=self.directory, name=os.path.basename(self.directory),
                                  cert=self.certificate.cert, key=self.certificate.key,
                                  password=PASSWORD, pop3=self.pop3, pop3s=self.pop3s,
                                  lmtp=self.lmtp, lmtp_user=self.lmtp_user)
                    + (self.people or "") + self.more)
        return ["dovecot", "-F", "-c", config]

    def start(self):
        self._process = subprocess.Popen(self.configure(), stdin=subprocess.DEVNULL,
                                         start_new_session=True)
        net.wait_until(lambda: net.answers(self.pop3) or self._process.poll() is not None, 20,
                       lambda: "Dovecot does not answer: " + self.log())
        if self._process.poll() is not None:
            raise RuntimeError("Dovecot ended at once: " + self.log())
        return self

    def stop(self):
        net.end_process(self._process)
        self._process = None

    def log(self):
        try:
            with open(os.path.join(self.directory, "dovecot.log")) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def put(self, user, message):
        """Stores a message as the maildrop's newest; bytes with CRLF or LF ends."""
        maildir = self.maildir(user)
        # Dovecot numbers new files by the time in their names: a counter keeps the order of put().
        self._serial += 1
        name = f"{1700000000 + self._serial}.M0P1.mdtest"
        path = os.path.join(maildir, "tmp", name)
        with open(path, "wb") as f:
            f.write(message)
        os.chown(path, *owner())
        os.rename(path, os.path.join(maildir, "new", name))

    def count(self, user):
        return len(self._files(user))

    def messages(self, user):
        """The maildrop's messages, in order."""
        result = []
        for path in self._files(user):
            with open(path, "rb") as f:
                result.append(f.read())
        return result

    def clear(self, user):
        shutil.rmtree(os.path.join(self.directory, "mail", user), ignore_errors=True)

    def maildir(self, user):
        """The folder of that maildrop, which is made when there is none."""
        home = os.path.join(self.directory, "mail", user)
        path = os.path.join(home, "Maildir")
        if not os.path.isdir(path):
            for folder in (home, path, *(os.path.join(path, part) for part in PARTS)):
                os.makedirs(folder, exist_ok=True)
                os.chown(folder, *owner())
        return path

    def _files(self, user):
        paths = []
        for part in ("cur", "new"):
            folder = os.path.join(self.directory, "mail", user, "Maildir", part)
            if os.path.isdir(folder):
                paths += [os.path.join(folder, name) for name in os.listdir(folder)]
        return sorted(paths, key=os.path.basename)
