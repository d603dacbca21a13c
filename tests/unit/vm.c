/* SPDX-License-Identifier: Apache-2.0 */
/* A whole machine in this process, with a guest of a few instructions. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/vmm/vm.h"
#include "tests/unit/kernel.h"

static struct vm_params params(const struct engine_ops *ops, int kernel_fd)
{
	return (struct vm_params){
		.ops = ops, .ncpus = 1, .ram = 64 << 20, .guest_cid = 3,
		.kvm_fd = ops == &engine_kvm ? open("/dev/kvm", O_RDWR) : -1,
		.kernel_fd = kernel_fd, .initrd_fd = -1, .console_out_fd = -1,
		.console_in_fd = -1, .vsock_listen_fd = -1, .cmdline = "x",
		.net = { .fd = -1 },
	};
}

static int can_run(const struct engine_ops *ops)
{
	return ops != &engine_kvm || access("/dev/kvm", R_OK | W_OK) == 0;
}

/* Descriptors of ours that are open on @path. */
static int open_paths(const char *path)
{
	char link[32], to[64];
	int found = 0;

	for (int fd = 0; fd < 64; fd++) {
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, to, sizeof(to) - 1);
		to[MAX(n, 0)] = '\0';
		found += !strcmp(to, path);
	}
	return found;
}

/* Run @code to its end; what it said on the console goes to @said. */
static uint32_t run(const struct engine_ops *ops, const void *code, size_t len,
		    char *said, size_t max)
{
	static struct vm vm;
	struct vm_params p = params(ops, kernel(code, len));
	struct err err = { 0 };
	uint32_t stop;
	int out[2];
	ssize_t n;

	cr_assert_eq(pipe(out), 0);
	p.console_out_fd = out[1];
	cr_assert_eq(vm_init(&vm, &p, &err), 0, "%s", err.msg);
	cr_expect_eq(open_paths("/dev/kvm"), 0, "a VM is all that there is");
	cr_assert_eq(vm_start(&vm, &err), 0, "%s", err.msg);
	vm_go(&vm);
	cr_assert_eq(ev_run(&vm.loop), 0);
	cr_assert_eq(vm_stop(&vm), 0);
	cr_expect(vm_cpu_ns(&vm) > 0);
	stop = vm.stop;
	vm_free(&vm);
	vm_params_close(&p);
	n = read(out[0], said, max - 1);
	said[MAX(n, 0)] = '\0';
	close(out[0]);
	return stop;
}

/* mov $0x3f8,%edx; then for each letter: mov $c,%al; out %al,(%dx) */
#define HELLO "\xba\xf8\x03\0\0\xb0h\xee\xb0i\xee\xb0\n\xee"
#define HLT_LOOP "\xf4\xeb\xfd"
#define CODE(s) s, sizeof(s) - 1

static void guests(const struct engine_ops *ops)
{
	char said[64];

	if (!can_run(ops))
		cr_skip_test("no /dev/kvm here");
	/* out %al,$0x64 */
	cr_expect_eq(run(ops, CODE(HELLO "\xb0\xfe\xe6\x64" HLT_LOOP), said,
			 sizeof(said)), CTL_STOP_RESET);
	cr_expect_str_eq(said, "hi\n");
	/* mov $0x600,%edx; mov $0x34,%al; out %al,(%dx) */
	cr_expect_eq(run(ops, CODE("\xba\0\x06\0\0\xb0\x34\xee" HLT_LOOP),
			 said, sizeof(said)), CTL_STOP_POWEROFF);
	/* No IDT: ud2 is a triple fault. */
	cr_expect_eq(run(ops, CODE(HELLO "\x0f\x0b"), said, sizeof(said)),
		     CTL_STOP_SHUTDOWN);
	cr_expect_str_eq(said, "hi\n");
}

Test(vm, kvm_guest_speaks_and_ends_in_each_way, .timeout = 60)
{
	guests(&engine_kvm);
}

Test(vm, soft_guest_speaks_and_ends_in_each_way, .timeout = 60)
{
	guests(&engine_soft);
}

static void endless(const struct engine_ops *ops, const void *code, size_t len)
{
	static struct vm vm;
	struct vm_params p;

	if (!can_run(ops))
		cr_skip_test("no /dev/kvm here");
	p = params(ops, kernel(code, len));
	cr_assert_eq(vm_init(&vm, &p, NULL), 0);
	cr_assert_eq(vm_start(&vm, NULL), 0);
	vm_go(&vm);
	usleep(20000);
	cr_expect_eq(vm_stop(&vm), 0, "the kick reaches it");
	vm_free(&vm);
	vm_params_close(&p);
}

Test(vm, kvm_guest_that_never_ends_is_stopped, .timeout = 60)
{
	endless(&engine_kvm, CODE("\xeb\xfe"));
	endless(&engine_kvm, CODE(HLT_LOOP));
}

Test(vm, soft_guest_that_never_ends_is_stopped, .timeout = 60)
{
	endless(&engine_soft, CODE("\xeb\xfe"));
	endless(&engine_soft, CODE(HLT_LOOP));
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

Test(vm, failed_construction_leaves_nothing)
{
	static struct vm vm;
	struct err err = { 0 };
	unsigned before = open_fds();
	struct vm_params p = params(&engine_soft, kernel(CODE(HLT_LOOP)));

	p.ndisks = 1;
	p.disk[0].kind = CTL_DISK_SCRATCH;
	p.disk[0].nfds = 1;
	p.disk[0].fd[0] = open("/dev/null", O_RDWR); /* not a disk */
	cr_expect_lt(vm_init(&vm, &p, &err), 0);
	cr_expect_eq(strncmp(err.msg, "disk 0: ", 8), 0, "%s", err.msg);
	vm_free(&vm);
	vm_params_close(&p);
	cr_expect_eq(open_fds(), before);

	p = params(&engine_soft, kernel("", 0));
	cr_expect_lt(vm_init(&vm, &p, &err), 0);
	cr_expect_eq(strncmp(err.msg, "kernel: ", 8), 0, "%s", err.msg);
	vm_free(&vm);
	vm_params_close(&p);
	cr_expect_eq(open_fds(), before);
}
