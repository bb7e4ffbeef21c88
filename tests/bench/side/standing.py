"""The cases in which something stays: a backlog of known messages, and a daemon that has nothing to
do.

The others' state is written as they write it, since fetchmail would need an hour to get there;
multidropd's is what its own first cycle has left. That it was understood is seen from the messages
that arrive: the new ones and no others.
"""
import os
import poplib
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

from . import ROOT, fetchers, measure, world
from .measure import Failed, Result
from mdtest import daemon, net, process

NEW = 10
OCTETS = 600
USER = "backlog@firma.example"


@dataclass(frozen=True)
class Backlog:
    name: str
    title: str
    known: int


@dataclass(frozen=True)
class Idle:
    name: str
    title: str
    accounts: int
    seconds: int


@dataclass(frozen=True)
class Instructions:
    name: str
    title: str


CASES = {case.name: case for case in (
    Backlog("known20000", "20,000 known UIDs, 10 new", 20000),
    Backlog("known100000", "100,000 known UIDs, 10 new", 100000),
    Backlog("known200000", "200,000 known UIDs, 10 new", 200000),
    Idle("idle", "1,000 idle accounts", 1000, 30),
    Instructions("instructions", "Instructions, by callgrind"),
)}


def uids(home):
    client = poplib.POP3("127.0.0.1", home.dovecot.pop3, timeout=600)
    client.user(USER)
    client.pass_(world.PASSWORD)
    found = [line.split(b" ", 1)[1].decode() for line in client.uidl()[1]]
    client.quit()
    return found


def state_of(name, known):
    """(file, text): what the program has written when it knows these UIDs."""
    now = int(time.time())
    return {
        "getmail6": lambda: ("oldmail-127.0.0.1-{pop3}-" + USER,
                             "".join(f"{uid}\0{now}\n" for uid in known)),
        "mpop": lambda: ("uidls", f" {len(known)} 127.0.0.1 {USER}\n"
                         + "".join(f"{uid}\n" for uid in sorted(known))),
        "fetchmail": lambda: ("fetchids", "".join(f"{USER}@127.0.0.1 {uid}\n" for uid in known)),
        "fdm": lambda: ("cache0", "".join(f"{len(uid)} {uid}\n" for uid in known)),
    }[name]()


def cycle(home, program, place, serial):
    """One cycle of the program that keeps everything: what it took, and how many arrived."""
    kind = program.target
    folder = home.place(f"target{serial}")
    target = world.MaildirTarget(folder) if kind == "Maildir" else \
        world.Sink(folder, lmtp=kind == "LMTP")
    try:
        job = fetchers.Job(place, [USER], home.dovecot.pop3, port=getattr(target, "port", 0),
                           inbox=getattr(target, "path", ""), keep=True)
        sample = measure.timed(program.command(job), place, program.good)
    finally:
        taken = target.stop()
    shutil.rmtree(folder)
    return sample, taken


def prepare(home, program, known):
    """The program's directory, in which it knows all that lies in the maildrop."""
    place = home.place(program.name)
    if program.name == "multidropd":
        taken = cycle(home, program, place, 0)[1]
        if taken != len(known):
            raise Failed(f"multidropd: {taken} of {len(known)} messages arrived, see {place}")
        return place
    name, text = state_of(program.name, known)
    fetchers.Job(place, [USER], 0).file(name.format(pop3=home.dovecot.pop3), text)
    return place


def backlog(home, case, programs, options):
    known = options.messages or case.known // (4 if options.quick else 1)
    stock = world.Stock(os.path.join(home.directory, "stock-" + case.name),
                        known + NEW * options.runs, OCTETS)
    results = {}
    try:
        stock.fill(home.dovecot, USER, 0, known)
        listed = uids(home)
        places = {p.name: prepare(home, p, listed) for p in programs}
        for n in range(options.runs):
            stock.fill(home.dovecot, USER, known + n * NEW, NEW)
            uids(home)  # Dovecot has seen them before the first program comes
            for program in programs:
                sample, taken = cycle(home, program, places[program.name], n)
                if taken != NEW:
                    raise Failed(f"{program.name}: {taken} messages arrived, not {NEW}, see "
                                 + places[program.name])
                result = results.setdefault(program.name,
                                            Result(program.name, program.target, NEW, []))
                result.samples.append(sample)
                options.progress(program.name, sample)
        if home.dovecot.count(USER) != known + NEW * options.runs:
            raise Failed("messages are missing in the maildrop")
    finally:
        home.dovecot.clear(USER)
        stock.close()
    return results


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def quiet(pids):
    """Whether they use no CPU for two seconds."""
    before = [cpu_ticks(pid) for pid in pids]
    time.sleep(2)
    return [cpu_ticks(pid) for pid in pids] == before


def idle(home, case, programs, options):
    """RSS, and the CPU of so many seconds, of a daemon whose accounts are not due."""
    accounts = options.messages or case.accounts
    seconds = 10 if options.quick else case.seconds
    place = home.place("idle")
    users = [f"idle{i}@firma.example" for i in range(accounts)]
    for user in users:
        home.dovecot.maildir(user)
    sink = world.Sink(place)
    job = fetchers.Job(place, users, home.dovecot.pop3, port=sink.port)
    config = fetchers.Multidropd().config(job)
    for account in config.accounts.values():
        account["interval"] = "1d"
    with open(os.path.join(place, "said"), "ab") as log:
        running = subprocess.Popen([daemon.program(), "-l", "json", "-c", config.write()],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env=daemon.environment())
    samples = []
    try:
        net.wait_until(lambda: process.children(running.pid), 20, "the daemon does not start")
        pids = [running.pid, *process.children(running.pid)]
        net.wait_until(lambda: quiet(pids), 300, "the first cycles do not end")
        for _ in range(options.runs):
            before, start = sum(map(cpu_ticks, pids)), time.monotonic()
            time.sleep(seconds)
            used = (sum(map(cpu_ticks, pids)) - before) / os.sysconf("SC_CLK_TCK")
            rss = int(process.status(running.pid)["VmRSS"].split()[0])
            samples.append(measure.Sample(time.monotonic() - start, used, rss))
            options.progress("multidropd", samples[-1])
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        sink.stop()
        for user in users:
            home.dovecot.clear(user)
    return {"multidropd": Result("multidropd", "", accounts, samples)}


def instructions(home, case, programs, options):
    """What the guard says; its verdict is for the build of the tests."""
    done = subprocess.run([os.path.join(ROOT, "tests", "bench", "instructions")],
                          capture_output=True, text=True, timeout=600)
    return {"said": done.stdout + done.stderr}


def run(home, case, programs, options):
    runners = {Idle: idle, Backlog: backlog, Instructions: instructions}
    return runners[type(case)](home, case, programs, options)


def show(case, results):
    if isinstance(case, Instructions):
        return results["said"]
    if isinstance(case, Idle):
        r = results["multidropd"]
        return measure.table(("program", "accounts", "RSS MiB", "% of a core"), [
            (r.name, r.units, f"{r.peak:.1f}", f"{share(r):.3f}")])
    base = results.get("multidropd")
    return measure.table(
        ("program", "median s", "min..max", "time, multidropd = 1", "CPU s", "peak MiB"),
        [(r.name, measure.duration(r.seconds), r.spread(),
          f"{r.seconds / base.seconds:.2f}" if base else "", f"{r.median('cpu'):.3f}",
          f"{r.peak:.1f}") for r in sorted(results.values(), key=lambda r: r.seconds)])


def share(result):
    """CPU of an idle daemon as a percentage of a core."""
    return 100 * result.median("cpu") / result.seconds
