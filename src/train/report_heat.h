/* SPDX-License-Identifier: MIT */
/* Heat maps of expert loads: rows are a layer's experts, columns are stretches of training. Colours come from the page's style:
 * .h0 (an idle expert) to .h11 (over three times the mean). */
#ifndef SP_TRAIN_REPORT_HEAT_H
#define SP_TRAIN_REPORT_HEAT_H

#include "train/run_log.h"

typedef struct sp_heat {
    const sp_load_history *loads;
    size_t layer;
    const char *label; /* of the run; NULL: it is the only one */
    size_t id;         /* once per page */
    double x_lo, x_hi; /* steps at both ends */
} sp_heat;

/* Whether a layer has experts that were ever chosen. */
bool sp_report_has_heat(const sp_load_history *loads, size_t layer);

sp_status sp_report_put_heat(sp_buf *out, const sp_heat *heat, sp_error *err);
sp_status sp_report_put_heat_key(sp_buf *out, sp_error *err);

#endif
