/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail PROGRAM: start PROGRAM in the jail, wait for its end, and be gone: what
 * a run's jail costs, without the machine in it. -m: print the milliseconds
 * from the start of the jail to the program's end, and what keeps it in.
 * jail -c: print the milliseconds that it takes to make a cgroup with a run's
 * limits, to be in it, and to remove it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/cgroup.h"
#include "jail/jail.h"
#include "runner/base/err.h"
#include "runner/base/io.h"

static void failed(int control_fd, const struct err *err)
{
	(void)!write(control_fd, err->msg, strlen(err->msg));
}

static int wait_end(const struct jail_process *process)
{
	int status;

	while (waitpid(process->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void print(uint64_t ns, const struct jail_report *r)
{
	printf("%.3f", (double)ns / 1e6);
	for (int i = 0; i < JAIL_LAYERS; i++)
		if (r->on & 1u << i)
			printf(" %s", jail_layer_name(i));
	printf("\n");
}

/* A process to be moved: what v2 has it born in, v1 has to move. */
static int measure_cgroup(void)
{
	const struct cgroup_limits limits = { .memory_max = 1 << 30,
					      .cpu_milli = 1000,
					      .pids_max = 10 };
	struct jail_report report = { 0 };
	struct err err = { 0 };
	struct cgroup cg;
	uint64_t t[4];
	char id[CGROUP_ID + 1];
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	snprintf(id, sizeof(id), "%012x", (unsigned)getpid());
	t[0] = io_now_ns();
	if (cgroup_create(&cg, NULL, id, &limits, &report, &err) < 0)
		fprintf(stderr, "jail: %s\n", err.msg);
	t[1] = io_now_ns();
	cgroup_attach(&cg, pid, &report);
	t[2] = io_now_ns();
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	t[3] = io_now_ns();
	cgroup_free(&cg);
	printf("%.3f %.3f %.3f\n", (double)(t[1] - t[0]) / 1e6,
	       (double)(t[2] - t[1]) / 1e6,
	       (double)(io_now_ns() - t[3]) / 1e6);
	return report.nmissing ? 3 : 0;
}

int main(int argc, char **argv)
{
	int measure = argc == 3 && !strcmp(argv[1], "-m"), pair[2], code;
	char *program_argv[] = { argv[argc - 1], NULL };
	struct jail_params p = {
		.cgroup_fd = -1,
		.argv = program_argv,
		.ids = { 1900000000, 1u << 22 },
		.tasks = 3,
		.nofile = 512,
		.file_size = 1 << 30,
		.failed = failed,
	};
	struct jail_report report = { 0 };
	struct jail_process process;
	struct err err = { 0 };
	uint64_t start;

	if (argc == 2 && !strcmp(argv[1], "-c"))
		return measure_cgroup();
	if (argc != 2 + measure)
		return 2;
	p.program_fd = open(argv[argc - 1], O_RDONLY | O_CLOEXEC);
	if (p.program_fd < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		perror(argv[argc - 1]);
		return 2;
	}
	p.control_fd = pair[1];
	start = io_now_ns();
	if (jail_start(&p, &report, &process, &err) < 0) {
		fprintf(stderr, "jail: %s\n", err.msg);
		return 2;
	}
	code = wait_end(&process);
	if (measure)
		print(io_now_ns() - start, &report);
	return code;
}
