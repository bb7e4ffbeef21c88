"""What the scripted servers share: a listener with a thread per connection, lines, TLS.

A server's behaviour is a dict from a stage (POP3: the command; SMTP: see sink.py) to what is said
there instead of the usual: a string (CRLF is added), bytes (sent as they are), CLOSE, HANG, DEAF,
or a function of the session that returns one of these or None for the usual. A list is used up one
element per visit; after its end the usual follows. The stage "handshake" stands for the server's
part of a TLS handshake.
"""
import socket
import ssl
import threading

from . import net

CLOSE = object()  # cut the connection without a word
HANG = object()  # say nothing until the client goes away
DEAF = object()  # say nothing and read nothing until the server stops


class Closed(Exception):
    """The session is over: the peer went away or the script cut it."""


class Server:
    session_class = None

    def __init__(self, behaviour=None, tls=None, certificate=None):
        """tls: None, "implicit" or "starttls"."""
        self.behaviour = dict(behaviour or {})
        self.tls = tls
        self.tls_context = None
        if certificate:
            self.tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls_context.load_cert_chain(certificate.cert, certificate.key)
        self.port = net.free_port()
        self.lock = threading.Lock()
        self.commands = []  # every line that any client sent, in order
        self.connections = 0
        self.hanging = 0  # sessions that the script has stopped with HANG or DEAF, ever
        self._sockets = set()
        self._listener = None
        self.stopped = threading.Event()

    def start(self):
        self.stopped.clear()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        """No new connections, and the open ones are cut."""
        if self._listener is None:
            return
        # shutdown wakes the accepting thread; close alone would leave it in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        self.stopped.set()
        with self.lock:
            for sock in self._sockets:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def said(self, verb):
        """The commands of this verb so far."""
        with self.lock:
            return [c for c in self.commands if c.split(" ")[0].upper() == verb]

    def _accept(self):
        listener = self._listener
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self._sockets.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        session = self.session_class(self, sock)
        try:
            if self.tls == "implicit":
                session.start_tls()
            session.run()
        except (Closed, OSError):
            pass
        finally:
            with self.lock:
                self._sockets.discard(sock)
            session.close()


class Session:
    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.secured = False
        self._reader = sock.makefile("rb")

    def start_tls(self):
        if self.act("handshake"):
            raise Closed
        self.sock = self.server.tls_context.wrap_socket(self.sock, server_side=True)
        self._reader = self.sock.makefile("rb")
        self.secured = True

    def close(self):
        self._reader.close()
        self.sock.close()

    def read_line(self):
        """The next line with its end; Closed at the end of the stream."""
        line = self._reader.readline()
        if not line.endswith(b"\n"):
            raise Closed
        return line

    def read_command(self):
        line = self.read_line().rstrip(b"\r\n").decode("latin-1")
        with self.server.lock:
            self.server.commands.append(line)
        return line

    def send(self, data):
        self.sock.sendall(data)

    def say(self, text):
        self.send(text.encode("utf-8") + b"\r\n")

    def act(self, stage):
        """Does what the script has for this stage; False: nothing, go on as usual."""
        return self.perform(self.scripted(stage))

    def scripted(self, stage):
        with self.server.lock:
            step = self.server.behaviour.get(stage)
            if isinstance(step, list):
                step = step.pop(0) if step else None
        return step(self) if callable(step) else step

    def perform(self, step):
        if step is None:
            return False
        if step is CLOSE:
            raise Closed
        if step in (HANG, DEAF):
            with self.server.lock:
                self.server.hanging += 1
        if step is HANG:
            while self._reader.read(4096):
                pass
            raise Closed
        if step is DEAF:
            self.server.stopped.wait()
            raise Closed
        if isinstance(step, bytes):
            self.send(step)
        else:
            self.say(step)
        return True
