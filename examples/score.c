/* SPDX-License-Identifier: MIT */
/* How likely a model finds a text: log-probability of each token and the text's perplexity.
 *     cc score.c $(pkg-config --cflags --libs sputnik) -lm -o score && ./score model.gguf "The sky is blue." */
#include <sputnik/sputnik.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct score {
    const sp_tokenizer *tokenizer;
    sp_tokens tokens;
    int32_t vocab_size;
    double sum; /* of the log-probabilities */
} score;

/* `logits` predict the token after `position`. */
static int add_position(void *ctx, size_t position, const float *logits)
{
    score *s = ctx;
    if (position + 1 >= s->tokens.n) return 0;
    int32_t next = s->tokens.ids[position + 1];
    double max = (double)logits[0], total = 0;
    for (int32_t i = 1; i < s->vocab_size; i++)
        if ((double)logits[i] > max) max = (double)logits[i];
    for (int32_t i = 0; i < s->vocab_size; i++) total += exp((double)logits[i] - max);
    double logprob = (double)logits[next] - max - log(total);
    size_t len = 0;
    const char *piece = sp_tokenizer_piece(s->tokenizer, next, &len);
    printf("%9.4f  %.*s\n", logprob, (int)len, piece);
    s->sum += logprob;
    return 0;
}

int main(int argc, char **argv)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = NULL;
    sp_session *session = NULL;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    sp_model_info info;
    score s = {0};
    if (argc != 3) return 2;
    sp_status status = sp_model_open(&model, argv[1], &err);
    if (status != SP_OK) goto done;
    sp_model_get_info(model, &info);
    s.vocab_size = info.vocab_size;
    s.tokenizer = sp_model_tokenizer(model);
    if (!s.tokenizer) {
        fprintf(stderr, "score: the model has no vocabulary\n");
        sp_model_close(model);
        return 1;
    }
    status = sp_tokenizer_encode(s.tokenizer, &s.tokens, argv[2], strlen(argv[2]), SP_ENCODE_BOS, &err);
    if (status == SP_OK) status = sp_session_create(&session, model, &options, &err);
    if (status == SP_OK)
        status = sp_session_score(session, s.tokens.ids, s.tokens.n, 0, add_position, &s, &err);
    if (status == SP_OK && s.tokens.n > 1)
        printf("perplexity %.4f\n", exp(-s.sum / (double)(s.tokens.n - 1)));
done:
    if (status != SP_OK) fprintf(stderr, "score: %s\n", err.text);
    sp_session_destroy(session);
    sp_tokens_clear(&s.tokens);
    sp_model_close(model);
    return status == SP_OK ? 0 : 1;
}
