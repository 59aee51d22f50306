/*
 * POST /call of get_item(random id) over connections that stay open, with one request on its way on each: a load to measure by. cluster.py
 * compiles and runs it.
 *
 *   load HOST PORT CONNECTIONS SECONDS PLATFORM ROWS [FIRST LAST]
 *
 * FIRST and LAST: of the tenants tFIRST to tLAST at random. Prints "rate=... p50=... p99=..." (calls per second, microseconds). Ends with
 * status 1 when a call fails.
 *
 * wrk was used before. To the latencies that it measured it adds others, of the requests that it would have sent while it waited for a slow
 * answer (stats_correct in its stats.c): its percentiles are of another thing than those of pgbench.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latencies.h"

/* They are made before the clock starts, for making them would cost the cores that the server is measured on. */
#define REQUESTS 4096
#define LONGEST_ANSWER 8192
#define AT_ONCE 64
#define LOOK_EVERY_MS 100

typedef struct
{
	char	   *text;
	size_t		length;
} Request;

typedef struct
{
	int			fd;
	double		sent;
	size_t		got;
	char		answer[LONGEST_ANSWER + 1];
} Connection;

typedef struct
{
	int			connections;
	unsigned	next;
	Latencies  *latencies;
} Worker;

static struct addrinfo *server;
static Request requests[REQUESTS];
static atomic_bool over;

static void
give_up(const char *what, const char *which)
{
	fprintf(stderr, "%s: %s\n", what, which);
	exit(1);
}

static void
make_requests(char **argv, bool several)
{
	unsigned	seed = 1;
	int			rows = atoi(argv[6]);
	int			first = several ? atoi(argv[7]) : 0;
	int			last = several ? atoi(argv[8]) : 0;

	for (int n = 0; n < REQUESTS; n++)
	{
		char		tenant[64] = "";
		char		body[512];

		if (several)
			snprintf(tenant, sizeof(tenant), "\"tenant_id\":\"t%d\",", first + rand_r(&seed) % (last - first + 1));
		snprintf(body, sizeof(body), "{\"platform\":\"%s\",%s\"function\":\"get_item\",\"params\":[%d]}",
				 argv[5], tenant, 1 + rand_r(&seed) % rows);
		requests[n].length = asprintf(&requests[n].text,
									  "POST /call HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
									  argv[1], argv[2], strlen(body), body);
	}
}

static void
send_next(Worker *worker, Connection *connection)
{
	Request    *request = &requests[worker->next++ % REQUESTS];

	connection->got = 0;
	connection->sent = now_in_micros();
	/* It is far smaller than the buffer of a socket that is empty. */
	if (send(connection->fd, request->text, request->length, MSG_NOSIGNAL) != (ssize_t) request->length)
		give_up("send", "the server takes no request");
}

/* Whether the whole answer is there. */
static bool
is_whole(Connection *connection)
{
	char	   *body = strstr(connection->answer, "\r\n\r\n");
	char	   *length;

	if (body == NULL)
		return false;
	if (strncmp(connection->answer, "HTTP/1.1 200", 12) != 0)
		give_up("a call failed", connection->answer);
	length = strcasestr(connection->answer, "\r\ncontent-length:");
	if (length == NULL || length > body)
		give_up("an answer without its length", connection->answer);
	return connection->answer + connection->got == body + 4 + strtoul(length + 17, NULL, 10);
}

static void
receive(Worker *worker, Connection *connection)
{
	ssize_t		got = recv(connection->fd, connection->answer + connection->got, LONGEST_ANSWER - connection->got, 0);

	if (got <= 0)
		give_up("recv", got == 0 ? "the server has closed the connection, or its answer is too long" : "the connection is broken");
	connection->got += got;
	connection->answer[connection->got] = '\0';
	if (!is_whole(connection))
		return;
	worker->latencies->micros[worker->latencies->calls++] = now_in_micros() - connection->sent;
	send_next(worker, connection);
}

static void *
work(void *argument)
{
	Worker	   *worker = argument;
	Connection *connections = calloc(worker->connections, sizeof(Connection));
	struct epoll_event events[AT_ONCE];
	int			looked = epoll_create1(0);

	for (int n = 0; n < worker->connections; n++)
	{
		struct epoll_event wanted = {.events = EPOLLIN,.data.ptr = &connections[n]};
		int			fd = socket(server->ai_family, SOCK_STREAM, 0);

		connections[n].fd = fd;
		if (connect(fd, server->ai_addr, server->ai_addrlen) != 0)
			give_up("connect", "the server does not answer");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) {1}, sizeof(int));
		epoll_ctl(looked, EPOLL_CTL_ADD, fd, &wanted);
		send_next(worker, &connections[n]);
	}
	while (!atomic_load(&over) && worker->latencies->calls + AT_ONCE < MOST_CALLS)
	{
		int			ready = epoll_wait(looked, events, AT_ONCE, LOOK_EVERY_MS);

		for (int n = 0; n < ready; n++)
			receive(worker, events[n].data.ptr);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	int			connections;
	int			seconds;
	int			threads;
	Latencies	latencies[2];
	Worker		workers[2] = {{0}};
	pthread_t	running[2];

	if (argc != 7 && argc != 9)
		return 2;
	if (getaddrinfo(argv[1], argv[2], &(struct addrinfo) {.ai_socktype = SOCK_STREAM}, &server) != 0)
		give_up("no address", argv[1]);
	connections = atoi(argv[3]);
	seconds = atoi(argv[4]);
	threads = connections < 2 ? 1 : 2;
	make_requests(argv, argc == 9);
	for (int n = 0; n < threads; n++)
	{
		workers[n].connections = (connections + n) / threads;
		workers[n].next = n * REQUESTS / threads;
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
