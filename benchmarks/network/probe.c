/*
 * The only program of the image that the benchmarks of networks use; linked statically.
 *
 *   probe clock                        tell CLOCK_MONOTONIC, in nanoseconds
 *   probe receive PORT                 take what comes on each connection, until it ends
 *   probe send ADDRESS PORT SECONDS    send that long; tell bytes and nanoseconds until all of it has been taken
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 17];

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

static struct sockaddr_in place(const char *address, const char *port)
{
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    inet_pton(AF_INET, address, &made.sin_addr);
    return made;
}

static int receive(const char *port)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in here = place("0.0.0.0", port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 8) != 0) {
        return failed("listen");
    }
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) {
            return failed("accept");
        }
        while (read(connection, buffer, sizeof buffer) > 0) {
        }
        close(connection);
    }
}

static int send_for(const char *address, const char *port, double seconds)
{
    struct sockaddr_in there = place(address, port);
    int64_t patience = now() + INT64_C(5000000000);
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    while (connect(connection, (struct sockaddr *)&there, sizeof there) != 0) {
        /* The other one may not listen yet. */
        if (errno != ECONNREFUSED || now() > patience) {
            return failed("connect");
        }
        usleep(1000);
    }
    int64_t start = now(), end = start + (int64_t)(seconds * 1e9), sent = 0;
    while (now() < end) {
        ssize_t count = write(connection, buffer, sizeof buffer);
        if (count < 0) {
            return failed("write");
        }
        sent += count;
    }
    /* The other end closes when it has taken all. */
    shutdown(connection, SHUT_WR);
    while (read(connection, buffer, sizeof buffer) > 0) {
    }
    printf("%lld %lld\n", (long long)sent, (long long)(now() - start));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "clock") == 0) {
        printf("%lld\n", (long long)now());
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "receive") == 0) {
        /* It is process 1 of its container, which ignores what it has no handler for. */
        signal(SIGTERM, _exit);
        return receive(argv[2]);
    }
    if (argc == 5 && strcmp(argv[1], "send") == 0) {
        return send_for(argv[2], argv[3], atof(argv[4]));
    }
    fprintf(stderr, "probe clock | receive PORT | send ADDRESS PORT SECONDS\n");
    return 2;
}
