/* A driver library for the tests: the functions of libnvidia-ml.so.1 that the agent calls, with a state that setters
 * change. Written from the public interface (nvml.h); nothing of it is NVIDIA's.
 *
 * The state is a file of 4096-byte pages, one per device, that is mapped and shared (QUORATE_NVML_STATE): a test
 * writes it, setters write it, every process sees the same. Layout: struct device below; numbers are little-endian.
 * `delay_ms` makes every call on a device sleep, which is how a driver hangs.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, SMALL = 7,
       TIMED_OUT = 10, LOST = 15 };
enum { PAGE = 4096, PROCESSES = 64 };

struct process { uint32_t pid; uint32_t pad; uint64_t used; };
struct device {
    char uuid[96];
    char name[96];
    uint64_t total, used, reserved;
    uint32_t utilization, sm_util_bp, gpm, mig;
    uint32_t lost, delay_ms, may_set, celsius;
    uint64_t reasons, ecc;
    uint32_t remap_pending, remap_failed, recovery, xid_count;
    uint32_t xids[16];
    uint32_t watts_mw, default_watts_mw, clock, max_clock, compute_mode, list_error;
    uint32_t process_count, pad;
    struct process processes[PROCESSES];
};
_Static_assert(sizeof(struct device) <= PAGE, "a device has one page");

static char *state;
static int count, initialised;

static struct device *at(int index) { return (struct device *)(state + (size_t)index * PAGE); }

static void rest(unsigned ms) {
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}

/* What every call on a device does first. */
static int enter(struct device *d) {
    if (!initialised) return UNINITIALIZED;
    if (!d) return INVALID;
    while (d->delay_ms) rest(d->delay_ms < 20 ? d->delay_ms : 20);
    return d->lost ? LOST : OK;
}
#define ENTER(d) do { int failed_ = enter(d); if (failed_) return failed_; } while (0)

EXPORT int nvmlInit_v2(void) {
    const char *path = getenv("QUORATE_NVML_STATE");
    struct stat found;
    if (initialised) return OK;
    if (!path) return 9;
    int fd = open(path, O_RDWR);
    if (fd < 0) return 9;
    if (fstat(fd, &found) || found.st_size < PAGE) { close(fd); return 9; }
    state = mmap(NULL, (size_t)found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (state == MAP_FAILED) return 9;
    count = (int)(found.st_size / PAGE);
    initialised = 1;
    return OK;
}
EXPORT int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
EXPORT int nvmlShutdown(void) { initialised = 0; return OK; }
EXPORT const char *nvmlErrorString(int code) { static char text[32]; snprintf(text, 32, "error %d", code); return text; }

EXPORT int nvmlDeviceGetCount_v2(unsigned *n) { if (!initialised) return UNINITIALIZED; *n = (unsigned)count; return OK; }
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned i, struct device **d) {
    if (!initialised) return UNINITIALIZED;
    if ((int)i >= count) return INVALID;
    if (at((int)i)->lost == 2) return LOST; /* fell off the bus */
    *d = at((int)i);
    return OK;
}
static int text(const char *from, char *to, unsigned size) {
    if (strlen(from) + 1 > size) return SMALL;
    strcpy(to, from);
    return OK;
}
EXPORT int nvmlDeviceGetUUID(struct device *d, char *to, unsigned size) { return initialised ? text(d->uuid, to, size) : UNINITIALIZED; }
EXPORT int nvmlDeviceGetName(struct device *d, char *to, unsigned size) { return initialised ? text(d->name, to, size) : UNINITIALIZED; }

struct memory { uint64_t total, free, used; };
struct memory2 { unsigned version; uint64_t total, reserved, free, used; };
EXPORT int nvmlDeviceGetMemoryInfo(struct device *d, struct memory *m) {
    if (!initialised) return UNINITIALIZED;
    m->total = d->total; m->used = d->used + d->reserved; m->free = d->total - m->used;
    return enter(d);
}
EXPORT int nvmlDeviceGetMemoryInfo_v2(struct device *d, struct memory2 *m) {
    ENTER(d);
    if (m->version != 0x02000028) return 25;
    m->total = d->total; m->reserved = d->reserved; m->used = d->used; m->free = d->total - d->used - d->reserved;
    return OK;
}

struct process_info { unsigned pid; uint64_t used; unsigned gi, ci; };
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(struct device *d, unsigned *n, struct process_info *to) {
    ENTER(d);
    if (d->list_error) return (int)d->list_error;
    unsigned have = d->process_count, room = *n;
    *n = have;
    if (have > room) return SMALL;
    for (unsigned i = 0; i < have; i++)
        to[i] = (struct process_info){d->processes[i].pid, d->processes[i].used, ~0u, ~0u};
    return OK;
}
EXPORT int nvmlDeviceGetMPSComputeRunningProcesses_v3(struct device *d, unsigned *n, struct process_info *to) {
    (void)to; ENTER(d); *n = 0; return OK;
}

struct rates { unsigned gpu, memory; };
EXPORT int nvmlDeviceGetUtilizationRates(struct device *d, struct rates *r) {
    ENTER(d);
    if (d->mig) return UNSUPPORTED;
    r->gpu = d->utilization; r->memory = 0;
    return OK;
}
EXPORT int nvmlDeviceGetMigMode(struct device *d, unsigned *now, unsigned *next) { ENTER(d); *now = *next = d->mig; return OK; }

/* GPM: a sample is the moment's value. */
struct gpm_support { unsigned version, supported; };
struct gpm_metric { unsigned id; int result; double value; char *info[3]; };
struct gpm_get { unsigned version, n; double *one, *other; struct gpm_metric metrics[477]; };
EXPORT int nvmlGpmQueryDeviceSupport(struct device *d, struct gpm_support *s) { ENTER(d); s->supported = d->gpm; return OK; }
EXPORT int nvmlGpmSampleAlloc(double **s) { *s = calloc(1, sizeof(double)); return OK; }
EXPORT int nvmlGpmSampleFree(double *s) { free(s); return OK; }
EXPORT int nvmlGpmSampleGet(struct device *d, double *s) { ENTER(d); *s = d->sm_util_bp / 100.0; return OK; }
EXPORT int nvmlGpmMetricsGet(struct gpm_get *g) {
    for (unsigned i = 0; i < g->n; i++) {
        g->metrics[i].result = g->metrics[i].id == 2 ? OK : UNSUPPORTED;
        g->metrics[i].value = *g->other;
    }
    return OK;
}

EXPORT int nvmlDeviceGetTemperature(struct device *d, int sensor, unsigned *t) { (void)sensor; ENTER(d); *t = d->celsius; return OK; }
EXPORT int nvmlDeviceGetCurrentClocksEventReasons(struct device *d, unsigned long long *r) { ENTER(d); *r = d->reasons; return OK; }
EXPORT int nvmlDeviceGetTotalEccErrors(struct device *d, int type, int counter, unsigned long long *n) {
    ENTER(d);
    if (type != 1 || counter != 0) return UNSUPPORTED;
    *n = d->ecc;
    return OK;
}
EXPORT int nvmlDeviceGetRemappedRows(struct device *d, unsigned *corr, unsigned *unc, unsigned *pending, unsigned *failed) {
    ENTER(d);
    *corr = *unc = 0; *pending = d->remap_pending; *failed = d->remap_failed;
    return OK;
}
struct field { uint32_t id, scope; int64_t stamp, latency; int type, result; union { double d; unsigned u; uint64_t l; } value; };
EXPORT int nvmlDeviceGetFieldValues(struct device *d, int n, struct field *f) {
    ENTER(d);
    for (int i = 0; i < n; i++) {
        f[i].result = f[i].id == 230 ? OK : UNSUPPORTED;
        f[i].value.u = d->recovery;
    }
    return OK;
}

/* Setters: only where the state says that the caller may, and what they set is what the getters say. */
EXPORT int nvmlDeviceGetPowerManagementLimit(struct device *d, unsigned *mw) { ENTER(d); *mw = d->watts_mw; return OK; }
EXPORT int nvmlDeviceGetPowerManagementDefaultLimit(struct device *d, unsigned *mw) { ENTER(d); *mw = d->default_watts_mw; return OK; }
EXPORT int nvmlDeviceSetPowerManagementLimit(struct device *d, unsigned mw) {
    ENTER(d);
    if (!d->may_set) return NO_PERMISSION;
    if (mw > d->default_watts_mw || mw < 100000) return INVALID;
    d->watts_mw = mw;
    return OK;
}
EXPORT int nvmlDeviceGetMaxClockInfo(struct device *d, int type, unsigned *mhz) { (void)type; ENTER(d); *mhz = d->max_clock; return OK; }
EXPORT int nvmlDeviceSetGpuLockedClocks(struct device *d, unsigned low, unsigned high) {
    (void)low; ENTER(d);
    if (!d->may_set) return NO_PERMISSION;
    d->clock = high;
    return OK;
}
EXPORT int nvmlDeviceResetGpuLockedClocks(struct device *d) { ENTER(d); if (!d->may_set) return NO_PERMISSION; d->clock = 0; return OK; }
EXPORT int nvmlDeviceGetComputeMode(struct device *d, unsigned *mode) { ENTER(d); *mode = d->compute_mode; return OK; }
EXPORT int nvmlDeviceSetComputeMode(struct device *d, unsigned mode) {
    ENTER(d);
    if (!d->may_set) return NO_PERMISSION;
    d->compute_mode = mode;
    return OK;
}

/* Events: an event set belongs to one device here; XIDs before the registration are not told. */
struct events { struct device *d; uint32_t told; };
struct event { struct device *d; unsigned long long type, data; unsigned gi, ci; };
EXPORT int nvmlDeviceGetSupportedEventTypes(struct device *d, unsigned long long *mask) { ENTER(d); *mask = 8; return OK; }
EXPORT int nvmlEventSetCreate(struct events **set) { *set = calloc(1, sizeof(**set)); return OK; }
EXPORT int nvmlDeviceRegisterEvents(struct device *d, unsigned long long mask, struct events *set) {
    ENTER(d);
    if (mask & ~8ull) return UNSUPPORTED;
    set->d = d; set->told = d->xid_count;
    return OK;
}
EXPORT int nvmlEventSetWait_v2(struct events *set, struct event *found, unsigned ms) {
    for (unsigned waited = 0;; waited += 10) {
        if (!initialised) return UNINITIALIZED;
        if (set->told < set->d->xid_count) {
            *found = (struct event){set->d, 8, set->d->xids[set->told++ % 16], ~0u, ~0u};
            return OK;
        }
        if (waited >= ms) return TIMED_OUT;
        rest(10);
    }
}
EXPORT int nvmlEventSetFree(struct events *set) { free(set); return OK; }
