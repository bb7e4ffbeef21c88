/*
 * Where log entries go: the journal with fields, text for people, or JSON a line for programs.
 *
 * Foreign text is escaped here and nowhere else.
 */
#pragma once

#include "base/log.h"

#include <stdbool.h>

enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JOURNAL, LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Installs the sink. AUTO: the journal if stderr is its stream, else text. */
void log_sink_open(enum log_format format, enum log_level level);
/* What is written goes to `fn` too; NULL: no longer. */
void log_sink_also(
	void (*fn)(void *ctx, const struct log_entry *e, enum log_level level), void *ctx);
/*
 * While a loop turns, lines are collected and written at the end of each turn: nothing that matters
 * more waits for them. Switching either way writes what there is.
 */
void log_sink_buffer(bool on);
void log_sink_flush(void);
/*
 * A line that stays below the log and changes, on a terminal and with the log as text: there is one
 * (log_sink_has_live()), or this does nothing. Empty: none. Whoever shows it takes it away again.
 */
bool log_sink_has_live(void);
void log_sink_live(const char *text);
/* 0; 1: no such name. */
int log_format_parse(const char *name, enum log_format *out) must_check;
int log_level_parse(const char *name, enum log_level *out) must_check;
