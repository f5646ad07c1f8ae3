/* SPDX-License-Identifier: MIT */
/* Formats of strings as patterns. What is written under one is always of the format; not all that is of it can be written. */
#include "text/grammar_regex.h"

#include <string.h>

#define RX_YEAR "(\\d{3}[1-9]|\\d\\d[1-9]\\d|\\d[1-9]\\d\\d|[1-9]\\d{3})"
#define RX_DATE                                                                                              \
    "(" RX_YEAR                                                                                              \
    "-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-"         \
    "8]))|"                                                                                                  \
    "(\\d\\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29)"
#define RX_CLOCK "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define RX_LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define RX_BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define RX_HEX "[0-9A-Fa-f]{1,4}"
#define RX_UUID(version)                                                                                     \
    "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-" version "[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
#define RX_EMAIL                                                                                             \
    "^[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9]+(-[A-Za-z0-9]+)*(\\.[A-Za-z0-9]+(-[A-Za-z0-9]+)*)+$"
#define RX_HOSTNAME "^" RX_LABEL "(\\." RX_LABEL "){0,2}$"
#define RX_IPV4 RX_BYTE "(\\." RX_BYTE "){3}"
#define RX_IPV6                                                                                              \
    "((" RX_HEX ":){7}" RX_HEX "|::(" RX_HEX "(:" RX_HEX "){0,5})?|" RX_HEX "::(" RX_HEX "(:" RX_HEX         \
    "){0,4})?|" RX_HEX ":" RX_HEX "::(" RX_HEX "(:" RX_HEX "){0,3})?)"
#define RX_BASE64 "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$"
#define RX_POINTER "(/([^~/]|~[01])*)*"
#define RX_ABSOLUTE "[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9]+([.-][A-Za-z0-9]+)*(:\\d{1,5})?(/" RX_URL ")?"
#define RX_RELATIVE "(\\.{0,2}/)?[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?"
#define RX_QUERY "(\\?" RX_URL ")?(#" RX_URL ")?$"
#define RX_URL "([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"

const char *sp_format_pattern(const char *name, bool *known)
{
    static const struct {
        const char *name, *pattern;
    } table[] = {
        {"date", "^" RX_DATE "$"},
        {"time", "^" RX_CLOCK "$"},
        {"date-time", "^" RX_DATE "T" RX_CLOCK "$"},
        {"duration", "^P(\\d+W|\\d+Y(\\d+M(\\d+D)?)?|\\d+M(\\d+D)?|\\d+D|"
                     "(\\d+D)?T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S))$"},
        {"email", RX_EMAIL},
        {"idn-email", RX_EMAIL},
        {"hostname", RX_HOSTNAME},
        {"idn-hostname", RX_HOSTNAME},
        {"ipv4", "^" RX_IPV4 "$"},
        {"ipv6", "^" RX_IPV6 "$"},
        {"uri", "^" RX_ABSOLUTE RX_QUERY},
        {"iri", "^" RX_ABSOLUTE RX_QUERY},
        {"uri-template", "^" RX_ABSOLUTE RX_QUERY},
        {"uri-reference", "^(" RX_ABSOLUTE "|" RX_RELATIVE ")" RX_QUERY},
        {"iri-reference", "^(" RX_ABSOLUTE "|" RX_RELATIVE ")" RX_QUERY},
        {"uuid", RX_UUID("[0-9a-fA-F]")},
        {"json-pointer", "^" RX_POINTER "$"},
        {"relative-json-pointer", "^(0|[1-9]\\d*)(#|" RX_POINTER ")$"},
        {"regex", NULL},
        /* names that the standard does not have, but writers of schemas do */
        {"uuid1", RX_UUID("1")},
        {"uuid3", RX_UUID("3")},
        {"uuid4", RX_UUID("4")},
        {"uuid5", RX_UUID("5")},
        {"uuid6", RX_UUID("6")},
        {"uuid7", RX_UUID("7")},
        {"uuid8", RX_UUID("8")},
        {"ipvanyaddress", "^(" RX_IPV4 "|" RX_IPV6 ")$"},
        {"base64", RX_BASE64},
        {"byte", RX_BASE64},
    };
    *known = true;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0) return table[i].pattern;
    *known = false;
    return NULL;
}
