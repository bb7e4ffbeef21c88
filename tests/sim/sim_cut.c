/*
 * The proof that no cut and no crash loses or doubles mail: sweeps over all octets; see
 * sim_world.h.
 *
 *	sim_cut [-q] [-c CPU] [-s SEED] [SCENARIO...]         all, or those that begin so; -q: fewer
 *cuts sim_cut [-v] -r STREAM:OCTET:MISHAP SCENARIO  one run again; -v: with the daemon's log
 *
 * Exit status: 0 every promise was kept, 1 one was broken, 64 usage.
 */
#include "sim_world.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#define CYCLES_MAX   6
#define FAILURES_MAX 5 /* then the rest is left out */
#define QUICK_FACTOR 20

static const char *const stream_names[] = { [POP3_OUT] = "pop3-out",
	[POP3_IN] = "pop3-in",
	[SMTP_OUT] = "smtp-out",
	[SMTP_IN] = "smtp-in" };

enum kind { FIN, RST, LOST, KILL, KILL_DRAIN, KILL_LATE, POWER, KIND_COUNT };

static const struct mishap_kind kinds[] = {
	[FIN] = { .name = "fin" },
	[RST] = { .name = "rst", .resets = true },
	[LOST] = { .name = "lost", .loses = true },
	[KILL] = { .name = "kill", .dies = true },
	[KILL_DRAIN] = { .name = "kill-drain", .dies = true, .drains = true },
	[KILL_LATE] = { .name = "kill-late", .dies = true, .drains = true, .late = true },
	[POWER] = { .name = "power", .dies = true, .drains = true, .power = true },
};

/*
 * SMTP or LMTP, delete or keep, UIDL or not, PIPELINING or not: the sixteen that play_matrix()
 * makes are cut at every octet; the kinds of mishap beyond that are sampled, and so are these.
 * Where the house is busy, it is the doubt that counts: only what leads to one.
 */
#define MATRIX 16
#define BUSY(label, is_lmtp, stage)                                                                \
	{                                                                                          \
		.name = (label), .lmtp = (is_lmtp), .busy = (stage), .pipelining = true,           \
		.connections = 1, .dedupe = "3d", .fin = 1, .rst = 1, .kill = 1                    \
	}
static const struct scenario beyond[] = {
	{ .name = "smtp-later",
		.pipelining = true,
		.later = true,
		.connections = 1,
		.dedupe = "3d",
		.fin = 8,
		.rst = 64,
		.kill = 8 },
	{ .name = "lmtp-later",
		.lmtp = true,
		.pipelining = true,
		.later = true,
		.connections = 1,
		.dedupe = "3d",
		.fin = 8,
		.rst = 64,
		.kill = 8 },
	BUSY("smtp-busy-rcpt", false, AT_RCPT),
	BUSY("smtp-busy-dot", false, AT_DOT),
	BUSY("lmtp-busy-rcpt", true, AT_RCPT),
	BUSY("lmtp-busy-dot", true, AT_DOT),
	{ .name = "smtp-pool",
		.pipelining = true,
		.connections = 4,
		.dedupe = "3d",
		.fin = 8,
		.rst = 64,
		.kill = 8 },
};

struct figures {
	unsigned long scenarios, runs, cuts, kills, power_losses, restarts;
	unsigned long copies, extra, marked, failures;
};

struct sim {
	struct world world;
	struct net *net;
	struct passage map[STREAM_COUNT]; /* of the run that nothing disturbs */
	struct figures all;
	unsigned factor; /* samples only: one in so many of what the table says */
	uint64_t seed;
};

/* ---- one run ---- */

static bool settled(const struct world *w, int status)
{
	if (world_untouched(w))
		return true;
	if (w->scenario->keep)
		return !status && !w->retrs && !w->transactions;
	return !status && !world_listed(w);
}

static void live(struct sim *s)
{
	struct world *w = &s->world;

	for (w->cycle = 0; w->cycle < CYCLES_MAX; w->cycle++) {
		s->all.restarts += w->cycle > 0;
		int status = net_cycle(s->net, w);
		if (!w->cycle)
			world_reuse_uids(w);
		if (w->broken[0] || (w->cycle && settled(w, status)))
			return;
	}
	world_break(w, "no end after %d cycles", CYCLES_MAX);
}

static void report(const struct sim *s, const struct mishap *mishap)
{
	const struct world *w = &s->world;

	printf("FAILED: %s\n", w->broken);
	if (mishap->kind)
		printf("  again with: sim_cut -v -r %s:%zu:%s %s\n", stream_names[mishap->stream],
			mishap->at, mishap->kind->name, w->scenario->name);
	else
		printf("  in %s, undisturbed\n", w->scenario->name);
	fflush(stdout);
}

static void run(struct sim *s, struct mishap mishap)
{
	struct world *w = &s->world;

	world_reset(w);
	daemon_forget(w->daemon);
	w->mishap = mishap;
	w->random = s->seed + mishap.at * STREAM_COUNT + mishap.stream;
	live(s);
	if (mishap.kind && !w->struck)
		world_break(w, "the octet never came");
	world_judge(w, &mishap);
	s->all.runs++;
	s->all.cuts += w->struck && !mishap.kind->dies;
	s->all.kills += w->struck && mishap.kind->dies && !mishap.kind->power;
	s->all.power_losses += w->struck && mishap.kind->power;
	s->all.copies += w->ncopies;
	s->all.extra += w->extra;
	s->all.marked += w->marked;
	if (!w->broken[0])
		return;
	s->all.failures++;
	report(s, &mishap);
}

/* ---- sweeps ---- */

static unsigned share(const struct scenario *sc, enum kind kind)
{
	switch (kind) {
	case FIN:
	case LOST:
		return sc->fin;
	case RST:
		return sc->rst;
	case KILL:
	case KILL_DRAIN:
	case KILL_LATE:
	case POWER:
		return sc->kill;
	case KIND_COUNT:
		break;
	}
	return 1;
}

/* Does this mishap at this place say anything that others do not? */
static bool is_point(const struct sim *s, enum stream stream, size_t at, enum kind kind)
{
	const struct passage *p = &s->map[stream];

	if (s->world.scenario->busy && !p->critical[at])
		return false;
	if (kind == FIN || kind == RST)
		return true;
	if (kind == LOST)
		return stream == SMTP_OUT && p->critical[at];
	return p->line[at] || p->critical[at];
}

/*
 * Where octets are swept, none of a critical passage is left out: the kinds of death take turns
 * within its lines, and all meet at their ends. `-q` samples the cuts only.
 */
static bool is_sampled(struct sim *s, enum stream stream, size_t at, enum kind kind)
{
	const struct scenario *sc = s->world.scenario;
	const struct passage *p = &s->map[stream];
	uint64_t dice = s->seed ^ (at * 64 + stream * 16 + kind);
	unsigned n = share(sc, kind);

	if (kind < KILL)
		n *= s->factor;
	else if (sc->fin == 1 && p->critical[at])
		return p->line[at] || at % (KIND_COUNT - KILL) == kind - KILL;
	return n == 1 || sim_random(&dice) % n == 0;
}

static void sweep(struct sim *s, enum stream stream, enum kind kind)
{
	bool out = stream == POP3_OUT || stream == SMTP_OUT;

	for (size_t at = out ? 0 : 1; s->map[stream].n && at <= s->map[stream].n; at++) {
		if (s->all.failures >= FAILURES_MAX)
			return;
		if (is_point(s, stream, at, kind) && is_sampled(s, stream, at, kind))
			run(s, (struct mishap){ &kinds[kind], stream, at });
	}
}

/* Without a message in the maildrop: what it leaves in the state is what each run begins with. */
static void prepare(struct sim *s, const struct scenario *sc)
{
	struct world *w = &s->world;

	daemon_stop(w->daemon, w);
	daemon_configure(
		w->daemon, sc, net_port(s->net, &pop3_service), net_port(s->net, &smtp_service));
	world_free(w);
	w->broken[0] = '\0';
	w->scenario = sc;
	w->cycle = 0;
	w->mishap = (struct mishap){ 0 };
	int status = net_cycle(s->net, w);
	if (status && !world_untouched(w))
		world_break(w, "exit status %d with an empty maildrop", status);
	disk_keep();
}

static void map_streams(struct sim *s)
{
	struct world *w = &s->world;

	memset(w->streams, 0, sizeof w->streams);
	world_reset(w);
	daemon_forget(w->daemon);
	w->mishap = (struct mishap){ 0 };
	(void)net_cycle(s->net, w); /* judged with the next, whole run */
	memcpy(s->map, w->streams, sizeof s->map);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		ensure(s->map[i].n <= STREAM_MAX);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print_figures(const struct figures *now, const struct figures *before)
{
	printf("%lu runs, %lu cuts, %lu kills, %lu power losses, %lu restarts,"
	       " %lu copies, %lu extra, %lu marked",
		now->runs - before->runs, now->cuts - before->cuts, now->kills - before->kills,
		now->power_losses - before->power_losses, now->restarts - before->restarts,
		now->copies - before->copies, now->extra - before->extra,
		now->marked - before->marked);
}

static void play(struct sim *s, const struct scenario *sc, const struct mishap *only)
{
	struct figures before = s->all;
	double start = seconds();

	prepare(s, sc);
	if (only) {
		run(s, *only);
		return;
	}
	map_streams(s);
	run(s, (struct mishap){ 0 });
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		for (enum stream stream = 0; stream < STREAM_COUNT; stream++)
			sweep(s, stream, kind);
	s->all.scenarios++;
	printf("%-30s %zu+%zu+%zu+%zu octets, cut at 1 in %u: ", sc->name, s->map[0].n, s->map[1].n,
		s->map[2].n, s->map[3].n, sc->fin * s->factor);
	print_figures(&s->all, &before);
	printf(", %.1f s%s\n", seconds() - start,
		world_untouched(&s->world) ? " (refuses to keep what has no UID)" : "");
	fflush(stdout);
}

/* ---- which ---- */

struct choice {
	char *const *names; /* or their beginnings; none: all */
	const struct mishap *only;
};

static bool is_chosen(const struct choice *c, const struct scenario *sc)
{
	char *const *name = c->names;

	while (*name && strncmp(*name, sc->name, strlen(*name)) != 0)
		name++;
	return *name || name == c->names;
}

static void play_chosen(struct sim *s, const struct choice *c, const struct scenario *sc)
{
	if (is_chosen(c, sc) && s->all.failures < FAILURES_MAX)
		play(s, sc, c->only);
}

static void play_matrix(struct sim *s, const struct choice *c)
{
	for (unsigned bits = 0; bits < MATRIX; bits++) {
		struct scenario sc = { .lmtp = bits & 8,
			.keep = bits & 4,
			.no_uidl = bits & 2,
			.pipelining = bits & 1,
			.connections = 1,
			.dedupe = __builtin_parity(bits) ? "3d" : "0s",
			.fin = 1,
			.rst = 64,
			.kill = 16 };
		snprintf(sc.name, sizeof sc.name, "%s-%s-%s-%s", sc.lmtp ? "lmtp" : "smtp",
			sc.keep ? "keep" : "delete", sc.no_uidl ? "blind" : "uidl",
			sc.pipelining ? "pipelining" : "plain");
		play_chosen(s, c, &sc);
	}
}

/* ---- the command line ---- */

static bool parse_mishap(const char *text, struct mishap *out)
{
	struct strview rest = sv_str(text), stream = sv_token(&rest, ':');
	struct strview at = sv_token(&rest, ':');
	uint64_t n = 0;

	*out = (struct mishap){ .stream = STREAM_COUNT };
	for (enum stream i = 0; i < STREAM_COUNT; i++)
		if (sv_eq(stream, sv_str(stream_names[i])))
			out->stream = i;
	for (enum kind i = 0; i < KIND_COUNT; i++)
		if (sv_eq(rest, sv_str(kinds[i].name)))
			out->kind = &kinds[i];
	if (!sv_number(at, STREAM_MAX, &n) || out->stream == STREAM_COUNT)
		return false;
	out->at = n;
	return out->kind;
}

/*
 * This process and the daemon talk in turns: on one CPU neither has to wake another one up, which
 * is a good half of the time of a virtual machine.
 */
static void stay_on(uint64_t nth)
{
	cpu_set_t all, one;
	int cpu = 0;

	ensure(!sched_getaffinity(0, sizeof all, &all));
	nth %= (uint64_t)CPU_COUNT(&all);
	while (!CPU_ISSET(cpu, &all) || nth-- > 0)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof one, &one); /* else it is only slower */
}

static int misuse(void)
{
	fputs("usage: sim_cut [-qv] [-c CPU] [-s SEED] [-r STREAM:OCTET:MISHAP] [SCENARIO...]\n",
		stderr);
	return EX_USAGE;
}

static void totals(const struct sim *s)
{
	printf("seed %llu: %lu scenarios, ", (unsigned long long)s->seed, s->all.scenarios);
	print_figures(&s->all, &(struct figures){ 0 });
	if (s->all.failures)
		printf("; %lu FAILED\n", s->all.failures);
	else
		printf("; all extra ones marked, lost 0\n");
}

int main(int argc, char **argv)
{
	struct sim *s = mem_zalloc(sizeof *s);
	struct choice choice = { 0 };
	struct mishap mishap;
	bool verbose = false;
	uint64_t number;
	int option;

	s->seed = 1;
	s->factor = 1;
	while ((option = getopt(argc, argv, "qvc:s:r:")) != -1) {
		if (option == 'q')
			s->factor = QUICK_FACTOR;
		else if (option == 'v')
			verbose = true;
		else if (option == 'c' && sv_number(sv_str(optarg), UINT64_MAX, &number))
			stay_on(number);
		else if (option == 's' && sv_number(sv_str(optarg), UINT64_MAX, &number))
			s->seed = number;
		else if (option == 'r' && parse_mishap(optarg, &mishap))
			choice.only = &mishap;
		else
			return misuse();
	}
	choice.names = argv + optind;
	s->net = net_new();
	s->world.daemon = daemon_new(verbose);
	play_matrix(s, &choice);
	for (size_t i = 0; i < ARRAY_LEN(beyond); i++)
		play_chosen(s, &choice, &beyond[i]);
	daemon_stop(s->world.daemon, &s->world);
	if (!disk_synced())
		world_break(&s->world, "the daemon has never waited for the disk");
	if (s->world.broken[0] && !s->all.failures) {
		s->all.failures++;
		report(s, &(struct mishap){ 0 });
	}
	totals(s);
	int status = s->all.failures || !s->all.runs;
	world_free(&s->world);
	daemon_free(s->world.daemon);
	net_free(s->net);
	free(s);
	return status;
}
