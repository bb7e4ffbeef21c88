/* The dry run's report; see plan.h. Owns nothing. */
#include "plan.h"

#include "base/encode.h"

#include <inttypes.h>
#include <stdio.h>

static void add_escaped(struct strbuf *out, const char *text)
{
	escape_foreign(out, sv_str(text));
}

static void add_recipient(struct strbuf *out, const struct resolved_recipient *r)
{
	strbuf_adds(out, "  to <");
	add_escaped(out, r->address);
	strbuf_adds(out, ">");
	if (r->original && ascii_strcasecmp(r->original, r->address)) {
		strbuf_adds(out, " mapped from <");
		add_escaped(out, r->original);
		strbuf_adds(out, ">");
	}
	if (r->header && *r->header)
		strbuf_addf(out, " by %s in line %" PRIu32, r->header, r->line);
	strbuf_adds(out, r->unknown ? " (not in recipients_file)\n" : "\n");
}

void plan_print(const struct transit *t)
{
	const struct fetch *f = t->fetch;
	const struct resolution *r = &t->resolution;
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;

	strbuf_addf(&out, "%s: message %" PRIu32 " UIDL ", f->account->name, t->number);
	add_escaped(&out, maildrop_item_uid(&f->maildrop, t->number));
	strbuf_addf(&out, " %" PRIu64 " octets from <", spool_octets(t->spool));
	add_escaped(&out, r->sender);
	strbuf_addf(&out, ">: %s\n", resolve_action_name(r->action));
	if (r->unresolved) {
		strbuf_adds(&out, "  unresolved: ");
		add_escaped(&out, r->unresolved);
		strbuf_adds(&out, "\n");
	}
	for (size_t i = 0; i < r->nrecipients; i++)
		add_recipient(&out, &r->recipients[i]);
	fputs(strbuf_str(&out), stdout);
	fflush(stdout);
}
