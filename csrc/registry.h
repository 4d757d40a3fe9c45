/*
 * What a reaper was told and has not forgotten: a table that grows, and an index by id.
 *
 * Owns the fds of its registrations.  Positions stay valid until dropped, then they are used again.
 */
#ifndef PC_REGISTRY_H
#define PC_REGISTRY_H

#include "freestanding.h"
#include "reaper_protocol.h"

#define PC_NOWHERE UINT32_MAX

struct pc_registration {
    uint64_t id;
    uint32_t type; /* enum pc_reaper_type; 0: free */
    uint32_t flags;
    uint32_t next; /* with the same bucket, or the next free one; PC_NOWHERE ends */
    uint32_t fd_count;
    int32_t fds[PC_REAPER_MAX_FDS];
    char name[sizeof((struct pc_reaper_message *)0)->name];
};

struct pc_registry {
    struct pc_registration *table;
    uint32_t *buckets; /* as many as the table has places, a power of two */
    uint32_t capacity;
    uint32_t used; /* places 0 .. used-1 were in use at some time */
    uint32_t free; /* the first place to use again */
    uint32_t count;
    uint32_t fd_count;
    uint32_t process_count;
};

/* Ready for use, empty. 0 or -errno. */
long pc_registry_open(struct pc_registry *registry);

/* Keeps a registration and its fds, which are not the caller's any more. The position, or -errno. */
long pc_registry_add(struct pc_registry *registry, const struct pc_reaper_message *message, const int *fds,
                     uint32_t fd_count);

/* Closes the fds and forgets. */
void pc_registry_drop(struct pc_registry *registry, uint32_t position);

/* A position with this id, or PC_NOWHERE. */
uint32_t pc_registry_find(const struct pc_registry *registry, uint64_t id);

#endif
