#include "interpreter.hpp"

#include "calls.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>

#ifndef _WIN32
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace clipshelf::host {

namespace fs = std::filesystem;

namespace {

constexpr int INTERFACE = 3;
const std::string PYTHON = std::to_string(PY_MAJOR_VERSION) + "." + std::to_string(PY_MINOR_VERSION);

std::mutex starting;
fs::path running_venv;  // of the interpreter that was started here
bool started_here = false;
std::atomic<PyObject *> bridge_module{nullptr};  // never released: threads may call it until the process ends
std::atomic<bool> forked{false};  // a child has none of the parent's threads, and could wait for their locks for ever

Failure no_runtime(const std::string &message) { return {CLIPSHELF_NO_RUNTIME, message}; }

// A program that runs with more rights than its caller must not take code from where the caller says.
const char *variable_of_trust(const char *name) {
#ifdef __GLIBC__
    return secure_getenv(name);
#else
    return std::getenv(name);
#endif
}

#ifdef _WIN32
fs::path python_of(const fs::path &venv) { return venv / "Scripts" / "python.exe"; }
fs::path packages_of(const fs::path &venv) { return venv / "Lib" / "site-packages"; }
void share_symbols() {}
void *symbol(const char *) { return nullptr; }
void watch_forks() {}
fs::path folder_of_library() { return "."; }
#else
fs::path python_of(const fs::path &venv) { return venv / "bin" / "python3"; }
fs::path packages_of(const fs::path &venv) { return venv / "lib" / ("python" + PYTHON) / "site-packages"; }

// Extension modules expect Python's symbols in the global scope, where they are not when the host opened this library
// with dlopen and RTLD_LOCAL.
void share_symbols() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<void *>(&Py_IsInitialized), &info) && info.dli_fname)
        dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

fs::path folder_of_library() {
    Dl_info info{};
    std::error_code ignored;
    if (!dladdr(reinterpret_cast<void *>(&folder_of_library), &info) || !info.dli_fname) return ".";
    return fs::absolute(fs::u8path(info.dli_fname), ignored).parent_path();
}

void *symbol(const char *name) { return dlsym(RTLD_DEFAULT, name); }

void watch_forks() { pthread_atfork(nullptr, nullptr, [] { forked = true; }); }
#endif

// A path that may start with $ORIGIN, the folder of this library.
fs::path expanded(const std::string &path) {
    const std::string origin = "$ORIGIN";
    if (path.rfind(origin, 0) != 0) return fs::u8path(path);
    return (folder_of_library() / fs::u8path(path.substr(origin.size() + 1))).lexically_normal();
}

fs::path chosen_venv(const char *option) {
    if (option) return expanded(option);
    const char *variable = variable_of_trust("CLIPSHELF_VENV");
    return expanded(variable && *variable ? variable : CLIPSHELF_BUILT_WITH);
}

// Hides allocations from a leak checker: what modules keep for the life of the process is no leak.
class Unwatched {
public:
    Unwatched() { call("__lsan_disable"); }
    Unwatched(const Unwatched &) = delete;
    Unwatched &operator=(const Unwatched &) = delete;
    ~Unwatched() { call("__lsan_enable"); }

private:
    static void call(const char *name) {
        if (void *function = symbol(name)) reinterpret_cast<void (*)()>(function)();
    }
};

// Checks a venv before the interpreter starts, because it can start only once in a process.
void check_venv(const fs::path &venv) {
    const std::string expected =
        "venv: expected the folder of a Python " + PYTHON + " environment (option venv or variable CLIPSHELF_VENV), found ";
    std::error_code ignored;
    if (venv.empty()) throw no_runtime(expected + "none");
    if (!fs::exists(python_of(venv), ignored)) throw no_runtime(expected + venv.u8string() + " without bin/python3");
    std::ifstream config(venv / "pyvenv.cfg");
    for (std::string line; std::getline(config, line);) {
        if (line.rfind("version", 0) != 0) continue;
        const auto start = line.find_first_of("0123456789");
        const std::string version = start == std::string::npos ? "" : line.substr(start);
        if (version != PYTHON && version.rfind(PYTHON + ".", 0) != 0)
            throw no_runtime(expected + venv.u8string() + " of Python " + version);
    }
}

void check(const PyStatus &status) {
    if (PyStatus_Exception(status))
        throw no_runtime(std::string("expected an interpreter to start, found: ") +
                         (status.err_msg ? status.err_msg : "no reason"));
}

// Starts an interpreter as the venv's python would, isolated from the host's environment and signals.
void start_interpreter(const fs::path &venv) {
    check_venv(venv);
    share_symbols();
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;  // paths are UTF-8 whatever the host's locale
    // leak checkers cannot follow pointers through Python's object pools, and would take all that is there for lost
    const char *allocator = variable_of_trust("PYTHONMALLOC");
    if (symbol("__lsan_do_leak_check") || (allocator && std::string(allocator) == "malloc"))
        preconfig.allocator = PYMEM_ALLOCATOR_MALLOC;
    check(Py_PreInitialize(&preconfig));
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    const std::string python = fs::absolute(python_of(venv)).u8string();
    PyStatus status = PyConfig_SetBytesString(&config, &config.executable, python.c_str());
    // Standard error belongs to the host; failures are reported by a status.
    if (!PyStatus_Exception(status)) status = PyWideStringList_Append(&config.warnoptions, L"ignore");
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(&config, &config.program_name, python.c_str());
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    check(status);
    running_venv = venv;
    started_here = true;
    watch_forks();
    PyEval_SaveThread();  // from now on every call takes and releases the GIL
}

// The bridge, from the packages of the interpreter, else from those of the venv.
py::module_ import_bridge(const fs::path &venv) {
    try {
        return py::module_::import("clipshelf.host.bridge");
    } catch (py::error_already_set &error) {
        if (!error.matches(PyExc_ModuleNotFoundError) || venv.empty()) throw;
    }
    py::module_::import("site").attr("addsitedir")(packages_of(venv).u8string());
    return py::module_::import("clipshelf.host.bridge");
}

void load_bridge(const fs::path &venv) {
    const py::gil_scoped_acquire gil;
    const Unwatched imports;
    try {
        py::module_ module = import_bridge(venv);
        const int interface = module.attr("INTERFACE").cast<int>();
        if (interface != INTERFACE)
            throw no_runtime("expected a clipshelf with interface " + std::to_string(INTERFACE) + ", found " +
                             std::to_string(interface) + "; build the library again with `clipshelf host build`");
        module.attr("set_log")(py::cpp_function([](int level, const std::string &message) {
                                   const py::gil_scoped_release released;  // the host's function may wait for a thread
                                   log(static_cast<clipshelf_level>(level), message);
                               }),
                               started_here);
        PyObject *none = nullptr;
        if (bridge_module.compare_exchange_strong(none, module.ptr())) module.release();
    } catch (py::error_already_set &error) {
        throw no_runtime("expected clipshelf in " + (venv.empty() ? "the running Python" : venv.u8string()) +
                         ", found: " + error.what());
    }
}

// Never destroyed: calls may come until the process is gone.
struct CallsInFlight {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t count = 0;
    std::size_t total = 0;
    bool ended = false;
};

CallsInFlight &calls() {
    static auto *calls = new CallsInFlight;
    return *calls;
}

thread_local std::size_t own_calls = 0;
constexpr std::chrono::seconds LONGEST_END{10};

// At the end of the process. A thread that ends it from inside a call is not waited for.
void end_calls() {
    if (forked) return;  // the calls were the parent's
    std::unique_lock lock(calls().mutex);
    calls().ended = true;
    calls().changed.wait_for(lock, LONGEST_END, [] { return calls().count <= own_calls; });
}

// The interpreter's record of a host thread, from the thread's first call to its end.
class ThreadState {
public:
    ThreadState() {
        if (PyGILState_GetThisThreadState()) return;
        PyGILState_Ensure();
        state_ = PyEval_SaveThread();
    }
    ThreadState(const ThreadState &) = delete;
    ThreadState &operator=(const ThreadState &) = delete;
    ~ThreadState() {
        if (!state_ || !running()) return;
        PyEval_RestoreThread(state_);
        PyGILState_Release(PyGILState_UNLOCKED);
    }

private:
    PyThreadState *state_ = nullptr;
};

void require_no_fork() {
    if (forked) throw no_runtime("expected the process that opened the engine, found a child that it forked, without exec");
}

}  // namespace

void start(const char *option) {
    const Call call;
    require_stack();
    require(!option || *option, "venv: expected a folder or NULL, found an empty string");
    require_no_fork();
    const fs::path venv = chosen_venv(option);
    {
        // Nothing inside this lock waits for the GIL, so the caller may hold it.
        const std::lock_guard lock(starting);
        if (!Py_IsInitialized()) {
            if (bridge_module) throw no_runtime("expected a running interpreter, found one that was shut down");
            start_interpreter(venv);
        }
        std::error_code ignored;
        if (bridge_module && started_here && option && !fs::equivalent(venv, running_venv, ignored))
            throw Failure{CLIPSHELF_INVALID_ARGUMENT, "venv: expected " + running_venv.u8string() +
                                                          ", which this process runs, found " + venv.u8string()};
    }
    if (!bridge_module) load_bridge(venv);
}

Call::Call() {
    require_no_fork();  // before the lock, which may be another thread's of the parent
    const std::lock_guard lock(calls().mutex);
    if (calls().ended && !own_calls) throw no_runtime("expected a process that goes on, found one that is ending");
    ++calls().count, ++own_calls;
}

Call::~Call() {
    const std::lock_guard lock(calls().mutex);
    --calls().count, --own_calls;
    // Exit handlers run in reverse order. What onnxruntime makes in its first calls, and destroys by handlers of its object,
    // must be there until the calls have ended; so the handler is set again after the first call, the second, the fourth.
    const std::size_t total = ++calls().total;
    if (started_here && !calls().ended && !(total & (total - 1))) std::atexit(end_calls);
    if (calls().ended) calls().changed.notify_all();
}

void require_stack() {
#if defined(__linux__)
    static thread_local std::uintptr_t lowest = 0;
    if (!lowest) {
        lowest = 1;  // where it cannot be told, nothing is checked
        pthread_attr_t attributes;
        void *start = nullptr;
        std::size_t size = 0;
        if (!pthread_getattr_np(pthread_self(), &attributes)) {
            if (!pthread_attr_getstack(&attributes, &start, &size)) lowest = reinterpret_cast<std::uintptr_t>(start);
            pthread_attr_destroy(&attributes);
        }
    }
    const char here = 0;
    const std::size_t left = reinterpret_cast<std::uintptr_t>(&here) - lowest;
    require(left >= CLIPSHELF_MIN_STACK, "thread: expected at least " + std::to_string(CLIPSHELF_MIN_STACK) +
                                             " bytes of stack that are free, found " + std::to_string(left));
#endif
}

void require_running() {
    require_no_fork();
    if (!running()) throw no_runtime("expected a running interpreter, found one that was shut down");
}

void keep_thread() {
    // In a process with an interpreter of its object, a host may hold the GIL while it waits for a thread to end.
    if (started_here) static thread_local const ThreadState state;
}

bool running() {
    if (!bridge_module || forked) return false;
    {
        const std::lock_guard lock(calls().mutex);
        if (calls().ended && !own_calls) return false;
    }
    return Py_IsInitialized();
}

py::object bridge(const char *function) { return py::handle(bridge_module.load()).attr(function); }

Failure translate(py::error_already_set &error) {
    try {
        const py::tuple failure = bridge("failure")(error.value());
        return {static_cast<clipshelf_status>(failure[0].cast<int>()), failure[1].cast<std::string>()};
    } catch (py::error_already_set &) {
        return {CLIPSHELF_INTERNAL, "expected an exception with a message, found one without"};
    }
}

PythonObject::~PythonObject() {
    try {
        const Call call;
        if (running()) {
            const py::gil_scoped_acquire gil;
            object_ = py::object();
        }
    } catch (const Failure &) {
        // the process is ending
    }
    object_.release();  // where it is still held, nothing can let go of it
}

}  // namespace clipshelf::host
