/* SPDX-License-Identifier: MIT */
/* A model: archive, hyper-parameters, bound weights, vocabulary. Immutable after sp_model_open_with(), where to
 * start. */
#include "model/model_parts.h"

#include "base/file.h"
#include "base/hash.h"
#include "text/tokenizer.h"

#include <string.h>
#include <unistd.h>

struct sp_model {
    sp_archive *archive;
    sp_hparams hp;
    sp_weights weights;
    sp_net net;
    double *omega;           /* (rope_dim / 2), owned here, used by net.rope */
    sp_tokenizer *tokenizer; /* NULL if the files hold none */
    sp_chat_format format;
    char *name;
    void *experts_owner; /* of net.experts */
    void (*destroy_experts)(void *owner);
};

static sp_status prepare_net(sp_model *m, sp_error *err)
{
    int32_t half = sp_hparams_rope_dim(&m->hp) / 2;
    m->omega = sp_calloc((size_t)half + 1, sizeof *m->omega);
    if (!m->omega) return sp_fail_nomem(err, "rotation table", (uint64_t)half * sizeof *m->omega);
    return sp_net_bind(&m->net, &m->hp, &m->weights, m->omega, err);
}

static bool gguf_has_vocabulary(const sp_gguf *gguf)
{
    sp_gguf_string kind;
    if (!sp_gguf_str(gguf, "tokenizer.ggml.model", &kind)) return false;
    bool none = (kind.len == 4 && memcmp(kind.data, "none", 4) == 0) ||
                (kind.len == 8 && memcmp(kind.data, "no_vocab", 8) == 0);
    return !none;
}

static sp_status load_tokenizer(sp_model *m, const char *path, sp_error *err)
{
    const sp_gguf *gguf = sp_archive_gguf(m->archive);
    if (gguf) return gguf_has_vocabulary(gguf) ? sp_tokenizer_from_gguf(&m->tokenizer, gguf, err) : SP_OK;
    char *file = sp_path_join(path, "tokenizer.json");
    if (!file) return sp_fail_nomem(err, "path", strlen(path));
    bool present = sp_file_exists(file);
    sp_free(file);
    return present ? sp_tokenizer_open(&m->tokenizer, path, err) : SP_OK;
}

/* general.name, else the last part of the path. */
static sp_status load_name(sp_model *m, const char *path, sp_error *err)
{
    sp_gguf_string name;
    const sp_gguf *gguf = sp_archive_gguf(m->archive);
    if (gguf && sp_gguf_str(gguf, "general.name", &name) && name.len > 0 && name.len < 4096) {
        m->name = sp_strndup(name.data, (size_t)name.len);
    } else {
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/') n--;
        size_t begin = n;
        while (begin > 0 && path[begin - 1] != '/') begin--;
        m->name = sp_strndup(path + begin, n - begin);
    }
    return m->name ? SP_OK : sp_fail_nomem(err, "model name", 0);
}

/* Files and their copy would take more than two thirds of the memory (decision 19). */
static bool is_tight(const sp_archive *archive)
{
    double n_bytes = 0, memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < sp_archive_count(archive); i++)
        n_bytes += (double)sp_archive_at(archive, i)->n_bytes;
    return 3 * n_bytes > memory;
}

static sp_status copy_weights(sp_model *m, const sp_model_options *options, sp_error *err)
{
    sp_pool *pool;
    SP_TRY(sp_pool_create(&pool, options->n_threads, err));
    sp_status status = sp_archive_copy(m->archive, pool, is_tight(m->archive), err);
    sp_pool_destroy(pool);
    return status;
}

sp_status sp_model_open(sp_model **model, const char *path, sp_error *err)
{
    return sp_model_open_with(model, path, NULL, err);
}

sp_status sp_model_open_with(sp_model **model, const char *path, const sp_model_options *options,
                             sp_error *err)
{
    static const sp_model_options defaults = SP_MODEL_OPTIONS_DEFAULTS;
    *model = NULL;
    if (!options) options = &defaults;
    if (options->load != SP_LOAD_MAP && options->load != SP_LOAD_COPY)
        return sp_fail(err, SP_E_ARGUMENT, "model: load: %d is not known", (int)options->load);
    sp_model *m = sp_calloc(1, sizeof *m);
    if (!m) return sp_fail_nomem(err, "model", sizeof *m);
    sp_status status;
    SP_GOTO(done, status, sp_archive_open(&m->archive, path, err));
    if (sp_archive_count(m->archive) == 0) {
        status = sp_fail(err, SP_E_UNSUPPORTED,
                         "model: \"%s\" holds no weights; such files serve tokenize and inspect", path);
        goto done;
    }
    SP_GOTO(done, status, sp_hparams_from_archive(&m->hp, m->archive, err));
    if (options->load == SP_LOAD_COPY) SP_GOTO(done, status, copy_weights(m, options, err));
    SP_GOTO(done, status, sp_weights_bind(&m->weights, &m->hp, m->archive, err));
    SP_GOTO(done, status, prepare_net(m, err));
    SP_GOTO(done, status, load_name(m, path, err));
    SP_GOTO(done, status, load_tokenizer(m, path, err));
    m->format = m->tokenizer ? sp_chat_format_detect(m->tokenizer) : SP_CHAT_NONE;
    if (options->load == SP_LOAD_MAP) sp_archive_want_huge(m->archive);
    *model = m;
done:
    if (status != SP_OK) sp_model_close(m);
    return status;
}

void sp_model_close(sp_model *model)
{
    if (!model) return;
    if (model->destroy_experts) model->destroy_experts(model->experts_owner);
    sp_tokenizer_close(model->tokenizer);
    sp_weights_clear(&model->weights);
    sp_archive_close(model->archive);
    sp_free(model->omega);
    sp_free(model->name);
    sp_free(model);
}

void sp_model_get_info(const sp_model *model, sp_model_info *info)
{
    const sp_hparams *hp = &model->hp;
    *info = (sp_model_info){
        .architecture = sp_arch_get(hp->arch)->name,
        .name = model->name,
        .n_params = model->weights.n_params,
        .n_bytes = model->weights.n_bytes,
        .n_layers = hp->num_hidden_layers,
        .hidden_size = hp->hidden_size,
        .vocab_size = hp->vocab_size,
        .n_ctx_train = hp->max_position_embeddings,
        .n_mtp_layers = model->weights.n_mtp,
        .cache_elements = sp_cache_row_elements(hp) * hp->num_hidden_layers,
    };
}

const sp_tokenizer *sp_model_tokenizer(const sp_model *model)
{
    return model->tokenizer;
}

sp_chat_format sp_model_chat_format(const sp_model *model)
{
    return model->format;
}

void sp_model_recommended(const sp_model *model, float *temperature, float *top_p)
{
    sp_sampling_hint hint = sp_archive_sampling(model->archive);
    *temperature = (float)hint.temperature;
    *top_p = (float)hint.top_p;
}

const sp_net *sp_model_net(const sp_model *model)
{
    return &model->net;
}

const sp_archive *sp_model_archive(const sp_model *model)
{
    return model->archive;
}

void sp_model_attach_experts(sp_model *model, const sp_expert_source *source, void *owner,
                             void (*destroy)(void *owner))
{
    model->net.experts = source;
    model->experts_owner = owner;
    model->destroy_experts = destroy;
}

void *sp_model_experts_owner(const sp_model *model)
{
    return model->experts_owner;
}

void sp_model_move_tensor(sp_model *model, size_t entry, void *data)
{
    sp_archive_move(model->archive, entry, data);
}

uint64_t sp_model_fingerprint(const sp_model *model)
{
    const sp_hparams *hp = &model->hp;
    int64_t facts[] = {hp->arch,       hp->hidden_size,         hp->num_hidden_layers,
                       hp->vocab_size, model->weights.n_params, model->weights.n_bytes};
    uint64_t h = sp_hash(SP_HASH_SEED, facts, sizeof facts);
    for (size_t i = 0; i < sp_archive_count(model->archive); i++) {
        const sp_entry *e = sp_archive_at(model->archive, i);
        size_t sample = e->n_bytes < 256 ? (size_t)e->n_bytes : 256;
        h = sp_hash(h, e->name, strlen(e->name));
        h = sp_hash(h, &e->n_bytes, sizeof e->n_bytes);
        if (sample == 0 || !e->tensor.data) continue;
        h = sp_hash(h, e->tensor.data, sample);
        h = sp_hash(h, (const char *)e->tensor.data + (e->n_bytes - sample), sample);
    }
    return h;
}
