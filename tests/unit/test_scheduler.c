/* SPDX-License-Identifier: MIT */
/* The engine thread: whatever else runs, joins, leaves or is cached, a job's reply has the ids, log-probabilities and text of a
 * generator alone; prefixes are evaluated once; owners take turns; clients that go away free their places; the end is orderly. */
#include "test_util.h"

#include "base/clock.h"
#include "base/dir.h"
#include "server/scheduler.h"
#include "text/reply.h"

#include <math.h>
#include <pthread.h>
#include <sputnik/sputnik.h>
#include <time.h>

#define N_CTX 400
#define N_LONG 30000 /* a context that takes longer to fill than any test */

/* What a reply consists of. */
typedef struct record {
    sp_buf text[3]; /* by part */
    sp_buf samples; /* id and log-probabilities of each token */
    size_t n_events;
    sp_finish finish;
    sp_job_usage usage;
    sp_status error;
} record;

typedef struct mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int n_wakes;
} mailbox;

static mailbox mail = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void wake(void *ctx)
{
    mailbox *m = ctx;
    pthread_mutex_lock(&m->mutex);
    m->n_wakes++;
    pthread_cond_broadcast(&m->cond);
    pthread_mutex_unlock(&m->mutex);
}

static void await_wake(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&mail.mutex);
    while (mail.n_wakes == 0)
        if (pthread_cond_timedwait(&mail.cond, &mail.mutex, &until) != 0) break;
    mail.n_wakes = 0;
    pthread_mutex_unlock(&mail.mutex);
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void clear_record(record *r)
{
    for (int i = 0; i < 3; i++) sp_buf_clear(&r->text[i]);
    sp_buf_clear(&r->samples);
    memset(r, 0, sizeof *r);
}

static void add_sample(record *r, const sp_sample *sample)
{
    sp_buf_append(&r->samples, &sample->id, sizeof sample->id, NULL);
    sp_buf_append(&r->samples, &sample->logprob, sizeof sample->logprob, NULL);
    sp_buf_append(&r->samples, sample->top_ids, (size_t)sample->n_top * sizeof(int32_t), NULL);
    sp_buf_append(&r->samples, sample->top_logprobs, (size_t)sample->n_top * sizeof(float), NULL);
}

/* Take what is there; true when the job is over. */
static bool take_all(sp_job *job, record *r)
{
    sp_event e;
    while (sp_job_take(job, &e)) {
        r->n_events++;
        if (e.type == SP_EVENT_TOKEN) add_sample(r, &e.sample);
        if (e.type == SP_EVENT_TEXT) {
            assert_int_equal(strlen(e.text), e.len);
            sp_buf_append(&r->text[e.part], e.text, e.len, NULL);
        }
        r->finish = e.finish;
        r->usage = e.usage;
        r->error = e.type == SP_EVENT_ERROR ? e.error.code : SP_OK;
        bool is_over = e.type == SP_EVENT_DONE || e.type == SP_EVENT_ERROR;
        sp_event_clear(&e);
        if (is_over) {
            assert_false(sp_job_take(job, &e));
            return true;
        }
    }
    return false;
}

static void take_until_over(sp_job *job, record *r)
{
    while (!take_all(job, r)) await_wake();
}

static bool is_mark(const sp_reply *reply, int32_t id)
{
    for (int m = 0; m < SP_MARK_COUNT; m++)
        if (reply->ids[m] == id) return true;
    return false;
}

/* --- one reply, whatever else runs ---------------------------------------------------------------------- */

typedef struct task {
    sp_tokens prompt;
    sp_job_request request;
    record expected, found;
    sp_job *job;
} task;

static int collect(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    record *r = ctx;
    return sp_buf_append(&r->text[part], text, len, NULL) != SP_OK;
}

/* The reply of a generator alone on an empty session, without guesses ahead. */
static void answer_alone(const sp_model *model, sp_cache_type type, task *t)
{
    sp_error err = SP_ERROR_NONE;
    sp_session *session;
    sp_generator *generator;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    sp_step step;
    t->request.generate.speculate = SP_SPECULATE_OFF;
    options.n_ctx = N_CTX;
    options.n_threads = 1;
    options.cache_type = type;
    assert_ok(sp_session_create(&session, model, &options, &err), err);
    assert_ok(
        sp_generator_create(&generator, session, t->prompt.ids, t->prompt.n, &t->request.generate, &err),
        err);
    const sp_reply *reply = sp_generator_reply(generator);
    do {
        assert_ok(sp_generator_next(generator, &step, collect, &t->expected, &err), err);
        if (step.sample.id >= 0 && step.finish != SP_FINISH_END && !is_mark(reply, step.sample.id))
            add_sample(&t->expected, &step.sample);
    } while (step.finish == SP_FINISH_NONE);
    t->request.generate.speculate = SP_SPECULATE_AUTO;
    t->expected.finish = step.finish;
    sp_generator_tokens(generator, &t->expected.usage.n_reply);
    sp_generator_destroy(generator);
    sp_session_destroy(session);
}

static void expect_same(const task *t)
{
    const record *a = &t->expected, *b = &t->found;
    assert_int_equal(b->error, SP_OK);
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->usage.n_reply, b->usage.n_reply);
    assert_int_equal(b->usage.n_prompt, t->prompt.n);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(a->text[i].len, b->text[i].len);
        if (a->text[i].len) assert_memory_equal(a->text[i].data, b->text[i].data, a->text[i].len);
    }
    assert_int_equal(a->samples.len, b->samples.len);
    if (a->samples.len) assert_memory_equal(a->samples.data, b->samples.data, a->samples.len);
}

/* Prompts of several lengths, of which some begin alike; settings of all kinds. */
static void make_task(task *t, size_t i, int32_t n_vocab, sp_chat_format format)
{
    static const size_t lengths[] = {5, 150, 64, 201, 65, 300, 1, 129, 150, 256};
    size_t n = lengths[i % 10];
    memset(t, 0, sizeof *t);
    t->request = (sp_job_request){.generate = SP_GENERATE_OPTIONS_DEFAULTS, .owner = i % 3 ? "a" : "b"};
    for (size_t p = 0; p < n; p++) {
        size_t family = p < 100 ? i % 2 : i; /* the first hundred tokens of every other prompt are the same */
        int32_t id = (int32_t)((p * 37 + p * p % 11 + family * 29 + 3) % (size_t)n_vocab);
        assert_int_equal(sp_tokens_push(&t->prompt, id, NULL), SP_OK);
    }
    t->request.prompt = t->prompt.ids;
    t->request.n_prompt = n;
    t->request.want_tokens = true;
    sp_generate_options *o = &t->request.generate;
    o->format = format;
    o->max_tokens = 3 + (int64_t)(i * 7 % 40);
    o->ignore_end = i % 4 == 3;
    o->think_budget = format != SP_CHAT_NONE && i % 5 == 1 ? (int64_t)i % 7 : -1;
    o->sampler.temperature = i % 3 == 0 ? 0 : 0.5f + 0.25f * (float)(i % 4);
    o->sampler.seed = i * 1000003;
    o->sampler.n_logprobs = (int32_t)(i % 4);
    o->sampler.top_k = i % 5 == 2 ? 7 : 0;
    o->sampler.repetition_penalty = i % 6 == 5 ? 1.2f : 1.0f;
}

static void clear_task(task *t)
{
    sp_tokens_clear(&t->prompt);
    clear_record(&t->expected);
    clear_record(&t->found);
}

#define N_TASKS 20

/* All tasks at once, later ones joining while others run, and clients in between that go away at once or later. */
static void run_tasks(sp_scheduler *s, task *tasks)
{
    sp_error err = SP_ERROR_NONE;
    sp_job *leaving[N_TASKS] = {NULL};
    for (size_t i = 0; i < N_TASKS; i++) {
        clear_record(&tasks[i].found);
        assert_ok(sp_scheduler_submit(s, &tasks[i].request, wake, &mail, &tasks[i].job, &err), err);
        if (i % 3 == 0)
            assert_ok(
                sp_scheduler_submit(s, &tasks[(i + 5) % N_TASKS].request, wake, &mail, &leaving[i], &err),
                err);
        if (i % 6 == 0) {
            sp_job_release(leaving[i]);
            leaving[i] = NULL;
        }
        if (i % 4 == 3) pause_ms(3);
    }
    for (size_t i = 0; i < N_TASKS; i++) sp_job_release(leaving[i]);
    for (size_t i = 0; i < N_TASKS; i++) {
        take_until_over(tasks[i].job, &tasks[i].found);
        expect_same(&tasks[i]);
        sp_job_release(tasks[i].job);
    }
}

/* Each task for itself, so that guesses ahead are evaluated; some are joined by others, which end that, and some go away amid it. */
static void run_one_by_one(sp_scheduler *s, task *tasks)
{
    sp_error err = SP_ERROR_NONE;
    for (size_t i = 0; i < N_TASKS; i++) {
        task *t = &tasks[i], *other = &tasks[(i + 3) % N_TASKS];
        sp_job *joining = NULL;
        clear_record(&t->found);
        assert_ok(sp_scheduler_submit(s, &t->request, wake, &mail, &t->job, &err), err);
        if (i % 3 == 1) {
            clear_record(&other->found);
            await_wake();
            assert_ok(sp_scheduler_submit(s, &other->request, wake, &mail, &joining, &err), err);
        }
        if (i % 7 == 5) {
            sp_job_release(t->job);
        } else {
            take_until_over(t->job, &t->found);
            expect_same(t);
            sp_job_release(t->job);
        }
        if (!joining) continue;
        take_until_over(joining, &other->found);
        expect_same(other);
        sp_job_release(joining);
    }
}

static void check_model(const char *name, sp_cache_type type)
{
    static const int shapes[][4] = {{1, 1, 3, 0},
                                    {3, 2, 16, 0},
                                    {4, 2, 7, 1},
                                    {20, 3, 256, 1},
                                    {2, 1, 64, 2}}; /* slots, threads, chunk, cache */
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_model_info info;
    task *tasks = calloc(N_TASKS, sizeof *tasks);
    assert_ok(sp_model_open(&model, test_path(name), &err), err);
    sp_model_get_info(model, &info);
    for (size_t i = 0; i < N_TASKS; i++) {
        make_task(&tasks[i], i, info.vocab_size, sp_model_chat_format(model));
        answer_alone(model, type, &tasks[i]);
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        sp_scheduler *s;
        sp_scheduler_options o = {.n_slots = shapes[i][0], .n_ctx = N_CTX, .n_threads = shapes[i][1]};
        sp_prefix_cache_options memory = {shapes[i][3] == 1 ? 1 << 26 : 1 << 15, NULL, 0};
        o.prompt_chunk = shapes[i][2];
        o.cache_type = type;
        o.always_drafts = i % 2 == 0;
        if (shapes[i][3]) assert_ok(sp_prefix_cache_create(&o.prefixes, model, type, &memory, &err), err);
        assert_ok(sp_scheduler_create(&s, model, &o, &err), err);
        assert_int_equal(sp_scheduler_context(s), N_CTX);
        run_tasks(s, tasks);
        run_tasks(s, tasks); /* now that prefixes are known */
        run_one_by_one(s, tasks);
        sp_scheduler_stats stats;
        sp_scheduler_get_stats(s, &stats);
        assert_int_equal(stats.n_failed, 0);
        assert_int_equal(stats.n_waiting, 0);
        if (o.always_drafts) assert_true(stats.drafted_tokens > 0);
        assert_true(stats.accepted_tokens <= stats.drafted_tokens);
        if (shapes[i][3] == 1) assert_true(stats.cached_tokens > 0);
        sp_scheduler_destroy(s, 10);
        sp_prefix_cache_destroy(o.prefixes);
    }
    for (size_t i = 0; i < N_TASKS; i++) clear_task(&tasks[i]);
    free(tasks);
    sp_model_close(model);
}

static void a_reply_is_the_one_that_the_job_gets_alone(void **state)
{
    (void)state;
    check_model("models/nano/nano.gguf", SP_CACHE_F32); /* with text and reasoning */
    check_model("tests/golden/models/qwen2", SP_CACHE_F16);
    check_model("tests/golden/models/v3", SP_CACHE_F32);
}

/* A reply of nano's by itself, to a message with any settings. */
static void answer(const sp_model *model, sp_scheduler *s, sp_speculate speculate, bool constrained,
                   record *r)
{
    sp_error err = SP_ERROR_NONE;
    sp_job *job;
    sp_tokens prompt = {0};
    sp_message message = {.role = SP_ROLE_USER, .content = "Sort 4, 1, 9, 3, 7."};
    sp_job_request request = {.owner = "a", .want_tokens = true, .generate = SP_GENERATE_OPTIONS_DEFAULTS};
    request.generate.format = sp_model_chat_format(model);
    request.generate.sampler.n_logprobs = 3;
    request.generate.sampler.temperature = constrained ? 0.8f : 0;
    request.generate.max_tokens = 80;
    request.generate.speculate = speculate;
    assert_ok(sp_chat_render(request.generate.format, sp_model_tokenizer(model), &prompt, &message, 1,
                             &request.generate.chat, &err),
              err);
    if (constrained) assert_ok(sp_grammar_json_object(&request.grammar, &err), err);
    request.prompt = prompt.ids;
    request.n_prompt = prompt.n;
    assert_ok(sp_scheduler_submit(s, &request, wake, &mail, &job, &err), err);
    clear_record(r);
    take_until_over(job, r);
    sp_job_release(job);
    sp_tokens_clear(&prompt);
}

static void a_reply_alone_takes_fewer_steps_with_guesses_ahead(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_scheduler *s;
    sp_scheduler_stats before, after;
    record plain = {0}, drafted = {0};
    sp_scheduler_options o = {.n_slots = 2, .n_ctx = N_CTX, .n_threads = 2, .always_drafts = true};
    assert_ok(sp_model_open(&model, test_path("models/nano/nano.gguf"), &err), err);
    assert_ok(sp_scheduler_create(&s, model, &o, &err), err);
    for (int constrained = 0; constrained < 2; constrained++) {
        answer(model, s, SP_SPECULATE_OFF, constrained, &plain);
        sp_scheduler_get_stats(s, &before);
        answer(model, s, SP_SPECULATE_AUTO, constrained, &drafted);
        sp_scheduler_get_stats(s, &after);
        assert_int_equal(plain.error, SP_OK);
        assert_int_equal(plain.finish, drafted.finish);
        assert_int_equal(plain.samples.len, drafted.samples.len);
        assert_memory_equal(plain.samples.data, drafted.samples.data, plain.samples.len);
        assert_int_equal(plain.n_events, drafted.n_events);
        assert_int_equal(plain.usage.n_reply, drafted.usage.n_reply);
        assert_true(after.drafted_tokens > before.drafted_tokens);
        if (constrained) continue;
        assert_int_equal(before.drafted_tokens, 0);
        assert_true(after.accepted_tokens > 5);
        assert_true(after.n_steps - before.n_steps <= drafted.usage.n_reply + 1 - after.accepted_tokens);
    }
    clear_record(&plain);
    clear_record(&drafted);
    sp_scheduler_destroy(s, 1);
    sp_model_close(model);
}

/* --- prefixes ------------------------------------------------------------------------------------------- */

typedef struct engine {
    sp_model *model;
    sp_prefix_cache *prefixes;
    sp_scheduler *scheduler;
    int32_t tokens[N_CTX];
} engine;

static void start_engine(engine *e, int n_slots, int n_queue, int chunk, int n_ctx)
{
    sp_error err = SP_ERROR_NONE;
    sp_prefix_cache_options memory = {1 << 26, NULL, 0};
    assert_ok(sp_model_open(&e->model, test_path("tests/golden/models/qwen2"), &err), err);
    assert_ok(sp_prefix_cache_create(&e->prefixes, e->model, SP_CACHE_F32, &memory, &err), err);
    sp_scheduler_options o = {.n_slots = n_slots, .n_queue = n_queue, .n_ctx = n_ctx, .n_threads = 1};
    o.prompt_chunk = chunk;
    o.prefixes = e->prefixes;
    assert_ok(sp_scheduler_create(&e->scheduler, e->model, &o, &err), err);
    for (int i = 0; i < N_CTX; i++) e->tokens[i] = (i * 37 + i * i % 11) % 200;
}

static void stop_engine(engine *e)
{
    sp_scheduler_destroy(e->scheduler, 10);
    sp_prefix_cache_destroy(e->prefixes);
    sp_model_close(e->model);
}

static sp_job_request request_of(const engine *e, size_t n_prompt, int64_t max_tokens, const char *owner)
{
    sp_job_request r = {.prompt = e->tokens, .n_prompt = n_prompt, .owner = owner};
    r.generate = (sp_generate_options)SP_GENERATE_OPTIONS_DEFAULTS;
    r.generate.max_tokens = max_tokens;
    r.generate.ignore_end = 1;
    r.generate.loop_guard = 0;
    return r;
}

static sp_job *submit(engine *e, const sp_job_request *request)
{
    sp_error err = SP_ERROR_NONE;
    sp_job *job;
    assert_ok(sp_scheduler_submit(e->scheduler, request, wake, &mail, &job, &err), err);
    return job;
}

static void finish(sp_job *job, record *r)
{
    clear_record(r);
    take_until_over(job, r);
    sp_job_release(job);
}

static void jobs_that_begin_alike_evaluate_the_beginning_once(void **state)
{
    (void)state;
    engine e;
    record r = {0};
    start_engine(&e, 8, 32, 16, N_CTX);
    sp_job *jobs[6];
    int32_t prompts[6][210];
    for (int i = 0; i < 6; i++) {
        sp_job_request request = request_of(&e, 210, 5, "a");
        memcpy(prompts[i], e.tokens, sizeof prompts[i]);
        prompts[i][200] = i; /* they differ after three units */
        request.prompt = prompts[i];
        request.generate.sampler.seed = (uint64_t)i;
        jobs[i] = submit(&e, &request);
    }
    size_t n_cached = 0;
    for (int i = 0; i < 6; i++) {
        finish(jobs[i], &r);
        assert_true(r.usage.n_cached == 0 || r.usage.n_cached == 192);
        n_cached += r.usage.n_cached;
    }
    assert_int_equal(n_cached, 5 * 192);
    sp_scheduler_stats stats;
    sp_scheduler_get_stats(e.scheduler, &stats);
    assert_int_equal(stats.prompt_tokens, 6 * 210 - 5 * 192);
    assert_int_equal(stats.cached_tokens, 5 * 192);
    assert_int_equal(stats.reply_tokens, 6 * 5);
    clear_record(&r);
    stop_engine(&e);
}

static void a_second_turn_evaluates_only_what_is_new(void **state)
{
    (void)state;
    engine e;
    record r = {0};
    sp_tokens turn = {0};
    start_engine(&e, 1, 32, 256, N_CTX);
    sp_job_request request = request_of(&e, 100, 60, "a");
    request.want_tokens = true;
    finish(submit(&e, &request), &r);
    assert_int_equal(r.usage.n_cached, 0);
    assert_int_equal(r.usage.n_reply, 60);
    assert_int_equal(sp_tokens_append(&turn, e.tokens, 100, NULL), SP_OK);
    for (size_t i = 0; i < 60; i++) {
        int32_t id;
        memcpy(&id, r.samples.data + i * (sizeof id + sizeof(float)), sizeof id);
        assert_int_equal(sp_tokens_push(&turn, id, NULL), SP_OK);
    }
    assert_int_equal(sp_tokens_append(&turn, e.tokens, 30, NULL), SP_OK);
    sp_job_request other = request_of(&e, 20, 5, "a"); /* takes the slot in between */
    other.prompt = e.tokens + 50;
    finish(submit(&e, &other), &r);
    request.prompt = turn.ids;
    request.n_prompt = turn.n;
    finish(submit(&e, &request), &r);
    assert_int_equal(r.usage.n_cached, 128);
    sp_tokens_clear(&turn);
    clear_record(&r);
    stop_engine(&e);
}

/* --- fairness, limits, going away ----------------------------------------------------------------------- */

/* A job that is waiting, and a time just before and just after its submission: it starts as long after as it waited. */
typedef struct timed_job {
    sp_job *job;
    double before, after;
} timed_job;

static timed_job submit_timed(engine *e, const sp_job_request *request)
{
    timed_job t = {.before = sp_seconds()};
    t.job = submit(e, request);
    t.after = sp_seconds();
    return t;
}

/* Takes what the job writes; between t->before and t->after it started. */
static void finish_timed(timed_job *t, record *r)
{
    finish(t->job, r);
    t->before += r->usage.waited_s;
    t->after += r->usage.waited_s;
}

static void owners_take_turns(void **state)
{
    (void)state;
    engine e;
    record r = {0};
    start_engine(&e, 1, 64, 256, N_LONG);
    sp_job_request first = request_of(&e, 300, -1, "x"), many = request_of(&e, 8, 20, "many"),
                   one = request_of(&e, 8, 20, "one");
    sp_job *running = submit(&e, &first);
    timed_job of_many[10], of_one[2];
    for (int i = 0; i < 10; i++) of_many[i] = submit_timed(&e, &many);
    for (int i = 0; i < 2; i++) of_one[i] = submit_timed(&e, &one);
    sp_job_release(running);
    for (int i = 0; i < 10; i++) {
        finish_timed(&of_many[i], &r);
        if (i > 0) assert_true(of_many[i - 1].before < of_many[i].after);
    }
    for (int i = 0; i < 2; i++) finish_timed(&of_one[i], &r);
    assert_true(of_one[0].before < of_many[2].after);
    assert_true(of_one[1].before < of_many[3].after);
    clear_record(&r);
    stop_engine(&e);
}

static void await_running(engine *e, sp_scheduler_stats *stats)
{
    do {
        pause_ms(1);
        sp_scheduler_get_stats(e->scheduler, stats);
    } while (stats->n_running == 0);
}

static void a_full_queue_says_so_and_how_long_it_takes(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    engine e;
    record r = {0};
    start_engine(&e, 1, 2, 16, N_LONG);
    sp_job_request request = request_of(&e, 300, 80, "a"), endless = request_of(&e, 300, -1, "a");
    assert_true(sp_scheduler_wait(e.scheduler) == 0);
    sp_job *first = submit(&e, &endless), *jobs[3], *refused;
    sp_scheduler_stats stats;
    await_running(&e, &stats);
    double early = sp_scheduler_wait(e.scheduler); /* before any has ended */
    pause_ms(20);
    assert_true(early < 10 && sp_scheduler_wait(e.scheduler) > early);
    sp_job_release(first);
    finish(submit(&e, &request), &r);
    assert_true(sp_scheduler_wait(e.scheduler) == 0);
    jobs[0] = submit(&e, &endless);
    await_running(&e, &stats);
    double wait_1 = sp_scheduler_wait(e.scheduler);
    jobs[1] = submit(&e, &endless);
    jobs[2] = submit(&e, &endless);
    double wait_3 = sp_scheduler_wait(e.scheduler);
    assert_int_equal(sp_scheduler_submit(e.scheduler, &request, wake, &mail, &refused, &err), SP_E_LIMIT);
    assert_null(refused);
    assert_true(wait_1 > 0 && wait_3 > wait_1);
    for (int i = 0; i < 3; i++) sp_job_release(jobs[i]);
    clear_record(&r);
    stop_engine(&e);
}

static void what_cannot_be_done_is_refused_when_it_is_asked(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    engine e;
    sp_job *job;
    start_engine(&e, 1, 64, 16, N_CTX);
    sp_job_request bad = request_of(&e, N_CTX + 1, 8, "a");
    assert_int_equal(sp_scheduler_submit(e.scheduler, &bad, wake, &mail, &job, &err), SP_E_ARGUMENT);
    bad = request_of(&e, 0, 8, "a");
    assert_int_equal(sp_scheduler_submit(e.scheduler, &bad, wake, &mail, &job, &err), SP_E_ARGUMENT);
    bad = request_of(&e, 3, 8, "a");
    bad.generate.sampler.top_p = 2;
    assert_int_equal(sp_scheduler_submit(e.scheduler, &bad, wake, &mail, &job, &err), SP_E_ARGUMENT);
    e.tokens[2] = 1 << 20;
    bad = request_of(&e, 3, 8, "a");
    assert_int_equal(sp_scheduler_submit(e.scheduler, &bad, wake, &mail, &job, &err), SP_E_ARGUMENT);
    e.tokens[2] = 2;
    for (int64_t n = 0; n < 40; n++) { /* lack of memory, too */
        bad = request_of(&e, 3, 0, "a");
        sp_mem_fail_after(n);
        sp_status status = sp_scheduler_submit(e.scheduler, &bad, wake, &mail, &job, &err);
        sp_mem_fail_after(-1);
        assert_true(status == SP_OK || (status == SP_E_NOMEM && !job));
        sp_job_release(job);
    }
    stop_engine(&e);
}

static void a_client_that_goes_away_frees_its_place(void **state)
{
    (void)state;
    engine e;
    record r = {0};
    start_engine(&e, 1, 8, 4, N_LONG);
    sp_job_request endless = request_of(&e, 8, -1, "a"), reading = request_of(&e, 390, 3, "a");
    for (int i = 0; i < 10; i++) {
        sp_job *job = submit(&e, i % 2 ? &endless : &reading);
        if (i % 3) pause_ms(i);
        sp_job *waiting = submit(&e, &endless);
        sp_job_release(job);
        sp_job_release(waiting);
        sp_job_request brief = request_of(&e, 3, 2, "a");
        finish(submit(&e, &brief), &r);
        assert_int_equal(r.finish, SP_FINISH_LENGTH);
    }
    sp_scheduler_stats stats;
    do {
        pause_ms(1);
        sp_scheduler_get_stats(e.scheduler, &stats);
    } while (stats.n_running + stats.n_waiting > 0);
    assert_int_equal(stats.n_jobs, 30);
    assert_true(stats.n_cancelled >= 10);
    clear_record(&r);
    stop_engine(&e);
}

static void a_reader_that_lags_gets_all_the_text_in_fewer_events(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_model *model;
    sp_scheduler *s;
    record quick = {0}, slow = {0};
    sp_scheduler_options o = {.n_slots = 1, .n_ctx = N_CTX, .n_threads = 1};
    assert_ok(sp_model_open(&model, test_path("models/nano/nano.gguf"), &err), err);
    assert_ok(sp_scheduler_create(&s, model, &o, &err), err);
    int32_t prompt[] = {5, 6, 7};
    sp_job_request request = {.prompt = prompt, .n_prompt = 3, .owner = "a"};
    request.generate = (sp_generate_options)SP_GENERATE_OPTIONS_DEFAULTS;
    request.generate.max_tokens = 300;
    request.generate.ignore_end = 1;
    request.generate.loop_guard = 0;
    sp_job *job;
    assert_ok(sp_scheduler_submit(s, &request, wake, &mail, &job, &err), err);
    take_until_over(job, &quick);
    sp_job_release(job);
    assert_ok(sp_scheduler_submit(s, &request, wake, &mail, &job, &err), err);
    sp_job_usage usage;
    do {
        pause_ms(1);
        sp_job_get_usage(job, &usage);
    } while (usage.n_reply < 300);
    take_until_over(job, &slow);
    sp_job_release(job);
    assert_int_equal(quick.text[SP_REPLY_CONTENT].len, slow.text[SP_REPLY_CONTENT].len);
    assert_string_equal(quick.text[SP_REPLY_CONTENT].data, slow.text[SP_REPLY_CONTENT].data);
    assert_true(slow.n_events < 80);
    clear_record(&quick);
    clear_record(&slow);
    sp_scheduler_destroy(s, 1);
    sp_model_close(model);
}

/* --- the end -------------------------------------------------------------------------------------------- */

static void the_end_waits_for_replies_as_long_as_it_is_told(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    engine e;
    record r = {0};
    start_engine(&e, 1, 8, 16, N_CTX);
    sp_job_request request = request_of(&e, 50, 40, "a");
    sp_job *jobs[3] = {submit(&e, &request), submit(&e, &request), NULL};
    sp_scheduler_drain(e.scheduler);
    assert_int_equal(sp_scheduler_submit(e.scheduler, &request, wake, &mail, &jobs[2], &err), SP_E_LIMIT);
    stop_engine(&e);
    for (int i = 0; i < 2; i++) { /* jobs outlive the scheduler */
        finish(jobs[i], &r);
        assert_int_equal(r.finish, SP_FINISH_LENGTH);
        assert_int_equal(r.usage.n_reply, 40);
    }
    start_engine(&e, 2, 8, 1, N_LONG);
    request = request_of(&e, 390, -1, "a");
    for (int i = 0; i < 3; i++) jobs[i] = submit(&e, &request);
    sp_scheduler_destroy(e.scheduler, 0);
    for (int i = 0; i < 3; i++) {
        finish(jobs[i], &r);
        assert_int_equal(r.finish, SP_FINISH_CANCELLED);
    }
    sp_prefix_cache_destroy(e.prefixes);
    sp_model_close(e.model);
    clear_record(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_the_one_that_the_job_gets_alone),
        cmocka_unit_test(a_reply_alone_takes_fewer_steps_with_guesses_ahead),
        cmocka_unit_test(jobs_that_begin_alike_evaluate_the_beginning_once),
        cmocka_unit_test(a_second_turn_evaluates_only_what_is_new),
        cmocka_unit_test(owners_take_turns),
        cmocka_unit_test(a_full_queue_says_so_and_how_long_it_takes),
        cmocka_unit_test(what_cannot_be_done_is_refused_when_it_is_asked),
        cmocka_unit_test(a_client_that_goes_away_frees_its_place),
        cmocka_unit_test(a_reader_that_lags_gets_all_the_text_in_fewer_events),
        cmocka_unit_test(the_end_waits_for_replies_as_long_as_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
