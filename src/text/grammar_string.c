/* SPDX-License-Identifier: MIT */
/* The automaton of JSON strings (RFC 8259) in well-formed UTF-8 (Unicode 15, table 3-7): escapes are taken apart,
 * surrogates come in pairs only. */
#include "text/grammar_dfa.h"

#include <string.h>

enum {
    S_START = 1,
    S_INSIDE, /* between two characters */
    S_END,
    S_CONT1, /* continuation bytes to come */
    S_CONT2,
    S_CONT3,
    S_E0,
    S_ED,
    S_F0,
    S_F4,
    S_ESCAPE,
    S_HEX4, /* hexadecimal digits to come */
    S_HEX3,
    S_HEX2,
    S_HEX1,
    S_HEX3_D, /* after "d": a surrogate or not */
    S_HIGH2,  /* the rest of a high surrogate */
    S_HIGH1,
    S_LOW_ESCAPE,
    S_LOW_U,
    S_LOW4,
    S_LOW3,
    S_U0, /* canonical: \u00 and a control character that has no short escape */
    S_U00,
    S_U000,
    S_U001,
    S_COUNT
};

typedef uint32_t row[256];

static void set_range(uint32_t *r, int first, int last, uint32_t to)
{
    for (int b = first; b <= last; b++) r[b] = to;
}

static void set_hex(uint32_t *r, uint32_t to)
{
    set_range(r, '0', '9', to);
    set_range(r, 'a', 'f', to);
    set_range(r, 'A', 'F', to);
}

static void set_characters(row *t)
{
    t[S_START]['"'] = S_INSIDE;
    set_range(t[S_INSIDE], 0x20, 0x7F, S_INSIDE);
    t[S_INSIDE]['"'] = S_END;
    t[S_INSIDE]['\\'] = S_ESCAPE;
    set_range(t[S_INSIDE], 0xC2, 0xDF, S_CONT1);
    set_range(t[S_INSIDE], 0xE1, 0xEF, S_CONT2);
    set_range(t[S_INSIDE], 0xF1, 0xF3, S_CONT3);
    t[S_INSIDE][0xE0] = S_E0;
    t[S_INSIDE][0xED] = S_ED;
    t[S_INSIDE][0xF0] = S_F0;
    t[S_INSIDE][0xF4] = S_F4;
    set_range(t[S_CONT1], 0x80, 0xBF, S_INSIDE);
    set_range(t[S_CONT2], 0x80, 0xBF, S_CONT1);
    set_range(t[S_CONT3], 0x80, 0xBF, S_CONT2);
    set_range(t[S_E0], 0xA0, 0xBF, S_CONT1);
    set_range(t[S_ED], 0x80, 0x9F, S_CONT1);
    set_range(t[S_F0], 0x90, 0xBF, S_CONT2);
    set_range(t[S_F4], 0x80, 0x8F, S_CONT2);
    for (const char *c = "\"\\bfnrt"; *c; c++) t[S_ESCAPE][(uint8_t)*c] = S_INSIDE;
}

static void set_all_escapes(row *t)
{
    t[S_ESCAPE]['/'] = S_INSIDE;
    t[S_ESCAPE]['u'] = S_HEX4;
    set_hex(t[S_HEX4], S_HEX3);
    t[S_HEX4]['d'] = t[S_HEX4]['D'] = S_HEX3_D;
    set_hex(t[S_HEX3], S_HEX2);
    set_hex(t[S_HEX2], S_HEX1);
    set_hex(t[S_HEX1], S_INSIDE);
    set_range(t[S_HEX3_D], '0', '7', S_HEX2);
    set_range(t[S_HEX3_D], '8', '9', S_HIGH2);
    t[S_HEX3_D]['a'] = t[S_HEX3_D]['A'] = t[S_HEX3_D]['b'] = t[S_HEX3_D]['B'] = S_HIGH2;
    set_hex(t[S_HIGH2], S_HIGH1);
    set_hex(t[S_HIGH1], S_LOW_ESCAPE);
    t[S_LOW_ESCAPE]['\\'] = S_LOW_U;
    t[S_LOW_U]['u'] = S_LOW4;
    t[S_LOW4]['d'] = t[S_LOW4]['D'] = S_LOW3;
    set_range(t[S_LOW3], 'c', 'f', S_HEX2);
    set_range(t[S_LOW3], 'C', 'F', S_HEX2);
}

static void set_canonical_escapes(row *t)
{
    t[S_ESCAPE]['u'] = S_U0;
    t[S_U0]['0'] = S_U00;
    t[S_U00]['0'] = S_U000;
    t[S_U000]['0'] = S_HEX1;
    t[S_U000]['1'] = S_U001;
    for (const char *c = "01234567bef"; *c; c++) /* 8 9 a c d have short escapes */
        t[S_HEX1][(uint8_t)*c] = S_INSIDE;
    set_range(t[S_U001], '0', '9', S_INSIDE);
    set_range(t[S_U001], 'a', 'f', S_INSIDE);
}

sp_status sp_dfa_string(sp_dfa *dfa, bool canonical, sp_error *err)
{
    uint8_t flags[S_COUNT] = {0};
    row *t = sp_calloc(S_COUNT, sizeof *t);
    memset(dfa, 0, sizeof *dfa);
    if (!t) return sp_fail_nomem(err, "automaton", S_COUNT * sizeof *t);
    set_characters(t);
    if (canonical)
        set_canonical_escapes(t);
    else
        set_all_escapes(t);
    flags[S_INSIDE] = SP_DFA_CHAR;
    flags[S_END] = SP_DFA_ACCEPTS;
    sp_status status = sp_dfa_build(dfa, &t[0][0], flags, S_COUNT, err);
    sp_free(t);
    return status;
}
