/* What --dry-run prints: whom a message would go to, and why. On stdout, a few lines a message. */
#pragma once

#include "transit.h"

void plan_print(const struct transit *t);
