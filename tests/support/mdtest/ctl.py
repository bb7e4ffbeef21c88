"""Runs multidropctl, which is built beside multidropd (or named by MULTIDROPCTL)."""
import json
import os
import subprocess

from . import daemon


def program():
    beside = os.path.join(os.path.dirname(daemon.program()), "multidropctl")
    return os.environ.get("MULTIDROPCTL", beside)


def run(*args, stdin=b"", prefix=()):
    """prefix: a command that runs it, such as setpriv."""
    done = subprocess.run([*prefix, program(), *args], input=stdin, capture_output=True,
                          timeout=daemon.RUN_TIMEOUT, env=daemon.environment())
    return daemon.Run(done.returncode, done.stdout.decode("utf-8", "backslashreplace"),
                      done.stderr.decode("utf-8", "backslashreplace"))


def ask(config, *args, prefix=()):
    """A command for the running daemon."""
    return run(*args, "-s", config.top["control_socket"], prefix=prefix)


def status(config):
    """What `status --json` says, as an object; `accounts` by name."""
    said = json.loads(ask(config, "status", "--json").stdout)
    return said | {"accounts": {a["name"]: a for a in said["accounts"]}}


def explain(config, message, *args, account="sammel"):
    """A message, as bytes, on standard input; the configuration is written first."""
    return run("explain", "-a", account, "-c", config.write(), *args, "-", stdin=message)


def explain_json(config, message, account="sammel"):
    return json.loads(explain(config, message, "--json", account=account).stdout)


def probe(config, *args, account="sammel"):
    return run("probe", "-a", account, "-c", config.write(), *args)
