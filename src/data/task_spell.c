/* SPDX-License-Identifier: MIT */
/* Counting letters and reversing words. A word is spelled with a running count, or with places from which it is read back:
 *   r:s0t0r1a1w1b1e1r2r3y3        c1a2t3
 *                                 t3a2c1
 * A letter between digits is a token of its own, whatever the vocabulary. Words are common English ones or made of
 * syllables; the split goes by the word. */
#include "data/task_parts.h"

#include <stdio.h>
#include <string.h>

static void append(char *word, const char *part)
{
    size_t n = strlen(word);
    snprintf(word + n, SP_WORD_MAX + 1 - n, "%s", part);
}

static void draw_syllable(sp_draw *draw, char *word)
{
    static const char *const onsets[] = {
        "b",  "c",  "d",  "f",  "g",  "h",  "j",   "k",  "l",  "m",  "n",  "p",
        "r",  "s",  "t",  "v",  "w",  "y",  "z",   "br", "ch", "cl", "dr", "fl",
        "gr", "pl", "pr", "sh", "sl", "sp", "str", "th", "tr", "qu", "",   "",
    };
    static const char *const vowels[] = {"a", "e",  "i",  "o",  "u",  "a",  "e", "i",
                                         "o", "ai", "ea", "ee", "oo", "ou", "y"};
    static const char *const codas[] = {"",  "",   "",   "",   "n",  "r", "s",  "t",  "l",
                                        "m", "ck", "nd", "st", "ng", "x", "ll", "ss", "p"};
    append(word, onsets[sp_draw_below(draw, sizeof onsets / sizeof *onsets)]);
    append(word, vowels[sp_draw_below(draw, sizeof vowels / sizeof *vowels)]);
    append(word, codas[sp_draw_below(draw, sizeof codas / sizeof *codas)]);
}

/* A made-up word of 3 to 12 letters: syllables, one of them perhaps twice; or letters at random. */
static void draw_made_word(sp_draw *draw, char *word)
{
    int length = sp_draw_range(draw, 3, SP_WORD_MAX);
    word[0] = '\0';
    if (sp_draw_chance(draw, 20)) {
        int letters = sp_draw_range(draw, 3, 26), first = sp_draw_below(draw, 27 - letters);
        for (int i = 0; i < length; i++) word[i] = (char)('a' + first + sp_draw_below(draw, letters));
        word[length] = '\0';
        return;
    }
    while ((int)strlen(word) < length) {
        char syllable[SP_WORD_MAX + 4] = "";
        draw_syllable(draw, syllable);
        append(word, syllable);
        if (sp_draw_chance(draw, 15)) append(word, syllable);
    }
    word[length] = '\0';
}

static void draw_any_word(sp_draw *draw, sp_problem *p)
{
    bool is_real = sp_draw_chance(draw, 40);
    if (is_real)
        snprintf(p->word, sizeof p->word, "%.12s", sp_task_words[sp_draw_below(draw, sp_task_words_count)]);
    else
        draw_made_word(draw, p->word);
    snprintf(p->kind, sizeof p->kind, "%s", is_real ? "real" : "made");
    snprintf(p->key, sizeof p->key, "%s", p->word);
}

/* --- count --- */

void sp_task_letters_draw(sp_draw *draw, sp_problem *p)
{
    draw_any_word(draw, p);
    p->letter = p->word[sp_draw_below(draw, (int)strlen(p->word))];
    /* one in five is any letter, two in five one that occurs more than once, if there is one */
    int among = sp_draw_below(draw, 100);
    if (among < 20) p->letter = (char)('a' + sp_draw_below(draw, 26));
    for (int i = 0; among >= 60 && p->word[i]; i++)
        if (strchr(p->word + i + 1, p->word[i])) p->letter = p->word[i];
}

void sp_task_letters_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const templates[] = {
        "How many $a in $b?",
        "How many $a are in $b?",
        "How many times does $a occur in $b?",
        "How many times does the letter $a appear in the word $b?",
        "How many $a's are there in $b?",
        "Count the $a in $b.",
        "Count the letter $a in $b.",
        "Count how often $a appears in $b.",
        "How often does the letter $a occur in '$b'?",
        "How many letters $a are in \"$b\"?",
        "How many '$a' in '$b'?",
        "In the word $b, how many $a are there?",
        "The word $b has how many $a?",
        "number of $a in $b",
    };
    char letter[2] = {p->letter, '\0'};
    int count = 0;
    SP_TASK_ASK(draw, turn, templates, ((const char *const[]){letter, p->word}));
    sp_task_put(&turn->reasoning, "%c:", p->letter);
    for (int i = 0; p->word[i]; i++) {
        count += p->word[i] == p->letter;
        sp_task_put(&turn->reasoning, "%c%d", p->word[i], count);
    }
    sp_task_put(&turn->content, "There %s %d %c in %s.", count == 1 ? "is" : "are", count, p->letter,
                p->word);
    snprintf(turn->answer, sizeof turn->answer, "%d", count);
}

/* --- reverse --- */

void sp_task_reverse_draw(sp_draw *draw, sp_problem *p)
{
    draw_any_word(draw, p);
}

void sp_task_reverse_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const templates[] = {
        "Reverse $a.",
        "Reverse the word $a.",
        "Spell $a backwards.",
        "What is $a backwards?",
        "Write $a in reverse.",
        "$a backwards",
        "$a reversed",
        "Reverse the letters of $a.",
        "Can you spell $a backwards?",
        "What is $a spelled backwards?",
        "Write the word '$a' backwards.",
        "Turn \"$a\" around.",
    };
    int n = (int)strlen(p->word);
    SP_TASK_ASK(draw, turn, templates, ((const char *const[]){p->word}));
    for (int i = 0; i < n; i++) sp_task_put(&turn->reasoning, "%c%d", p->word[i], i + 1);
    sp_task_put(&turn->reasoning, "\n");
    for (int i = n - 1; i >= 0; i--) sp_task_put(&turn->reasoning, "%c%d", p->word[i], i + 1);
    for (int i = n - 1; i >= 0; i--) sp_task_put(&turn->content, "%c", p->word[i]);
    snprintf(turn->answer, sizeof turn->answer, "%.95s", turn->content.s);
}
