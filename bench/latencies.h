/*
 * What sessions.c and load.c share: the clock, and the line of figures. Latencies are as they were measured, all of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Latencies that a thread keeps: more than it makes in a run. */
#define MOST_CALLS 4000000

static double
now_in_micros(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void
sleep_for(int seconds)
{
	nanosleep(&(struct timespec) {seconds, 0}, NULL);
}

static int
by_size(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return (x > y) - (x < y);
}

/* Prints "rate=... p50=... p99=..." (calls per second, microseconds) of all calls; sorts them. */
static void
print_figures(float *micros, long calls, int seconds)
{
	if (calls == 0)
	{
		fputs("no call has ended\n", stderr);
		exit(1);
	}
	qsort(micros, calls, sizeof(float), by_size);
	printf("rate=%.1f p50=%.1f p99=%.1f\n", (double) calls / seconds, micros[calls / 2], micros[calls * 99 / 100]);
}
