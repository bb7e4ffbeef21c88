"""The status page in a browser: for everybody (axe-core), on a phone and on a desk, light and dark.

Screenshots are left in the build folder, below screenshots/.
"""
import os

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import browser as browser_module, ctl, daemon, messages, net
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink
from test_http import get, listen

SHOTS = os.path.join(os.path.dirname(daemon.program()), "screenshots")
LONG = "x" * 64


@pytest.fixture(scope="session")
def browser():
    browser = browser_module.Browser()
    yield browser
    browser.close()


@pytest.fixture
def well(config):
    """Two accounts, nothing to complain about."""
    stored = [messages.stored("hans", f"Nr {n}") for n in range(3)]
    with Pop3Fake(stored) as provider, Sink() as sink:
        fake_provider(config, provider, "strato", login_limit=20)
        config.relay("exchange", port=sink.port)
        config.account("sammel", "strato", "exchange", PASSWORD, interval="10m")
        config.account("buchhaltung", "strato", "exchange", PASSWORD, interval="1h", mode="single",
                       recipient="buchhaltung@firma.example")
        address = listen(config)
        with daemon.Daemon(config) as running:
            running.wait(lambda: all(running.log.find("cycle.finished", account=a)
                                     for a in ("sammel", "buchhaltung")) or
                         ctl.ask(config, "fetch", "--all", "--wait") and False)
            yield running, address


@pytest.fixture
def ill(config):
    """Everything at once: suspended, backed off, paused, disabled, held, a dead relay, long names,
    and a server that says nasty things."""
    stored = [messages.stored("hans", f"Nr {n}") for n in range(3)]
    refuse = {"RCPT hans@firma.example": ["550 5.1.1 who?"] * 3}
    nasty = "-ERR <img src=x onerror=alert(1)> " + "W" * 150
    with Pop3Fake(stored) as provider, Sink(refuse) as sink, Pop3Fake() as other:
        fake_provider(config, provider, "strato", login_limit=200)
        fake_provider(config, other, LONG)
        other.behaviour["USER"] = [nasty] * 100
        config.relay("exchange", port=sink.port)
        config.relay("zweigstelle", port=net.free_port())
        config.account("sammel", "strato", "exchange", PASSWORD, interval="1h", unknown="hold")
        config.account("falsch", "strato", "exchange", "nicht-das-passwort", interval="1h")
        config.account("urlaub", "strato", "exchange", PASSWORD, interval="1h")
        config.account("filiale", "strato", "zweigstelle", PASSWORD, interval="1s")
        config.account("alt", "strato", "exchange", PASSWORD, enabled=False)
        config.account(LONG, LONG, "exchange", PASSWORD, interval="1h")
        address = listen(config)
        with daemon.Daemon(config) as running:
            running.wait_event("daemon.started")
            expect(ctl.ask(config, "pause", "urlaub"), 0)
            running.wait(lambda: running.log.find("account.suspended") or
                         ctl.ask(config, "fetch", "falsch", "--wait") and False)
            running.wait(lambda: running.log.find("message.held") or
                         ctl.ask(config, "fetch", "sammel", "--wait") and False)
            running.wait(lambda: running.log.find("cycle.failed", account=LONG) or
                         ctl.ask(config, "fetch", LONG, "--wait") and False)
            running.wait_event("relay.down")
            running.wait(lambda: get(address, "/healthz").status == 503)
            running.wait(lambda: "3 messages held" in get(address, "/").text)
            yield running, address


def check(browser, address, name, scheme, width, expected):
    browser.look(f"http://{address}/", scheme, width)
    browser.screenshot(os.path.join(SHOTS, f"{name}-{scheme}-{width}.png"), width)
    assert browser.run("return document.querySelector('h1').textContent").startswith(expected)
    # the policy lets our style pass, and nothing had to be stopped
    assert browser.run("return getComputedStyle(document.body).marginTop") == "0px"
    assert browser.complaints() == []
    assert browser.too_wide() == []
    assert browser.violations() == []
    dark = browser.run("return getComputedStyle(document.body).backgroundColor") != \
        "rgb(244, 246, 248)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_is_well(browser, well, scheme):
    _, address = well
    for width in (320, 360, 1280):
        check(browser, address, "well", scheme, width, "All is well: 2 accounts")
    assert browser.driver.title == "All is well - multidropd"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_much_is_not_well(browser, ill, scheme):
    _, address = ill
    for width in (320, 360, 1280):
        check(browser, address, "ill", scheme, width, "Not all is well: ")
    shown = browser.run("return document.body.innerText")
    for text in ("relay zweigstelle: down: ", "multidropctl resume falsch",
                 "multidropctl held list", "<img src=x onerror=alert(1)>", "paused", "disabled"):
        assert text in shown
    assert browser.run("return document.images.length + document.scripts.length") == 0


def test_its_landmarks_and_its_way_to_stop(browser, well):
    _, address = well
    browser.look(f"http://{address}/", "light", 1280)
    for tag in ("header", "main", "footer", "h1"):
        assert browser.run(f"return document.querySelectorAll('{tag}').length") == 1, tag
    assert browser.run("return document.documentElement.lang") == "en"
    browser.driver.find_element("link text", "stop that").click()
    assert browser.driver.current_url.endswith("/?still")
    assert "Refreshes every" not in browser.run("return document.body.innerText")
    assert browser.complaints() == []


def test_axe_would_notice(browser, well):
    """The check itself: a grey that is too faint, and a row without its cells' headers."""
    _, address = well
    browser.look(f"http://{address}/?still", "light", 360)
    browser.run("document.querySelector('h1').style.color = '#ddd';"
                "document.documentElement.removeAttribute('lang')")
    found = " ".join(browser.violations())
    assert "color-contrast" in found and "html-has-lang" in found
    browser.run("document.querySelector('h1').style.width = '400px'")
    assert browser.too_wide()
