"""`cmake --install` elsewhere than Debian, and what the container file runs."""
import json
import os
import re
import signal
import subprocess

import pytest
from mdtest import ctl, daemon, net

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
CONF = "/etc/multidropd/multidropd.conf"


def install(stage, prefix):
    subprocess.run(["cmake", "--install", os.path.dirname(daemon.program()), "--prefix", prefix],
                   check=True, stdout=subprocess.DEVNULL, env=os.environ | {"DESTDIR": stage})


def read(path):
    with open(path) as f:
        return f.read()


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local", "/usr/local/multidropd"])
def test_all_that_is_named_is_there(directory, prefix):
    stage = os.path.join(directory, "stage" + prefix.replace("/", "-"))
    install(stage, prefix)
    unit = read(stage + prefix + "/lib/systemd/system/multidropd.service")
    program = re.search(r"^ExecStart=(\S+)", unit, re.M)[1]
    pages = re.findall(r"file://(\S+)", unit)
    assert program == prefix + "/sbin/multidropd" and pages
    for name in (program, *pages, CONF, "/etc/multidropd/providers.d/strato.conf"):
        assert os.path.isfile(stage + name), name
    for name in ("bin/multidropctl", "lib/sysusers.d/multidropd.conf",
                 "lib/systemd/catalog/multidropd.catalog", "share/doc/multidropd/moving.md",
                 "share/doc/multidropd/copyright", "share/man/man8/multidropd.8.gz",
                 "share/man/man5/multidropd.conf.5.gz", "share/man/man1/multidropctl.1.gz"):
        assert os.path.isfile(os.path.join(stage + prefix, name)), name
    assert "@" not in re.sub(r"@(system-service|privileged|resources)\b", "", unit)
    tops = {os.path.join("/", name) for name in os.listdir(stage)}
    assert tops == {"/etc", "/" + prefix.split("/")[1]}


def test_what_the_administrator_has_changed_stays(directory):
    stage = os.path.join(directory, "stage-again")
    install(stage, "/usr")
    strato = stage + "/etc/multidropd/providers.d/strato.conf"
    assert os.stat(stage + CONF).st_mode & 0o777 == 0o640
    assert os.stat(strato).st_mode & 0o777 == 0o644
    for path in (stage + CONF, strato):
        with open(path, "w") as f:
            f.write("# mine\n")
    os.remove(stage + "/usr/sbin/multidropd")
    install(stage, "/usr")
    assert read(stage + CONF) == read(strato) == "# mine\n"
    assert os.path.exists(stage + "/usr/sbin/multidropd")


def instruction(name):
    """The last one of that name in the container file."""
    text = read(os.path.join(SOURCE, "systemd", "Containerfile")).replace("\\\n", "")
    return re.findall(rf"^{name} (.*)$", text, re.M)[-1]


def test_the_container_needs_no_root(config, anybodys_programs):
    """Its user, command, health check and stop signal, with every capability dropped for good."""
    uid, gid = instruction("USER").split(":")
    assert int(uid) > 0 and int(gid) > 0
    program, *options = json.loads(instruction("ENTRYPOINT"))
    check = json.loads(re.sub(r"--\S+ |CMD ", "", instruction("HEALTHCHECK")))
    assert program == "/usr/sbin/multidropd" and check[0] == "multidropctl"
    config.provider("hoster", host="localhost")
    config.relay("house", host="localhost")
    config.account("sammel", "hoster", "house", "geheim", enabled=False)
    path = config.write()
    subprocess.run(["chown", "-R", f"{uid}:{gid}", config.directory], check=True)
    dropped = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
               "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    process = subprocess.Popen([*dropped, daemon.program(), *options, "-c", path],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        def healthy():
            return subprocess.run([*dropped, ctl.program(), *check[1:], "-c", path],
                                  capture_output=True).returncode == 0
        net.wait_until(lambda: healthy() or process.poll() is not None, 20, "it is not healthy")
        process.send_signal(getattr(signal, instruction("STOPSIGNAL")))
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert [json.loads(line)["event"] for line in said.splitlines()] == [
        "daemon.started", "daemon.stopping"]
    assert not healthy()
