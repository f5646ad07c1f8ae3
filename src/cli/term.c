/* SPDX-License-Identifier: MIT */
/* Terminal facts from the environment and the kernel. */
#include "cli/term.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool sp_term_is_tty(int fd)
{
    return isatty(fd) == 1;
}

bool sp_term_has_colour(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (no_color && no_color[0]) return false;
    if (!term || strcmp(term, "dumb") == 0) return false;
    return sp_term_is_tty(fd);
}

int sp_term_width(int fd)
{
    const char *columns = getenv("COLUMNS");
    if (columns) {
        int n = atoi(columns);
        if (n > 0 && n < 10000) return n;
    }
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

static int decode_char(const unsigned char *s, int len, uint32_t *out)
{
    int n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (n > len || (s[0] >= 0x80 && s[0] < 0xc0)) {
        *out = 0xfffd;
        return 1;
    }
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++) c = c << 6 | (s[i] & 0x3f);
    *out = c;
    return n;
}

/* Ranges of East Asian Wide characters and emoji (Unicode 15, rounded to blocks). */
static int char_columns(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return 0;
    if ((c >= 0x300 && c < 0x370) || (c >= 0x200b && c <= 0x200f) || (c >= 0xfe00 && c <= 0xfe0f)) return 0;
    bool wide = (c >= 0x1100 && c < 0x1160) || (c >= 0x2e80 && c < 0xa4d0) || (c >= 0xac00 && c < 0xd7a4) ||
                (c >= 0xf900 && c < 0xfb00) || (c >= 0xfe30 && c < 0xfe70) || (c >= 0xff00 && c < 0xff61) ||
                (c >= 0xffe0 && c < 0xffe7) || (c >= 0x1f300 && c < 0x1f650) ||
                (c >= 0x1f680 && c < 0x1f700) || (c >= 0x1f900 && c < 0x1fa00) ||
                (c >= 0x20000 && c < 0x3fffe);
    return wide ? 2 : 1;
}

int sp_term_columns(const char *text, int len)
{
    int columns = 0;
    for (int i = 0; i < len;) {
        uint32_t c;
        i += decode_char((const unsigned char *)text + i, len - i, &c);
        columns += char_columns(c);
    }
    return columns;
}
