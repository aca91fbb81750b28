// The Python interpreter: the process's own where it has one, else one that is started here.
#pragma once

#include <pybind11/embed.h>

#include <string>

#include "errors.hpp"

namespace clipshelf::host {

namespace py = pybind11;

// Have an interpreter with `clipshelf.host.bridge`. `venv` is the host's option, or NULL. Throws Failure NO_RUNTIME, and
// INVALID_ARGUMENT for another venv than the one that was started.
void start(const char *venv);

// Whether the interpreter is there to be called; `require_running` throws Failure NO_RUNTIME where it is not.
bool running();
void require_running();

// Have the interpreter know this thread from now on. To make its record anew for each call takes longer than all else
// that a call costs, and unmaps memory, for which every thread of the process is interrupted.
void keep_thread();

// A function of the bridge; the GIL is held.
py::object bridge(const char *function);

// What a Python exception means; the GIL is held.
Failure translate(py::error_already_set &error);

// Run `body` with the GIL; it may throw Failure or Python's exceptions, which become one.
template <class Body>
void with_python(Body &&body) {
    require_running();
    keep_thread();
    const py::gil_scoped_acquire gil;
    try {
        body();
    } catch (py::error_already_set &error) {
        throw translate(error);
    }
}

// A Python object that may be let go of anywhere.
class __attribute__((visibility("hidden"))) Held {
public:
    explicit Held(py::object object) : object_(std::move(object)) {}
    Held(const Held &) = delete;
    Held &operator=(const Held &) = delete;
    ~Held();

    const py::object &get() const { return object_; }

private:
    py::object object_;
};

}  // namespace clipshelf::host
