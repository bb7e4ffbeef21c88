"""What was promised, and whether a run has reached it."""


def ratio(case, over, under, figure=lambda r: r.seconds):
    def value(everything):
        return figure(everything[case][over]) / figure(everything[case][under])
    return value


def of(case, figure, name="multidropd"):
    return lambda everything: figure(everything[case][name])


def mib_per_second(result):
    return result.rate * 25


def cpu(result):
    return result.cpu


def idle_share(result):
    return 100 * result.median("cpu") / result.seconds


def sum_of_backlogs(everything):
    return everything["known200000"]["multidropd"].seconds / \
        everything["known100000"]["multidropd"].seconds


M = "multidropd"
# text, value of a run, "least" or "most", bound
EVERY = (
    ("loopback: times getmail6", ratio("loopback", "getmail6", M), "least", 4),
    ("loopback: times fetchmail", ratio("loopback", "fetchmail", M), "least", 100),
    ("loopback: of drain and source together", ratio("loopback", "drain+source", M), "least", 0.6),
    ("80 ms at POP3: times fetchmail", ratio("rtt80", "fetchmail", M), "least", 40),
    ("80 ms at POP3: time, mpop's = 1", ratio("rtt80", M, "mpop"), "most", 1),
    ("80 ms at both: of a pipelining source", ratio("rtt80both", "feed", M), "least", 0.6),
    ("real Postfix: of smtp-source", ratio("postfix", "source", M), "least", 0.9),
    ("25 MiB: peak MiB", of("large", lambda r: r.peak), "most", 16),
    ("25 MiB: MiB/s", of("large", mib_per_second), "least", 100),
    ("100,000 known: time, mpop's = 1", ratio("known100000", M, "mpop"), "most", 2),
    ("100,000 known: peak MiB", of("known100000", lambda r: r.peak), "most", 24),
    ("200,000 known: time, that of 100,000 = 1", sum_of_backlogs, "most", 2.2),
    ("1,000 accounts: time, drain one by one = 1", ratio("accounts1000", M, "one by one"), "most",
     2.5),
    ("1,000 accounts: peak MiB", of("accounts1000", lambda r: r.peak), "most", 32),
    ("1,000 idle accounts: RSS MiB", of("idle", lambda r: r.peak), "most", 24),
    ("1,000 idle accounts: % of a core", of("idle", idle_share), "most", 0.1),
    ("CPU per message: getmail6's = 1", ratio("loopback", M, "getmail6", cpu), "most", 0.2),
    ("CPU per message: mpop's = 1", ratio("loopback", M, "mpop", cpu), "most", 1),
)


def judge(everything):
    """Rows: text, bound, measured, verdict."""
    for text, value, side, bound in EVERY:
        try:
            measured = value(everything)
        except KeyError:
            yield text, f"{side} {bound}", "", "not measured"
            continue
        reached = measured >= bound if side == "least" else measured <= bound
        yield text, f"{side} {bound}", f"{measured:.2f}", "reached" if reached else "not reached"
