/* Faults where a program writes to disk: loaded with LD_PRELOAD, it stands between it and the kernel.

Counts every call that changes something below one folder (open that creates or empties, write, truncate, fsync,
rename, unlink, mkdir, rmdir, link), and at the N-th of them does what `fault_arm` was told. SQLite's shared memory
(-shm) is left out: nothing of it needs to last.

A power cut is played by undoing what no fsync has made durable: writes by an fsync of the file, names by one of the
folder. So an fsync need not reach the disk, and does not: that is what makes thousands of runs quick.

System calls are made directly, so that nothing in here meets itself. Linux only. */

#define _GNU_SOURCE
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

enum mode { OFF, LOG, KILL, TORN, FAIL, FAIL_ONCE, LOSE, LOSE_SOME };
enum kind { CREATE, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK };
enum verdict { GO_ON, REFUSE, HALF };
static const char *const KINDS[] = {"create", "write", "truncate", "fsync", "rename", "unlink", "mkdir", "rmdir", "link"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096], grave[4096];
static enum mode mode;
static long at, n_calls;
static uint64_t seed;
static int fault_errno, log_fd = -1;
static long clock_offset_s;

/* ---- what is not durable yet, in the order that it was done */

struct change {
    enum kind kind;
    int is_durable;
    int file; /* a descriptor of ours, for writes and truncations */
    ino_t inode;
    off_t offset, size_before, size_after;
    size_t n_before, n_after;
    char *before, *after;     /* bytes */
    char *path, *other, *kept; /* names; `kept` has what the name stood for, in the grave */
};
static struct change *changes;
static long n_changes, room, n_kept;

static struct change *noted(enum kind kind) {
    if (n_changes == room) {
        room = room ? 2 * room : 1024;
        changes = realloc(changes, room * sizeof *changes);
    }
    struct change *new = &changes[n_changes++];
    memset(new, 0, sizeof *new);
    new->kind = kind;
    new->file = -1;
    return new;
}

static char *grave_name(void) {
    char *name;
    if (asprintf(&name, "%s/%ld", grave, n_kept++) < 0) abort();
    return name;
}

static int is_name(enum kind kind) { return kind != WRITE && kind != TRUNCATE; }

static void undo(struct change *one) {
    switch (one->kind) {
    case WRITE:
    case TRUNCATE:
        syscall(SYS_ftruncate, one->file, one->size_before);
        if (one->n_before) syscall(SYS_pwrite64, one->file, one->before, one->n_before, one->offset);
        break;
    case CREATE:
    case MKDIR:
    case LINK:
        one->kept = grave_name();
        syscall(SYS_renameat2, AT_FDCWD, one->path, AT_FDCWD, one->kept, 0);
        break;
    case UNLINK:
        syscall(SYS_linkat, AT_FDCWD, one->kept, AT_FDCWD, one->path, 0);
        break;
    case RENAME:
        syscall(SYS_renameat2, AT_FDCWD, one->other, AT_FDCWD, one->path, 0);
        if (one->kept) syscall(SYS_linkat, AT_FDCWD, one->kept, AT_FDCWD, one->other, 0);
        break;
    case RMDIR:
        syscall(SYS_mkdirat, AT_FDCWD, one->path, 0777);
        break;
    case SYNC:
        break;
    }
}

static void redo(struct change *one, int half) {
    switch (one->kind) {
    case WRITE:
        syscall(SYS_pwrite64, one->file, one->after, half ? one->n_after / 2 : one->n_after, one->offset);
        break;
    case TRUNCATE:
        syscall(SYS_ftruncate, one->file, one->size_after);
        break;
    case CREATE:
    case MKDIR:
    case LINK:
        syscall(SYS_renameat2, AT_FDCWD, one->kept, AT_FDCWD, one->path, 0);
        break;
    case UNLINK:
        syscall(SYS_unlinkat, AT_FDCWD, one->path, 0);
        break;
    case RENAME:
        syscall(SYS_renameat2, AT_FDCWD, one->path, AT_FDCWD, one->other, 0);
        break;
    case RMDIR:
        syscall(SYS_unlinkat, AT_FDCWD, one->path, AT_REMOVEDIR);
        break;
    case SYNC:
        break;
    }
}

static uint64_t chance(uint64_t n) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (seed >> 11) % n;
}

/* Undo all that is not durable. With `some`, let a part of it stand: of the names the first so many, as a journal
   has them in order; of the writes any, or half of them. */
static void cut_power(int some) {
    long names = 0;
    for (long n = n_changes - 1; n >= 0; n--) {
        if (changes[n].is_durable) continue;
        names += is_name(changes[n].kind);
        undo(&changes[n]);
    }
    if (!some) return;
    long standing = chance(names + 1);
    for (long n = 0; n < n_changes; n++) {
        if (changes[n].is_durable) continue;
        if (is_name(changes[n].kind)) {
            if (standing-- > 0) redo(&changes[n], 0);
        } else {
            uint64_t fate = chance(3);
            if (fate) redo(&changes[n], fate == 2);
        }
    }
}

/* ---- which calls count */

static int counts(const char *path) {
    size_t n = strlen(folder), length = strlen(path);
    if (!n || strncmp(path, folder, n) || (path[n] && path[n] != '/')) return 0;
    if (length >= 4 && !strcmp(path + length - 4, "-shm")) return 0;
    return !(length > 10 && !strcmp(path + length - 10, " (deleted)"));
}

static int path_of_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, 4095);
    if (n < 0) return 0;
    path[n] = 0;
    return counts(path);
}

static int path_at(int dir, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, 4096, "%s", name);
    } else {
        char base[4096] = "";
        if (dir == AT_FDCWD) {
            if (syscall(SYS_getcwd, base, sizeof base) < 0) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
            if (n < 0) return 0;
            base[n] = 0;
        }
        if (snprintf(path, 4096, "%s/%s", base, name) >= 4096) return 0;
    }
    return counts(path);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static enum verdict verdict(enum kind kind, const char *path) {
    if (mode == OFF) return GO_ON;
    n_calls++;
    if (log_fd >= 0) dprintf(log_fd, "%s %s\n", KINDS[kind], path[strlen(folder)] ? path + strlen(folder) + 1 : ".");
    if (n_calls < at) return GO_ON;
    int needs_space = kind != UNLINK && kind != RMDIR && kind != SYNC;
    if ((mode == FAIL || (mode == FAIL_ONCE && n_calls == at)) && (fault_errno != ENOSPC || needs_space)) {
        errno = fault_errno;
        return REFUSE;
    }
    if (n_calls > at) return GO_ON;
    if (mode == LOSE || mode == LOSE_SOME) cut_power(mode == LOSE_SOME);
    if (mode == KILL || mode == LOSE || mode == LOSE_SOME) die();
    return mode == TORN ? HALF : GO_ON;
}

static int keeps(void) { return mode == LOSE || mode == LOSE_SOME; }

/* A descriptor of the same file for ourselves. It is never closed: that would let go of the program's locks. */
static int own_fd(int fd, struct stat *status) {
    fstat(fd, status);
    for (long n = n_changes - 1; n >= 0; n--)
        if (changes[n].file >= 0 && changes[n].inode == status->st_ino) return changes[n].file;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return syscall(SYS_openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC, 0);
}

static void note_write(int fd, const char *bytes, size_t n, off_t offset) {
    struct stat status;
    int file = own_fd(fd, &status);
    struct change *one = noted(WRITE);
    one->file = file, one->inode = status.st_ino, one->offset = offset;
    one->size_before = status.st_size, one->n_after = n;
    one->before = malloc(n), one->after = malloc(n);
    memcpy(one->after, bytes, n);
    ssize_t had = syscall(SYS_pread64, file, one->before, n, offset);
    one->n_before = had > 0 ? had : 0;
}

static void note_truncate(int fd, off_t size) {
    struct stat status;
    int file = own_fd(fd, &status);
    struct change *one = noted(TRUNCATE);
    one->file = file, one->inode = status.st_ino, one->offset = size;
    one->size_before = status.st_size, one->size_after = size;
    if (size < status.st_size) {
        one->before = malloc(status.st_size - size);
        ssize_t had = syscall(SYS_pread64, file, one->before, status.st_size - size, size);
        one->n_before = had > 0 ? had : 0;
    }
}

static char *buried(const char *path) {
    char *name = grave_name();
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, name, 0) == 0) return name;
    free(name);
    return NULL;
}

static int parent_is(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return path && !strncmp(path, dir, n) && path[n] == '/' && !strchr(path + n + 1, '/');
}

static void made_durable(int fd, const char *path) {
    struct stat status;
    fstat(fd, &status);
    for (long n = 0; n < n_changes; n++) {
        struct change *one = &changes[n];
        if (S_ISDIR(status.st_mode) ? is_name(one->kind) && parent_is(one->other ? one->other : one->path, path)
                                    : !is_name(one->kind) && one->inode == status.st_ino)
            one->is_durable = 1;
    }
}

/* ---- the calls */

#define ENTER pthread_mutex_lock(&lock)
#define LEAVE(result)                  \
    do {                               \
        long given = (result);         \
        int error = errno;             \
        pthread_mutex_unlock(&lock);   \
        errno = error;                 \
        return given;                  \
    } while (0)

static int opened(int dir, const char *name, int flags, mode_t permissions) {
    char path[4096];
    struct stat status;
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !path_at(dir, name, path))
        return syscall(SYS_openat, dir, name, flags, permissions);
    ENTER;
    int is_new = syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) < 0;
    int empties = !is_new && (flags & O_TRUNC) && status.st_size > 0;
    if (!is_new && !empties) LEAVE(syscall(SYS_openat, dir, name, flags, permissions));
    enum verdict said = verdict(is_new ? CREATE : TRUNCATE, path);
    if (said == REFUSE) LEAVE(-1);
    if (keeps() && empties) {
        int fd = syscall(SYS_openat, dir, name, O_RDWR | O_CLOEXEC, 0);
        note_truncate(fd, 0);
    }
    int fd = syscall(SYS_openat, dir, name, flags, permissions);
    if (said == HALF) die();
    if (keeps() && is_new && fd >= 0) noted(CREATE)->path = strdup(path);
    LEAVE(fd);
}

#define PERMISSIONS                                \
    mode_t permissions = 0;                        \
    if (flags & (O_CREAT | O_TMPFILE)) {           \
        va_list rest;                              \
        va_start(rest, flags);                     \
        permissions = va_arg(rest, mode_t);        \
        va_end(rest);                              \
    }
int open(const char *name, int flags, ...) { PERMISSIONS return opened(AT_FDCWD, name, flags, permissions); }
int open64(const char *name, int flags, ...) { PERMISSIONS return opened(AT_FDCWD, name, flags, permissions); }
int openat(int dir, const char *name, int flags, ...) { PERMISSIONS return opened(dir, name, flags, permissions); }
int openat64(int dir, const char *name, int flags, ...) { PERMISSIONS return opened(dir, name, flags, permissions); }
int __open_2(const char *name, int flags) { return opened(AT_FDCWD, name, flags, 0); }
int __open64_2(const char *name, int flags) { return opened(AT_FDCWD, name, flags, 0); }
int __openat_2(int dir, const char *name, int flags) { return opened(dir, name, flags, 0); }
int __openat64_2(int dir, const char *name, int flags) { return opened(dir, name, flags, 0); }
int creat(const char *name, mode_t permissions) {
    return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, permissions);
}
int creat64(const char *name, mode_t permissions) { return creat(name, permissions); }

static ssize_t written(int fd, const void *bytes, size_t n, off_t offset, int moves) {
    char path[4096];
    if (!path_of_fd(fd, path))
        return moves ? syscall(SYS_write, fd, bytes, n) : syscall(SYS_pwrite64, fd, bytes, n, offset);
    ENTER;
    enum verdict said = verdict(WRITE, path);
    if (said == REFUSE) LEAVE(-1);
    if (moves) {
        struct stat status;
        fstat(fd, &status);
        offset = fcntl(fd, F_GETFL) & O_APPEND ? status.st_size : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    if (said == HALF) n /= 2;
    if (keeps()) note_write(fd, bytes, n, offset);
    ssize_t done = moves ? syscall(SYS_write, fd, bytes, n) : syscall(SYS_pwrite64, fd, bytes, n, offset);
    if (said == HALF) die();
    LEAVE(done);
}
ssize_t write(int fd, const void *bytes, size_t n) { return written(fd, bytes, n, 0, 1); }
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) { return written(fd, bytes, n, offset, 0); }
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t offset) { return written(fd, bytes, n, offset, 0); }

static ssize_t written_parts(int fd, const struct iovec *parts, int n_parts, off_t offset, int moves) {
    char path[4096];
    if (!path_of_fd(fd, path))
        return moves ? syscall(SYS_writev, fd, parts, n_parts) : syscall(SYS_pwritev, fd, parts, n_parts, offset, 0);
    size_t n = 0;
    for (int k = 0; k < n_parts; k++) n += parts[k].iov_len;
    char *bytes = malloc(n), *end = bytes;
    for (int k = 0; k < n_parts; k++) end = mempcpy(end, parts[k].iov_base, parts[k].iov_len);
    ssize_t done = written(fd, bytes, n, offset, moves);
    free(bytes);
    return done;
}
ssize_t writev(int fd, const struct iovec *parts, int n) { return written_parts(fd, parts, n, 0, 1); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) { return written_parts(fd, parts, n, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off_t at) { return written_parts(fd, parts, n, at, 0); }

static int truncated(int fd, off_t size) {
    char path[4096];
    if (!path_of_fd(fd, path)) return syscall(SYS_ftruncate, fd, size);
    ENTER;
    enum verdict said = verdict(TRUNCATE, path);
    if (said == REFUSE) LEAVE(-1);
    if (keeps()) note_truncate(fd, size);
    int done = syscall(SYS_ftruncate, fd, size);
    if (said == HALF) die();
    LEAVE(done);
}
int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off_t size) { return truncated(fd, size); }
int truncate(const char *name, off_t size) {
    int fd = syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0);
    return fd < 0 ? -1 : truncated(fd, size); /* never closed: see own_fd */
}
int truncate64(const char *name, off_t size) { return truncate(name, size); }

static int allocated(int fd, int how, off_t offset, off_t n) {
    struct stat status;
    char path[4096];
    if (!path_of_fd(fd, path)) return syscall(SYS_fallocate, fd, how, offset, n);
    fstat(fd, &status);
    if (how || offset + n <= status.st_size) return 0;
    return truncated(fd, offset + n);
}
int fallocate(int fd, int how, off_t offset, off_t n) { return allocated(fd, how, offset, n); }
int fallocate64(int fd, int how, off_t offset, off_t n) { return allocated(fd, how, offset, n); }
int posix_fallocate(int fd, off_t offset, off_t n) { return allocated(fd, 0, offset, n) ? errno : 0; }
int posix_fallocate64(int fd, off_t offset, off_t n) { return allocated(fd, 0, offset, n) ? errno : 0; }

static int synced(int fd) {
    char path[4096];
    if (!path_of_fd(fd, path)) return syscall(SYS_fsync, fd);
    ENTER;
    enum verdict said = verdict(SYNC, path);
    if (said == REFUSE) LEAVE(-1);
    if (said == HALF) die();
    if (keeps()) made_durable(fd, path);
    LEAVE(0);
}
int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }

int renameat2(int dir, const char *name, int other_dir, const char *other, unsigned flags) {
    char path[4096], target[4096];
    int is_ours = path_at(dir, name, path);
    if (!(path_at(other_dir, other, target) | is_ours))
        return syscall(SYS_renameat2, dir, name, other_dir, other, flags);
    ENTER;
    enum verdict said = verdict(RENAME, counts(target) ? target : path);
    if (said == REFUSE) LEAVE(-1);
    char *kept = keeps() ? buried(target) : NULL;
    int done = syscall(SYS_renameat2, dir, name, other_dir, other, flags);
    if (said == HALF) die();
    if (keeps() && !done) {
        struct change *one = noted(RENAME);
        one->path = strdup(path), one->other = strdup(target), one->kept = kept;
    }
    LEAVE(done);
}
int renameat(int dir, const char *name, int other_dir, const char *other) {
    return renameat2(dir, name, other_dir, other, 0);
}
int rename(const char *name, const char *other) { return renameat2(AT_FDCWD, name, AT_FDCWD, other, 0); }

int unlinkat(int dir, const char *name, int flags) {
    char path[4096];
    struct stat status;
    if (!path_at(dir, name, path) || syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return syscall(SYS_unlinkat, dir, name, flags);
    ENTER;
    enum kind kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    enum verdict said = verdict(kind, path);
    if (said == REFUSE) LEAVE(-1);
    char *kept = keeps() && kind == UNLINK ? buried(path) : NULL;
    int done = syscall(SYS_unlinkat, dir, name, flags);
    if (said == HALF) die();
    if (keeps() && !done) {
        struct change *one = noted(kind);
        one->path = strdup(path), one->kept = kept;
    }
    LEAVE(done);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) {
    int done = unlink(name);
    return done && errno == EISDIR ? rmdir(name) : done;
}

int mkdirat(int dir, const char *name, mode_t permissions) {
    char path[4096];
    struct stat status;
    if (!path_at(dir, name, path) || syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return syscall(SYS_mkdirat, dir, name, permissions);
    ENTER;
    enum verdict said = verdict(MKDIR, path);
    if (said == REFUSE) LEAVE(-1);
    int done = syscall(SYS_mkdirat, dir, name, permissions);
    if (said == HALF) die();
    if (keeps() && !done) noted(MKDIR)->path = strdup(path);
    LEAVE(done);
}
int mkdir(const char *name, mode_t permissions) { return mkdirat(AT_FDCWD, name, permissions); }

int linkat(int dir, const char *name, int other_dir, const char *other, int flags) {
    char path[4096];
    if (!path_at(other_dir, other, path)) return syscall(SYS_linkat, dir, name, other_dir, other, flags);
    ENTER;
    enum verdict said = verdict(LINK, path);
    if (said == REFUSE) LEAVE(-1);
    int done = syscall(SYS_linkat, dir, name, other_dir, other, flags);
    if (said == HALF) die();
    if (keeps() && !done) noted(LINK)->path = strdup(path);
    LEAVE(done);
}
int link(const char *name, const char *other) { return linkat(AT_FDCWD, name, AT_FDCWD, other, 0); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += clock_offset_s;
    return done;
}

/* ---- what the tests call */

void fault_arm(const char *below, const char *keep_in, int how, long when, long random, int error, int log) {
    ENTER;
    snprintf(folder, sizeof folder, "%s", below);
    snprintf(grave, sizeof grave, "%s", keep_in);
    mode = how, at = when, seed = random * 0x9E3779B97F4A7C15u + 0x1234567u, fault_errno = error, log_fd = log;
    n_calls = n_changes = 0;
    pthread_mutex_unlock(&lock);
}

void fault_clock(long seconds) { clock_offset_s = seconds; }
