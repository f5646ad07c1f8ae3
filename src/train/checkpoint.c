/* SPDX-License-Identifier: MIT */
/* Writing and reading checkpoints: the model as a Hugging Face folder, the optimizer's moments beside it. Prediction layers stand
 * behind the model's as in published V3 files, without their copies of embedding and head: transformers reads none of them, and
 * model/weights.c takes the model's own where they are absent. Start at sp_checkpoint_save(). */
#include "train/checkpoint_parts.h"

#include <sputnik/tokenizer.h>

#include <stdio.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "format/safetensors.h"
#include "format/safetensors_write.h"
#include "model/hf_dir.h"

/* The three arrays of floats that a checkpoint keeps of a parameter. */
typedef enum part { PART_VALUE, PART_M, PART_V } part;

static bool is_vector(const sp_parameter *p)
{
    return p->kind == SP_PARAMETER_NORM || p->kind == SP_PARAMETER_BIAS || p->kind == SP_PARAMETER_BALANCE;
}

/* Moments that the optimizer leaves at zero are not written. */
static bool has_part(const sp_optimizer *optimizer, const sp_parameter *p, part which)
{
    bool hidden = p->kind == SP_PARAMETER_MATRIX || p->kind == SP_PARAMETER_EXPERT;
    if (which == PART_VALUE) return true;
    if (p->kind == SP_PARAMETER_BALANCE) return false;
    return which == PART_M || optimizer->options.kind != SP_OPTIMIZER_MUON || !hidden;
}

static void part_name(char name[128], const sp_parameter *p, part which)
{
    static const char *const prefixes[] = {"", "m.", "v."};
    snprintf(name, 128, "%s%s", prefixes[which], p->name);
}

/* --- writing -------------------------------------------------------------------------------------------- */

typedef struct saving {
    const char *dir; /* under its temporary name */
    const sp_parameters *parameters;
    const sp_optimizer *optimizer;
    const sp_train_state *state;
    const char *tokenizer_dir;
    sp_tokenizer *tokenizer;
} saving;

static const float *part_data(const saving *s, const sp_parameter *p, part which)
{
    const float *base = which == PART_VALUE ? s->parameters->values
                        : which == PART_M   ? s->optimizer->m
                                            : s->optimizer->v;
    return base + p->begin;
}

/* Parts [first, last] of every parameter into one file. */
static sp_status write_parts(const saving *s, sp_safetensors_writer *writer, part first, part last,
                             sp_error *err)
{
    const sp_parameters *ps = s->parameters;
    char name[128];
    for (part which = first; which <= last; which++) {
        for (size_t i = 0; i < ps->n_items; i++) {
            const sp_parameter *p = &ps->items[i];
            if (!has_part(s->optimizer, p, which)) continue;
            if (!sp_parameter_is_local(p))
                return sp_fail(err, SP_E_ARGUMENT, "checkpoint: %s is not in this process", p->name);
            int64_t shape[2] = {is_vector(p) ? p->cols : p->rows, p->cols};
            part_name(name, p, which);
            SP_TRY(sp_safetensors_declare(writer, name, SP_DTYPE_F32, is_vector(p) ? 1 : 2, shape, err));
        }
    }
    for (part which = first; which <= last; which++) {
        for (size_t i = 0; i < ps->n_items; i++) {
            const sp_parameter *p = &ps->items[i];
            if (!has_part(s->optimizer, p, which)) continue;
            SP_TRY(sp_safetensors_write_data(writer, part_data(s, p, which),
                                             (size_t)sp_parameter_count(p) * sizeof(float), err));
        }
    }
    return sp_safetensors_writer_commit(writer, err);
}

static sp_status write_tensors(const saving *s, const char *stem, part first, part last, sp_error *err)
{
    sp_safetensors_writer *writer;
    SP_TRY(sp_safetensors_writer_open(&writer, s->dir, 0, err));
    sp_safetensors_writer_rename(writer, stem);
    sp_status status = write_parts(s, writer, first, last, err);
    sp_safetensors_writer_close(writer);
    return status;
}

static sp_status fill_folder(saving *s, sp_error *err)
{
    sp_status status;
    SP_TRY(sp_dir_remove(s->dir, err)); /* of an earlier try */
    SP_TRY(sp_dir_create(s->dir, err));
    if (s->tokenizer_dir) SP_TRY(sp_tokenizer_open(&s->tokenizer, s->tokenizer_dir, err));
    SP_GOTO(done, status, write_tensors(s, "model", PART_VALUE, PART_VALUE, err));
    SP_GOTO(done, status, write_tensors(s, "optimizer", PART_M, PART_V, err));
    sp_config_facts facts = {.tokenizer = s->tokenizer, .dtype = SP_DTYPE_F32};
    SP_GOTO(done, status, sp_hf_put_configs(s->dir, &s->parameters->hp, &facts, err));
    if (s->tokenizer_dir) SP_GOTO(done, status, sp_hf_copy_tokenizer(s->dir, s->tokenizer_dir, err));
    SP_GOTO(done, status, sp_checkpoint_seal(s->dir, s->state, err));
    status = sp_dir_sync(s->dir, err);
done:
    sp_tokenizer_close(s->tokenizer);
    return status;
}

sp_status sp_checkpoint_save(const char *run_dir, const sp_parameters *parameters,
                             const sp_optimizer *optimizer, const sp_train_state *state,
                             const char *tokenizer_dir, int n_keep, sp_error *err)
{
    char name[32], hidden[48];
    sp_checkpoint_name(name, state->step);
    snprintf(hidden, sizeof hidden, ".%s.tmp", name);
    char *path = sp_path_join(run_dir, name), *tmp = sp_path_join(run_dir, hidden);
    sp_status status = SP_OK;
    if (!path || !tmp) {
        status = sp_fail_nomem(err, "path", strlen(run_dir));
        goto done;
    }
    saving s = {tmp, parameters, optimizer, state, tokenizer_dir, NULL};
    status = fill_folder(&s, err);
    if (status == SP_OK) status = sp_dir_place(tmp, path, err);
    if (status != SP_OK) {
        sp_dir_remove(tmp, NULL);
        sp_fail_prefix(err, status, "checkpoint of step %lld", (long long)state->step);
        goto done;
    }
    SP_GOTO(done, status, sp_dir_remove(tmp, err)); /* a former checkpoint of this step */
    if (n_keep > 0) status = sp_checkpoint_prune(run_dir, state->step, n_keep, err);
done:
    sp_free(path);
    sp_free(tmp);
    return status;
}

/* --- reading -------------------------------------------------------------------------------------------- */

typedef struct loading {
    const char *file;
    sp_map map;
    sp_safetensors *st;
} loading;

static sp_status read_part(const loading *l, const sp_parameter *p, part which, float *out, sp_error *err)
{
    char name[128];
    part_name(name, p, which);
    const sp_safetensors_entry *e = sp_safetensors_find(l->st, name);
    if (!e) return sp_fail(err, SP_E_FORMAT, "%s: tensor \"%s\" is missing", l->file, name);
    if (!e->supported || e->dtype != SP_DTYPE_F32)
        return sp_fail(err, SP_E_FORMAT, "%s: tensor \"%s\": expected F32, found %s", l->file, name,
                       e->dtype_name);
    int n_dims = is_vector(p) ? 1 : 2;
    int64_t rows = is_vector(p) ? p->cols : p->rows;
    if (e->n_dims != n_dims || e->shape[0] != rows || (n_dims == 2 && e->shape[1] != p->cols))
        return sp_fail(err, SP_E_FORMAT,
                       "%s: tensor \"%s\": expected the shape [%lld, %lld], found [%lld, %lld]", l->file,
                       name, (long long)p->rows, (long long)p->cols,
                       (long long)(e->n_dims > 1 ? e->shape[0] : 1),
                       (long long)(e->n_dims > 0 ? e->shape[e->n_dims - 1] : 1));
    memcpy(out, l->map.data + e->begin, (size_t)sp_parameter_count(p) * sizeof(float));
    return SP_OK;
}

static sp_status read_file(const char *dir, const char *name, sp_parameters *ps, sp_optimizer *optimizer,
                           sp_error *err)
{
    loading l = {.file = name};
    char *path = sp_path_join(dir, name);
    if (!path) return sp_fail_nomem(err, "path", strlen(name));
    bool moments = optimizer != NULL;
    sp_status status;
    SP_GOTO(done, status, sp_map_open(&l.map, path, err));
    status = sp_safetensors_parse(&l.st, l.map.data, l.map.len, err);
    if (status != SP_OK) {
        sp_fail_prefix(err, status, "%s", name);
        goto done;
    }
    for (size_t i = 0; i < ps->n_items; i++) {
        const sp_parameter *p = &ps->items[i];
        if (!sp_parameter_is_local(p)) continue;
        if (!moments) SP_GOTO(done, status, read_part(&l, p, PART_VALUE, ps->values + p->begin, err));
        if (moments && has_part(optimizer, p, PART_M))
            SP_GOTO(done, status, read_part(&l, p, PART_M, optimizer->m + p->begin, err));
        if (moments && has_part(optimizer, p, PART_V))
            SP_GOTO(done, status, read_part(&l, p, PART_V, optimizer->v + p->begin, err));
    }
done:
    sp_safetensors_destroy(l.st);
    sp_map_close(&l.map);
    sp_free(path);
    return status;
}

sp_status sp_checkpoint_load(const char *path, sp_parameters *parameters, sp_optimizer *optimizer,
                             sp_train_state *state, sp_error *err)
{
    sp_status status;
    SP_GOTO(failed, status, sp_checkpoint_verify(path, state, err));
    SP_GOTO(failed, status, read_file(path, SP_CHECKPOINT_MODEL, parameters, NULL, err));
    if (optimizer)
        SP_GOTO(failed, status, read_file(path, SP_CHECKPOINT_OPTIMIZER, parameters, optimizer, err));
    return SP_OK;
failed:
    return sp_fail_prefix(err, status, "%s", path);
}
