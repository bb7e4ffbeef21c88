"""Writes configurations, runs multidropd on them, and reads what it says.

The program is named by the environment variable MULTIDROPD. Every run gets `-l json`; its log lines
are parsed, everything else on stderr (a sanitizer's report) stays in `noise`.
"""
import json
import os
import signal
import subprocess
import threading

from . import net

RUN_TIMEOUT = 120


def program():
    path = os.environ.get("MULTIDROPD")
    if not path or not os.access(path, os.X_OK):
        raise RuntimeError(f"MULTIDROPD names no program: {path!r}")
    return path


def render(value):
    """A value of a Python dict as libconfuse writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(render(v) for v in value) + " }"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Config:
    """One configuration in a directory of its own, the state directory included.

    Sections are dicts that a test changes freely before a run; `envelope` in a provider or account
    is a list of (header, {key: value}).
    """

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self.path = os.path.join(directory, "multidropd.conf")
        self.state = os.path.join(directory, "state")
        os.makedirs(self.state, exist_ok=True)
        self.top = {"hostname": "gate.firma.example", "state_dir": self.state,
                    "control_socket": os.path.join(directory, "control")}
        self.providers, self.relays, self.accounts = {}, {}, {}

    def provider(self, name, **keys):
        defaults = {"host": "127.0.0.1", "tls": "none", "min_interval": "0s",
                    "login_limit": 10000, "timeout": "10s",
                    "envelope": [("X-Original-To", {})]}
        self.providers[name] = {**defaults, **keys}
        return self.providers[name]

    def relay(self, name, **keys):
        self.relays[name] = {"host": "127.0.0.1", "tls": "none", **keys}
        return self.relays[name]

    def account(self, name, provider, relay, password, **keys):
        """A multidrop account; mode="single" and others are given as keys."""
        secret = self.file(name + ".pw", password, mode=0o600)
        defaults = {"provider": provider, "relay": relay, "user": f"{name}@firma.example",
                    "password_file": secret}
        if keys.get("mode") != "single":
            defaults |= {"domains": ["firma.example"], "postmaster": "postmaster@firma.example"}
        self.accounts[name] = {**defaults, **keys}
        return self.accounts[name]

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def text(self):
        lines = self._keys(self.top, "")
        for kind, sections in (("provider", self.providers), ("relay", self.relays),
                               ("account", self.accounts)):
            for name, keys in sections.items():
                lines += [f"{kind} {render(name)} {{", *self._keys(keys, "\t"), "}"]
        return "\n".join(lines) + "\n"

    def write(self):
        return self.file("multidropd.conf", self.text())

    def _keys(self, keys, indent):
        lines = []
        for key, value in keys.items():
            if key == "envelope":
                for header, options in value:
                    lines += [f"{indent}envelope {render(header)} {{",
                              *self._keys(options, indent + "\t"), indent + "}"]
            elif value is not None:
                lines.append(f"{indent}{key} = {render(value)}")
        return lines


class Log:
    """The log of one process: events in order, searchable by fields."""

    def __init__(self):
        self.entries = []
        self.noise = []

    def add(self, line):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict) and "event" in entry:
            self.entries.append(entry)
        elif line.strip():
            self.noise.append(line)

    def find(self, event, **fields):
        """Entries of that event whose fields have these values."""
        return [e for e in self.entries if e["event"] == event
                and all(e.get(k) == v for k, v in fields.items())]

    def __str__(self):
        return "\n".join([json.dumps(e) for e in self.entries] + self.noise)


class Run:
    """A finished run: status, stdout, stderr, log."""

    def __init__(self, status, stdout, stderr):
        self.status, self.stdout, self.stderr = status, stdout, stderr
        self.log = Log()
        for line in stderr.splitlines():
            self.log.add(line)

    def __repr__(self):
        return f"exit status {self.status}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def environment(**more):
    """Ours, without what a service manager or a user's shell may have put in, and `more`."""
    drop = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET",
            "WATCHDOG_USEC", "JOURNAL_STREAM")
    return {k: v for k, v in os.environ.items() if k not in drop} | more


def run(*args, timeout=RUN_TIMEOUT):
    done = subprocess.run([program(), *args], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=timeout, env=environment())
    return Run(done.returncode, done.stdout.decode("utf-8", "backslashreplace"),
               done.stderr.decode("utf-8", "backslashreplace"))


def once(config, *args, timeout=RUN_TIMEOUT):
    """Writes the configuration and runs one cycle."""
    return run("--once", "-l", "json", "-c", config.write(), *args, timeout=timeout)


def check(config):
    """--test-config on the configuration as it stands in its file."""
    return run("--test-config", "-c", config.path)


class Daemon:
    """A running daemon; its log grows while it runs."""

    def __init__(self, config, *args, prefix=(), **variables):
        """`prefix` is a command that runs it, such as setpriv; `variables` go into its environment.
        """
        self.config = config
        self.prefix = prefix
        self.args = args
        self.variables = variables
        self.log = Log()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [*self.prefix, program(), "-l", "json", "-c", self.config.write(), *self.args],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=environment(**self.variables))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self):
        for line in self.process.stderr:
            self.log.add(line.decode("utf-8", "backslashreplace"))

    def wait(self, condition, timeout=30, what="condition"):
        """Waits for the condition; ends early, and fails, when the daemon is gone."""
        def met_or_gone():
            value = condition()
            if not value and self.process.poll() is not None:
                self._reader.join(5)
                value = condition()
                if not value:
                    raise RuntimeError(f"the daemon ended ({self.process.returncode}) before "
                                       f"{what}:\n{self.log}")
            return value
        return net.wait_until(met_or_gone, timeout, lambda: f"no {what}:\n{self.log}")

    def wait_event(self, event, timeout=30, **fields):
        return self.wait(lambda: self.log.find(event, **fields), timeout, f"{event} {fields}")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=30):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.ended(timeout)

    def kill(self):
        self.process.kill()
        return self.ended()

    def ended(self, timeout=30):
        status = self.process.wait(timeout)
        self._reader.join(5)
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
