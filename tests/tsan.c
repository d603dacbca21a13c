/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ThreadSanitizer is told about mayfly-vmm, whose environment is empty.
 *
 * Guest memory is written by a vCPU and a device at once whenever the guest
 * wants that, and nothing in the VMM may rely on what is read there: races on
 * it are the guest's. Devices reach it by queue.c, by scatter() of net_rx.c and
 * by the system calls below. One race is meant: the count of instructions is
 * asked for while they are counted (soft/loop.h). All else is ours, and the
 * first race ends the process.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_options(void);

const char *__tsan_default_suppressions(void)
{
	return "race:runner/virtio/queue.c\nrace:scatter\n"
	       "race:interceptor_preadv\nrace:interceptor_pwritev\n"
	       "race:interceptor_readv\nrace:interceptor_writev\n"
	       "race:interceptor_recv\nrace:interceptor_send\n"
	       "race:interceptor_getrandom\n"
	       "race:cpu_instructions\n";
}

const char *__tsan_default_options(void)
{
	return "halt_on_error=1";
}
