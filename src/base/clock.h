/* SPDX-License-Identifier: MIT */
/* A steady clock, for durations. */
#ifndef SP_BASE_CLOCK_H
#define SP_BASE_CLOCK_H

/* Seconds since some fixed moment; never goes back. */
double sp_seconds(void);

#endif
