/* SPDX-License-Identifier: Apache-2.0 */
/* float, double and long double: arithmetic, conversions, comparisons and
 * libm in each rounding mode, with the flags that each sets. */
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint64_t seed = 362436069362436069u;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t hash = 14695981039346656037u;

static void mix(const void *p, size_t n)
{
	const unsigned char *c = p;

	while (n--)
		hash = (hash ^ *c++) * 1099511628211u;
}

#define MIX(T, x) do { volatile T v_ = (x); T w_ = v_; \
	mix(&w_, sizeof(T) == 16 ? 10 : sizeof(T)); } while (0)

static void flags(void)
{
	int f = fetestexcept(FE_ALL_EXCEPT);

	mix(&f, sizeof(f));
	feclearexcept(FE_ALL_EXCEPT);
}

static double any_double(void)
{
	static const double edge[] = { 0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e308,
		-1e308, 5e-324, 2.2250738585072014e-308, 1e-310, INFINITY,
		-INFINITY, NAN, 9007199254740993.0, 0.1, 2147483648.0,
		-2147483649.0, 9.3e18, 1.9e19 };
	uint64_t u = next();
	double d;

	if (!(u & 3))
		return edge[u / 4 % (sizeof(edge) / sizeof(edge[0]))];
	if (u & 4) /* a number of middling size */
		return (double)(int64_t)(u >> 3) / (double)(next() >> 20);
	memcpy(&d, &u, sizeof(d));
	return d;
}

#define ARITH(NAME, T, SQRT, RINT, FMOD, LRINT) \
static void NAME(T a, T b) \
{ \
	volatile T x = a, y = b; \
	MIX(T, x + y); flags(); \
	MIX(T, x - y); flags(); \
	MIX(T, x * y); flags(); \
	MIX(T, x / y); flags(); \
	MIX(T, SQRT(x)); flags(); \
	MIX(T, RINT(x)); flags(); \
	MIX(T, FMOD(x, y)); flags(); \
	MIX(int, x < y); flags(); \
	MIX(int, x == y); flags(); \
	MIX(int, isunordered(x, y)); flags(); \
	MIX(float, (float)x); flags(); \
	MIX(double, (double)x); flags(); \
	MIX(long double, (long double)x); flags(); \
	MIX(int, (int)x); flags(); \
	MIX(long long, (long long)x); flags(); \
	MIX(long, LRINT(x)); flags(); \
	if (x > -1 && x < 1.8e19) \
		MIX(unsigned long, (unsigned long)x); \
	flags(); \
}

ARITH(do_float, float, sqrtf, rintf, fmodf, lrintf)
ARITH(do_double, double, sqrt, rint, fmod, lrint)
ARITH(do_long, long double, sqrtl, rintl, fmodl, lrintl)

static void do_int(uint64_t u)
{
	MIX(float, (float)(int)u); flags();
	MIX(float, (float)u); flags();
	MIX(double, (double)(unsigned)u); flags();
	MIX(double, (double)(int64_t)u); flags();
	MIX(double, (double)u); flags();
	MIX(long double, (long double)u); flags();
	MIX(long double, (long double)(int64_t)u); flags();
	MIX(long double, (long double)(short)u); flags();
}

static void do_libm(double x, double y)
{
	MIX(double, sin(x)); MIX(double, cos(x)); MIX(double, tan(x));
	MIX(double, exp(x)); MIX(double, log(x)); MIX(double, pow(x, y));
	MIX(double, atan2(x, y)); MIX(double, sinh(x)); MIX(double, asin(x));
	MIX(double, cbrt(x)); MIX(double, hypot(x, y)); MIX(double, erf(x));
	MIX(double, tgamma(x)); MIX(double, expm1(x)); MIX(double, log1p(x));
	MIX(float, sinf((float)x)); MIX(float, expf((float)x));
	MIX(float, powf((float)x, (float)y)); MIX(double, fma(x, y, x));
	MIX(double, floor(x)); MIX(double, ceil(x)); MIX(double, round(x));
	MIX(double, nextafter(x, y)); MIX(double, ldexp(x, (int)(seed & 63)));
	flags();
}

static void do_libml(long double x, long double y)
{
	MIX(long double, sinl(x)); MIX(long double, cosl(x));
	MIX(long double, tanl(x)); MIX(long double, expl(x));
	MIX(long double, logl(x)); MIX(long double, powl(x, y));
	MIX(long double, atan2l(x, y)); MIX(long double, exp2l(x));
	MIX(long double, log2l(x)); MIX(long double, log10l(x));
	MIX(long double, asinl(x)); MIX(long double, coshl(x));
	MIX(long double, remainderl(x, y)); MIX(long double, floorl(x));
	MIX(long double, scalbnl(x, (int)(seed & 31))); MIX(int, ilogbl(x));
	MIX(long double, fabsl(x)); MIX(long double, log1pl(x));
	flags();
}

int main(void)
{
	static const int mode[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD,
		FE_TOWARDZERO };
	char text[64];

	for (int i = 1; i <= 1000; i++) {
		double x = any_double(), y = any_double();
		long double l = (long double)x * 1.0000000000000000001L;

		fesetround(mode[i & 3]);
		feclearexcept(FE_ALL_EXCEPT);
		do_float((float)x, (float)y);
		do_double(x, y);
		do_long(l, (long double)y);
		do_int(next());
		fesetround(FE_TONEAREST);
		if (i % 4 == 0)
			do_libm(x, y);
		if (i % 8 == 0)
			do_libml(l, (long double)y);
		if (i % 8 == 0) {
			snprintf(text, sizeof(text), "%.17g %a %.3Lf", x, y,
				 fmodl(l, 1e9L));
			mix(text, strlen(text));
		}
		if (i % 100 == 0)
			printf("%d %016llx %s\n", i, (unsigned long long)hash,
			       text);
	}
	return 0;
}
