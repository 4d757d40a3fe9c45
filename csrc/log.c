/*
 * The log: a line for each line of output, in the format of the Kubernetes container runtimes.
 *
 *   2016-10-06T00:17:09.669794202Z stdout F what was written
 *   2016-10-06T00:17:10.113242941Z stdout P the beginning of a line, which is not complete yet
 *
 * Every byte but the line's end stands as it was written, so nothing is lost, and lines can be found from the end.
 */
#include "log.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/time.h>
#include <linux/uio.h>

enum { FILE_MODE = 0600, LINES = 32, STAMP = 64 };

void text_add(struct text *text, const char *word)
{
    while (*word != '\0' && text->length < text->size) {
        text->data[text->length++] = *word++;
    }
}

void text_padded(struct text *text, uint64_t number, int digits)
{
    char reversed[24];
    int count = 0;
    do {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (count < digits && count < 20) {
        reversed[count++] = '0';
    }
    while (count > 0 && text->length < text->size) {
        text->data[text->length++] = reversed[--count];
    }
}

void text_number(struct text *text, uint64_t number)
{
    text_padded(text, number, 1);
}

uint64_t wall_clock(void)
{
    struct timespec now;
    pc_raw2(__NR_clock_gettime, CLOCK_REALTIME, pc_pointer(&now));
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* RFC 3339; the days of the civil calendar as counted in years that begin in March. */
static void stamp(struct text *text)
{
    uint64_t now = wall_clock(), seconds = now / 1000000000U;
    uint64_t days = seconds / 86400 + 719468, rest = seconds % 86400;
    uint64_t era = days / 146097, day = days % 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    uint64_t of_year = day - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153;
    uint64_t of_month = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    text_padded(text, era * 400 + year + (month <= 2), 4);
    text_add(text, "-");
    text_padded(text, month, 2);
    text_add(text, "-");
    text_padded(text, of_month, 2);
    text_add(text, "T");
    text_padded(text, rest / 3600, 2);
    text_add(text, ":");
    text_padded(text, rest / 60 % 60, 2);
    text_add(text, ":");
    text_padded(text, rest % 60, 2);
    text_add(text, ".");
    text_padded(text, now % 1000000000U, 9);
    text_add(text, "Z ");
}

static void name_of(char *buffer, size_t size, uint32_t number)
{
    struct text name = {.data = buffer, .size = size - 1};
    text_add(&name, "log.");
    text_number(&name, number);
    buffer[name.length] = '\0';
}

long log_open(struct log *log, uint32_t number)
{
    char name[16];
    name_of(name, sizeof name, number);
    long fd = pc_raw4(__NR_openat, log->folder, pc_pointer(name),
                      O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd >= 0) {
        long size = pc_raw3(__NR_lseek, fd, 0, 2 /* SEEK_END */);
        log->fd = (int)fd;
        log->number = number;
        log->size = size > 0 ? (uint64_t)size : 0;
    }
    return fd;
}

/* The file that goes when one more is begun; 0: none. */
static uint32_t oldest(const struct log *log)
{
    uint32_t next = log->number + 1;
    return next > log->files ? next - log->files : 0;
}

bool log_is_full(const struct log *log)
{
    return log->held && log->read < oldest(log);
}

/* Begins a new file, and removes the oldest. Without room for it what there is becomes longer than it should. */
static void rotate(struct log *log)
{
    uint32_t gone = oldest(log);
    int before = log->fd;
    log->held = log->read < gone;
    if (log->held || log_open(log, log->number + 1) < 0) {
        return;
    }
    pc_close(before);
    if (gone > 0) {
        char name[16];
        name_of(name, sizeof name, gone);
        pc_raw3(__NR_unlinkat, log->folder, pc_pointer(name), 0);
    }
}

/* Writes all of it, or cuts off what was begun, for half a line would be taken for one; `written` by the program. */
static void put(struct log *log, struct iovec *parts, long count, size_t length, size_t written)
{
    long ret;
    do {
        ret = pc_raw3(__NR_writev, log->fd, pc_pointer(parts), count);
    } while (ret == -EINTR);
    if (ret > 0 && ret < (long)length) {
        pc_raw2(__NR_ftruncate, log->fd, (long)log->size);
    }
    log->failing = ret != (long)length;
    if (log->failing) {
        log->lost += written;
    } else {
        log->size += length;
    }
}

static void log_write(struct log *log, int stream, const char *data, size_t length)
{
    char heads[2][STAMP];
    size_t head_length = 0;
    for (int full = 0; full < 2; full++) {
        struct text head = {.data = heads[full], .size = STAMP};
        stamp(&head);
        text_add(&head, stream == STREAM_OUT ? "stdout " : "stderr ");
        text_add(&head, full ? "F " : "P ");
        head_length = head.length;
    }
    while (length > 0) {
        struct iovec parts[3 * LINES];
        long count = 0;
        size_t total = 0, before = length;
        while (length > 0 && count < 3 * LINES) {
            size_t line = 0;
            while (line < length && data[line] != '\n') {
                line++;
            }
            bool full = line < length;
            parts[count++] = (struct iovec){.iov_base = heads[full], .iov_len = head_length};
            parts[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = line};
            parts[count++] = (struct iovec){.iov_base = (void *)(uintptr_t) "\n", .iov_len = 1};
            total += head_length + line + 1;
            data += line + full;
            length -= line + full;
        }
        if (log->size > 0 && log->size + total > log->bound) {
            rotate(log);
        }
        put(log, parts, count, total, before - length);
    }
}

/* Where the last line that is complete ends. */
static size_t whole_lines(const char *data, size_t length)
{
    while (length > 0 && data[length - 1] != '\n') {
        length--;
    }
    return length;
}

bool log_copy(struct log *log, int stream, int fd)
{
    char piece[PIECE];
    size_t held = 0; /* the beginning of a line, while there is more to be read at once */
    bool open = true;
    for (int i = 0; i < MOST_PIECES; i++) {
        long ret = pc_raw3(__NR_read, fd, pc_pointer(piece + held), (long)(sizeof piece - held));
        if (ret == -EINTR) {
            continue;
        }
        if (ret <= 0) { /* -EIO: nobody has the terminal open */
            open = ret == -EAGAIN;
            break;
        }
        size_t length = held + (size_t)ret;
        bool more = pc_readable(fd) && i + 1 < MOST_PIECES;
        size_t whole = more ? whole_lines(piece, length) : length;
        if (more && whole == 0 && length == sizeof piece) {
            whole = length;
        }
        log_write(log, stream, piece, whole);
        held = length - whole;
        memmove(piece, piece + whole, held);
        if (!more || log_is_full(log)) {
            break;
        }
    }
    if (held > 0) {
        log_write(log, stream, piece, held);
    }
    return open;
}
