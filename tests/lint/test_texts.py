"""What texts tell an administrator to type exists: the commands and options, the keys with their
words, and the journal's fields and events that are named in the journal's catalog, in advice, in
alerts, in log lines and in the documentation.

A text is checked where it is typed or copied from: in the strings of the code, between backticks,
and in blocks of code. The other side is --help and the tables (tests/support/tables.c).
"""
import glob
import json
import os
import re
import subprocess

import pytest

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
CATALOG = "systemd/multidropd.catalog"
FOREIGN = {"docs/moving.md", "docs/providers.md", "docs/relays.md"}  # and what others are set to
PROSE = {"cannot", "of"}  # "multidropctl cannot reach ..." is a sentence about the program


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def paths(*patterns):
    found = [os.path.relpath(p, TOP) for pattern in patterns
             for p in sorted(glob.glob(os.path.join(TOP, pattern)))]
    assert found
    return found


def strings(path):
    """The string literals of a C file, neighbours joined as the compiler does."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*", " ", read(path), flags=re.S)
    for whole in re.findall(r'"(?:\\.|[^"\\\n])*"(?:\s*"(?:\\.|[^"\\\n])*")*', code):
        pieces = re.findall(r'"((?:\\.|[^"\\\n])*)"', whole)
        yield "".join(pieces).replace(r"\n", "\n").replace(r"\"", '"')


def spans(path):
    """What is between backticks, and each line of a block of code."""
    text = read(path)
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
        yield from block.replace("\\\n", " ").split("\n")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from (" ".join(s.split()) for s in re.findall(r"`([^`]+)`", text))


def texts():
    """(path, text) of all that may be typed."""
    for path in paths("daemon/*.c", "lib/*/*.c"):
        yield from ((path, text) for text in strings(path))
    for path in paths("README.md", "NEWS.md", "docs/*.md", "docs/*/*.md", CATALOG):
        yield from ((path, text) for text in spans(path))


def help_options(*command):
    said = output(*command, "--help")
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", said))


@pytest.fixture(scope="session")
def commands():
    """{("held", "list"): its options}"""
    ctl, found = os.environ["MULTIDROPCTL"], {}
    for usage in re.findall(r"^  (\S.*)\n      \S", output(ctl, "--help"), re.M):
        words = re.match(r"[a-z]+(?: [a-z]+)?", usage)[0].split()
        found[tuple(words)] = set() if words == ["help"] else help_options(ctl, *words)
    return found


@pytest.fixture(scope="session")
def tables():
    return json.loads(output(os.environ["TABLES"]))


def typed(program, text):
    """The words behind each `program` of a text, to the end of that command."""
    # "journalctl -u multidropd -f" is no command of ours
    for rest in re.findall(rf"(?<![\w./-])(?<!-u ){program} ([^\n;|#>`()]+)", text):
        yield rest.replace(",", " , ").split()


def options_of(words):
    """Those of one command: to the first word that ends a sentence."""
    for word in words:
        if re.fullmatch(r"--?[A-Za-z][\w-]*(=.*)?[.:]?", word):
            yield word.partition("=")[0].rstrip(".:")
        if word.endswith((",", ".", ":")):
            return


def test_commands_of_multidropctl(commands):
    first, seen = {words[0] for words in commands}, set()
    alone = {"-h", "--help", "-V", "--version"}
    for path, text in texts():
        if path == CATALOG and text.split()[0] in first:
            text = "multidropctl " + text  # said once for a list of them
        for words in typed("multidropctl", text):
            verb = words[0].rstrip(".:")
            where = f"{path}: multidropctl {' '.join(words)}"
            assert verb in alone or not verb.startswith("-"), where
            if not re.fullmatch(r"[a-z]+", verb) or verb in PROSE:
                continue
            assert verb in first, where
            second = (words[1:] or [""])[0].rstrip(".:")
            name = (verb,) if (verb,) in commands else (verb, second)
            if name not in commands and not re.fullmatch(r"[a-z]+", second):
                continue  # of all of them
            assert name in commands, where
            seen.add(name)
            unknown = set(options_of(words)) - commands[name]
            assert not unknown, f"{where}: {unknown}"
    assert ("resume",) in seen and ("held", "release") in seen  # it did look


def test_options_of_multidropd():
    known, seen = help_options(os.environ["MULTIDROPD"]), set()
    for path, text in texts():
        for words in typed("multidropd", text):
            if words[0].startswith("-"):
                unknown = set(options_of(words)) - known
                assert not unknown, f"{path}: multidropd {' '.join(words)}: {unknown}"
                seen |= set(options_of(words))
    assert "--once" in seen


def test_settings_that_are_told(tables):
    """`key = value`: the key exists, and takes that word."""
    keys, seen = {}, set()
    for key in tables["keys"]:
        keys.setdefault(key["name"], []).append(key)
    for path, text in texts():
        if path in FOREIGN:
            continue
        if path.endswith(".c"):
            found = re.findall(r"\bset (\w+) = (\"?)([\w-]+)", text)
        else:
            found = re.findall(r"^(\w+) = (\"?)([\w-]+)\"?$", text)
        for name, quote, value in found:
            where = f"{path}: {name} = {value}"
            assert name in keys, where
            words = {w for key in keys[name] for w in key["words"]}
            plain = value in ("true", "false") or value[0].isdigit()
            assert not words or plain or value in words, where
            assert quote or plain, where
            seen.add(name)
    assert {"enabled", "in_doubt"} <= seen


def test_fields_and_events_of_the_journal(tables):
    table = re.search(r"fields\[\] = \{(.*?)\n\};", read("daemon/log_sink.c"), re.S)[1]
    fields = {"MULTIDROP_" + n.upper() for n in re.findall(r'\{ "(\w+)", ', table)}
    fields.add("MULTIDROP_EVENT")
    events, seen = {e["name"] for e in tables["events"]}, set()
    everything = [*texts(), (CATALOG, read(CATALOG))]
    for path, text in everything:
        for field, event in re.findall(r"\b(MULTIDROP_[A-Z_]+)\b(?:=([a-z.]+))?", text):
            assert field in fields, f"{path}: {field}"
            assert not event or field != "MULTIDROP_EVENT" or event in events, f"{path}: {event}"
            seen.add(field)
    assert {"MULTIDROP_EVENT", "MULTIDROP_ACCOUNT"} <= seen
