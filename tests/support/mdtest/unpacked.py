"""A server out of a Debian package that is not installed: unpacked into the build folder, and run
where it seems to be installed.

Some packages exclude Postfix, others would start a service. A mount namespace lays the package's
files over /usr and /etc; /var and /run are empty there, and all that the server writes outside of
the test's directory vanishes with it.
"""
import os
import subprocess

from . import net

SUPPORT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.path.realpath(os.path.join(SUPPORT, "..", "..", "build"))
SCRIPT = """
root=$1 users=$2; shift 2
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/etc /run/work
mount -t overlay overlay -o "lowerdir=$root/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$root/etc:/etc,upperdir=/run/etc,workdir=/run/work" /etc
mount -t tmpfs -o mode=755 tmpfs /var
ln -s /run /var/run
for user in $users; do
	echo "$user:x:$((uid = ${uid:-990} - 1)):$uid::/nonexistent:/usr/sbin/nologin" >>/etc/passwd
	echo "$user:x:$uid:" >>/etc/group
done
install -d -m 711 $FOLDERS
exec "$@"
"""


def install(package):
    """Its files' folder; unpacked unless it is there."""
    root = os.path.join(BUILD, package)
    if not os.path.exists(root):
        subprocess.run(["bash", "-c", '. "$0" && unpack_package "$1" "$2"',
                        os.path.join(SUPPORT, "packages.sh"), root, package],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return root


class Unpacked:
    def __init__(self, directory, package, port, command, users="", folders="", etc=None):
        """users, folders: that its installation would make; etc: {path below /etc: text}."""
        self.directory, self.package, self.port = directory, package, port
        self.command, self.users, self.folders = command, users, folders
        self.etc = etc or {}
        self._process = None

    def start(self):
        root = install(self.package)
        script = SCRIPT
        for number, (path, text) in enumerate(self.etc.items()):
            source = os.path.join(self.directory, f"etc-{number}")
            with open(source, "w") as f:
                f.write(text)
            script = script.replace('exec "$@"', f'install -D "{source}" "/etc/{path}"\nexec "$@"')
        with open(self._log(), "w") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "sh", "-ec", script, "sh", root, self.users, *self.command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | {"FOLDERS": self.folders or "/run"})
        net.wait_until(lambda: net.answers(self.port) or self._process.poll() is not None, 120,
                       lambda: f"{self.package} does not answer: " + self.log())
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.package} ended at once: " + self.log())
        return self

    def stop(self):
        net.end_process(self._process)
        self._process = None

    def log(self):
        with open(self._log(), encoding="utf-8", errors="replace") as f:
            return f.read()

    def _log(self):
        return os.path.join(self.directory, self.package + ".log")
