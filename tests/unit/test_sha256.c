/* SPDX-License-Identifier: MIT */
/* SHA-256 against the examples published with FIPS 180-4, in one piece and cut at every place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/sha256.h"

static void check(const char *text, size_t n, const char *expected)
{
    uint8_t digest[32];
    char hex[65];
    for (size_t cut = 0; cut <= n && cut < 130; cut++) {
        sp_sha256 sha;
        sp_sha256_init(&sha);
        sp_sha256_add(&sha, text, cut);
        sp_sha256_add(&sha, text + cut, n - cut);
        sp_sha256_end(&sha, digest);
        sp_sha256_hex(digest, hex);
        assert_string_equal(hex, expected);
    }
}

static void test_published_examples(void **state)
{
    (void)state;
    check("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmn"
          "opqrstnopqrstu",
          112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

static void test_a_million_letters(void **state)
{
    char block[1000];
    uint8_t digest[32];
    char hex[65];
    sp_sha256 sha;
    (void)state;
    memset(block, 'a', sizeof block);
    sp_sha256_init(&sha);
    for (int i = 0; i < 1000; i++) sp_sha256_add(&sha, block, sizeof block);
    sp_sha256_end(&sha, digest);
    sp_sha256_hex(digest, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void test_lengths_around_the_padding(void **state)
{
    /* 55, 56, 63, 64 and 65 bytes of 'a', as sha256sum prints them. */
    static const struct {
        size_t n;
        const char *hex;
    } cases[] = {
        {55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
    };
    char text[65];
    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check(text, cases[i].n, cases[i].hex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_examples),
        cmocka_unit_test(test_a_million_letters),
        cmocka_unit_test(test_lengths_around_the_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
