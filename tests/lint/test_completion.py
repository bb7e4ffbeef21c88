"""What bash offers for a command line, asked of bash with conf/multidropd.bash-completion, and that
it offers each command and option of --help and nothing else."""
import json
import os
import re
import shlex
import socket
import subprocess
import threading
import time

import pytest

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
SCRIPT = os.path.join(TOP, "conf", "multidropd.bash-completion")
CTL, DAEMON = os.environ["MULTIDROPCTL"], os.environ["MULTIDROPD"]


def candidates(*words, cwd=None):
    """What TAB offers behind the last word, which may be empty."""
    function = "_multidropctl" if os.path.basename(words[0]) == "multidropctl" else "_multidropd"
    script = (f". {shlex.quote(SCRIPT)}; COMP_WORDS=({shlex.join(words)}); "
              f"COMP_CWORD={len(words) - 1}; "
              f"{function} {shlex.join([words[0], words[-1], words[-2]])}; "
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True,
                          cwd=cwd, timeout=20, check=True, env=os.environ | {"LC_ALL": "C"})
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def text_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def commands():
    """{"held list": its options} as --help says."""
    found = {}
    for usage in re.findall(r"^  (\S.*)\n      \S", text_of(CTL, "--help"), re.M):
        name = re.match(r"[a-z]+(?: [a-z]+)?", usage)[0]
        if name != "help":
            said = text_of(CTL, *name.split(), "--help")
            lines = re.findall(r"^  (-\w)?(?:, |    )(--[\w-]+)", said, re.M)
            found[name] = {option for both in lines for option in both if option}
    return found


def test_commands(commands):
    first = {name.split()[0] for name in commands}
    assert candidates("multidropctl", "") == first | {"help", "-V", "--version", "-h", "--help"}
    assert candidates("multidropctl", "help", "") == first
    assert candidates("multidropctl", "re") == {"reload", "resume"}
    for word in first:
        parts = {name.split()[1] for name in commands if name.startswith(word + " ")}
        if parts:
            assert candidates("multidropctl", word, "") == parts
            assert candidates("multidropctl", "help", word, "") == parts


def test_options_of_each_command(commands):
    for name, options in commands.items():
        assert candidates("multidropctl", *name.split(), "-") == options, name


def test_options_of_multidropd():
    lines = re.findall(r"^  (-\w)?(?:, |    )(--[\w-]+)", text_of(DAEMON, "--help"), re.M)
    assert candidates("multidropd", "-") == {o for both in lines for o in both if o}


def test_words_of_options():
    assert candidates("multidropd", "-l", "") == {"auto", "journal", "text", "json"}
    assert candidates("multidropd", "--log-level", "in") == {"info"}
    assert candidates("multidropctl", "probe", "--samples", "") == set()
    assert candidates("multidropctl", "nonsense", "") == set()


def test_files(tmp_path):
    (tmp_path / "here.conf").touch()
    (tmp_path / "folder").mkdir()
    for words in (("multidropctl", "status", "-c", "he"), ("multidropd", "--config", "he"),
                  ("multidropctl", "explain", "he"), ("multidropctl", "import", "getmailrc", "he")):
        assert candidates(*words, cwd=tmp_path) == {"here.conf"}, words
    assert candidates("multidropctl", "import", "pullmail", "--secrets", "",
                      cwd=tmp_path) == {"folder"}


class FakeDaemon:
    """Answers each request with one line; None: never."""
    def __init__(self, path, answer):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.answer, self.clients = answer, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            self.clients.append(client)
            client.recv(256)
            if self.answer is not None:
                client.sendall(b"+" + self.answer.encode() + b"\n=0\n")
                client.close()


def test_account_names_come_from_the_daemon(tmp_path):
    status = {"accounts": [{"name": "sammel", "provider": "p"}, {"name": "hans"}],
              "providers": [{"name": "strato"}], "relays": [{"name": "house"}]}
    path = str(tmp_path / "control")
    FakeDaemon(path, json.dumps(status))
    for words in (("status",), ("fetch", "--wait"), ("pause",), ("resume",), ("probe", "-a")):
        assert candidates(CTL, words[0], "-s", path, *words[1:], "") == {"sammel", "hans"}, words
    assert candidates(CTL, "pause", "-s", path, "s") == {"sammel"}


def test_it_is_quick_and_silent_without_a_daemon(tmp_path):
    assert candidates(CTL, "pause", "-s", str(tmp_path / "nobody"), "") == set()
    path = str(tmp_path / "control")
    FakeDaemon(path, None)
    start = time.monotonic()
    assert candidates(CTL, "pause", "-s", path, "") == set()
    assert time.monotonic() - start < 10  # it would wait 30 s for an answer
