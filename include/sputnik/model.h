/* SPDX-License-Identifier: MIT */
/* A loaded model: immutable, shared by any number of threads and sessions. */
#ifndef SPUTNIK_MODEL_H
#define SPUTNIK_MODEL_H

#include <sputnik/chat.h>
#include <sputnik/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_model sp_model;

/* Open a GGUF file (or first shard) or a Hugging Face directory. Weights stay memory-mapped. Every tensor's
 * presence, type and shape is checked here. Errors: SP_E_IO, SP_E_FORMAT, SP_E_UNSUPPORTED (an architecture
 * or type, by name). */
SP_API sp_status sp_model_open(sp_model **model, const char *path, sp_error *err);

typedef enum sp_model_load {
    SP_LOAD_MAP, /* weights stay memory-mapped: shared by processes, read as they are touched */
    SP_LOAD_COPY /* weights are read into huge pages of the process: takes time and their size in memory */
} sp_model_load;

typedef struct sp_model_options {
    sp_model_load load;
    int32_t n_threads; /* that copy; 0: number of processors */
} sp_model_options;

#define SP_MODEL_OPTIONS_DEFAULTS                                                                            \
    {                                                                                                        \
        SP_LOAD_MAP, 0                                                                                       \
    }

/* The same with options (NULL: defaults). Answers do not depend on them. A copy does not mind its file being replaced or cut
 * later. Further errors: SP_E_NOMEM, SP_E_ARGUMENT. */
SP_API sp_status sp_model_open_with(sp_model **model, const char *path, const sp_model_options *options,
                                    sp_error *err);

/* All sessions of the model must be gone. Accepts NULL. */
SP_API void sp_model_close(sp_model *model);

typedef struct sp_model_info {
    const char *architecture; /* "llama", "qwen2", "qwen3", "deepseek", "deepseek2" */
    const char *name;         /* general.name, or the directory's name */
    int64_t n_params;         /* elements of all bound weights */
    int64_t n_bytes;          /* bytes of all bound weights */
    int32_t n_layers;
    int32_t hidden_size;
    int32_t vocab_size;
    int32_t n_ctx_train;    /* context length that the model was trained for */
    int32_t n_mtp_layers;   /* multi-token-prediction layers present in the file */
    int64_t cache_elements; /* key-value cache elements per token, all layers */
} sp_model_info;

SP_API void sp_model_get_info(const sp_model *model, sp_model_info *info);

/* NULL if the files hold no vocabulary. Owned by the model. */
SP_API const sp_tokenizer *sp_model_tokenizer(const sp_model *model);
SP_API sp_chat_format sp_model_chat_format(const sp_model *model);

/* Sampling settings published with the model (generation_config.json); negative where it says nothing. */
SP_API void sp_model_recommended(const sp_model *model, float *temperature, float *top_p);

#ifdef __cplusplus
}
#endif

#endif
