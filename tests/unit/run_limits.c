/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a run, against guests and VMMs that say what they like. */
#include "runner/cputime.h"
#include "runner/journal.h"
#include "runner/state.h"
#include "tests/unit/run_stage.h"

#include <poll.h>
#include <time.h>

TestSuite(limits, .init = set_up, .timeout = 120);

/* --- CPU time --------------------------------------------------------- */

static uint64_t own_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

static void spin(uint64_t ns)
{
	uint64_t end = own_ns() + ns;

	while (own_ns() < end)
		;
}

static int asks(struct guest *g, int ms)
{
	struct pollfd p = { .fd = g->control, .events = POLLIN };

	return poll(&p, 1, ms) > 0 && ctl_recv_word(g->control) == CTL_QUERY;
}

static void tell(struct guest *g, uint64_t vcpu_ns)
{
	struct ctl_event e = { .type = CTL_STATS, .vcpu_ns = vcpu_ns };

	ctl_send_event(g->control, &e);
}

/* Spin until SIGNAL comes; what @said makes of our time is what is told. */
static void burn(struct guest *g, uint64_t (*said)(uint64_t own))
{
	struct pollfd p = { .fd = g->agent, .events = POLLIN };
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	while (poll(&p, 1, 0) <= 0) {
		spin(MS);
		if (asks(g, 0) && said)
			tell(g, said(own_ns()));
	}
	say_exit(g, 0, SIGKILL);
	if (said && asks(g, -1))
		tell(g, said(own_ns()));
}

static uint64_t truth(uint64_t own)
{
	return own;
}

static uint64_t too_little(uint64_t own)
{
	(void)own;
	return 1;
}

static void honest(struct guest *g)
{
	burn(g, truth);
}

static void mute(struct guest *g)
{
	burn(g, NULL);
}

static void modest(struct guest *g)
{
	burn(g, too_little);
}

Test(limits, a_command_that_spins_ends_at_its_cpu_time)
{
	config.cpu_time_ns = 50 * MS;
	cr_assert_eq(play(honest), 0);
	expect(VERDICT_CPU_TIMEOUT, 152);
	cr_assert_geq(result.cpu_ns, 50 * MS);
	cr_assert(!verdict_by_guest(result.verdict));
}

Test(limits, a_vmm_that_does_not_tell_is_judged_by_all_its_time)
{
	config.cpu_time_ns = 20 * MS;
	cr_assert_eq(play(mute), 0);
	expect(VERDICT_CPU_TIMEOUT, 152);
	cr_assert_geq(result.cpu_ns, 30 * MS + CPUTIME_SLACK);
}

Test(limits, a_vmm_that_tells_too_little_is_judged_by_all_its_time)
{
	config.cpu_time_ns = 20 * MS;
	cr_assert_eq(play(modest), 0);
	expect(VERDICT_CPU_TIMEOUT, 152);
}

static void boastful(struct guest *g)
{
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	tell(g, 1);
	for (int i = 0; i < 10; i++)
		tell(g, UINT64_MAX);
	say_exit(g, 0, 0);
}

Test(limits, a_vmm_that_tells_too_much_is_not_believed)
{
	config.cpu_time_ns = 60000 * MS;
	config.meta = "asks";
	cr_assert_eq(play(boastful), 0);
	expect(VERDICT_OK, 0);
	cr_assert_lt(result.cpu_ns, 60000 * MS);
}

/* EXIT is there before anyone was told that the limit is hit. */
static void ends_too_late(struct guest *g)
{
	struct wire_frame f;
	uint64_t at;

	say_ready(g);
	hear(g, &f);
	if (asks(g, -1))
		tell(g, own_ns());
	at = own_ns();
	spin(60 * MS);
	say_exit(g, 0, 0);
	while (asks(g, -1))
		tell(g, own_ns() - at < 60 * MS ? 0 : own_ns());
}

Test(limits, a_command_that_ends_past_its_cpu_time_was_too_slow)
{
	config.cpu_time_ns = 50 * MS;
	limits.stats = LONG;
	cr_assert_eq(play(ends_too_late), 0);
	cr_assert(result.have_exit);
	expect(VERDICT_CPU_TIMEOUT, 152);
}

/* Half of what the process did was not the guest's. */
static void ends_in_time(struct guest *g)
{
	struct wire_frame f;
	uint64_t base;

	say_ready(g);
	hear(g, &f);
	base = own_ns() / 2;
	if (asks(g, -1))
		tell(g, base);
	spin(60 * MS);
	while (asks(g, 0))
		tell(g, base + 30 * MS);
	say_exit(g, 3, 0);
	while (asks(g, -1))
		tell(g, base + 30 * MS);
}

Test(limits, what_the_vmm_does_itself_does_not_count)
{
	config.cpu_time_ns = 50 * MS;
	limits.stats = LONG;
	cr_assert_eq(play(ends_in_time), 0);
	expect(VERDICT_RUNTIME_ERROR, 3);
}

static void sleeps(struct guest *g)
{
	struct wire_frame f;
	uint32_t n = 0;

	say_ready(g);
	hear(g, &f);
	asks(g, -1); /* where we begin */
	tell(g, own_ns());
	while (asks(g, 300))
		n++;
	say_exit(g, n, 0);
}

Test(limits, an_idle_guest_is_not_asked)
{
	config.cpu_time_ns = 100 * MS;
	cr_assert_eq(play(sleeps), 0);
	expect(VERDICT_OK, 0);
}

Test(limits, the_clock_of_no_process_is_an_error)
{
	struct cputime t;

	cr_assert_eq(cputime_open(&t, -1, 1), -ESRCH);
	cputime_close(&t);
	cr_assert_eq(cputime_open(&t, 0, 1), -ESRCH);
}

/* --- output ----------------------------------------------------------- */

static void speaks(struct guest *g)
{
	struct wire_exit x = { .signal = SIGKILL, .oom_kills = 1 };

	say_ready(g);
	tell(g, 5);
	say_out(g, "0123456");
	frame(g, WIRE_STDERR, "abcdef", 6);
	say_out(g, "more");
	frame(g, WIRE_EXIT, &x, sizeof(x));
}

static void ends_well(struct guest *g)
{
	say_ready(g);
	say_out(g, "0123456");
	frame(g, WIRE_STDERR, "abc", 3);
	say_exit(g, 0, 0);
}

Test(limits, output_is_cut_at_the_byte_whatever_the_guest_says_after)
{
	config.output_max = 10;
	cr_assert_eq(play(speaks), 0);
	expect(VERDICT_OUTPUT_LIMIT, 153);
	cr_assert_str_eq(text(out), "0123456");
	cr_assert_str_eq(text(errout), "abc");
	cr_assert_eq(result.output_bytes, 10);
	cr_assert(result.output_truncated);
	cr_assert_eq(result.vcpu_ns, 0, "nobody told all of it");
	cr_assert(!verdict_by_guest(result.verdict));
}

Test(limits, output_of_just_the_limit_is_fine)
{
	config.output_max = 10;
	cr_assert_eq(play(ends_well), 0);
	expect(VERDICT_OK, 0);
	cr_assert_str_eq(text(errout), "abc");
	cr_assert_eq(result.output_bytes, 10);
	cr_assert(!result.output_truncated);
}

Test(limits, output_may_be_cut_between_two_frames)
{
	config.output_max = 7;
	cr_assert_eq(play(ends_well), 0);
	expect(VERDICT_OUTPUT_LIMIT, 153);
	cr_assert_str_eq(text(out), "0123456");
	cr_assert_str_eq(text(errout), "");
}

static void floods(struct guest *g)
{
	static char block[60000];

	say_ready(g);
	for (;;)
		frame(g, WIRE_STDOUT, block, sizeof(block));
}

Test(limits, a_slow_reader_gets_all_up_to_the_limit)
{
	const size_t most = 1000001;
	int p[2], status;
	pid_t reader;

	cr_assert_eq(pipe(p), 0);
	reader = fork();
	if (reader == 0) {
		char buf[65536];
		size_t all = 0;
		int slow = 20;
		ssize_t n;

		close(p[1]);
		usleep(100000);
		while ((n = read(p[0], buf, sizeof(buf))) > 0) {
			all += (size_t)n;
			if (slow && slow--)
				usleep(1000);
		}
		_exit(all == most ? 0 : 1);
	}
	close(p[0]);
	config.output_max = most;
	cr_assert_eq(play_on(floods, p[1], 2), 0);
	expect(VERDICT_OUTPUT_LIMIT, 153);
	close(p[1]);
	cr_assert_eq(waitpid(reader, &status, 0), reader);
	cr_assert_eq(status, 0, "not that many bytes");
}

static void hold(int signo)
{
	(void)signo;
	usleep(200000);
}

/* The statistics come while the launcher is held up past the time that it
 * waits for them: both are news of one round. */
static void tells_late(struct guest *g)
{
	static char block[60000];
	struct wire_frame f;

	say_ready(g);
	hear(g, &f);
	while (asks(g, 100))
		tell(g, 1);
	for (int i = 0; i < 2; i++)
		frame(g, WIRE_STDOUT, block, sizeof(block));
	say_exit(g, 0, 0);
	if (asks(g, 5000)) {
		usleep(20000); /* now it waits */
		kill(getppid(), SIGUSR1);
		usleep(20000);
		tell(g, 1);
	}
}

Test(limits, a_clock_that_was_put_off_cuts_no_output_short)
{
	const struct sigaction on_usr1 = { .sa_handler = hold };
	char buf[65536];
	int p[2], status;
	pid_t reader;

	cr_assert_eq(pipe(p), 0);
	reader = fork();
	if (reader == 0) {
		size_t all = 0;
		ssize_t n;

		close(p[1]);
		usleep(600000);
		while ((n = read(p[0], buf, sizeof(buf))) > 0)
			all += (size_t)n;
		_exit(all == 120000 ? 0 : 1);
	}
	close(p[0]);
	sigaction(SIGUSR1, &on_usr1, NULL);
	config.meta = "asks";
	limits.stats = 100 * MS;
	cr_assert_eq(play_on(tells_late, p[1], 2), 0);
	expect(VERDICT_OK, 0);
	close(p[1]);
	cr_assert_eq(waitpid(reader, &status, 0), reader);
	cr_assert_eq(status, 0, "not that many bytes");
}

/* More than the smallest of pipes holds. */
static void says_much(struct guest *g)
{
	static char block[8000];

	say_ready(g);
	frame(g, WIRE_STDOUT, block, sizeof(block));
}

static void goes_on(struct guest *g)
{
	(void)g;
}

Test(limits, what_nobody_took_does_not_count_as_output)
{
	char buf[65536];
	uint64_t all = 0;
	ssize_t n;
	int p[2];

	cr_assert_eq(pipe2(p, O_NONBLOCK), 0);
	cr_assert_eq(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
	already = says_much;
	config.timeout_ns = 200 * MS;
	cr_assert_eq(play_on(goes_on, p[1], 2), 0);
	expect(VERDICT_TIMEOUT, 124);
	while ((n = read(p[0], buf, sizeof(buf))) > 0)
		all += (uint64_t)n;
	cr_assert_gt(all, 0);
	cr_assert_eq(result.output_bytes, all);
	cr_assert(result.output_truncated);
}

Test(limits, a_reader_that_goes_before_the_limit_ends_the_run_as_ever)
{
	int p[2];

	cr_assert_eq(pipe(p), 0);
	close(p[0]);
	config.output_max = 1 << 20;
	cr_assert_eq(play_on(floods, p[1], 2), 0);
	expect(VERDICT_STOPPED, 141);
}

Test(limits, a_journal_is_cut_too)
{
	char dir[] = "/tmp/mayfly-unit-XXXXXX", all[64] = "";
	struct journal_reader *reader;
	struct journal_entry e;
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(journal_create(&extra.journal, fd, &err), 0);
	config.output_max = 10;
	cr_assert_eq(play(speaks), 0);
	expect(VERDICT_OUTPUT_LIMIT, 153);
	cr_assert_eq(journal_open(&reader, fd, &err), 0);
	while (journal_next(reader, &e) == 1)
		sprintf(all + strlen(all), "%d:%.*s|", e.stream, (int)e.len,
			(const char *)e.data);
	cr_assert_str_eq(all, "1:0123456|2:abc|");
	journal_reader_free(&reader);
	journal_free(&extra.journal);
	close(fd);
	snprintf(all, sizeof(all), "rm -rf %s", dir);
	cr_assert_eq(system(all), 0);
}

/* --- what the guest holds --------------------------------------------- */

static void refused(struct guest *g)
{
	static char *slots[WIRE_SLOTS];
	struct wire_exit x = { .pids_refused = 1,
			       .disk_avail = WIRE_UNKNOWN };
	struct wire_command c;
	struct wire_frame f;

	say_ready(g);
	if (hear(g, &f) == WIRE_EXEC && wire_get_exec(&f, slots, &c) == 0)
		x.code = c.head.pids_max;
	frame(g, WIRE_EXIT, &x, sizeof(x));
}

Test(limits, a_refused_process_is_the_verdict_where_there_is_a_limit)
{
	config.pids_max = 20;
	cr_assert_eq(play(refused), 0);
	expect(VERDICT_PIDS_LIMIT, 137);
	cr_assert_eq(result.exit.code, 20);
	config.pids_max = 0;
	cr_assert_eq(play(refused), 0);
	expect(VERDICT_OK, 0);
}
