/* SPDX-License-Identifier: MIT */
/* One view of a model on disk, whatever its container: a GGUF file (single or first shard of a split) or a
 * Hugging Face directory (config.json + safetensors, sharded or not). Tensors are memory-mapped views with
 * the container's own names and shapes, outermost dimension first (GGUF's dimensions are reversed here).
 * Immutable once open; readable from any thread. Nothing here knows what a tensor means: model/ does. */
#ifndef SP_FORMAT_ARCHIVE_H
#define SP_FORMAT_ARCHIVE_H

#include "base/json.h"
#include "base/pool.h"
#include "format/gguf.h"
#include "tensor/tensor.h"

typedef struct sp_archive sp_archive;

typedef enum sp_container { SP_CONTAINER_GGUF, SP_CONTAINER_HF } sp_container;

typedef struct sp_entry {
    const char *name;
    const char *unsupported; /* NULL, or the file's name of a type that cannot be read: data is NULL then */
    sp_tensor tensor; /* F8 tensors have .scale bound from "<name>_scale_inv"; bytes are bounds-checked */
    uint64_t n_bytes;
    uint64_t file_offset;
    int file; /* index for sp_archive_file */
} sp_entry;

/* Open a GGUF file, the first shard of a split one, or a Hugging Face directory. A vocabulary-only GGUF has
 * no entries. A split with a missing, repeated or foreign shard, a weight_map that names a missing file or
 * tensor, and overlapping or out-of-range data are SP_E_FORMAT with the names in the text. HF needs jansson.
 */
sp_status sp_archive_open(sp_archive **archive, const char *path, sp_error *err);
void sp_archive_close(sp_archive *archive);

/* An archive without files, of tensors in memory under Hugging Face names: a model that is being trained. At most
 * `capacity` entries. sp_archive_add copies name and view; the data stay the caller's. SP_E_FORMAT if the name exists, SP_E_LIMIT beyond the capacity. */
sp_status sp_archive_create(sp_archive **archive, size_t capacity, sp_error *err);
sp_status sp_archive_add(sp_archive *archive, const char *name, const sp_tensor *tensor, sp_error *err);

sp_container sp_archive_container(const sp_archive *archive);
size_t sp_archive_count(const sp_archive *archive);
const sp_entry *sp_archive_at(const sp_archive *archive, size_t i);           /* order of the file(s) */
const sp_entry *sp_archive_find(const sp_archive *archive, const char *name); /* O(1); NULL if absent */

/* Read all tensors into memory of the archive, in huge pages as far as there are some: entries point there from now on, and
 * the map serves metadata alone. Several threads read; each page is first touched by who reads it. `forget`: what was read
 * leaves the system's cache. Before views of the entries are taken. SP_E_NOMEM, SP_E_NOT_FOUND, SP_E_IO (also where a file has become
 * shorter). Nothing has changed after an error. */
sp_status sp_archive_copy(sp_archive *archive, sp_pool *pool, bool forget, sp_error *err);
bool sp_archive_is_copied(const sp_archive *archive);

/* Ask for huge pages in the maps (base/file.h). Once metadata have been read, of which 2 MB at a time would be much. */
void sp_archive_want_huge(const sp_archive *archive);

/* Entry i's bytes were copied to `data`, which lives longer than the archive. */
void sp_archive_move(sp_archive *archive, size_t i, void *data);

size_t sp_archive_file_count(const sp_archive *archive);
const char *sp_archive_file(const sp_archive *archive, size_t i);

/* GGUF metadata (of the first shard), NULL for HF. */
const sp_gguf *sp_archive_gguf(const sp_archive *archive);

/* HF: parsed config.json; generation_config.json, tokenizer_config.json may be absent (NULL). NULL for GGUF.
 */
const sp_json *sp_archive_config(const sp_archive *archive);
const sp_json *sp_archive_generation_config(const sp_archive *archive);
const sp_json *sp_archive_tokenizer_config(const sp_archive *archive);
const char *sp_archive_path(const sp_archive *archive);

/* What the publisher recommends to who samples: generation_config.json ("do_sample": false means temperature 0), or
 * general.sampling.temp and .top_p in GGUF; negative where it says nothing. */
typedef struct sp_sampling_hint {
    double temperature, top_p;
} sp_sampling_hint;
sp_sampling_hint sp_archive_sampling(const sp_archive *archive);

#endif
