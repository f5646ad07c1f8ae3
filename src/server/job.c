/* SPDX-License-Identifier: MIT */
/* Events of a job and their queue. Start at sp_job_take(). */
#include "server/job.h"

#include "base/mem.h"

void sp_event_clear(sp_event *event)
{
    sp_free(event->text);
    event->text = NULL;
}
