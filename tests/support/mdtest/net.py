"""Ports, temporary directories and waiting.

A port is reserved for the life of this process by an abstract Unix socket of its number, so that
test programs that run side by side never choose the same one and leave no lock files. The range
lies below the kernel's ephemeral ports: no outgoing connection can sit on a port between our choice
and the server's bind.
"""
import os
import random
import socket
import tempfile
import time

PORTS = range(20000, 30000)
_reservations = []


def free_port():
    for port in random.sample(PORTS, len(PORTS)):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0mdtest-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return port
    raise RuntimeError("no free port")


def temp_dir():
    """A directory with a short name (sockets have 108 bytes) that servers' users may enter."""
    path = tempfile.mkdtemp(prefix="mdt-", dir="/tmp")
    os.chmod(path, 0o755)
    return path


def wait_until(condition, timeout, what):
    """Returns the condition's first true value; raises with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(what() if callable(what) else what)
        time.sleep(0.01)


def answers(port):
    """Whether something accepts connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class FullBacklog:
    """An address that lets a connection hang: nobody accepts, and nobody else may queue."""

    def __init__(self, port, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=0)
        self._fillers = [socket.socket(family) for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex((host, port))


def end_process(process, timeout=10):
    """TERM, then KILL when that was not heard. Only for children of ours."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout)
    except Exception:
        process.kill()
        process.wait()
