/* SPDX-License-Identifier: Apache-2.0 */
/* A program for x86-64-v3, if compiled for it: the compiler uses AVX2. */
#include <stdio.h>

int main(int argc, char **argv)
{
	volatile int v[64];
	int a[64], sum = 0;

	(void)argv;
	for (int i = 0; i < 64; i++)
		v[i] = i * argc;
	for (int i = 0; i < 64; i++)
		a[i] = v[i];
	for (int i = 0; i < 64; i++)
		sum += a[i] * a[63 - i];
	printf("sum %d\n", sum);
	return 0;
}
