/* SPDX-License-Identifier: MIT */
/* Escapes and number formats of the report. Nothing here depends on the locale beyond the decimal point, which the program
 * leaves alone. Start at sp_report_put_text(). */
#include "train/report_text.h"

#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The reference that stands for an ASCII character, or NULL if it stands for itself. */
static const char *escape_of(unsigned char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '\n':
    case '\t': return NULL;
    case '\r': return "";
    default: return c < 0x20 || c == 0x7F ? "\xEF\xBF\xBD" : NULL;
    }
}

sp_status sp_report_put_text(sp_buf *out, const char *text, size_t len, sp_error *err)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < len) {
        size_t n = sp_utf8_read(s + i, len - i, NULL);
        const char *escape = n == 0 ? "\xEF\xBF\xBD" : n == 1 ? escape_of(s[i]) : NULL;
        SP_TRY(escape ? sp_buf_puts(out, escape, err) : sp_buf_append(out, s + i, n, err));
        i += n ? n : 1;
    }
    return SP_OK;
}

sp_status sp_report_puts(sp_buf *out, const char *text, sp_error *err)
{
    return sp_report_put_text(out, text, strlen(text), err);
}

/* "2e-04" to "2e-4", "1e+06" to "1e6". */
static void trim_exponent(char *text)
{
    char *e = strchr(text, 'e');
    if (!e) return;
    long exponent = strtol(e + 1, NULL, 10);
    snprintf(e + 1, 8, "%ld", exponent);
}

static const char *put_digits(sp_report_number *number, double value, int digits)
{
    double size = fabs(value);
    while (digits < 9 && size >= pow(10, digits)) digits++; /* whole numbers stay whole */
    if (isnan(value)) return strcpy(number->text, "-");
    if (value != 0 && (size < 0.01 || size >= 1e15)) {
        snprintf(number->text, sizeof number->text, "%.*e", digits - 1, value);
        char *e = strchr(number->text, 'e'), *end = e; /* zeros at the end of the fraction go */
        if (e && memchr(number->text, '.', (size_t)(e - number->text))) {
            while (end[-1] == '0') end--;
            if (end[-1] == '.') end--;
            memmove(end, e, strlen(e) + 1);
        }
    } else {
        snprintf(number->text, sizeof number->text, "%.*g", digits, value);
    }
    trim_exponent(number->text);
    return number->text;
}

const char *sp_report_count(sp_report_number *number, double value)
{
    char digits[32];
    char *to = number->text;
    if (!(fabs(value) < 1e15)) return put_digits(number, value, 3);
    int n = snprintf(digits, sizeof digits, "%.0f", fabs(value));
    if (value <= -0.5) *to++ = '-';
    for (int i = 0; i < n; i++) {
        *to++ = digits[i];
        if ((n - 1 - i) % 3 == 0 && i < n - 1) *to++ = ',';
    }
    *to = '\0';
    return number->text;
}

const char *sp_report_short(sp_report_number *number, double value, int digits)
{
    static const struct {
        double unit;
        char suffix;
    } units[] = {{1e12, 'T'}, {1e9, 'G'}, {1e6, 'M'}, {1e3, 'k'}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!(fabs(value) >= units[i].unit * 0.9995) || fabs(value) >= 1e15) continue;
        put_digits(number, value / units[i].unit, digits);
        size_t n = strlen(number->text);
        number->text[n] = units[i].suffix;
        number->text[n + 1] = '\0';
        return number->text;
    }
    return put_digits(number, value, digits);
}

const char *sp_report_value(sp_report_number *number, double value)
{
    if (fabs(value) >= 10000 && fabs(value) < 1e15) return sp_report_count(number, value);
    return put_digits(number, value, 4);
}

const char *sp_report_time(sp_report_number *number, double seconds)
{
    if (!(seconds >= 0) || seconds > 1e12) return strcpy(number->text, "-");
    long long whole = (long long)(seconds + 0.5), minutes = (whole + 30) / 60, hours = (minutes + 30) / 60;
    if (whole < 60)
        snprintf(number->text, sizeof number->text, "%lld s", whole);
    else if (minutes < 60)
        snprintf(number->text, sizeof number->text, "%lld min", minutes);
    else if (minutes < 48 * 60)
        snprintf(number->text, sizeof number->text, "%lld h %02lld min", minutes / 60, minutes % 60);
    else
        snprintf(number->text, sizeof number->text, "%lld d %lld h", hours / 24, hours % 24);
    return number->text;
}
