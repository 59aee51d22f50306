/* The wall clock of a server under test, wrong by as many seconds as the file CLOCK_FILE has, a long. Loaded by LD_PRELOAD.
 *
 * The file is mapped, so that all processes see at once what is written there, in signal handlers too. libfaketime would not do: a process
 * that PostgreSQL 15 forks in the handler of a signal that interrupts select(), as it does its workers, has the true time for life.
 * Monotonic clocks are left alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long right = 0;
static const volatile long *wrong = &right;

__attribute__((constructor)) static void map(void)
{
    const char *path = getenv("CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        abort();
    void *seen = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
    if (seen == MAP_FAILED)
        abort();
    close(fd);
    wrong = seen;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int) syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *wrong;
    return result;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec precise;
    (void) zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
