/*
 * A depth-first walk on fds.  Each open directory keeps the buffer of entries it was reading, so the walk goes
 * on where it was when a subdirectory is done.
 *
 * A directory at the deepest level that has to be entered is first moved up into the top directory, where the
 * walk meets it again later: so there is no "..", and no limit on the depth.
 *
 * Reading a directory while its entries are removed may skip some on some file systems, and a directory can
 * come in by such a move.  So a directory is read again as long as anything changed since its last reading
 * began, and rmdir alone tells whether it is empty.
 */
#include "tree.h"
#include "freestanding.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/wait.h>

/* Linux 6.6; the numbers from 424 on are the same on all machines, and kernel headers may be older. */
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

enum {
    DEPTH = 24,
    BUFFER = 8192, /* about 250 entries with short names */
};

struct level {
    int fd;
    bool permitted; /* its mode was made to allow everything to the owner */
    uint32_t position;
    uint32_t length;
    uint64_t changes; /* the walk's, when this reading began */
    char buffer[BUFFER] __attribute__((aligned(8)));
};

struct walk {
    int parent;
    const char *name;
    uint64_t changes; /* entries removed or moved so far */
    uint64_t moved;
    long error; /* the first */
    bool denied;
    int depth;
    struct level levels[DEPTH];
};

/* Too large for a stack whose limit the host chose. */
static struct walk the_walk;

static void note(struct walk *walk, long error)
{
    if (walk->error == 0) {
        walk->error = error;
    }
    walk->denied |= error == -EACCES || error == -EPERM;
}

/* chmod of an O_PATH fd before Linux 6.6. */
static long chmod_by_proc(int fd, long mode)
{
    char path[] = "/proc/self/fd/..........";
    char *end = path + sizeof "/proc/self/fd/" - 1;
    int digits = 1;
    for (int rest = fd; rest >= 10; rest /= 10) {
        digits++;
    }
    end[digits] = '\0';
    for (int rest = fd; digits-- > 0; rest /= 10) {
        end[digits] = (char)('0' + rest % 10);
    }
    return pc_raw3(__NR_fchmodat, AT_FDCWD, pc_pointer(path), mode);
}

/* Gives the owner all rights on the directory `name`, which cannot be opened without them. */
static long permit(int directory, const char *name)
{
    long fd = pc_open_directory(directory, name, O_PATH);
    if (fd < 0) {
        return fd;
    }
    long ret = pc_raw4(__NR_fchmodat2, fd, pc_pointer(""), S_IRWXU, AT_EMPTY_PATH);
    if (ret == -ENOSYS) {
        ret = chmod_by_proc((int)fd, S_IRWXU);
    }
    pc_close((int)fd);
    return ret;
}

static long open_directory(int directory, const char *name)
{
    long fd = pc_open_directory(directory, name, O_RDONLY);
    if (fd == -EACCES && permit(directory, name) == 0) {
        fd = pc_open_directory(directory, name, O_RDONLY);
    }
    return fd;
}

/* 0 when it is gone, -ENOTEMPTY for a directory with entries, or what prevents it. */
static long remove_entry(int directory, const char *name, bool is_directory)
{
    long ret = pc_raw3(__NR_unlinkat, directory, pc_pointer(name), is_directory ? AT_REMOVEDIR : 0);
    if (ret == (is_directory ? -ENOTDIR : -EISDIR)) {
        ret = pc_raw3(__NR_unlinkat, directory, pc_pointer(name), is_directory ? 0 : AT_REMOVEDIR);
    }
    if (ret == -EEXIST) {
        return -ENOTEMPTY; /* rmdir(2) allows both */
    }
    return ret == -ENOENT ? 0 : ret;
}

/* In a directory of the tree, whose mode may have to be changed first. */
static long remove_at(struct level *level, const char *name, bool is_directory)
{
    long ret = remove_entry(level->fd, name, is_directory);
    if (ret == -EACCES && !level->permitted) {
        level->permitted = true;
        if (pc_raw2(__NR_fchmod, level->fd, S_IRWXU) == 0) {
            ret = remove_entry(level->fd, name, is_directory);
        }
    }
    return ret;
}

static struct level *current(struct walk *walk)
{
    return &walk->levels[walk->depth];
}

static struct pc_entry *entry_at(struct level *level)
{
    return (struct pc_entry *)(void *)(level->buffer + level->position);
}

static void read_again(struct walk *walk)
{
    struct level *level = current(walk);
    pc_raw3(__NR_lseek, level->fd, 0, 0);
    level->position = level->length = 0;
    level->changes = walk->changes;
}

/* The next entry; NULL at the end of the directory, or when it cannot be read. */
static struct pc_entry *next_entry(struct walk *walk)
{
    struct level *level = current(walk);
    if (level->position < level->length) {
        level->position += entry_at(level)->size;
    }
    if (level->position >= level->length) {
        long ret = pc_raw3(__NR_getdents64, level->fd, pc_pointer(level->buffer), BUFFER);
        level->position = 0;
        level->length = ret < 0 ? 0 : (uint32_t)ret;
        if (ret < 0) {
            note(walk, ret);
        }
    }
    return level->length == 0 ? NULL : entry_at(level);
}

static long enter(struct walk *walk, int directory, const char *name, int depth)
{
    long fd = open_directory(directory, name);
    if (fd < 0) {
        return fd;
    }
    walk->depth = depth;
    current(walk)->fd = (int)fd;
    current(walk)->permitted = false;
    read_again(walk);
    return 0;
}

/* Moves a directory of the deepest level into the top directory. */
static long move_up(struct walk *walk, const char *name)
{
    struct level *level = current(walk);
    for (;;) {
        char target[] = "pc-................";
        for (uint64_t i = 0, rest = walk->moved++; i < 16; i++, rest >>= 4) {
            target[3 + i] = "0123456789abcdef"[rest & 15];
        }
        long ret = pc_raw4(__NR_renameat, level->fd, pc_pointer(name), walk->levels[0].fd, pc_pointer(target));
        if (ret == -EACCES && permit(level->fd, name) == 0) {
            /* A directory that moves must be writable itself: its ".." changes. */
            ret = pc_raw4(__NR_renameat, level->fd, pc_pointer(name), walk->levels[0].fd, pc_pointer(target));
        }
        /* The name is taken; an empty directory of that name was replaced, which is as good. */
        if (ret != -ENOTEMPTY && ret != -EEXIST && ret != -ENOTDIR) {
            return ret;
        }
    }
}

/* The current directory is read to its end. False when it was the top one, and it is gone or stays. */
static bool leave(struct walk *walk)
{
    struct level *level = current(walk);
    bool is_top = walk->depth == 0;
    long ret = is_top ? remove_entry(walk->parent, walk->name, true)
                      : remove_at(level - 1, entry_at(level - 1)->name, true);
    if (ret == -ENOTEMPTY && walk->changes != level->changes) {
        read_again(walk);
        return true;
    }
    pc_close(level->fd);
    walk->depth--;
    if (ret == 0) {
        walk->changes++;
    } else {
        note(walk, ret);
    }
    return !is_top;
}

static void handle(struct walk *walk, const struct pc_entry *entry)
{
    const char *name = entry->name;
    long ret = remove_at(current(walk), name, entry->type == PC_DIRECTORY);
    if (ret == 0) {
        walk->changes++;
        return;
    }
    if (ret == -ENOTEMPTY) {
        if (walk->depth + 1 < DEPTH) {
            ret = enter(walk, current(walk)->fd, name, walk->depth + 1);
        } else {
            ret = move_up(walk, name);
            walk->changes += ret == 0;
        }
    }
    if (ret < 0) {
        note(walk, ret);
    }
}

static void remove_directly(struct walk *walk, int parent, const char *name)
{
    walk->parent = parent;
    walk->name = name;
    walk->changes = walk->moved = 0;
    walk->error = 0;
    walk->denied = false;
    long ret = remove_entry(parent, name, false);
    if (ret == -ENOTEMPTY) {
        ret = enter(walk, parent, name, 0);
        if (ret == 0) {
            do {
                const struct pc_entry *entry = next_entry(walk);
                while (entry != NULL) {
                    if (!pc_equal(entry->name, ".") && !pc_equal(entry->name, "..")) {
                        handle(walk, entry);
                    }
                    entry = next_entry(walk);
                }
            } while (leave(walk));
        }
    }
    if (ret < 0) {
        note(walk, ret);
    }
}

/* Removes what is in the tree as root of the user namespace, in a process of its own. */
static void remove_inside(struct walk *walk, int userns)
{
    long pid = pc_raw5(__NR_clone, 0, 0, 0, 0, 0);
    if (pid == 0) {
        long ret = pc_raw2(__NR_setns, userns, CLONE_NEWUSER);
        if (ret == 0) {
            ret = pc_raw3(__NR_setresgid, 0, 0, 0);
        }
        if (ret == 0) {
            ret = pc_raw3(__NR_setresuid, 0, 0, 0);
        }
        if (ret == 0) {
            remove_directly(walk, walk->parent, walk->name);
        }
        pc_exit(0); /* what it achieved shows in the tree */
    }
    if (pid > 0) {
        pc_raw4(__NR_wait4, pid, 0, __WALL, 0);
    }
}

long pc_tree_remove(int parent, const char *name, int userns)
{
    struct walk *walk = &the_walk;
    remove_directly(walk, parent, name);
    if (walk->denied && userns >= 0) {
        remove_inside(walk, userns);
        /* The directory itself is in one that belongs to the host. */
        remove_directly(walk, parent, name);
    }
    return walk->error;
}
