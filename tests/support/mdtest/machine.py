"""A Debian of its own, booted in a container: for what only a service manager can show.

The root is built once for each set of packages and kept in a cache directory
(MULTIDROPD_TEST_CACHE, else below /var/cache); a machine runs on a copy-on-write layer of it in
memory, without a network, and leaves nothing behind. One at a time on a host: containers without a
registered unit share their control group.
"""
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading

from . import net

TOOLS = ("systemd-nspawn", "mmdebstrap", "nsenter", "dpkg-deb", "dpkg-shlibdeps",
         "lintian")
SUITE = "bookworm"
PEERS = ("systemd-sysv", "iproute2", "dovecot-pop3d", "dovecot-lmtpd", "postfix")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
CLONE_NEWNET = 0x40000000


class Unavailable(Exception):
    """This host cannot do it; the text says why."""


def last_words(output):
    """Of a program that failed, in one line."""
    return " / ".join(output.strip().splitlines()[-3:])


def check_host():
    if os.getuid() != 0:
        raise Unavailable("containers and a Debian root need root")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise Unavailable("not installed: " + ", ".join(missing))
    if not os.path.isdir("/sys/fs/cgroup") or not os.listdir("/sys/fs/cgroup"):
        raise Unavailable("no control groups below /sys/fs/cgroup")


def build_package(source, build):
    """The Debian package of this tree, built as it is released; on one core, tests run beside."""
    for command in (["cmake", "--preset", "release", "-B", build, "-DMULTIDROPD_TESTS=OFF"],
                    ["cmake", "--build", build, "--target", "package", "--", "-j1"]):
        done = subprocess.run(command, cwd=source, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}")
    (name,) = re.findall(r"package: (\S+\.deb) generated", done.stdout)
    return name


def dependencies(package):
    """What has to be installed before it, of alternatives the first."""
    text = subprocess.run(["dpkg-deb", "-f", package, "Depends"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return tuple(re.match(r"\s*(\S+)", part)[1] for part in text.split(","))


class Cache:
    """Holds the machine-wide lock while it is open, and the roots."""

    def __init__(self):
        self.directory = os.environ.get("MULTIDROPD_TEST_CACHE", "/var/cache/multidropd-tests")
        os.makedirs(self.directory, exist_ok=True)
        self._lock = open(os.path.join(self.directory, "lock"), "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self):
        self._lock.close()

    def root(self, packages):
        """A directory with these packages; older ones of other sets go."""
        packages = sorted(set(packages))
        key = hashlib.sha256(" ".join((SUITE, *packages)).encode()).hexdigest()[:16]
        path = os.path.join(self.directory, f"{SUITE}-{key}")
        if os.path.isdir(path):
            return path
        for name in os.listdir(self.directory):
            if name.startswith(SUITE):
                shutil.rmtree(os.path.join(self.directory, name))
        building = path + ".new"
        self._bootstrap(building, packages)
        os.rename(building, path)
        return path

    @staticmethod
    def _bootstrap(path, packages):
        # The peers are started by the tests, with a configuration of theirs.
        mask = 'chroot "$1" systemctl mask dovecot.service postfix.service >/dev/null'
        exclude = ["--dpkgopt=path-exclude=/usr/share/" + name
                   for name in ("man/*", "locale/*", "doc/*")]
        command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
                   "--dpkgopt=force-unsafe-io", *exclude,
                   "--dpkgopt=path-include=/usr/share/doc/multidropd/*",
                   "--include=" + ",".join(packages), "--customize-hook=" + mask, SUITE, path]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            shutil.rmtree(path, ignore_errors=True)
            raise Unavailable("no Debian root could be built: " + last_words(done.stdout))


class Machine:
    """A booted machine. `directory` has the same name inside."""

    def __init__(self, root, directory):
        self._command = ["systemd-nspawn", "--quiet", "-D", root, "--volatile=overlay",
                         "--register=no", "--keep-unit", "--private-network",
                         f"--bind={directory}:{directory}"]
        self._log = os.path.join(directory, "boot.log")
        self._process = self.leader = None

    def boot(self):
        probe = subprocess.run([*self._command, "--pipe", "/bin/true"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if probe.returncode:
            raise Unavailable("no container can be started: " + last_words(probe.stdout))
        with open(self._log, "w") as log:
            # Whatever ends us, ends it.
            self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self._command,
                                              "--boot", "--console=pipe"],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             start_new_session=True)
        try:
            net.wait_until(self._is_up, 60, lambda: "it does not boot: " + self._boot_log())
        except BaseException:
            self.stop()
            raise
        return self

    def _is_up(self):
        if self._process.poll() is not None:
            raise RuntimeError("systemd-nspawn ended: " + self._boot_log())
        children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        with open(children) as f:
            pids = f.read().split()
        self.leader = int(pids[0]) if pids else None
        if not self.leader or not os.path.exists(self.path("/run/systemd/private")):
            return False
        state = self.run("systemctl", "is-system-running", "--wait", check=False)
        return state.stdout.strip() in ("running", "degraded")

    def _boot_log(self):
        with open(self._log) as f:
            return f.read()

    def stop(self):
        # Its init is the first of its process namespace: all of it goes with it.
        if self.leader and os.path.exists(f"/proc/{self.leader}"):
            os.kill(self.leader, 9)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            net.end_process(self._process)

    def path(self, inside):
        """Its files, as seen from here."""
        return f"/proc/{self.leader}/root{inside}"

    def write(self, inside, text, mode=0o644, owner="root:root"):
        os.makedirs(os.path.dirname(self.path(inside)), exist_ok=True)
        with open(self.path(inside), "w") as f:
            f.write(text)
        os.chmod(self.path(inside), mode)
        self.run("chown", owner, inside)

    def run(self, *command, check=True, **more):
        done = subprocess.run(["nsenter", "-t", str(self.leader), "-a", "--", *command],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=ENVIRONMENT, text=True, timeout=120,
                              errors="backslashreplace", **more)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n"
                               f"{done.stdout}{done.stderr}")
        return done

    def show(self, unit, name):
        """A property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def journal(self, *matches):
        """The entries that match, oldest first."""
        lines = self.run("journalctl", "-q", "-o", "json", "--all", *matches, check=False).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def wait_journal(self, *matches, timeout=30):
        return net.wait_until(lambda: self.journal(*matches), timeout, lambda: (
            f"nothing in the journal with {matches}:\n"
            + self.run("journalctl", "-q", "-n", "60").stdout))

    def in_its_network(self, function):
        """Runs it where sockets are the machine's; what it returns works everywhere."""
        result = []

        def body():
            with open(f"/proc/{self.leader}/ns/net") as f:
                if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(function())
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        return result[0]
