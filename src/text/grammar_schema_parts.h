/* SPDX-License-Identifier: MIT */
/* The compiler of JSON schemas, shared by its files. A node of the grammar stands for a set of schemas that hold at once
 * (so allOf, references and properties that several schemas describe need no merging of documents), constants among
 * them. grammar_schema_expand.c turns such a set into cases without "or": sp_case; grammar_schema_emit.c writes
 * the cases of each kind of value as alternatives of the node. */
#ifndef SP_TEXT_GRAMMAR_SCHEMA_PARTS_H
#define SP_TEXT_GRAMMAR_SCHEMA_PARTS_H

#include "base/json.h"
#include "text/grammar_build.h"
#include "text/grammar_program.h"
#include "text/grammar_regex.h"

#define SP_SCHEMA_NODES_MAX 20000
#define SP_SCHEMA_CASES_MAX 512
#define SP_SCHEMA_DEPTH_MAX 256 /* schemas inside one another at one place */
#define SP_SCHEMA_ITEMS_MAX 1000
#define SP_SCHEMA_PATTERNS_MAX 4 /* patternProperties that meet in one object */

enum {
    SP_TYPE_NULL = 1,
    SP_TYPE_BOOLEAN = 2,
    SP_TYPE_NUMBER = 4,
    SP_TYPE_STRING = 8,
    SP_TYPE_ARRAY = 16,
    SP_TYPE_OBJECT = 32,
    SP_TYPE_ALL = 63
};

/* A schema, or a constant. */
typedef struct sp_schema_item {
    const sp_json *value;
    bool is_const;
} sp_schema_item;

/* A list in the compiler's arena, newest first, shared between cases. */
typedef struct sp_schema_list {
    const struct sp_schema_list *rest;
    sp_schema_item item;
    const char *text;                 /* names and patterns */
    const struct sp_schema_list *way; /* of sources: the schemas that led there, itself included */
} sp_schema_list;

/* What holds of a value in one case. */
typedef struct sp_case {
    unsigned types;
    bool integer;       /* numbers are integers */
    bool has_constants; /* one of these (then at least one is listed) */
    const sp_schema_list *constants;
    sp_number_bounds bounds; /* without multiples */
    const sp_schema_list *multiples;
    const sp_json *unique; /* the schema that asks for items that differ, or NULL */
    uint32_t min_length, max_length, min_items, max_items, min_props, max_props;
    const sp_schema_list *patterns; /* of strings; formats among them */
    const sp_schema_list *sources;  /* schemas and constants that say something of items or properties */
    const sp_schema_list *required, *forbidden; /* names */
    const sp_schema_list *seen;                 /* schemas that are part of the case */
} sp_case;

typedef struct sp_schema_node {
    const sp_schema_item *items; /* (n) sorted */
    size_t n;
} sp_schema_node;

/* A node that must be empty: two branches of a oneOf. */
typedef struct sp_schema_apart {
    uint32_t node;
    const sp_json *schema;
} sp_schema_apart;

/* An array whose items are to differ: the alternative is made so once it is known what its items are. */
typedef struct sp_schema_unique {
    uint32_t node;
    size_t alt;
    const sp_json *schema;
} sp_schema_unique;

typedef struct sp_schema_compiler {
    sp_grammar *grammar;
    const sp_json *root;
    size_t len;   /* of the document */
    bool has_ids; /* the document may have schemas with an identity of their own */
    sp_arena *arena;
    sp_error *err;
    sp_schema_node *nodes; /* (grammar->n_nodes) */
    size_t cap_nodes;
    uint32_t *table; /* (2 * SP_SCHEMA_NODES_MAX rounded up) nodes by hash, plus one; 0: empty */
    sp_schema_apart *aparts;
    size_t n_aparts, cap_aparts;
    sp_schema_unique *uniques;
    size_t n_uniques, cap_uniques;
    uint64_t budget; /* steps of building automata that may still be taken */
    uint32_t never;  /* a node without values */
    struct {
        const char *pattern;
        uint32_t dfa;
    } * patterns;
    size_t n_patterns, cap_patterns;
} sp_schema_compiler;

#define SP_SCHEMA_TABLE 65536u
#define SP_SCHEMA_BUDGET 200000000ull /* about a second */
#define SP_SCHEMA_STEP 2000u          /* of it, for applying one schema at one place */

/* "json schema: <text> at #/pointer": where the value stands in the document. */
sp_status sp_schema_fail(const sp_schema_compiler *c, sp_status code, const sp_json *at, const char *fmt, ...)
    SP_PRINTF(4, 5);

/* The node of a set of items, new or not. The items are copied. */
sp_status sp_schema_intern(sp_schema_compiler *c, const sp_schema_item *items, size_t n, uint32_t *node);

/* Put an item or a text in front of a list. */
sp_status sp_schema_push(const sp_schema_compiler *c, const sp_schema_list **list, sp_schema_item item,
                         const char *text);

/* Cases of a set of items, each handed to `fn`. */
typedef sp_status (*sp_schema_case_fn)(sp_schema_compiler *c, const sp_case *k, void *ctx);
sp_status sp_schema_expand(sp_schema_compiler *c, const sp_schema_item *items, size_t n, sp_schema_case_fn fn,
                           void *ctx);

/* What a $ref of the schema refers to: grammar_schema_ref.c. */
sp_status sp_schema_resolve(const sp_schema_compiler *c, const sp_json *schema, const char *ref,
                            const sp_json **target);

/* Of the alternative that was added last to the node: its items are to differ. */
sp_status sp_schema_note_unique(sp_schema_compiler *c, uint32_t node, const sp_json *schema);

/* When all nodes have their alternatives: see to those. */
sp_status sp_schema_settle_unique(sp_schema_compiler *c);

/* The schemas of an array's first items: "prefixItems", which older drafts wrote as a list of "items". */
const sp_json *sp_schema_prefix(const sp_json *schema);

/* The alternatives of a case: to the node *ctx. */
sp_status sp_schema_emit(sp_schema_compiler *c, const sp_case *k, void *ctx);

/* Array alternatives: grammar_schema_array.c; object alternatives: grammar_schema_object.c. */
sp_status sp_schema_emit_array(sp_schema_compiler *c, const sp_case *k, uint32_t node);

sp_status sp_schema_emit_object(sp_schema_compiler *c, const sp_case *k, uint32_t node);

/* The automaton of strings of these patterns and bounds; *any: there are no patterns, the bounds say all. */
sp_status sp_schema_strings(sp_schema_compiler *c, const sp_case *k, uint32_t *dfa, bool *any);

/* The automaton of the constants of these types that fit the case and are no arrays or objects; *some: there are any. */
sp_status sp_schema_constants(sp_schema_compiler *c, const sp_case *k, unsigned types, uint32_t *dfa,
                              bool *some);

/* The automaton of a pattern, made once. */
sp_status sp_schema_pattern(sp_schema_compiler *c, const char *pattern, const sp_json *at, uint32_t *dfa);

/* A string as it is written. */
sp_status sp_schema_quote(sp_buf *out, const char *text, size_t len, sp_error *err);

/* A number's shortest decimal text that reads back the same. */
void sp_schema_number_text(const sp_json *value, char text[40]);

/* Do the values of the JSON schema data model agree? */
bool sp_schema_same(const sp_json *a, const sp_json *b);

#endif
