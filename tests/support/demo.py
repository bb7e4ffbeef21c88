#!/usr/bin/python3
"""The second half of tests/demo: private servers, ten messages, one run, and who got what.

Exit 1 when a message is in the wrong place, missing, changed or there twice.
"""
import os
import re
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
from mdtest import ca, daemon, messages, net  # noqa: E402
from mdtest.dovecot import PASSWORD, Dovecot  # noqa: E402
from mdtest.postfix import Postfix  # noqa: E402

BOX = f"box17@{messages.DOMAIN}"


class Stage:
    """The servers and the directory, gone again at the end, however the end comes."""

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
        self.directory = net.temp_dir()
        self.started = []
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self):
        authority = ca.CA(os.path.join(self.directory, "ca"), "demo CA")
        certificate = authority.server()
        for name, kind in (("dovecot", Dovecot), ("postfix", Postfix)):
            os.mkdir(os.path.join(self.directory, name))
            server = kind(os.path.join(self.directory, name), certificate)
            # Noted before the start: an interrupt may come in the middle of it.
            self.started.append(server)
            setattr(self, name, server.start())
        self.config = daemon.Config(os.path.join(self.directory, "multidropd"))
        self.config.provider("hoster", host="localhost", port=self.dovecot.pop3s, tls="implicit",
                             tls_ca_file=authority.cert)
        self.config.relay("house", host="localhost", port=self.postfix.port, tls="starttls",
                          tls_ca_file=authority.cert)
        self.config.account("sammel", "hoster", "house", PASSWORD, user=BOX)

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for server in reversed(self.started):
            server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def arrived(self):
        """(mailbox, what the message is made of) of everything in the house, sorted."""
        return sorted((box, essence(self.postfix.as_relayed(m), messages.arrived))
                      for box in self.postfix.mailboxes for m in self.postfix.messages(box))


def essence(message, take_apart):
    """What must be the same before and after: the author's fields and the body."""
    *_, fields, body = take_apart(message)
    return b"\n".join(fields) + b"\n\n" + body.rstrip(b"\n")


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, tuple("-" * w for w in widths))
    for row in rows:
        print("  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip())


def said_of(log, message, address):
    """The log's line on this copy."""
    ident = messages.field(message, "Message-ID")[0]
    for entry in log.find("message.delivered", recipient=address):
        if entry.get("message_id", "").strip("<>") == ident.strip("<>"):
            return entry
    return {}


def decisions(plan):
    """Which header line decided, by message number, as --dry-run prints it."""
    result, number = {}, 0
    for line in plan.splitlines():
        start = re.match(r"\S+: message (\d+) ", line)
        number = int(start[1]) if start else number
        decided = re.search(r" by (\S+) in line (\d+)", line)
        if decided:
            result[number] = f"{decided[1]}, line {decided[2]}"
    return result


def report(stage, plan, run):
    got = stage.arrived()
    decided = decisions(plan.stdout)
    rows = [("for", "message", "arrived in", "decided by", "what the log has")]
    number = 0
    for kind in messages.kinds():
        for message, mailbox in zip(kind.copies, kind.mailboxes):
            number += 1
            what = essence(message, messages.expected)
            where = [box for box, m in got if m == what]
            entry = said_of(run.log, message, f"{mailbox}@{messages.DOMAIN}")
            rows.append((messages.field(message, "X-Original-To")[0].split("@")[0], kind.title,
                         " ".join(where) or "NOWHERE", decided.get(number, ""),
                         f"{entry.get('event', '')}: {entry.get('reply', '')}"))
    table(rows)
    return got


def main():
    with Stage() as stage:
        print(f"\nOne catch-all maildrop, {BOX}, on a POP3 server of our own:")
        wanted = []
        for kind in messages.kinds():
            for message, mailbox in zip(kind.copies, kind.mailboxes):
                stage.dovecot.put(BOX, message)
                wanted.append((mailbox, essence(message, messages.expected)))
        wanted.sort()
        print(f"{stage.dovecot.count(BOX)} messages. The configuration:\n")
        print("".join("    " + line + "\n" for line in stage.config.text().splitlines()))

        print("$ multidropd --once --dry-run -c multidropd.conf     # the plan; nothing happens")
        plan = daemon.once(stage.config, "--dry-run")
        print(plan.stdout)
        print("$ multidropd --once -c multidropd.conf")
        run = daemon.once(stage.config)
        print(f"exit status {run.status}, {stage.dovecot.count(BOX)} messages left\n")
        got = report(stage, plan, run)
        good = run.status == 0 and got == wanted and stage.dovecot.count(BOX) == 0

        print("\n$ multidropd --once -c multidropd.conf     # once more: nothing may come twice")
        again = daemon.once(stage.config)
        print(f"exit status {again.status}, "
              f"{len(stage.arrived()) - len(got)} messages more in the house")
        good = good and again.status == 0 and stage.arrived() == got
        if not good:
            print("\nSomething is in the wrong place. The logs:\n", run, again, sep="\n")
        print(f"\n{'Everything is where it belongs.' if good else 'FAILED'}")
        return 0 if good else 1


sys.exit(main())
