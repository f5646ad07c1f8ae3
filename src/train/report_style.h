/* SPDX-License-Identifier: MIT */
/* The report's style sheet, light and dark. */
#ifndef SP_TRAIN_REPORT_STYLE_H
#define SP_TRAIN_REPORT_STYLE_H

extern const char sp_report_style[];

#endif
