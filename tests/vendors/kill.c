/* Kills its process right before the call number KILL_AT of those that leave a trace outside of it: writes, sends,
   syncs, and what makes, names, cuts or removes files. To be preloaded; see exactly_once.py.

   KILL_TRIGGER  text; the calls are counted from the first line on that has it and is written to standard error
   KILL_AT       number of the call that is not made any more; 0: none
   KILL_TORN     if set: of a write or a send the first half is made before
   KILL_RECORD   file; a line for each call that was counted: number, call, what it was done to

   What is done to event counters and the like is not counted: it wakes a thread and leaves no trace.
   strace can inject signals, too, but counts by thread, and the daemon has several. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *trigger;
static long kill_at;
static int torn;
static int record = -1;
static atomic_int counting;
static atomic_long calls;

__attribute__((constructor)) static void start(void) {
    const char *at = getenv("KILL_AT"), *file = getenv("KILL_RECORD");
    trigger = getenv("KILL_TRIGGER");
    kill_at = at ? atol(at) : 0;
    torn = getenv("KILL_TORN") != NULL;
    if (file) {
        /* Out of the way of the numbers that the program gets for its own files. */
        int low = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        record = fcntl(low, F_DUPFD_CLOEXEC, 500);
        syscall(SYS_close, low);
    }
    /* Its children are left alone. */
    unsetenv("LD_PRELOAD");
}

/* The file behind a descriptor; for a socket its peer. */
static void name_of(int fd, char *name, size_t size) {
    char link[64];
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET) {
        snprintf(name, size, "port %d", ntohs(peer.sin_port));
        return;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, name, size - 1);
    name[got > 0 ? got : 0] = 0;
}

/* Counts a call; says whether it is the last. */
static int is_last(const char *call, const char *name) {
    char line[600];
    if (!atomic_load(&counting) || strncmp(name, "anon_inode:", 11) == 0)
        return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (kill_at && number > kill_at)
        for (;;) pause(); /* another thread's call, after the one that kills */
    int length = snprintf(line, sizeof line, "%ld %s %s\n", number, call, name);
    if (record >= 0)
        syscall(SYS_write, record, line, length);
    return number == kill_at;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_last_on(const char *call, int fd) {
    char name[500];
    if (!atomic_load(&counting))
        return 0;
    int saved = errno;
    name_of(fd, name, sizeof name);
    int last = is_last(call, name);
    errno = saved;
    return last;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static void look_for_trigger(int fd, const void *data, size_t size) {
    if (fd == 2 && trigger && !atomic_load(&counting) && memmem(data, size, trigger, strlen(trigger)))
        atomic_store(&counting, 1);
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (is_last_on("write", fd)) {
        if (torn) real(fd, data, size / 2);
        die();
    }
    ssize_t written = real(fd, data, size);
    look_for_trigger(fd, data, size);
    return written;
}

#define POSITIONED(name, offset_t) \
    ssize_t name(int fd, const void *data, size_t size, offset_t offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_t); \
        if (is_last_on(#name, fd)) { \
            if (torn) real(fd, data, size / 2, offset); \
            die(); \
        } \
        return real(fd, data, size, offset); \
    }
POSITIONED(pwrite, off_t)
POSITIONED(pwrite64, off64_t)

/* The first half of what many pieces hold, in one piece. */
static char *first_half(const struct iovec *pieces, int count, size_t *half) {
    size_t size = 0, done = 0;
    for (int i = 0; i < count; i++) size += pieces[i].iov_len;
    *half = size / 2;
    char *data = malloc(*half + 1);
    for (int i = 0; i < count && done < *half; i++) {
        size_t part = pieces[i].iov_len < *half - done ? pieces[i].iov_len : *half - done;
        memcpy(data + done, pieces[i].iov_base, part);
        done += part;
    }
    return data;
}

static void write_half(int fd, const struct iovec *pieces, int count) {
    size_t half;
    char *data = first_half(pieces, count, &half);
    syscall(SYS_write, fd, data, half);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (is_last_on("writev", fd)) {
        if (torn) write_half(fd, pieces, count);
        die();
    }
    return real(fd, pieces, count);
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    REAL(ssize_t, send, int, const void *, size_t, int);
    if (is_last_on("send", fd)) {
        if (torn) real(fd, data, size / 2, flags);
        die();
    }
    return real(fd, data, size, flags);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    REAL(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (is_last_on("sendto", fd)) {
        if (torn) real(fd, data, size / 2, flags, to, length);
        die();
    }
    return real(fd, data, size, flags, to, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
    if (is_last_on("sendmsg", fd)) {
        if (torn) write_half(fd, message->msg_iov, (int)message->msg_iovlen);
        die();
    }
    return real(fd, message, flags);
}

#define ON_DESCRIPTOR(name) \
    int name(int fd) { \
        REAL(int, name, int); \
        if (is_last_on(#name, fd)) die(); \
        return real(fd); \
    }
ON_DESCRIPTOR(fsync)
ON_DESCRIPTOR(fdatasync)

#define CUT(name, offset_t) \
    int name(int fd, offset_t size) { \
        REAL(int, name, int, offset_t); \
        if (is_last_on(#name, fd)) die(); \
        return real(fd, size); \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

int connect(int fd, const struct sockaddr *to, socklen_t length) {
    REAL(int, connect, int, const struct sockaddr *, socklen_t);
    char name[64] = "a socket of this box";
    if (to->sa_family == AF_INET)
        snprintf(name, sizeof name, "port %d", ntohs(((const struct sockaddr_in *)to)->sin_port));
    if (is_last("connect", name)) die();
    return real(fd, to, length);
}

int shutdown(int fd, int how) {
    REAL(int, shutdown, int, int);
    if (is_last_on("shutdown", fd)) die();
    return real(fd, how);
}

#define ON_PATH(name) \
    int name(const char *path) { \
        REAL(int, name, const char *); \
        if (is_last(#name, path)) die(); \
        return real(path); \
    }
ON_PATH(unlink)
ON_PATH(rmdir)

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    if (is_last("mkdir", path)) die();
    return real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    if (is_last("rename", to)) die();
    return real(from, to);
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *);
    if (is_last("link", to)) die();
    return real(from, to);
}

/* A file is made by opening it. */
#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        if (flags & O_CREAT && is_last(#name, path)) die(); \
        return real(path, flags, mode); \
    }
OPENING(open)
OPENING(open64)
