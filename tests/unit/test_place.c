/* SPDX-License-Identifier: MIT */
/* Memory nodes read from folders laid out like /sys/devices/system/node, and threads spread over them. */
#include "base/place.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "base/pool.h"
#include "test_util.h"

static char root[] = "/tmp/sputnik-place.XXXXXX";

static void write_text(const char *path, const char *text)
{
    sp_error err = SP_ERROR_NONE;
    sp_buf bytes = {NULL, 0, 0};
    assert_ok(sp_buf_puts(&bytes, text, &err), err);
    assert_ok(sp_file_write(path, &bytes, &err), err);
    sp_buf_clear(&bytes);
}

static const char *fresh_path(char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", root, name);
    return path;
}

/* A machine's folder. One list of processors per node; "" is a node without any, NULL one whose list cannot be read. */
static void make_folder(char folder[512], const char *name, const char *online, int n,
                        const char *const *cpulists)
{
    char path[600];
    fresh_path(folder, name);
    assert_int_equal(mkdir(folder, 0777), 0);
    snprintf(path, sizeof path, "%s/online", folder);
    write_text(path, online);
    for (int i = 0; i < n; i++) {
        if (!cpulists[i]) continue;
        snprintf(path, sizeof path, "%s/node%d", folder, i);
        assert_int_equal(mkdir(path, 0777), 0);
        strcat(path, "/cpulist");
        write_text(path, cpulists[i]);
    }
}

/* What the folder says of n processors, whose numbers are `step` apart. */
static void read_nodes(sp_place *place, int n, int step, const char *folder)
{
    memset(place, 0x55, sizeof *place);
    place->n_cpus = n;
    for (int i = 0; i < n; i++) place->cpus[i] = (int16_t)(i * step);
    sp_place_read_nodes(place, folder);
}

static void test_two_nodes(void **state)
{
    (void)state;
    static const char *const lists[] = {"0-1,4-5\n", "2-3,6-7\n"};
    sp_place place;
    char folder[512];
    make_folder(folder, "two", "0-1\n", 2, lists);
    read_nodes(&place, 8, 1, folder);
    assert_int_equal(place.n_nodes, 2);
    for (int i = 0; i < 8; i++) assert_int_equal(place.node[i], i / 2 % 2);
    assert_int_equal(sp_place_node_of(&place, 6), 1);
    assert_int_equal(sp_place_node_of(&place, 99), 0);
    assert_int_equal(sp_place_node_cpus(&place, 0), 4);
    read_nodes(&place, 2, 1, folder); /* a mask of one node's processors */
    assert_int_equal(place.n_nodes, 1);
    assert_int_equal(place.nodes[0], 0);
}

/* Numbers with gaps, a node of memory alone, one that vanished. */
static void test_uneven_nodes(void **state)
{
    (void)state;
    static const char *const lists[] = {NULL, "0,2\n", "\n", NULL, "4,6,8,10-1023\n"};
    sp_place place;
    char folder[512];
    make_folder(folder, "uneven", "1-4\n", 5, lists);
    read_nodes(&place, 7, 2, folder);
    assert_int_equal(place.n_nodes, 2);
    assert_int_equal(place.nodes[0], 1);
    assert_int_equal(place.nodes[1], 4);
    assert_int_equal(sp_place_node_cpus(&place, 0), 2);
    assert_int_equal(sp_place_node_cpus(&place, 1), 5);
}

static void test_unreadable(void **state)
{
    (void)state;
    static const char *const bad[] = {"0-", "a", "3-1", "0,,1", "-1", "0 1"};
    static const char *const lists[] = {"0\n", "1\n"};
    sp_place place;
    char folder[512], name[32];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(name, sizeof name, "bad%zu", i);
        make_folder(folder, name, bad[i], 2, lists);
        read_nodes(&place, 2, 1, folder);
        assert_int_equal(place.n_nodes, 1);
        assert_int_equal(place.node[0] + place.node[1], 0);
    }
    read_nodes(&place, 2, 1, "/nonexistent");
    assert_int_equal(place.n_nodes, 1);
}

static void test_spread(void **state)
{
    (void)state;
    sp_place place = {.n_cpus = 12, .n_nodes = 2, .nodes = {0, 1}};
    int8_t nodes[SP_POOL_MAX_THREADS];
    for (int i = 0; i < 12; i++) {
        place.cpus[i] = (int16_t)i;
        place.node[i] = i >= 4; /* 4 and 8 processors */
    }
    for (int caller = 0; caller < 12; caller += 11) {
        for (int n = 1; n <= 12; n++) {
            int on_first = 0;
            sp_pool_spread(&place, caller, n, nodes);
            for (int i = 0; i < n; i++) on_first += nodes[i] == 0;
            assert_int_equal(nodes[0], caller == 11);
            assert_true(on_first <= 4 && n - on_first <= 8);
            assert_true(3 * on_first - n >= -3 && 3 * on_first - n <= 3); /* a third, to a thread */
        }
    }
}

/* Whatever this machine has: a pool with every number of threads works, and modes leave the processors to choose from. */
static void test_here(void **state)
{
    (void)state;
    static sp_place place, after;
    sp_place_read(&place);
    assert_true(place.n_nodes >= 1);
    int n = 0;
    for (int k = 0; k < place.n_nodes; k++) n += sp_place_node_cpus(&place, k);
    assert_int_equal(n, place.n_cpus);
    sp_place_outcome outcome = sp_place_interleave(&place);
    assert_int_equal(outcome == SP_PLACE_SAME, place.n_nodes < 2);
    if (outcome == SP_PLACE_DONE) assert_int_equal(sp_place_interleave(&place), SP_PLACE_KEPT);
    outcome = sp_place_isolate(&place);
    assert_int_equal(outcome == SP_PLACE_SAME, place.n_nodes < 2);
    sp_place_read(&after);
    if (outcome == SP_PLACE_DONE) assert_int_equal(after.n_nodes, 1);
    if (outcome == SP_PLACE_SAME) assert_int_equal(after.n_cpus, place.n_cpus);
}

/* Pages of a file that was just written are in the system's cache, on nodes that are known. */
static void test_find(void **state)
{
    (void)state;
    char path[512], text[20001];
    sp_error err = SP_ERROR_NONE;
    sp_map map;
    sp_place place;
    int n_on[SP_PLACE_MAX_NODES], sum = 0;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    write_text(fresh_path(path, "pages"), text);
    assert_ok(sp_map_open(&map, path, &err), err);
    sp_place_read(&place);
    const void *addresses[] = {map.data, map.data + 5000, map.data + map.len - 1};
    int n = sp_place_find(&place, addresses, 3, n_on);
    for (int k = 0; k < place.n_nodes; k++) sum += n_on[k];
    assert_int_equal(sum, n);
    assert_true(n == 3 || n == 0); /* 0: the system does not say */
    sp_map_close(&map);
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return sp_dir_remove(root, NULL) == SP_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_nodes),  cmocka_unit_test(test_uneven_nodes),
        cmocka_unit_test(test_unreadable), cmocka_unit_test(test_spread),
        cmocka_unit_test(test_find),       cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
