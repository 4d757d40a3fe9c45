/*
 * Reads its settings from the command line (key=value), then one command a line from stdin:
 *
 *   start            one container; the answer is the nanoseconds from before its first call until it is reaped
 *   exec             one more program in a running container; likewise
 *   cgroup           a cgroup that is made, read and removed; likewise
 *   storm T N        N containers from T threads; the nanoseconds for all
 *
 * "ready" is written first.  Any failure ends the program with a message and status 1.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void append(struct list *list, const char *item)
{
    must(list->count + 1 < MOST ? 0 : -1, "too many items");
    list->items[list->count++] = item;
}

/* identity=BASE:SKELETON */
static void add_identity(struct floor *floor, const char *value)
{
    char *rest;
    must(floor->identity_count < MOST ? 0 : -1, "too many identities");
    struct identity *identity = &floor->identities[floor->identity_count++];
    identity->base = (uint32_t)strtoul(value, &rest, 0);
    identity->skeleton = rest + 1;
    identity->userns = make_userns(identity->base);
}

static struct spot *last_spot(struct floor *floor)
{
    must(floor->spot_count > 0 ? 0 : -1, "a limit or counter of no tree");
    return &floor->spots[floor->spot_count - 1];
}

static void set(struct floor *floor, const char *key, const char *value)
{
    if (strcmp(key, "identity") == 0) {
        add_identity(floor, value);
    } else if (strcmp(key, "skeleton") == 0) {
        floor->skeleton = value;
    } else if (strcmp(key, "hostname") == 0) {
        floor->hostname = value;
    } else if (strcmp(key, "masked") == 0) {
        append(&floor->masked, value);
    } else if (strcmp(key, "read_only") == 0) {
        append(&floor->read_only, value);
    } else if (strcmp(key, "program") == 0) {
        append(&floor->programs, value);
    } else if (strcmp(key, "environment") == 0) {
        append(&floor->environment, value);
    } else if (strcmp(key, "seccomp") == 0) {
        load_filter(floor, value);
    } else if (strcmp(key, "step") == 0) {
        floor->step = load_step(value);
    } else if (strcmp(key, "capabilities") == 0) {
        floor->capabilities = strtoull(value, NULL, 0);
    } else if (strcmp(key, "last_capability") == 0) {
        floor->last_capability = (uint32_t)strtoul(value, NULL, 0);
    } else if (strcmp(key, "own_network") == 0) {
        floor->own_network = *value == '1';
    } else if (strcmp(key, "container") == 0) {
        floor->container = (int)SYS(pidfd_open, atoi(value), 0);
    } else if (strcmp(key, "tree") == 0 || strcmp(key, "hierarchy") == 0) {
        must(floor->spot_count < SPOTS ? 0 : -1, "too many trees");
        struct spot *spot = &floor->spots[floor->spot_count++];
        spot->parent = (int)must(open(value, O_RDONLY | O_DIRECTORY | O_CLOEXEC), value);
        spot->unified = *key == 't';
    } else if (strcmp(key, "limit") == 0) {
        append(&last_spot(floor)->limits, value);
    } else if (strcmp(key, "counter") == 0) {
        append(&last_spot(floor)->counters, value);
    } else {
        dprintf(2, "floor: what is %s?\n", key);
        exit(1);
    }
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static const struct identity *identity_of(const struct floor *floor, size_t thread)
{
    return floor->identity_count == 0 ? NULL : &floor->identities[thread % floor->identity_count];
}

struct storm {
    const struct floor *floor;
    size_t thread;
    atomic_int *left;
};

static void *storm_thread(void *argument)
{
    const struct storm *storm = argument;
    while (atomic_fetch_sub(storm->left, 1) > 0) {
        start_round(storm->floor, identity_of(storm->floor, storm->thread));
    }
    return NULL;
}

static void storm(const struct floor *floor, size_t threads, int count)
{
    pthread_t ids[MOST];
    struct storm storms[MOST];
    atomic_int left = count;
    must(threads > 0 && threads <= (floor->identity_count == 0 ? MOST : floor->identity_count) ? 0 : -1,
         "an identity for each thread");
    for (size_t i = 0; i < threads; i++) {
        storms[i] = (struct storm){floor, i, &left};
        must(pthread_create(&ids[i], NULL, storm_thread, &storms[i]) == 0 ? 0 : -1, "pthread_create");
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
}

int main(int count, char **arguments)
{
    static struct floor floor = {.hostname = "floor", .own_network = 1, .container = -1};
    char line[256];
    for (int i = 1; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        must(value != NULL ? 0 : -1, arguments[i]);
        *value = '\0';
        set(&floor, arguments[i], value + 1);
    }
    floor.leash = start_leash();
    dprintf(1, "ready\n");
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned int threads, starts;
        long long begin = now();
        if (strcmp(line, "start\n") == 0) {
            start_round(&floor, identity_of(&floor, 0));
        } else if (strcmp(line, "exec\n") == 0) {
            exec_round(&floor);
        } else if (strcmp(line, "cgroup\n") == 0) {
            struct seat seat;
            take_seat(&floor, &seat);
            leave_seat(&floor, &seat);
        } else if (sscanf(line, "storm %u %u", &threads, &starts) == 2) {
            storm(&floor, threads, (int)starts);
        } else {
            dprintf(2, "floor: what is %s", line);
            return 1;
        }
        dprintf(1, "%lld\n", now() - begin);
    }
    return 0;
}
