// Checks what a host passes, and turns it into Python objects. The caller holds the GIL where an object is made.
#pragma once

#include <cstring>
#include <string>

#include "interpreter.hpp"

namespace clipshelf::host {

constexpr std::size_t MAX_COUNT = CLIPSHELF_MAX_COUNT;
constexpr std::size_t MAX_BYTES = CLIPSHELF_MAX_BYTES;  // of a string, of any kind
constexpr std::size_t MAX_MILLISECONDS = 1'000'000'000;  // eleven days
constexpr std::size_t MAX_OPTIONS = 4096;  // bytes of an options struct of any version

inline std::string numbered(const char *name, std::size_t i) { return std::string(name) + "[" + std::to_string(i) + "]"; }

void check_limit(std::size_t value, std::size_t limit, const std::string &name);

// Check what a struct that begins with its copy size says of it; this library knows `known` bytes.
inline void check_size(std::size_t size, std::size_t known, const std::string &name) {
    require(size >= sizeof size && size <= MAX_OPTIONS && size % sizeof size == 0,
            name + ".size: expected " + std::to_string(known) + ", found " + std::to_string(size));
}

// Read a struct that begins with its copy size, from a host that may be older or newer than this library.
template <class T>
T versioned(const T *input, const std::string &name) {
    T copy{};
    const std::size_t size = input->size;
    check_size(size, sizeof(T), name);
    std::memcpy(&copy, input, size < sizeof(T) ? size : sizeof(T));
    for (std::size_t i = sizeof(T); i < size; ++i)
        require(!reinterpret_cast<const unsigned char *>(input)[i],
                name + ".size: expected " + std::to_string(sizeof(T)) + ", all that this version knows, found " +
                    std::to_string(size) + " with something set beyond");
    copy.size = sizeof(T);
    return copy;
}

// Element `i` of an array of such structs, which lie as far apart as the first of them says.
template <class T>
T element(const T *array, std::size_t i, const char *name) {
    check_size(array->size, sizeof(T), numbered(name, 0));
    const auto *input = reinterpret_cast<const T *>(reinterpret_cast<const unsigned char *>(array) + i * array->size);
    require(input->size == array->size, numbered(name, i) + ".size: expected " + std::to_string(array->size) +
                                            ", as in the first, found " + std::to_string(input->size));
    return versioned(input, numbered(name, i));
}

// UTF-8 of `size` bytes; Failure names it when it isn't.
py::str text(const char *data, std::size_t size, const std::string &name);
py::str text(const char *data, const std::string &name);

// The strings of an array; `lengths` may be NULL when they end with a NUL.
py::list texts(const char *const *data, const std::size_t *lengths, std::size_t count, const char *name);

// The bridge's `Picture`: a view of the host's memory, valid during the call, with layout, width, height and stride.
py::tuple picture(const clipshelf_image &image, const std::string &name);
py::list pictures(const clipshelf_image *images, std::size_t count);

// A view of `count` rows of `dim` floats in the host's memory, after a check that they fit.
py::memoryview rows(std::size_t count, std::size_t dim, float *out, std::size_t capacity);

}  // namespace clipshelf::host
