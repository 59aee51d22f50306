/*
 * Calls of get_item(random id) in databases at random, over sessions that are open and warm: what PostgreSQL itself does, without anything
 * of stonescriptdb on the way. bench/tenants compiles and runs it.
 *
 *   sessions CONNINFO PREFIX THREADS DATABASES SECONDS ROWS
 *
 * There is one session to each of the databases PREFIX1, PREFIX2, ...; a thread takes one that no other thread is using. With one database
 * every thread has a session of its own. Prints "rate=... p50=... p99=..." (calls per second, microseconds). Ends with status 1 when a call fails.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "latencies.h"

#define WARM_UP 10

typedef struct
{
	PGconn	   *conn;
	atomic_flag busy;
} Session;

typedef struct
{
	unsigned	seed;
	Latencies  *latencies;
} Worker;

static Session *sessions;
static int	session_count;
static int	row_count;
static atomic_bool over;

static void
give_up(PGconn *conn)
{
	fputs(PQerrorMessage(conn), stderr);
	exit(1);
}

static PGconn *
open_session(const char *conninfo, const char *prefix, int database)
{
	char		text[1024];
	PGconn	   *conn;
	PGresult   *result;

	snprintf(text, sizeof(text), "%s dbname=%s%d", conninfo, prefix, database);
	conn = PQconnectdb(text);
	if (PQstatus(conn) != CONNECTION_OK)
		give_up(conn);
	result = PQprepare(conn, "get", "SELECT * FROM get_item($1)", 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up(conn);
	PQclear(result);
	return conn;
}

static void
call(PGconn *conn, unsigned *seed)
{
	char		id[16];
	const char *values[1] = {id};
	PGresult   *result;

	snprintf(id, sizeof(id), "%d", 1 + rand_r(seed) % row_count);
	result = PQexecPrepared(conn, "get", 1, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		give_up(conn);
	PQclear(result);
}

static void *
work(void *argument)
{
	Worker	   *worker = argument;

	while (!atomic_load(&over) && worker->latencies->calls < MOST_CALLS)
	{
		double		begun = now_in_micros();
		Session    *session;

		do
			session = &sessions[rand_r(&worker->seed) % session_count];
		while (atomic_flag_test_and_set(&session->busy));
		call(session->conn, &worker->seed);
		atomic_flag_clear(&session->busy);
		worker->latencies->micros[worker->latencies->calls++] = now_in_micros() - begun;
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	int			threads;
	int			databases;
	int			seconds;
	unsigned	seed = 1;
	Latencies  *latencies;
	Worker	   *workers;
	pthread_t  *running;

	if (argc != 7)
		return 2;
	threads = atoi(argv[3]);
	databases = atoi(argv[4]);
	seconds = atoi(argv[5]);
	row_count = atoi(argv[6]);
	session_count = databases == 1 ? threads : databases;
	sessions = calloc(session_count, sizeof(Session));
	latencies = calloc(threads, sizeof(Latencies));
	workers = calloc(threads, sizeof(Worker));
	running = calloc(threads, sizeof(pthread_t));
	for (int n = 0; n < session_count; n++)
	{
		sessions[n].conn = open_session(argv[1], argv[2], databases == 1 ? 1 : n + 1);
		for (int warm = 0; warm < WARM_UP; warm++)
			call(sessions[n].conn, &seed);
	}
	for (int n = 0; n < threads; n++)
	{
		workers[n].seed = 7919 * (n + 1);
		workers[n].latencies = &latencies[n];
		make_room(&latencies[n]);
		pthread_create(&running[n], NULL, work, &workers[n]);
	}
	sleep_for(seconds);
	atomic_store(&over, true);
	for (int n = 0; n < threads; n++)
		pthread_join(running[n], NULL);
	print_figures(latencies, threads, seconds);
	return 0;
}
