/* SPDX-License-Identifier: MIT */
/* Small files of Hugging Face folders. Start at sp_hf_put_configs(). */
#include "model/hf_dir.h"

#include <string.h>

#include "base/file.h"

#define MAX_BYTES ((size_t)256 << 20) /* a tokenizer.json has 2-12 MB */

sp_status sp_hf_put_text(const char *dir, const char *name, const sp_buf *text, sp_error *err)
{
    char *path = sp_path_join(dir, name);
    if (!path) return sp_fail_nomem(err, "path", strlen(name));
    sp_status status = sp_file_write(path, text, err);
    sp_free(path);
    return status;
}

sp_status sp_hf_copy_file(const char *dir, const char *from, const char *name, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    char *path = sp_path_join(from, name);
    if (!path) return sp_fail_nomem(err, "path", strlen(name));
    sp_status status = SP_OK;
    if (sp_file_exists(path)) {
        status = sp_file_read(&text, path, MAX_BYTES, err);
        if (status == SP_OK) status = sp_hf_put_text(dir, name, &text, err);
    }
    sp_buf_clear(&text);
    sp_free(path);
    return status;
}

sp_status sp_hf_copy_tokenizer(const char *dir, const char *from, sp_error *err)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                        "chat_template.jinja"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        SP_TRY(sp_hf_copy_file(dir, from, names[i], err));
    return SP_OK;
}

sp_status sp_hf_put_configs(const char *dir, const sp_hparams *hp, const sp_config_facts *facts,
                            sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, sp_config_write(&text, hp, facts, err));
    SP_GOTO(done, status, sp_hf_put_text(dir, "config.json", &text, err));
    if (!facts->tokenizer) goto done;
    text.len = 0;
    SP_GOTO(done, status, sp_generation_config_write(&text, facts->tokenizer, err));
    status = sp_hf_put_text(dir, "generation_config.json", &text, err);
done:
    sp_buf_clear(&text);
    return status;
}
