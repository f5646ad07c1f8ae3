/* SPDX-License-Identifier: MIT */
/* `sputnik train`: a run from its configuration, alone or as one of several processes under mpirun; and reports of runs. The work
 * is train/trainer.h's; here are the options, the lines on the terminal and Ctrl-C. */
#include "cli/cli.h"

#include <stdlib.h>
#include <time.h>

#include "cli/interrupt.h"
#include "train/progress_line.h"
#include "train/trainer.h"

typedef struct train_args {
    int resume, restart, check;
    int64_t n_threads, n_steps;
    const char *report;
} train_args;

static const train_args train_defaults = {0, 0, 0, -1, -1, NULL};

static const sp_arg train_table[] = {
    SP_FLAG_ROW(train_args, resume, "resume", 0, "go on from the newest checkpoint, if there is one"),
    SP_FLAG_ROW(train_args, restart, "restart", 0, "remove the run's checkpoints and begin anew"),
    SP_FLAG_ROW(train_args, check, "check", 0, "check configuration, data and checkpoints, change nothing"),
    SP_INT_ROW(train_args, n_steps, "stop-after", 0, 1, 1e15,
               "save and stop after this many steps of this call"),
    SP_INT_ROW(train_args, n_threads, "threads", 't', 0, 256, "threads instead of the configuration's"),
    SP_STRING_ROW(train_args, report, "report", 0, "OUT.html", "write a report of run folders instead"),
};

typedef struct train_view {
    const train_args *args;
    const sp_train_config *config;
    int64_t n_steps;        /* of this call */
    double validation_loss; /* the last one */
    double shown, pace;     /* when a line was shown; seconds per step lately, 0 before the second line */
    int64_t shown_step;
} train_view;

static void show_notice(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s\n", text);
}

static void show_step(void *ctx, const sp_step_metrics *m)
{
    train_view *view = ctx;
    char line[256];
    double now = sp_seconds();
    if (m->validation_loss >= 0) view->validation_loss = m->validation_loss;
    if (view->shown_step > 0) {
        double pace = (now - view->shown) / (double)(m->step - view->shown_step);
        view->pace += (pace - view->pace) * (view->pace > 0 ? 0.3 : 1.0);
    }
    view->shown = now;
    view->shown_step = m->step;
    double left = view->pace > 0 ? view->pace * (double)(view->config->stop_at - m->step) : -1.0;
    sp_progress_options options = {view->config->stop_at, view->validation_loss, left, 160};
    sp_progress_line_format(line, sizeof line, m, &options);
    puts(line);
    fflush(stdout);
}

static bool should_stop(void *ctx)
{
    train_view *view = ctx;
    view->n_steps++;
    return sp_interrupt_seen() || view->n_steps == view->args->n_steps;
}

static void describe(sp_trainer *trainer, const sp_train_config *config)
{
    char n[32];
    printf("%s: %s parameters, %lld steps, begins at step %lld\n", config->path,
           sp_cli_count(n, (double)sp_trainer_parameters(trainer)->n_floats), (long long)config->stop_at,
           (long long)sp_trainer_state(trainer)->step);
}

static int write_report(const char *html, char *const *folders, int n)
{
    sp_report_run runs[SP_REPORT_MAX_RUNS];
    sp_error err = SP_ERROR_NONE;
    if (n < 1 || n > SP_REPORT_MAX_RUNS)
        return sp_cli_usage(&sp_command_train, "expected 1 to %d run folders", SP_REPORT_MAX_RUNS);
    sp_status status = SP_OK;
    for (int i = 0; i < n; i++) {
        runs[i] = (sp_report_run){sp_path_join(folders[i], "metrics.jsonl"), folders[i], NULL};
        if (!runs[i].jsonl_path && status == SP_OK) status = sp_fail_nomem(&err, "path", 0);
    }
    if (status == SP_OK) status = sp_report_compare(html, "Runs", runs, (size_t)n, &err);
    for (int i = 0; i < n; i++) sp_free((char *)(uintptr_t)runs[i].jsonl_path);
    return status == SP_OK ? SP_EXIT_GOOD : sp_cli_fail(&err, NULL);
}

static sp_status train(const train_args *args, const sp_train_config *config, sp_comm *comm, sp_error *err)
{
    train_view view = {.args = args, .config = config, .validation_loss = -1.0};
    sp_train_events events = {show_notice, show_step, should_stop, &view};
    sp_start start = args->resume ? SP_START_RESUME : args->restart ? SP_START_RESTART : SP_START_NEW;
    sp_trainer *trainer;
    if (args->check) start |= SP_START_LOOK;
    SP_TRY(sp_trainer_create(&trainer, config, comm, start, &events, err));
    sp_interrupt_catch_all();
    sp_status status = args->check ? SP_OK : sp_trainer_run(trainer, err);
    if (args->check && sp_comm_rank(comm) == 0) describe(trainer, config);
    sp_trainer_destroy(trainer);
    return status;
}

/* How many processes the launcher says it started: Open MPI's mpirun, MPICH's, Slurm's srun; 1 without one. */
static int count_launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = getenv(names[i]);
        if (text) return atoi(text) > 1 ? atoi(text) : 1;
    }
    return 1;
}

/* Processes that do not find each other would all write the same run. */
static sp_status join(sp_comm **comm, sp_error *err)
{
    int n = count_launched();
    SP_TRY(sp_comm_open(comm, n > 1 ? SP_COMM_WORLD : SP_COMM_SINGLE, err));
    if (n == 1 || sp_comm_size(*comm) > 1) return SP_OK;
    return sp_fail(err, SP_E_ARGUMENT,
                   "started as one of %d processes, but MPI sees only this one (under srun: --mpi=pmix)", n);
}

/* Say which process failed, and end them all. An error that meets every process at once is said by the first: the others give
 * it the time to end them. */
static int fail(sp_comm *comm, const sp_error *err)
{
    bool alone = sp_comm_size(comm) == 1;
    if (sp_comm_rank(comm) > 0) nanosleep(&(struct timespec){.tv_sec = 3}, NULL);
    if (!alone) fprintf(stderr, "rank %d: ", sp_comm_rank(comm));
    sp_cli_fail(err, NULL);
    fflush(NULL);
    if (!alone) sp_comm_abort(comm, SP_EXIT_FAILED);
    sp_comm_close(comm);
    return SP_EXIT_FAILED;
}

static int run_train(const void *options, char *const *operands, int n_operands)
{
    const train_args *args = options;
    sp_error err = SP_ERROR_NONE;
    sp_train_config config;
    sp_comm *comm = NULL;
    if (args->resume && args->restart)
        return sp_cli_usage(&sp_command_train, "--resume and --restart exclude each other");
    if (args->report) return write_report(args->report, operands, n_operands);
    if (n_operands < 1) return sp_cli_usage(&sp_command_train, "expected CONFIG");
    if (n_operands > 1) return sp_cli_usage(&sp_command_train, "expected one CONFIG");
    sp_status status = join(&comm, &err);
    if (status != SP_OK) return fail(comm, &err);
    status = sp_train_config_load(&config, operands[0], &err);
    if (status == SP_OK) {
        if (args->n_threads >= 0) config.threads = (int32_t)args->n_threads;
        status = train(args, &config, comm, &err);
        sp_train_config_clear(&config);
    }
    if (status != SP_OK) return fail(comm, &err);
    sp_comm_close(comm);
    return SP_EXIT_GOOD;
}

const sp_command sp_command_train = {
    "train",
    "CONFIG",
    "train a model from a configuration",
    "CONFIG is a JSON file (docs/configuration.md). Ctrl-C saves a checkpoint and stops. Under mpirun the "
    "processes share the "
    "work. With --report the operands are run folders.",
    train_table,
    sizeof train_table / sizeof train_table[0],
    &train_defaults,
    sizeof train_defaults,
    0,
    16,
    run_train,
};
