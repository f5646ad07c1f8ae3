/* SPDX-License-Identifier: MIT */
/* Reading pieces of files past the page cache: O_DIRECT where the file system has it, else plain reads whose pages are
 * dropped again. The owner decides what is read next; the reader keeps several reads under way, through io_uring or
 * threads that pread, with the same results. Start at sp_reader_create(). */
#ifndef SP_INFER_EXPERT_READER_H
#define SP_INFER_EXPERT_READER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define SP_READ_ALIGN ((size_t)4096)
#define SP_READ_PIECE ((size_t)1 << 20)

/* One read. Address, offset and length are multiples of SP_READ_ALIGN. */
typedef struct sp_read_piece {
    int file;
    uint64_t offset;
    char *data;
    size_t n_bytes;
    size_t n_needed; /* bytes that must come; those after them may lie behind the file's end */
    bool fresh;      /* nothing was written there yet: the system has to find pages first */
    size_t n_read;
    int error;   /* errno, 0 if all that is needed came, -1 if the file ends before that */
    int64_t tag; /* the owner's */
} sp_read_piece;

/* Called from the reader's threads. take() fills the next piece to read, n_busy reads being under way, or returns
 * false; it is asked again after a piece is done or sp_reader_wake(). */
typedef struct sp_reader_owner {
    void *ctx;
    bool (*take)(void *ctx, int n_busy, sp_read_piece *piece);
    void (*done)(void *ctx, const sp_read_piece *piece);
} sp_reader_owner;

typedef enum sp_reader_kind { SP_READER_AUTO, SP_READER_URING, SP_READER_THREADS } sp_reader_kind;

typedef struct sp_reader sp_reader;

/* Opens the files. At most `depth` reads are under way. SP_E_UNSUPPORTED if io_uring is demanded and missing; AUTO falls
 * back to threads. */
sp_status sp_reader_create(sp_reader **reader, const char *const *files, int n_files, sp_reader_kind kind,
                           int depth, const sp_reader_owner *owner, sp_error *err);

/* Waits for reads under way. Accepts NULL. */
void sp_reader_destroy(sp_reader *reader);

void sp_reader_wake(sp_reader *reader);

const char *sp_reader_kind_name(const sp_reader *reader); /* "io_uring" or "pread" */

/* Fill err for a piece with an error: names file and offset. */
sp_status sp_reader_fail(const sp_reader *reader, const sp_read_piece *piece, sp_error *err);

/* Read a list of pieces and wait; the first failure is reported. */
sp_status sp_read_pieces(const char *const *files, int n_files, sp_reader_kind kind, int depth,
                         sp_read_piece *pieces, size_t n, sp_error *err);

#endif
