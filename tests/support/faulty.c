/* Between a process and its files: while the file $FAULT is there, whatever is written or synced below the folder $FAULTY
   fails with the number that stands in it. Everything else is as it always is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int file) {
    const char *fault = getenv("FAULT"), *faulty = getenv("FAULTY");
    char link[64], path[4096], number[16] = "";
    if (!fault || !faulty) return 0;
    int control = open(fault, O_RDONLY | O_CLOEXEC);
    if (control < 0) return 0;
    ssize_t length = read(control, number, sizeof number - 1);
    close(control);
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t end = readlink(link, path, sizeof path - 1);
    if (length <= 0 || end < 0) return 0;
    path[end] = 0;
    if (strncmp(path, faulty, strlen(faulty)) != 0) return 0;
    errno = atoi(number);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
    return fails(file) ? -1 : REAL(write)(file, bytes, count);
}
ssize_t writev(int file, const struct iovec *pieces, int count) {
    return fails(file) ? -1 : REAL(writev)(file, pieces, count);
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    return fails(file) ? -1 : REAL(pwrite)(file, bytes, count, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    return fails(file) ? -1 : REAL(pwrite64)(file, bytes, count, at);
}
int fsync(int file) { return fails(file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fails(file) ? -1 : REAL(fdatasync)(file); }
int sync_file_range(int file, off64_t at, off64_t count, unsigned flags) {
    return fails(file) ? -1 : REAL(sync_file_range)(file, at, count, flags);
}
int ftruncate64(int file, off64_t length) { return fails(file) ? -1 : REAL(ftruncate64)(file, length); }
