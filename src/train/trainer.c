/* SPDX-License-Identifier: MIT */
/* The training loop. A step: fetch its rows, run passes that add up gradients, join the processes' shares, check, clip, update,
 * move the experts' biases. Start at sp_trainer_run(); the parts of a step stand above it in their order. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/dir.h"
#include "text/tokenizer.h"
#include "train/parallel.h"
#include "train/pass.h"

struct sp_trainer {
    const sp_train_config *config;
    sp_comm *comm;
    sp_train_events events;
    sp_pool *pool;
    sp_arena *arena;
    sp_ops ops;
    sp_loader *loader, *validation;
    sp_loader_options shape;
    sp_parameters *parameters;
    sp_optimizer *optimizer;
    sp_parallel *parallel;
    float *grads;    /* (n_floats) */
    int64_t *counts; /* (layers, E) choices of this step */
    float *loads;    /* (layers, E) */
    sp_train_state state;
    sp_metrics *metrics; /* rank 0 */
    int hold;            /* rank 0's of the run's folder, -1: none */
    double peak;         /* floating-point operations per second */
    double token_flops, pair_flops;
};

static bool is_first_rank(const sp_trainer *t)
{
    return sp_comm_rank(t->comm) == 0;
}

static void notice(const sp_trainer *t, const char *text)
{
    if (t->events.on_notice && is_first_rank(t)) t->events.on_notice(t->events.ctx, text);
}

static void notice_path(const sp_trainer *t, const char *what, const char *path)
{
    char text[4200];
    snprintf(text, sizeof text, "%s %s", what, path);
    notice(t, text);
}

/* --- one step ---------------------------------------------------------------------------------------------------------- */

/* The passes of this process in a step. */
typedef struct step_rows {
    sp_passage *passages;
    size_t n;
    double n_targets, n_seconds, n_sequences; /* of all processes */
    double n_pairs;                           /* of this one */
    size_t n_meet;                            /* passes that every process must run */
} step_rows;

static void clear_rows(step_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) sp_passage_clear(&rows->passages[i]);
    sp_free(rows->passages);
    memset(rows, 0, sizeof *rows);
}

/* Rows [first, first + n) of a loader, this process's share of them in micro-batches. */
static sp_status load_rows(sp_trainer *t, const sp_loader *loader, uint64_t first, int64_t n, step_rows *rows,
                           sp_error *err)
{
    memset(rows, 0, sizeof *rows);
    int64_t size = sp_comm_size(t->comm), rank = sp_comm_rank(t->comm), micro = t->config->micro_rows;
    int64_t begin = n * rank / size, end = n * (rank + 1) / size;
    size_t n_passes = (size_t)((end - begin + micro - 1) / micro);
    rows->passages = sp_calloc(n_passes + 1, sizeof *rows->passages);
    if (!rows->passages) return sp_fail_nomem(err, "rows of a step", n_passes * sizeof *rows->passages);
    rows->n_meet = (size_t)sp_parallel_passes(t->parallel, n, micro);
    double totals[3] = {0, 0, 0};
    for (; begin < end; begin += micro) {
        uint32_t count = (uint32_t)(end - begin < micro ? end - begin : micro);
        sp_passage *p = &rows->passages[rows->n];
        SP_TRY(sp_passage_load(p, loader, &t->shape, first + (uint64_t)begin, count,
                               t->config->document_attention, err));
        rows->n++;
        totals[0] += (double)p->n_targets;
        totals[1] += (double)p->n_seconds;
        totals[2] += p->n_sequences;
        rows->n_pairs += p->n_pairs;
    }
    SP_TRY(sp_comm_sum(t->comm, totals, 3, err));
    rows->n_targets = totals[0];
    rows->n_seconds = totals[1];
    rows->n_sequences = totals[2];
    return SP_OK;
}

static double over(double a, double b)
{
    return b > 0 ? a / b : 0.0;
}

/* A pass without rows of its own: other processes' rows meet the experts that are here. It teaches nothing. */
static sp_status run_idle(sp_trainer *t, const sp_pass_options *options, bool learn, sp_error *err)
{
    sp_passage passage;
    sp_pass_sums sums = {0};
    sp_pass_options idle = *options;
    idle.loss_scale = idle.mtp_scale = idle.balance_factor = 0.0;
    SP_TRY(sp_passage_idle(&passage, err));
    sp_status status =
        sp_pass_run(&t->ops, t->parameters, &passage, &idle, learn ? t->grads : NULL, NULL, &sums, err);
    sp_passage_clear(&passage);
    return status;
}

static sp_status run_passes(sp_trainer *t, const step_rows *rows, bool learn, sp_pass_sums *sums,
                            sp_error *err)
{
    const sp_train_config *c = t->config;
    sp_pass_options options = {
        .loss_scale = over(1.0, rows->n_targets),
        .mtp_scale = over(sp_schedule_mtp_weight(&c->schedule, t->state.step), rows->n_seconds),
        .balance_factor = over(c->balance_factor, rows->n_sequences),
        .recompute = c->recompute,
        .bf16_activations = c->bf16_activations,
        .fp8 = c->fp8,
    };
    for (size_t i = 0; i < rows->n || i < rows->n_meet; i++) {
        if (i < rows->n && rows->passages[i].n_tokens > 0)
            SP_TRY(sp_pass_run(&t->ops, t->parameters, &rows->passages[i], &options, learn ? t->grads : NULL,
                               learn ? t->counts : NULL, sums, err));
        else if (i < rows->n_meet)
            SP_TRY(run_idle(t, &options, learn, err));
    }
    /* sums is a struct of doubles */
    return sp_comm_sum(t->comm, (double *)sums, sizeof *sums / sizeof(double), err);
}

/* Nats: late in a run losses are small, and one hard batch among easy ones is no divergence. */
#define LEAST_DEVIATION 0.02

/* A loss that is no number or has jumped. The running statistics follow the last hundred steps or so. */
static sp_status check_loss(sp_trainer *t, double loss, double grad_norm, sp_error *err)
{
    sp_train_state *s = &t->state;
    double deviation = sqrt(fmax(s->loss_square - s->loss_mean * s->loss_mean, 0.0));
    double limit = s->loss_mean + t->config->spike_factor * fmax(deviation, LEAST_DEVIATION);
    if (!isfinite(loss) || !isfinite(grad_norm))
        return sp_fail(err, SP_E_RANGE, "step %lld: the loss (%g) or the gradient's norm (%g) is no number",
                       (long long)s->step, loss, grad_norm);
    if (t->config->spike_factor > 0 && s->step > 100 && loss > limit)
        return sp_fail(err, SP_E_RANGE,
                       "step %lld: the loss jumped to %.4f from a mean of %.4f (deviation %.4f)",
                       (long long)s->step, loss, s->loss_mean, deviation);
    double share = s->step < 100 ? 1.0 / (double)(s->step + 1) : 0.01;
    s->loss_mean += share * (loss - s->loss_mean);
    s->loss_square += share * (loss * loss - s->loss_square);
    return SP_OK;
}

/* Auxiliary-loss-free balancing (DeepSeek-V3 report, 2.1.2): an overloaded expert's bias falls, an underloaded one's rises. */
static sp_status balance_experts(sp_trainer *t, double *max_load, sp_error *err)
{
    const sp_hparams *hp = &t->parameters->hp;
    int64_t n_experts = hp->n_routed_experts, n = sp_hparams_all_layers(hp) * n_experts;
    double rate = sp_schedule_bias_rate(&t->config->schedule, t->state.step);
    *max_load = 0.0;
    if (n_experts == 0) return SP_OK;
    SP_TRY(sp_parallel_sum_counts(t->parallel, t->counts, n, err));
    for (int32_t layer = 0; layer < sp_hparams_all_layers(hp); layer++) {
        const int64_t *counts = t->counts + layer * n_experts;
        double total = 0.0;
        for (int64_t e = 0; e < n_experts; e++) total += (double)counts[e];
        double mean = total / (double)n_experts;
        for (int64_t e = 0; e < n_experts; e++) {
            double load = over((double)counts[e], mean);
            t->loads[layer * n_experts + e] = (float)load;
            *max_load = fmax(*max_load, load);
        }
        const sp_layer *w = sp_weights_layer(&t->parameters->weights, hp, layer);
        float *bias = w->router_bias ? w->router_bias->data : NULL;
        for (int64_t e = 0; bias && e < n_experts; e++)
            bias[e] += (float)(rate * (((double)counts[e] < mean) - ((double)counts[e] > mean)));
    }
    return SP_OK;
}

static sp_status update(sp_trainer *t, double *grad_norm, double loss, sp_error *err)
{
    const sp_train_config *c = t->config;
    double square;
    SP_TRY(sp_parallel_reduce(t->parallel, t->grads, &square, err));
    *grad_norm = sqrt(square);
    SP_TRY(check_loss(t, loss, *grad_norm, err));
    bool clipped = c->clip > 0 && *grad_norm > c->clip;
    sp_update u = {.step = t->state.step + 1,
                   .lr = sp_schedule_lr(&c->schedule, t->state.step),
                   .grad_scale = clipped ? c->clip / *grad_norm : 1.0};
    sp_arena_reset(t->arena);
    sp_ops_init(&t->ops, t->pool, t->arena);
    return sp_parallel_update(t->parallel, t->grads, u, &t->ops, err);
}

static void describe_step(const sp_trainer *t, const sp_pass_sums *sums, sp_step_metrics *m)
{
    const sp_hparams *hp = &t->parameters->hp;
    m->loss = over(sums->loss, sums->n_targets);
    m->mtp_loss = over(sums->mtp_loss, sums->n_seconds);
    m->balance_loss = t->config->balance_factor * over(sums->balance, sums->n_sequences);
    m->n_layers = sp_hparams_all_layers(hp);
    m->n_experts = hp->n_routed_experts;
    m->loads = t->loads;
    m->validation_loss = m->validation_mtp_accuracy = -1.0;
}

sp_status sp_trainer_step(sp_trainer *t, sp_step_metrics *m, sp_error *err)
{
    const sp_schedule *schedule = &t->config->schedule;
    const sp_hparams *hp = &t->parameters->hp;
    double start = sp_seconds();
    step_rows rows;
    sp_pass_sums sums = {0};
    memset(m, 0, sizeof *m);
    memset(t->grads, 0, (size_t)t->parameters->n_floats * sizeof *t->grads);
    memset(t->counts, 0, (size_t)(sp_hparams_all_layers(hp) * hp->n_routed_experts) * sizeof *t->counts);
    m->rows = (double)sp_schedule_rows(schedule, t->state.step);
    m->lr = sp_schedule_lr(schedule, t->state.step);
    sp_status status;
    SP_GOTO(done, status,
            load_rows(t, t->loader, (uint64_t)sp_schedule_first_row(schedule, t->state.step),
                      (int64_t)m->rows, &rows, err));
    SP_GOTO(done, status, run_passes(t, &rows, true, &sums, err));
    describe_step(t, &sums, m);
    SP_GOTO(done, status, update(t, &m->grad_norm, m->loss, err));
    SP_GOTO(done, status, balance_experts(t, &m->max_load, err));
    double seconds = sp_seconds() - start;
    t->state.step++;
    t->state.tokens += (int64_t)sums.n_tokens;
    t->state.seconds += seconds;
    m->step = t->state.step;
    m->tokens = t->state.tokens;
    m->seconds = t->state.seconds;
    m->tokens_per_s = sums.n_tokens / seconds;
    double flops = t->token_flops * sums.n_tokens / sp_comm_size(t->comm) + t->pair_flops * rows.n_pairs;
    m->peak_share = over(flops / seconds, t->peak);
done:
    clear_rows(&rows);
    return status;
}

sp_status sp_trainer_validate(sp_trainer *t, sp_step_metrics *m, sp_error *err)
{
    step_rows rows;
    sp_pass_sums sums = {0};
    if (!t->validation) return SP_OK;
    sp_status status;
    SP_GOTO(done, status, load_rows(t, t->validation, 0, t->config->validate_rows, &rows, err));
    SP_GOTO(done, status, run_passes(t, &rows, false, &sums, err));
    m->validation_loss = over(sums.loss, sums.n_targets);
    m->validation_mtp_accuracy = sums.n_seconds > 0 ? sums.mtp_hits / sums.n_seconds : -1.0;
done:
    clear_rows(&rows);
    return status;
}

/* --- the run ----------------------------------------------------------------------------------------------------------- */

static sp_status save(sp_trainer *t, sp_error *err)
{
    t->state.n_ranks = sp_comm_size(t->comm);
    return sp_parallel_save(t->parallel, &t->state, err);
}

static sp_status write_report(const sp_trainer *t, sp_error *err)
{
    if (!is_first_rank(t)) return SP_OK;
    char *html = sp_path_join(t->config->out, "report.html"),
         *lines = sp_path_join(t->config->out, "metrics.jsonl");
    sp_status status = html && lines ? sp_report_write(html, lines, t->config->out, t->config->text, err)
                                     : sp_fail_nomem(err, "report", 0);
    sp_free(html);
    sp_free(lines);
    return status;
}

static bool is_due(int64_t step, int64_t every, int64_t steps)
{
    return step == steps || (every > 0 && step % every == 0);
}

/* What happens between two steps. */
static sp_status after_step(sp_trainer *t, sp_step_metrics *m, bool stop, sp_error *err)
{
    const sp_train_config *c = t->config;
    int64_t steps = c->stop_at;
    if (is_due(m->step, c->validate_every, steps)) SP_TRY(sp_trainer_validate(t, m, err));
    if (t->metrics) SP_TRY(sp_metrics_put(t->metrics, m, err));
    if (t->events.on_step && is_first_rank(t) && is_due(m->step, c->log_every, steps))
        t->events.on_step(t->events.ctx, m);
    if (!stop && !is_due(m->step, c->checkpoint_every, steps)) return SP_OK;
    SP_TRY(save(t, err));
    SP_TRY(write_report(t, err));
    if (stop || m->step == steps) notice_path(t, "checkpoints and report.html are in", c->out);
    return SP_OK;
}

/* Any process may have been told to stop. */
static sp_status ask_to_stop(sp_trainer *t, bool *stop, sp_error *err)
{
    double votes = t->events.should_stop && t->events.should_stop(t->events.ctx);
    SP_TRY(sp_comm_sum(t->comm, &votes, 1, err));
    *stop = votes > 0;
    return SP_OK;
}

/* Say where a run that went wrong can be taken up again. */
static sp_status name_checkpoint(const sp_trainer *t, sp_status status, sp_error *err)
{
    char *path = NULL;
    if (!err || sp_checkpoint_newest(&path, t->config->out, NULL, NULL) != SP_OK || !path) return status;
    sp_error reason = *err;
    sp_fail(err, status, "%s; the last good checkpoint is %s", reason.text, path);
    sp_free(path);
    return status;
}

sp_status sp_trainer_run(sp_trainer *t, sp_error *err)
{
    bool stop = false;
    if (t->state.step >= t->config->stop_at)
        notice(t, "the run is complete; a larger schedule.steps goes on");
    while (t->state.step < t->config->stop_at && !stop) {
        sp_step_metrics m;
        sp_status status = sp_trainer_step(t, &m, err);
        if (status == SP_E_RANGE) return name_checkpoint(t, status, err);
        if (status != SP_OK) return status;
        SP_TRY(ask_to_stop(t, &stop, err));
        SP_TRY(after_step(t, &m, stop, err));
    }
    char text[256];
    sp_parallel_describe(t->parallel, text, sizeof text);
    if (text[0]) notice(t, text);
    return SP_OK;
}

/* --- setting up -------------------------------------------------------------------------------------------------------- */

#define PEAK_SIZE 768

/* The machine's ceiling for this run: its own matrix product on this run's threads, best of some. The first rank's is told. */
static sp_status measure_peak(sp_trainer *t, sp_error *err)
{
    size_t n = (size_t)PEAK_SIZE * PEAK_SIZE;
    if (!is_first_rank(t)) return SP_OK;
    sp_arena_reset(t->arena);
    sp_ops_init(&t->ops, t->pool, t->arena);
    float *x = sp_arena_alloc(t->arena, 3 * n * sizeof *x);
    if (!x) return sp_fail_nomem(err, "peak measurement", 3 * n * sizeof *x);
    for (size_t i = 0; i < 3 * n; i++) x[i] = (float)(i % 7) * 0.01f;
    t->peak = sp_pass_measure_peak(&t->ops, PEAK_SIZE, x);
    return SP_OK;
}

/* An id of the data that the model has not would be read past the end of its embedding. */
static sp_status check_vocabulary(const sp_loader *loader, const sp_source *sources, size_t n, int32_t n_ids,
                                  sp_error *err)
{
    for (size_t i = 0; i < n; i++)
        if ((int64_t)sp_loader_shard(loader, i)->vocab_size > n_ids)
            return sp_fail(err, SP_E_ARGUMENT, "%s: its vocabulary has %u ids, the model only %d",
                           sources[i].path, sp_loader_shard(loader, i)->vocab_size, n_ids);
    return SP_OK;
}

/* Ids mean what the tokenizer says that goes into checkpoints. One that a config.json beside it has padded cannot be compared. */
static sp_status check_tokenizer(const sp_train_config *c, const sp_shard *shard, sp_error *err)
{
    sp_tokenizer *tokenizer;
    uint8_t hash[32];
    if (!c->tokenizer) return SP_OK;
    SP_TRY(sp_tokenizer_open(&tokenizer, c->tokenizer, err));
    sp_vocab_hash(hash, tokenizer);
    bool same_size = (int64_t)sp_tokenizer_size(tokenizer) == (int64_t)shard->vocab_size;
    sp_tokenizer_close(tokenizer);
    if (!same_size || memcmp(hash, shard->vocab_hash, sizeof hash) == 0) return SP_OK;
    return sp_fail(err, SP_E_ARGUMENT,
                   "%s was packed with another vocabulary than data.tokenizer's, %s; pack it again",
                   c->train[0].path, c->tokenizer);
}

static sp_status open_data(sp_trainer *t, sp_error *err)
{
    const sp_train_config *c = t->config;
    t->shape = (sp_loader_options){.n_tokens = (uint32_t)c->sequence,
                                   .n_rows = (uint32_t)c->schedule.rows,
                                   .seed = c->seed,
                                   .cut = c->cut,
                                   .pad = 0};
    SP_TRY(sp_loader_open(&t->loader, c->train, c->n_train, &t->shape, err));
    SP_TRY(check_vocabulary(t->loader, c->train, c->n_train, c->hp.vocab_size, err));
    SP_TRY(check_tokenizer(c, sp_loader_shard(t->loader, 0), err));
    if (c->n_validation == 0) return SP_OK;
    SP_TRY(sp_loader_open(&t->validation, c->validation, c->n_validation, &t->shape, err));
    SP_TRY(check_vocabulary(t->validation, c->validation, c->n_validation, c->hp.vocab_size, err));
    if (memcmp(sp_loader_shard(t->loader, 0)->vocab_hash, sp_loader_shard(t->validation, 0)->vocab_hash,
               sizeof sp_loader_shard(t->loader, 0)->vocab_hash) == 0)
        return SP_OK;
    return sp_fail(err, SP_E_ARGUMENT, "%s and %s were packed with different vocabularies", c->train[0].path,
                   c->validation[0].path);
}

static sp_status allocate(sp_trainer *t, sp_error *err)
{
    const sp_train_config *c = t->config;
    const sp_hparams *hp = &c->hp;
    size_t n_loads = (size_t)(sp_hparams_all_layers(hp) * hp->n_routed_experts);
    t->arena = sp_arena_create((size_t)16 << 20);
    if (!t->arena) return sp_fail_nomem(err, "trainer", (size_t)16 << 20);
    SP_TRY(sp_pool_create(&t->pool, sp_parallel_threads(t->comm, c), err));
    sp_ops_init(&t->ops, t->pool, t->arena);
    SP_TRY(sp_parameters_create(&t->parameters, hp, sp_parallel_experts(t->comm, c), err));
    SP_TRY(sp_optimizer_create(&t->optimizer, t->parameters, &c->optimizer, err));
    SP_TRY(sp_parallel_create(&t->parallel, t->comm, c, t->parameters, t->optimizer, t->pool, err));
    size_t n_bytes = (size_t)t->parameters->n_floats * sizeof *t->grads;
    t->grads = sp_aligned_alloc(64, n_bytes);
    t->counts = sp_calloc(n_loads + 1, sizeof *t->counts);
    t->loads = sp_calloc(n_loads + 1, sizeof *t->loads);
    if (!t->grads || !t->counts || !t->loads) return sp_fail_nomem(err, "gradients", n_bytes);
    sp_pass_flops(hp, &t->token_flops, &t->pair_flops);
    return measure_peak(t, err);
}

/* The first rank's part: *path is NULL where there is nothing to go on from. */
static sp_status find_newest(sp_trainer *t, sp_start start, char **path, sp_error *err)
{
    const char *out = t->config->out;
    sp_buf skipped = {NULL, 0, 0};
    sp_status status = SP_OK;
    bool look = start & SP_START_LOOK;
    start &= ~SP_START_LOOK;
    if (look && start == SP_START_RESTART) return SP_OK; /* the run would find nothing */
    if (!look)
        status =
            start == SP_START_RESTART ? sp_checkpoint_remove_all(out, err) : sp_checkpoint_clean(out, err);
    if (status == SP_OK) status = sp_checkpoint_newest(path, out, &skipped, err);
    if (status == SP_OK && skipped.len) notice(t, skipped.data);
    if (status == SP_OK && (*path || skipped.len) && start == SP_START_NEW)
        status =
            sp_fail(err, SP_E_ARGUMENT,
                    "%s holds checkpoints; --resume goes on from the newest, --restart begins anew", out);
    else if (status == SP_OK && !*path &&
             skipped.len) /* a kill leaves none: beginning anew is not ours to choose */
        status = sp_fail(err, SP_E_FORMAT, "%s: no checkpoint is whole; --restart begins anew", out);
    sp_buf_clear(&skipped);
    return status;
}

static sp_status load_newest(sp_trainer *t, sp_start start, sp_error *err)
{
    char *path = NULL;
    sp_status status = is_first_rank(t) ? find_newest(t, start, &path, err) : SP_OK;
    SP_GOTO(done, status, sp_parallel_agree(t->parallel, status, err));
    int32_t found = path != NULL;
    SP_GOTO(done, status, sp_comm_broadcast(t->comm, &found, sizeof found, 0, err));
    if (!found) goto done;
    SP_GOTO(done, status, sp_parallel_load(t->parallel, path, &t->state, err));
    if (t->state.fingerprint != sp_train_config_fingerprint(t->config)) {
        status = sp_fail(err, SP_E_ARGUMENT,
                         "%s belongs to a run with another model, data, optimizer or seed", t->config->out);
        goto done;
    }
    notice_path(t, "going on from", path);
done:
    sp_free(path);
    return status;
}

/* The run's folder, for this run alone. */
static sp_status hold_folder(sp_trainer *t, sp_error *err)
{
    SP_TRY(sp_dir_create(t->config->out, err));
    return sp_dir_hold(&t->hold, t->config->out, err);
}

static sp_status open_metrics(sp_trainer *t, sp_error *err)
{
    char *path = sp_path_join(t->config->out, "metrics.jsonl");
    if (!path) return sp_fail_nomem(err, "metrics", 0);
    sp_status status = sp_metrics_open(&t->metrics, path, t->state.step, err);
    sp_free(path);
    return status;
}

static sp_status set_up(sp_trainer *t, sp_start start, sp_error *err)
{
    const sp_train_config *c = t->config;
    bool writes = is_first_rank(t) && !(start & SP_START_LOOK);
    if (writes) SP_TRY(hold_folder(t, err));
    SP_TRY(open_data(t, err));
    SP_TRY(allocate(t, err));
    sp_parameters_draw(t->parameters, c->seed, c->init_deviation, c->scale_residual);
    t->state.seed = c->seed;
    t->state.fingerprint = sp_train_config_fingerprint(c);
    SP_TRY(load_newest(t, start, err));
    if (c->init && t->state.step == 0) SP_TRY(sp_parameters_read(t->parameters, c->init, err));
    return writes ? open_metrics(t, err) : SP_OK;
}

sp_status sp_trainer_create(sp_trainer **trainer, const sp_train_config *config, sp_comm *comm,
                            sp_start start, const sp_train_events *events, sp_error *err)
{
    *trainer = NULL;
    sp_trainer *t = sp_calloc(1, sizeof *t);
    if (!t) return sp_fail_nomem(err, "trainer", sizeof *t);
    t->config = config;
    t->comm = comm;
    t->hold = -1;
    if (events) t->events = *events;
    sp_status status = set_up(t, start, err);
    if (status == SP_OK)
        *trainer = t;
    else
        sp_trainer_destroy(t);
    return status;
}

void sp_trainer_destroy(sp_trainer *t)
{
    if (!t) return;
    sp_metrics_close(t->metrics);
    sp_dir_release(t->hold);
    sp_parallel_destroy(t->parallel);
    sp_optimizer_destroy(t->optimizer);
    sp_parameters_destroy(t->parameters);
    sp_loader_close(t->loader);
    sp_loader_close(t->validation);
    sp_free(t->grads);
    sp_free(t->counts);
    sp_free(t->loads);
    sp_pool_destroy(t->pool);
    sp_arena_destroy(t->arena);
    sp_free(t);
}

sp_parameters *sp_trainer_parameters(sp_trainer *trainer)
{
    return trainer->parameters;
}

const sp_train_state *sp_trainer_state(const sp_trainer *trainer)
{
    return &trainer->state;
}
