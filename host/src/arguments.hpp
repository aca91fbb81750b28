// Checks what a host passes, and turns it into Python objects. The caller holds the GIL where an object is made.
#pragma once

#include <cstring>
#include <string>

#include "interpreter.hpp"

namespace clipshelf::host {

constexpr std::size_t MAX_COUNT = CLIPSHELF_MAX_COUNT;
constexpr std::size_t MAX_BYTES = CLIPSHELF_MAX_BYTES;
constexpr std::size_t MAX_OPTIONS = 4096;  // bytes of an options struct of any version

inline std::string numbered(const char *name, std::size_t i) { return std::string(name) + "[" + std::to_string(i) + "]"; }

void check_limit(std::size_t value, std::size_t limit, const std::string &name);

// Copies a struct that begins with its own size, from a host that may be older or newer than this library.
template <class T>
T versioned(const T *input, const char *name) {
    T copy{};
    const std::size_t size = input->size;
    require(size >= sizeof size && size <= MAX_OPTIONS && size % sizeof size == 0,
            std::string(name) + ".size: expected " + std::to_string(sizeof(T)) + ", found " + std::to_string(size));
    std::memcpy(&copy, input, size < sizeof(T) ? size : sizeof(T));
    for (std::size_t i = sizeof(T); i < size; ++i)
        require(!reinterpret_cast<const unsigned char *>(input)[i],
                std::string(name) + ".size: expected " + std::to_string(sizeof(T)) + ", all that this version knows, found " +
                    std::to_string(size) + " with something set beyond");
    copy.size = sizeof(T);
    return copy;
}

// A string from `size` bytes of UTF-8; throws a Failure that names the argument when the bytes are no UTF-8.
py::str text(const char *data, std::size_t size, const std::string &name);
py::str text(const char *data, const std::string &name);

// The strings of an array; `lengths` may be NULL when they end with a NUL.
py::list texts(const char *const *data, const std::size_t *lengths, std::size_t count, const char *name);

// The bridge's `Picture`: a view of the host's memory, valid during the call, with layout, width, height and stride.
py::tuple picture(const clipshelf_image &image, const std::string &name);

// A view of `count` rows of `dim` floats in the host's memory, after a check that they fit.
py::memoryview rows(std::size_t count, std::size_t dim, float *out, std::size_t capacity);

}  // namespace clipshelf::host
