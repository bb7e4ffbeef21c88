"""The cases that drain maildrops: for each round a fresh copy for every program, one after another.

Before the first round everybody proves on a small maildrop that each message arrives exactly once;
in the rounds the target's count must be right, and the maildrops empty.
"""
import os
import shutil
from dataclasses import dataclass

from . import fetchers, measure, world
from .measure import Failed, Result

PROOF = 20  # messages


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    messages: int  # of all accounts together
    octets: int = 4096
    accounts: int = 1
    pop3_rtt: int = 0  # ms
    smtp_rtt: int = 0
    house: bool = False  # a real Postfix behind it
    connections: int = 4
    slow: tuple = ()  # programs that --quick leaves out
    limits: tuple = ("drain", "source", "drain+source")
    without: tuple = ()  # programs that cannot take part


CASES = {case.name: case for case in (
    Case("loopback", "2,000 messages of 4 KiB on loopback", 2000, slow=("fetchmail",)),
    Case("rtt20", "20 ms round trip on the POP3 side", 300, pop3_rtt=20, slow=("fetchmail",)),
    Case("rtt80", "80 ms round trip on the POP3 side", 300, pop3_rtt=80,
         slow=("fetchmail", "getmail6", "fdm")),
    Case("rtt80both", "80 ms round trip on both sides", 300, pop3_rtt=80, smtp_rtt=80,
         slow=("fetchmail", "getmail6", "fdm"), limits=("feed", "feed, dot in the group"),
         without=("mpop",)),
    Case("postfix", "into a real Postfix", 1000, house=True, slow=("fetchmail",),
         limits=("source",), without=("getmail6", "mpop")),
    Case("large", "messages of 25 MiB", 20, octets=25 << 20, slow=("fetchmail", "getmail6")),
    Case("accounts200", "200 accounts of two messages", 400, accounts=200, limits=("one by one",),
         slow=("fetchmail", "getmail6", "fdm")),
    Case("accounts1000", "1,000 accounts of two messages", 2000, accounts=1000,
         limits=("one by one",), slow=("fetchmail", "getmail6"), without=("fdm",)),
)}


class Arena:
    """One case's servers and messages."""

    def __init__(self, home, case, options):
        self.home, self.case, self.options = home, case, options
        wanted = options.messages or case.messages // (4 if options.quick else 1)
        self.messages = max(case.accounts, wanted)
        self.messages -= self.messages % case.accounts
        self.stock = world.Stock(os.path.join(home.directory, "stock-" + case.name),
                                 max(self.messages, PROOF), case.octets)
        self.house = world.House(home.place("house"), home.certificate) if case.house else None
        self.pop3 = home.dovecot.pop3
        self._line = None
        if case.pop3_rtt:
            self._line = world.Line(self.pop3, case.pop3_rtt)
            self.pop3 = self._line.port

    def close(self):
        for server in (self._line, self.house):
            if server:
                server.stop()
        self.stock.close()

    def users(self, serial, accounts, count):
        """Fresh maildrops with so many messages of the stock in all."""
        names = [f"b{serial}x{i}@firma.example" for i in range(accounts)]
        each = count // accounts
        for i, user in enumerate(names):
            self.stock.fill(self.home.dovecot, user, i * each, each)
        return names

    def drained(self, users, name):
        left = sum(self.home.dovecot.count(user) for user in users)
        for user in users:
            self.home.dovecot.clear(user)
        if left:
            raise Failed(f"{name}: {left} messages left in the maildrops")

    def target(self, kind, place, dump=False):
        """Something to deliver into: (port, its line or None, the object that counts)."""
        if kind == "Maildir":
            return 0, None, world.MaildirTarget(place)
        if self.house and kind == "SMTP" and not dump:
            return self.house.port, None, Counted(self.house)
        sink = world.Sink(place, lmtp=kind == "LMTP", dump=dump)
        if self.case.smtp_rtt and not dump:
            line = world.Line(sink.port, self.case.smtp_rtt)
            return line.port, line, sink
        return sink.port, None, sink


class Counted:
    """A target that outlives the round."""

    def __init__(self, house):
        self._house, self._before = house, house.taken()

    def stop(self):
        return self._house.taken() - self._before


def fetch(arena, program, proof=False):
    """One cycle of the program over fresh maildrops."""
    case, home = arena.case, arena.home
    place = home.place("run")
    count = min(PROOF, arena.messages) if proof else arena.messages
    accounts = 1 if proof else case.accounts
    users = arena.users(os.path.basename(place), accounts, count)
    port, line, target = arena.target(program.target, place, dump=proof)
    try:
        job = fetchers.Job(place, users, home.dovecot.pop3 if proof else arena.pop3, port=port,
                           inbox=getattr(target, "path", ""), connections=case.connections)
        sample = measure.timed(program.command(job), place, program.good)
    finally:
        if line:
            line.stop()
        taken = target.stop()
    arena.drained(users, program.name)
    if taken != count:
        raise Failed(f"{program.name}: {taken} of {count} messages arrived, see {place}")
    if proof and sorted(target.subjects()) != [f"n{n:06d}" for n in range(count)]:
        raise Failed(f"{program.name}: not each message exactly once, see {place}")
    shutil.rmtree(place)
    return sample


def limit(arena, name):
    """What the servers can do with nobody in between."""
    case, home = arena.case, arena.home
    place = home.place("limit")
    drains = name in ("drain", "drain+source", "one by one")
    sends = name in ("source", "drain+source", "feed", "feed, dot in the group")
    users = arena.users(os.path.basename(place), case.accounts, arena.messages) if drains else []
    commands = []
    if drains:
        commands.append([world.tool("pop3_drain"), str(arena.pop3), world.PASSWORD, *users])
    port, line, target = arena.target("SMTP", place) if sends else (0, None, None)
    try:
        if name.startswith("feed"):
            commands.append([world.tool("smtp_feed"), *(["-g"] if "group" in name else []),
                             "-s", str(case.connections), "-m", str(arena.messages),
                             "-l", str(case.octets), "-t", world.RECIPIENT, str(port)])
        elif sends:
            commands.append(["smtp-source", "-d", "-s", str(case.connections),
                             "-m", str(arena.messages), "-l", str(case.octets),
                             "-f", "anna@outside.example", "-t", world.RECIPIENT,
                             f"127.0.0.1:{port}"])
        sample = measure.together(*commands, directory=place)
    finally:
        if line:
            line.stop()
        taken = target.stop() if target else None
    arena.drained(users, name)
    if taken not in (None, arena.messages):
        raise Failed(f"{name}: {taken} of {arena.messages} messages arrived, see {place}")
    shutil.rmtree(place)
    return sample


def run(home, case, programs, options):
    """All rounds; a Result for each program and limit."""
    programs = [p for p in programs if p.name not in case.without
                and not (options.quick and p.name in case.slow)]
    arena = Arena(home, case, options)
    results = {}
    try:
        runners = []
        for program in programs:
            try:
                fetch(arena, program, proof=True)
            except Failed as failure:
                print(f"left out: {failure}", flush=True)
                continue
            runners.append((program.name, program.target, lambda p=program: fetch(arena, p)))
        for name in case.limits:
            runners.append((name, "", lambda n=name: limit(arena, n)))
        for _ in range(options.runs):
            for name, target, runner in runners:
                result = results.setdefault(name, Result(name, target, arena.messages, []))
                result.samples.append(runner())
                options.progress(name, result.samples[-1])
    finally:
        arena.close()
    return results


def show(case, results):
    """The case's table."""
    base = results.get("multidropd")
    rows = []
    for r in sorted(results.values(), key=lambda r: r.seconds):
        mib = r.rate * case.octets / 2**20
        rows.append((r.name, r.target or "limit", measure.duration(r.seconds), r.spread(),
                     f"{r.rate:.0f}" if r.rate > 100 else f"{r.rate:.1f}", f"{mib:.1f}",
                     f"{r.seconds / base.seconds:.2f}" if base else "",
                     f"{r.cpu:.3f}", f"{r.peak:.1f}" if r.peak else ""))
    return measure.table(("program", "into", "median s", "min..max", "messages/s", "MiB/s",
                          "time, multidropd = 1", "CPU s per 1,000", "peak MiB"), rows)
