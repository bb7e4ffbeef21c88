"""Reads what --dry-run prints: whom each message of a maildrop would go to."""
import re
from dataclasses import dataclass, field

MESSAGE = re.compile(r"(?P<account>[^:]+): message (?P<number>\d+) UIDL (?P<uidl>.*) "
                     r"(?P<octets>\d+) octets from <(?P<sender>.*)>: (?P<action>\w+)")
RECIPIENT = re.compile(r"  to <(?P<address>.*?)>(?: mapped from <(?P<original>.*)>)?"
                       r"(?: by (?P<header>\S+) in line (?P<line>\d+))?( \(not in .*\))?")


@dataclass
class Planned:
    account: str
    number: int
    sender: str
    action: str
    unresolved: str = None
    recipients: list = field(default_factory=list)  # in the order of the plan
    header: str = None  # which says so; of several recipients the last one's
    line: int = None


def plain(text):
    """Foreign text as it was before it was made fit for a terminal."""
    octets = re.sub(rb"\\(\\|x[0-9a-f]{2})",
                    lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1][1:], 16)]),
                    text.encode())
    return octets.decode("utf-8", "backslashreplace")


def read(text):
    """The plan's messages."""
    result = []
    for line in text.splitlines():
        if line.startswith("  unresolved: "):
            result[-1].unresolved = plain(line.partition(": ")[2])
            continue
        match = RECIPIENT.fullmatch(line)
        if match:
            result[-1].recipients.append(plain(match["address"]))
            result[-1].header = match["header"]
            result[-1].line = match["line"] and int(match["line"])
            continue
        match = MESSAGE.fullmatch(line)
        if not match:
            raise ValueError(f"not a line of a plan: {line!r}")
        result.append(Planned(match["account"], int(match["number"]), plain(match["sender"]),
                              match["action"]))
    return result
