/* The table of a reaper; memory comes from mmap and is not given back. */
#include "registry.h"

#include <linux/errno.h>
#include <linux/mman.h>

enum { FIRST_CAPACITY = 64 };

static void *map(size_t size)
{
    long ret = pc_raw6(__NR_mmap, 0, (long)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

static void unmap(void *memory, size_t size)
{
    pc_raw2(__NR_munmap, pc_pointer(memory), (long)size);
}

/* Ids are counted up by the host, so their low bits spread well. */
static uint32_t *bucket(const struct pc_registry *registry, uint64_t id)
{
    return &registry->buckets[id & (registry->capacity - 1)];
}

/* Id 0 is never looked for, and would be one long chain. */
static void link_in(struct pc_registry *registry, uint32_t position)
{
    struct pc_registration *registration = &registry->table[position];
    if (registration->id != 0) {
        uint32_t *first = bucket(registry, registration->id);
        registration->next = *first;
        *first = position;
    }
}

static void link_out(struct pc_registry *registry, uint32_t position)
{
    const struct pc_registration *registration = &registry->table[position];
    if (registration->id != 0) {
        uint32_t *place = bucket(registry, registration->id);
        while (*place != position) {
            place = &registry->table[*place].next;
        }
        *place = registration->next;
    }
}

/* Moves to tables of the given capacity; nothing has changed when it fails. Called with no free place. */
static long resize(struct pc_registry *registry, uint32_t capacity)
{
    struct pc_registration *table = map(capacity * sizeof *table);
    uint32_t *buckets = map(capacity * sizeof *buckets);
    if (table == NULL || buckets == NULL) {
        if (table != NULL) {
            unmap(table, capacity * sizeof *table);
        }
        if (buckets != NULL) {
            unmap(buckets, capacity * sizeof *buckets);
        }
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < capacity; i++) {
        buckets[i] = PC_NOWHERE;
    }
    struct pc_registry before = *registry;
    registry->table = table;
    registry->buckets = buckets;
    registry->capacity = capacity;
    for (uint32_t i = 0; i < registry->used; i++) {
        table[i] = before.table[i];
        link_in(registry, i);
    }
    if (before.capacity > 0) {
        unmap(before.table, before.capacity * sizeof *table);
        unmap(before.buckets, before.capacity * sizeof *buckets);
    }
    return 0;
}

long pc_registry_open(struct pc_registry *registry)
{
    *registry = (struct pc_registry){.free = PC_NOWHERE};
    return resize(registry, FIRST_CAPACITY);
}

/* A free place, or PC_NOWHERE when there is no memory. */
static uint32_t take_place(struct pc_registry *registry)
{
    uint32_t position = registry->free;
    if (position != PC_NOWHERE) {
        registry->free = registry->table[position].next;
        return position;
    }
    if (registry->used == registry->capacity && resize(registry, 2 * registry->capacity) < 0) {
        return PC_NOWHERE;
    }
    return registry->used++;
}

long pc_registry_add(struct pc_registry *registry, const struct pc_reaper_message *message, const int *fds,
                     uint32_t fd_count)
{
    uint32_t position = take_place(registry);
    if (position == PC_NOWHERE) {
        return -ENOMEM;
    }
    struct pc_registration *registration = &registry->table[position];
    registration->id = message->id;
    registration->type = message->type;
    registration->flags = message->flags;
    registration->next = PC_NOWHERE;
    registration->fd_count = fd_count;
    for (uint32_t i = 0; i < fd_count; i++) {
        registration->fds[i] = fds[i];
    }
    memcpy(registration->name, message->name, sizeof registration->name);
    link_in(registry, position);
    registry->count++;
    registry->fd_count += fd_count;
    registry->process_count += message->type == PC_REAPER_PROCESS;
    return position;
}

void pc_registry_drop(struct pc_registry *registry, uint32_t position)
{
    struct pc_registration *registration = &registry->table[position];
    link_out(registry, position);
    for (uint32_t i = 0; i < registration->fd_count; i++) {
        pc_close(registration->fds[i]);
    }
    registry->count--;
    registry->fd_count -= registration->fd_count;
    registry->process_count -= registration->type == PC_REAPER_PROCESS;
    registration->type = 0;
    registration->next = registry->free;
    registry->free = position;
}

uint32_t pc_registry_find(const struct pc_registry *registry, uint64_t id)
{
    uint32_t position = id == 0 ? PC_NOWHERE : *bucket(registry, id);
    while (position != PC_NOWHERE && registry->table[position].id != id) {
        position = registry->table[position].next;
    }
    return position;
}
