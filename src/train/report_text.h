/* SPDX-License-Identifier: MIT */
/* Text of the report: escaped strings and numbers as people write them. */
#ifndef SP_TRAIN_REPORT_TEXT_H
#define SP_TRAIN_REPORT_TEXT_H

#include "base/mem.h"

/* Append text for an HTML body or attribute: & < > " ' become references; control characters and invalid UTF-8 U+FFFD. */
sp_status sp_report_put_text(sp_buf *out, const char *text, size_t len, sp_error *err);
sp_status sp_report_puts(sp_buf *out, const char *text, sp_error *err);

/* The functions below write into `text` and return it. All text is ASCII. */
typedef struct sp_report_number {
    char text[48];
} sp_report_number;

const char *sp_report_count(sp_report_number *number, double value); /* "1,234,567"; "-" for NaN */
/* "1.2k", "98.3M", "0.81", "2e-4": significant digits, more where a whole number needs them. */
const char *sp_report_short(sp_report_number *number, double value, int digits);
const char *sp_report_value(sp_report_number *number, double value);  /* four digits: "0.8123", "2.2e-4" */
const char *sp_report_time(sp_report_number *number, double seconds); /* "2 h 05 min", "42 min", "17 s" */

#endif
