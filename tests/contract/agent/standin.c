/* A stand-in for libnvidia-ml.so.1 with the calls that the agent makes and values that tests set.
 * Layouts are those of nvml.h, as the vendor's binding declares them. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GPUS 8
#define OK 0
#define INVALID 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define SIZE 7
#define TIMEOUT 10
#define LOST 15

typedef struct { int index; int instance; } dev; /* instance -1: the board */
static dev boards[GPUS], parts[GPUS][2];
static int count = 2, init_code = 0, lost[GPUS], mig[GPUS], no_gpm[GPUS], processes[GPUS];
static volatile int hung[GPUS];
static unsigned ticks = 0;
static unsigned long calls = 0;
static int xid_gpu = -1;
static unsigned long long xid_number = 0;
static pthread_mutex_t xid_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t xid_came = PTHREAD_COND_INITIALIZER;

void standin_reset(int gpus) {
    count = gpus; init_code = 0; ticks = 0; calls = 0; xid_gpu = -1;
    for (int i = 0; i < GPUS; i++) {
        lost[i] = hung[i] = mig[i] = no_gpm[i] = processes[i] = 0;
        boards[i].index = i; boards[i].instance = -1;
        for (int j = 0; j < 2; j++) { parts[i][j].index = i; parts[i][j].instance = j + 1; }
    }
}
static int told(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}
/* For a process that nobody can call into: the benchmark's agent. */
__attribute__((constructor)) static void from_environment(void) {
    standin_reset(told("STANDIN_GPUS", 2));
    for (int i = 0; i < GPUS; i++) processes[i] = told("STANDIN_PROCESSES", 0);
}
void standin_init_code(int code) { init_code = code; }
void standin_lose(int gpu) { lost[gpu] = 1; }
void standin_hang(int gpu, int on) { hung[gpu] = on; }
void standin_mig(int gpu) { mig[gpu] = 1; }
void standin_no_gpm(int gpu) { no_gpm[gpu] = 1; }
void standin_processes(int gpu, int many) { processes[gpu] = many; }
void standin_xid(int gpu, unsigned long long number) {
    pthread_mutex_lock(&xid_lock);
    xid_number = number; xid_gpu = gpu;
    pthread_cond_broadcast(&xid_came);
    pthread_mutex_unlock(&xid_lock);
}
unsigned long standin_calls(void) { return calls; }

static int touch(dev *d) {
    struct timespec nap = {0, 2000000};
    calls++;
    while (hung[d->index]) nanosleep(&nap, 0);
    return lost[d->index] ? LOST : OK;
}
static int text(char *into, unsigned size, const char *from) {
    if (strlen(from) + 1 > size) return SIZE;
    strcpy(into, from);
    return OK;
}
static void uuid_of(dev *d, char *into) {
    strcpy(into, d->instance < 0 ? "GPU-0000000X" : "MIG-0000000X-Y");
    into[11] = (char)('0' + d->index);
    if (d->instance >= 0) into[13] = (char)('0' + d->instance);
}

const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "error"; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return init_code; }
int nvmlInit_v2(void) { return init_code; }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *v, unsigned n) { return text(v, n, "580.159.04"); }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = (unsigned)count; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, dev **d) {
    if ((int)i >= count) return INVALID;
    *d = &boards[i];
    return OK;
}
int nvmlDeviceGetUUID(dev *d, char *u, unsigned n) {
    char name[32];
    uuid_of(d, name);
    return text(u, n, name);
}
int nvmlDeviceGetName(dev *d, char *u, unsigned n) {
    return text(u, n, d->instance < 0 ? "NVIDIA H200" : "NVIDIA H200 MIG 3g.71gb");
}
int nvmlDeviceGetSerial(dev *d, char *u, unsigned n) {
    char s[] = "16500X";
    s[5] = (char)('0' + d->index);
    return text(u, n, s);
}
typedef struct {
    char legacy[16]; unsigned domain, bus, device, id, sub; char bus_id[32];
} pci;
int nvmlDeviceGetPciInfo_v3(dev *d, pci *p) {
    memset(p, 0, sizeof *p);
    strcpy(p->bus_id, "00000000:3X:00.0");
    p->bus_id[10] = (char)('0' + d->index);
    return OK;
}
int nvmlDeviceGetMigMode(dev *d, unsigned *now, unsigned *next) {
    *now = *next = (unsigned)mig[d->index];
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(dev *d, unsigned *n) { (void)d; *n = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(dev *d, unsigned i, dev **out) {
    if (i > 1) return NOT_FOUND;
    *out = &parts[d->index][i];
    return OK;
}
int nvmlDeviceGetGpuInstanceId(dev *d, unsigned *id) { *id = (unsigned)d->instance; return OK; }

typedef struct { unsigned gpu, memory; } util;
int nvmlDeviceGetUtilizationRates(dev *d, util *u) {
    int r = touch(d);
    u->gpu = 97; u->memory = 40 + (unsigned)d->index;
    return r;
}
int nvmlDeviceGetClockInfo(dev *d, unsigned kind, unsigned *mhz) {
    *mhz = kind == 1 ? 1980 : 3201;
    return touch(d);
}
int nvmlDeviceGetTemperature(dev *d, unsigned sensor, unsigned *t) {
    (void)sensor; *t = 50 + (unsigned)d->index;
    return touch(d);
}
int nvmlDeviceGetTemperatureThreshold(dev *d, unsigned which, unsigned *t) {
    if (which == 3) return NOT_SUPPORTED;
    *t = 80 + which;
    return touch(d);
}
int nvmlDeviceGetCurrentClocksEventReasons(dev *d, unsigned long long *r) { *r = 4; return touch(d); }
int nvmlDeviceGetPerformanceState(dev *d, unsigned *p) { *p = 0; return touch(d); }
int nvmlDeviceGetEncoderUtilization(dev *d, unsigned *u, unsigned *s) { (void)u; (void)s; touch(d); return NOT_SUPPORTED; }
int nvmlDeviceGetDecoderUtilization(dev *d, unsigned *u, unsigned *s) { *u = 3; *s = 1000; return touch(d); }
int nvmlDeviceGetCurrPcieLinkGeneration(dev *d, unsigned *v) { *v = 5; return touch(d); }
int nvmlDeviceGetCurrPcieLinkWidth(dev *d, unsigned *v) { *v = 16; return touch(d); }
int nvmlDeviceGetMaxPcieLinkGeneration(dev *d, unsigned *v) { *v = 5; return touch(d); }
int nvmlDeviceGetMaxPcieLinkWidth(dev *d, unsigned *v) { *v = 16; return touch(d); }
typedef struct { unsigned max, high, partial, low, none; } histogram;
int nvmlDeviceGetRowRemapperHistogram(dev *d, histogram *h) {
    memset(h, 0, sizeof *h); h->max = 640; h->none = 1;
    return touch(d);
}
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
int nvmlDeviceGetMemoryInfo_v2(dev *d, memory *m) {
    unsigned long long mib = 1ull << 20;
    unsigned long long all = d->instance < 0 ? 143771 : 71000;
    m->total = all * mib; m->reserved = 600 * mib; m->used = 10240 * mib;
    m->free = m->total - m->reserved - m->used;
    return touch(d);
}
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process;
int nvmlDeviceGetComputeRunningProcesses_v3(dev *d, unsigned *n, process *p) {
    int r = touch(d);
    unsigned have = (unsigned)processes[d->index];
    if (r) return r;
    if (p) for (unsigned i = 0; i < have && i < *n; i++) {
        p[i].pid = i ? 4200 + i : (unsigned)getpid();
        p[i].used = 1073741824ull * (i + 1); p[i].gi = p[i].ci = 0xFFFFFFFFu;
    }
    if (!p && have) { *n = have; return SIZE; }
    *n = have;
    return OK;
}
typedef struct {
    unsigned field, scope; long long timestamp, latency; unsigned type; int result;
    union { double d; unsigned u; unsigned long long ull; long long s; } value;
} field;
int nvmlDeviceGetFieldValues(dev *d, int n, field *f) {
    int r = touch(d);
    if (r) return r;
    for (int i = 0; i < n; i++) {
        f[i].result = OK; f[i].type = 3; f[i].value.ull = f[i].field * 10 + (unsigned)d->index;
        if (f[i].field == 186) { f[i].type = 1; f[i].value.ull = 0; f[i].value.u = 698500; }
        if (f[i].field == 230) f[i].value.ull = 0;
        if (f[i].field == 83) f[i].value.ull = 5000000000ull;
        if (f[i].field >= 161 && f[i].field <= 163) {
            if (f[i].scope >= 2) f[i].result = NOT_SUPPORTED;
            f[i].value.ull = f[i].field + f[i].scope;
        }
        if (f[i].field >= 142 && f[i].field <= 145) { f[i].type = 1; f[i].value.ull = 0; f[i].value.u = f[i].field == 142 ? 7 : 0; }
        if (f[i].field == 173) f[i].result = NOT_SUPPORTED;
    }
    return OK;
}
typedef struct { unsigned when; int used; } sample;
static sample samples[256];
int nvmlGpmSampleAlloc(sample **s) {
    for (int i = 0; i < 256; i++) if (!samples[i].used) {
        samples[i].used = 1; samples[i].when = 0; *s = &samples[i]; return OK;
    }
    return 20;
}
int nvmlGpmSampleFree(sample *s) { s->used = 0; return OK; }
int nvmlGpmSampleGet(dev *d, sample *s) {
    int r = touch(d);
    if (no_gpm[d->index] || mig[d->index]) return NOT_SUPPORTED;
    s->when = ++ticks;
    return r;
}
int nvmlGpmMigSampleGet(dev *d, unsigned instance, sample *s) {
    (void)instance; s->when = ++ticks;
    return touch(d);
}
typedef struct { unsigned id; int result; double value; const char *a, *b, *c; } metric;
typedef struct { unsigned version, many; sample *one, *two; metric metrics[477]; } metrics;
int nvmlGpmMetricsGet(metrics *m) {
    if (m->version != 1 || m->two->when <= m->one->when) return INVALID;
    for (unsigned i = 0; i < m->many; i++) {
        m->metrics[i].result = m->metrics[i].id == 12 ? NOT_SUPPORTED : OK;
        /* Metric 1 tells how far apart the two are; there are many samples between two of a dear
         * stretch, and a reader that takes the wrong two is seen. */
        m->metrics[i].value = m->metrics[i].id == 1 ? m->two->when - m->one->when : m->metrics[i].id;
    }
    return OK;
}
int nvmlEventSetCreate(void **set) { *set = &samples; return OK; }
int nvmlEventSetFree(void *set) { (void)set; return OK; }
int nvmlDeviceRegisterEvents(dev *d, unsigned long long kinds, void *set) {
    (void)d; (void)set;
    return kinds == 8 ? OK : INVALID;
}
typedef struct { dev *device; unsigned long long type, data; unsigned gi, ci; } event;
int nvmlEventSetWait_v2(void *set, event *e, unsigned timeout_ms) {
    struct timespec until;
    int result = TIMEOUT, waited = 0;
    (void)set;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&xid_lock); /* asleep, as in the driver: a wait costs nothing */
    while (xid_gpu < 0 && !waited) waited = pthread_cond_timedwait(&xid_came, &xid_lock, &until);
    if (xid_gpu >= 0) {
        e->device = &boards[xid_gpu]; e->type = 8; e->data = xid_number;
        e->gi = e->ci = 0xFFFFFFFFu; xid_gpu = -1;
        result = OK;
    }
    pthread_mutex_unlock(&xid_lock);
    return result;
}
