/* SPDX-License-Identifier: MIT */
/* The atomic writer: what it refuses to replace, and that nothing appears before commit. */
#include "test_util.h"

#include <sys/stat.h>

static void write_text(const char *path, const char *text, int commit)
{
    sp_error err = SP_ERROR_NONE;
    sp_writer *writer = NULL;
    assert_ok(sp_writer_open(&writer, path, &err), err);
    assert_ok(sp_writer_write(writer, text, strlen(text), &err), err);
    if (commit) assert_ok(sp_writer_commit(writer, &err), err);
    sp_writer_close(writer);
}

static void test_replaces_only_on_commit(void **state)
{
    char dir[] = "/tmp/sputnik-file.XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(dir));
    char *path = sp_path_join(dir, "a");
    write_text(path, "old", 1);
    write_text(path, "new", 0);
    sp_buf buf = read_whole(path);
    assert_int_equal(buf.len, 3);
    assert_memory_equal(buf.data, "old", 3);
    sp_buf_clear(&buf);
    write_text(path, "newer", 1);
    buf = read_whole(path);
    assert_int_equal(buf.len, 5);
    sp_buf_clear(&buf);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* no temporary file is left */
    sp_free(path);
}

static void test_never_replaces_what_is_no_file(void **state)
{
    char dir[] = "/tmp/sputnik-file.XXXXXX";
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    char *fifo = sp_path_join(dir, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *const paths[] = {dir, fifo, "/dev/null"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        sp_error err = SP_ERROR_NONE;
        sp_writer *writer = NULL;
        assert_int_equal(sp_writer_open(&writer, paths[i], &err), SP_E_IO);
        assert_null(writer);
        assert_non_null(strstr(err.text, "not a regular file"));
    }
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(unlink(fifo), 0);
    assert_int_equal(rmdir(dir), 0);
    sp_free(fifo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaces_only_on_commit),
        cmocka_unit_test(test_never_replaces_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
