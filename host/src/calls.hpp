// What calls obey, and the log that they write to: plain memory, without the interpreter.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include "clipshelf.h"

namespace clipshelf::host {

struct Token {
    std::atomic<unsigned char> cancelled{0};
};

struct ThreadOptions {
    std::size_t milliseconds = 0;
    std::shared_ptr<Token> token;
};

// What clipshelf_thread_options() set for this thread.
ThreadOptions &thread_options();

// Gives a message to the host's function, if it has set one.
void log(clipshelf_level level, const std::string &message);

}  // namespace clipshelf::host
