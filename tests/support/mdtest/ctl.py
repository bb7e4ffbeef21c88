"""Runs multidropctl, which is built beside multidropd (or named by MULTIDROPCTL)."""
import json
import os
import subprocess

from . import daemon


def program():
    beside = os.path.join(os.path.dirname(daemon.program()), "multidropctl")
    return os.environ.get("MULTIDROPCTL", beside)


def run(*args, stdin=b""):
    done = subprocess.run([program(), *args], input=stdin, capture_output=True,
                          timeout=daemon.RUN_TIMEOUT, env=daemon.environment())
    return daemon.Run(done.returncode, done.stdout.decode("utf-8", "backslashreplace"),
                      done.stderr.decode("utf-8", "backslashreplace"))


def explain(config, message, *args, account="sammel"):
    """A message, as bytes, on standard input; the configuration is written first."""
    return run("explain", "-a", account, "-c", config.write(), *args, "-", stdin=message)


def explain_json(config, message, account="sammel"):
    return json.loads(explain(config, message, "--json", account=account).stdout)


def probe(config, *args, account="sammel"):
    return run("probe", "-a", account, "-c", config.write(), *args)
