/* SPDX-License-Identifier: Apache-2.0 */
/* Telling what differs. */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

#include "tests/diff/check.h"

static void print_code(const struct diff_case *c)
{
	ZydisDisassembledInstruction z;
	uint32_t at = 0;

	while (at < c->code_len) {
		ZyanStatus ok = ZydisDisassembleIntel(
			c->compat ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 :
				    ZYDIS_MACHINE_MODE_LONG_64,
			c->code_at + at, c->code + at, c->code_len - at, &z);
		unsigned n = ZYAN_SUCCESS(ok) ? z.info.length : 1;

		printf("    %x:", c->code_at + at);
		for (unsigned i = 0; i < n; i++)
			printf(" %02x", c->code[at + i]);
		printf("\t%s\n", ZYAN_SUCCESS(ok) ? z.text : "?");
		at += n;
	}
}

static void line(const char *what, uint64_t in, uint64_t host, uint64_t soft)
{
	if (host != soft)
		printf("    %-8s in %016llx host %016llx soft %016llx\n", what,
		       (unsigned long long)in, (unsigned long long)host,
		       (unsigned long long)soft);
}

static void print_bytes(const char *what, unsigned size, const uint8_t *in,
			const uint8_t *host, const uint8_t *soft, unsigned n)
{
	char name[24];
	uint64_t v[3];

	for (unsigned i = 0, shown = 0; i < n && shown < 8; i += size) {
		if (!memcmp(host + i, soft + i, size))
			continue;
		memset(v, 0, sizeof(v));
		memcpy(&v[0], in + i, size);
		memcpy(&v[1], host + i, size);
		memcpy(&v[2], soft + i, size);
		snprintf(name, sizeof(name), "%s+%x", what, i);
		line(name, v[0], v[1], v[2]);
		shown++;
	}
}

void diff_print(const struct diff_case *c, const struct insn *in)
{
	const struct diff_out *h = &c->host, *s = &c->soft;
	uint16_t fcw, fsw;
	uint32_t mxcsr;
	char name[8];

	print_code(c);
	if (in)
		printf("    operand at data + %llx\n",
		       (unsigned long long)diff_operand(c, in));
	memcpy(&fcw, c->in.fx, 2);
	memcpy(&fsw, c->in.fx + 2, 2);
	memcpy(&mxcsr, c->in.fx + 24, 4);
	printf("    rflags in %llx fcw %04x fsw %04x ftw %02x mxcsr %04x\n",
	       (unsigned long long)c->in.rflags, fcw, fsw, c->in.fx[4],
	       mxcsr);
	line("vector", 0, (uint64_t)(int64_t)h->vec,
	     (uint64_t)(int64_t)s->vec);
	line("error", 0, h->err, s->err);
	line("cr2", 0, h->cr2, s->cr2);
	line("steps", 0, h->steps, s->steps);
	line("rip", c->code_at, h->s.rip, s->s.rip);
	line("rflags", c->in.rflags, h->s.rflags, s->s.rflags);
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		line(name, c->in.gpr[i], h->s.gpr[i], s->s.gpr[i]);
	}
	for (unsigned i = 0; i < 16; i++)
		if (!in) /* a block's: pointers tell where it went */
			printf("    r%u=%llx", i,
			       (unsigned long long)c->in.gpr[i]);
	if (!in)
		printf("\n");
	line("fsbase", c->in.fsbase, h->s.fsbase, s->s.fsbase);
	line("gsbase", c->in.gsbase, h->s.gsbase, s->s.gsbase);
	for (unsigned i = 0; i < 4; i++)
		line("sreg", i, h->s.sreg[i], s->s.sreg[i]);
	print_bytes("fx", 4, c->in.fx, h->s.fx, s->s.fx, 28);
	print_bytes("st,xmm", 8, c->in.fx + 32, h->s.fx + 32, s->s.fx + 32,
		    384);
	print_bytes("mem", 8, c->data, h->data, s->data, DIFF_DATA_SIZE);
}
