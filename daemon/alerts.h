/*
 * Mail to the people who run this (alert_to): takes what is logged, decides by core/alert.h, and
 * sends through alert_relay, as one more job of that relay.
 *
 * Best effort: one mail is out at a time, tried again with a growing pause while the relay is down
 * or wants it later. One that the relay has put off ALERT_PATIENCE times lets the others pass, and
 * says so once. Refused for good it is logged, once, and dropped. It has the null sender, so
 * nothing bounces, and costs no mail its place: no record is made, no cycle waits. What was not
 * sent when the process ends is only in the log.
 */
#pragma once

#include "env.h"
#include "relays.h"

struct alerts;

struct alerts *alerts_new(struct env *env);
/* The relay of `config` is one of `relays`. Off when alert_to is not set: nothing is remembered. */
void alerts_configure(struct alerts *as, const struct config *config, const struct relays *relays);
void alerts_free(struct alerts *as);                   /* takes back what is out */
void alerts_note(void *as, const struct log_entry *e); /* for env.tell */
void alerts_relay_up(struct alerts *as, const struct relay *relay);
/* --once: what can be sent is sent now. False: not done yet; the loop turns when it is. */
bool alerts_finish(struct alerts *as);
/* SIGTERM: takes back what has not sent its final dot. */
void alerts_stop(struct alerts *as);
bool alerts_idle(const struct alerts *as); /* no mail is out */
