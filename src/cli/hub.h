/* SPDX-License-Identifier: MIT */
/* Names of published models, where they lie on the Hugging Face hub and in the user's cache.
 *
 * A name is NAME or ORG/REPO, then optionally @REVISION, then optionally :QUANT ("deepseek-r1:UD-IQ1_S").
 * Files of a repository lie in <cache>/models/<org>--<repo>/ under their own paths. What is complete and
 * verified is listed in
 * "<LABEL>.pulled" there, written last: only such files are ever taken for a model. LABEL is the
 * quantisation, or "hf" for a whole Hugging Face directory.
 *
 *     sputnik-pull 1
 *     model PATH               relative; "." for a directory
 *     SHA256 SIZE PATH         one line per file; SHA256 may be "-" where the hub publishes none
 */
#ifndef SP_CLI_HUB_H
#define SP_CLI_HUB_H

#include "base/mem.h"

typedef struct sp_hub_name {
    const char *name;
    const char *repo;
} sp_hub_name;

extern const sp_hub_name sp_hub_names[]; /* ends with a NULL name */

typedef struct sp_hub_ref {
    char repo[160];
    char revision[80]; /* "main" unless given */
    char quant[48];    /* empty unless given */
} sp_hub_ref;

/* False if `name` is neither in the table nor of the form ORG/REPO. */
bool sp_hub_parse(const char *name, sp_hub_ref *ref);

/* The table's name nearest to a misspelt one, NULL if none is near. */
const char *sp_hub_nearest(const char *name);

/* Folder of a repository in the cache; free with sp_free. SP_E_NOT_FOUND if there is no home directory. */
sp_status sp_hub_dir(const sp_hub_ref *ref, char **dir, sp_error *err);

/* Path of a pulled model; free with sp_free. SP_E_NOT_FOUND if nothing complete is there. */
sp_status sp_hub_find(const sp_hub_ref *ref, char **path, sp_error *err);

/* Quantisations tried in this order when none is named; ends with NULL. */
extern const char *const sp_hub_default_quants[];

/* ---- lists of files ------------------------------------------------------------------------------------ */

typedef struct sp_hub_file {
    char *path; /* relative, checked: no "..", no absolute path, no empty or hidden component */
    uint64_t size;
    char sha256[65]; /* lower-case hex, "" where unknown */
} sp_hub_file;

typedef struct sp_hub_files {
    sp_hub_file *items;
    size_t n;
} sp_hub_files;

void sp_hub_files_clear(sp_hub_files *files);
sp_status sp_hub_files_add(sp_hub_files *files, const char *path, uint64_t size, const char *sha256,
                           sp_error *err);

/* True for a relative path that stays below its folder and cannot be mistaken for our own files. */
bool sp_hub_path_is_safe(const char *path);

/* Parse one page of the hub's file list (JSON array of {type, path, size, lfs: {oid}}) onto `files`.
 * SP_E_FORMAT for anything else and for unsafe paths. */
sp_status sp_hub_parse_tree(const char *text, size_t len, sp_hub_files *files, sp_error *err);

/* Which files make up the model: the shards of one GGUF, or a Hugging Face directory's files. `label` (48)
 * gets the name of the choice, `model` (points into files, or ".") the file to open. SP_E_NOT_FOUND lists
 * what there is. */
sp_status sp_hub_choose(const sp_hub_files *files, const char *quant, sp_hub_files *chosen, char label[48],
                        const char **model, sp_error *err);

/* Read and write "<dir>/<label>.pulled". Reading: SP_E_NOT_FOUND, SP_E_FORMAT. */
sp_status sp_hub_read_list(const char *dir, const char *label, sp_hub_files *files, char **model,
                           sp_error *err);
sp_status sp_hub_write_list(const char *dir, const char *label, const sp_hub_files *files, const char *model,
                            sp_error *err);

#endif
