/* SPDX-License-Identifier: MIT */
/* Inside of an archive, shared by archive.c (GGUF, look-up) and archive_hf.c (Hugging Face directories). */
#ifndef SP_FORMAT_ARCHIVE_PARTS_H
#define SP_FORMAT_ARCHIVE_PARTS_H

#include "base/file.h"
#include "format/archive.h"
#include "format/names.h"
#include "format/safetensors.h"

typedef struct sp_archive_part {
    char *path;
    sp_map map;
    sp_gguf *gguf; /* one of the two is set once the file is parsed */
    sp_safetensors *st;
    char *copy; /* of the tensors' part of the file, or NULL */
    size_t copy_bytes;
} sp_archive_part;

struct sp_archive {
    sp_container container;
    char *path;
    sp_archive_part *files;
    size_t n_files;
    sp_entry *entries;
    size_t n_entries;
    size_t capacity; /* of entries, in an archive without files */
    sp_names names;  /* entry name -> index */
    sp_arena *arena; /* entry names, and copies of data that the file holds unaligned */
    sp_json *config, *generation_config, *tokenizer_config, *index;
};

/* Fill the archive from a directory; what was opened so far is released by sp_archive_close. */
sp_status sp_archive_open_hf(sp_archive *archive, sp_error *err);

/* Enter entries[n_entries], already filled in, under its name. SP_E_FORMAT if the name exists. */
sp_status sp_archive_enter(sp_archive *archive, sp_error *err);

#endif
