/* SPDX-License-Identifier: Apache-2.0 */
/* The soft engine from outside: what its callers do between two runs. */
#include <criterion/criterion.h>
#include <string.h>

#include "runner/engine/engine.h"
#include "runner/vmm/gmem.h"
#include "runner/x86/regs.h"

#define RAM  (2ull << 20)
#define CODE 0x100000ull

static struct {
	struct gmem gm;
	struct engine *engine;
	struct vcpu_state boot;
	uint32_t out; /* the last value on a port */
} t;

static void mmio(void *opaque, uint64_t gpa, void *data, unsigned len,
		 int write)
{
	(void)opaque, (void)gpa;
	if (!write)
		memset(data, 0xff, len);
}

/* A port access ends the run. */
static void pio(void *opaque, uint16_t port, void *data, unsigned len,
		int write)
{
	(void)opaque, (void)port;
	if (write)
		memcpy(&t.out, data, len);
	engine_soft.kick(t.engine, 0);
}

static void start(void)
{
	static const struct engine_bus bus = { .mmio = mmio, .pio = pio };
	struct engine_params p = { .gm = &t.gm, .bus = &bus, .ncpus = 1,
				   .kvm_fd = -1 };

	memset(&t, 0, sizeof(t));
	cr_assert_eq(gmem_init(&t.gm, RAM, NULL), 0);
	cr_assert_eq(engine_soft.create(&p, &t.engine, NULL), 0);
	cr_assert_eq(regs_boot(&t.gm, CODE, &t.boot), 0);
}

static void finish(void)
{
	engine_soft.free(t.engine);
	gmem_free(&t.gm);
}

TestSuite(soft_engine, .init = start, .fini = finish);

static uint32_t run_from_start(void)
{
	struct engine_exit x;

	cr_assert_eq(engine_soft.set_state(t.engine, 0, &t.boot, NULL), 0);
	engine_soft.run(t.engine, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_INTR, "%s", x.msg);
	return t.out;
}

Test(soft_engine, kick_does_not_hide_a_device_write_into_code)
{
	/* mov $1, %al; out %al, $0x80; hlt */
	static const uint8_t code[] = { 0xb0, 1, 0xe6, 0x80, 0xf4 };
	static const uint8_t two = 2;
	struct engine_exit x;

	cr_assert_eq(gmem_write(&t.gm, CODE, code, sizeof(code)), 0);
	cr_assert_eq(run_from_start(), 1);
	cr_assert_eq(gmem_write(&t.gm, CODE + 1, &two, 1), 0);
	engine_soft.kick(t.engine, 0);
	engine_soft.run(t.engine, 0, &x);
	cr_assert_eq(x.reason, ENGINE_EXIT_INTR);
	cr_assert_eq(run_from_start(), 2);
}
