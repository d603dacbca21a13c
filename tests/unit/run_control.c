/* SPDX-License-Identifier: Apache-2.0 */
/* A run that other processes ask, and one that nobody waits for. */
#include "runner/control.h"
#include "runner/journal.h"
#include "runner/state.h"
#include "tests/unit/run_stage.h"

TestSuite(asked, .init = set_up, .timeout = 60);

/* --- what other processes ask ----------------------------------------- */

static struct control control;

/* A record of its own, which the guest's actors find by name. */
static void keep_record(void)
{
	static char dir[] = "/tmp/mayfly-run-XXXXXX";
	struct state_new n = { .name = "play", .config = &config };

	cr_assert_not_null(mkdtemp(dir));
	setenv("MAYFLY_STATE_DIR", dir, 1);
	cr_assert_eq(state_create(&extra.state, &n, &err), 0, "%s", err.msg);
	control_init(&control);
	extra.control = &control;
}

static void forget_record(void)
{
	char lock[64];

	state_discard(&extra.state);
	snprintf(lock, sizeof(lock), "%s/lock", getenv("MAYFLY_STATE_DIR"));
	unlink(lock);
	rmdir(getenv("MAYFLY_STATE_DIR"));
	extra = (struct run_params){ 0 };
}

/* What the run answers, once it listens. */
static int ask(enum control_type type, int value, uint64_t timeout_ns)
{
	struct state *s;
	int fd, ended = 0, r;

	if (state_find(&s, "play", NULL) < 0)
		return -1000;
	while ((fd = state_connect_control(s, NULL)) < 0)
		usleep(1000);
	r = control_ask(fd, type, value, timeout_ns, &ended);
	close(fd);
	state_close(&s);
	return r;
}

static uint32_t next_signal(struct guest *g)
{
	struct wire_signal sig = { 0 };
	struct wire_frame f;

	if (hear(g, &f) == WIRE_SIGNAL)
		wire_get(&f, &sig, sizeof(sig));
	return sig.signo;
}

static void asks_signal(struct guest *g)
{
	struct wire_frame f;
	int early = ask(CONTROL_SIGNAL, SIGUSR1, 0), r;

	hear(g, &f); /* EXEC */
	say_ready(g);
	say_out(g, ".");
	while ((r = ask(CONTROL_SIGNAL, SIGUSR1, 0)) == -EAGAIN)
		usleep(1000);
	say_exit(g,
		 early == -EAGAIN && r == 0 && next_signal(g) == SIGUSR1 ? 5
									 : 1,
		 0);
}

Test(asked, asked_for_a_signal_it_is_sent_once_the_command_runs)
{
	keep_record();
	cr_assert_eq(play(asks_signal), 0);
	expect(VERDICT_RUNTIME_ERROR, 5);
	forget_record();
}

static void asks_stop(struct guest *g)
{
	struct wire_frame f;
	int r;

	hear(g, &f); /* EXEC */
	say_ready(g);
	while ((r = ask(CONTROL_SIGNAL, SIGUSR1, 0)) == -EAGAIN)
		usleep(1000);
	next_signal(g);
	ask(CONTROL_STOP, SIGINT, 3600 * 1000 * MS);
	if (next_signal(g) == SIGINT)
		say_exit(g, 4, 0);
}

Test(asked, asked_to_stop_the_command_gets_the_signal_and_its_time)
{
	keep_record();
	cr_assert_eq(play(asks_stop), 0);
	expect(VERDICT_STOPPED, 130);
	cr_assert_eq(result.exit.code, 4);
	forget_record();
}

static void ignores_stops(struct guest *g)
{
	struct wire_frame f;
	int r;

	hear(g, &f); /* EXEC */
	say_ready(g);
	while ((r = ask(CONTROL_SIGNAL, SIGUSR1, 0)) == -EAGAIN)
		usleep(1000);
	ask(CONTROL_STOP, SIGTERM, 3600 * 1000 * MS);
	ask(CONTROL_STOP, SIGINT, 50 * MS);
	ask(CONTROL_STOP, SIGHUP, 3600 * 1000 * MS);
}

Test(asked, of_several_stops_the_earliest_end_counts)
{
	keep_record();
	cr_assert_eq(play(ignores_stops), 0);
	expect(VERDICT_STOPPED, 143);
	forget_record();
}

static void asks_kill(struct guest *g)
{
	say_ready(g);
	ask(CONTROL_KILL, 0, 0);
}

Test(asked, asked_to_kill_the_vm_dies_at_once)
{
	keep_record();
	cr_assert_eq(play(asks_kill), 0);
	expect(VERDICT_STOPPED, 137);
	forget_record();
}

static void asks_kill_at_boot(struct guest *g)
{
	(void)g;
	ask(CONTROL_STOP, SIGTERM, 0);
}

Test(asked, a_stop_before_the_guest_is_up_ends_it)
{
	keep_record();
	cr_assert_eq(play(asks_kill_at_boot), 0);
	expect(VERDICT_STOPPED, 143);
	forget_record();
}

/* --- a detached run --------------------------------------------------- */

static void speaks_in_turn(struct guest *g)
{
	struct wire_started st = { .pid = 2 };

	say_ready(g);
	frame(g, WIRE_STARTED, &st, sizeof(st));
	say_out(g, "one ");
	frame(g, WIRE_STDERR, "bad", 3);
	say_out(g, "two");
	say_exit(g, 7, 0);
}

static int told;

static int count_start(void *opaque)
{
	told++;
	return *(int *)opaque;
}

Test(asked, detached_the_journal_gets_the_output)
{
	struct journal_reader *reader;
	struct journal_entry e;
	char all[64] = "";
	int fine = 0;

	keep_record();
	cr_assert_eq(journal_create(&extra.journal, state_dirfd(extra.state),
				    &err),
		     0);
	extra.started = count_start;
	extra.opaque = &fine;
	config.interactive = config.tty = 1; /* stays open, and empty */
	cr_assert_eq(play(speaks_in_turn), 0);
	expect(VERDICT_RUNTIME_ERROR, 7);
	cr_assert_eq(told, 1);
	cr_assert_str_eq(text(out), "");
	cr_assert_eq(journal_open(&reader, state_dirfd(extra.state), &err), 0);
	while (journal_next(reader, &e) == 1)
		sprintf(all + strlen(all), "%d:%.*s|", e.stream, (int)e.len,
			(const char *)e.data);
	cr_assert_str_eq(all, "1:one |2:bad|1:two|");
	journal_reader_free(&reader);
	journal_free(&extra.journal);
	forget_record();
}

Test(asked, a_start_that_nobody_can_be_told_of_ends_the_run)
{
	int broken = -EPIPE;

	extra.started = count_start;
	extra.opaque = &broken;
	cr_assert_eq(play(speaks_in_turn), -EPIPE);
	expect(VERDICT_INTERNAL, 125);
	cr_assert_eq(told, 1);
	extra = (struct run_params){ 0 };
}
