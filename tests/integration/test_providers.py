"""The provider files: each passes the check, and its rules find the recipients of the messages that
lie in tests/fixtures/providers/NAME, forged ones included.

expected.json there: `fill` are the lines that the file leaves to the administrator, `account` more
keys of the account, `messages` the recipients of each file, null for none that can be trusted.
"""
import json
import re
from pathlib import Path

import pytest
from conftest import expect
from mdtest import ctl, daemon, plan
from mdtest.pop3fake import Pop3Fake

TOP = Path(__file__).parents[2]
FILES = {path.stem: path for path in sorted((TOP / "conf/providers.d").glob("*.conf"))}
POSTMASTER = "postmaster@firma.example"


class Fixture:
    def __init__(self, name):
        self.name = name
        self.directory = TOP / "tests/fixtures/providers" / name
        expected = json.loads((self.directory / "expected.json").read_text())
        self.account, self.fill = expected["account"], expected["fill"]
        self.wanted = expected["messages"]

    def message(self, name):
        return (self.directory / name).read_bytes().replace(b"\n", b"\r\n")

    def text(self):
        """The provider file, completed as it asks the administrator to."""
        text = FILES[self.name].read_text()
        for key, value in self.fill.items():
            text, n = re.subn(rf"^#\t{key} = .*$", lambda _: f"\t{key} = {value}", text, flags=re.M)
            assert n == 1, f"{self.name}: the file offers no {key}"
        return text


class Including(daemon.Config):
    """A configuration whose provider is one of the files."""
    included = ""

    def text(self):
        return f'include("{self.file("provider.conf", self.included)}")\n' + super().text()


@pytest.fixture(params=FILES)
def fixture(request):
    return Fixture(request.param)


@pytest.fixture
def house(config, fixture):
    config = Including(config.directory)
    config.included = fixture.text()
    config.relay("house", port=1)
    config.account("sammel", fixture.name, "house", "geheim-4711",
                   **({"user": "box17@firma.example"} | fixture.account))
    return config


def test_file_passes_the_check(house):
    house.write()
    assert "error" not in expect(daemon.check(house), 0).stderr


def test_host_is_known_or_left_to_the_administrator(house, fixture):
    if "host" not in fixture.fill:
        assert re.search(r'^\thost = "', fixture.text(), re.M)
        return
    house.included = FILES[fixture.name].read_text()
    house.write()
    assert "host" in expect(daemon.check(house), 78).stderr


def test_every_message_lies_there(fixture):
    assert {p.name for p in fixture.directory.glob("*.eml")} == set(fixture.wanted)
    assert any(who is None for who in fixture.wanted.values())


def test_explain_finds_the_recipients(house, fixture):
    for name, wanted in fixture.wanted.items():
        got = ctl.explain_json(house, fixture.message(name))
        who = [r["address"] for r in got["recipients"]]
        assert who == (wanted or [POSTMASTER]), f"{name}: {got}"
        assert got["action"] == ("deliver" if wanted else "postmaster"), f"{name}: {got}"


def test_daemon_says_the_same(house, fixture):
    with Pop3Fake([fixture.message(name) for name in fixture.wanted]) as server:
        here = f'\thost = "127.0.0.1"\n\tport = {server.port}\n\ttls = "none"'
        house.included = re.sub(r"^\thost = .*$", here, house.included, flags=re.M)
        run = expect(daemon.once(house, "--dry-run"), 0)
    planned = [p.recipients for p in plan.read(run.stdout)]
    assert planned == [wanted or [POSTMASTER] for wanted in fixture.wanted.values()]


def test_page_has_every_file():
    page = (TOP / "docs/providers.md").read_text()
    named = set(re.findall(r"`([\w-]+)\.conf`", page))
    assert set(FILES) <= named
    assert {p.name for p in (TOP / "tests/fixtures/providers").iterdir()} == set(FILES)
