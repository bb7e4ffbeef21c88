"""TLS towards both sides: protocol versions (T08) and pinned keys (T09)."""
import base64
import hashlib
import ssl
import subprocess

import pytest
from conftest import PASSWORD, expect
from mdtest import daemon, messages
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink

OTHER = "sha256//" + base64.b64encode(bytes(32)).decode()


def pin_of(certificate):
    """As curl's manual says, with the openssl command."""
    key = subprocess.run(["openssl", "x509", "-in", certificate.cert, "-pubkey", "-noout"],
                         capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key,
                         capture_output=True, check=True).stdout
    return "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()


class Sides:
    """A provider and a relay, both with TLS, whose sections a test changes."""

    def __init__(self, config, ca, provider, sink):
        self.config, self.server, self.sink = config, provider, sink
        self.provider = config.provider("hoster", host="localhost", port=provider.port,
                                        tls=provider.tls, tls_ca_file=ca.cert)
        self.relay = config.relay("house", host="localhost", port=sink.port, tls=sink.tls,
                                  tls_ca_file=ca.cert)
        config.account("sammel", "hoster", "house", PASSWORD)

    def section(self, side):
        return self.provider if side == "provider" else self.relay

    def refused(self, side, reason):
        """That side is refused before anything is said, and the mail stays where it is."""
        run = expect(daemon.once(self.config), 75)
        event = "cycle.failed" if side == "provider" else "relay.down"
        lines = run.log.find(event, error="TLS")
        assert lines and reason in lines[0]["reason"], repr(run)
        assert len(self.server.maildrop) == 1 and not self.sink.transactions
        if side == "provider":
            assert not any(self.server.said(verb) for verb in ("USER", "PASS", "AUTH"))
        else:
            assert not self.sink.said("MAIL")
        return run

    def accepted(self):
        expect(daemon.once(self.config), 0)
        assert len(self.sink.transactions) == 1


@pytest.fixture(params=["implicit", "starttls"])
def sides(request, config, ca, certificate):
    with Pop3Fake([messages.stored("hans", "Hallo")], tls=request.param,
                  certificate=certificate) as provider, \
            Sink(tls=request.param, certificate=certificate) as sink:
        yield Sides(config, ca, provider, sink)


@pytest.mark.parametrize("side", ["provider", "relay"])
def test_t09_another_key_behind_a_valid_chain_is_refused(sides, certificate, side):
    sides.section(side)["tls_pin"] = [OTHER]
    sides.refused(side, "the server has " + pin_of(certificate))


@pytest.mark.parametrize("side", ["provider", "relay"])
def test_t09_any_of_the_pins_is_enough(sides, certificate, side):
    sides.section(side)["tls_pin"] = [OTHER, pin_of(certificate)]
    sides.accepted()


@pytest.mark.parametrize("side", ["provider", "relay"])
def test_t09_a_pin_does_not_stand_for_the_chain(sides, certificate, side):
    section = sides.section(side)
    section["tls_pin"] = [pin_of(certificate)]
    del section["tls_ca_file"]
    sides.refused(side, "certificate refused")


def only(server, version):
    server.tls_context.set_ciphers("ALL:@SECLEVEL=0")
    server.tls_context.minimum_version = server.tls_context.maximum_version = version


@pytest.mark.parametrize("side", ["provider", "relay"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_t08_a_server_of_tls_1_1_is_refused(sides, side):
    only(sides.server if side == "provider" else sides.sink, ssl.TLSVersion.TLSv1_1)
    sides.refused(side, "handshake")


@pytest.mark.parametrize("side", ["provider", "relay"])
def test_t08_tls_1_2_is_fine(sides, side):
    only(sides.server if side == "provider" else sides.sink, ssl.TLSVersion.TLSv1_2)
    sides.accepted()
