/* SPDX-License-Identifier: MIT */
/* Folders as units: listing, removing, flushing, and putting a finished one in its place. For single files see base/file.h. */
#ifndef SP_BASE_DIR_H
#define SP_BASE_DIR_H

#include "base/mem.h"

typedef struct sp_names_list {
    char **names;
    size_t n, cap;
} sp_names_list;

/* Names in the folder without "." and "..", in ascending byte order. Zero-initialise. */
sp_status sp_dir_list(sp_names_list *list, const char *path, sp_error *err);
void sp_names_list_clear(sp_names_list *list);

/* Remove a folder and all in it; symbolic links are removed, not followed. What is not there, or goes away meanwhile, is fine. */
sp_status sp_dir_remove(const char *path, sp_error *err);

/* Flush the folder's own entries (new names, renames) to the disk. */
sp_status sp_dir_sync(const char *path, sp_error *err);

/* Rename folder `from` to `path` in one step and flush their parent. If `path` exists already, the two change places, so that at no
 * moment there is nothing at `path`; its former contents are at `from` then. */
sp_status sp_dir_place(const char *from, const char *path, sp_error *err);

/* Hold the folder against other holders until sp_dir_release() or the process's end. SP_E_ARGUMENT: another one holds it. Where
 * the file system knows no locks, *hold is -1 and all is well. */
sp_status sp_dir_hold(int *hold, const char *path, sp_error *err);
void sp_dir_release(int hold); /* accepts -1 */

#endif
