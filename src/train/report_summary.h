/* SPDX-License-Identifier: MIT */
/* The figures at the head of the report. */
#ifndef SP_TRAIN_REPORT_SUMMARY_H
#define SP_TRAIN_REPORT_SUMMARY_H

#include "train/run_log.h"

#define SP_LOAD_LIMIT 1.5 /* largest expert load over the mean that a balanced run stays under */

typedef enum sp_summary_row {
    SP_SUMMARY_LOSS,
    SP_SUMMARY_BEST,
    SP_SUMMARY_LAST,
    SP_SUMMARY_MTP,
    SP_SUMMARY_STEPS,
    SP_SUMMARY_TOKENS,
    SP_SUMMARY_TIME,
    SP_SUMMARY_SPEED,
    SP_SUMMARY_PEAK,
    SP_SUMMARY_LOAD,
    SP_SUMMARY_OVER,
    SP_SUMMARY_NAN,
    SP_SUMMARY_N_ROWS
} sp_summary_row;

/* ASCII; value is empty where the run has no such figure, note may be. */
typedef struct sp_summary {
    struct {
        char value[48];
        char note[80];
    } rows[SP_SUMMARY_N_ROWS];
} sp_summary;

extern const char *const sp_summary_labels[SP_SUMMARY_N_ROWS];

sp_status sp_report_summarise(sp_summary *summary, const sp_run_log *log, sp_error *err); /* SP_E_NOMEM */

#endif
