// SPDX-License-Identifier: Apache-2.0
/* Load for the datapath benches: TCP stream, request/response and connect rates.
 *
 *   netbench server PORT                     serves until killed
 *   netbench stream|rr|crr ADDR PORT SECONDS prints one number: bytes/s or transactions/s
 *
 * The first byte of a connection says what it is for. crr closes by RST (SO_LINGER 0), so that
 * no port is left in TIME_WAIT. Addresses may be IPv4 or IPv6.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 128 * 1024, BACKLOG = 512 };
static char block[BLOCK];

static void die(const char *what)
{
	fprintf(stderr, "netbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void serve_one(int fd)
{
	char kind;
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (read(fd, &kind, 1) != 1)
		return;
	if (kind == 's') {
		while (read(fd, block, BLOCK) > 0)
			;
		return;
	}
	do {
		if (write(fd, &kind, 1) != 1)
			return;
	} while (read(fd, &kind, 1) == 1);
}

static void serve(const char *port)
{
	struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))};
	int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1, off = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (void *)&at, sizeof(at)) || listen(fd, BACKLOG))
		die("listen");
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int peer = accept(fd, NULL, NULL);
		char kind;

		if (peer < 0)
			continue;
		/* A connect-rate peer is served without a fork: its cost would drown the path's. */
		if (recv(peer, &kind, 1, MSG_PEEK) == 1 && kind == 'c') {
			serve_one(peer);
		} else if (fork() == 0) {
			serve_one(peer);
			_exit(0);
		}
		close(peer);
	}
}

static int dial(const struct addrinfo *to)
{
	int fd = socket(to->ai_family, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen))
		die("connect");
	return fd;
}

static void turn(int fd, char kind)
{
	if (write(fd, &kind, 1) != 1 || read(fd, &kind, 1) != 1)
		die("exchange");
}

static double measure(const char *kind, const struct addrinfo *to, double seconds)
{
	struct linger hard = {.l_onoff = 1};
	double start, done = 0;
	int fd = -1;

	if (*kind != 'c')
		fd = dial(to);
	if (*kind == 's' && write(fd, "s", 1) != 1)
		die("write");
	start = now();
	while (now() - start < seconds) {
		if (*kind == 's') {
			ssize_t n = write(fd, block, BLOCK);

			if (n <= 0)
				die("write");
			done += n;
		} else if (*kind == 'r') {
			turn(fd, 'r');
			done++;
		} else {
			fd = dial(to);
			turn(fd, 'c');
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
			close(fd);
			done++;
		}
	}
	return done / (now() - start);
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *to;

	if (argc == 3 && !strcmp(argv[1], "server"))
		serve(argv[2]);
	if (argc != 5 ||
		(strcmp(argv[1], "stream") && strcmp(argv[1], "rr") && strcmp(argv[1], "crr"))) {
		fprintf(stderr, "usage: netbench server PORT | stream|rr|crr ADDR PORT SECONDS\n");
		return 2;
	}
	if (getaddrinfo(argv[2], argv[3], &hints, &to))
		die("address");
	printf("%.1f\n", measure(argv[1], to, atof(argv[4])));
	return 0;
}
