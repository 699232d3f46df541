// SPDX-License-Identifier: Apache-2.0
// The CNI plugin on the host: hands the call to the agent and prints what it answers.
//
// Everything that takes thought is in the agent. Here is only what must work while no agent is
// there: VERSION; errors 11 (try again later) and 50 (STATUS); and DEL, which is queued as a file
// so that pods can go and nodes can be cleaned. The frame and the reply are described in
// cilium_agent/cni/server.py, the queue's lock in delete_queue.py.
//
// Built static, so that any host runs it: musl-gcc -static -O2 -Wall -Wextra -Werror.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RUN_DIR         "/var/run/cilium"
#define MAX_INPUT       (1 << 20)
#define REPLY_SECONDS   90 // below the kubelet's two minutes for a runtime call
#define LOCK_SECONDS    15
#define TRY_AGAIN_LATER 11
#define NOT_AVAILABLE   50
#define IO_FAILURE      5

struct buffer {
	char *data;
	size_t len, cap;
};

static char cni_version[16] = "1.0.0";

static void append(struct buffer *b, const char *data, size_t len)
{
	if (b->len + len + 1 > b->cap) {
		b->cap = (b->len + len + 1) * 2;
		b->data = realloc(b->data, b->cap);
		if (!b->data)
			abort();
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = 0;
}

static void append_json(struct buffer *b, const char *text, size_t len)
{
	append(b, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = text[i];
		char escaped[8];
		if (c == '"' || c == '\\')
			append(b, escaped, sprintf(escaped, "\\%c", c));
		else if (c < 0x20)
			append(b, escaped, sprintf(escaped, "\\u%04x", c));
		else
			append(b, text + i, 1);
	}
	append(b, "\"", 1);
}

// Prints a CNI error object and returns the exit code.
__attribute__((format(printf, 2, 3))) static int fail(int code, const char *format, ...)
{
	struct buffer b = {0};
	char message[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	append_json(&b, message, strlen(message));
	printf("{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":%s}\n", cni_version, code, b.data);
	free(b.data);
	return 1;
}

// Only for error objects; the agent reads the configuration itself.
static void find_version(const struct buffer *in)
{
	const char *at = in->len ? strstr(in->data, "\"cniVersion\"") : NULL;
	char found[8];
	if (at && sscanf(at, "\"cniVersion\" : \"%7[0-9.]\"", found) == 1)
		snprintf(cni_version, sizeof(cni_version), "%s", found);
}

static int read_input(struct buffer *in)
{
	char chunk[4096];
	ssize_t n;
	append(in, "", 0);
	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || in->len + n > MAX_INPUT)
			return -1;
		append(in, chunk, n);
	}
	return 0;
}

static void make_frame(struct buffer *frame, const struct buffer *in)
{
	const char *comma = "";
	append(frame, "{\"env\":{", 8);
	for (char **e = environ; *e; e++) {
		const char *equals = strchr(*e, '=');
		if (strncmp(*e, "CNI_", 4) || !equals)
			continue;
		append(frame, comma, strlen(comma));
		append_json(frame, *e, equals - *e);
		append(frame, ":", 1);
		append_json(frame, equals + 1, strlen(equals + 1));
		comma = ",";
	}
	append(frame, "},\"stdin\":", 10);
	append_json(frame, in->data, in->len);
	append(frame, "}", 1);
}

static long long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

// Moves exactly len bytes before the deadline; 0, or -1 with errno (ECONNRESET at the end).
static int transfer(int fd, char *data, size_t len, short events, long long deadline)
{
	while (len) {
		long long left = deadline - now_ms();
		struct pollfd p = {.fd = fd, .events = events};
		ssize_t n;
		if (left <= 0 || poll(&p, 1, left) == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		n = events == POLLIN ? recv(fd, data, len, 0) : send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			return -1;
		data += n;
		len -= n;
	}
	return 0;
}

// Closes a descriptor without touching errno; always -1.
static int give_up(int fd)
{
	int kept = errno;
	close(fd);
	errno = kept;
	return -1;
}

static int dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = REPLY_SECONDS};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); // bounds connect
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return give_up(fd);
	return fd;
}

// Returns the agent's exit code after printing its answer, or -1 with errno.
static int ask(const char *path, const struct buffer *frame)
{
	long long deadline = now_ms() + REPLY_SECONDS * 1000LL;
	uint32_t length = htonl(frame->len), head[2];
	static char text[MAX_INPUT];
	int fd = dial(path);
	if (fd < 0)
		return -1;
	if (transfer(fd, (char *)&length, sizeof(length), POLLOUT, deadline) ||
		transfer(fd, frame->data, frame->len, POLLOUT, deadline) ||
		transfer(fd, (char *)head, sizeof(head), POLLIN, deadline))
		return give_up(fd);
	length = ntohl(head[1]);
	if (length > sizeof(text)) {
		errno = EMSGSIZE;
		return give_up(fd);
	}
	if (transfer(fd, text, length, POLLIN, deadline))
		return give_up(fd);
	close(fd);
	fwrite(text, 1, length, stdout);
	return ntohl(head[0]) & 0xff;
}

// True when the failure means that no agent carried the call out or will.
static int agent_absent(int error)
{
	return error == ENOENT || error == ECONNREFUSED || error == ECONNRESET || error == EPIPE;
}

static int write_file(const char *dir, const struct buffer *frame)
{
	struct timespec t;
	char temporary[200], path[200];
	int fd;
	clock_gettime(CLOCK_REALTIME, &t);
	snprintf(path, sizeof(path), "%s/%lld.%09ld-%d.delete", dir, (long long)t.tv_sec, t.tv_nsec,
		getpid());
	snprintf(temporary, sizeof(temporary), "%s/.%d.tmp", dir, getpid());
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (write(fd, frame->data, frame->len) != (ssize_t)frame->len || fsync(fd) ||
		rename(temporary, path)) {
		int kept = errno;
		unlink(temporary);
		close(fd);
		errno = kept;
		return -1;
	}
	close(fd);
	return 0;
}

// DEL without an agent: under the queue's lock the socket is tried once more, since an agent that
// starts holds the lock until it answers; then the call is written down.
static int queue_delete(const char *run_dir, const char *path, const struct buffer *frame)
{
	long long deadline = now_ms() + LOCK_SECONDS * 1000LL;
	char dir[120], lock[140];
	int fd, code;
	snprintf(dir, sizeof(dir), "%s/deleteQueue", run_dir);
	snprintf(lock, sizeof(lock), "%s/lock", dir);
	mkdir(run_dir, 0755);
	mkdir(dir, 0700);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(IO_FAILURE, "delete queue %s: %s", lock, strerror(errno));
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (now_ms() > deadline)
			return fail(TRY_AGAIN_LATER,
				"delete queue %s is locked: the agent is starting", lock);
		usleep(20000);
	}
	code = ask(path, frame);
	if (code < 0 && !agent_absent(errno))
		return fail(TRY_AGAIN_LATER, "agent socket %s: %s", path, strerror(errno));
	if (code < 0 && write_file(dir, frame))
		return fail(IO_FAILURE, "delete queue %s: %s", dir, strerror(errno));
	return code < 0 ? 0 : code;
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND"), *run_dir = getenv("CILIUM_RUN_DIR");
	struct buffer in = {0}, frame = {0};
	char path[120];
	int code;
	if (!run_dir || !*run_dir)
		run_dir = RUN_DIR;
	if (snprintf(path, sizeof(path), "%s/cni.sock", run_dir) > 100)
		return fail(IO_FAILURE, "CILIUM_RUN_DIR: %s is too long for a socket", run_dir);
	if (!command)
		return fail(4, "CNI_COMMAND: is missing");
	if (read_input(&in))
		return fail(
			IO_FAILURE, "stdin: cannot be read, or is longer than %d bytes", MAX_INPUT);
	find_version(&in);
	if (!strcmp(command, "VERSION"))
		return printf("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":"
			      "[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n") < 0;
	make_frame(&frame, &in);
	code = ask(path, &frame);
	if (code >= 0)
		return code;
	if (!strcmp(command, "DEL") && agent_absent(errno))
		return queue_delete(run_dir, path, &frame);
	if (!strcmp(command, "STATUS"))
		return fail(NOT_AVAILABLE, "agent socket %s: %s; the cilium agent is not running",
			path, strerror(errno));
	return fail(TRY_AGAIN_LATER, "agent socket %s: %s; is the cilium agent running?", path,
		strerror(errno));
}
