// Stand-in for libnccl.so.2: enqueueing functions with their real signatures.
#include <stddef.h>

typedef struct { char internal[128]; } ncclUniqueId;
static char members[16];

int ncclCommInitRank(void **out, int ranks, ncclUniqueId id, int rank) { *out = &members[rank]; return 0; }
int ncclAllReduce(const void *s, void *r, size_t n, int type, int op, void *comm, void *stream) { return 0; }
int ncclAllGather(const void *s, void *r, size_t n, int type, void *comm, void *stream) { return 0; }
int ncclReduce(const void *s, void *r, size_t n, int type, int op, int root, void *comm, void *stream) { return 0; }
int ncclCommAbort(void *comm) { return 0; }
int ncclCommDestroy(void *comm) { return 0; }
