/* SPDX-License-Identifier: MIT */
/* Reading and writing token shards. Start at sp_shard_parse() and sp_shard_build(). */
#include "format/shard.h"

#include "base/hash.h"

static const char magic[8] = {'S', 'P', 'S', 'H', 'A', 'R', 'D', '\n'};

enum { VERSION = 1, FLAG_MASK = 1, SUMMED = 80 };

static uint64_t read_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static uint32_t read_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void write_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static void write_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

uint64_t sp_shard_start(const sp_shard *shard, uint64_t document)
{
    return read_u64(shard->starts + 8 * document);
}

uint64_t sp_shard_find(const sp_shard *shard, uint64_t token)
{
    uint64_t low = 0, high = shard->n_documents;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (sp_shard_start(shard, middle) <= token)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint64_t round_up(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}

static sp_status read_header(sp_shard *s, const uint8_t *data, size_t len, uint32_t *flags, sp_error *err)
{
    if (len < SP_SHARD_HEADER_BYTES)
        return sp_fail(err, SP_E_FORMAT, "shard: the file has %zu bytes, at least %d expected", len,
                       SP_SHARD_HEADER_BYTES);
    if (memcmp(data, magic, sizeof magic) != 0)
        return sp_fail_at(err, SP_E_FORMAT, 0, "shard: no token shard");
    if (read_u32(data + 8) != VERSION)
        return sp_fail_at(err, SP_E_UNSUPPORTED, 8, "shard: version %u, expected %d",
                          (unsigned)read_u32(data + 8), VERSION);
    if (read_u64(data + SUMMED) != sp_hash(SP_HASH_SEED, data, SUMMED))
        return sp_fail_at(err, SP_E_FORMAT, SUMMED, "shard: the header's checksum differs");
    for (int i = SUMMED + 8; i < SP_SHARD_HEADER_BYTES; i++)
        if (data[i]) return sp_fail_at(err, SP_E_FORMAT, i, "shard: the header's end is not zero");
    s->token_bytes = read_u32(data + 12);
    s->n_tokens = read_u64(data + 16);
    s->n_documents = read_u64(data + 24);
    *flags = read_u32(data + 32);
    s->vocab_size = read_u32(data + 36);
    memcpy(s->vocab_hash, data + 40, 32);
    if (s->token_bytes != 2 && s->token_bytes != 4)
        return sp_fail_at(err, SP_E_FORMAT, 12, "shard: %u bytes per token, expected 2 or 4",
                          (unsigned)s->token_bytes);
    if (*flags & ~(uint32_t)FLAG_MASK)
        return sp_fail_at(err, SP_E_FORMAT, 32, "shard: unknown flags %u", (unsigned)*flags);
    if (s->vocab_size == 0 || s->vocab_size > INT32_MAX)
        return sp_fail_at(err, SP_E_FORMAT, 36, "shard: a vocabulary of %u", (unsigned)s->vocab_size);
    return SP_OK;
}

/* Invariant after this: all sections lie inside of the file, which ends with them. */
static sp_status place_sections(sp_shard *s, const uint8_t *data, size_t len, uint32_t flags, sp_error *err)
{
    uint64_t left = len - SP_SHARD_HEADER_BYTES;
    if (s->n_tokens > left || s->n_documents > left || s->n_documents > s->n_tokens)
        return sp_fail_at(err, SP_E_FORMAT, 16,
                          "shard: %llu tokens in %llu documents do not fit into %zu bytes",
                          (unsigned long long)s->n_tokens, (unsigned long long)s->n_documents, len);
    uint64_t tokens = round_up(s->n_tokens * s->token_bytes), starts = 8 * (s->n_documents + 1);
    uint64_t mask = flags & FLAG_MASK ? round_up((s->n_tokens + 7) / 8) : 0;
    if (tokens + starts + mask != left)
        return sp_fail(err, SP_E_FORMAT, "shard: the file has %zu bytes, %llu expected", len,
                       (unsigned long long)(tokens + starts + mask + SP_SHARD_HEADER_BYTES));
    s->tokens = data + SP_SHARD_HEADER_BYTES;
    s->starts = s->tokens + tokens;
    s->mask = mask ? s->starts + starts : NULL;
    if (read_u64(data + 72) != sp_hash(SP_HASH_SEED, s->tokens, (size_t)left))
        return sp_fail_at(err, SP_E_FORMAT, 72, "shard: the data's checksum differs");
    return SP_OK;
}

static sp_status check_data(const sp_shard *s, sp_error *err)
{
    if (sp_shard_start(s, 0) != 0)
        return sp_fail(err, SP_E_FORMAT, "shard: the first document does not start at 0");
    for (uint64_t i = 0; i < s->n_documents; i++)
        if (sp_shard_start(s, i) >= sp_shard_start(s, i + 1))
            return sp_fail(err, SP_E_FORMAT, "shard: document %llu does not end after its start",
                           (unsigned long long)i);
    if (sp_shard_start(s, s->n_documents) != s->n_tokens)
        return sp_fail(err, SP_E_FORMAT, "shard: the last document does not end with the last token");
    for (uint64_t i = 0; i < s->n_tokens; i++)
        if ((uint32_t)sp_shard_token(s, i) >= s->vocab_size)
            return sp_fail(err, SP_E_FORMAT, "shard: token %llu is %d, outside of the vocabulary of %u",
                           (unsigned long long)i, (int)sp_shard_token(s, i), (unsigned)s->vocab_size);
    return SP_OK;
}

sp_status sp_shard_parse(sp_shard *shard, const uint8_t *data, size_t len, sp_error *err)
{
    uint32_t flags = 0;
    *shard = (sp_shard){.n_tokens = 0};
    sp_status status = read_header(shard, data, len, &flags, err);
    if (status == SP_OK) status = place_sections(shard, data, len, flags, err);
    if (status == SP_OK) status = check_data(shard, err);
    if (status != SP_OK) *shard = (sp_shard){.n_tokens = 0};
    return status;
}

sp_status sp_shard_open(sp_shard *shard, const char *path, sp_error *err)
{
    sp_map map = {NULL, 0};
    *shard = (sp_shard){.n_tokens = 0};
    SP_TRY(sp_map_open(&map, path, err));
    sp_status status = sp_shard_parse(shard, map.data, map.len, err);
    if (status == SP_OK) {
        shard->map = map;
        return SP_OK;
    }
    sp_map_close(&map);
    return sp_fail_prefix(err, status, "%s", sp_path_base(path));
}

void sp_shard_close(sp_shard *shard)
{
    sp_map_close(&shard->map);
    *shard = (sp_shard){.n_tokens = 0};
}

/* --- writing --- */

static size_t token_bytes(const sp_shard_builder *b)
{
    return b->vocab_size <= 65536 ? 2 : 4;
}

sp_status sp_shard_add(sp_shard_builder *b, const int32_t *ids, const uint8_t *learnt, size_t n,
                       sp_error *err)
{
    uint8_t start[8], bytes[4];
    if (n == 0) return SP_OK;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= b->vocab_size)
            return sp_fail(err, SP_E_RANGE, "shard: id %d outside of the vocabulary of %u", (int)ids[i],
                           (unsigned)b->vocab_size);
    SP_TRY(sp_buf_reserve(&b->tokens, n * token_bytes(b), err));
    SP_TRY(sp_buf_reserve(&b->mask, n, err));
    write_u64(start, b->n_tokens);
    SP_TRY(sp_buf_append(&b->starts, start, sizeof start, err));
    for (size_t i = 0; i < n; i++) {
        uint8_t one = learnt ? learnt[i] != 0 : 1;
        write_u32(bytes, (uint32_t)ids[i]);
        SP_TRY(sp_buf_append(&b->tokens, bytes, token_bytes(b), err));
        SP_TRY(sp_buf_append(&b->mask, &one, 1, err));
        b->n_learnt += one;
    }
    b->n_tokens += n;
    b->n_documents++;
    return SP_OK;
}

static sp_status pad_to_8(sp_buf *out, sp_error *err)
{
    static const char zeros[8];
    return out->len % 8 ? sp_buf_append(out, zeros, 8 - out->len % 8, err) : SP_OK;
}

static sp_status put_mask(const sp_shard_builder *b, sp_buf *out, sp_error *err)
{
    for (size_t i = 0; i < b->mask.len; i += 8) {
        uint8_t bits = 0;
        for (size_t k = 0; k < 8 && i + k < b->mask.len; k++) bits |= (uint8_t)(b->mask.data[i + k] << k);
        SP_TRY(sp_buf_append(out, &bits, 1, err));
    }
    return pad_to_8(out, err);
}

sp_status sp_shard_build(const sp_shard_builder *b, sp_buf *out, sp_error *err)
{
    uint8_t header[SP_SHARD_HEADER_BYTES] = {0}, end[8];
    sp_buf body = {NULL, 0, 0};
    sp_status status;
    bool has_mask = b->n_learnt != b->n_tokens;
    write_u64(end, b->n_tokens);
    if (b->n_tokens) SP_GOTO(done, status, sp_buf_append(&body, b->tokens.data, b->tokens.len, err));
    SP_GOTO(done, status, pad_to_8(&body, err));
    if (b->n_documents) SP_GOTO(done, status, sp_buf_append(&body, b->starts.data, b->starts.len, err));
    SP_GOTO(done, status, sp_buf_append(&body, end, 8, err));
    if (has_mask) SP_GOTO(done, status, put_mask(b, &body, err));
    memcpy(header, magic, sizeof magic);
    write_u32(header + 8, VERSION);
    write_u32(header + 12, (uint32_t)token_bytes(b));
    write_u64(header + 16, b->n_tokens);
    write_u64(header + 24, b->n_documents);
    write_u32(header + 32, has_mask ? FLAG_MASK : 0);
    write_u32(header + 36, b->vocab_size);
    memcpy(header + 40, b->vocab_hash, 32);
    write_u64(header + 72, sp_hash(SP_HASH_SEED, body.data, body.len));
    write_u64(header + SUMMED, sp_hash(SP_HASH_SEED, header, SUMMED));
    SP_GOTO(done, status, sp_buf_append(out, header, sizeof header, err));
    status = sp_buf_append(out, body.data, body.len, err);
done:
    sp_buf_clear(&body);
    return status;
}

sp_status sp_shard_save(const sp_shard_builder *b, const char *path, sp_error *err)
{
    sp_buf bytes = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, sp_shard_build(b, &bytes, err));
    status = sp_file_write(path, &bytes, err);
done:
    sp_buf_clear(&bytes);
    return status;
}

void sp_shard_builder_clear(sp_shard_builder *b)
{
    sp_buf_clear(&b->tokens);
    sp_buf_clear(&b->starts);
    sp_buf_clear(&b->mask);
    b->n_tokens = b->n_documents = b->n_learnt = 0;
}
