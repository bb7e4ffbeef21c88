/* Names and levels of the log; see log.h. The sink pointer is the project's one global. */
#include "base/log.h"

#include <assert.h>
#include <stddef.h>

log_sink_fn *log_sink;

static const struct {
	const char *name;
	enum log_level level;
	bool counted;
	const char *id; /* where an operator may want an explanation: see systemd/'s catalog */
} events[] = {
	[EV_DAEMON_STARTED] = { "daemon.started", LVL_NOTICE, false,
		"d12aea1b0ffe4590a8a99eb95a2718ea" },
	[EV_DAEMON_STOPPING] = { "daemon.stopping", LVL_NOTICE, false,
		"6d557ce7b304488a815a2aeeec895dd8" },
	[EV_CONFIG_RELOADED] = { "config.reloaded", LVL_NOTICE, false,
		"db70b67c8fc9447c906eeb972c67da14" },
	[EV_CONFIG_REFUSED] = { "config.refused", LVL_ERROR, false,
		"53dd1687299c405ebb7daaeb20b87641" },
	[EV_CONFIG_WARNING] = { "config.warning", LVL_WARNING, false,
		"80089709d4454f61a55f4d7e4afda186" },
	[EV_CYCLE_STARTED] = { "cycle.started", LVL_INFO, false, NULL },
	[EV_CYCLE_FINISHED] = { "cycle.finished", LVL_INFO, false, NULL },
	[EV_CYCLE_SKIPPED] = { "cycle.skipped", LVL_INFO, true, NULL },
	[EV_CYCLE_FAILED] = { "cycle.failed", LVL_WARNING, true,
		"abba81f2b8d44d89a23aff1890332b4b" },
	[EV_LOGIN_LIMITED] = { "login.limited", LVL_NOTICE, true,
		"2badcd7c28084e52adb58c47d14bed35" },
	[EV_LOGIN_FAILED] = { "login.failed", LVL_WARNING, true,
		"320afef1922e427db6e22ec327bd65e6" },
	[EV_ACCOUNT_SUSPENDED] = { "account.suspended", LVL_ERROR, false,
		"43e5e95664694e678f24b549eb2a6609" },
	[EV_ACCOUNT_RESUMED] = { "account.resumed", LVL_NOTICE, false,
		"16c08da732df467bb647bf5fb70c4db1" },
	[EV_ACCOUNT_BUSY] = { "account.busy", LVL_NOTICE, true,
		"c394809f0f424579a0cc86933dbefc50" },
	[EV_MESSAGE_DELIVERED] = { "message.delivered", LVL_INFO, false, NULL },
	[EV_MESSAGE_DEFERRED] = { "message.deferred", LVL_NOTICE, false, NULL },
	[EV_MESSAGE_HELD] = { "message.held", LVL_WARNING, false,
		"8d02d5fade77420b9c39284bbcc9ea6c" },
	[EV_MESSAGE_DISCARDED] = { "message.discarded", LVL_NOTICE, false,
		"6f93bda04992497eaf42e37b96bfa242" },
	[EV_MESSAGE_SUPPRESSED] = { "message.suppressed", LVL_INFO, false, NULL },
	[EV_MESSAGE_IN_DOUBT] = { "message.in_doubt", LVL_WARNING, false,
		"b5f06f9997534bf6b7ca5176c19d8d0e" },
	[EV_MESSAGE_DELETED] = { "message.deleted", LVL_INFO, false, NULL },
	[EV_MESSAGE_TRUNCATED] = { "message.truncated", LVL_WARNING, false,
		"7acc992b27cd4d1b99a2facec094bfdc" },
	[EV_ENVELOPE_MISSING] = { "envelope.missing", LVL_WARNING, false,
		"fd737e6d0e3e4dea95cd807972a2fc75" },
	[EV_ENVELOPE_CHANGED] = { "envelope.changed", LVL_ERROR, false,
		"808aa627d6944559b21f2901df961d6b" },
	[EV_RELAY_DOWN] = { "relay.down", LVL_ERROR, true, "4ba37dd9ad60403e8a4b0b2597ab4cef" },
	[EV_RELAY_UP] = { "relay.up", LVL_NOTICE, true, "f9d62b1b4a484435832607d2ba6b7b1a" },
	[EV_RELAY_WARNING] = { "relay.warning", LVL_WARNING, true,
		"ce0215675f6d4f9a91512939f4441f3d" },
	[EV_LIMIT_EXCEEDED] = { "limit.exceeded", LVL_WARNING, true,
		"799ec9f385dc44b982d1eec529daa9da" },
	[EV_CONTROL_FAILED] = { "control.failed", LVL_WARNING, false,
		"d0b75141a6ce4c5c82927b77a7024b17" },
	[EV_METRICS_FAILED] = { "metrics.failed", LVL_WARNING, false,
		"55eb83b8465d476094edad5106e3485f" },
	[EV_SANDBOX_FAILED] = { "sandbox.failed", LVL_ERROR, false,
		"5aa7d63505704fe99ef1296e6a11200a" },
	[EV_STATE_FAILED] = { "state.failed", LVL_ERROR, true, "c4269b90a27e4ac3ae60309efdab061d" },
	[EV_CONNECTION_OPENED] = { "connection.opened", LVL_DEBUG, false, NULL },
	[EV_CONNECTION_CLOSED] = { "connection.closed", LVL_DEBUG, false, NULL },
	[EV_INTERNAL_ERROR] = { "internal.error", LVL_ERROR, false,
		"9ed9c5d490d5493fa412edfa8933b8d9" },
};
static_assert(ARRAY_LEN(events) == EV_COUNT, "one row per event");

static const char *const levels[] = {
	[LVL_ERROR] = "error",
	[LVL_WARNING] = "warning",
	[LVL_NOTICE] = "notice",
	[LVL_INFO] = "info",
	[LVL_DEBUG] = "debug",
};
static_assert(ARRAY_LEN(levels) == LVL_COUNT, "one name per level");

const char *log_event_name(enum log_event event)
{
	return events[event].name;
}

enum log_level log_event_level(enum log_event event)
{
	return events[event].level;
}

const char *log_event_id(enum log_event event)
{
	return events[event].id;
}

bool log_event_counted(enum log_event event)
{
	return events[event].counted;
}

const char *log_level_name(enum log_level level)
{
	return levels[level];
}

void log_write(const struct log_entry *entry)
{
	if (log_sink)
		log_sink(entry, entry->level ? entry->level : events[entry->event].level);
}
