#include "calls.hpp"

#include <chrono>
#include <mutex>
#include <shared_mutex>

#include "arguments.hpp"
#include "objects.hpp"

namespace clipshelf::host {

namespace {

struct Log {
    std::shared_mutex mutex;  // shared while the function runs
    clipshelf_log function = nullptr;
    void *context = nullptr;
};

// Never destroyed: threads may log until the process is gone.
Log &host_log() {
    static auto *log = new Log;
    return *log;
}

static_assert(sizeof(std::atomic<unsigned char>) == 1, "Python reads the byte of a token");

}  // namespace

ThreadOptions &thread_options() {
    static thread_local ThreadOptions options;
    return options;
}

void log(clipshelf_level level, const std::string &message) {
    const std::shared_lock lock(host_log().mutex);
    if (host_log().function) host_log().function(level, message.c_str(), host_log().context);
}

Obedience::Obedience(std::chrono::steady_clock::time_point start) {
    const ThreadOptions &options = thread_options();
    if (!options.milliseconds && !options.token) return;
    token_ = options.token;
    py::object cancelled = py::none();
    if (options.token) cancelled = py::memoryview::from_memory(static_cast<const void *>(&options.token->cancelled), 1);
    const std::chrono::duration<double, std::milli> waited = std::chrono::steady_clock::now() - start;
    block_ = bridge("begin_call")(options.milliseconds, waited.count(), cancelled);
}

Obedience::~Obedience() {
    if (!block_) return;
    try {
        bridge("end_call")(block_);
    } catch (py::error_already_set &) {
        // Nothing of the host's: the next call sets its own.
    }
}

Table<clipshelf_token, Token> &tokens() {
    static auto *table = new Table<clipshelf_token, Token>("token");
    return *table;
}

}  // namespace clipshelf::host

using namespace clipshelf::host;

clipshelf_status clipshelf_thread_options(const clipshelf_call_options *options) {
    return guarded([&] {
        ThreadOptions chosen;
        if (options) {
            const auto copy = versioned(options, "options");
            check_limit(copy.milliseconds, MAX_MILLISECONDS, "milliseconds");
            chosen.milliseconds = copy.milliseconds;
            if (copy.token) chosen.token = tokens().get(copy.token);
        }
        thread_options() = std::move(chosen);
    });
}

clipshelf_status clipshelf_token_open(clipshelf_token **token) {
    return guarded([&] {
        clear(token, "token");
        *token = tokens().add(std::make_shared<Token>());
    });
}

clipshelf_status clipshelf_token_cancel(clipshelf_token *token) {
    return guarded([&] { tokens().get(token)->cancelled = 1; });
}

clipshelf_status clipshelf_token_close(clipshelf_token *token) {
    return guarded([&] { tokens().close(token); });
}

clipshelf_status clipshelf_set_log(clipshelf_log function, void *context) {
    return guarded([&] {
        const std::unique_lock lock(host_log().mutex);
        host_log().function = function;
        host_log().context = context;
    });
}
