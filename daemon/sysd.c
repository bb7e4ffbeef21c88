/* sd_notify; see sysd.h. Results are ignored: a manager that does not listen changes nothing here.
 */
#include "sysd.h"

#include <stdint.h>
#include <systemd/sd-daemon.h>
#include <time.h>

void sysd_ready(const char *status)
{
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void sysd_reloading(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts); /* the manager's clock, not ours */
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / 1000);
}

void sysd_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}

void sysd_status(const char *text)
{
	(void)sd_notifyf(0, "STATUS=%s", text);
}

void sysd_watchdog(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}

msec_t sysd_watchdog_every(void)
{
	uint64_t usec;

	return sd_watchdog_enabled(0, &usec) > 0 ? (msec_t)(usec / 2000) : 0;
}
