"""The manual and the code say the same, both ways: keys, options, commands, events, fields,
metrics, exit statuses, signals, environment variables.

The code's side comes from the built programs (tests/support/tables.c prints the tables, --help the
command lines) and, where there is no table to print, from its text. The manual's side is the mdoc
source: one .It for each thing.
"""
import json
import os
import re
import subprocess

import pytest

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
PAGES = ("multidropd.8", "multidropctl.1", "multidropd.conf.5")
SYSEXITS = {"EX_USAGE": 64, "EX_UNAVAILABLE": 69, "EX_SOFTWARE": 70, "EX_CANTCREAT": 73,
            "EX_TEMPFAIL": 75, "EX_CONFIG": 78, "CTL_REFUSED": 1}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def source(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def sections(page):
    """{"OPTIONS": its lines}"""
    parts = re.split(r"^\.Sh (.*)\n", source(f"docs/{page}"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def items(page, section, macro):
    """What stands behind `.It MACRO`, and the text that follows."""
    found = re.split(rf"^\.It {macro} (.*)\n", sections(page)[section], flags=re.M)
    return list(zip(found[1::2], found[2::2]))


def names(page, section, macro):
    """The names of `.It MACRO name , name`, without repetitions."""
    listed = [n for head, _ in items(page, section, macro) for n in head.split(" , ")]
    assert len(listed) == len(set(listed))
    return set(listed)


@pytest.fixture(scope="session")
def tables():
    return json.loads(output(os.environ["TABLES"]))


@pytest.fixture(scope="session")
def daemon_code():
    """(the daemon's sources, multidropctl's)"""
    folder = os.path.join(TOP, "daemon")
    files = [n for n in sorted(os.listdir(folder)) if n.endswith(".c")]
    ctl = [n for n in files if n == "multidropctl.c" or n.startswith("ctl")]
    return tuple("".join(source(f"daemon/{n}") for n in group)
                 for group in ([n for n in files if n not in ctl], ctl))


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_finds_nothing(page):
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", f"docs/{page}"], cwd=TOP,
                          capture_output=True, text=True)
    assert (lint.stdout + lint.stderr, lint.returncode) == ("", 0)


# ---- keys ----

def manual_keys():
    found = {}
    for section, kind in (("GLOBAL", "global"), ("PROVIDER", "provider"), ("ENVELOPE", "envelope"),
                          ("RELAY", "relay"), ("ACCOUNT", "account")):
        for name, text in items("multidropd.conf.5", section, "Ic"):
            assert (kind, name) not in found
            found[kind, name] = text
    return found


def code_keys(tables):
    known = {"provider", "envelope", "relay", "account"}
    return {(k["section"] if k["section"] in known else "global", k["name"]): k
            for k in tables["keys"]}


def test_each_key_is_in_the_manual_and_each_of_the_manual_is_a_key(tables):
    assert set(manual_keys()) == set(code_keys(tables))


def test_defaults_and_ranges_are_the_tables(tables):
    manual = manual_keys()
    for at, key in code_keys(tables).items():
        first = manual[at].split("\n")[0]
        stated = re.match(r"(Required)\.|Default: (.*?)(?:[,;] |\.$)", first)
        assert stated, f"{at}: {first}"
        assert bool(stated[1]) == key["required"], at
        if key["default"]:
            assert stated[2] == key["default"], at
        elif key["default"] == "" and not key["required"]:
            assert stated[2] == "empty", at
        limits = re.search(r"range: (\S+) to (\w+)", first)
        assert (limits.groups() if limits else (None, None)) == (key["min"], key["max"]), at


def test_each_word_that_a_key_takes_is_named(tables):
    manual = manual_keys()
    for at, key in code_keys(tables).items():
        for word in key["words"]:
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", manual[at]), (at, word)


# ---- events, fields, metrics ----

def test_events_with_their_levels(tables):
    manual = {tuple(re.fullmatch(r"(\S+) Pq (\w+)", head).groups())
              for head, _ in items("multidropd.8", "EVENTS", "Li") if " Pq " in head}
    assert manual == {(e["name"], e["level"]) for e in tables["events"]}


def test_fields():
    table = re.search(r"fields\[\] = \{(.*?)\n\};", source("daemon/log_sink.c"), re.S)[1]
    fields = set(re.findall(r'\{ "(\w+)", ', table))
    manual = {n for head, _ in items("multidropd.8", "EVENTS", "Li") if " Pq " not in head
              for n in head.split(" , ")}
    assert manual == fields


def test_classes_of_faults_are_named_where_the_field_is():
    named = dict(items("multidropd.8", "EVENTS", "Li"))["error"]
    classes = set(re.findall(r'\[ERR_\w+\] = "(\w+)"', source("lib/base/err.c"))) - {"NONE"}
    assert set(re.findall(r"\b[A-Z]{3,}\b", named)) == classes


def test_metrics_with_their_types_and_labels(tables):
    types = set(re.findall(r"^# TYPE (\S+) (\w+)$", tables["metrics"], re.M))
    manual = [re.fullmatch(r"(\S+)(?: No { Ns Cm (.*) Ns })? Pq (\w+)", head)
              for head, _ in items("multidropd.8", "METRICS", "Li")]
    assert {(m[1], m[3]) for m in manual} == types
    rows = re.findall(r'\{ "(\w+)", \w+, \{ (.*?) \},', source("lib/core/metrics.c"))
    labels = {f"multidropd_{name}": re.findall(r'"(\w+)"', both) for name, both in rows}
    assert {m[1]: m[2].split(" , ") if m[2] else [] for m in manual} == labels


# ---- command lines ----

def manual_options(page, section):
    """{("-c", "--config"), ("", "--json")}"""
    found = set()
    for head, _ in items(page, section, "Fl"):
        words = head.split(" Ar ")[0].split(" , ")
        long = [w for w in words if w.startswith("-")]
        short = [w for w in words if not w.startswith("-")]
        found.add(("-" + short[0] if short else "", "-" + long[0]))
    return found


def code_options(path, letters):
    """getopt's table; `letters` are those that have no short form."""
    table = re.search(r"struct option options\[\] = \{(.*?)\n\};", source(path), re.S)[1]
    rows = re.findall(r'\{ "([\w-]+)", \w+, NULL, \'?(\w+)\'? \}', table)
    return {("" if letter in letters else "-" + letter, "--" + name) for name, letter in rows}


def test_options_of_multidropd():
    code = code_options("daemon/main.c", {"NO_SANDBOX"})
    assert manual_options("multidropd.8", "DESCRIPTION") == code
    text = source("daemon/main.c").split("static const struct option", 1)[0]
    usage = set(re.findall(r'"  (-\w)?(?:, |    )(--[\w-]+)', text))
    assert usage == code


def test_options_of_multidropctl():
    code = code_options("daemon/multidropctl.c", set("njtySAwN"))
    assert manual_options("multidropctl.1", "OPTIONS") == code


def test_commands_of_multidropctl_with_their_usage():
    ctl = os.environ["MULTIDROPCTL"]
    usage = re.findall(r"^  (\S.*)\n      \S", output(ctl, "--help"), re.M)
    manual = [head.replace(" Li ", " ") for head, _ in items("multidropctl.1", "COMMANDS", "Ic")]
    assert manual == usage


def test_each_command_has_help_with_its_options_and_an_example():
    ctl = os.environ["MULTIDROPCTL"]
    usages = re.findall(r"^  (\S.*)\n      \S", output(ctl, "--help"), re.M)
    for usage in usages:
        command = re.match(r"[a-z]+(?: [a-z]+)?", usage)[0]
        if command == "help":
            continue
        text = output(ctl, *command.split(), "--help")
        assert output(ctl, "help", *command.split()) == text
        assert text.startswith(f"usage: multidropctl {usage}\n")
        assert f"\nexample:\n  multidropctl {command}" in text
        options = set(re.findall(r"^  (?:-\w,|   ) (--[\w-]+)", text, re.M)) - {"--help"}
        short = {"-c": "--config", "-s": "--socket", "-a": "--account"}
        named = re.findall(r"(?<![\w-])--?[a-z][\w-]*", usage)
        assert options == {short.get(n, n) for n in named}


# ---- the rest ----

def statuses(code):
    return {SYSEXITS[name] for name in re.findall(r"\b(EX_(?!DATA)\w+|CTL_REFUSED)\b", code)} | {0}


def test_exit_statuses(daemon_code):
    daemon, ctl = daemon_code
    for page, code, program in (("multidropd.8", daemon, "MULTIDROPD"),
                                ("multidropctl.1", ctl, "MULTIDROPCTL")):
        manual = {int(n) for n in re.findall(r"^\.It (\d+)$", sections(page)["EXIT STATUS"], re.M)}
        assert manual == statuses(code)
        said = output(os.environ[program], "--help").split("Exit status:")[1]
        assert {int(n) for n in re.findall(r"\b(\d+) [a-zA-Z]", said)} == manual


def test_signals(daemon_code):
    table = re.search(r"\btable\[\] = (\{ \{ SIG.*?\} \});", daemon_code[0], re.S)[1]
    assert names("multidropd.8", "SIGNALS", "Dv") == set(re.findall(r"SIG\w+", table))


def test_environment(daemon_code):
    read = [set(re.findall(r'getenv\("(\w+)"\)', code)) for code in daemon_code]
    by_name = set(re.findall(r'\{ "([A-Z]\w+)", (?:NULL|"[^"]*") \}', source("daemon/runner.c")))
    by_name |= set(re.findall(r'"(\w+_DIRECTORY)"', source("daemon/conf_file.c")))
    systemd = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}  # libsystemd reads them
    assert len(by_name) == 5
    assert names("multidropd.8", "ENVIRONMENT", "Ev") == read[0] | by_name | systemd
    assert names("multidropctl.1", "ENVIRONMENT", "Ev") == read[1] | by_name
