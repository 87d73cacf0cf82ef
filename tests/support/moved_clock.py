"""A clock that can be moved while programs run: a library that they preload, and a file that says by how much."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *shift; /* seconds, the content of the file */

__attribute__((constructor)) static void open_shift(void) {
    const char *path = getenv("MOVED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) shift = found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME && shift) now->tv_sec += *shift;
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}

/* The kernel's clock is not moved, so what waits until a time of the day is told the kernel's. */
static const struct timespec *kernels(const struct timespec *until, struct timespec *copy) {
    if (!shift || until->tv_sec < 1000000000) return until; /* seconds since the start of the machine */
    *copy = *until;
    copy->tv_sec -= *shift;
    return copy;
}
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec copy;
    return real(condition, mutex, kernels(until, &copy));
}
int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    static int (*real)(sem_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
    struct timespec copy;
    return real(semaphore, kernels(until, &copy));
}
"""


def build_library(folder: Path) -> Path:
    """Compile the library; FileNotFoundError if there is no C compiler."""
    if shutil.which("cc") is None:
        raise FileNotFoundError("a clock that can be moved needs a C compiler")
    (folder / "clock.c").write_text(SOURCE)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"], cwd=folder, check=True)
    return folder / "clock.so"


class MovedClock:
    """The clock of all programs that are started with ``environment``."""

    def __init__(self, library: Path, path: Path, seconds: int = 0) -> None:
        self.path = path
        self.environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(path)}
        path.write_bytes(struct.pack("l", seconds))

    def move(self, seconds: int) -> None:
        """Let it be ahead by so many seconds, also in programs that are running."""
        with self.path.open("r+b") as file:  # in place: it is mapped
            os.pwrite(file.fileno(), struct.pack("l", seconds), 0)
