/* SPDX-License-Identifier: MIT */
/* Files: read-only memory maps, whole-file reads, and atomic writing (temporary file, fsync, rename). */
#ifndef SP_BASE_FILE_H
#define SP_BASE_FILE_H

#include "base/mem.h"

typedef struct sp_map {
    const uint8_t *data; /* read-only bytes; NULL for an empty file */
    size_t len;
} sp_map;

sp_status sp_map_open(sp_map *map, const char *path, sp_error *err);
void sp_map_close(sp_map *map);

/* Ask for part of a map in huge pages: a file system that can then reads what is not cached yet in pieces of 2 MB and maps
 * each at once. Others ignore it. */
void sp_map_want_huge(const void *data, size_t n_bytes);

/* A file read at places, by any number of threads at once. */
typedef struct sp_file {
    int fd;
    const char *path; /* the caller's, for messages */
} sp_file;

sp_status sp_file_open(sp_file *file, const char *path, sp_error *err);
sp_status sp_file_read_at(const sp_file *file, void *data, size_t n_bytes, uint64_t offset,
                          sp_error *err);                                  /* all of it */
void sp_file_forget(const sp_file *file, size_t n_bytes, uint64_t offset); /* leave the system's cache */
void sp_file_close(sp_file *file);

/* Read a whole file of at most max_bytes into buf (appended). "-" is not special. */
sp_status sp_file_read(sp_buf *buf, const char *path, size_t max_bytes, sp_error *err);

bool sp_file_exists(const char *path);
bool sp_file_is_dir(const char *path);
sp_status sp_file_size(const char *path, uint64_t *size, sp_error *err);

/* mkdir -p; existing directories are fine. */
sp_status sp_dir_create(const char *path, sp_error *err);

/* "dir/name" into a fresh string; NULL when out of memory. */
char *sp_path_join(const char *dir, const char *name);
const char *sp_path_base(const char *path); /* points into path */

/* Atomic writer: bytes go to "<path>.tmp.<pid>" and appear at `path` only on commit; close without commit
 * removes them. Every write error (a full disk too) is reported and leaves nothing at `path`. A path that is
 * something other than a regular file (a directory, a device) is SP_E_IO at once. */
typedef struct sp_writer sp_writer;

sp_status sp_writer_open(sp_writer **writer, const char *path, sp_error *err);
sp_status sp_writer_write(sp_writer *writer, const void *data, size_t n, sp_error *err);
uint64_t sp_writer_offset(const sp_writer *writer);
sp_status sp_writer_pad(sp_writer *writer, size_t alignment, sp_error *err); /* zeros up to a multiple */
sp_status sp_writer_commit(sp_writer *writer, sp_error *err);
void sp_writer_close(sp_writer *writer); /* accepts NULL; removes the temporary file if not committed */

/* All of it at once: the file at `path` becomes these bytes, or nothing changes. */
sp_status sp_file_write(const char *path, const sp_buf *bytes, sp_error *err);

#endif
