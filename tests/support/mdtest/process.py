"""What the kernel shows of a process, root's view."""
import os


def status(pid):
    """/proc/PID/status as a dict of strings."""
    with open(f"/proc/{pid}/status") as f:
        return {key: value.strip() for key, _, value in (x.partition(":") for x in f)}


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(x) for x in f.read().split()]


def runner(pid):
    """The process beside the daemon that starts programs (runner.h)."""
    (child,) = [c for c in children(pid) if status(c)["Name"] == "multidropd-run"]
    return child


def is_alive(pid):
    """False for one that has ended and that nobody has waited for."""
    try:
        return status(pid)["State"][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def memory(pid):
    """Every writable mapping: (first lines of /proc/PID/maps, content)."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            places, mode = line.split()[:2]
            if "w" not in mode:
                continue
            start, end = (int(x, 16) for x in places.split("-"))
            try:
                mem.seek(start)
                found.append((line.strip(), mem.read(end - start)))
            except OSError:
                pass  # a guard page, or a device
    return found


def occurrences(memory, needle):
    """Where in a memory() these bytes stand: one line for each."""
    return [name for name, content in memory for _ in range(content.count(needle))]


def everything_shown(pid):
    """Command lines and environments of it and its children, as anybody's ps would want them."""
    text = b""
    for each in (pid, *children(pid)):
        for name in ("cmdline", "environ", "comm", "status", "maps"):
            with open(os.path.join("/proc", str(each), name), "rb") as f:
                text += f.read()
    return text
