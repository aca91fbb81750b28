// The Python interpreter: that of the process where it has one, else one that is started here.
#pragma once

#include <pybind11/embed.h>

#include <chrono>
#include <memory>
#include <string>

#include "errors.hpp"

namespace clipshelf::host {

namespace py = pybind11;

// Starts an interpreter if there is none, and loads `clipshelf.host.bridge`. `venv` is the host's option, or NULL. Throws
// Failure NO_RUNTIME, and INVALID_ARGUMENT for another venv than the one that runs.
void start(const char *venv);

// Whether the interpreter can be called. `require_running` throws Failure NO_RUNTIME where it cannot.
bool running();
void require_running();

// Counts a call of the interpreter from its start to its end. The end of the process waits for the calls in flight, and
// then lets no other start: what they use is about to be destroyed. Throws Failure NO_RUNTIME.
class Call {
public:
    Call();
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;
    ~Call();
};

// Throws Failure INVALID_ARGUMENT where the calling thread has less stack than a call may need.
void require_stack();

// Have the interpreter know this thread from now on. To make its record anew for each call takes longer than all else
// that a call costs, and unmaps memory, for which every thread of the process is interrupted.
void keep_thread();

// A function of the bridge. The caller holds the GIL.
py::object bridge(const char *function);

// The status and message of a Python exception. The caller holds the GIL.
Failure translate(py::error_already_set &error);

// Lets the options of the calling thread end what it runs while the object lives. The caller holds the GIL.
class Obedience {
public:
    // `start` is when the call began: it may have waited for the GIL.
    explicit Obedience(std::chrono::steady_clock::time_point start);
    Obedience(const Obedience &) = delete;
    Obedience &operator=(const Obedience &) = delete;
    ~Obedience();

private:
    std::shared_ptr<const void> token_;  // its byte is read during the call
    py::object block_;
};

// Runs `body` with the GIL. Exceptions of Python become a Failure.
template <class Body>
void with_python(Body &&body) {
    const auto start = std::chrono::steady_clock::now();
    const Call call;
    require_running();
    require_stack();
    keep_thread();
    const py::gil_scoped_acquire gil;
    try {
        const Obedience obedience(start);
        body();
    } catch (py::error_already_set &error) {
        throw translate(error);
    }
}

// A Python object that any thread may destroy, with or without the GIL.
class __attribute__((visibility("hidden"))) PythonObject {
public:
    explicit PythonObject(py::object object) : object_(std::move(object)) {}
    PythonObject(const PythonObject &) = delete;
    PythonObject &operator=(const PythonObject &) = delete;
    ~PythonObject();

    const py::object &get() const { return object_; }

private:
    py::object object_;
};

}  // namespace clipshelf::host
