// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
//
// What processes do with their GPUs, seen at the driver API's exported functions, and what the kernel
// does to those processes. Only counts and bounded records leave this file; collectors/ebpf reads them.
//
// The struct stubs below stand in for a vmlinux.h of megabytes: CO-RE relocates their fields when the
// object is loaded. Build: `make ebpf` (one object per architecture, since call registers differ).
#if !defined(__TARGET_ARCH_x86)
#error "arguments beyond the fifth are read by the x86-64 convention"
#endif
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;

// Some helpers are for GPL-compatible programs alone; these are the kernel's words for that.
char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NO_DEVICE (-1)
#define UNMAP_MAX 64
#define MESSAGE_MAX 224
#define TASK_UNINTERRUPTIBLE 2
#define TASK_NOLOAD 0x400

struct task_struct;
typedef struct { int counter; } __attribute__((preserve_access_index)) atomic_stub;
struct signal_struct {
    atomic_stub live;
    int group_exit_code;
} __attribute__((preserve_access_index));
struct task_struct {
    int pid;
    int tgid;
    int exit_code;
    unsigned int __state;
    char comm[16];
    struct task_struct *group_leader;
    struct signal_struct *signal;
} __attribute__((preserve_access_index));
struct task_struct___old { // before 5.14
    long state;
} __attribute__((preserve_access_index));

// Maps: names, keys and values are mirrored in layout.py; a test compares the sizes.

enum space { POINTER, HANDLE, MAPPING };
struct place { u32 pid; u32 space; u64 address; };
struct held {
    u64 bytes;
    u64 handle; // MAPPING: the allocation mapped there
    s32 device;
    u32 refs;   // HANDLE: creation, retains and mappings; freed at zero
};
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(map_flags, BPF_F_NO_PREALLOC); __uint(max_entries, 131072);
         __type(key, struct place); __type(value, struct held); } live SEC(".maps");

struct owner { u32 pid; s32 device; };
struct usage {
    s64 outstanding;
    u64 allocations, allocated_bytes, frees, freed_bytes;
    u64 failures;       // calls that wanted memory and did not get it
    u64 failed_bytes;   // size of the last of them
    u64 failed_code;    // its CUresult
    u64 unknown_frees;  // frees of what was not seen to be allocated
    u64 untracked;      // allocations that found no room in `live`
    u64 replaced;       // allocations at an address that was held: the free was not seen
    u64 graph_launches, kernel_launches;
    u64 waits, wait_ns; // waits that have returned
};
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4096);
         __type(key, struct owner); __type(value, struct usage); } usages SEC(".maps");

struct call { u64 thread; u32 kind; u32 pad; };
struct pending { u64 out, a, b; s32 device; u32 found; struct held held; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8192);
         __type(key, struct call); __type(value, struct pending); } calls SEC(".maps");

struct wait { u64 since_ns; s32 device; u32 pad; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384);
         __type(key, struct call); __type(value, struct wait); } waits SEC(".maps");

struct context { u32 pid; u32 pad; u64 address; };
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 8192);
         __type(key, struct context); __type(value, s32); } contexts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 32768);
         __type(key, u64); __type(value, s32); } current_device SEC(".maps");

struct member { u32 pid; u32 pad; u64 address; };
struct enqueues { u64 calls, last_ns, identity; s32 rank; s32 ranks; u32 aborted; s32 device; };
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 8192);
         __type(key, struct member); __type(value, struct enqueues); } communicators SEC(".maps");

struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096);
         __type(key, u32); __type(value, u32); } tracked SEC(".maps");
struct blocked { u64 since_ns; u32 pid; u32 pad; };
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384);
         __type(key, u32); __type(value, struct blocked); } blocked SEC(".maps");
struct stall { u64 count, total_ns, longest_ns; };
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096);
         __type(key, u32); __type(value, struct stall); } stalls SEC(".maps");

enum total { RETRANSMITS, LOST_RECORDS, LOST_CALLS, TOTALS };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, TOTALS);
         __type(key, u32); __type(value, u64); } totals SEC(".maps");
enum limit { STALL_NS, LIMITS };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, LIMITS);
         __type(key, u32); __type(value, u64); } limits SEC(".maps");

enum record_kind { OOM_VICTIM = 1, PROCESS_EXIT, XID, SXID };
struct record {
    u64 at_ns; // CLOCK_MONOTONIC
    u32 kind, pid, code, pad;
    char name[16]; // of the process, or PCI address
    char text[MESSAGE_MAX];
};
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 17); } records SEC(".maps");

static __always_inline void add_total(u32 which)
{
    u64 *n = bpf_map_lookup_elem(&totals, &which);
    if (n)
        *n += 1;
}

static __always_inline struct usage *usage_of(u32 pid, s32 device)
{
    struct owner key = {.pid = pid, .device = device};
    struct usage *u = bpf_map_lookup_elem(&usages, &key);
    if (u)
        return u;
    struct usage none = {};
    u32 one = 1;
    bpf_map_update_elem(&usages, &key, &none, BPF_NOEXIST);
    bpf_map_update_elem(&tracked, &pid, &one, BPF_ANY);
    return bpf_map_lookup_elem(&usages, &key);
}

static __always_inline s32 device_now(u64 thread)
{
    s32 *device = bpf_map_lookup_elem(&current_device, &thread);
    return device ? *device : NO_DEVICE;
}

// Calls: what an entry saw is kept until the same thread returns from the same kind of call.

enum call_kind { ALLOCATE = 1, PITCH, CREATE, FREE, RELEASE, RETAIN, MAP, UNMAP, CONTEXT, INIT_RANK,
                 WAIT_STREAM = 32, WAIT_EVENT, WAIT_CONTEXT };

static __always_inline void begin(u32 kind, struct pending *p)
{
    struct call key = {.thread = bpf_get_current_pid_tgid(), .kind = kind};
    if (bpf_map_update_elem(&calls, &key, p, BPF_ANY))
        add_total(LOST_CALLS);
}

static __always_inline bool end(u32 kind, struct pending *p)
{
    struct call key = {.thread = bpf_get_current_pid_tgid(), .kind = kind};
    struct pending *found = bpf_map_lookup_elem(&calls, &key);
    if (!found)
        return false;
    *p = *found;
    bpf_map_delete_elem(&calls, &key);
    return true;
}

static __always_inline void forget(u32 pid, struct held *h)
{
    struct usage *u = usage_of(pid, h->device);
    if (!u)
        return;
    __sync_fetch_and_add(&u->outstanding, -(s64)h->bytes);
    __sync_fetch_and_add(&u->frees, 1);
    __sync_fetch_and_add(&u->freed_bytes, h->bytes);
}

static __always_inline void took(u32 pid, u32 space, u64 address, u64 bytes, s32 device)
{
    struct place key = {.pid = pid, .space = space, .address = address};
    struct held h = {.bytes = bytes, .device = device, .refs = 1};
    struct usage *u = usage_of(pid, device);
    struct held *old = bpf_map_lookup_elem(&live, &key);
    if (!u)
        return;
    if (old) {
        struct held before = *old;
        forget(pid, &before);
        __sync_fetch_and_add(&u->replaced, 1);
    }
    __sync_fetch_and_add(&u->allocations, 1);
    __sync_fetch_and_add(&u->allocated_bytes, bytes);
    if (bpf_map_update_elem(&live, &key, &h, BPF_ANY)) {
        __sync_fetch_and_add(&u->untracked, 1);
        return;
    }
    __sync_fetch_and_add(&u->outstanding, bytes);
}

static __always_inline void failed(u32 pid, s32 device, u64 bytes, int rc)
{
    struct usage *u = usage_of(pid, device);
    if (!u)
        return;
    __sync_fetch_and_add(&u->failures, 1);
    u->failed_bytes = bytes;
    u->failed_code = (u32)rc;
}

static __always_inline int took_or_failed(u32 kind, u32 space, int rc)
{
    struct pending p;
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u64 address = 0, pitch = 0;
    if (!end(kind, &p))
        return 0;
    if (rc) {
        failed(pid, p.device, kind == PITCH ? p.a * p.b : p.a, rc);
        return 0;
    }
    if (bpf_probe_read_user(&address, sizeof(address), (void *)p.out) || !address)
        return 0;
    if (kind == PITCH) { // held.handle: where the driver writes the width of a row
        bpf_probe_read_user(&pitch, sizeof(pitch), (void *)p.held.handle);
        p.a = pitch * p.b;
    }
    took(pid, space, address, p.a, p.device);
    return 0;
}

// cuMemAlloc_v2, cuMemAllocManaged, cuMemAllocAsync, cuMemAllocFromPoolAsync (out, bytes, ...)
SEC("uprobe") int BPF_KPROBE(on_allocate, u64 out, u64 bytes)
{
    struct pending p = {.out = out, .a = bytes, .device = device_now(bpf_get_current_pid_tgid())};
    begin(ALLOCATE, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_allocated, int rc) { return took_or_failed(ALLOCATE, POINTER, rc); }

// cuMemAllocPitch_v2 (out, pitch, width, height, element)
SEC("uprobe") int BPF_KPROBE(on_allocate_pitch, u64 out, u64 pitch, u64 width, u64 height)
{
    struct pending p = {.out = out, .a = width, .b = height,
                        .device = device_now(bpf_get_current_pid_tgid())};
    p.held.handle = pitch;
    begin(PITCH, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_allocated_pitch, int rc) { return took_or_failed(PITCH, POINTER, rc); }

// cuMemCreate (handle, bytes, properties, flags): the properties name the device themselves.
SEC("uprobe") int BPF_KPROBE(on_create, u64 out, u64 bytes, u64 properties)
{
    struct pending p = {.out = out, .a = bytes, .device = NO_DEVICE};
    struct { u32 type, handles, location, id; } head = {};
    if (!bpf_probe_read_user(&head, sizeof(head), (void *)properties) && head.location == 1)
        p.device = head.id;
    begin(CREATE, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_created, int rc) { return took_or_failed(CREATE, HANDLE, rc); }

// Frees take the entry away before the driver can give the address to another thread, and put it
// back when the driver refuses.
SEC("uprobe") int BPF_KPROBE(on_free, u64 address)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct place key = {.pid = thread >> 32, .space = POINTER, .address = address};
    struct pending p = {.a = address};
    struct held *h = bpf_map_lookup_elem(&live, &key);
    if (h) {
        p.held = *h;
        p.found = 1;
        bpf_map_delete_elem(&live, &key);
        forget(key.pid, &p.held);
    } else if (address) {
        struct usage *u = usage_of(key.pid, device_now(thread));
        if (u)
            __sync_fetch_and_add(&u->unknown_frees, 1);
    }
    begin(FREE, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_freed, int rc)
{
    struct pending p;
    struct usage *u;
    if (!end(FREE, &p) || !rc || !p.found)
        return 0;
    struct place key = {.pid = bpf_get_current_pid_tgid() >> 32, .space = POINTER, .address = p.a};
    bpf_map_update_elem(&live, &key, &p.held, BPF_ANY);
    u = usage_of(key.pid, p.held.device);
    if (!u)
        return 0;
    __sync_fetch_and_add(&u->outstanding, p.held.bytes);
    __sync_fetch_and_add(&u->frees, -1);
    __sync_fetch_and_add(&u->freed_bytes, -p.held.bytes);
    return 0;
}

// Allocations by handle live until creation, retains and mappings are all given back.
static __always_inline bool retain(u32 pid, u64 handle, u64 *bytes)
{
    struct place key = {.pid = pid, .space = HANDLE, .address = handle};
    struct held *h = bpf_map_lookup_elem(&live, &key);
    if (!h)
        return false;
    __sync_fetch_and_add(&h->refs, 1);
    *bytes = h->bytes;
    return true;
}
static __always_inline bool let_go(u32 pid, u64 handle)
{
    struct place key = {.pid = pid, .space = HANDLE, .address = handle};
    struct held *h = bpf_map_lookup_elem(&live, &key);
    if (!h)
        return false;
    if (h->refs > 1) {
        __sync_fetch_and_add(&h->refs, -1);
        return true;
    }
    struct held last = *h;
    bpf_map_delete_elem(&live, &key);
    forget(pid, &last);
    return true;
}

SEC("uprobe") int BPF_KPROBE(on_release, u64 handle)
{
    struct pending p = {.a = handle};
    begin(RELEASE, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_released, int rc)
{
    struct pending p;
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (!end(RELEASE, &p))
        return 0;
    if (!rc && let_go(pid, p.a))
        return 0;
    if (rc) { // refused: of something unknown, or nothing has changed
        struct place key = {.pid = pid, .space = HANDLE, .address = p.a};
        if (bpf_map_lookup_elem(&live, &key))
            return 0;
    }
    struct usage *u = usage_of(pid, NO_DEVICE);
    if (u)
        __sync_fetch_and_add(&u->unknown_frees, 1);
    return 0;
}

SEC("uprobe") int BPF_KPROBE(on_retain, u64 out)
{
    struct pending p = {.out = out};
    begin(RETAIN, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_retained, int rc)
{
    struct pending p;
    u64 handle = 0, bytes;
    if (end(RETAIN, &p) && !rc && !bpf_probe_read_user(&handle, sizeof(handle), (void *)p.out))
        retain(bpf_get_current_pid_tgid() >> 32, handle, &bytes);
    return 0;
}

SEC("uprobe") int BPF_KPROBE(on_map, u64 address, u64 bytes, u64 offset, u64 handle)
{
    struct pending p = {.out = address, .a = bytes, .b = handle};
    begin(MAP, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_mapped, int rc)
{
    struct pending p;
    u64 bytes;
    if (!end(MAP, &p) || rc)
        return 0;
    struct place key = {.pid = bpf_get_current_pid_tgid() >> 32, .space = MAPPING, .address = p.out};
    struct held h = {.bytes = p.a, .handle = p.b};
    if (retain(key.pid, p.b, &bytes) && bpf_map_update_elem(&live, &key, &h, BPF_ANY))
        let_go(key.pid, p.b); // no room to remember the mapping: as if it were not there
    return 0;
}

SEC("uprobe") int BPF_KPROBE(on_unmap, u64 address, u64 bytes)
{
    struct pending p = {.out = address, .a = bytes};
    begin(UNMAP, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_unmapped, int rc)
{
    struct pending p;
    if (!end(UNMAP, &p) || rc)
        return 0;
    struct place key = {.pid = bpf_get_current_pid_tgid() >> 32, .space = MAPPING, .address = p.out};
    u64 until = p.out + p.a;
    for (int i = 0; i < UNMAP_MAX && key.address < until; i++) { // one call may cover many mappings
        struct held *h = bpf_map_lookup_elem(&live, &key);
        if (!h)
            break;
        struct held gone = *h;
        bpf_map_delete_elem(&live, &key);
        let_go(key.pid, gone.handle);
        key.address += gone.bytes;
    }
    return 0;
}

// Devices: which context a thread uses, and which device a context is on.

static __always_inline void begin_context(u64 out, s32 device)
{
    struct pending p = {.out = out, .device = device};
    begin(CONTEXT, &p);
}
SEC("uprobe") int BPF_KPROBE(on_context_create, u64 out, u32 flags, s32 device)
{
    begin_context(out, device);
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_context_create_v3, u64 out, u64 list, u32 n, u32 flags, s32 device)
{
    begin_context(out, device);
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_context_create_v4, u64 out, u64 parameters, u32 flags, s32 device)
{
    begin_context(out, device);
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_context_retain, u64 out, s32 device)
{
    begin_context(out, device);
    return 0;
}
static __always_inline int know_context(int rc, bool makes_current)
{
    struct pending p;
    u64 thread = bpf_get_current_pid_tgid();
    struct context key = {.pid = thread >> 32};
    if (!end(CONTEXT, &p) || rc)
        return 0;
    if (bpf_probe_read_user(&key.address, sizeof(key.address), (void *)p.out))
        return 0;
    bpf_map_update_elem(&contexts, &key, &p.device, BPF_ANY);
    if (makes_current)
        bpf_map_update_elem(&current_device, &thread, &p.device, BPF_ANY);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_context_created, int rc) { return know_context(rc, true); }
SEC("uretprobe") int BPF_KRETPROBE(on_context_retained, int rc) { return know_context(rc, false); }
SEC("uprobe") int BPF_KPROBE(on_context_current, u64 address)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct context key = {.pid = thread >> 32, .address = address};
    s32 *device = bpf_map_lookup_elem(&contexts, &key);
    if (device)
        bpf_map_update_elem(&current_device, &thread, device, BPF_ANY);
    else
        bpf_map_delete_elem(&current_device, &thread);
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_context_pop) // what lies below on the stack is not known here
{
    u64 thread = bpf_get_current_pid_tgid();
    bpf_map_delete_elem(&current_device, &thread);
    return 0;
}

// Launches and waits.

SEC("uprobe") int BPF_KPROBE(on_graph_launch)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct usage *u = usage_of(thread >> 32, device_now(thread));
    if (u)
        __sync_fetch_and_add(&u->graph_launches, 1);
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_kernel_launch)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct usage *u = usage_of(thread >> 32, device_now(thread));
    if (u)
        __sync_fetch_and_add(&u->kernel_launches, 1);
    return 0;
}

static __always_inline int begin_wait(u32 kind)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call key = {.thread = thread, .kind = kind};
    struct wait w = {.since_ns = bpf_ktime_get_ns(), .device = device_now(thread)};
    usage_of(thread >> 32, w.device);
    if (bpf_map_update_elem(&waits, &key, &w, BPF_ANY))
        add_total(LOST_CALLS);
    return 0;
}
static __always_inline int end_wait(u32 kind)
{
    struct call key = {.thread = bpf_get_current_pid_tgid(), .kind = kind};
    struct wait *w = bpf_map_lookup_elem(&waits, &key);
    if (!w)
        return 0;
    struct usage *u = usage_of(key.thread >> 32, w->device);
    if (u) {
        __sync_fetch_and_add(&u->waits, 1);
        __sync_fetch_and_add(&u->wait_ns, bpf_ktime_get_ns() - w->since_ns);
    }
    bpf_map_delete_elem(&waits, &key);
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_wait_stream) { return begin_wait(WAIT_STREAM); }
SEC("uretprobe") int BPF_KRETPROBE(on_waited_stream) { return end_wait(WAIT_STREAM); }
SEC("uprobe") int BPF_KPROBE(on_wait_event) { return begin_wait(WAIT_EVENT); }
SEC("uretprobe") int BPF_KRETPROBE(on_waited_event) { return end_wait(WAIT_EVENT); }
SEC("uprobe") int BPF_KPROBE(on_wait_context) { return begin_wait(WAIT_CONTEXT); }
SEC("uretprobe") int BPF_KRETPROBE(on_waited_context) { return end_wait(WAIT_CONTEXT); }

// NCCL: enqueued collectives by communicator. The rank whose count stops first is the suspect.

static __always_inline struct enqueues *communicator(u32 pid, u64 address)
{
    struct member key = {.pid = pid, .address = address};
    struct enqueues *e = bpf_map_lookup_elem(&communicators, &key);
    if (e)
        return e;
    struct enqueues none = {.rank = -1, .ranks = -1, .device = NO_DEVICE};
    bpf_map_update_elem(&communicators, &key, &none, BPF_NOEXIST);
    return bpf_map_lookup_elem(&communicators, &key);
}
static __always_inline int enqueue(u64 address)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct enqueues *e = communicator(thread >> 32, address);
    if (!e)
        return 0;
    __sync_fetch_and_add(&e->calls, 1);
    e->last_ns = bpf_ktime_get_ns();
    e->device = device_now(thread);
    return 0;
}
// ncclAllGather, ncclSend, ncclRecv, ncclAlltoAll: the communicator is the fifth argument.
SEC("uprobe") int on_enqueue_5(struct pt_regs *ctx) { return enqueue(PT_REGS_PARM5(ctx)); }
// ncclAllReduce, ncclReduceScatter, ncclBroadcast, ncclGather, ncclScatter: the sixth.
SEC("uprobe") int on_enqueue_6(struct pt_regs *ctx)
{
    return enqueue(ctx->r9);
}
// ncclReduce: the seventh, which x86-64 passes on the stack.
SEC("uprobe") int on_enqueue_7(struct pt_regs *ctx)
{
    u64 address = 0;
    bpf_probe_read_user(&address, sizeof(address), (void *)(PT_REGS_SP(ctx) + 8));
    return enqueue(address);
}
// ncclCommInitRank (out, ranks, identity of 128 bytes by value, rank); its first word is random and
// the same on all ranks.
SEC("uprobe") int on_init_rank(struct pt_regs *ctx)
{
    struct pending p = {.out = PT_REGS_PARM1(ctx), .a = PT_REGS_PARM2(ctx)};
    p.device = (s32)PT_REGS_PARM3(ctx); // the identity lies on the stack and takes no register
    bpf_probe_read_user(&p.b, sizeof(p.b), (void *)(PT_REGS_SP(ctx) + 8));
    begin(INIT_RANK, &p);
    return 0;
}
SEC("uretprobe") int BPF_KRETPROBE(on_inited_rank, int rc)
{
    struct pending p;
    u64 address = 0;
    if (!end(INIT_RANK, &p) || bpf_probe_read_user(&address, sizeof(address), (void *)p.out) || !address)
        return 0;
    struct enqueues *e = communicator(bpf_get_current_pid_tgid() >> 32, address);
    if (!e)
        return 0;
    e->identity = p.b;
    e->ranks = p.a;
    e->rank = p.device;
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_abort, u64 address)
{
    struct enqueues *e = communicator(bpf_get_current_pid_tgid() >> 32, address);
    if (e)
        __sync_fetch_and_add(&e->aborted, 1);
    return 0;
}
SEC("uprobe") int BPF_KPROBE(on_destroy, u64 address)
{
    struct member key = {.pid = bpf_get_current_pid_tgid() >> 32, .address = address};
    bpf_map_delete_elem(&communicators, &key);
    return 0;
}

// The kernel.

// A thread that names itself is not its process: who goes last may be any of them.
static __always_inline void name_process(struct record *r, struct task_struct *task)
{
    struct task_struct *leader = BPF_CORE_READ(task, group_leader);
    bpf_probe_read_kernel_str(r->name, sizeof(r->name), &leader->comm);
}

static __always_inline struct record *reserve(u32 kind)
{
    struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);
    if (!r) {
        add_total(LOST_RECORDS);
        return r;
    }
    r->at_ns = bpf_ktime_get_ns();
    r->kind = kind;
    r->pid = r->code = r->pad = 0;
    r->name[0] = r->text[0] = 0;
    return r;
}

SEC("tp_btf/mark_victim") int BPF_PROG(on_oom_task, struct task_struct *task) // since 6.8
{
    u32 pid = task->tgid; // a direct read: refused where the argument is a number
    struct record *r = reserve(OOM_VICTIM);
    if (!r)
        return 0;
    r->pid = pid;
    name_process(r, task);
    bpf_ringbuf_submit(r, 0);
    return 0;
}
SEC("raw_tp/mark_victim") int on_oom_pid(struct bpf_raw_tracepoint_args *ctx) // before
{
    u32 pid = ctx->args[0];
    struct record *r = reserve(OOM_VICTIM);
    if (!r)
        return 0;
    r->pid = pid;
    bpf_ringbuf_submit(r, 0);
    return 0;
}

SEC("raw_tp/tcp_retransmit_skb") int on_retransmit(void *ctx)
{
    add_total(RETRANSMITS);
    return 0;
}

SEC("raw_tp/sched_process_exit") int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (void *)ctx->args[0];
    u32 pid = BPF_CORE_READ(task, tgid);
    if (!bpf_map_lookup_elem(&tracked, &pid) || BPF_CORE_READ(task, signal, live.counter) > 0)
        return 0;
    struct record *r = reserve(PROCESS_EXIT);
    if (!r)
        return 0;
    int code = BPF_CORE_READ(task, signal, group_exit_code);
    r->pid = pid;
    r->code = code ? code : BPF_CORE_READ(task, exit_code);
    name_process(r, task);
    bpf_ringbuf_submit(r, 0);
    bpf_map_delete_elem(&tracked, &pid);
    return 0;
}

// Threads of GPU processes that sleep uninterruptibly: the driver or a disk keeps them.
SEC("raw_tp/sched_switch") int on_switch(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *prev = (void *)ctx->args[1], *next = (void *)ctx->args[2];
    u32 pid = BPF_CORE_READ(next, pid), zero = STALL_NS;
    struct blocked *since = bpf_map_lookup_elem(&blocked, &pid);
    if (since) {
        u64 ns = bpf_ktime_get_ns() - since->since_ns;
        u64 *least = bpf_map_lookup_elem(&limits, &zero);
        u32 owner = since->pid;
        bpf_map_delete_elem(&blocked, &pid);
        if (least && ns >= *least) {
            struct stall none = {}, *s = bpf_map_lookup_elem(&stalls, &owner);
            if (!s) {
                bpf_map_update_elem(&stalls, &owner, &none, BPF_NOEXIST);
                s = bpf_map_lookup_elem(&stalls, &owner);
            }
            if (s) {
                __sync_fetch_and_add(&s->count, 1);
                __sync_fetch_and_add(&s->total_ns, ns);
                if (ns > s->longest_ns)
                    s->longest_ns = ns;
            }
        }
    }
    u32 owner = BPF_CORE_READ(prev, tgid);
    if (!owner || !bpf_map_lookup_elem(&tracked, &owner))
        return 0;
    struct task_struct___old *old = (void *)prev;
    long state = bpf_core_field_exists(prev->__state) ? BPF_CORE_READ(prev, __state)
                                                      : BPF_CORE_READ(old, state);
    if (!(state & TASK_UNINTERRUPTIBLE) || (state & TASK_NOLOAD))
        return 0;
    struct blocked b = {.since_ns = bpf_ktime_get_ns(), .pid = owner};
    pid = BPF_CORE_READ(prev, pid);
    bpf_map_update_elem(&blocked, &pid, &b, BPF_ANY);
    return 0;
}

// The driver's own tracepoints (nvidia-smi needs none of this): address, number, message.
struct driver_report {
    u64 header;
    u32 device; // place and length of a text behind the record
    u32 code;
    u32 message;
};
static __always_inline int report(struct driver_report *ctx, u32 kind)
{
    struct record *r = reserve(kind);
    if (!r)
        return 0;
    r->code = ctx->code;
    bpf_probe_read_kernel_str(r->name, sizeof(r->name), (char *)ctx + (ctx->device & 0xffff));
    bpf_probe_read_kernel_str(r->text, sizeof(r->text), (char *)ctx + (ctx->message & 0xffff));
    bpf_ringbuf_submit(r, 0);
    return 0;
}
SEC("tp/nvidia/nvidia_dev_xid") int on_xid(struct driver_report *ctx) { return report(ctx, XID); }
SEC("tp/nvswitch/nvswitch_dev_sxid") int on_sxid(struct driver_report *ctx) { return report(ctx, SXID); }
