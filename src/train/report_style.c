/* SPDX-License-Identifier: MIT */
/* The report's style sheet. Text has a contrast of at least 4.5 to 1 on its ground and curves at least 3 to 1 (WCAG 2.1) in
 * both schemes; the curves of several runs also differ by their dashes. On narrow screens the drawings shrink, so their text
 * grows. */
#include "train/report_style.h"

#define LIGHT                                                                                                \
    "--ground:#f5f5f2;--card:#fff;--ink:#1b1e23;--soft:#59616e;--grid:#e4e6e9;--axis:#8a929e;--mark:#"       \
    "b3261e;"                                                                                                \
    "--c0:#1d5fbf;--c1:#b5490a;--c2:#1c7a45;--c3:#863aa6;"                                                   \
    "--h0:#2a4d9b;--h1:#4c76bd;--h2:#83a7d8;--h3:#b4cdea;--h4:#dce8f4;--h5:#f2f2ef;"                         \
    "--h6:#fbe7d6;--h7:#f8cba6;--h8:#ee9f6b;--h9:#d95f2c;--h10:#b0301f;--h11:#74101c"
#define DARK                                                                                                 \
    "--ground:#12151a;--card:#1b1f26;--ink:#e8eaee;--soft:#a6afbc;--grid:#2c323b;--axis:#6b7482;--mark:#"    \
    "ff8a80;"                                                                                                \
    "--c0:#7cb0ff;--c1:#ffa860;--c2:#6bd398;--c3:#d79cf0;"                                                   \
    "--h0:#b3d7ff;--h1:#6fabea;--h2:#447fbd;--h3:#335b85;--h4:#2b4059;--h5:#272c34;"                         \
    "--h6:#47382d;--h7:#704d2f;--h8:#a8682e;--h9:#ea872f;--h10:#ff6d57;--h11:#ffbac6"
#define COLOUR(i) ".c" #i "{--c:var(--c" #i ")}"
#define HEAT(i) ".h" #i "{fill:var(--h" #i ");background:var(--h" #i ")}"

const char sp_report_style[] =
    ":root{color-scheme:light dark;" LIGHT "}\n"
    "@media (prefers-color-scheme:dark){:root{" DARK "}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1200px;padding:28px 20px 48px;background:var(--ground);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",sans-serif}\n"
    "h1{margin:0;font-size:1.7rem;line-height:1.2;overflow-wrap:anywhere}\n"
    "h2{margin:36px 0 10px;font-size:1.2rem}\n"
    "p{margin:6px 0}\n"
    ".soft{color:var(--soft)}\n"
    ".warning{margin:16px 0;padding:10px 14px;border-left:4px solid var(--mark);background:var(--card)}\n"
    ".warning pre{margin:4px 0 0}\n"
    "dl.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:1px;margin:22px 0;"
    "overflow:hidden;border:1px solid var(--grid);border-radius:8px;background:var(--card)}\n"
    "dl.figures div{padding:12px 14px;box-shadow:0 0 0 1px var(--grid)}\n"
    "dt{color:var(--soft);font-size:.82rem}\n"
    "dd{margin:0;font-size:1.3rem;font-weight:600;font-variant-numeric:tabular-nums}\n"
    "dd small{display:block;color:var(--soft);font-size:.78rem;font-weight:400}\n"
    ".scroll{overflow-x:auto;margin:22px 0;border:1px solid "
    "var(--grid);border-radius:8px;background:var(--card)}\n"
    "table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:8px 14px;border-bottom:1px solid var(--grid);text-align:left;vertical-align:top}\n"
    "tbody tr:last-child>*{border-bottom:0}\n"
    "tbody th{color:var(--soft);font-weight:400}\n"
    "td small{display:block;color:var(--soft)}\n"
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:16px}\n"
    "figure{margin:0;padding:12px 12px 6px;min-width:0;border:1px solid var(--grid);border-radius:8px;"
    "background:var(--card)}\n"
    "figure.both{grid-column:1/-1}\n"
    "figcaption{padding:0 4px 4px;line-height:1.4}\n"
    ".key{margin-left:14px;color:var(--soft);font-size:.88rem;white-space:nowrap}\n"
    ".key i{display:inline-block;margin-right:6px;vertical-align:middle}\n"
    ".key-line{width:22px;border-top:3px solid var(--c)}\n"
    ".key-line.c1{border-top-style:dashed}.key-line.c2{border-top-style:dotted}"
    ".key-line.c3{border-top-style:double}\n"
    ".key-point{width:9px;height:9px;border-radius:50%;background:var(--c)}\n"
    "svg.chart{display:block;width:100%;height:auto;overflow:visible}\n"
    "svg text{font-size:12.5px;fill:var(--soft);font-variant-numeric:tabular-nums}\n"
    ".grid-line{stroke:var(--grid)}.axis,.tick{stroke:var(--axis)}\n"
    ".line,.raw,.thin,.mark{fill:none;stroke:var(--c);stroke-linejoin:round;stroke-linecap:round}\n"
    ".line{stroke-width:2}.raw{stroke-width:1;opacity:.38}.thin{stroke-width:1.4}\n"
    ".runs .line.c1{stroke-dasharray:9 4}.runs .line.c2{stroke-dasharray:2 4}"
    ".runs .line.c3{stroke-dasharray:10 4 2 4}.runs .raw{opacity:.25}\n"
    ".mark{stroke:var(--mark);stroke-dasharray:5 4}\n"
    "svg .mark-label{fill:var(--mark)}\n"
    "circle{fill:var(--c);stroke:var(--card);stroke-width:1.5}\n"
    "circle:hover{stroke:var(--ink)}\n"
    ".strips rect{fill:transparent}\n"
    ".strips rect:hover{fill:var(--ink);fill-opacity:.13}\n"
    ".at-narrow.chart{display:none}\n"
    ".heat-key{color:var(--soft);font-size:.85rem}\n"
    ".heat-key span{display:inline-block;margin-left:8px;white-space:nowrap}\n"
    ".heat-key i{display:inline-block;width:16px;height:12px;margin-right:4px;border:1px solid var(--grid);"
    "vertical-align:-1px}\n"
    ".maps{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));margin-"
    "top:16px}\n"
    "details{margin-top:12px;padding:10px 14px;border:1px solid "
    "var(--grid);border-radius:8px;background:var(--card)}\n"
    "summary{cursor:pointer;font-weight:600}\n"
    "pre{overflow-x:auto;margin:10px 0 0;font:13px/1.5 "
    "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\n"
    "@media (max-width:700px){body{padding:18px 12px 32px}svg text{font-size:19px}"
    ".at-wide.chart{display:none}.at-narrow.chart{display:block}.line{stroke-width:3}circle{r:6px}"
    ".key:first-of-type{margin-left:8px}dl.figures{grid-template-columns:1fr "
    "1fr}dd{font-size:1.1rem}}\n" COLOUR(0) COLOUR(1) COLOUR(2) COLOUR(3) "\n" HEAT(0) HEAT(1) HEAT(2) HEAT(3)
        HEAT(4) HEAT(5) HEAT(6) HEAT(7) HEAT(8) HEAT(9) HEAT(10) HEAT(
            11) "\n"
                "@media (prefers-reduced-motion:no-preference){.strips rect{transition:fill-opacity .1s}}\n";
