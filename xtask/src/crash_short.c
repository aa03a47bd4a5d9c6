/* Loaded before the C library: gives the kernel a smaller count than a call asks for, so that the call is short and
 * what it answers is true. Only calls of one name on files below one directory, and of these only those that ask for
 * more than a byte. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned long made;

static int below(int fd)
{
    const char *base = getenv("SHORT_BELOW");
    char link[64], path[4096];
    ssize_t bytes;

    if (base == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    bytes = readlink(link, path, sizeof path);
    return bytes > (ssize_t)strlen(base) && memcmp(path, base, strlen(base)) == 0 && path[strlen(base)] == '/';
}

/* How many bytes this call may do. */
static size_t cut(const char *name, int fd, size_t count)
{
    const char *call = getenv("SHORT_CALL"), *at = getenv("SHORT_AT"), *to = getenv("SHORT_TO");
    const char *told = getenv("SHORT_TOLD");
    int mark;

    if (count < 2 || !call || !at || !to || !told || strcmp(call, name) != 0 || !below(fd))
        return count;
    /* Nothing for the index means each call. */
    if (*at && __atomic_add_fetch(&made, 1, __ATOMIC_SEQ_CST) != strtoul(at, NULL, 10))
        return count;
    mark = open(told, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (mark >= 0)
        close(mark);
    if (strcmp(to, "one") == 0)
        /* Large buffers byte by byte would take minutes. */
        return count > 512 ? count / 2 : 1;
    return strcmp(to, "half") == 0 ? count / 2 : count - 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
    return syscall(SYS_pwrite64, fd, bytes, cut("pwrite64", fd, count), at);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t at)
{
    return syscall(SYS_pread64, fd, bytes, cut("pread64", fd, count), at);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    return syscall(SYS_write, fd, bytes, cut("write", fd, count));
}

ssize_t read(int fd, void *bytes, size_t count)
{
    return syscall(SYS_read, fd, bytes, cut("read", fd, count));
}
