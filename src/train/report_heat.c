/* SPDX-License-Identifier: MIT */
/* Cells of one class form one path per class, neighbours in a row joined, which keeps a map of thousands of cells small.
 * Hover texts lie above on coarser rectangles. Start at sp_report_put_heat(). */
#include "train/report_heat.h"

#include "train/report_axis.h"

#include <math.h>
#include <string.h>

#define WIDTH 560.0
#define TOP 10.0
#define BOTTOM 38.0
#define MAX_HOVER 1500 /* rectangles with a text in one map */

static const double class_ends[] = {0.25, 0.5, 0.7, 0.85, 0.95, 1.05, 1.15, 1.3, 1.5, 2, 3};
#define N_CLASSES (sizeof class_ends / sizeof class_ends[0] + 1)

typedef struct map {
    const sp_heat *heat;
    size_t n_experts, n_columns;
    double row_height, height;
    sp_axis x;
} map;

static double load_at(const map *m, size_t expert, size_t column)
{
    return (double)m->heat->loads->columns[column].loads[m->heat->layer * m->n_experts + expert];
}

static size_t class_of(double load)
{
    size_t i = 0;
    while (i < N_CLASSES - 1 && load >= class_ends[i]) i++;
    return i;
}

static bool is_class(const map *m, size_t expert, size_t column, size_t class)
{
    double load = load_at(m, expert, column);
    return !isnan(load) && class_of(load) == class;
}

/* Where a column begins; that of the one past the last is the end. The first begins where the run does. */
static double column_x(const map *m, size_t column)
{
    const sp_load_history *loads = m->heat->loads;
    if (column == 0) return m->x.at_lo;
    if (column < m->n_columns) return sp_axis_at(&m->x, loads->columns[column - 1].last_step);
    return sp_axis_at(&m->x, loads->columns[m->n_columns - 1].last_step);
}

bool sp_report_has_heat(const sp_load_history *loads, size_t layer)
{
    if (layer >= loads->n_layers) return false;
    for (size_t c = 0; c < loads->n_columns; c++)
        for (size_t e = 0; e < loads->n_experts; e++)
            if (loads->columns[c].loads[layer * loads->n_experts + e] > 0) return true;
    return false;
}

static void lay_out(map *m, const sp_heat *heat)
{
    *m = (map){.heat = heat, .n_experts = heat->loads->n_experts, .n_columns = heat->loads->n_columns};
    m->row_height = fmin(16, fmax(1.5, 240 / (double)m->n_experts));
    m->height = TOP + m->row_height * (double)m->n_experts + BOTTOM;
    m->x = (sp_axis){.lo = heat->x_lo, .hi = heat->x_hi, .at_lo = 68, .at_hi = WIDTH - 16};
    if (m->x.hi <= m->x.lo) m->x.hi = m->x.lo + 1;
}

static sp_status put_cells(sp_buf *out, const map *m, size_t class, sp_error *err)
{
    size_t before = out->len;
    SP_TRY(sp_buf_printf(out, err, "<path class=\"h%zu\" d=\"", class));
    size_t text = out->len;
    for (size_t e = 0; e < m->n_experts; e++) {
        for (size_t c = 0, end; c < m->n_columns; c = end) {
            end = c + 1;
            if (!is_class(m, e, c, class)) continue;
            while (end < m->n_columns && is_class(m, e, end, class)) end++;
            double x = column_x(m, c), width = column_x(m, end) - x;
            SP_TRY(sp_buf_printf(out, err, "M%.1f %.1fh%.1fv%.1fh-%.1fz", x, TOP + m->row_height * (double)e,
                                 width, m->row_height, width));
        }
    }
    if (out->len > text) return sp_buf_puts(out, "\"/>\n", err);
    out->len = before;
    return SP_OK;
}

/* One rectangle for the experts' columns [begin, end): their mean load and the largest of it. */
static sp_status put_hover(sp_buf *out, const map *m, size_t expert, size_t begin, size_t end, sp_error *err)
{
    const sp_load_column *columns = m->heat->loads->columns;
    double sum = 0, n = 0, most = 0;
    sp_report_number a, b;
    for (size_t c = begin; c < end; c++) {
        double load = load_at(m, expert, c);
        if (isnan(load)) continue;
        sum += load * columns[c].n_lines;
        n += columns[c].n_lines;
        most = fmax(most, load);
    }
    if (n == 0) return SP_OK;
    double x = column_x(m, begin);
    SP_TRY(sp_buf_printf(out, err, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">", x,
                         TOP + m->row_height * (double)expert, column_x(m, end) - x, m->row_height));
    SP_TRY(sp_buf_printf(out, err, "<title>expert %zu, steps %s to %s\n", expert,
                         sp_report_count(&a, columns[begin].first_step),
                         sp_report_count(&b, columns[end - 1].last_step)));
    SP_TRY(sp_buf_printf(out, err, "%s times the mean", sp_report_value(&a, sum / n)));
    if (end - begin > 1) SP_TRY(sp_buf_printf(out, err, " (at most %s)", sp_report_value(&a, most)));
    return sp_buf_puts(out, "</title></rect>\n", err);
}

static sp_status put_hovers(sp_buf *out, const map *m, sp_error *err)
{
    size_t groups = MAX_HOVER / m->n_experts;
    if (groups > m->n_columns) groups = m->n_columns;
    if (groups > 64) groups = 64;
    if (groups == 0) groups = 1;
    SP_TRY(sp_buf_puts(out, "<g class=\"strips\">\n", err));
    for (size_t e = 0; e < m->n_experts; e++)
        for (size_t g = 0; g < groups; g++)
            SP_TRY(put_hover(out, m, e, g * m->n_columns / groups, (g + 1) * m->n_columns / groups, err));
    return sp_buf_puts(out, "</g>\n", err);
}

static sp_status put_row_labels(sp_buf *out, const map *m, sp_error *err)
{
    static const size_t steps[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
    size_t step = 1;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        step = steps[i];
        if ((double)step * m->row_height >= 26) break;
    }
    for (size_t e = 0; e < m->n_experts; e += step)
        SP_TRY(sp_buf_printf(out, err,
                             "<text x=\"60\" y=\"%.1f\" text-anchor=\"end\" dy=\".35em\">%zu</text>\n",
                             TOP + m->row_height * ((double)e + 0.5), e));
    return sp_buf_printf(out, err,
                         "<text class=\"u\" transform=\"translate(18 %.1f) rotate(-90)\" "
                         "text-anchor=\"middle\">expert</text>\n",
                         TOP + m->row_height * (double)m->n_experts / 2);
}

static sp_status put_steps(sp_buf *out, const map *m, sp_error *err)
{
    double ticks[SP_AXIS_MAX_TICKS];
    int n = sp_axis_ticks(&m->x, 5, ticks);
    sp_report_number label;
    SP_TRY(sp_buf_printf(out, err, "<text class=\"u\" x=\"44\" y=\"%.1f\" text-anchor=\"end\">step</text>\n",
                         m->height - 14));
    for (int i = 0; i < n; i++) {
        double at = sp_axis_at(&m->x, ticks[i]);
        bool at_end = at > m->x.at_hi - 14;
        SP_TRY(sp_buf_printf(out, err, "<path class=\"tick\" d=\"M%.1f %.1fv5\"/>", at, m->height - BOTTOM));
        SP_TRY(sp_buf_printf(out, err, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n",
                             at_end ? WIDTH - 2 : at, m->height - 14, at_end ? "end" : "middle",
                             sp_axis_label(&label, ticks, n, i)));
    }
    return SP_OK;
}

/* The experts with the largest and the smallest load in the last column. */
static sp_status put_about(sp_buf *out, const map *m, sp_error *err)
{
    size_t most = 0, least = 0, last = m->n_columns - 1;
    sp_report_number a, b;
    for (size_t e = 1; e < m->n_experts; e++) {
        if (load_at(m, e, last) > load_at(m, most, last)) most = e;
        if (load_at(m, e, last) < load_at(m, least, last)) least = e;
    }
    SP_TRY(sp_buf_printf(out, err, "%zu experts over steps %s to %s. ", m->n_experts,
                         sp_report_count(&a, m->heat->loads->columns[0].first_step),
                         sp_report_count(&b, m->heat->loads->columns[last].last_step)));
    return sp_buf_printf(
        out, err,
        "At the end expert %zu has the largest load, %s times the mean, expert %zu the smallest, %s times.",
        most, sp_report_value(&a, load_at(m, most, last)), least,
        sp_report_value(&b, load_at(m, least, last)));
}

static sp_status put_title(sp_buf *out, const sp_heat *heat, sp_error *err)
{
    SP_TRY(sp_buf_printf(out, err, "Layer %zu", heat->layer));
    if (!heat->label) return SP_OK;
    SP_TRY(sp_buf_puts(out, ", ", err));
    return sp_report_puts(out, heat->label, err);
}

sp_status sp_report_put_heat(sp_buf *out, const sp_heat *heat, sp_error *err)
{
    map m;
    lay_out(&m, heat);
    SP_TRY(sp_buf_puts(out, "<figure>\n<figcaption><strong>", err));
    SP_TRY(put_title(out, heat, err));
    SP_TRY(
        sp_buf_printf(out, err,
                      "</strong></figcaption>\n<svg class=\"chart\" viewBox=\"0 0 %.0f %.1f\" role=\"img\" "
                      "aria-labelledby=\"t-heat%zu d-heat%zu\">\n<title id=\"t-heat%zu\">Expert loads, ",
                      WIDTH, m.height, heat->id, heat->id, heat->id));
    SP_TRY(put_title(out, heat, err));
    SP_TRY(sp_buf_printf(out, err, "</title>\n<desc id=\"d-heat%zu\">", heat->id));
    SP_TRY(put_about(out, &m, err));
    SP_TRY(sp_buf_puts(out, "</desc>\n", err));
    SP_TRY(put_row_labels(out, &m, err));
    SP_TRY(put_steps(out, &m, err));
    SP_TRY(sp_buf_puts(out, "<g shape-rendering=\"crispEdges\">\n", err));
    for (size_t class = 0; class < N_CLASSES; class ++) SP_TRY(put_cells(out, &m, class, err));
    SP_TRY(sp_buf_puts(out, "</g>\n", err));
    SP_TRY(put_hovers(out, &m, err));
    return sp_buf_puts(out, "</svg>\n</figure>\n", err);
}

sp_status sp_report_put_heat_key(sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "<p class=\"heat-key\">load over the mean", err));
    for (size_t i = 0; i < N_CLASSES; i++) {
        SP_TRY(sp_buf_printf(out, err, " <span><i class=\"h%zu\"></i>", i));
        if (i == 0)
            SP_TRY(sp_buf_printf(out, err, "under %g</span>", class_ends[0]));
        else if (i + 1 < N_CLASSES)
            SP_TRY(sp_buf_printf(out, err, "%g to %g</span>", class_ends[i - 1], class_ends[i]));
        else
            SP_TRY(sp_buf_printf(out, err, "over %g</span>", class_ends[i - 1]));
    }
    return sp_buf_puts(out, "</p>\n", err);
}
