/* SPDX-License-Identifier: MIT */
/* Writing and reading checkpoints: the model as a Hugging Face folder, the optimizer's moments beside it. Prediction layers stand
 * behind the model's as in published V3 files, without their copies of embedding and head: transformers reads none of them, and
 * model/weights.c takes the model's own where they are absent. Start at sp_checkpoint_write(). */
#include "train/checkpoint_parts.h"

#include <sputnik/tokenizer.h>

#include <stdio.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "format/safetensors.h"
#include "format/safetensors_write.h"
#include "model/hf_dir.h"
#include "train/muon.h"

/* Moments that the optimizer leaves at zero are not written. */
bool sp_checkpoint_has(const sp_optimizer *optimizer, const sp_parameter *p, sp_checkpoint_part part)
{
    if (part == SP_CHECKPOINT_VALUE) return true;
    if (p->kind == SP_PARAMETER_BALANCE) return false;
    return part == SP_CHECKPOINT_M || optimizer->options.kind != SP_OPTIMIZER_MUON || !sp_muon_takes(p);
}

int64_t sp_checkpoint_largest(const sp_parameters *parameters)
{
    int64_t most = 1;
    for (size_t i = 0; i < parameters->n_items; i++) {
        int64_t n = sp_parameter_count(&parameters->items[i]);
        if (n > most) most = n;
    }
    return most;
}

typedef sp_checkpoint_part part;

static void part_name(char name[128], const sp_parameter *p, part which)
{
    static const char *const prefixes[] = {"", "m.", "v."};
    snprintf(name, 128, "%s%s", prefixes[which], p->name);
}

/* --- writing -------------------------------------------------------------------------------------------- */

typedef struct saving {
    const char *dir; /* under its temporary name */
    const sp_checkpoint_source *source;
    const sp_train_state *state;
    const char *tokenizer_dir;
    sp_tokenizer *tokenizer;
} saving;

/* Parts [first, last] of every parameter into one file. */
static sp_status write_parts(const saving *s, sp_safetensors_writer *writer, part first, part last,
                             sp_error *err)
{
    const sp_parameters *ps = s->source->parameters;
    const sp_optimizer *optimizer = s->source->optimizer;
    char name[128];
    for (part which = first; which <= last; which++) {
        for (size_t i = 0; i < ps->n_items; i++) {
            const sp_parameter *p = &ps->items[i];
            if (!sp_checkpoint_has(optimizer, p, which)) continue;
            int64_t shape[2] = {sp_parameter_is_vector(p) ? p->cols : p->rows, p->cols};
            part_name(name, p, which);
            SP_TRY(sp_safetensors_declare(writer, name, SP_DTYPE_F32, sp_parameter_is_vector(p) ? 1 : 2,
                                          shape, err));
        }
    }
    for (part which = first; which <= last; which++) {
        for (size_t i = 0; i < ps->n_items; i++) {
            const sp_parameter *p = &ps->items[i];
            const float *data = NULL;
            if (!sp_checkpoint_has(optimizer, p, which)) continue;
            SP_TRY(s->source->fetch(s->source->ctx, which, i, &data, err));
            SP_TRY(
                sp_safetensors_write_data(writer, data, (size_t)sp_parameter_count(p) * sizeof(float), err));
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
    SP_GOTO(done, status, write_tensors(s, "model", SP_CHECKPOINT_VALUE, SP_CHECKPOINT_VALUE, err));
    SP_GOTO(done, status, write_tensors(s, "optimizer", SP_CHECKPOINT_M, SP_CHECKPOINT_V, err));
    sp_config_facts facts = {.tokenizer = s->tokenizer, .dtype = SP_DTYPE_F32};
    SP_GOTO(done, status, sp_hf_put_configs(s->dir, &s->source->parameters->hp, &facts, err));
    if (s->tokenizer_dir) SP_GOTO(done, status, sp_hf_copy_tokenizer(s->dir, s->tokenizer_dir, err));
    SP_GOTO(done, status, sp_checkpoint_seal(s->dir, s->state, err));
    status = sp_dir_sync(s->dir, err);
done:
    sp_tokenizer_close(s->tokenizer);
    return status;
}

sp_status sp_checkpoint_write(const char *run_dir, const sp_checkpoint_source *source,
                              const sp_train_state *state, const char *tokenizer_dir, int n_keep,
                              sp_error *err)
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
    saving s = {tmp, source, state, tokenizer_dir, NULL};
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
    const char *name;
    sp_map map;
    sp_safetensors *st;
} loading;

/* Where a part's floats are, once name, type and shape have been checked. */
static sp_status find_part(const loading *l, const sp_parameter *p, part which, const void **data,
                           sp_error *err)
{
    char name[128];
    part_name(name, p, which);
    const sp_safetensors_entry *e = sp_safetensors_find(l->st, name);
    if (!e) return sp_fail(err, SP_E_FORMAT, "%s: tensor \"%s\" is missing", l->name, name);
    if (!e->supported || e->dtype != SP_DTYPE_F32)
        return sp_fail(err, SP_E_FORMAT, "%s: tensor \"%s\": expected F32, found %s", l->name, name,
                       e->dtype_name);
    int n_dims = sp_parameter_is_vector(p) ? 1 : 2;
    int64_t rows = sp_parameter_is_vector(p) ? p->cols : p->rows;
    if (e->n_dims != n_dims || e->shape[0] != rows || (n_dims == 2 && e->shape[1] != p->cols))
        return sp_fail(err, SP_E_FORMAT,
                       "%s: tensor \"%s\": expected the shape [%lld, %lld], found [%lld, %lld]", l->name,
                       name, (long long)p->rows, (long long)p->cols,
                       (long long)(e->n_dims > 1 ? e->shape[0] : 1),
                       (long long)(e->n_dims > 0 ? e->shape[e->n_dims - 1] : 1));
    *data = l->map.data + e->begin;
    return SP_OK;
}

static sp_status open_file(loading *l, const char *dir, const char *name, sp_error *err)
{
    l->name = name;
    char *path = sp_path_join(dir, name);
    if (!path) return sp_fail_nomem(err, "path", strlen(name));
    sp_status status = sp_map_open(&l->map, path, err);
    sp_free(path);
    SP_TRY(status);
    status = sp_safetensors_parse(&l->st, l->map.data, l->map.len, err);
    return status == SP_OK ? SP_OK : sp_fail_prefix(err, status, "%s", name);
}

static void close_file(loading *l)
{
    sp_safetensors_destroy(l->st);
    sp_map_close(&l->map);
}

/* Every part in the order of files: checked, or delivered too. */
static sp_status read_parts(const loading files[2], const sp_checkpoint_sink *to, bool deliver, sp_error *err)
{
    part last = to->optimizer ? SP_CHECKPOINT_V : SP_CHECKPOINT_VALUE;
    for (part which = SP_CHECKPOINT_VALUE; which <= last; which++) {
        for (size_t i = 0; i < to->parameters->n_items; i++) {
            const sp_parameter *p = &to->parameters->items[i];
            const void *data = NULL;
            if (!sp_checkpoint_has(to->optimizer, p, which)) continue;
            SP_TRY(find_part(&files[which != SP_CHECKPOINT_VALUE], p, which, &data, err));
            if (deliver) SP_TRY(to->deliver(to->ctx, which, i, data, err));
        }
    }
    return SP_OK;
}

sp_status sp_checkpoint_read(const char *path, const sp_checkpoint_sink *sink, sp_train_state *state,
                             sp_error *err)
{
    loading files[2];
    memset(files, 0, sizeof files);
    sp_status status;
    SP_GOTO(done, status,
            sink->verified ? sp_checkpoint_read_state(path, state, err)
                           : sp_checkpoint_verify(path, state, err));
    SP_GOTO(done, status, open_file(&files[0], path, SP_CHECKPOINT_MODEL, err));
    if (sink->optimizer) SP_GOTO(done, status, open_file(&files[1], path, SP_CHECKPOINT_OPTIMIZER, err));
    SP_GOTO(done, status, read_parts(files, sink, false, err));
    status = read_parts(files, sink, true, err);
done:
    close_file(&files[0]);
    close_file(&files[1]);
    return status == SP_OK ? SP_OK : sp_fail_prefix(err, status, "%s", path);
}

/* --- one process holds everything ------------------------------------------------------------------------ */

typedef struct local {
    sp_parameters *parameters;
    sp_optimizer *optimizer;
    float *scratch; /* of the largest parameter; saving alone */
} local;

static sp_status fetch_here(void *ctx, part which, size_t item, const float **data, sp_error *err)
{
    local *l = ctx;
    const sp_parameter *p = &l->parameters->items[item];
    if (!sp_parameter_is_local(p))
        return sp_fail(err, SP_E_ARGUMENT, "checkpoint: %s is not in this process", p->name);
    *data = l->scratch;
    if (which == SP_CHECKPOINT_VALUE)
        *data = l->parameters->values + p->begin;
    else
        sp_optimizer_get_moments(l->optimizer, which == SP_CHECKPOINT_V, p->begin, sp_parameter_count(p),
                                 l->scratch);
    return SP_OK;
}

static sp_status deliver_here(void *ctx, part which, size_t item, const void *data, sp_error *err)
{
    const local *l = ctx;
    const sp_parameter *p = &l->parameters->items[item];
    int64_t n = sp_parameter_count(p);
    if (!sp_parameter_is_local(p)) return SP_OK;
    if (which == SP_CHECKPOINT_VALUE) {
        memcpy(l->parameters->values + p->begin, data, (size_t)n * sizeof(float));
        return SP_OK;
    }
    float *aligned = sp_malloc_array((size_t)n, sizeof *aligned);
    if (!aligned) return sp_fail_nomem(err, "moments of the optimizer", (uint64_t)n * sizeof *aligned);
    memcpy(aligned, data, (size_t)n * sizeof *aligned);
    sp_optimizer_set_moments(l->optimizer, which == SP_CHECKPOINT_V, p->begin, n, aligned);
    sp_free(aligned);
    return SP_OK;
}

sp_status sp_checkpoint_save(const char *run_dir, const sp_parameters *parameters,
                             const sp_optimizer *optimizer, const sp_train_state *state,
                             const char *tokenizer_dir, int n_keep, sp_error *err)
{
    size_t most = (size_t)sp_checkpoint_largest(parameters);
    local l = {(sp_parameters *)(uintptr_t)parameters, (sp_optimizer *)(uintptr_t)optimizer, /* only read */
               sp_malloc_array(most, sizeof(float))};
    if (!l.scratch) return sp_fail_nomem(err, "moments of the optimizer", most * sizeof(float));
    sp_checkpoint_source source = {parameters, optimizer, fetch_here, &l};
    sp_status status = sp_checkpoint_write(run_dir, &source, state, tokenizer_dir, n_keep, err);
    sp_free(l.scratch);
    return status;
}

sp_status sp_checkpoint_load(const char *path, sp_parameters *parameters, sp_optimizer *optimizer,
                             sp_train_state *state, sp_error *err)
{
    local l = {parameters, optimizer, NULL};
    sp_checkpoint_sink sink = {parameters, optimizer, deliver_here, &l, false};
    return sp_checkpoint_read(path, &sink, state, err);
}
