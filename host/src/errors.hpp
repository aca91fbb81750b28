// Failures, and how they become a status and a message.
#pragma once

#include <exception>
#include <new>
#include <string>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

#include "clipshelf.h"

namespace clipshelf::host {

struct Failure {
    clipshelf_status status;
    std::string message;
};

// Stores `message` as this thread's last error, and returns the status.
clipshelf_status fail(clipshelf_status status, const char *message) noexcept;

// Runs the body of a function of the interface. No exception leaves it.
template <class Body>
clipshelf_status guarded(Body &&body) {
    try {
        body();
        return CLIPSHELF_OK;
    } catch (const Failure &failure) {
        return fail(failure.status, failure.message.c_str());
    } catch (const std::bad_alloc &) {
        return fail(CLIPSHELF_OUT_OF_MEMORY, "expected more memory, found none");
    } catch (const std::exception &error) {
        return fail(CLIPSHELF_INTERNAL, error.what());
#ifdef __GLIBCXX__
    } catch (abi::__forced_unwind &) {
        throw;  // An interpreter that shuts down ends threads that wait for it this way; to catch it would abort.
#endif
    } catch (...) {
        return fail(CLIPSHELF_INTERNAL, "expected a standard exception, found another");
    }
}

inline void require(bool holds, const std::string &message) {
    if (!holds) throw Failure{CLIPSHELF_INVALID_ARGUMENT, message};
}

// Checks the pointer of an out parameter, and clears what it points to.
template <class T>
void clear(T *out, const char *name) {
    require(out, std::string(name) + ": expected a pointer, found NULL");
    *out = T{};
}

}  // namespace clipshelf::host
