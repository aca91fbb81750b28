// What the host hands over, checked, as Python objects. The GIL is held where one is made.
#pragma once

#include <cstring>
#include <string>

#include "interpreter.hpp"

namespace clipshelf::host {

constexpr std::size_t MAX_COUNT = CLIPSHELF_MAX_COUNT;
constexpr std::size_t MAX_BYTES = CLIPSHELF_MAX_BYTES;
constexpr std::size_t MAX_OPTIONS = 4096;  // bytes of an options struct of any version

inline std::string numbered(const char *name, std::size_t i) { return std::string(name) + "[" + std::to_string(i) + "]"; }

void check_limit(std::size_t found, std::size_t limit, const std::string &name);

// Read a struct that begins with its own size, from a host that may be older or newer than this library.
template <class T>
T versioned(const T *given, const char *name) {
    T own{};
    const std::size_t size = given->size;
    require(size >= sizeof size && size <= MAX_OPTIONS && size % sizeof size == 0,
            std::string(name) + ".size: expected " + std::to_string(sizeof(T)) + ", found " + std::to_string(size));
    std::memcpy(&own, given, size < sizeof(T) ? size : sizeof(T));
    for (std::size_t i = sizeof(T); i < size; ++i)
        require(!reinterpret_cast<const unsigned char *>(given)[i],
                std::string(name) + ".size: expected " + std::to_string(sizeof(T)) + ", all that this version knows, found " +
                    std::to_string(size) + " with something set beyond");
    own.size = sizeof(T);
    return own;
}

// UTF-8 of `size` bytes; Failure names it when it isn't.
py::str text(const char *data, std::size_t size, const std::string &name);
py::str text(const char *data, const std::string &name);

// Strings of an array; `lengths` may be NULL.
py::list texts(const char *const *data, const std::size_t *lengths, std::size_t count, const char *name);

// What the bridge calls a Picture. A raw one is a view of the host's memory, for the time of the call.
py::tuple picture(const clipshelf_image &image, const std::string &name);

// Check that `count` rows of `dim` floats fit, and give them as a view.
py::memoryview rows(std::size_t count, std::size_t dim, float *out, std::size_t capacity);

}  // namespace clipshelf::host
