/* Stands between a program and libc: fails the n-th call of a kind, and writes down every call that
 * changes a file, for everything below one directory.
 *
 *   FAULTS_ROOT     the directory, absolute, without symbolic links
 *   FAULTS_CONTROL  a file of CONTROL_BYTES that every process maps (struct control below)
 *   FAULTS_LOG      a sparse file of control.log_capacity bytes; what was done, in order
 *   FAULTS_NO_SYNC  set: fsync and fdatasync succeed at once, on every file. A test that cuts the
 *                   power knows from the log what was flushed, and need not wait for a disk.
 *
 * Everything that changes files happens under one lock for all processes, so the order in the log is the
 * order in which it took effect. The lock is robust: a process may be killed holding it.
 * Written for Linux and glibc. tests/faults/shim.py is the other side of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define CONTROL_BYTES 4096
#define MAGIC 0x74617065u

enum kind { OPEN, WRITE, SYNC, RENAME, LINK, UNLINK, TRUNCATE, ALLOCATE, MKDIR, READ, KINDS };
enum what { W_CREATE = 1, W_MKDIR, W_WRITE, W_TRUNCATE, W_ALLOCATE, W_SYNC, W_RENAME, W_LINK,
            W_UNLINK, W_RMDIR, W_FAILED_SYNC };

struct control {
    pthread_mutex_t lock;
    char room[128 - sizeof(pthread_mutex_t)];
    uint32_t magic;         /* 128: the lock is ready */
    uint32_t logging;       /* 132 */
    uint64_t log_bytes;     /* 136 */
    uint64_t log_capacity;  /* 144 */
    uint32_t fail_kinds;    /* 152: bits of enum kind */
    int32_t fail_errno;     /* 156 */
    uint64_t fail_at;       /* 160: which call, from 1; 0 is none */
    uint64_t calls;         /* 168: calls of these kinds so far */
    uint32_t fired;         /* 176 */
    uint32_t forever;       /* 180: that call and every one after it */
    uint32_t short_write;   /* 184: a write does half of its work and then fails */
    uint32_t overflow;      /* 188: the log was full */
    char fired_at[512];     /* 192: name of the call, path */
};

/* In the log: this, the two paths, the data. */
struct record {
    uint32_t bytes; /* of all of it, a multiple of 8 */
    uint8_t what, mode;
    uint16_t path_bytes, path2_bytes, spare;
    uint32_t data_bytes;
    uint64_t inode, offset, size;
};

static struct control *control;
static char *log_file;
static char root[PATH_MAX];
static size_t root_bytes;
static int no_sync;

#define REAL(name) \
    static __typeof__(&name) real_##name; \
    if (!real_##name) real_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int real_open_of(const char *path, int flags, mode_t mode) {
    REAL(open64);
    return real_open64(path, flags, mode);
}

__attribute__((constructor)) static void start(void) {
    const char *where = getenv("FAULTS_ROOT"), *shared = getenv("FAULTS_CONTROL"),
               *log_name = getenv("FAULTS_LOG");
    no_sync = getenv("FAULTS_NO_SYNC") != NULL;
    if (!where || !shared) return;
    int fd = real_open_of(shared, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    struct control *found = mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found == MAP_FAILED) abort();
    flock(fd, LOCK_EX);
    if (found->magic != MAGIC) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&found->lock, &attributes);
        found->magic = MAGIC;
    }
    flock(fd, LOCK_UN);
    close(fd);
    if (log_name) {
        fd = real_open_of(log_name, O_RDWR | O_CLOEXEC, 0);
        if (fd < 0) abort();
        log_file = mmap(NULL, found->log_capacity, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (log_file == MAP_FAILED) abort();
        close(fd);
    }
    root_bytes = strlen(where);
    if (root_bytes >= sizeof root) abort();
    memcpy(root, where, root_bytes + 1);
    control = found;
}

static void lock(void) {
    if (pthread_mutex_lock(&control->lock) == EOWNERDEAD) pthread_mutex_consistent(&control->lock);
}

static void unlock(void) { pthread_mutex_unlock(&control->lock); }

static int below_root(const char *path) {
    return !strncmp(path, root, root_bytes) && (path[root_bytes] == '/' || !path[root_bytes]);
}

/* The path behind a descriptor, if it is below the root. */
static int path_of(int fd, char *path) {
    char name[32];
    if (!control || fd < 0) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below_root(path);
}

/* The absolute path of a name whose folder exists, if it is below the root. */
static int path_at(int folder, const char *name, char *path) {
    char parent[PATH_MAX];
    if (!control || !name || !*name) return 0;
    size_t length = strlen(name);
    if (length >= PATH_MAX - 1) return 0;
    if (*name == '/' && below_root(name) && !strstr(name, "/../") && !strstr(name, "//")) {
        memcpy(path, name, length + 1);
        return 1;
    }
    if (*name == '/' && strncmp(name, root, root_bytes)) return 0;
    const char *slash = strrchr(name, '/');
    size_t parent_bytes = slash ? (size_t)(slash - name) + 1 : 0;
    memcpy(parent, name, parent_bytes);
    parent[parent_bytes] = 0;
    REAL(openat64);
    int saved = errno;
    int fd = real_openat64(folder, parent_bytes ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int found = 0;
    if (fd >= 0) {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t at = readlink(link, path, PATH_MAX - 1);
        if (at > 0 && (size_t)at + length + 2 < PATH_MAX) {
            path[at] = 0;
            strcat(path, "/");
            strcat(path, slash ? slash + 1 : name);
            found = below_root(path);
        }
        close(fd);
    }
    errno = saved;
    return found;
}

/* Whether this call is the one that fails; the lock is held. */
static int fails(enum kind kind, const char *name, const char *path) {
    if (!control->fail_at || !(control->fail_kinds >> kind & 1)) return 0;
    uint64_t number = ++control->calls;
    if (number != control->fail_at && !(control->forever && number > control->fail_at)) return 0;
    if (!control->fired)
        snprintf(control->fired_at, sizeof control->fired_at, "%s %s", name, path + root_bytes);
    control->fired = 1;
    errno = control->fail_errno;
    return 1;
}

static void note(enum what what, int mode, uint64_t inode, const char *path, const char *path2,
                 const struct iovec *data, int pieces, uint64_t offset, uint64_t size) {
    if (!log_file || !control->logging) return;
    uint64_t data_bytes = data ? size : 0;
    struct record record = {0};
    record.what = what;
    record.mode = mode;
    record.path_bytes = path ? strlen(path) : 0;
    record.path2_bytes = path2 ? strlen(path2) : 0;
    record.data_bytes = data_bytes;
    record.inode = inode;
    record.offset = offset;
    record.size = size;
    uint64_t bytes = sizeof record + record.path_bytes + record.path2_bytes + data_bytes;
    bytes = (bytes + 7) & ~7ull;
    if (control->log_bytes + bytes > control->log_capacity) {
        control->overflow = 1;
        return;
    }
    record.bytes = bytes;
    char *to = log_file + control->log_bytes;
    memcpy(to, &record, sizeof record);
    to += sizeof record;
    memcpy(to, path, record.path_bytes);
    to += record.path_bytes;
    memcpy(to, path2, record.path2_bytes);
    to += record.path2_bytes;
    for (int at = 0; at < pieces && data_bytes; at++) {
        uint64_t part = data[at].iov_len < data_bytes ? data[at].iov_len : data_bytes;
        memcpy(to, data[at].iov_base, part);
        to += part;
        data_bytes -= part;
    }
    control->log_bytes += bytes;
}

static uint64_t inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) ? 0 : status.st_ino;
}

static uint64_t inode_at(const char *path) {
    struct stat status;
    return lstat(path, &status) ? 0 : status.st_ino;
}

/* -- names -------------------------------------------------------------------------------- */

static int opened(int folder, const char *name, int flags, mode_t mode, const char *call) {
    REAL(openat64);
    char path[PATH_MAX];
    if (!path_at(folder, name, path)) return real_openat64(folder, name, flags, mode);
    lock();
    int fd = -1;
    if (!fails(OPEN, call, path)) {
        int making = (flags & O_CREAT) != 0;
        uint64_t before = making ? inode_at(path) : 0;
        fd = real_openat64(folder, name, flags, mode);
        int saved = errno;
        if (fd >= 0 && making && !before)
            note(W_CREATE, 0, inode_of(fd), path, NULL, NULL, 0, 0, 0);
        else if (fd >= 0 && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY)
            note(W_TRUNCATE, 0, inode_of(fd), path, NULL, NULL, 0, 0, 0);
        errno = saved;
    }
    unlock();
    return fd;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *name, int flags, ...) {
    MODE_OF(flags)
    return opened(AT_FDCWD, name, flags, mode, "open");
}

int open64(const char *name, int flags, ...) {
    MODE_OF(flags)
    return opened(AT_FDCWD, name, flags, mode, "open");
}

int openat(int folder, const char *name, int flags, ...) {
    MODE_OF(flags)
    return opened(folder, name, flags, mode, "openat");
}

int openat64(int folder, const char *name, int flags, ...) {
    MODE_OF(flags)
    return opened(folder, name, flags, mode, "openat");
}

int mkdirat(int folder, const char *name, mode_t mode) {
    REAL(mkdirat);
    char path[PATH_MAX];
    if (!path_at(folder, name, path)) return real_mkdirat(folder, name, mode);
    lock();
    int result = fails(MKDIR, "mkdir", path) ? -1 : real_mkdirat(folder, name, mode);
    int saved = errno;
    if (!result) note(W_MKDIR, 0, inode_at(path), path, NULL, NULL, 0, 0, 0);
    errno = saved;
    unlock();
    return result;
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int renameat2(int from, const char *name, int to, const char *name2, unsigned flags) {
    REAL(renameat2);
    char path[PATH_MAX], path2[PATH_MAX];
    if (!path_at(from, name, path) || !path_at(to, name2, path2))
        return real_renameat2(from, name, to, name2, flags);
    lock();
    int result = fails(RENAME, "rename", path) ? -1 : real_renameat2(from, name, to, name2, flags);
    int saved = errno;
    if (!result) note(W_RENAME, flags, inode_at(path2), path, path2, NULL, 0, 0, 0);
    errno = saved;
    unlock();
    return result;
}

int renameat(int from, const char *name, int to, const char *name2) {
    return renameat2(from, name, to, name2, 0);
}

int rename(const char *name, const char *name2) {
    return renameat2(AT_FDCWD, name, AT_FDCWD, name2, 0);
}

int linkat(int from, const char *name, int to, const char *name2, int flags) {
    REAL(linkat);
    char path[PATH_MAX], path2[PATH_MAX];
    if (!path_at(from, name, path) || !path_at(to, name2, path2))
        return real_linkat(from, name, to, name2, flags);
    lock();
    int result = fails(LINK, "link", path2) ? -1 : real_linkat(from, name, to, name2, flags);
    int saved = errno;
    if (!result) note(W_LINK, 0, inode_at(path2), path, path2, NULL, 0, 0, 0);
    errno = saved;
    unlock();
    return result;
}

int link(const char *name, const char *name2) { return linkat(AT_FDCWD, name, AT_FDCWD, name2, 0); }

int unlinkat(int folder, const char *name, int flags) {
    REAL(unlinkat);
    char path[PATH_MAX];
    if (!path_at(folder, name, path)) return real_unlinkat(folder, name, flags);
    lock();
    int result = fails(UNLINK, "unlink", path) ? -1 : real_unlinkat(folder, name, flags);
    int saved = errno;
    if (!result)
        note(flags & AT_REMOVEDIR ? W_RMDIR : W_UNLINK, 0, 0, path, NULL, NULL, 0, 0, 0);
    errno = saved;
    unlock();
    return result;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

/* -- contents ----------------------------------------------------------------------------- */

static size_t total_of(const struct iovec *data, int pieces) {
    size_t total = 0;
    for (int at = 0; at < pieces; at++) total += data[at].iov_len;
    return total;
}

/* Every write ends here. Offset -1 is the position of the descriptor. */
static ssize_t written(int fd, const struct iovec *data, int pieces, off64_t offset, int flags,
                       const char *call) {
    REAL(pwritev2);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real_pwritev2(fd, data, pieces, offset, flags);
    lock();
    ssize_t result = -1;
    int failed = fails(WRITE, call, path), saved = errno;
    off64_t at = offset;
    if (!failed || control->short_write) {
        size_t total = total_of(data, pieces);
        if (failed) {
            /* Half of it arrives, as on a device that breaks in the middle. */
            total /= 2;
            char *half = malloc(total + 1), *end = half;
            for (int i = 0; i < pieces && end < half + total; i++) {
                size_t part = data[i].iov_len;
                if (part > (size_t)(half + total - end)) part = half + total - end;
                memcpy(end, data[i].iov_base, part);
                end += part;
            }
            struct iovec one = {half, total};
            result = total ? real_pwritev2(fd, &one, 1, offset, flags) : 0;
            free(half);
        } else {
            result = real_pwritev2(fd, data, pieces, offset, flags);
            saved = errno;
        }
        if (result > 0) {
            if (offset == -1) at = lseek64(fd, 0, SEEK_CUR) - result;
            note(W_WRITE, 0, inode_of(fd), path, NULL, data, pieces, at, result);
        }
        if (failed) result = -1;
    }
    errno = saved;
    unlock();
    return result;
}

ssize_t write(int fd, const void *data, size_t bytes) {
    REAL(write);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real_write(fd, data, bytes);
    struct iovec one = {(void *)data, bytes};
    return written(fd, &one, 1, -1, 0, "write");
}

ssize_t writev(int fd, const struct iovec *data, int pieces) {
    REAL(writev);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real_writev(fd, data, pieces);
    return written(fd, data, pieces, -1, 0, "writev");
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    struct iovec one = {(void *)data, bytes};
    return written(fd, &one, 1, offset, 0, "pwrite");
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
    return pwrite64(fd, data, bytes, offset);
}

/* Out of a file it is a read; out of a pipe a write, of all that it is asked for, and the bytes have to
 * come by here to be written down. */
ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t bytes, unsigned flags) {
    REAL(splice);
    REAL(read);
    char path[PATH_MAX];
    if (path_of(from, path)) {
        lock();
        int failed = fails(READ, "splice", path), saved = errno;
        unlock();
        errno = saved;
        return failed ? -1 : real_splice(from, from_at, to, to_at, bytes, flags);
    }
    if (!to_at || !path_of(to, path)) return real_splice(from, from_at, to, to_at, bytes, flags);
    void *data = NULL;
    if (posix_memalign(&data, 4096, bytes)) abort();
    ssize_t result = real_read(from, data, bytes);
    if (result > 0) {
        struct iovec one = {data, result};
        result = written(to, &one, 1, *to_at, 0, "splice");
        if (result > 0 && (size_t)result < one.iov_len) {
            errno = EIO;
            result = -1;
        }
        if (result > 0) *to_at += result;
    }
    int saved = errno;
    free(data);
    errno = saved;
    return result;
}

ssize_t pwritev64(int fd, const struct iovec *data, int pieces, off64_t offset) {
    return written(fd, data, pieces, offset, 0, "pwritev");
}

ssize_t pwritev(int fd, const struct iovec *data, int pieces, off_t offset) {
    return written(fd, data, pieces, offset, 0, "pwritev");
}

ssize_t pwritev64v2(int fd, const struct iovec *data, int pieces, off64_t offset, int flags) {
    return written(fd, data, pieces, offset, flags, "pwritev2");
}

/* What was copied inside the kernel is read back for the log. */
static void note_copied(int fd, const char *path, off64_t offset, ssize_t bytes) {
    char *data = malloc(bytes);
    REAL(pread64);
    if (real_pread64(fd, data, bytes, offset) != bytes) abort();
    struct iovec one = {data, bytes};
    note(W_WRITE, 0, inode_of(fd), path, NULL, &one, 1, offset, bytes);
    free(data);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t bytes, unsigned flags) {
    REAL(copy_file_range);
    char path[PATH_MAX];
    if (!path_of(to, path)) return real_copy_file_range(from, at, to, to_at, bytes, flags);
    lock();
    off64_t start = to_at ? *to_at : lseek64(to, 0, SEEK_CUR);
    ssize_t result = fails(WRITE, "copy_file_range", path)
                         ? -1
                         : real_copy_file_range(from, at, to, to_at, bytes, flags);
    int saved = errno;
    if (result > 0) note_copied(to, path, start, result);
    errno = saved;
    unlock();
    return result;
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t bytes) {
    static ssize_t (*real)(int, int, off64_t *, size_t);
    if (!real) real = (ssize_t(*)(int, int, off64_t *, size_t))dlsym(RTLD_NEXT, "sendfile64");
    char path[PATH_MAX];
    if (!path_of(to, path)) return real(to, from, at, bytes);
    lock();
    off64_t start = lseek64(to, 0, SEEK_CUR);
    ssize_t result = fails(WRITE, "sendfile", path) ? -1 : real(to, from, at, bytes);
    int saved = errno;
    if (result > 0) note_copied(to, path, start, result);
    errno = saved;
    unlock();
    return result;
}

ssize_t sendfile(int to, int from, off_t *at, size_t bytes) { return sendfile64(to, from, at, bytes); }

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real_ftruncate64(fd, size);
    lock();
    int result = fails(TRUNCATE, "ftruncate", path) ? -1 : real_ftruncate64(fd, size);
    int saved = errno;
    if (!result) note(W_TRUNCATE, 0, inode_of(fd), path, NULL, NULL, 0, 0, size);
    errno = saved;
    unlock();
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int truncate64(const char *name, off64_t size) {
    REAL(truncate64);
    char path[PATH_MAX];
    if (!path_at(AT_FDCWD, name, path)) return real_truncate64(name, size);
    lock();
    int result = fails(TRUNCATE, "truncate", path) ? -1 : real_truncate64(name, size);
    int saved = errno;
    if (!result) note(W_TRUNCATE, 0, inode_at(path), path, NULL, NULL, 0, 0, size);
    errno = saved;
    unlock();
    return result;
}

int truncate(const char *name, off_t size) { return truncate64(name, size); }

int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
    REAL(fallocate64);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real_fallocate64(fd, mode, offset, size);
    lock();
    int result = fails(ALLOCATE, "fallocate", path) ? -1 : real_fallocate64(fd, mode, offset, size);
    int saved = errno;
    if (!result) note(W_ALLOCATE, mode, inode_of(fd), path, NULL, NULL, 0, offset, size);
    errno = saved;
    unlock();
    return result;
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    return fallocate64(fd, mode, offset, size);
}

int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    REAL(posix_fallocate64);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real_posix_fallocate64(fd, offset, size);
    lock();
    int result = fails(ALLOCATE, "posix_fallocate", path)
                     ? control->fail_errno
                     : real_posix_fallocate64(fd, offset, size);
    if (!result) note(W_ALLOCATE, 0, inode_of(fd), path, NULL, NULL, 0, offset, size);
    unlock();
    return result;
}

int posix_fallocate(int fd, off_t offset, off_t size) {
    return posix_fallocate64(fd, offset, size);
}

static int flushed(int fd, int (*real)(int), const char *call) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return no_sync ? 0 : real(fd);
    lock();
    int failed = fails(SYNC, call, path), saved = errno;
    note(failed ? W_FAILED_SYNC : W_SYNC, 0, inode_of(fd), path, NULL, NULL, 0, 0, 0);
    unlock();
    errno = saved;
    if (failed) return -1;
    return no_sync ? 0 : real(fd);
}

int fsync(int fd) {
    REAL(fsync);
    return flushed(fd, real_fsync, "fsync");
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return flushed(fd, real_fdatasync, "fdatasync");
}

ssize_t pread64(int fd, void *data, size_t bytes, off64_t offset) {
    REAL(pread64);
    char path[PATH_MAX];
    /* Reads are many: looked at only while they are to fail. */
    if (!control || !control->fail_at || !(control->fail_kinds >> READ & 1) || !path_of(fd, path))
        return real_pread64(fd, data, bytes, offset);
    lock();
    int failed = fails(READ, "pread", path), saved = errno;
    unlock();
    errno = saved;
    return failed ? -1 : real_pread64(fd, data, bytes, offset);
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset) {
    return pread64(fd, data, bytes, offset);
}

ssize_t read(int fd, void *data, size_t bytes) {
    REAL(read);
    char path[PATH_MAX];
    if (!control || !control->fail_at || !(control->fail_kinds >> READ & 1) || !path_of(fd, path))
        return real_read(fd, data, bytes);
    lock();
    int failed = fails(READ, "read", path), saved = errno;
    unlock();
    errno = saved;
    return failed ? -1 : real_read(fd, data, bytes);
}
