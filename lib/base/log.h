/*
 * The vocabulary of the log: levels, events, fields, and one sink.
 *
 * Event names and field names are a contract with people's log queries: they never change meaning.
 * Pure code does not log, it returns; the daemon logs once, where a thing is handled. Foreign bytes
 * are escaped by the sink, so callers pass them as they are. Absent fields are NULL or 0.
 */
#pragma once

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LVL_ERROR, LVL_WARNING, LVL_NOTICE, LVL_INFO, LVL_DEBUG, LVL_COUNT };

enum log_event {
	EV_DAEMON_STARTED,
	EV_DAEMON_STOPPING,
	EV_CONFIG_RELOADED,
	EV_CONFIG_REFUSED,
	EV_CONFIG_WARNING,
	EV_CYCLE_STARTED,
	EV_CYCLE_FINISHED,
	EV_CYCLE_SKIPPED,
	EV_CYCLE_FAILED,
	EV_LOGIN_LIMITED,
	EV_LOGIN_FAILED,
	EV_ACCOUNT_SUSPENDED,
	EV_ACCOUNT_RESUMED,
	EV_ACCOUNT_BUSY,
	EV_MESSAGE_DELIVERED,
	EV_MESSAGE_DEFERRED,
	EV_MESSAGE_HELD,
	EV_MESSAGE_DISCARDED,
	EV_MESSAGE_SUPPRESSED,
	EV_MESSAGE_IN_DOUBT,
	EV_MESSAGE_DELETED,
	EV_MESSAGE_TRUNCATED,
	EV_ENVELOPE_MISSING,
	EV_ENVELOPE_CHANGED,
	EV_RELAY_DOWN,
	EV_RELAY_UP,
	EV_RELAY_WARNING,
	EV_LIMIT_EXCEEDED,
	EV_CONTROL_FAILED,
	EV_METRICS_FAILED,
	EV_SANDBOX_FAILED,
	EV_STATE_FAILED,
	EV_CONNECTION_OPENED,
	EV_CONNECTION_CLOSED,
	EV_INTERNAL_ERROR,
	EV_COUNT
};

struct log_entry {
	enum log_event event;
	enum log_level level; /* LVL_ERROR (0) means: the event's own level */
	const char *account, *provider, *relay;
	uint64_t cycle;
	const char *uidl, *message_id, *sender, *recipient, *reply, *reason;
	uint64_t size; /* octets */
	uint64_t duration_ms;
	uint64_t repeated; /* set by repeat.h: stands for so many entries that were not written */
	bool own_alert;    /* about an alert mail of ours that came back: nobody is told of it */
	const char *error; /* class of error: "NET", "TLS", ... */
	const char *text; /* for people; one sentence, says what to do next if there is something */
};

const char *log_event_name(enum log_event event); /* "message.delivered" */
enum log_level log_event_level(enum log_event event);
const char *log_event_id(enum log_event event); /* MESSAGE_ID of the journal catalog, or NULL */
/* A failure of somebody else's that may come in a loop: repeat.h counts it. */
bool log_event_counted(enum log_event event);
const char *log_level_name(enum log_level level);

/* The sink, the project's one global. NULL: entries vanish (the tests' default). */
typedef void log_sink_fn(const struct log_entry *entry, enum log_level level);
extern log_sink_fn *log_sink;

void log_write(const struct log_entry *entry);
