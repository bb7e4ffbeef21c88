"""metrics_listen: what is answered, to whom, and what strangers cannot do with it."""
import json
import os
import signal
import socket
import stat

import pytest
from conftest import PASSWORD, expect, fake_provider
from mdtest import ctl, daemon, messages, net
from mdtest.pop3fake import Pop3Fake
from mdtest.sink import Sink
from test_metrics import FAMILIES, parse

CLIENTS_MAX, HEAD_OCTETS = 32, 8192  # http.h
ROUTES = {"/": "text/html; charset=utf-8", "/?still": "text/html; charset=utf-8",
          "/metrics": "text/plain; version=0.0.4; charset=utf-8",
          "/healthz": "text/plain; charset=utf-8", "/status.json": "application/json"}


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        assert first.startswith("HTTP/1.1 ")
        pairs = [f.split(": ", 1) for f in fields]
        self.header = {k.lower(): v for k, v in pairs}
        assert len(self.header) == len(pairs), "a field twice"

    @property
    def text(self):
        return self.body.decode()


def connect(address):
    unix = address.startswith("unix:")
    host, _, port = address.rpartition(":")
    peer = socket.socket(socket.AF_UNIX if unix else
                         socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
    peer.settimeout(30)
    peer.connect(port if unix else (host.strip("[]"), int(port)))
    return peer


def rest_of(peer):
    raw = b""
    while piece := peer.recv(65536):
        raw += piece
    peer.close()
    return raw


def ask_raw(address, request):
    """Bytes there, all bytes back."""
    peer = connect(address)
    peer.sendall(request)
    return rest_of(peer)


def get(address, path="/", method="GET", host="127.0.0.1", more=""):
    request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
    return Answer(ask_raw(address, request.encode()))


def listen(config, address=None):
    config.top["metrics_listen"] = address or f"127.0.0.1:{net.free_port()}"
    return config.top["metrics_listen"]


def serve(config, provider, sink, **keys):
    fake_provider(config, provider, login_limit=20)
    config.relay("house", port=sink.port)
    config.account("sammel", "fake", "house", PASSWORD, **{"interval": "1h", **keys})
    return config


@pytest.fixture
def peers(config):
    with Pop3Fake() as provider, Sink() as sink:
        serve(config, provider, sink)
        yield provider, sink


# ---- what is answered ----

def test_every_route_and_its_header(config, peers):
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("cycle.finished")
        for path, kind in ROUTES.items():
            answer, head = get(address, path), get(address, path, "HEAD")
            assert (answer.status, answer.header["content-type"]) == (200, kind), path
            assert int(answer.header["content-length"]) == len(answer.body) > 0
            assert head.body == b"" and head.status == 200
            for name, value in (("cache-control", "no-store"), ("connection", "close"),
                                ("x-content-type-options", "nosniff"),
                                ("referrer-policy", "no-referrer")):
                assert answer.header[name] == head.header[name] == value
            policy = answer.header["content-security-policy"].split("; ")
            assert policy[0] == "default-src 'none'" and policy[1].startswith("style-src 'sha256-")
            assert policy[2:] == ["frame-ancestors 'none'", "base-uri 'none'",
                                  "form-action 'none'"]
            assert answer.header.get("refresh") == ("30" if path == "/" else None), path
        missing = get(address, "/nix")
        assert missing.status == 404 and "/healthz" in missing.text
        assert "refresh" not in missing.header
        assert running.stop() == 0
    assert not running.log.noise


def test_what_it_says_is_what_multidropctl_says(config, peers):
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("cycle.finished")
        found = parse(get(address, "/metrics").text)
        asked = parse(ctl.ask(config, "metrics").stdout)
        status = json.loads(get(address, "/status.json").text)
        by_ctl = json.loads(ctl.ask(config, "status", "--json").stdout)
    assert set(found) == set(asked) == set(FAMILIES)
    assert found["multidropd_messages_total"] == asked["multidropd_messages_total"]
    assert status.keys() == by_ctl.keys()
    for part in ("accounts", "providers", "relays"):
        assert [set(x) for x in status[part]] == [set(x) for x in by_ctl[part]]
        assert [x["name"] for x in status[part]] == [x["name"] for x in by_ctl[part]]


def health(running, address, status, *lines):
    """Waits for that status; an answer is kept for a second."""
    answer = running.wait(lambda: (a := get(address, "/healthz")).status == status and a,
                          what=f"health {status}")
    for line in lines:
        assert line in answer.text, answer.text
    return answer


def test_health_of_a_suspended_account(config, peers):
    provider, _ = peers
    address = listen(config)
    provider.password = "changed-meanwhile"
    with daemon.Daemon(config) as running:
        running.wait_event("cycle.failed")
        assert health(running, address, 200).text == "ok\n"  # one failure is no reason yet
        assert "What to do" in get(address, "/").text
        running.wait(lambda: running.log.find("account.suspended") or
                     ctl.ask(config, "fetch", "--wait", "sammel") and False,
                     what="suspension")
        answer = health(running, address, 503, "sammel: password refused again and again")
        assert answer.text.count("\n") == 1
        page = running.wait(lambda: "suspended" in (p := get(address, "/").text) and p)
        assert "Not all is well: 1 account in trouble" in page
        assert "multidropctl resume sammel" in page and "account.suspended" in page
        provider.password = PASSWORD
        expect(ctl.ask(config, "resume", "sammel"), 0)
        health(running, address, 200)
        expect(ctl.ask(config, "pause", "sammel"), 0)
        running.wait(lambda: "paused" in get(address, "/status.json").text)
        health(running, address, 200)  # somebody wanted it so


def test_health_of_a_relay_that_is_down(config):
    address = listen(config)
    with Pop3Fake([messages.stored("hans", "Nr 1")]) as provider:
        fake_provider(config, provider)
        config.relay("house", port=net.free_port())
        config.account("sammel", "fake", "house", PASSWORD, interval="1s")
        with daemon.Daemon(config) as running:
            running.wait_event("relay.down")
            answer = health(running, address, 503, "relay house: down: ")
            assert get(address, "/healthz", "HEAD").status == 503
            assert all(line.startswith("relay house") for line in answer.text.splitlines())


def test_nothing_on_it_is_secret_or_markup(config):
    address = listen(config)
    hostile = "<script>alert(1)</script><b \x1b[31m'\""
    stored = [messages.stored("hans", f"Betreff-{n}") for n in range(3)]
    script = {"RCPT hans@firma.example": [f"550 5.1.1 {hostile} <hans@firma.example>"] * 3}
    with Pop3Fake(stored) as provider, Sink(script) as sink:
        serve(config, provider, sink, unknown="hold")
        config.account("falsch", "fake", "house", "nicht-das-passwort", interval="1h")
        provider.behaviour["USER"] = [lambda s: None, f"-ERR {hostile}"]
        with daemon.Daemon(config) as running:
            running.wait_event("message.held")
            running.wait_event("cycle.finished", account="sammel")
            running.wait(lambda: ctl.ask(config, "fetch", "falsch", "--wait").status and
                         running.log.find("cycle.failed", account="falsch"))
            pages = {p: get(address, p).text for p in ROUTES}
    for path, text in pages.items():
        for secret in (PASSWORD, "nicht-das-passwort", "hans", "firma.example", "Betreff", "\x1b"):
            assert secret not in text, (path, secret)
    assert "<script" not in pages["/"] and "<b " not in pages["/"]
    assert "&lt;script&gt;alert(1)" in pages["/"] and "message.held" in pages["/"]


# ---- who asks ----

@pytest.mark.parametrize("host,status", [
    ("127.0.0.1", 200), ("127.0.0.1:9477", 200), ("[::1]:9477", 200), ("[::1]", 200),
    ("192.0.2.7:80", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("gate.firma.example", 200),
    ("gate.firma.example:9477", 200), ("evil.example", 421), ("evil.example:9477", 421),
    ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421), ("::1", 421), ("[::1", 421),
    ("[x]:1", 421), ("x" * 300, 421), (":", 421), ("[", 421), ("]", 421), ("[]", 421)])
def test_only_for_our_names(config, peers, host, status):
    """A page from elsewhere whose name is turned to this address (DNS rebinding) reads nothing."""
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        answer = get(address, "/status.json", host=host)
        assert answer.status == status
        assert ("accounts" in answer.text) == (status == 200)


H = b"Host: 127.0.0.1\r\n"
RUDE = {
    b"GET /healthz HTTP/1.0\r\n\r\n": 200,
    b"GET /healthz HTTP/1.1\r\nHost:127.0.0.1\t\r\n\r\n": 200,
    b"GET /healthz?x=y&z HTTP/1.1\r\n" + H + b"\r\n": 200,
    b"GET /healthz HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n\r\n": 200,
    # pipelined: one answer, and the end
    b"GET /healthz HTTP/1.1\r\n" + H + b"\r\nGET /nix HTTP/1.1\r\n" + H + b"\r\n": 200,
    b"GET /healthz HTTP/1.1\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + H + b"\r\n": 400,
    b"\r\n\r\n": 400,
    b"GET\r\n\r\n": 400,
    b"GET /healthz\r\n\r\n": 400,
    b"GET  /healthz HTTP/1.1\r\n" + H + b"\r\n": 400,
    b"GET http://127.0.0.1/ HTTP/1.1\r\n" + H + b"\r\n": 400,
    b"GET * HTTP/1.1\r\n" + H + b"\r\n": 400,
    b"GET /healthz HTTP/1.1\n" + H + b"\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + b"X: a\nb\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + b"X: \0\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + b"X : a\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + b" folded\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + b"nothing\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + b": a\r\n\r\n": 400,
    b"GET /healthz HTTP/1.1\r\n" + H + b"Content-Length: -1\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n": 400,
    b"GET /../../etc/passwd HTTP/1.1\r\n" + H + b"\r\n": 404,
    b"GET /healthz%00 HTTP/1.1\r\n" + H + b"\r\n": 404,
    b"GET //healthz HTTP/1.1\r\n" + H + b"\r\n": 404,
    b"POST /healthz HTTP/1.1\r\n" + H + b"Content-Length: 9\r\n\r\nsomething": 405,
    b"DELETE / HTTP/1.1\r\n" + H + b"\r\n": 405,
    b"get / HTTP/1.1\r\n" + H + b"\r\n": 405,
    b"GET / HTTP/1.1\r\n" + H + b"Content-Length: 9\r\n\r\nsomething": 413,
    b"GET / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 413,
    b"GET /" + b"x" * HEAD_OCTETS + b" HTTP/1.1\r\n" + H + b"\r\n": 431,
    b"GET / HTTP/2.0\r\n" + H + b"\r\n": 505,
    b"GET / HTTP/1.1 \r\n" + H + b"\r\n": 505,
}


def test_rude_requests(config, peers):
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("cycle.finished")
        for request, status in RUDE.items():
            raw = ask_raw(address, request)
            assert raw.count(b"HTTP/1.1 ") == 1, request
            answer = Answer(raw)
            assert answer.status == status, (request, answer.status)
            if status == 405:
                assert answer.header["allow"] == "GET, HEAD"
        assert running.stop() == 0
    assert not running.log.noise


def test_length_of_a_header(config, peers):
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        for length, status in ((HEAD_OCTETS, 200), (HEAD_OCTETS + 1, 431)):
            head = b"GET /healthz HTTP/1.1\r\n" + H + b"X: "
            request = head + b"x" * (length - len(head) - 4) + b"\r\n\r\n"
            assert len(request) == length
            assert Answer(ask_raw(address, request)).status == status
        # far beyond: the answer comes nevertheless
        peer = connect(address)
        peer.sendall(b"GET /" + b"x" * 60000)
        assert Answer(rest_of(peer)).status == 431


def test_a_request_in_pieces(config, peers):
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        peer = connect(address)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n":
            peer.sendall(bytes([octet]))
        assert Answer(rest_of(peer)).status == 200


def descriptors(running):
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def test_a_thousand_connections(config, peers):
    """They cost 32 descriptors, and neither the mail nor who asks in earnest waits for them."""
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("cycle.finished")
        before = descriptors(running)
        silent = []
        for _ in range(1000):
            silent.append(connect(address))
            silent[-1].sendall(b"GET / HTTP/1.1\r\n")
        assert get(address, "/metrics").status == 200
        assert descriptors(running) <= before + CLIENTS_MAX
        run = expect(ctl.ask(config, "fetch", "sammel", "--wait"), 0)
        assert "delivered" in run.stdout
        closed = 0
        for peer in silent:
            peer.setblocking(False)
            try:
                closed += not peer.recv(1)
            except BlockingIOError:
                pass
            except ConnectionResetError:
                closed += 1
            peer.close()
        assert closed >= 1000 - CLIENTS_MAX
        running.wait(lambda: descriptors(running) <= before, what="descriptors to be closed")
        assert get(address, "/healthz").status == 200
        assert running.stop() == 0
    assert not running.log.noise


def test_silent_and_endless_clients_are_dropped(config, peers):
    address = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("cycle.finished")
        before = descriptors(running)
        silent, endless = connect(address), connect(address)
        endless.sendall(b"GET /healthz HTTP/1.1\r\n" + H + b"\r\n")
        with pytest.raises(OSError):  # it has its answer and goes on sending
            while True:
                endless.sendall(b"x" * 4096)
        assert rest_of(silent) == b""
        running.wait(lambda: descriptors(running) <= before)


# ---- where ----

def test_reload_moves_it(config, peers):
    first = listen(config)
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        assert get(first, "/healthz").status == 200
        second = listen(config, f"[::1]:{net.free_port()}")
        config.write()
        expect(ctl.ask(config, "reload"), 0)
        assert get(second, "/healthz", host="[::1]").status == 200
        with pytest.raises(ConnectionRefusedError):
            connect(first)
        # a port that somebody else has: refused, with the line, and the old one stays
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = listen(config, f"127.0.0.1:{other.getsockname()[1]}")
            line = config.text().splitlines().index(f'metrics_listen = "{taken}"') + 1
            config.write()
            run = expect(ctl.ask(config, "reload"), 1)
            assert f"{config.path}:{line}: metrics_listen {taken}: Address already in use" \
                in run.stderr
            assert running.log.find("config.refused")
            assert get(second, "/healthz").status == 200
        listen(config, "")
        config.top["metrics_listen"] = ""
        config.write()
        running.signal(signal.SIGHUP)
        running.wait(lambda: len(running.log.find("config.reloaded")) == 2)
        with pytest.raises(ConnectionRefusedError):
            connect(second)
        assert running.stop() == 0


def test_reload_takes_the_same_port_at_another_address(config, peers):
    """One address, all of them, one again; whoever was connected is served, by the same daemon."""
    port = net.free_port()
    first = at = listen(config, f"127.0.0.1:{port}")
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        for n, address in enumerate(("0.0.0.0", "[::]", "[::1]", "127.0.0.1"), 1):
            running.signal(signal.SIGSTOP)
            early = connect(at.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]"))
            at = listen(config, f"{address}:{port}")
            config.write()
            running.signal(signal.SIGHUP)
            running.signal(signal.SIGCONT)
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert Answer(rest_of(early)).status == 200
            running.wait(lambda: len(running.log.find("config.reloaded")) == n)
        assert get(first, "/healthz").status == 200
        with pytest.raises(ConnectionRefusedError):
            connect(f"[::1]:{port}")
        with socket.socket() as other:  # another daemon still has the port refused
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
                other.listen()
        assert running.stop() == 0


def test_reload_makes_a_removed_unix_socket_anew(config, peers):
    path = os.path.join(config.directory, "web")
    address = listen(config, "unix:" + path)
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        os.unlink(path)
        os.mkdir(path)  # first something is in the way
        expect(ctl.ask(config, "reload"), 0)
        (failed,) = running.log.find("metrics.failed")
        assert failed["reason"] == f"{path} is there and is no socket"
        os.rmdir(path)
        expect(ctl.ask(config, "reload"), 0)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert get(address, "/healthz").status == 200
        expect(ctl.ask(config, "reload"), 0)
        assert get(address, "/healthz").status == 200
        assert running.stop() == 0
    assert not os.path.exists(path)


def test_unix_socket(config, peers):
    path = os.path.join(config.directory, "web")
    address = listen(config, "unix:" + path)
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        status = os.stat(path)
        assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o660
        # a proxy in front of it passes on the name that it was asked with
        assert get(address, "/healthz", host="status.firma.example").status == 200
        running.kill()
    assert os.path.exists(path)
    with daemon.Daemon(config) as running:  # nobody listens there any more: replaced
        running.wait_event("daemon.started")
        assert get(address, "/metrics").status == 200
        assert running.stop() == 0
    assert not os.path.exists(path)


def test_a_port_that_is_taken_stops_no_mail(config, peers):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = listen(config, f"127.0.0.1:{other.getsockname()[1]}")
        with daemon.Daemon(config) as running:
            running.wait_event("cycle.finished")
            (failed,) = running.log.find("metrics.failed")
            assert failed["level"] == "warning"
            assert failed["reason"] == f"{address}: Address already in use"
            expect(ctl.ask(config, "reload"), 0)  # nor a reload that does not change the key
            assert not running.log.find("config.refused")
            assert running.stop() == 0


def test_others_can_reach_it(config, peers):
    """A warning, in -t and at the start; 192.0.2.0/24 is nobody's."""
    address = listen(config, f"192.0.2.1:{net.free_port()}")
    config.write()
    run = expect(daemon.check(config), 0)
    line = config.text().splitlines().index(f'metrics_listen = "{address}"') + 1
    assert f"{config.path}:{line}: warning: metrics_listen {address}: whoever reaches" in run.stderr
    with daemon.Daemon(config) as running:
        running.wait_event("daemon.started")
        assert running.log.find("config.warning")
        (failed,) = running.log.find("metrics.failed")
        assert "assign" in failed["reason"]
    listen(config)
    config.write()
    assert "warning" not in expect(daemon.check(config), 0).stderr


def test_what_is_no_address(config, peers):
    for text in ("9477", "localhost:9477", "127.0.0.1:0", "unix:web"):
        listen(config, text)
        config.write()
        run = expect(daemon.check(config), 78)
        assert f'metrics_listen "{text}"' in run.stderr and "127.0.0.1:9477" in run.stderr
