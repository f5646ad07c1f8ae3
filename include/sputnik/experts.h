/* SPDX-License-Identifier: MIT */
/* Models larger than memory: routed experts stay on disk and are read when they are chosen, into a cache of bounded
 * size. Results have the same bits as with everything in memory. */
#ifndef SPUTNIK_EXPERTS_H
#define SPUTNIK_EXPERTS_H

#include <sputnik/session.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sp_expert_reader {
    SP_EXPERT_READER_AUTO,  /* io_uring where build and kernel have it, else threads */
    SP_EXPERT_READER_URING, /* SP_E_UNSUPPORTED where it is missing */
    SP_EXPERT_READER_THREADS
} sp_expert_reader;

typedef struct sp_expert_options {
    uint64_t ram_bytes; /* what the process may take, all together */
    const sp_session_options
        *session; /* of the sessions to come, whose caches are part of it; NULL: defaults */
    int32_t n_sessions;
    sp_expert_reader reader;
    const char *hot_path; /* learned uses, read if the file is there and belongs to the model; NULL: none */
    int32_t n_threads;    /* for measuring memory; 0: number of processors */
    int record;           /* non-zero: keep which experts were used, for sp_model_expert_trace */
} sp_expert_options;

#define SP_EXPERT_OPTIONS_DEFAULTS                                                                           \
    {                                                                                                        \
        0, NULL, 1, SP_EXPERT_READER_AUTO, NULL, 0, 0                                                        \
    }

/* What would be where, before anything is loaded. */
typedef struct sp_expert_plan {
    uint64_t shared_bytes;  /* weights that every token needs: held in memory */
    uint64_t session_bytes; /* caches of the sessions */
    uint64_t reserve_bytes; /* for activations, vocabulary and the like */
    uint64_t expert_bytes;  /* all routed experts, on disk */
    uint64_t slot_bytes;    /* of one expert in memory */
    int64_t n_slots;        /* experts that fit into what is left */
    int64_t n_experts;      /* of all layers */
    int64_t n_used;         /* experts per token, all layers */
    uint64_t used_bytes;    /* shared weights that one token reads */
    uint64_t least_ram;     /* the smallest ram_bytes that works */
    double hit_rate;        /* learned where there is a hot set, else n_slots / n_experts */
    int learned;
    double disk_per_s, memory_per_s; /* bytes per second, 0 until measured */
    double tokens_per_s;             /* expected of decoding, 0 until measured */
} sp_expert_plan;

/* SP_E_UNSUPPORTED if the model has no routed experts; SP_E_LIMIT if ram_bytes is below least_ram (the plan is filled
 * all the same). */
SP_API sp_status sp_model_plan_experts(const sp_model *model, const sp_expert_options *options,
                                       sp_expert_plan *plan, sp_error *err);

/* Read experts at random places past the page cache, and memory with all threads, for some tenths of a second; fill the
 * plan's last fields. */
SP_API sp_status sp_model_measure_experts(const sp_model *model, const sp_expert_options *options,
                                          sp_expert_plan *plan, sp_error *err);

/* Load the shared weights and let experts come from disk. After opening with SP_LOAD_MAP, before the first session; once per
 * model.
 * A read that fails later is SP_E_IO from the session, which stays usable. */
SP_API sp_status sp_model_stream_experts(sp_model *model, const sp_expert_options *options, sp_error *err);

typedef struct sp_expert_stats {
    /* Experts wanted: kept in memory from before, read or being read because they were guessed, neither. */
    uint64_t n_hits, n_foreseen, n_misses;
    uint64_t n_guessed, n_guessed_right; /* guesses of the next layer's choice */
    uint64_t n_read_bytes, n_reads;      /* n_reads counts experts */
    double wait_s;                       /* time that sessions waited for experts */
    int64_t n_slots;
    int locked;         /* shared weights are locked in memory, and in huge pages as far as there are some */
    const char *reader; /* "io_uring" or "pread" */
} sp_expert_stats;

/* False if the model's experts do not come from disk. */
SP_API int sp_model_expert_stats(const sp_model *model, sp_expert_stats *stats);

/* Write what was learned about the experts' use, atomically; for hot_path next time. */
SP_API sp_status sp_model_save_hot(const sp_model *model, const char *path, sp_error *err);

/* Write the recorded uses, one line per layer and pass: "LAYER: EXPERT EXPERT ...", after a line "sputnik-experts 1
 * LAYERS EXPERTS". */
SP_API sp_status sp_model_save_expert_trace(const sp_model *model, const char *path, sp_error *err);

#ifdef __cplusplus
}
#endif

#endif
