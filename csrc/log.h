/* Logs of what programs write, and text that grows in a buffer. */
#ifndef PC_LOG_H
#define PC_LOG_H

#include "freestanding.h"

enum { STREAM_OUT, STREAM_ERR, STREAM_COUNT };

enum {
    PIECE = 8192,     /* of output that is read at once                                   */
    MOST_PIECES = 16, /* before others are looked after: more than a pipe holds, pipe(7)  */
};

/* What is written to: the newest of the files log.1, log.2 .. of a folder. */
struct log {
    int folder;
    int fd;
    uint32_t number;
    uint32_t files;  /* how many are kept                                             */
    uint32_t read;   /* files up to this number may go, for all that want to read them */
    bool failing;
    bool held;       /* an older file that somebody is yet to read would have to go now */
    uint64_t bound;  /* of the size of each, in bytes: a PIECE at least               */
    uint64_t size;
    uint64_t lost;   /* bytes that could not be written: the disk is full             */
};

/* Opens the file of this number; folder, files, bound and read are set before. 0 or more, or -errno. */
long log_open(struct log *log, uint32_t number);

/* No more is taken in before somebody has read on. */
bool log_is_full(const struct log *log);

/* Logs what can be read from `fd` at once; false at its end. */
bool log_copy(struct log *log, int stream, int fd);

struct text {
    char *data;
    size_t size;
    size_t length;
};

/* What does not fit is left out. */
void text_add(struct text *text, const char *word);
void text_number(struct text *text, uint64_t number);
void text_padded(struct text *text, uint64_t number, int digits);

/* Nanoseconds since 1970. */
uint64_t wall_clock(void);

#endif
