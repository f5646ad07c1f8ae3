/* SPDX-License-Identifier: MIT */
/* Collectives, the exchange of expert rows, and the division of a run, among as many processes as run this program: one here,
 * two and four in tests/cases/test_mpi.sh. Every process knows what the others hold, so it checks its own results alone. */
#include "test_util.h"

#include <math.h>

#include "base/comm.h"
#include "base/rng.h"
#include "ops/exchange.h"
#include "train/parallel.h"

static sp_comm *world;
static int n_ranks = 1, own_rank = 0;

static float value_of(int rank, int64_t i)
{
    return (float)(sp_rng_uniform(3, (uint64_t)rank, (uint64_t)i) - 0.5);
}

static void sums_run_in_the_order_of_ranks(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    double values[100];
    for (int i = 0; i < 100; i++) values[i] = sp_rng_uniform(5, (uint64_t)own_rank, (uint64_t)i) * 1e3;
    assert_ok(sp_comm_sum(world, values, 100, &err), err);
    for (int i = 0; i < 100; i++) {
        double sum = sp_rng_uniform(5, 0, (uint64_t)i) * 1e3;
        for (int r = 1; r < n_ranks; r++) sum += sp_rng_uniform(5, (uint64_t)r, (uint64_t)i) * 1e3;
        assert_true(values[i] == sum);
    }
}

/* Parts of uneven length, the first one empty where there are several; the last is longer than one chunk of the sum. */
static int64_t *make_parts(void)
{
    int64_t *begins = sp_calloc((size_t)n_ranks + 1, sizeof *begins);
    for (int r = 0; r < n_ranks; r++) begins[r + 1] = begins[r] + (r == 0 && n_ranks > 1 ? 0 : 1000 * r + 7);
    begins[n_ranks] += ((int64_t)4 << 20) / n_ranks + 5;
    return begins;
}

static void parts_are_summed_at_their_owner_and_gathered(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    int64_t *begins = make_parts(), n = begins[n_ranks];
    float *values = sp_malloc_array((size_t)n, sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = value_of(own_rank, i);
    assert_ok(sp_comm_reduce_parts(world, values, begins, &err), err);
    assert_ok(sp_comm_gather_parts(world, values, begins, &err), err);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int r = 0; r < n_ranks; r++) sum += value_of(r, i);
        if (values[i] != (float)sum) fail_msg("value %lld: %g, not %g", (long long)i, values[i], (float)sum);
    }
    sp_free(values);
    sp_free(begins);
}

static int64_t lane(int from, int to)
{
    return (from * 3 + to * 5) % 7 * 11; /* zero for some pairs */
}

static void everybody_gets_what_is_meant_for_it(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    int64_t send[65] = {0}, receive[65] = {0};
    for (int r = 0; r < n_ranks; r++) {
        send[r + 1] = send[r] + lane(own_rank, r);
        receive[r + 1] = receive[r] + lane(r, own_rank);
    }
    int64_t *out = sp_malloc_array((size_t)send[n_ranks] + 1, sizeof *out);
    int64_t *in = sp_malloc_array((size_t)receive[n_ranks] + 1, sizeof *in);
    for (int r = 0; r < n_ranks; r++)
        for (int64_t i = send[r]; i < send[r + 1]; i++) out[i] = own_rank * 1000000 + r * 10000 + i - send[r];
    assert_ok(sp_comm_exchange(world, out, send, in, receive, sizeof *out, &err), err);
    for (int r = 0; r < n_ranks; r++)
        for (int64_t i = receive[r]; i < receive[r + 1]; i++)
            assert_int_equal(in[i], r * 1000000 + own_rank * 10000 + i - receive[r]);
    sp_free(out);
    sp_free(in);
}

/* More than one piece of 16 MiB. */
static void long_messages_arrive_whole(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    size_t n = ((size_t)16 << 20) + 12345;
    if (n_ranks != 2) skip();
    unsigned char *data = sp_malloc(n);
    memset(data, own_rank == 1 ? 5 : 0, n);
    for (size_t i = 0; i < n; i += 4099) data[i] = own_rank == 1 ? (unsigned char)(i / 4099) : 0;
    assert_ok(sp_comm_pass(world, data, n, 1, 0, &err), err);
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += data[i] != (i % 4099 ? 5 : (unsigned char)(i / 4099));
    assert_int_equal(wrong, 0);
    memset(data, own_rank == 0 ? 9 : 0, n);
    assert_ok(sp_comm_broadcast(world, data, n, 0, &err), err);
    for (size_t i = 0; i < n; i++) wrong += data[i] != 9;
    assert_int_equal(wrong, 0);
    sp_free(data);
}

static void colours_split_processes_in_order(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_comm *part;
    assert_ok(sp_comm_split(&part, world, own_rank % 2, &err), err);
    assert_int_equal(sp_comm_rank(part), own_rank / 2);
    double ranks = own_rank;
    assert_ok(sp_comm_sum(part, &ranks, 1, &err), err);
    double expected = 0;
    for (int r = own_rank % 2; r < n_ranks; r += 2) expected += r;
    assert_true(ranks == expected);
    sp_comm_close(part);
    assert_ok(sp_comm_barrier(world, &err), err);
}

static void one_process_needs_no_communicator(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    double sum = 3;
    int64_t begins[] = {0, 2};
    float values[] = {1, 2}, copy[2];
    assert_int_equal(sp_comm_rank(NULL), 0);
    assert_int_equal(sp_comm_size(NULL), 1);
    assert_ok(sp_comm_sum(NULL, &sum, 1, &err), err);
    assert_ok(sp_comm_reduce_parts(NULL, values, begins, &err), err);
    assert_ok(sp_comm_gather_parts(NULL, values, begins, &err), err);
    assert_ok(sp_comm_exchange(NULL, values, begins, copy, begins, sizeof *values, &err), err);
    assert_ok(sp_comm_broadcast(NULL, values, sizeof values, 0, &err), err);
    assert_ok(sp_comm_barrier(NULL, &err), err);
    assert_true(sum == 3 && copy[0] == 1 && copy[1] == 2);
    sp_comm *part;
    assert_ok(sp_comm_split(&part, NULL, 4, &err), err);
    assert_int_equal(sp_comm_size(part), 1);
    sp_comm_close(part);
    sp_comm_close(NULL);
}

/* --- experts ------------------------------------------------------------------------------------------------ */

enum { H = 12, E = 8, K = 2, GROUPS = 4, MOST = 40 };

/* One pass over own tokens: everything here, or with experts spread over the world. */
typedef struct mixture {
    sp_arena *arena;
    sp_ops ops;
    sp_tape tape;
    sp_tensor *x, *y;
    sp_tensor w[E];
    float dw[E][H * H];
    sp_exchange_counts counts;
} mixture;

static int64_t tokens_of(int rank)
{
    return rank == 1 ? 0 : 17 + 5 * rank;
}

static sp_tensor matrix(float *data, int64_t rows, int64_t cols)
{
    return (sp_tensor){.dtype = SP_DTYPE_F32,
                       .n_dims = 2,
                       .shape = {rows, cols, 1, 1},
                       .row_bytes = (size_t)cols * sizeof(float),
                       .data = data};
}

static sp_tensor *mix(mixture *m, const sp_routing *routing, const sp_expert_group *group)
{
    const sp_exchange *exchange = NULL;
    if (!group) {
        sp_tensor *rows = sp_op_gather(&m->ops, m->x, routing->tokens, routing->n_tokens * K);
        return sp_op_combine(&m->ops, sp_op_linear_experts(&m->ops, rows, m->w, routing), routing);
    }
    sp_tensor *rows = sp_op_dispatch(&m->ops, m->x, routing, group, &exchange);
    int first = E / sp_comm_size(group->comm) * sp_comm_rank(group->comm);
    sp_tensor *y = sp_op_linear_experts(&m->ops, rows, m->w + first, sp_exchange_routing(exchange));
    return sp_op_combine(&m->ops, sp_op_return(&m->ops, y, exchange), routing);
}

static void run_mixture(mixture *m, int rank, const sp_expert_group *group)
{
    memset(m, 0, sizeof *m);
    m->arena = sp_arena_create(1 << 16);
    sp_ops_init(&m->ops, NULL, m->arena);
    m->ops.tape = &m->tape;
    int64_t n = tokens_of(rank);
    m->x = sp_ops_new(&m->ops, n, H);
    sp_tensor *logits = sp_ops_new(&m->ops, n, E);
    sp_rng_normal(1, (uint64_t)rank, 0, m->x->data, (size_t)(n * H));
    sp_rng_normal(2, (uint64_t)rank, 0, logits->data, (size_t)(n * E));
    sp_tape_leaf(&m->ops, m->x);
    for (int e = 0; e < E; e++) {
        float *data = sp_arena_alloc(m->arena, sizeof m->dw[e]);
        sp_rng_normal(4, (uint64_t)e, 0, data, H * H);
        m->w[e] = matrix(data, H, H);
        sp_tape_parameter(&m->ops, &m->w[e], m->dw[e]);
    }
    sp_route route = {SP_ROUTE_SIGMOID, SP_ROUTE_GROUPS_TOP2, GROUPS, 2, K, true, 2.5f, NULL};
    m->y = mix(m, sp_op_route(&m->ops, logits, &route), group);
    assert_int_equal(m->ops.status, SP_OK);
    float seed[MOST * H];
    for (int i = 0; i < MOST * H; i++) seed[i] = value_of(rank + 9, i);
    sp_tape_backward(&m->ops, m->y, seed);
    assert_int_equal(m->ops.status, SP_OK);
}

static double relative(const float *a, const float *b, int64_t n)
{
    double difference = 0, size = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        difference += (a[i] - b[i]) * (double)(a[i] - b[i]);
        size += b[i] * (double)b[i];
    }
    return sqrt(difference / size);
}

static void experts_elsewhere_give_the_same_rows_and_gradients(void **state)
{
    (void)state;
    static mixture apart, here;
    static float dw[E][H * H];
    memset(dw, 0, sizeof dw);
    sp_exchange_counts counts = {0};
    sp_expert_group group = {world, n_ranks >= 4 ? n_ranks / 2 : n_ranks, &counts};
    run_mixture(&apart, own_rank, &group);
    for (int r = 0; r < n_ranks; r++) { /* what all processes' tokens teach the experts */
        run_mixture(&here, r, NULL);
        for (int e = 0; e < E; e++)
            for (int i = 0; i < H * H; i++) dw[e][i] += here.dw[e][i];
        int64_t n = tokens_of(r) * H;
        if (r == own_rank) {
            assert_true(relative(apart.y->data, here.y->data, n) < 1e-6);
            assert_true(relative(sp_tape_grad(&apart.ops, apart.x), sp_tape_grad(&here.ops, here.x), n) <
                        1e-6);
        }
        sp_arena_destroy(here.arena);
    }
    int first = E / n_ranks * own_rank, end = first + E / n_ranks;
    for (int e = 0; e < E; e++) {
        if (e >= first && e < end)
            assert_true(relative(apart.dw[e], dw[e], H * H) < 1e-6);
        else
            for (int i = 0; i < H * H; i++) assert_true(apart.dw[e][i] == 0.0f);
    }
    sp_arena_destroy(apart.arena);
    assert_int_equal(counts.tokens, tokens_of(own_rank));
    assert_int_equal(counts.rows, tokens_of(own_rank) * K);
    assert_true(counts.nodes_largest <= 2); /* topk_group */
    assert_true(counts.rows_far <= counts.rows_away && counts.rows_away <= counts.rows);
    if (n_ranks == 1) assert_int_equal(counts.rows_away, 0);
}

static void a_failed_allocation_leaves_a_status(void **state)
{
    (void)state;
    sp_expert_group group = {NULL, 1, NULL};
    int32_t experts[] = {0, 1}, order[] = {0, 1}, tokens[] = {0, 0};
    int64_t offset[] = {0, 1, 2};
    sp_routing routing = {1, 2, 2, experts, NULL, order, tokens, offset};
    for (int n = 0;; n++) {
        sp_arena *arena = sp_arena_create(64); /* every block is an allocation of its own */
        sp_ops ops;
        sp_ops_init(&ops, NULL, arena);
        sp_tensor *x = sp_ops_new(&ops, 1, 64);
        memset(x->data, 0, 64 * sizeof(float));
        const sp_exchange *exchange;
        sp_mem_fail_after(n);
        sp_tensor *rows = sp_op_dispatch(&ops, x, &routing, &group, &exchange);
        sp_tensor *y = sp_op_return(&ops, rows, exchange);
        sp_mem_fail_after(-1);
        assert_int_equal(ops.status, y ? SP_OK : SP_E_NOMEM);
        sp_arena_destroy(arena);
        if (y) break;
        assert_true(n < 100);
    }
}

/* --- owners -------------------------------------------------------------------------------------------------- */

static sp_train_config describe_run(int expert_ranks)
{
    sp_train_config c = {.expert_ranks = expert_ranks, .expert_nodes = 1, .threads = 1};
    c.hp = (sp_hparams){.arch = SP_ARCH_DEEPSEEK2,
                        .hidden_size = 16,
                        .intermediate_size = 32,
                        .num_hidden_layers = 3,
                        .num_attention_heads = 2,
                        .num_key_value_heads = 2,
                        .head_dim = 8,
                        .vocab_size = 50,
                        .max_position_embeddings = 64,
                        .rms_norm_eps = 1e-6,
                        .rope_theta = 1e4,
                        .rope_interleaved = true,
                        .kv_lora_rank = 8,
                        .qk_nope_head_dim = 4,
                        .qk_rope_head_dim = 4,
                        .v_head_dim = 4,
                        .n_routed_experts = 8,
                        .n_shared_experts = 1,
                        .num_experts_per_tok = 2,
                        .moe_intermediate_size = 8,
                        .first_k_dense_replace = 1,
                        .moe_layer_freq = 1,
                        .n_group = 4,
                        .topk_group = 2,
                        .topk_method = SP_TOPK_NOAUX_TC,
                        .scoring_func = SP_SCORING_SIGMOID,
                        .norm_topk_prob = true,
                        .routed_scaling_factor = 2.5};
    c.optimizer = (sp_optimizer_options){SP_OPTIMIZER_MUON, 0.9, 0.95, 1e-8, 0.95, 0.1, 1.0, false};
    return c;
}

/* Gradients that differ between processes and, for experts that live apart, between their owners. */
static float gradient_of(int rank, size_t item, int64_t i)
{
    return value_of(rank + 100, (int64_t)item * 4096 + i);
}

static bool holds(const sp_train_config *c, int rank, const sp_parameter *q)
{
    int per_rank = c->hp.n_routed_experts / c->expert_ranks;
    return q->expert < 0 || q->expert / per_rank == rank % c->expert_ranks;
}

static void check_sums(const sp_train_config *c, sp_parallel *parallel, const sp_parameters *p)
{
    sp_error err = SP_ERROR_NONE;
    float *grads = sp_calloc((size_t)p->n_floats, sizeof *grads);
    double square, expected = 0;
    for (size_t i = 0; i < p->n_items; i++)
        for (int64_t k = 0; sp_parameter_is_local(&p->items[i]) && k < sp_parameter_count(&p->items[i]); k++)
            grads[p->items[i].begin + k] = gradient_of(own_rank, i, k);
    assert_ok(sp_parallel_reduce(parallel, grads, &square, &err), err);
    for (size_t i = 0; i < p->n_items; i++) {
        const sp_parameter *q = &p->items[i];
        int owner = sp_parallel_owner(parallel, i);
        assert_true(owner >= 0 && owner < n_ranks && holds(c, owner, q));
        for (int64_t k = 0; k < sp_parameter_count(q); k++) {
            double sum = 0;
            for (int r = 0; r < n_ranks; r++)
                if (holds(c, r, q) &&
                    (q->expert < 0 || c->expert_ranks == 1 || r % c->expert_ranks == owner % c->expert_ranks))
                    sum += gradient_of(r, i, k);
            if (owner == own_rank) assert_true(grads[q->begin + k] == (float)sum);
            if (q->kind != SP_PARAMETER_BALANCE) expected += (double)(float)sum * (float)sum;
        }
    }
    assert_true(fabs(square / expected - 1) < 1e-12);
    sp_free(grads);
}

/* Moments exist at the owner alone; everybody who holds an item gets its new values. */
static void check_update(sp_parallel *parallel, sp_parameters *p, const sp_optimizer *o)
{
    sp_error err = SP_ERROR_NONE;
    sp_arena *arena = sp_arena_create(1 << 16);
    sp_ops ops;
    sp_ops_init(&ops, NULL, arena);
    float *grads = sp_calloc((size_t)p->n_floats, sizeof *grads), *others = sp_malloc(1 << 16);
    for (int64_t i = 0; i < p->n_floats; i++) grads[i] = 0.5f + value_of(7, i);
    sp_update update = {.step = 1, .lr = 0.01, .grad_scale = 1.0};
    assert_ok(sp_parallel_update(parallel, grads, update, &ops, &err), err);
    for (size_t i = 0; i < p->n_items; i++) {
        const sp_parameter *q = &p->items[i];
        int owner = sp_parallel_owner(parallel, i);
        int64_t n = sp_parameter_count(q), n_moved = 0;
        for (int64_t k = 0; sp_parameter_is_local(q) && k < n; k++) n_moved += o->m[q->begin + k] != 0.0f;
        bool learns = owner == own_rank && q->kind != SP_PARAMETER_BALANCE;
        assert_int_equal(n_moved, learns ? n : 0);
        if (sp_parameter_is_local(q)) memcpy(others, p->values + q->begin, (size_t)n * sizeof *others);
        assert_ok(sp_comm_broadcast(world, others, (size_t)n * sizeof *others, owner, &err), err);
        if (sp_parameter_is_local(q))
            assert_memory_equal(others, p->values + q->begin, (size_t)n * sizeof *others);
        if (q->kind != SP_PARAMETER_BALANCE) assert_true(others[0] != 0.0f);
    }
    sp_free(grads);
    sp_free(others);
    sp_arena_destroy(arena);
}

static void try_division(int expert_ranks)
{
    sp_error err = SP_ERROR_NONE;
    sp_train_config c = describe_run(expert_ranks);
    sp_parameters *p;
    sp_optimizer *o;
    sp_parallel *parallel;
    assert_ok(sp_parameters_create(&p, &c.hp, sp_parallel_experts(world, &c), &err), err);
    assert_ok(sp_optimizer_create(&o, p, &c.optimizer, &err), err);
    assert_ok(sp_parallel_create(&parallel, world, &c, p, o, NULL, &err), err);
    check_sums(&c, parallel, p);
    check_update(parallel, p, o);
    assert_true((p->net.expert_group != NULL) == (expert_ranks > 1));
    assert_int_equal(sp_parallel_passes(parallel, 10 * n_ranks + 1, 4), expert_ranks > 1 ? 3 : 0);
    sp_parallel_destroy(parallel);
    sp_optimizer_destroy(o);
    sp_parameters_destroy(p);
}

static void gradients_and_updates_meet_at_the_owner(void **state)
{
    (void)state;
    for (int n = 1; n <= n_ranks; n *= 2) try_division(n);
}

static void a_division_survives_failed_allocations(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_train_config c = describe_run(1);
    sp_parameters *p;
    sp_optimizer *o;
    assert_ok(sp_parameters_create(&p, &c.hp, (sp_expert_range){0, c.hp.n_routed_experts}, &err), err);
    assert_ok(sp_optimizer_create(&o, p, &c.optimizer, &err), err);
    sp_parallel *parallel = NULL;
    for (int n = 0; !parallel; n++) {
        assert_true(n < 100);
        sp_mem_fail_after(n);
        sp_status status = sp_parallel_create(&parallel, NULL, &c, p, o, NULL, &err);
        sp_mem_fail_after(-1);
        assert_int_equal(status, parallel ? SP_OK : SP_E_NOMEM);
    }
    sp_parallel_destroy(parallel);
    sp_optimizer_destroy(o);
    sp_parameters_destroy(p);
}

static void a_group_that_does_not_divide_the_processes_is_refused(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_train_config c = describe_run(8);
    sp_parameters *p;
    sp_optimizer *o;
    sp_parallel *parallel;
    assert_ok(sp_parameters_create(&p, &c.hp, sp_parallel_experts(world, &c), &err), err);
    assert_ok(sp_optimizer_create(&o, p, &c.optimizer, &err), err);
    assert_int_equal(sp_parallel_create(&parallel, world, &c, p, o, NULL, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "run.expert_ranks"));
    assert_null(parallel);
    sp_optimizer_destroy(o);
    sp_parameters_destroy(p);
}

int main(void)
{
    sp_error err = SP_ERROR_NONE;
    sp_comm_kind kind = getenv("OMPI_COMM_WORLD_SIZE") ? SP_COMM_WORLD : SP_COMM_SINGLE;
    if (sp_comm_open(&world, kind, &err) != SP_OK) {
        printf("%s\n", err.text);
        return 1;
    }
    n_ranks = sp_comm_size(world);
    own_rank = sp_comm_rank(world);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_run_in_the_order_of_ranks),
        cmocka_unit_test(parts_are_summed_at_their_owner_and_gathered),
        cmocka_unit_test(everybody_gets_what_is_meant_for_it),
        cmocka_unit_test(long_messages_arrive_whole),
        cmocka_unit_test(colours_split_processes_in_order),
        cmocka_unit_test(one_process_needs_no_communicator),
        cmocka_unit_test(experts_elsewhere_give_the_same_rows_and_gradients),
        cmocka_unit_test(a_failed_allocation_leaves_a_status),
        cmocka_unit_test(gradients_and_updates_meet_at_the_owner),
        cmocka_unit_test(a_division_survives_failed_allocations),
        cmocka_unit_test(a_group_that_does_not_divide_the_processes_is_refused),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    if (failures) sp_comm_abort(world, 1);
    sp_comm_close(world);
    return 0;
}
