/* SPDX-License-Identifier: MIT */
/* The machine's ceilings in `sputnik bench`. Start at sp_bench_machine(). */
#include "cli/bench_machine.h"

#include "base/pool.h"

typedef struct token_cost {
    double bytes, ops;             /* of a token */
    double memory_peak, int8_peak; /* per second; 0: unknown */
} token_cost;

static token_cost count_cost(const sp_cost *cost, const sp_machine *machine, const sp_bench_load *load)
{
    double n_rows = (double)load->n_rows;
    token_cost c;
    c.bytes =
        sp_cost_step_bytes(cost, n_rows) / n_rows + load->depth * cost->cache_elements * load->cache_width;
    c.ops = 2 * (cost->products + load->n_heads * cost->head_products);
    c.memory_peak = sp_machine_best(machine, SP_CEILING_MEMORY, load->n_threads);
    c.int8_peak = sp_machine_best(machine, SP_CEILING_INT8, load->n_threads);
    return c;
}

sp_status sp_bench_put_cost(sp_buf *out, const sp_cost *cost, const sp_machine *machine,
                            const sp_bench_load *load, sp_error *err)
{
    token_cost c = count_cost(cost, machine, load);
    SP_TRY(sp_buf_printf(out, err, ",\"bytes_per_token\":%.0f,\"int8_ops_per_token\":%.0f", c.bytes, c.ops));
    if (c.memory_peak > 0)
        SP_TRY(sp_buf_printf(out, err, ",\"memory_per_s\":%.6g,\"memory_share\":%.4g", c.memory_peak,
                             c.bytes * load->tokens_per_s / c.memory_peak));
    if (c.int8_peak > 0)
        SP_TRY(sp_buf_printf(out, err, ",\"int8_per_s\":%.6g,\"int8_share\":%.4g", c.int8_peak,
                             c.ops * load->tokens_per_s / c.int8_peak));
    return SP_OK;
}

void sp_bench_print_cost(const sp_cost *cost, const sp_machine *machine, const sp_bench_load *load)
{
    token_cost c = count_cost(cost, machine, load);
    if (c.memory_peak > 0)
        printf("; memory %.1f GB/s, %.0f %%", 1e-9 * c.bytes * load->tokens_per_s,
               100 * c.bytes * load->tokens_per_s / c.memory_peak);
    if (c.int8_peak > 0)
        printf("; int8 %.0f Gop/s, %.0f %%", 1e-9 * c.ops * load->tokens_per_s,
               100 * c.ops * load->tokens_per_s / c.int8_peak);
    putchar('\n');
}

/* Where there are several memory nodes: which they are. */
static void print_nodes(void)
{
    sp_place place;
    sp_place_read(&place);
    for (int i = 0; place.n_nodes > 1 && i < place.n_nodes; i++)
        printf("node %d: %d processors\n", place.nodes[i], sp_place_node_cpus(&place, i));
}

static void print_ceilings(const sp_machine *m, int json)
{
    if (!json) print_nodes();
    if (!json) printf("%-8s  %-30s  %7s  %s\n", "what", "how", "threads", "per second");
    for (int i = 0; i < m->n_ceilings; i++) {
        const sp_ceiling *c = &m->ceilings[i];
        bool bytes = c->kind == SP_CEILING_MEMORY || c->kind == SP_CEILING_DISK || c->kind == SP_CEILING_NODE;
        if (json)
            printf("%s{\"what\":\"%s\",\"how\":\"%s\",\"threads\":%d,\"per_s\":%.6g}", i ? ",\n " : "[",
                   sp_ceiling_name(c->kind), c->how, c->n_threads, c->per_s);
        else
            printf("%-8s  %-30s  %7d  %.2f G%s\n", sp_ceiling_name(c->kind), c->how, c->n_threads,
                   1e-9 * c->per_s, bytes ? "B" : "op");
    }
    if (json) puts("]");
}

int sp_bench_machine(const sp_int_list *threads, const char *disk, int json)
{
    sp_error err = SP_ERROR_NONE;
    sp_machine machine = {.n_ceilings = 0};
    sp_status status = SP_OK;
    int n_cpus = sp_cpu_count();
    for (size_t i = 0; status == SP_OK && i < threads->n; i++)
        status = sp_machine_measure(&machine, threads->items[i] ? (int)threads->items[i] : n_cpus, &err);
    if (threads->n == 0) status = sp_machine_measure(&machine, 1, &err);
    if (status == SP_OK && threads->n == 0 && n_cpus > 1) status = sp_machine_measure(&machine, n_cpus, &err);
    if (status == SP_OK) status = sp_machine_measure_nodes(&machine, &err);
    if (status == SP_OK && disk) status = sp_machine_measure_disk(&machine, disk, &err);
    if (status != SP_OK) return sp_cli_fail(&err, NULL);
    print_ceilings(&machine, json);
    return sp_cli_flush();
}
