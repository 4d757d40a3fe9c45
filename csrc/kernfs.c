/* Small files of the kernel's own, and cgroups: many system calls for one call from Python. */
#define _GNU_SOURCE
#include "native.h"
#include "rawsys.h"

#include <errno.h>
#include <linux/fcntl.h>

/* The longest name of a directory, a slash, the longest name of a file. */
#define PATH_SIZE 520
/* From this length on, a file may have more: the kernel hands out a page or so at a time, cut between lines. */
#define WHOLE 3500

static long as_long(const void *pointer)
{
    return (long)(uintptr_t)pointer;
}

static long use_file(int dir, const char *path, int flags, long call, long data, uint32_t size)
{
    long fd = pc_raw4(__NR_openat, dir, as_long(path), flags | O_CLOEXEC, 0);
    if (fd < 0) {
        return fd;
    }
    long ret = pc_raw3(call, fd, data, size);
    pc_raw1(__NR_close, fd);
    return ret;
}

int pc_read_file(int dir, const char *path, char *buffer, uint32_t size)
{
    return (int)use_file(dir, path, O_RDONLY, __NR_read, as_long(buffer), size);
}

int pc_write_file(int dir, const char *path, const char *data, uint32_t size)
{
    return (int)use_file(dir, path, O_WRONLY, __NR_write, as_long(data), size);
}

static uint32_t length(const char *text)
{
    uint32_t count = 0;
    while (text[count] != '\0') {
        count++;
    }
    return count;
}

/* "name/file"; -ENAMETOOLONG. */
static int join(char *path, const char *name, const char *file)
{
    uint32_t first = length(name), second = length(file);
    if (first + second + 2 > PATH_SIZE) {
        return -ENAMETOOLONG;
    }
    for (uint32_t i = 0; i < first; i++) {
        path[i] = name[i];
    }
    path[first] = '/';
    for (uint32_t i = 0; i <= second; i++) {
        path[first + 1 + i] = file[i];
    }
    return 0;
}

/* The next text of a list; the last is followed by an empty one. */
static const char *next(const char *text)
{
    return text + length(text) + 1;
}

static long open_part(const struct pc_group_part *part, const char *name)
{
    char path[PATH_SIZE];
    if (part->unified) {
        return pc_raw4(__NR_openat, part->above, as_long(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    }
    int ret = join(path, name, "tasks");
    return ret < 0 ? ret : pc_raw4(__NR_openat, part->above, as_long(path), O_WRONLY | O_CLOEXEC, 0);
}

static long set_part(const struct pc_group_part *part, const char *name)
{
    char path[PATH_SIZE];
    for (const char *file = part->settings; *file != '\0';) {
        const char *value = next(file);
        uint32_t size = length(value);
        long ret = join(path, name, file);
        if (ret == 0) {
            ret = use_file(part->above, path, O_WRONLY, __NR_write, as_long(value), size);
        }
        if (ret < 0) {
            return ret;
        }
        file = next(value);
    }
    return 0;
}

int pc_make_group(const struct pc_group_part *parts, uint32_t count, const char *name, int32_t *fds)
{
    long ret = 0;
    uint32_t made = 0;
    for (; made < count && ret >= 0; made++) {
        fds[made] = -1;
        ret = pc_raw3(__NR_mkdirat, parts[made].above, as_long(name), 0755);
        if (ret < 0) {
            break;
        }
        ret = open_part(&parts[made], name);
        if (ret >= 0) {
            fds[made] = (int32_t)ret;
            ret = set_part(&parts[made], name);
        }
    }
    if (ret >= 0) {
        return 0;
    }
    for (uint32_t i = 0; i < made; i++) {
        if (fds[i] >= 0) {
            pc_raw1(__NR_close, fds[i]);
        }
    }
    pc_remove_group(parts, made, name);
    return (int)ret;
}

int pc_remove_group(const struct pc_group_part *parts, uint32_t count, const char *name)
{
    int left = 0;
    for (uint32_t i = 0; i < count; i++) {
        long ret = pc_raw3(__NR_unlinkat, parts[i].above, as_long(name), AT_REMOVEDIR);
        left += ret < 0 && ret != -ENOENT;
    }
    return left;
}

int pc_read_group(const struct pc_group_part *parts, uint32_t count, const char *name, char *buffer, uint32_t size)
{
    char path[PATH_SIZE];
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (const char *file = parts[i].counters; *file != '\0'; file = next(file)) {
            if (size - used < WHOLE + 1) {
                return -ENOSPC;
            }
            long ret = join(path, name, file);
            if (ret == 0) {
                ret = use_file(parts[i].above, path, O_RDONLY, __NR_read, as_long(buffer + used), WHOLE);
            }
            if (ret == WHOLE) {
                return -ENOSPC;
            }
            used += ret < 0 ? 0 : (uint32_t)ret;
            buffer[used++] = '\0';
        }
    }
    return (int)used;
}

void pc_find_group(const struct pc_group_part *parts, uint32_t count, const char *name)
{
    char path[PATH_SIZE];
    for (uint32_t i = 0; i < count; i++) {
        for (const char *file = parts[i].counters; *file != '\0'; file = next(file)) {
            if (join(path, name, file) == 0) {
                pc_raw3(__NR_faccessat, parts[i].above, as_long(path), 0);
            }
        }
    }
}
