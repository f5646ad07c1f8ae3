/* SPDX-License-Identifier: MIT */
/* Booking: what an answer cost goes to the ledger and to its key's sum in one transaction. Bookings that come while a transaction is
 * being written to the disk wait and go together in the next one, so that many answers share one flush. Start at sp_meter_book(). */
#include "server/meter_db.h"

#include <math.h>

const sp_price sp_price_chat = {0.07, 0.27, 1.10};
const sp_price sp_price_reasoner = {0.14, 0.55, 2.19};

/* Such that no cost overflows: 2^32 tokens at 10^5 dollars per million are 4.3 * 10^17 billionths. */
#define TOKENS_MAX ((uint64_t)1 << 32)
#define PRICE_MAX 1e5

/* Tokens at a price: whole billionths to *whole, the rest in millionths of a billionth to *rest. */
static sp_status add_part(uint64_t n, double dollars, int64_t *whole, uint64_t *rest, sp_error *err)
{
    if (!(dollars >= 0 && dollars <= PRICE_MAX))
        return sp_fail(err, SP_E_RANGE, "meter: a price of %g dollars per million tokens, expected 0 to %g",
                       dollars, PRICE_MAX);
    if (n > TOKENS_MAX)
        return sp_fail(err, SP_E_RANGE, "meter: %llu tokens in one request", (unsigned long long)n);
    uint64_t per_million = (uint64_t)llround(dollars * 1e9);
    *whole += (int64_t)(n * (per_million / 1000000));
    *rest += n * (per_million % 1000000);
    return SP_OK;
}

sp_status sp_meter_cost(int64_t *cost, const sp_price *price, uint64_t n_hit, uint64_t n_miss,
                        uint64_t n_reply, sp_error *err)
{
    int64_t whole = 0;
    uint64_t rest = 0;
    SP_TRY(add_part(n_hit, price->hit, &whole, &rest, err));
    SP_TRY(add_part(n_miss, price->miss, &whole, &rest, err));
    SP_TRY(add_part(n_reply, price->output, &whole, &rest, err));
    *cost = whole + (int64_t)((rest + 500000) / 1000000);
    return SP_OK;
}

#if SP_HAVE_SQLITE

#include <time.h>

#include "base/clock.h"

typedef struct sp_booking {
    const sp_ledger_row *row;
    int64_t cost, vendor_cost;
    bool done;
    sp_status status;
    sp_error err;
    struct sp_booking *next;
} sp_booking;

static sp_status write_row(sp_meter *meter, const sp_booking *booking, int64_t now, sp_error *err)
{
    const sp_ledger_row *row = booking->row;
    const char *key_id = row->key_id && row->key_id[0] ? row->key_id : NULL;
    sqlite3_stmt *book =
        sp_meter_bind(meter, SP_METER_BOOK, "ittttiiiiiiri", now, row->request_id, key_id, row->endpoint,
                      row->model ? row->model : "", (int64_t)row->n_hit, (int64_t)row->n_miss,
                      (int64_t)row->n_reply, (int64_t)row->n_reasoning, booking->cost, booking->vendor_cost,
                      row->seconds, (int64_t)row->cancelled);
    SP_TRY(sp_meter_run(meter, book, "booking", err));
    if (!key_id) return SP_OK;
    return sp_meter_run(meter, sp_meter_bind(meter, SP_METER_SPEND, "tii", key_id, booking->cost, now),
                        "booking", err);
}

/* All of them or none. */
static void commit(sp_meter *meter, sp_booking *first)
{
    int64_t now = (int64_t)time(NULL);
    sp_error err = SP_ERROR_NONE;
    pthread_mutex_lock(&meter->lock);
    sp_status status = sp_meter_begin(meter, &err);
    if (status == SP_OK) {
        for (sp_booking *b = first; b && status == SP_OK; b = b->next)
            status = write_row(meter, b, now, &err);
        status = sp_meter_end(meter, status, &err);
    }
    meter->failing = status != SP_OK;
    for (sp_booking *b = first; b; b = b->next) {
        const sp_ledger_row *row = b->row;
        sp_window *window = row->key_id ? sp_windows_find(&meter->windows, row->key_id) : NULL;
        if (window)
            sp_window_add(window, sp_seconds(), 0, (int64_t)(row->n_hit + row->n_miss + row->n_reply));
        b->status = status;
        b->err = err;
    }
    pthread_mutex_unlock(&meter->lock);
}

/* Whoever finds nobody committing commits for all that wait. */
static void queue_and_wait(sp_meter *meter, sp_booking *booking)
{
    pthread_mutex_lock(&meter->queue_lock);
    *meter->queue_end = booking;
    meter->queue_end = &booking->next;
    while (!booking->done && meter->committing) pthread_cond_wait(&meter->queue_moved, &meter->queue_lock);
    if (!booking->done) {
        sp_booking *first = meter->queue;
        meter->queue = NULL;
        meter->queue_end = &meter->queue;
        meter->committing = true;
        pthread_mutex_unlock(&meter->queue_lock);
        commit(meter, first);
        pthread_mutex_lock(&meter->queue_lock);
        meter->committing = false;
        for (sp_booking *b = first; b; b = b->next) b->done = true;
        pthread_cond_broadcast(&meter->queue_moved);
    }
    pthread_mutex_unlock(&meter->queue_lock);
}

sp_status sp_meter_book(sp_meter *meter, const sp_ledger_row *row, sp_error *err)
{
    sp_booking booking = {.row = row, .err = SP_ERROR_NONE};
    SP_TRY(sp_meter_cost(&booking.cost, &row->price, row->n_hit, row->n_miss, row->n_reply, err));
    SP_TRY(
        sp_meter_cost(&booking.vendor_cost, &row->vendor_price, row->n_hit, row->n_miss, row->n_reply, err));
    queue_and_wait(meter, &booking);
    if (booking.status != SP_OK && err) *err = booking.err;
    return booking.status;
}

#endif
