/*
 * SMTP replies (RFC 5321 section 4.2) and EHLO keywords (section 4.1.1.1), resumable over any
 * split.
 */
#pragma once

#include "base/strbuf.h"
#include "proto/framing.h"

#define SMTP_LINE_MAX_OCTETS  2048
#define SMTP_REPLY_MAX_LINES  128
#define SMTP_REPLY_MAX_OCTETS 16384
#define SMTP_TEXT_MAX_OCTETS  480 /* of a reply's text that is kept for log and state */

struct smtp_reply {
	int code; /* 200..599 */
	char text[SMTP_TEXT_MAX_OCTETS +
		1]; /* last line's text with its enhanced code, as it came */
};

struct smtp_ext {
	bool pipelining, eightbitmime, dsn, smtputf8, starttls, enhanced, chunking, xforward;
	bool size;
	uint64_t size_max;                 /* 0 with size: no fixed limit */
	bool auth;                         /* AUTH is offered, */
	unsigned sasl;                     /* with these mechanisms: SASL_BIT()s */
	bool xforward_name, xforward_addr; /* attributes of XFORWARD that may be sent */
};

struct smtp_reader {
	struct line_reader lines;
	struct smtp_reply reply; /* of the finished reply */
	struct strview line;     /* all of its last line but the code; valid until the next feed */
	struct smtp_ext *ext;    /* filled from the lines after the first when set (EHLO) */
	int code;
	uint32_t nlines;
	uint32_t octets;
};

enum smtp_read { SMTP_READ_MORE, SMTP_READ_REPLY, SMTP_READ_GARBAGE, SMTP_READ_LIMIT };

void smtp_reader_init(struct smtp_reader *r);
void smtp_reader_free(struct smtp_reader *r);
/*
 * Takes bytes up to the end of one reply; *used says how many. SMTP_READ_GARBAGE: not three digits
 * and SP, '-' or end of line, a first digit outside 2..5, codes of a multi-line reply that differ,
 * bare LF.
 */
enum smtp_read smtp_reader_feed(struct smtp_reader *r, const char *buf, size_t len, size_t *used);
/* One EHLO keyword line; unknown keywords are ignored. */
void smtp_ext_line(struct smtp_ext *ext, struct strview line);

/* ---- what it means for a recipient ---- */

enum smtp_outcome {
	SMTP_PENDING,  /* not tried yet */
	SMTP_ACCEPTED, /* 2xx to the dot (LMTP: this recipient's) */
	SMTP_LATER,    /* 4xx: surely not delivered */
	SMTP_TOO_MANY, /* 452/552 at RCPT after others were taken: again at once, without those */
	SMTP_UNKNOWN,  /* 5xx at RCPT: this recipient is refused for good */
	SMTP_REJECTED, /* 5xx at MAIL, DATA, content or dot, or it cannot be sent to this server */
	SMTP_CONNECTION, /* the connection failed before the dot: nobody's fault, not charged */
	SMTP_IN_DOUBT,   /* the connection failed between the dot and its reply */
	SMTP_OUTCOME_COUNT
};

const char *smtp_outcome_name(enum smtp_outcome o);
/* Of a code >= 400 that answers MAIL, DATA, the content or its dot; 421 is not one of those. */
enum smtp_outcome smtp_refusal(int code);
/* The same of RCPT; taken: recipients of this transaction that were taken before. */
enum smtp_outcome smtp_rcpt_refusal(int code, size_t taken);
/*
 * An answer to the dot. In LMTP it is for one recipient (RFC 2033 section 4.2): a fault of the
 * mailbox (enhanced codes X.1 and X.2, RFC 3463) is that recipient's, anything else the message's.
 */
enum smtp_outcome smtp_dot_outcome(const struct smtp_reply *reply, bool lmtp);
