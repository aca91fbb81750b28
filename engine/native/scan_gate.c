#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "counter.h"
#include "scan_run.h"

/* All fields are read and written under the lock, which is held for a few instructions. */
struct Gate {
    Counter lock;
    Scan *scan;        /* that helpers may come into */
    int64_t inside;    /* helpers in it */
    int64_t waiting;   /* helpers that wait for a scan */
    int64_t announced; /* threads that were asked to help and have not come yet */
};

static void lock(Gate *gate) {
    while (counter_exchange(&gate->lock, 1)) {
        counter_pause();
    }
}

static void unlock(Gate *gate) { counter_exchange(&gate->lock, 0); }

Gate *clipshelf_gate_new(void) { return calloc(1, sizeof(Gate)); }

void clipshelf_gate_free(Gate *gate) { free(gate); }

int64_t clipshelf_gate_open(Gate *gate, Scan *scan, int64_t helpers) {
    int64_t missing = 0;
    lock(gate);
    if (!gate->scan && gate->inside == 0) {
        gate->scan = scan;
        missing = helpers - gate->waiting - gate->announced;
        missing = missing > 0 ? missing : 0;
        gate->announced += missing;
    }
    unlock(gate);
    return missing;
}

void gate_close(Gate *gate, const Scan *scan) {
    lock(gate);
    if (gate->scan == scan) {
        gate->scan = NULL;
        while (gate->inside > 0) { /* each has a few rows left */
            unlock(gate);
            counter_pause();
            lock(gate);
        }
    }
    unlock(gate);
}

static double microseconds_now(void) {
    struct timespec now = {0, 0};
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

void clipshelf_gate_help(Gate *gate, double microseconds) {
    double start = microseconds_now(), waited = 0;
    lock(gate);
    gate->announced -= gate->announced > 0;
    gate->waiting++;
    /* a clock that is set back ends the wait too */
    while (gate->scan || (waited >= 0 && waited < microseconds)) {
        Scan *scan = gate->scan;
        if (scan && scan_has_rows(scan)) {
            gate->inside++;
            gate->waiting--;
            unlock(gate);
            scan_share(scan);
            start = microseconds_now();
            lock(gate);
            gate->waiting++;
            gate->inside--;
        }
        unlock(gate);
        counter_pause();
        waited = microseconds_now() - start;
        lock(gate);
    }
    gate->waiting--;
    unlock(gate);
}
