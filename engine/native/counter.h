/* A number that threads share. C11 has atomics, but not every compiler of Windows. */
#ifndef CLIPSHELF_COUNTER_H
#define CLIPSHELF_COUNTER_H

#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
typedef volatile long long Counter;
static inline int64_t counter_next(Counter *counter) { return _InterlockedExchangeAdd64(counter, 1); }
static inline int64_t counter_read(Counter *counter) { return _InterlockedExchangeAdd64(counter, 0); }
static inline int64_t counter_exchange(Counter *counter, int64_t value) {
    return _InterlockedExchange64(counter, value);
}
#else
typedef int64_t Counter;
static inline int64_t counter_next(Counter *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL); }
static inline int64_t counter_read(Counter *counter) { return __atomic_load_n(counter, __ATOMIC_ACQUIRE); }
static inline int64_t counter_exchange(Counter *counter, int64_t value) {
    return __atomic_exchange_n(counter, value, __ATOMIC_ACQ_REL);
}
#endif

/* What a thread does while it waits awake for another. */
static inline void counter_pause(void) {
#if defined(_MSC_VER) && defined(_M_ARM64)
    __yield();
#elif defined(_MSC_VER)
    _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

#endif
