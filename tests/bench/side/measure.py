"""Runs a program and says what it took; medians, spreads and tables of that."""
import os
import statistics
import subprocess
import time
from dataclasses import dataclass


@dataclass
class Sample:
    seconds: float
    cpu: float = 0.0  # user and system, of all its processes, in seconds
    peak: int = 0  # KiB, of its largest process


class Failed(Exception):
    pass


def timed(command, directory, good=(0,), timeout=1800):
    """Runs it to its end, with what it says in a file of the directory."""
    peak_file = os.path.join(directory, "peak")
    said = os.path.join(directory, "said")
    with open(said, "ab") as log:
        start = time.monotonic()
        # time(1) in between: else the peak would be the interpreter's before its exec
        process = subprocess.Popen(
            ["/usr/bin/time", "-q", "-f", "%M", "-o", peak_file, *command], cwd=directory,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(directory))
        try:
            usage = _wait(process, start + timeout)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.monotonic() - start
    if process.returncode not in good:
        with open(said, "rb") as f:
            f.seek(max(0, f.seek(0, os.SEEK_END) - 2000))
            tail = f.read().decode("utf-8", "backslashreplace")
        raise Failed(f"{' '.join(command)[:200]}: exit status {process.returncode}, "
                     f"in {directory}:\n{tail}")
    with open(peak_file) as f:
        peak = int(f.read().split()[-1])
    return Sample(seconds, usage.ru_utime + usage.ru_stime, peak)


def _wait(process, deadline):
    """wait4(2), for the usage of the process and all that it waited for."""
    if time.monotonic() > deadline:
        raise Failed("it does not end")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def environment(home):
    """No service manager's variables, and a home of its own."""
    keep = ("PATH", "LANG", "MULTIDROPD")
    return {k: v for k, v in os.environ.items() if k in keep} | {"HOME": home}


def together(*commands, directory):
    """Several at the same time; what the whole took."""
    start = time.monotonic()
    running = []
    with open(os.path.join(directory, "said"), "ab") as log:
        for command in commands:
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=directory))
        cpu = 0.0
        for process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
    seconds = time.monotonic() - start
    for process in running:
        if process.returncode:
            raise Failed(f"{process.args}: exit status {process.returncode}, in {directory}")
    return Sample(seconds, cpu)


@dataclass
class Result:
    """All rounds of one program in one case."""
    name: str
    target: str  # what it delivers into
    units: int  # messages of a round
    samples: list

    def median(self, figure="seconds"):
        return statistics.median(getattr(s, figure) for s in self.samples)

    @property
    def seconds(self):
        return self.median()

    @property
    def rate(self):
        return self.units / self.seconds

    @property
    def cpu(self):
        """Seconds per 1,000 messages."""
        return self.median("cpu") * 1000 / self.units

    @property
    def peak(self):
        """MiB, the highest of all rounds."""
        return max(s.peak for s in self.samples) / 1024

    def spread(self):
        values = [s.seconds for s in self.samples]
        return f"{duration(min(values))}..{duration(max(values))}"


def duration(seconds):
    return f"{seconds:.3f}" if seconds < 10 else f"{seconds:.1f}"


def load():
    with open("/proc/loadavg") as f:
        return " ".join(f.read().split()[:3])


def table(head, rows):
    """Markdown that can be read as it is."""
    rows = [head, *rows]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w)
                               for i, (c, w) in enumerate(zip(row, widths))) + " |"
             for row in rows]
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)
