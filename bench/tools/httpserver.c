// SPDX-License-Identifier: Apache-2.0
/* A server for the L7 bench that costs next to nothing: every request is answered 200, "ok".
 *
 *   httpserver PORT...          serves until killed, HTTP/1.1 and HTTP/2 in clear text on each
 *
 * It speaks as much of both as load generators and Envoy need. HTTP/1.1: requests without bodies.
 * HTTP/2 (RFC 9113), told by its preface: requests that end with their headers, which are not read;
 * answers have two bytes, so windows, which both ends open wide, are not counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 4096, ROOM = 16 * 1024, EVENTS = 256, BACKLOG = 4096 };
enum { DATA, HEADERS, SETTINGS = 4, PING = 6, GOAWAY, CONTINUATION = 9 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, HEAD = 9 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static const char keep[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
static const char last[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

struct connection {
	int two; // speaks HTTP/2
	size_t in, out;
	char input[ROOM], output[ROOM];
};
static struct connection *known[CONNECTIONS];

static void die(const char *what)
{
	fprintf(stderr, "httpserver: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int put(struct connection *c, const void *bytes, size_t size)
{
	if (c->out + size > ROOM)
		return -1;
	memcpy(c->output + c->out, bytes, size);
	c->out += size;
	return 0;
}

static int frame(struct connection *c, int type, int flags, const char *stream, const char *body,
	uint8_t size)
{
	char head[HEAD] = {0, 0, size, type, flags};

	memcpy(head + 5, stream, 4);
	return put(c, head, HEAD) || put(c, body, size) ? -1 : 0;
}

// Take requests out of the input: bytes used, or -1 when the connection is over.
static ssize_t one(struct connection *c)
{
	char *at = c->input, *end;

	c->input[c->in] = 0;
	while ((end = strstr(at, "\r\n\r\n"))) {
		*end = 0;
		if (strcasestr(at, "\r\nconnection: close"))
			return put(c, last, sizeof(last) - 1), -1;
		if (put(c, keep, sizeof(keep) - 1))
			return -1;
		at = end + 4;
	}
	return at - c->input;
}

static ssize_t two(struct connection *c)
{
	static const char status[] = {(char)0x88}; // `:status: 200` of the static table
	static const char root[4];
	char *at = c->input, *end = c->input + c->in;

	while (end - at >= HEAD) {
		const unsigned char *head = (unsigned char *)at;
		size_t size = (size_t)head[0] << 16 | head[1] << 8 | head[2];
		int type = head[3], flags = head[4], bad = 0;

		if (size > ROOM - HEAD - 1)
			return -1;
		if ((size_t)(end - at) < HEAD + size)
			break;
		if (type == GOAWAY)
			return -1;
		if (type == SETTINGS && !(flags & ACK))
			bad = frame(c, SETTINGS, ACK, root, 0, 0);
		if (type == PING && !(flags & ACK))
			bad = frame(c, PING, ACK, root, at + HEAD, size);
		if ((type == HEADERS || type == CONTINUATION) && flags & END_HEADERS)
			bad = frame(c, HEADERS, END_HEADERS, at + 5, status, 1) ||
			      frame(c, DATA, END_STREAM, at + 5, "ok", 2);
		if (bad)
			return -1;
		at += HEAD + size;
	}
	return at - c->input;
}

// Tell whether it is HTTP/2, once enough has come; -1 while that is open.
static int begun(struct connection *c)
{
	static const char root[4];
	size_t size = sizeof(preface) - 1;

	if (c->two || memcmp(c->input, preface, c->in < size ? c->in : size))
		return 0;
	if (c->in < size)
		return -1;
	c->two = 1;
	c->in -= size;
	memmove(c->input, c->input + size, c->in);
	return frame(c, SETTINGS, 0, root, 0, 0);
}

static int answer(int fd, struct connection *c)
{
	ssize_t size = read(fd, c->input + c->in, ROOM - 1 - c->in), used;
	size_t sent = 0;

	if (size <= 0)
		return size < 0 && errno == EAGAIN ? 0 : -1;
	c->in += size;
	if (begun(c))
		return 0;
	used = c->two ? two(c) : one(c);
	while (sent < c->out) {
		ssize_t wrote = write(fd, c->output + sent, c->out - sent);

		if (wrote < 0 && errno != EAGAIN)
			return -1;
		sent += wrote > 0 ? wrote : 0;
	}
	c->out = 0;
	if (used < 0)
		return -1;
	c->in -= used;
	memmove(c->input, c->input + used, c->in);
	return c->in == ROOM - 1 ? -1 : 0;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static void take(int epoll, int listener)
{
	int fd, on = 1;

	while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
		if (fd >= CONNECTIONS || !(known[fd] = calloc(1, sizeof(**known)))) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		watch(epoll, fd);
	}
}

static void let_go(int fd)
{
	free(known[fd]);
	known[fd] = 0;
	close(fd);
}

static void serve(int epoll, const char *port)
{
	struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, BACKLOG))
		die(port);
	watch(epoll, fd);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int epoll = epoll_create1(0), number, count;

	for (number = 1; number < argc; number++)
		serve(epoll, argv[number]);
	while ((count = epoll_wait(epoll, events, EVENTS, -1)) >= 0 || errno == EINTR)
		for (number = 0; number < count; number++) {
			int fd = events[number].data.fd;

			if (!known[fd])
				take(epoll, fd);
			else if (answer(fd, known[fd]))
				let_go(fd);
		}
	die("epoll_wait");
}
