/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a GGUF file. What parses is walked completely: every value through every typed
 * getter, every string, every array item, the first and the last byte of every tensor. */
#include "format/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void touch(const void *data, uint64_t n)
{
    const uint8_t *p = data;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += p[i];
    sink += sum;
}

static void walk_kv(const sp_gguf *g, const sp_gguf_kv *kv)
{
    char *key = sp_strndup(kv->key.data, (size_t)kv->key.len);
    if (!key) abort();
    if (sp_gguf_find(g, key) != kv) abort();
    int64_t i = 0;
    double r = 0;
    bool b = false;
    sp_gguf_string s = {0};
    if (sp_gguf_int(g, key, &i)) sink += (uint64_t)i;
    if (sp_gguf_real(g, key, &r)) sink += r > 0;
    if (sp_gguf_bool(g, key, &b)) sink += b;
    if (sp_gguf_str(g, key, &s)) touch(s.data, s.len);
    sp_free(key);
    touch(kv->data, kv->n_bytes);
    if (kv->type != SP_GGUF_ARRAY) return;
    uint64_t pos = 0, n = 0;
    while (sp_gguf_next_string(kv, &pos, &s)) {
        touch(s.data, s.len);
        n++;
    }
    if (kv->item_type == SP_GGUF_STRING && n != kv->count) abort();
    for (uint64_t k = 0; k < kv->count; k++) {
        sink += (uint64_t)sp_gguf_item_int(kv, k);
        sink += sp_gguf_item_real(kv, k) > 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_gguf *g = NULL;
    sp_error err = SP_ERROR_NONE;
    if (sp_gguf_parse(&g, data, size, &err) != SP_OK) {
        if (g || err.code == SP_OK || !err.text[0]) abort();
        return 0;
    }
    for (size_t i = 0; i < sp_gguf_kv_count(g); i++) walk_kv(g, sp_gguf_kv_at(g, i));
    for (size_t i = 0; i < sp_gguf_tensor_count(g); i++) {
        const sp_gguf_tensor *t = sp_gguf_tensor_at(g, i);
        if (t->n_bytes == 0 || t->offset > size || t->n_bytes > size - t->offset) abort();
        touch(data + t->offset, 1);
        touch(data + t->offset + t->n_bytes - 1, 1);
        touch(t->name.data, t->name.len);
    }
    sp_gguf_destroy(g);
    return 0;
}
