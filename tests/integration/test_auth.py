"""Logins (P13, P16, P17, P19): every mechanism against Dovecot, tokens against a server that knows
only some of them, and passwords that a command prints."""
import base64
import http.server
import json
import os
import socket
import struct
import threading
import urllib.parse

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon, dovecot as dovecot_module, messages, net
from mdtest.pop3fake import CLOSE, Pop3Fake
from mdtest.sink import Sink

TOKEN = "ya29." + "AbC0123456789-_" * 100  # 1.5 kB, as Google's

# Dovecot asks a server of ours whose token it is.
OAUTH = """
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 apop xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {path}
}}
"""
OAUTH_CONF = """
introspection_mode = post
introspection_url = http://127.0.0.1:{port}/
username_attribute = email
active_attribute = active
active_value = true
"""


class _Introspection(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        token = urllib.parse.parse_qs(body).get("token", [""])[0]
        known = self.server.tokens.get(token)
        answer = json.dumps({"active": "true" if known else "false", "email": known or ""})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def introspection():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Introspection)
    server.tokens = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def every_auth(directory, certificate, introspection):
    """A Dovecot that offers everything."""
    folder = os.path.join(directory, "auth")
    os.mkdir(folder)
    path = os.path.join(folder, "oauth2.conf")
    with open(path, "w") as f:
        f.write(OAUTH_CONF.format(port=introspection.server_port))
    server = dovecot_module.Dovecot(folder, certificate, more=OAUTH.format(path=path))
    try:
        yield server.start()
    finally:
        server.stop()


def serve(config, server, ca, sink, box, password=PASSWORD, tls="implicit", **provider):
    server.put(box, messages.stored("hans", "Hallo"))
    port = server.pop3s if tls == "implicit" else server.pop3
    config.provider("hoster", host="localhost", port=port, tls=tls,
                    tls_ca_file=ca.cert if tls != "none" else None, **provider)
    config.relay("house", port=sink.port)
    config.account("sammel", "hoster", "house", password, user=box)
    return config


def command(config, line):
    """The account's secret comes from this command, not from its file."""
    del config.accounts["sammel"]["password_file"]
    config.accounts["sammel"]["password_command"] = line


def method_used(server, box):
    """The mechanism of the user's last login, as Dovecot has logged it."""
    lines = [x for x in server.log().splitlines() if f"Login: user=<{box}>" in x]
    return lines[-1].partition("method=")[2].partition(",")[0]


@pytest.mark.parametrize("auth, method", [
    ("auto", "SCRAM-SHA-256"), ("user", "PLAIN"), ("plain", "PLAIN"), ("login", "LOGIN"),
    ("cram-md5", "CRAM-MD5"), ("scram-sha-256", "SCRAM-SHA-256"), ("apop", "APOP")])
@pytest.mark.parametrize("tls", ["implicit", "starttls", "none"])
def test_every_mechanism_at_dovecot(config, every_auth, ca, box, auth, method, tls):
    with Sink() as sink:
        serve(config, every_auth, ca, sink, box, tls=tls, auth=auth)
        expect(daemon.once(config), 0)
        assert len(sink.transactions) == 1
        assert method_used(every_auth, box) == method


@pytest.mark.parametrize("auth", ["auto", "user", "plain", "login", "cram-md5", "scram-sha-256",
                                  "apop"])
def test_p13_wrong_password_is_a_refused_login(config, every_auth, ca, box, auth):
    with Sink() as sink:
        serve(config, every_auth, ca, sink, box, password="falsch", auth=auth)
        run = expect(daemon.once(config), 75)
        assert run.log.find("login.failed", account="sammel", error="AUTH")
        assert "falsch" not in run.stderr


@pytest.mark.parametrize("auth", ["xoauth2", "oauthbearer"])
def test_p16_token_of_1500_octets_at_dovecot(config, every_auth, ca, box, introspection, auth):
    introspection.tokens[TOKEN] = box
    with Sink() as sink:
        serve(config, every_auth, ca, sink, box, password="unused", auth=auth)
        command(config, f"echo {TOKEN}")
        run = expect(daemon.once(config), 0)
        assert len(sink.transactions) == 1
        assert method_used(every_auth, box) == auth.upper()
        assert TOKEN not in run.stderr


@pytest.mark.parametrize("auth", ["xoauth2", "oauthbearer"])
def test_p17_refused_token_at_dovecot(config, every_auth, ca, box, auth):
    with Sink() as sink:
        serve(config, every_auth, ca, sink, box, password="unused", auth=auth)
        command(config, f"echo {TOKEN}x")
        run = expect(daemon.once(config), 75)
        refusal = run.log.find("login.failed", account="sammel", error="AUTH")
        assert refusal and "status" in refusal[0]["reason"], "the server's JSON says why"
        assert TOKEN not in run.stderr


# ---- a scripted server ----

def oauth_server(good, failures):
    """Behaviour of AUTH: the token must be one of `good`; `failures` collects what was refused."""
    def auth(session):
        mechanism, _, blob = session.argument.partition(" ")
        assert len(session.line) + 2 <= 255
        if not blob:
            session.say("+ ")
            blob = session.read_command()
        token = base64.b64decode(blob).decode().split("Bearer ")[1].rstrip("\1")
        if token in good:
            with session.server.lock:
                session.snapshot = list(session.server.maildrop)
            return "+OK"
        session.say("+ " + base64.b64encode(b'{"status":"401"}').decode())
        failures.append((token, session.read_command()))
        return "-ERR [AUTH] invalid token"
    return auth


def with_tokens(config, good, failures, printed):
    """A provider that knows the tokens `good`, and a command that prints one of `printed` a run."""
    provider = Pop3Fake([messages.stored("hans", "Hallo")],
                        {"AUTH": oauth_server(good, failures)},
                        capabilities=("UIDL", "SASL XOAUTH2"))
    fake_provider(config, provider, auth="xoauth2")
    runs = os.path.join(config.directory, "runs")
    config.file("tokens", "".join(t + "\n" for t in printed))
    script = config.file("helper", "#!/bin/sh\n"
                         f"echo run >>{runs}\n"
                         f"sed -n \"$(wc -l <{runs})p\" {config.directory}/tokens\n", 0o755)
    config.account("sammel", "fake", "house", "unused")
    command(config, script)
    return provider, lambda: open(runs).read().count("run")


def test_p17_the_command_is_run_again_after_a_refusal(config):
    failures = []
    provider, runs = with_tokens(config, ["t2"], failures, ["t1", "t2"])
    with provider, Sink() as sink:
        config.relay("house", port=sink.port)
        expect(daemon.once(config), 0)
        assert failures == [("t1", "")] and runs() == 2, "one empty line, one more run"
        assert provider.connections == 1 and len(sink.transactions) == 1


@pytest.mark.parametrize("tool", ["probe", "adopt"])
def test_p17_at_the_command_line(config, tool):
    failures = []
    provider, runs = with_tokens(config, ["t2"], failures, ["t1", "t2"])
    with provider:
        config.relay("house", port=net.free_port())
        args = {"probe": ("probe", "-a", "sammel"), "adopt": ("adopt", "sammel", "--yes")}[tool]
        expect(ctl.run(*args, "-c", config.write()), 0)
        assert failures == [("t1", "")] and runs() == 2 and provider.connections == 1


def test_p17_once_and_not_again(config):
    failures = []
    provider, runs = with_tokens(config, [], failures, ["t1", "t2", "t3"])
    with provider, Sink() as sink:
        config.relay("house", port=sink.port)
        run = expect(daemon.once(config), 75)
        assert failures == [("t1", ""), ("t2", "")] and runs() == 2
        assert run.log.find("login.failed", account="sammel", error="AUTH")
        assert len(run.log.find("cycle.failed")) == 1
        assert provider.connections == 1 and not sink.transactions


def test_p17_the_same_token_is_not_said_twice(config):
    """A refused one counts: towards suspension, and towards the patience of the provider."""
    failures = []
    provider, runs = with_tokens(config, [], failures, ["t1", "t1"])
    with provider, Sink() as sink:
        config.relay("house", port=sink.port)
        run = expect(daemon.once(config), 75)
        assert failures == [("t1", "")] and runs() == 2
        assert "invalid token" in run.log.find("login.failed", error="AUTH")[0]["reason"]


def test_p17_the_second_run_fails(config):
    failures = []
    provider, runs = with_tokens(config, [], failures, ["t1"])
    with provider, Sink() as sink:
        config.relay("house", port=sink.port)
        run = expect(daemon.once(config), 75)
        assert failures == [("t1", "")] and runs() == 2
        assert "printed nothing" in run.log.find("login.failed", error="AUTH")[0]["reason"]


HANGS = "exec sleep 1000"


@pytest.mark.parametrize("then, again, said", [
    ([CLOSE], HANGS, None),
    (["+OK what else?"], HANGS, None),
    ([], "echo 'no network' >&2; exit 75", "exit status 75: no network"),
    ([], "exit 0", "printed nothing"),
    ([], "echo t1", None)], ids=["cut", "extra line", "fails", "prints nothing", "same"])
def test_p17_a_refused_token_counts_whatever_becomes_of_the_second(config, then, again, said):
    """Three of them and no more: a provider's firewall would lock out the whole office."""
    refuse = oauth_server([], [])
    runs = os.path.join(config.directory, "runs")

    def auth(session):
        session.say(refuse(session))
        net.wait_until(lambda: open(runs).read().count("run") % 2 == 0, 10,
                       "no second run of the command")
        for step in then:
            if step is CLOSE:  # hard: RST, not the end of a stream
                session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        struct.pack("ii", 1, 0))
                return CLOSE
            session.say(step)
        return session.read_command() and CLOSE
    with Pop3Fake([], {"AUTH": auth}, capabilities=("UIDL", "SASL XOAUTH2")) as provider, \
            Sink() as sink:
        fake_provider(config, provider, auth="xoauth2")
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", "unused")
        command(config, config.file("helper", "#!/bin/sh\n"
                                    f"echo run >>{runs}\n"
                                    f"[ $(($(wc -l <{runs}) % 2)) = 1 ] && exec echo t1\n"
                                    f"{again}\n", 0o755))
        for _ in range(3):
            run = expect(daemon.once(config), 75)
            [failed] = run.log.find("login.failed", account="sammel", error="AUTH")
            assert "invalid token" in failed["reason"]
            assert said is None or said in failed["reason"]
        assert run.log.find("account.suspended", account="sammel")
        run = expect(daemon.once(config), 75)
        assert run.log.find("cycle.skipped", reason="suspended") and provider.connections == 3


def test_p17_each_login_has_its_own_run(config):
    failures = []
    provider, runs = with_tokens(config, ["t1", "t2"], failures, ["t1", "t2"])
    with provider, Sink() as sink:
        config.relay("house", port=sink.port)
        expect(daemon.once(config), 0)
        expect(daemon.once(config), 0)
        assert not failures and runs() == 2


@pytest.mark.parametrize("line, said", [
    ("false", "password_command failed with exit status 1"),
    ("echo 'no network' >&2; echo geheim-0815; exit 75", "exit status 75: no network"),
    ("/usr/bin/no-such-helper", "No such file or directory"),
    ("true", "printed nothing"),
    ("printf 'a\\nb'", "CR, LF or NUL in user or password"),
    ("yes", "more than 65536 octets"),
])
def test_a_command_that_fails_makes_no_connection(config, line, said):
    with Pop3Fake([messages.stored("hans", "Hallo")]) as provider, Sink() as sink:
        fake_provider(config, provider, auth="plain")
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", "unused")
        command(config, line)
        run = expect(daemon.once(config), 75)
        assert said in run.log.find("cycle.failed", account="sammel")[0]["reason"]
        assert not provider.said("AUTH") and "geheim" not in run.stderr


def test_a_command_does_not_hold_up_others_nor_the_end(config):
    """One that hangs: the other account goes on meanwhile, and SIGTERM is obeyed at once."""
    with Pop3Fake([messages.stored("hans", "Hallo")]) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", "unused", interval="1s")
        pid = os.path.join(config.directory, "pid")
        command(config, f"echo $$ >{pid}; exec sleep 1000")
        config.account("zweites", "fake", "house", provider.password, interval="1s")
        with daemon.Daemon(config) as d:
            d.wait(lambda: os.path.exists(pid) and open(pid).read(), what="the command's start")
            d.wait_event("cycle.finished", account="zweites")
            assert not d.log.find("cycle.failed")
            assert d.stop(timeout=10) == 0
        assert not os.path.exists(f"/proc/{open(pid).read().strip()}"), "it went with the daemon"


def test_no_login_when_the_relay_goes_down_meanwhile(config):
    """The command of one account takes its time, and another finds the relay dead."""
    with Pop3Fake([]) as waiting, Pop3Fake([messages.stored("hans", "Hallo")]) as provider:
        fake_provider(config, waiting, "waiting")
        fake_provider(config, provider)
        config.relay("house", port=net.free_port())
        config.account("sammel", "waiting", "house", "unused")
        command(config, "sleep 1000")
        config.account("zweites", "fake", "house", provider.password)
        run = expect(daemon.once(config, timeout=20), 75)
        assert run.log.find("relay.down") and waiting.connections == 0


def test_p13_a_reload_resumes_an_account_with_a_command(config):
    """Whether the command would print the right password now, only a login can tell."""
    with Pop3Fake([messages.stored("hans", "Hallo")]) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", "unused", interval="1s")
        secret = config.file("secret", "falsch\n")
        command(config, f"cat {secret}")
        with daemon.Daemon(config) as d:
            d.wait_event("account.suspended", account="sammel")
            assert len(provider.said("PASS")) == 3
            config.file("secret", provider.password + "\n")
            d.signal(1)
            d.wait_event("account.resumed", account="sammel")
            d.wait_event("cycle.finished", account="sammel")
            assert d.stop() == 0


def test_p19_apop_only_server_and_apop_off(config):
    greeting = {"greeting": lambda s: "+OK <1896.697170952@mail.example>",
                "USER": lambda s: "-ERR use APOP"}
    with Pop3Fake([], greeting) as provider, Sink() as sink:
        fake_provider(config, provider)
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", provider.password)
        run = expect(daemon.once(config), 75)
        assert not provider.said("APOP") and not provider.said("PASS")
        assert run.log.find("login.failed", error="AUTH")


@pytest.mark.parametrize("timestamp", ["ready", "<1896>", "<a b@mail.example>",
                                       "<1896\xff@mail.example>"])
def test_p19_apop_needs_a_message_id(config, timestamp):
    greeting = {"greeting": lambda s: b"+OK " + timestamp.encode("latin-1") + b"\r\n"}
    with Pop3Fake([], greeting) as provider, Sink() as sink:
        fake_provider(config, provider, auth="apop")
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", provider.password)
        run = expect(daemon.once(config), 75)
        assert not provider.said("APOP")
        assert "timestamp" in run.log.find("cycle.failed", error="PROTO")[0]["reason"]


@pytest.mark.parametrize("challenge", ["+ ", "+ !!!", "+ " + "QUJD" * 400, "+"])
def test_challenges_that_never_end(config, challenge):
    def endless(session):
        for _ in range(1000):
            session.say(challenge)
            if session.read_command() == "*":
                return "-ERR cancelled"
        return CLOSE
    for auth in ("plain", "login", "cram-md5", "scram-sha-256", "xoauth2", "oauthbearer"):
        with Pop3Fake([], {"AUTH": endless}) as provider, Sink() as sink:
            fake_provider(config, provider, auth=auth)
            config.relay("house", port=sink.port)
            config.account("sammel", "fake", "house", provider.password)
            run = expect(daemon.once(config), 75)
            assert run.log.find("cycle.failed", account="sammel", error="PROTO"), auth
            assert len(provider.commands) < 8, provider.commands


def test_p13_what_a_server_echoes_is_masked(config):
    blob = base64.b64encode(b"\0sammel@firma.example\0geheim-4711").decode()
    with Pop3Fake([], {"AUTH": lambda s: f"-ERR what is {s.argument} ({PASSWORD})?"},
                  capabilities=("SASL PLAIN",)) as provider, Sink() as sink:
        fake_provider(config, provider, auth="plain")
        config.relay("house", port=sink.port)
        config.account("sammel", "fake", "house", PASSWORD)
        run = expect(daemon.once(config, "-v", "debug"), 75)
        assert PASSWORD not in run.stderr and blob not in run.stderr
        assert "***" in run.log.find("login.failed")[0]["reason"]
