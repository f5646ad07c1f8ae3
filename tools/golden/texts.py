# SPDX-License-Identifier: MIT
"""Our own text set for the tokenizer goldens: what pre-tokenizer patterns and merge loops get wrong.

TEXTS are encoded as plain text; SPECIAL with control tokens recognised; REPEATED as (unit, times, label);
INVALID holds byte strings that are not UTF-8, for round trips only; FILES are real texts outside the tree.
"""

C_CODE = """#include <stdio.h>

/* Sum of squares; returns 0 on overflow. */
static unsigned sum_sq(const unsigned *v, size_t n)
{
\tunsigned s = 0;
\tfor (size_t i = 0; i < n; i++) {
\t\tif (s > 0xFFFFFFFFu - v[i] * v[i])
\t\t\treturn 0;
\t\ts += v[i] * v[i];
\t}
\treturn s;
}

int main(void) { printf("%u\\n", sum_sq((unsigned[]){1, 2, 3}, 3)); return 0; }
"""

PYTHON_CODE = '''def fib(n: int) -> list[int]:
    """First n Fibonacci numbers."""
    out = [0, 1]
    while len(out) < n:
        out.append(out[-1] + out[-2])   # O(n)
    return out[:n]


if __name__ == "__main__":
    print(f"{fib(10)!r:>40}", end="\\n\\n")
'''

RUST_CODE = """impl<'a, T: Clone + 'a> Iterator for Every<'a, T> {
    type Item = &'a T;
    fn next(&mut self) -> Option<Self::Item> {
        let x = self.v.get(self.i)?;
        self.i += 10_000usize.min(self.step as usize);
        Some(x)
    }
}
"""

SQL_HTML = """SELECT COUNT(*)::float / NULLIF(total, 0) AS "share%" FROM t WHERE name LIKE 'O''Brien%' AND id <> 42;
<!DOCTYPE html><html lang="en"><body class='a b-c'>&nbsp;&lt;tag/&gt; <a href="https://example.org/?q=1&r=2#top">x</a></body></html>
{"key": [1, 2.5e-10, null, true], "nested": {"\\u00e9": "\\n"}}
"""

MATH = (
    "Let $f(x)=\\int_{0}^{\\infty} e^{-x^{2}}\\,dx = \\frac{\\sqrt{\\pi}}{2}$; then ∀ε>0 ∃δ>0: |x−a|<δ ⇒ |f(x)−f(a)|<ε.\n"
    "∑_{n=1}^{∞} 1/n² = π²/6 ≈ 1.6449340668, ∂u/∂t = α∇²u, A ⊂ B ∪ C, x ∈ ℝⁿ, 2³≠3², ½+⅓=⅚, Ⅳ, ①②③.\n"
    "The answer is \\boxed{204}."
)

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", "\t\n", "\r\n", "\r", " \n \n", "a", "é", "你", "🙂",
    C_CODE, PYTHON_CODE, RUST_CODE, SQL_HTML, MATH,
    "Hello, world! How's it going? I'm fine, they'll say we've been YOU'RE 'LL 'Re it'S it'ſ don't o'clock 'tis",
    "0 1 12 123 1234 12345 123456 1234567 3.14159 1,000,000 1e-9 0x1F4A9 007 ١٢٣٤ ४५६ １２３ 五百 x2y33z444",
    "  leading, trailing and   inner    spaces  \t tabs\t\tand \u00a0nbsp\u00a0\u00a0 \u3000ideographic\u3000 \u2003em\u2009thin ",
    "line one\nline two\r\nline three\rline four\n\n  \n\t\n   indented\n      more\n\n\n\nend   ",
    "next\u0085line \u2028separator\u2029paragraph \x0bvertical\x0cform feed \x1cfile \x1funit",
    "null\x00inside \x01\x02\x07\x08\x1b[31mred\x1b[0m \x7f delete \ufeffbom \u200bzero\u200cwidth\u200djoin \u2060word\u00adsoft",
    "中文分词：今天天气不错，我们去公园散步吧！“引号”与《书名》、……——以及１２３。繁體字也要測試，龘靐齉爩。",
    "日本語のテキスト：ひらがな、カタカナ、漢字。ｶﾀｶﾅ（半角）とー長音、々〆ヶ。私は2024年に生まれた。",
    "한국어 문장입니다. 띄어쓰기가 있고, 조사도 있다. ㄱㄴㄷ 가나다라 마바사 아자차카 타파하!",
    "mixed中英text混排and数字123与符号#！English单词 后面 空格 and日本語kana too ",
    "Русский текст с буквой ё, Ελληνικά με τόνους, Հայերեն, ქართული, Ўзбек, Ћирилица, ѢѣѲѳ",
    "مرحبا بالعالم! كيف حالك؟ ١٢٣٬٤٥٦ ﷺ لا\u200fRLM\u200e — שלום עולם, מה נשמע? \u202bembedding\u202c",
    "हिन्दी में लिखा हुआ वाक्य। தமிழ் மொழி. ภาษาไทยไม่มีเว้นวรรค ພາສາລາວ မြန်မာဘာသာ ខ្មែរ བོད་ཡིག",
    "Tiếng Việt có nhiều dấu: Cửa Việt, nghiêng ngả. Ünïcödé Ärger Straße ÅNGSTRÖM İstanbul ıŋþæð ﬁ ﬂ Ǆ",
    "combining: e\u0301 a\u030a n\u0303 o\u0308\u0304 q\u0323\u0307 Z\u0351\u036b\u0343\u036a\u0302 \u0301alone k\u20dd \u1100\u1161\u11a8 \u212b\u2126",
    "emoji: 😀😃 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 ❤️ ☺ ✌🏿 🇩🇪🇫🇷 1️⃣ 🧑🏻‍🚀 👩‍❤️‍💋‍👨 ©®™ ⏰ ♻︎ 🦙.cpp",
    "!!! ??? ... --- *** === ### ~~~ ``` <<< >>> !@#$%^&*()_+-=[]{}|;':\",./<>?\\ “” ‘’ «» ‹› … – — ― • ° ¶ § † ‡",
    "a+b=c; i++ && j-- || !k ?: x->y ::z <=> == != <= >= += -= **= //= @ $var ${x} `cmd` #!/bin/sh ~/.rc C:\\dir\\f.txt",
    "https://user:pw@host.example.com:8080/a/b%20c;d?x=1&y=%E4%BD%A0#frag mailto:a.b+c@d.org 192.168.0.1 ::1 2001:db8::ff00",
    "camelCaseIdentifier snake_case_name SCREAMING_CASE kebab-case-name x_1 __init__ HTTPServer2XML aB1cD2 iPhone15Pro",
    "text <think>not control</think> <｜User｜> <｜Assistant｜> <|EOT|> <|im_start|> <|endoftext|> <｜begin▁of▁sentence｜> ▁",
    "\ud7ff\ue000\ufffd\uffff\U00010000\U0001f9ff\U000e0041\U0010ffff 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 𐍈 𒀀 𓂀 🂡 𐐀𐐨",
    "Ⅷ ⅷ ㊀ ㈱ ㎏ ½ ² ₃ ͵ʹ ªº ʰˠ ᴬᵃ ⓐ ㍿ ꀀ ᚠᛒ ᎣᎤ ⰀⰁ ꙁꙂ Ⲁⲁ ℂℕℝ K Å ℓ №",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ThequickbrownfoxjumpsoverthelazydogThequickbrownfoxjumpsoverthelazydogThequickbrownfoxjumpsoverthelazydog",
    " \n  \n   word \n\n  (x)\n\n;\n  }\n\n\n]\t\n\r\n\r\n end.\n",
    "x \u00a0y\u00a0 z\u3000\n\u3000w \t\u2003 q" + " " * 40 + "r" + "\n" * 12 + "s" + "\t" * 9 + "t" + " \n" * 5,
]

SPECIAL = [
    "<｜begin▁of▁sentence｜>You are helpful.<｜User｜>Hi<｜Assistant｜><think>\nhm\n</think>\n\nHello!<｜end▁of▁sentence｜>",
    "<｜fim▁begin｜>def f(x):\n    <｜fim▁hole｜>\n    return y<｜fim▁end｜>",
    "a<think>b</think>c <think> d</think> <think></think><think><think>",
    "<｜User｜<｜User｜>｜> <｜ User ｜> <｜User|> <think <think></ think>",
]

REPEATED = [
    (" ", 1000, "thousand spaces"), (" ", 100000, "100,000 spaces"), ("\n", 3000, "line feeds"), ("\t ", 2000, "tab and space"),
    ("a", 20000, "one letter"), ("ab", 10000, "two letters"), ("你好", 5000, "CJK without a break"), ("7", 5000, "digits"),
    ("!", 5000, "marks"), ("🙂", 3000, "emoji"), ("Hello world. ", 2000, "a sentence"), ("e\u0301", 3000, "combining"),
    ("=-", 5000, "rules"), ("x\n\n  ", 2000, "indented lines"),
]

INVALID = [b"\xff\xfe\xfd", b"abc\x80def", b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x99", b"\xc0\xaf\xe0\x80\x80", b"\xed\xa0\x80\xed\xb0\x80",
           b"ok \xf5\x90\x80\x80 ok", b"\xe4\xbd\xa0\xe5\xa5\xbd\xe5", b"\x80\n\xbf \xff"]

FILES = ["text/tinyshakespeare.txt", "text/war-and-peace.txt", "text/wikitext-2/valid.txt", "golden/cs336-a1/german.txt",
         "text/llama-factory/alpaca_zh_demo.json", "text/data-juicer/stack_exchange.jsonl"]
