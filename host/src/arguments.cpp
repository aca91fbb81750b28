#include "arguments.hpp"

namespace clipshelf::host {

namespace {

std::size_t pixel_bytes(clipshelf_format format, const std::string &name) {
    switch (format) {
        case CLIPSHELF_RGB:
        case CLIPSHELF_BGR:
            return 3;
        case CLIPSHELF_RGBA:
        case CLIPSHELF_BGRA:
            return 4;
        case CLIPSHELF_GRAY:
            return 1;
        default:
            throw Failure{CLIPSHELF_INVALID_ARGUMENT, name + ".format: expected a clipshelf_format, found " +
                                                          std::to_string(static_cast<int>(format))};
    }
}

// The stride of a raw picture, after a check that its memory holds all of its rows.
std::size_t checked_stride(const clipshelf_image &image, const std::string &name) {
    const std::size_t pixel = pixel_bytes(image.format, name), limit = CLIPSHELF_MAX_PIXELS;
    require(image.width && image.height && image.width <= limit && image.height <= limit / image.width,
            name + ": expected 1 to " + std::to_string(limit) + " pixels, found " + std::to_string(image.width) + " x " +
                std::to_string(image.height));
    const std::size_t row = image.width * pixel, stride = image.stride ? image.stride : row;
    require(stride >= row && stride <= MAX_BYTES, name + ".stride: expected at least the " + std::to_string(row) +
                                                      " bytes of a row, found " + std::to_string(image.stride));
    const std::size_t gaps = image.height - 1;
    require(image.bytes >= row && (!gaps || (image.bytes - row) / gaps >= stride),
            name + ".bytes: expected " + std::to_string(image.height) + " rows of " + std::to_string(stride) +
                " bytes, found " + std::to_string(image.bytes) + " bytes");
    return stride;
}

}  // namespace

void check_limit(std::size_t value, std::size_t limit, const std::string &name) {
    require(value <= limit, name + ": expected at most " + std::to_string(limit) + ", found " + std::to_string(value));
}

py::str text(const char *data, std::size_t size, const std::string &name) {
    require(data || !size, name + ": expected a string, found NULL");
    check_limit(size, MAX_BYTES, name + ": bytes");
    PyObject *string = PyUnicode_DecodeUTF8(data ? data : "", static_cast<Py_ssize_t>(size), "strict");
    if (string) return py::reinterpret_steal<py::str>(string);
    py::error_already_set error;
    if (!error.matches(PyExc_UnicodeDecodeError)) throw error;
    throw Failure{CLIPSHELF_INVALID_ARGUMENT, name + ": expected UTF-8, found: " + translate(error).message};
}

py::str text(const char *data, const std::string &name) {
    require(data, name + ": expected a string, found NULL");
    return text(data, std::strlen(data), name);
}

py::list texts(const char *const *data, const std::size_t *lengths, std::size_t count, const char *name) {
    check_limit(count, MAX_COUNT, std::string(name) + ": count");
    require(data || !count, std::string(name) + ": expected an array of strings, found NULL");
    py::list list(count);
    for (std::size_t i = 0; i < count; ++i)
        list[i] = lengths ? text(data[i], lengths[i], numbered(name, i)) : text(data[i], numbered(name, i));
    return list;
}

py::tuple picture(const clipshelf_image &image, const std::string &name) {
    require(image.data, name + ".data: expected bytes, found NULL");
    std::size_t stride = 0, size = image.bytes;
    if (image.format == CLIPSHELF_ENCODED) {
        check_limit(size, MAX_BYTES, name + ".bytes");
    } else {
        stride = checked_stride(image, name);
        // The view ends with the picture, even where the memory goes on.
        size = (image.height - 1) * stride + image.width * pixel_bytes(image.format, name);
    }
    return py::make_tuple(py::memoryview::from_memory(image.data, static_cast<py::ssize_t>(size)),
                          static_cast<int>(image.format), image.width, image.height, stride);
}

py::list pictures(const clipshelf_image *images, std::size_t count) {
    check_limit(count, MAX_COUNT, "images: count");
    require(images || !count, "images: expected an array of pictures, found NULL");
    py::list list(count);
    for (std::size_t i = 0; i < count; ++i) list[i] = picture(element(images, i, "images"), numbered("images", i));
    return list;
}

py::memoryview rows(std::size_t count, std::size_t dim, float *out, std::size_t capacity) {
    check_limit(count, MAX_COUNT, "count");
    const std::size_t floats = count * dim;  // cannot overflow: dim is at most 65536
    require(out || !count, "out: expected room for " + std::to_string(floats) + " floats, found NULL");
    require(capacity >= floats, "capacity: expected at least " + std::to_string(count) + " rows of " +
                                    std::to_string(dim) + " floats, found " + std::to_string(capacity) + " floats");
    return py::memoryview::from_memory(static_cast<void *>(out), static_cast<py::ssize_t>(floats * sizeof(float)));
}

}  // namespace clipshelf::host
