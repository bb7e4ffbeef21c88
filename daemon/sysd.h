/* What the service manager hears from us (sd_notify(3)); without one, nothing happens. */
#pragma once

#include "base/clock.h"

void sysd_ready(const char *status); /* one line for people */
void sysd_reloading(void);           /* sysd_ready() ends it */
void sysd_stopping(void);
void sysd_status(const char *text);
void sysd_watchdog(void);         /* the loop turns */
msec_t sysd_watchdog_every(void); /* how often it wants to hear that; 0: never */
