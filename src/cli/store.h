/* SPDX-License-Identifier: MIT */
/* Where the server's keys and ledger lie, and how amounts are written. */
#ifndef SP_CLI_STORE_H
#define SP_CLI_STORE_H

#include "cli/cli.h"
#include "server/meter.h"

#define SP_STORE_ROW(type, member)                                                                           \
    SP_STRING_ROW(type, member, "store", 0, "FILE", "keys and ledger (in the user's data folder)")

/* The file that was given, else server.db in $XDG_DATA_HOME/sputnik (~/.local/share/sputnik where that is unset), whose folder is
 * made. Free with sp_free. Errors: SP_E_NOT_FOUND, SP_E_IO. */
sp_status sp_cli_store_path(char **path, const char *given, sp_error *err);

/* Open it; prints what is wrong and returns false. Unless `may_create`, a store that is not there is such a wrong. */
bool sp_cli_open_store(sp_meter **meter, const char *given, bool may_create);

/* Billionths of a dollar as dollars: "0.000123456", exactly; or rounded to six decimals. Into buf; returns buf. */
const char *sp_cli_dollars(char buf[32], int64_t billionths);
const char *sp_cli_short_dollars(char buf[32], int64_t billionths);

#endif
