/* SPDX-License-Identifier: MIT */
/* Checkpoints: what is saved is loaded bit for bit; a kill at any moment, a full disk and damaged files leave an older whole one in
 * use; old ones are pruned; the folder is a model that the engine opens. */
#include "test_util.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/dir.h"
#include "base/sha256.h"
#include "model/config_write.h"
#include "train/checkpoint_parts.h"

typedef struct fixture {
    char dir[96];
    sp_parameters *parameters, *copy;
    sp_optimizer *optimizer, *other;
    sp_train_state state;
} fixture;

static const char v3_config[] =
    "{\"model_type\":\"deepseek_v3\",\"hidden_size\":16,\"intermediate_size\":32,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":2,\"vocab_size\":300,\"q_lora_rank\":8,\"kv_lora_rank\":8,"
    "\"qk_nope_head_dim\":4,\"qk_rope_head_dim\":4,\"v_head_dim\":4,\"n_routed_experts\":4,"
    "\"n_shared_experts\":1,\"num_experts_per_tok\":2,\"moe_intermediate_size\":8,"
    "\"first_k_dense_replace\":1,\"num_nextn_predict_layers\":1}";

static sp_hparams parse_hparams(const char *text)
{
    sp_json *root;
    sp_hparams hp;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_json_parse(text, strlen(text), &root, &err), err);
    assert_ok(sp_hparams_from_config(&hp, root, &err), err);
    sp_json_destroy(root);
    return hp;
}

/* Moments as the optimizer leaves them: those of balances are zero, and Muon's matrices have no second one. */
static void fill_moments(const sp_parameters *ps, sp_optimizer *o)
{
    for (size_t i = 0; i < ps->n_items; i++) {
        const sp_parameter *p = &ps->items[i];
        bool hidden = p->kind == SP_PARAMETER_MATRIX || p->kind == SP_PARAMETER_EXPERT;
        if (p->kind == SP_PARAMETER_BALANCE) continue;
        for (int64_t k = 0; k < sp_parameter_count(p); k++) {
            o->m[p->begin + k] = ps->values[p->begin + k] * 0.5f + 1e-30f;
            if (o->options.kind == SP_OPTIMIZER_MUON && hidden) continue;
            o->v[p->begin + k] = ps->values[p->begin + k] * ps->values[p->begin + k] + (float)k;
        }
    }
}

static int set_up_kind(void **state, sp_optimizer_kind kind)
{
    fixture *f = calloc(1, sizeof *f);
    sp_error err = SP_ERROR_NONE;
    sp_hparams hp = parse_hparams(v3_config);
    sp_optimizer_options options = {kind, 0.9, 0.95, 1e-8, 0.95, 0.1, 1.0, false};
    sp_expert_range all = {0, hp.n_routed_experts};
    strcpy(f->dir, "/tmp/sp-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_ok(sp_parameters_create(&f->parameters, &hp, all, &err), err);
    assert_ok(sp_parameters_create(&f->copy, &hp, all, &err), err);
    assert_ok(sp_optimizer_create(&f->optimizer, f->parameters, &options, &err), err);
    assert_ok(sp_optimizer_create(&f->other, f->copy, &options, &err), err);
    sp_parameters_draw(f->parameters, 5, 0.3, true);
    fill_moments(f->parameters, f->optimizer);
    f->state = (sp_train_state){.step = 10,
                                .tokens = 123456789012,
                                .seed = 0xFFFFFFFFFFFFFFF1u,
                                .fingerprint = 0xDEADBEEF01234567u,
                                .loss_mean = 1.0 / 3.0,
                                .loss_square = 0.1,
                                .seconds = 12.5,
                                .n_ranks = 4};
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_kind(state, SP_OPTIMIZER_ADAMW);
}

static int set_up_muon(void **state)
{
    return set_up_kind(state, SP_OPTIMIZER_MUON);
}

static int tear_down(void **state)
{
    fixture *f = *state;
    sp_optimizer_destroy(f->optimizer);
    sp_optimizer_destroy(f->other);
    sp_parameters_destroy(f->parameters);
    sp_parameters_destroy(f->copy);
    sp_dir_remove(f->dir, NULL);
    free(f);
    return 0;
}

static sp_status save(fixture *f, int64_t step, int n_keep, sp_error *err)
{
    f->state.step = step;
    return sp_checkpoint_save(f->dir, f->parameters, f->optimizer, &f->state,
                              test_path("tests/golden/tokenizers/tiny"), n_keep, err);
}

static const char *join(const fixture *f, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->dir, name);
    return path;
}

/* The newest checkpoint's name, "" if there is none. */
static const char *newest(const fixture *f, char *skipped)
{
    static char name[64];
    sp_buf list = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    char *path;
    assert_ok(sp_checkpoint_newest(&path, f->dir, &list, &err), err);
    snprintf(name, sizeof name, "%s", path ? sp_path_base(path) : "");
    if (skipped) snprintf(skipped, 512, "%s", list.data ? list.data : "");
    sp_free(path);
    sp_buf_clear(&list);
    return name;
}

static bool same_floats(const float *a, const float *b, int64_t n)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static void what_is_saved_is_loaded_bit_for_bit(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    sp_train_state loaded;
    int64_t n = f->parameters->n_floats;
    assert_ok(save(f, 10, 0, &err), err);
    assert_string_equal(newest(f, NULL), "step-00000010");
    assert_ok(sp_checkpoint_load(join(f, "step-00000010"), f->copy, f->other, &loaded, &err), err);
    assert_true(same_floats(f->parameters->values, f->copy->values, n));
    assert_true(same_floats(f->optimizer->m, f->other->m, n));
    assert_true(same_floats(f->optimizer->v, f->other->v, n));
    assert_true(loaded.step == 10 && loaded.tokens == f->state.tokens && loaded.seed == f->state.seed);
    assert_true(loaded.fingerprint == f->state.fingerprint && loaded.n_ranks == 4);
    assert_true(loaded.loss_mean == f->state.loss_mean && loaded.loss_square == f->state.loss_square);
    assert_true(loaded.seconds == f->state.seconds);
    /* weights alone */
    memset(f->copy->values, 0, (size_t)n * sizeof *f->copy->values);
    assert_ok(sp_checkpoint_load(join(f, "step-00000010"), f->copy, NULL, &loaded, &err), err);
    assert_true(same_floats(f->parameters->values, f->copy->values, n));
}

/* Half moments travel through the same file: theirs come back bit for bit, a float32 run's are rounded. */
static void half_moments_are_saved_and_loaded(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    sp_train_state loaded;
    sp_optimizer *half[2];
    sp_optimizer_options options = f->optimizer->options;
    options.kind = SP_OPTIMIZER_ADAMW;
    options.bf16_moments = true;
    int64_t n = f->parameters->n_floats;
    for (int i = 0; i < 2; i++) assert_ok(sp_optimizer_create(&half[i], f->parameters, &options, &err), err);
    assert_ok(save(f, 10, 0, &err), err);
    assert_ok(sp_checkpoint_load(join(f, "step-00000010"), f->copy, half[0], &loaded, &err), err);
    for (int64_t i = 0; i < n; i++) assert_int_equal(half[0]->m16[i], sp_f32_to_bf16(f->optimizer->m[i]));
    f->state.step = 11;
    assert_ok(sp_checkpoint_save(f->dir, f->parameters, half[0], &f->state,
                                 test_path("tests/golden/tokenizers/tiny"), 0, &err),
              err);
    assert_ok(sp_checkpoint_load(join(f, "step-00000011"), f->copy, half[1], &loaded, &err), err);
    assert_memory_equal(half[0]->m16, half[1]->m16, (size_t)n * sizeof(uint16_t));
    assert_memory_equal(half[0]->v16, half[1]->v16, (size_t)n * sizeof(uint16_t));
    for (int i = 0; i < 2; i++) sp_optimizer_destroy(half[i]);
}

static void a_process_reads_its_own_experts(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    sp_train_state loaded;
    sp_parameters *part;
    sp_optimizer *moments;
    assert_ok(save(f, 10, 0, &err), err);
    assert_ok(sp_parameters_create(&part, &f->parameters->hp, (sp_expert_range){1, 3}, &err), err);
    assert_ok(sp_optimizer_create(&moments, part, &f->optimizer->options, &err), err);
    assert_true(part->n_floats < f->parameters->n_floats);
    assert_ok(sp_checkpoint_load(join(f, "step-00000010"), part, moments, &loaded, &err), err);
    for (size_t i = 0; i < part->n_items; i++) {
        const sp_parameter *p = &part->items[i], *q = sp_parameters_find(f->parameters, p->name);
        if (!sp_parameter_is_local(p)) continue;
        int64_t n = sp_parameter_count(p);
        assert_true(same_floats(part->values + p->begin, f->parameters->values + q->begin, n));
        assert_true(same_floats(moments->m + p->begin, f->optimizer->m + q->begin, n));
    }
    assert_int_equal(sp_checkpoint_save(f->dir, part, moments, &f->state, NULL, 0, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "is not in this process"));
    sp_optimizer_destroy(moments);
    sp_parameters_destroy(part);
}

static void a_checkpoint_is_a_model_that_opens(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    assert_ok(save(f, 10, 0, &err), err);
    sp_archive *archive;
    sp_hparams hp;
    sp_weights weights;
    assert_ok(sp_archive_open(&archive, join(f, "step-00000010"), &err), err);
    assert_ok(sp_hparams_from_archive(&hp, archive, &err), err);
    assert_true(sp_hparams_hash(&hp, 0) == sp_hparams_hash(&f->parameters->hp, 0));
    assert_ok(sp_weights_bind(&weights, &hp, archive, &err), err);
    assert_int_equal(weights.n_mtp, 1);
    assert_non_null(sp_archive_find(archive, "model.layers.2.eh_proj.weight"));
    assert_null(sp_archive_find(archive, "model.layers.2.embed_tokens.weight"));
    sp_weights_clear(&weights);
    sp_archive_close(archive);
    sp_tokenizer *tokenizer;
    assert_ok(sp_tokenizer_open(&tokenizer, join(f, "step-00000010"), &err), err);
    sp_tokenizer_close(tokenizer);
}

static void saving_a_step_again_replaces_it(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    sp_train_state loaded;
    assert_ok(save(f, 10, 0, &err), err);
    f->parameters->values[0] = 42.0f;
    assert_ok(save(f, 10, 0, &err), err);
    assert_ok(sp_checkpoint_load(join(f, "step-00000010"), f->copy, NULL, &loaded, &err), err);
    assert_true(f->copy->values[0] == 42.0f);
    sp_names_list list = {NULL, 0, 0};
    assert_ok(sp_dir_list(&list, f->dir, &err), err);
    assert_int_equal(list.n, 1);
    sp_names_list_clear(&list);
}

static void old_checkpoints_are_pruned(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    for (int64_t step = 10; step <= 40; step += 10) assert_ok(save(f, step, 2, &err), err);
    assert_false(sp_file_exists(join(f, "step-00000020")));
    assert_true(sp_file_exists(join(f, "step-00000030")));
    assert_true(sp_file_exists(join(f, "step-00000040")));
    assert_ok(save(f, 35, 1, &err), err); /* later ones stay: they are not older */
    assert_false(sp_file_exists(join(f, "step-00000030")));
    assert_true(sp_file_exists(join(f, "step-00000035")));
    assert_string_equal(newest(f, NULL), "step-00000040");
    assert_ok(sp_checkpoint_remove_all(f->dir, &err), err);
    assert_string_equal(newest(f, NULL), "");
    assert_ok(sp_checkpoint_remove_all("/tmp/sp-no-such-folder", &err), err);
}

static void write_at(const char *path, long offset, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

typedef struct damage {
    const char *file;
    const char *expected;
    enum { FLIP, CUT, REMOVE } kind;
} damage;

static void damaged_files_are_named_and_the_one_before_is_used(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    static const damage cases[] = {
        {"model.safetensors", "model.safetensors: is damaged", FLIP},
        {"model.safetensors", "model.safetensors: expected", CUT},
        {"model.safetensors", "model.safetensors: is missing", REMOVE},
        {"optimizer.safetensors", "optimizer.safetensors: is damaged", FLIP},
        {"optimizer.safetensors", "optimizer.safetensors: is missing", REMOVE},
        {"config.json", "config.json: expected", CUT},
        {"tokenizer.json", "tokenizer.json: is damaged", FLIP},
        {"training.json", "training.json: its own sum does not fit", FLIP},
        {"training.json", "training.json: its own sum does not fit", CUT},
        {"training.json", "training.json: is missing", REMOVE},
    };
    assert_ok(save(f, 10, 0, &err), err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const damage *d = &cases[i];
        char path[256], skipped[512];
        assert_ok(save(f, 20, 0, &err), err);
        snprintf(path, sizeof path, "%s/step-00000020/%s", f->dir, d->file);
        if (d->kind == FLIP) write_at(path, -9, "~", 1);
        if (d->kind == CUT) assert_int_equal(truncate(path, 200), 0);
        if (d->kind == REMOVE) assert_int_equal(unlink(path), 0);
        assert_string_equal(newest(f, skipped), "step-00000010");
        if (strncmp(skipped, "step-00000020: ", 15) != 0 || !strstr(skipped, d->expected))
            fail_msg("expected %s, found %s", d->expected, skipped);
        sp_train_state loaded;
        assert_int_equal(sp_checkpoint_load(join(f, "step-00000020"), f->copy, NULL, &loaded, &err),
                         SP_E_FORMAT);
        assert_non_null(strstr(err.text, d->expected));
    }
}

static void another_model_is_refused_by_tensor(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    sp_train_state loaded;
    sp_parameters *other;
    assert_ok(save(f, 10, 0, &err), err);
    sp_hparams hp = f->parameters->hp;
    hp.vocab_size = 301;
    assert_ok(sp_parameters_create(&other, &hp, (sp_expert_range){0, 4}, &err), err);
    assert_int_equal(sp_checkpoint_load(join(f, "step-00000010"), other, NULL, &loaded, &err), SP_E_FORMAT);
    assert_non_null(strstr(err.text, "model.safetensors: tensor \"model.embed_tokens.weight\": expected the "
                                     "shape [301, 16], found [300, 16]"));
    sp_parameters_destroy(other);
    hp.vocab_size = 300;
    hp.n_routed_experts = 5;
    assert_ok(sp_parameters_create(&other, &hp, (sp_expert_range){0, 5}, &err), err);
    assert_int_equal(sp_checkpoint_load(join(f, "step-00000010"), other, NULL, &loaded, &err), SP_E_FORMAT);
    sp_parameters_destroy(other);
}

static void other_moments_are_refused_by_tensor(void **state)
{
    fixture *f = *state; /* Muon's */
    sp_error err = SP_ERROR_NONE;
    sp_train_state loaded;
    assert_ok(save(f, 10, 0, &err), err);
    f->other->options.kind = SP_OPTIMIZER_ADAMW;
    assert_int_equal(sp_checkpoint_load(join(f, "step-00000010"), f->copy, f->other, &loaded, &err),
                     SP_E_FORMAT);
    assert_non_null(strstr(err.text, "optimizer.safetensors: tensor \"v."));
    assert_non_null(strstr(err.text, "is missing"));
}

/* A state of another version with a right sum. */
static void another_version_is_passed_over(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    char skipped[512], path[256];
    assert_ok(save(f, 10, 0, &err), err);
    assert_ok(save(f, 20, 0, &err), err);
    snprintf(path, sizeof path, "%s", join(f, "step-00000020/training.json"));
    sp_buf text = read_whole(path);
    char *version = strstr(text.data, "\"version\": 1");
    assert_non_null(version);
    version[11] = '7';
    char *sum = strstr(text.data, ",\n  \"sum\": \"");
    sp_sha256 sha;
    uint8_t digest[32];
    char hex[65];
    sp_sha256_init(&sha);
    sp_sha256_add(&sha, text.data, (size_t)(sum - text.data));
    sp_sha256_end(&sha, digest);
    sp_sha256_hex(digest, hex);
    memcpy(sum + 12, hex, 64);
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    fclose(file);
    sp_buf_clear(&text);
    assert_string_equal(newest(f, skipped), "step-00000010");
    assert_non_null(strstr(skipped, "training.json: version 7 is unknown, this program reads 1"));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Save from step `first` on without end; every finished step is reported. */
static _Noreturn void save_on_and_on(fixture *f, int64_t first, int report)
{
    for (int64_t step = first;; step++) {
        f->parameters->values[0] = (float)step;
        if (save(f, step, 2, NULL) != SP_OK) _exit(1);
        if (write(report, &step, sizeof step) != sizeof step) _exit(2);
    }
}

/* A child saves one checkpoint after the other and is killed at some moment of the first or second; the newest whole one is at least the
 * last that the child saw finished, and its contents are right. */
static void a_kill_at_any_moment_leaves_a_whole_one(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    double begin = now();
    assert_ok(save(f, 1, 0, &err), err);
    double duration = now() - begin;
    unsigned random = 12345;
    int64_t last = 1;
    for (int round = 0; round < 20; round++) {
        int report[2];
        assert_int_equal(pipe(report), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) save_on_and_on(f, last + 1, report[1]);
        close(report[1]);
        int64_t seen = last, step;
        if (round % 2 == 0) assert_int_equal(read(report[0], &seen, sizeof seen), sizeof seen);
        random = random * 1103515245u + 12345u;
        double share = (double)(random >> 8) / (1 << 24), wait = fmin(1.2 * share * duration, 0.5);
        struct timespec pause = {0, (long)(wait * 1e9)};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        while (read(report[0], &step, sizeof step) == sizeof step) seen = step;
        close(report[0]);
        const char *name = newest(f, NULL);
        last = sp_checkpoint_step(name);
        assert_true(last >= seen && last <= seen + 1);
        sp_train_state loaded;
        assert_ok(sp_checkpoint_load(join(f, name), f->copy, f->other, &loaded, &err), err);
        assert_int_equal(loaded.step, last);
        if (last > 1) assert_true(f->copy->values[0] == (float)last);
    }
    assert_true(last > 10);
}

static void a_full_disk_leaves_what_was_there(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    assert_ok(save(f, 10, 0, &err), err);
    uint64_t n_bytes;
    assert_ok(sp_file_size(join(f, "step-00000010/optimizer.safetensors"), &n_bytes, &err), err);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (int i = 1; i <= 8; i++) { /* from the first bytes to the last file */
        limit = before;
        limit.rlim_cur = (rlim_t)(n_bytes * (uint64_t)i / 9);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        sp_status status = save(f, 20, 1, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, SP_E_IO);
        assert_non_null(strstr(err.text, "checkpoint of step 20: cannot write"));
        assert_false(sp_file_exists(join(f, "step-00000020")));
        assert_false(sp_file_exists(join(f, ".step-00000020.tmp")));
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_string_equal(newest(f, NULL), "step-00000010");
    assert_ok(save(f, 20, 1, &err), err);
}

static void a_folder_that_cannot_be_written_is_named(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    char dir[96];
    FILE *file = fopen(join(f, "file"), "w");
    fclose(file);
    strcpy(dir, f->dir);
    strcat(f->dir, "/file");
    assert_int_equal(save(f, 10, 0, &err), SP_E_IO);
    assert_non_null(strstr(err.text, "checkpoint of step 10: "));
    strcpy(f->dir, dir);
    if (geteuid() == 0) return; /* root may write anywhere */
    assert_int_equal(chmod(f->dir, 0500), 0);
    sp_status status = save(f, 10, 0, &err);
    assert_int_equal(chmod(f->dir, 0700), 0);
    assert_int_equal(status, SP_E_IO);
    assert_non_null(strstr(err.text, "cannot create directory"));
}

static void leftovers_are_removed_and_strangers_stay(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_dir_create(join(f, ".step-00000007.tmp/inner"), &err), err);
    assert_ok(sp_dir_create(join(f, "step-7"), &err), err);
    assert_ok(sp_dir_create(join(f, "step-00000009-mine"), &err), err);
    assert_string_equal(newest(f, NULL), "");
    assert_true(sp_file_exists(join(f, ".step-00000007.tmp"))); /* looking changes nothing */
    assert_ok(sp_checkpoint_clean(f->dir, &err), err);
    assert_false(sp_file_exists(join(f, ".step-00000007.tmp")));
    assert_ok(sp_checkpoint_remove_all(f->dir, &err), err);
    assert_true(sp_file_exists(join(f, "step-7")));
    assert_true(sp_file_exists(join(f, "step-00000009-mine")));
    char *path;
    assert_ok(sp_checkpoint_clean("/tmp/sp-no-such-folder", &err), err);
    assert_ok(sp_checkpoint_newest(&path, "/tmp/sp-no-such-folder", NULL, &err), err);
    assert_null(path);
}

static void every_failed_allocation_is_reported(void **state)
{
    fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    sp_train_state loaded;
    assert_ok(save(f, 10, 0, &err), err);
    sp_status status = SP_E_NOMEM;
    for (int n = 0; status != SP_OK; n += n < 60 ? 1 : 61) {
        sp_mem_fail_after(n);
        status = save(f, 20, 1, &err);
        sp_mem_fail_after(-1);
        if (status != SP_OK) assert_int_equal(status, SP_E_NOMEM);
    }
    status = SP_E_NOMEM;
    for (int n = 0; status != SP_OK; n++) {
        char *path = NULL;
        sp_mem_fail_after(n);
        status = sp_checkpoint_newest(&path, f->dir, NULL, &err);
        if (status == SP_OK) {
            status = sp_checkpoint_load(path, f->copy, f->other, &loaded, &err);
            sp_free(path);
        }
        sp_mem_fail_after(-1);
        if (status != SP_OK) assert_int_equal(status, SP_E_NOMEM);
    }
    assert_int_equal(loaded.step, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define MUON_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_muon, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_saved_is_loaded_bit_for_bit),
        MUON_TEST(what_is_saved_is_loaded_bit_for_bit),
        TEST(half_moments_are_saved_and_loaded),
        TEST(a_process_reads_its_own_experts),
        TEST(a_checkpoint_is_a_model_that_opens),
        TEST(saving_a_step_again_replaces_it),
        TEST(old_checkpoints_are_pruned),
        TEST(damaged_files_are_named_and_the_one_before_is_used),
        TEST(another_model_is_refused_by_tensor),
        MUON_TEST(other_moments_are_refused_by_tensor),
        TEST(another_version_is_passed_over),
        TEST(a_kill_at_any_moment_leaves_a_whole_one),
        TEST(a_full_disk_leaves_what_was_there),
        TEST(a_folder_that_cannot_be_written_is_named),
        TEST(leftovers_are_removed_and_strangers_stay),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
