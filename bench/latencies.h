/*
 * What sessions.c and load.c share: the clock, and the line of figures. Latencies are as they were measured, all of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Latencies that a thread keeps: more than it makes in a run. */
#define MOST_CALLS 4000000

/* Of one thread. */
typedef struct
{
	long		calls;
	float	   *micros;
} Latencies;

static void
make_room(Latencies *latencies)
{
	latencies->calls = 0;
	latencies->micros = malloc(MOST_CALLS * sizeof(float));
}

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

/* Prints "rate=... p50=... p99=..." (calls per second, microseconds) of all threads. */
static void
print_figures(const Latencies *threads, int count, int seconds)
{
	long		calls = 0;
	float	   *all;

	for (int n = 0; n < count; n++)
		calls += threads[n].calls;
	if (calls == 0)
	{
		fputs("no call has ended\n", stderr);
		exit(1);
	}
	all = malloc(calls * sizeof(float));
	for (long done = 0, n = 0; n < count; done += threads[n++].calls)
		memcpy(all + done, threads[n].micros, threads[n].calls * sizeof(float));
	qsort(all, calls, sizeof(float), by_size);
	printf("rate=%.1f p50=%.1f p99=%.1f\n", (double) calls / seconds, all[calls / 2], all[calls * 99 / 100]);
}
