/* A simulated disk below a real process: loaded with LD_PRELOAD, it writes down what the process does to the files of one
 * directory, in the order in which it was done, and fails, holds or ends it where a test asks for that. The tests make of the
 * record what a disk might hold after a power cut: see tests/it/journal/disk.
 *
 * By environment:
 *   DISK_DIR        the directory, absolute. Without it nothing happens.
 *   DISK_LOG        where the record is appended to.
 *   DISK_BOOT_ID    a file that is read in place of the id of the system's run, so that a restart can be one of the machine.
 *   DISK_ONLY       the name of a file: the counts below are of what is done to it alone.
 *   DISK_KILL_AT    the process is killed straight behind its n-th operation.
 *   DISK_FAIL_SYNC  the n-th sync fails, once.
 *   DISK_FAIL_FROM  from the n-th write or sync on, all of them fail until the file DISK_WELL is there.
 *   DISK_FAIL_WITH  the number of the error; without, EIO. A disk that is full (ENOSPC) still syncs what it has.
 *   DISK_HOLD_SYNC  the n-th sync comes to an end only when the file DISK_WELL is there.
 *   DISK_WELL       a file; see above.
 *
 * The file "-shm" of the database is memory and is left out. Memory that is mapped from other files, io_uring and system calls
 * that go round the C library would not be seen: that a record without a cut gives the real directory is what shows that there
 * are none. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* One operation of the record; behind it come its names and its bytes. */
struct head {
    uint8_t kind; /* P(rocess), O(pen), C(lose), W(rite), T(runcate), S(ync), F(ailed sync), U(nlink), R(ename), L(ink) */
    uint8_t unused[3];
    int32_t fd;
    uint64_t offset; /* the place of a write, the length of a truncation, the flags of an open */
    uint32_t name, other, data; /* the lengths of what follows */
};

enum { MAX_FD = 65536 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t watched[MAX_FD]; /* 1: one of ours; 2: the one that is counted */
static const char *dir, *only, *well, *boot_id;
static size_t dir_len;
static int log_fd = -1;
static long kill_at, fail_sync, fail_from, hold_sync, operations, syncs, changes;
static int fail_with = EIO;

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static long number(const char *name) {
    const char *value = getenv(name);
    return value ? strtol(value, NULL, 10) : 0;
}

static void record(char kind, int fd, uint64_t offset, const char *name, const char *other, const void *data, size_t size);

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("DISK_LOG");
    boot_id = getenv("DISK_BOOT_ID");
    dir = getenv("DISK_DIR");
    if (!dir) return;
    dir_len = strlen(dir);
    only = getenv("DISK_ONLY");
    well = getenv("DISK_WELL");
    kill_at = number("DISK_KILL_AT");
    fail_sync = number("DISK_FAIL_SYNC");
    fail_from = number("DISK_FAIL_FROM");
    hold_sync = number("DISK_HOLD_SYNC");
    if (getenv("DISK_FAIL_WITH")) fail_with = (int)number("DISK_FAIL_WITH");
    if (log) {
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (log_fd < 0) {
            dprintf(2, "the record of the disk cannot be written: %s\n", log);
            _exit(127);
        }
    }
    record('P', 0, 0, NULL, NULL, NULL, 0);
}

/* The name below the directory; "" for the directory itself; NULL for everything else. */
static const char *inside(const char *path) {
    if (!dir || !path || strncmp(path, dir, dir_len) != 0) return NULL;
    if (path[dir_len] == 0) return path + dir_len;
    if (path[dir_len] != '/') return NULL;
    const char *name = path + dir_len + 1;
    size_t length = strlen(name);
    if (length >= 4 && strcmp(name + length - 4, "-shm") == 0) return NULL;
    return name;
}

static int is_ours(int fd) {
    return dir && fd >= 0 && fd < MAX_FD && watched[fd];
}

static int is_counted(const char *name) {
    return !only || (name && strcmp(name, only) == 0);
}

/* Behind each operation that was done, with the lock held. */
static void count(int counts) {
    if (counts && ++operations == kill_at) kill(getpid(), SIGKILL);
}

static void record(char kind, int fd, uint64_t offset, const char *name, const char *other, const void *data, size_t size) {
    if (log_fd < 0) return;
    struct head head = {.kind = (uint8_t)kind, .fd = fd, .offset = offset};
    head.name = name ? (uint32_t)strlen(name) : 0;
    head.other = other ? (uint32_t)strlen(other) : 0;
    head.data = (uint32_t)size;
    struct iovec parts[4] = {
        {&head, sizeof head}, {(void *)name, head.name}, {(void *)other, head.other}, {(void *)data, size}};
    size_t whole = sizeof head + head.name + head.other + size;
    if (syscall(SYS_writev, log_fd, parts, 4) != (ssize_t)whole) {
        /* A record with a hole would prove nothing. */
        dprintf(2, "the record of the disk could not be written\n");
        _exit(127);
    }
}

static int is_well(void) {
    return well && syscall(SYS_faccessat, AT_FDCWD, well, F_OK) == 0;
}

/* Whether a write or a sync is to fail now; with the lock held. */
static int fails(int fd, int is_sync) {
    if (watched[fd] != 2) return 0;
    changes++;
    syncs += is_sync;
    int is_failing = fail_from && changes >= fail_from && !(is_sync && fail_with == ENOSPC) && !is_well();
    int now = (is_sync && fail_sync && syncs == fail_sync) || is_failing;
    if (now) errno = fail_with;
    return now;
}

static int opened(int fd, const char *path, int flags) {
    const char *name = inside(path);
    if (fd < 0 || fd >= MAX_FD || !name) return fd;
    watched[fd] = is_counted(name) ? 2 : 1;
    record('O', fd, (uint64_t)flags, name, NULL, NULL, 0);
    if (flags & (O_CREAT | O_TRUNC)) count(watched[fd] == 2);
    return fd;
}

static const char *redirected(const char *path) {
    return boot_id && path && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? boot_id : path;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (!inside(path)) return real_##name(redirected(path), flags, mode); \
        pthread_mutex_lock(&lock); \
        int fd = opened(real_##name(path, flags, mode), path, flags); \
        pthread_mutex_unlock(&lock); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (!inside(path)) return real_##name(at, path, flags, mode); \
        pthread_mutex_lock(&lock); \
        int fd = opened(real_##name(at, path, flags, mode), path, flags); \
        pthread_mutex_unlock(&lock); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) {
    return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd) {
    REAL(int, close, int);
    if (!is_ours(fd)) return real_close(fd);
    pthread_mutex_lock(&lock);
    record('C', fd, 0, NULL, NULL, NULL, 0);
    watched[fd] = 0;
    int closed = real_close(fd);
    pthread_mutex_unlock(&lock);
    return closed;
}

/* Bytes at a place; at the descriptor's own with -1. */
static ssize_t put(int fd, const void *data, size_t size, off64_t offset) {
    REAL(ssize_t, write, int, const void *, size_t);
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    pthread_mutex_lock(&lock);
    ssize_t written = -1;
    if (!fails(fd, 0)) {
        off64_t place = offset;
        if (offset < 0) {
            int flags = fcntl(fd, F_GETFL);
            place = lseek64(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
        }
        written = offset < 0 ? real_write(fd, data, size) : real_pwrite64(fd, data, size, offset);
        if (written > 0) {
            record('W', fd, (uint64_t)place, NULL, NULL, data, (size_t)written);
            count(watched[fd] == 2);
        }
    }
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    return is_ours(fd) ? put(fd, data, size, -1) : real_write(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return is_ours(fd) ? put(fd, data, size, offset) : real_pwrite(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    return is_ours(fd) ? put(fd, data, size, offset) : real_pwrite64(fd, data, size, offset);
}

/* Of several buffers only the first that has something is written: that is a short write, and whoever wrote writes on. */
static ssize_t put_first(int fd, const struct iovec *parts, int many, off64_t offset) {
    int first = 0;
    while (first + 1 < many && parts[first].iov_len == 0) first++;
    return many > 0 ? put(fd, parts[first].iov_base, parts[first].iov_len, offset) : 0;
}

ssize_t writev(int fd, const struct iovec *parts, int many) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    return is_ours(fd) ? put_first(fd, parts, many, -1) : real_writev(fd, parts, many);
}

ssize_t pwritev(int fd, const struct iovec *parts, int many, off_t offset) {
    REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
    return is_ours(fd) ? put_first(fd, parts, many, offset) : real_pwritev(fd, parts, many, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int many, off64_t offset) {
    REAL(ssize_t, pwritev64, int, const struct iovec *, int, off64_t);
    return is_ours(fd) ? put_first(fd, parts, many, offset) : real_pwritev64(fd, parts, many, offset);
}

static int cut(int fd, off64_t length) {
    REAL(int, ftruncate64, int, off64_t);
    pthread_mutex_lock(&lock);
    int done = -1;
    if (!fails(fd, 0)) {
        done = real_ftruncate64(fd, length);
        if (done == 0) {
            record('T', fd, (uint64_t)length, NULL, NULL, NULL, 0);
            count(watched[fd] == 2);
        }
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) {
    REAL(int, ftruncate, int, off_t);
    return is_ours(fd) ? cut(fd, length) : real_ftruncate(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, ftruncate64, int, off64_t);
    return is_ours(fd) ? cut(fd, length) : real_ftruncate64(fd, length);
}

static int sync_with(int fd, int (*real)(int)) {
    pthread_mutex_lock(&lock);
    int failed = fails(fd, 1), held = hold_sync && watched[fd] == 2 && syncs == hold_sync;
    pthread_mutex_unlock(&lock);
    /* Only this sync waits, not what is done to other files meanwhile. */
    for (const struct timespec moment = {0, 1000000}; held && !is_well();) nanosleep(&moment, NULL);
    pthread_mutex_lock(&lock);
    int done = failed ? -1 : real(fd);
    record(done == 0 ? 'S' : 'F', fd, 0, NULL, NULL, NULL, 0);
    if (done == 0) count(watched[fd] == 2);
    pthread_mutex_unlock(&lock);
    if (failed) errno = fail_with;
    return done;
}

int fsync(int fd) {
    REAL(int, fsync, int);
    return is_ours(fd) ? sync_with(fd, real_fsync) : real_fsync(fd);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return is_ours(fd) ? sync_with(fd, real_fdatasync) : real_fdatasync(fd);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    const char *name = inside(path);
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int done = real_unlink(path);
    if (done == 0) {
        record('U', 0, 0, name, NULL, NULL, 0);
        count(is_counted(name));
    }
    pthread_mutex_unlock(&lock);
    return done;
}

static int move(char kind, const char *from, const char *to, int (*real)(const char *, const char *)) {
    const char *name = inside(from), *other = inside(to);
    if (!name && !other) return real(from, to);
    if (!name || !other) {
        /* A file that comes from elsewhere has bytes that nobody has seen. */
        errno = EXDEV;
        return -1;
    }
    pthread_mutex_lock(&lock);
    int done = real(from, to);
    if (done == 0) {
        record(kind, 0, 0, name, other, NULL, 0);
        count(is_counted(name) || is_counted(other));
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    return move('R', from, to, real_rename);
}

int link(const char *from, const char *to) {
    REAL(int, link, const char *, const char *);
    return move('L', from, to, real_link);
}

/* What could bring bytes to a file unseen is refused here, as file systems do that have it not: whoever asked writes instead. */
#define REFUSED(result, name, fd, error, answer, arguments, ...) \
    result name(__VA_ARGS__) { \
        REAL(result, name, __VA_ARGS__); \
        if (!is_ours(fd)) return real_##name arguments; \
        errno = error; \
        return answer; \
    }
REFUSED(int, fallocate, fd, EOPNOTSUPP, -1, (fd, mode, from, size), int fd, int mode, off_t from, off_t size)
REFUSED(int, fallocate64, fd, EOPNOTSUPP, -1, (fd, mode, from, size), int fd, int mode, off64_t from, off64_t size)
REFUSED(int, posix_fallocate, fd, EOPNOTSUPP, EOPNOTSUPP, (fd, from, size), int fd, off_t from, off_t size)
REFUSED(int, posix_fallocate64, fd, EOPNOTSUPP, EOPNOTSUPP, (fd, from, size), int fd, off64_t from, off64_t size)
REFUSED(ssize_t, sendfile, to, EINVAL, -1, (to, from, offset, size), int to, int from, off_t *offset, size_t size)
REFUSED(ssize_t, sendfile64, to, EINVAL, -1, (to, from, offset, size), int to, int from, off64_t *offset, size_t size)
REFUSED(ssize_t, copy_file_range, to, EXDEV, -1, (from, in, to, out, size, flags), int from, off64_t *in, int to, off64_t *out,
        size_t size, unsigned flags)
