/* Makes some writes below one directory fail, as a full or broken disk would. Preloaded by node/tests/faults.rs.
 *
 *   FAULT_DIR    what lies below it counts, but RocksDB's own report (LOG)
 *   FAULT_AT     number of the first call that fails, from 1; none if 0
 *   FAULT_SPAN   how many calls fail from there on
 *   FAULT_ERRNO  with which error
 *   FAULT_COUNT  file that the number of calls is written to at exit
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int fails(int fd) {
    char link[64], path[4096];
    const char *dir = getenv("FAULT_DIR");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!dir || length <= 0) return 0;
    path[length] = 0;
    if (strncmp(path, dir, strlen(dir)) != 0) return 0;
    const char *name = strrchr(path, '/');
    if (name && strncmp(name, "/LOG", 4) == 0 && name[4] != 'K') return 0;
    long call = atomic_fetch_add(&calls, 1) + 1, at = number("FAULT_AT");
    if (at == 0 || call < at || call >= at + number("FAULT_SPAN")) return 0;
    errno = (int)number("FAULT_ERRNO");
    return 1;
}

__attribute__((destructor)) static void tell(void) {
    const char *name = getenv("FAULT_COUNT");
    FILE *file = name ? fopen(name, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld", atomic_load(&calls));
    fclose(file);
}

#define WRAP(result, name, types, values)                                   \
    result name types {                                                     \
        static result(*real) types;                                         \
        if (!real) real = (result(*) types)dlsym(RTLD_NEXT, #name);         \
        return fails(fd) ? -1 : real values;                                \
    }

WRAP(ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
WRAP(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
WRAP(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, ftruncate, (int fd, off_t length), (fd, length))
WRAP(int, ftruncate64, (int fd, off64_t length), (fd, length))
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t length), (fd, mode, at, length))
WRAP(int, fallocate64, (int fd, int mode, off64_t at, off64_t length), (fd, mode, at, length))
