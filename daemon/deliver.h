/*
 * From the resolved recipients of a transit to the relay and back: jobs, dot records, outcomes.
 */
#pragma once

#include "transit.h"

void deliver_start(struct transit *t);  /* resolved: goes on until the transit is settled */
void deliver_resume(struct transit *t); /* parked: another message has just been settled */
/* Jobs that have not sent their final dot are taken back; what is past it is waited for. */
void deliver_cancel(struct transit *t);
void deliver_free(struct transit *t); /* frees jobs that the relay does not know any more */
