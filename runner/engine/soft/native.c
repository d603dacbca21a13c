/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thunks: writing the machine code, and finding it again.
 *
 * In a thunk rdi, rsi, rdx are the arguments. For vector instructions the
 * ModRM.reg operand is in xmm1 (or rax), the ModRM.rm operand in xmm2, rax or
 * at [rdi]; xmm0 is the implied operand; r8 is the cpu where rdx is not free.
 */
#include "runner/engine/soft/native.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/base/mem.h"
#include "runner/engine/soft/block.h"
#include "runner/engine/soft/cpu.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u /* Linux 6.3 */
#endif

#define ARENA_SIZE (256u << 10)
#define THUNK_MAX  128u
#define SLOT_BITS  12
#define SLOT_COUNT (1u << SLOT_BITS)

struct slot {
	uint64_t key;	 /* 0: empty */
	uint32_t offset; /* in the arena */
};

struct native {
	uint8_t *rw;	   /* the arena, to write */
	const uint8_t *rx; /* the same bytes, to run */
	uint32_t used, count;
	struct slot slot[SLOT_COUNT];
};

static int arena_fd(void)
{
	int fd = memfd_create("mayfly-native", MFD_CLOEXEC | MFD_EXEC);

	return fd >= 0 ? fd : memfd_create("mayfly-native", MFD_CLOEXEC);
}

void native_unmap(size_t size, uint8_t *rw, const uint8_t *rx)
{
	if (rw)
		munmap(rw, size);
	if (rx)
		munmap((void *)(uintptr_t)rx, size);
}

int native_map(size_t size, uint8_t **rw, const uint8_t **rx)
{
	_cleanup_fd_ int fd = arena_fd();
	void *w, *r;

	if (fd < 0 || ftruncate(fd, (off_t)size))
		return -1;
	w = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	r = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	*rw = w == MAP_FAILED ? NULL : w;
	*rx = r == MAP_FAILED ? NULL : r;
	if (*rw && *rx)
		return 0;
	native_unmap(size, *rw, *rx);
	return -1;
}

struct native *native_new(void)
{
	struct native *n;

	/* The newest of what the decoder lets through. */
	if (!__builtin_cpu_supports("sse4.2")) {
		errno = ENOTSUP;
		return NULL;
	}
	n = calloc(1, sizeof(*n));
	if (n && native_map(ARENA_SIZE, &n->rw, &n->rx)) {
		free(n);
		return NULL;
	}
	return n;
}

void native_free(struct native *n)
{
	if (!n)
		return;
	native_unmap(ARENA_SIZE, n->rw, n->rx);
	free(n);
}

int native_full(const struct native *n)
{
	return ARENA_SIZE - n->used < 2 * BLOCK_INSNS * THUNK_MAX ||
	       n->count + 2 * BLOCK_INSNS > SLOT_COUNT * 3 / 4;
}

void native_reset(struct native *n)
{
	unsigned a, b, c, d;

	n->used = 0;
	n->count = 0;
	memset(n->slot, 0, sizeof(n->slot));
	/* SDM 3A 8.1.3: code that ran is about to change by way of another
	 * linear address; serialize. */
	__cpuid(0, a, b, c, d);
}

/* --- machine code ------------------------------------------------------ */

struct code {
	uint8_t b[THUNK_MAX];
	unsigned n;
};

static void put(struct code *c, const void *bytes, unsigned n)
{
	assert(n <= THUNK_MAX - c->n);
	memcpy(c->b + c->n, bytes, n);
	c->n += n;
}
#define PUT(c, ...)                                       \
	do {                                              \
		const uint8_t put_[] = { __VA_ARGS__ };   \
		put((c), put_, sizeof(put_));             \
	} while (0)

static void put_disp32(struct code *c, size_t disp)
{
	uint32_t v = (uint32_t)disp;

	put(c, &v, 4);
}

/* --- the instruction --------------------------------------------------- */

/* How an operand reaches the instruction: through memory at its pointer, as
 * xmm1 or xmm2, as rax, or by its own name in the loaded image. */
enum place { AT_NONE, AT_MEM, AT_XMM, AT_RAX, AT_IMAGE };

struct plan {
	enum place reg, rm;
	uint8_t reg_written, rm_written;
	uint8_t full; /* the FXSAVE image is loaded and stored */
};

static enum place place_of(const struct opnd *o, int full)
{
	switch (o->kind) {
	case OPND_MEM:
		return AT_MEM;
	case OPND_GPR: /* one that is read is as good as memory */
		return o->access & OPND_W ? AT_RAX : AT_MEM;
	case OPND_XMM:
		return full ? AT_IMAGE : AT_XMM;
	default:
		return AT_IMAGE;
	}
}

static struct plan make_plan(const struct insn *in)
{
	struct plan p = {
		.full = in->op != OP_SIMD || in->attr & INSN_MMX,
	};
	const struct opnd *o;

	if (in->reg_opnd != REG_NONE) {
		o = &in->o[in->reg_opnd];
		p.reg = place_of(o, p.full);
		p.reg_written = o->access & OPND_W;
	}
	if (in->rm_opnd != REG_NONE) {
		o = &in->o[in->rm_opnd];
		p.rm = place_of(o, p.full);
		p.rm_written = o->access & OPND_W;
	}
	return p;
}

/* MASKMOVQ and MASKMOVDQU write to [rdi]. */
static int is_maskmov(const struct insn *in)
{
	return in->op == OP_SIMD && in->map == 1 && in->opcode == 0xf7;
}

/* CVTPI2PS and CVTPI2PD: from memory they should not, but might, enter MMX
 * state (SDM 2A). */
static int is_cvtpi(const struct insn *in)
{
	return in->map == 1 && in->opcode == 0x2a &&
	       (in->mand == 0 || in->mand == 0x66);
}

static uint8_t plan_modrm(const struct insn *in, const struct plan *p)
{
	unsigned reg = in->modrm >> 3 & 7; /* of the opcode, or in the image */
	unsigned rm = in->modrm & 7;

	if (p->reg == AT_XMM)
		reg = 1;
	else if (p->reg == AT_RAX)
		reg = 0;
	if (p->rm == AT_MEM)
		return (uint8_t)(reg << 3 | 7); /* [rdi] */
	if (p->rm == AT_XMM)
		rm = 2;
	else if (p->rm == AT_RAX)
		rm = 0;
	return (uint8_t)(0xc0 | reg << 3 | rm);
}

/* At most 7 bytes: prefix, REX, 3 of opcode, ModRM, immediate. */
static unsigned encode(const struct insn *in, const struct plan *p,
		       uint8_t b[8])
{
	uint8_t rex = in->rex & 8;
	unsigned n = 0;

	/* registers 8-15 keep their names only in the image */
	if (p->reg == AT_IMAGE)
		rex |= in->rex & 4;
	if (p->rm == AT_IMAGE)
		rex |= in->rex & 1;
	if (in->mand)
		b[n++] = in->mand;
	else if (in->op == OP_X87_ENV && in->osize == 2)
		b[n++] = 0x66;
	if (rex && in->op == OP_SIMD)
		b[n++] = 0x40 | rex;
	if (in->map)
		b[n++] = 0x0f;
	if (in->map > 1)
		b[n++] = in->map == 2 ? 0x38 : 0x3a;
	b[n++] = in->opcode;
	if (in->has_modrm)
		b[n++] = plan_modrm(in, p);
	if (in->nopnd && in->o[in->nopnd - 1].kind == OPND_IMM)
		b[n++] = (uint8_t)in->imm;
	return n;
}

/* --- thunks ------------------------------------------------------------ */

#define CPU_GPR(n) (offsetof(struct cpu, r) + 8 * (n))
#define CPU_XMM0   (offsetof(struct cpu, fx) + 160)

/* Between r8 and what the instruction implies. */
static void put_implied(struct code *c, const struct insn *in, int store)
{
	/* movaps xmm0, [r8 + XMM0]; PCMPxSTRM writes it, the blends read it,
	 * and may have it as destination */
	if (in->attr & INSN_IMPLICIT_XMM0 &&
	    (!store || in->attr & INSN_EFLAGS)) {
		PUT(c, 0x41, 0x0f, store ? 0x29 : 0x28, 0x80);
		put_disp32(c, CPU_XMM0);
	}
	if (!(in->attr & INSN_ECX))
		return;
	/* mov rcx, [r8 + RCX]; it alone is ever written */
	PUT(c, 0x49, store ? 0x89 : 0x8b, 0x88);
	put_disp32(c, CPU_GPR(X86_RCX));
	if (store)
		return;
	PUT(c, 0x49, 0x8b, 0x80); /* mov rax, [r8 + RAX] */
	put_disp32(c, CPU_GPR(X86_RAX));
	PUT(c, 0x49, 0x8b, 0x90); /* mov rdx, [r8 + RDX] */
	put_disp32(c, CPU_GPR(X86_RDX));
}

/* eax = the flags as cpu->fl has them */
static void put_flags(struct code *c)
{
	PUT(c, 0x9f);		  /* lahf */
	PUT(c, 0x0f, 0x90, 0xc0); /* seto al */
	PUT(c, 0x0f, 0xb7, 0xc0); /* movzx eax, ax */
}

static void put_store_gpr(struct code *c, const struct plan *p)
{
	if (p->reg == AT_RAX)
		PUT(c, 0x48, 0x89, 0x06); /* mov [rsi], rax */
	if (p->rm == AT_RAX)
		PUT(c, 0x48, 0x89, 0x07); /* mov [rdi], rax */
}

static void put_vector(struct code *c, const struct insn *in,
		       const struct plan *p)
{
	int implied = in->attr & (INSN_EFLAGS | INSN_ECX | INSN_IMPLICIT_XMM0);
	uint8_t b[8];

	if (implied) {
		PUT(c, 0x49, 0x89, 0xd0); /* mov r8, rdx */
		put_implied(c, in, 0);
	}
	if (p->reg == AT_XMM)
		PUT(c, 0x0f, 0x28, 0x0e); /* movaps xmm1, [rsi] */
	if (p->rm == AT_XMM)
		PUT(c, 0x0f, 0x28, 0x17); /* movaps xmm2, [rdi] */
	if (is_maskmov(in))
		PUT(c, 0x48, 0x89, 0xd7); /* mov rdi, rdx */
	put(c, b, encode(in, p, b));
	if (is_cvtpi(in))
		PUT(c, 0x0f, 0x77); /* emms */
	if (p->reg == AT_XMM && p->reg_written)
		PUT(c, 0x0f, 0x29, 0x0e); /* movaps [rsi], xmm1 */
	if (p->rm == AT_XMM && p->rm_written)
		PUT(c, 0x0f, 0x29, 0x17); /* movaps [rdi], xmm2 */
	put_store_gpr(c, p);
	if (in->attr & INSN_EFLAGS) {
		put_flags(c);
		PUT(c, 0x41, 0x89, 0x80); /* mov [r8 + fl], eax */
		put_disp32(c, offsetof(struct cpu, fl));
	}
	if (implied)
		put_implied(c, in, 1);
	PUT(c, 0xc3); /* ret */
}

/* The instruction, with x87 state around it. */
static void put_x87(struct code *c, const struct insn *in,
		    const struct plan *p)
{
	uint8_t b[8];

	if (in->attr & INSN_FLAGS_IN)
		PUT(c, 0x8b, 0x06, 0x9e); /* mov eax, [rsi]; sahf */
	if (in->op == OP_X87 && p->rm == AT_RAX)
		PUT(c, 0x48, 0x8b, 0x07); /* mov rax, [rdi]: FNSTSW AX */
	if (is_maskmov(in))
		PUT(c, 0x48, 0x89, 0xf7); /* mov rdi, rsi */
	put(c, b, encode(in, p, b));
	if (in->attr & INSN_EFLAGS) {
		put_flags(c);
		PUT(c, 0x89, 0x06); /* mov [rsi], eax */
	}
}

static void put_live(struct code *c, const struct insn *in,
		     const struct plan *p)
{
	put_x87(c, in, p);
	put_store_gpr(c, p);
	PUT(c, 0xc3); /* ret */
}

static void put_full(struct code *c, const struct insn *in,
		     const struct plan *p)
{
	PUT(c, 0x0f, 0xae, 0x5c, 0x24, 0xf8); /* stmxcsr [rsp - 8] */
	PUT(c, 0x48, 0x0f, 0xae, 0x0a);	      /* fxrstor64 [rdx] */
	put_x87(c, in, p);
	PUT(c, 0x48, 0x0f, 0xae, 0x02);	      /* fxsave64 [rdx] */
	PUT(c, 0xdb, 0xe3);		      /* fninit */
	PUT(c, 0x0f, 0xae, 0x54, 0x24, 0xf8); /* ldmxcsr [rsp - 8] */
	put_store_gpr(c, p);
	PUT(c, 0xc3); /* ret */
}

static struct slot *find(struct native *n, uint64_t key)
{
	uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15ull >>
				(64 - SLOT_BITS));

	/* native_full() keeps a quarter of the slots empty */
	while (n->slot[i].key && n->slot[i].key != key)
		i = (i + 1) & (SLOT_COUNT - 1);
	return &n->slot[i];
}

static native_fn get(struct native *n, const struct insn *in, int live)
{
	struct plan p = make_plan(in);
	uint8_t bytes[8] = { 0 };
	struct code c = { .n = 0 };
	struct slot *s;
	uint64_t key;

	/* What the host will run is all that tells thunks apart; it leaves
	 * the last byte free. */
	encode(in, &p, bytes);
	bytes[7] = (uint8_t)live;
	memcpy(&key, bytes, 8);
	s = find(n, key);
	if (!s->key) {
		if (live)
			put_live(&c, in, &p);
		else if (p.full)
			put_full(&c, in, &p);
		else
			put_vector(&c, in, &p);
		memcpy(n->rw + n->used, c.b, c.n);
		s->key = key;
		s->offset = n->used;
		n->used += (c.n + 15) & ~15u;
		n->count++;
	}
	return (native_fn)(uintptr_t)(n->rx + s->offset);
}

native_fn native_get(struct native *n, const struct insn *in)
{
	return get(n, in, 0);
}

native_fn native_get_live(struct native *n, const struct insn *in)
{
	return get(n, in, 1);
}
