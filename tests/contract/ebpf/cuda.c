// Stand-in for libcuda.so.1: the driver API's exported functions with their real signatures and
// return codes; addresses are made up and reused like a real allocator's. Compiled without
// optimisation: a first instruction that the kernel cannot emulate costs a probe ten times as much.
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

typedef int CUresult;
typedef unsigned long long u64;
typedef struct { int type, id; } Location;
typedef struct { int type, handles; Location location; } Properties;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2 };

#define BYTES_MAX (80ULL << 30)
#define PLACES 65536
static struct { u64 bytes; int refs; } places[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t hang = PTHREAD_MUTEX_INITIALIZER;
static u64 used, mapped[PLACES];

static CUresult take(u64 *out, u64 bytes) {
    CUresult rc = OUT_OF_MEMORY;
    if (!bytes) return INVALID_VALUE;
    pthread_mutex_lock(&lock);
    if (used + bytes <= BYTES_MAX)
        for (u64 i = 1; i < PLACES; i++)
            if (!places[i].refs) {
                places[i].bytes = bytes;
                places[i].refs = 1;
                used += bytes;
                *out = 0x7f0000000000ULL + (i << 21);
                rc = OK;
                break;
            }
    pthread_mutex_unlock(&lock);
    return rc;
}
static u64 place_of(u64 address) {
    u64 i = (address - 0x7f0000000000ULL) >> 21;
    return address >= 0x7f0000000000ULL && i < PLACES ? i : 0;
}
static CUresult give(u64 address) {
    u64 i = place_of(address);
    CUresult rc = INVALID_VALUE;
    if (!address) return OK;
    pthread_mutex_lock(&lock);
    if (i && places[i].refs) {
        if (!--places[i].refs) used -= places[i].bytes;
        rc = OK;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

CUresult cuInit(unsigned flags) { return OK; }
CUresult cuMemAlloc_v2(u64 *out, size_t n) { return take(out, n); }
CUresult cuMemAllocManaged(u64 *out, size_t n, unsigned flags) { return take(out, n); }
CUresult cuMemAllocAsync(u64 *out, size_t n, void *stream) { return take(out, n); }
CUresult cuMemAllocFromPoolAsync(u64 *out, size_t n, void *pool, void *stream) { return take(out, n); }
CUresult cuMemAllocPitch_v2(u64 *out, size_t *pitch, size_t width, size_t height, unsigned element) {
    *pitch = (width + 511) & ~511ULL;
    return take(out, *pitch * height);
}
CUresult cuMemFree_v2(u64 address) { return give(address); }
CUresult cuMemFreeAsync(u64 address, void *stream) { return give(address); }
CUresult cuMemCreate(u64 *out, size_t n, const Properties *p, u64 flags) { return take(out, n); }
CUresult cuMemRelease(u64 handle) { return give(handle); }
CUresult cuMemMap(u64 address, size_t n, size_t offset, u64 handle, u64 flags) {
    u64 i = place_of(handle);
    if (!i || !places[i].refs) return INVALID_VALUE;
    places[i].refs++;
    mapped[(address >> 21) % PLACES] = handle;
    return OK;
}
CUresult cuMemUnmap(u64 address, size_t n) {
    for (u64 at = address; at < address + n; at += 1 << 21) {
        u64 handle = mapped[(at >> 21) % PLACES];
        mapped[(at >> 21) % PLACES] = 0;
        if (handle) give(handle);
    }
    return OK;
}
CUresult cuMemRetainAllocationHandle(u64 *out, void *address) {
    *out = mapped[((u64)address >> 21) % PLACES];
    if (!*out) return INVALID_VALUE;
    places[place_of(*out)].refs++;
    return OK;
}
CUresult cuCtxCreate_v2(void **out, unsigned flags, int device) { *out = (void *)(0xc0de0000ULL + device); return OK; }
CUresult cuDevicePrimaryCtxRetain(void **out, int device) { *out = (void *)(0xfeed0000ULL + device); return OK; }
CUresult cuCtxSetCurrent(void *context) { return OK; }
CUresult cuCtxPopCurrent_v2(void **out) { return OK; }
CUresult cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, void *s, void **args, void **extra) { return OK; }
CUresult cuModuleLoadData(void **module, const void *image) { *module = (void *)image; return OK; }
CUresult cuModuleGetFunction(void **f, void *module, const char *name) { *f = (void *)name; return OK; }
CUresult cuMemcpyHtoD_v2(u64 to, const void *from, size_t n) { usleep(1000); return OK; }
CUresult cuMemcpyDtoH_v2(void *to, u64 from, size_t n) { usleep(1000); return OK; }
CUresult cuGraphLaunch(void *graph, void *stream) { return OK; }
// A synchronisation with the stream 0xdead does not return before `letGo` was called.
void hangUp(void) { pthread_mutex_lock(&hang); }
void letGo(void) { pthread_mutex_unlock(&hang); }
CUresult cuStreamSynchronize(void *stream) {
    if (stream == (void *)0xdead) { pthread_mutex_lock(&hang); pthread_mutex_unlock(&hang); }
    return OK;
}
// A parent of vfork sleeps uninterruptibly until its child goes: like a driver that waits for firmware.
void stall(unsigned ms) { if (!vfork()) { usleep(ms * 1000); _exit(0); } }
CUresult cuEventSynchronize(void *event) { return OK; }
CUresult cuCtxSynchronize(void) { return OK; }
