#include "errors.hpp"

#include <cstring>

namespace clipshelf::host {

namespace {

// An array, not a string: it lives until its thread ends, and allocates nothing.
thread_local char last_error[1024];

}  // namespace

clipshelf_status fail(clipshelf_status status, const char *message) noexcept {
    std::size_t size = std::strlen(message);
    if (size >= sizeof last_error) {
        size = sizeof last_error - 1;
        while (size > 0 && (message[size] & 0xC0) == 0x80) --size;  // not inside a character
    }
    std::memcpy(last_error, message, size);
    last_error[size] = '\0';
    return status;
}

}  // namespace clipshelf::host

const char *clipshelf_version(void) { return CLIPSHELF_VERSION; }

const char *clipshelf_last_error(void) { return clipshelf::host::last_error; }

const char *clipshelf_status_name(clipshelf_status status) {
    switch (status) {
#define CLIPSHELF_NAME(name) \
    case name:               \
        return #name
        CLIPSHELF_NAME(CLIPSHELF_OK);
        CLIPSHELF_NAME(CLIPSHELF_INVALID_ARGUMENT);
        CLIPSHELF_NAME(CLIPSHELF_CLOSED_HANDLE);
        CLIPSHELF_NAME(CLIPSHELF_BAD_IMAGE);
        CLIPSHELF_NAME(CLIPSHELF_UNKNOWN_ID);
        CLIPSHELF_NAME(CLIPSHELF_BAD_ARTIFACT);
        CLIPSHELF_NAME(CLIPSHELF_BAD_CATALOGUE);
        CLIPSHELF_NAME(CLIPSHELF_MODEL_MISMATCH);
        CLIPSHELF_NAME(CLIPSHELF_NO_PROVIDER);
        CLIPSHELF_NAME(CLIPSHELF_NO_RUNTIME);
        CLIPSHELF_NAME(CLIPSHELF_OUT_OF_MEMORY);
        CLIPSHELF_NAME(CLIPSHELF_SYSTEM);
        CLIPSHELF_NAME(CLIPSHELF_INTERNAL);
        CLIPSHELF_NAME(CLIPSHELF_CANCELLED);
        CLIPSHELF_NAME(CLIPSHELF_TIMED_OUT);
#undef CLIPSHELF_NAME
    }
    return "unknown status";
}
