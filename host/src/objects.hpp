// The objects behind the handles, and their tables.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "calls.hpp"
#include "handles.hpp"
#include "interpreter.hpp"

namespace clipshelf::host {

struct Engine {
    PythonObject python;
    std::size_t dim;
};

// One generation of a catalogue, as it was opened.
struct Opened {
    PythonObject recommender;
    std::size_t size;
};

class Catalogue {
public:
    Catalogue(std::string folder, std::shared_ptr<Opened> opened) : folder(std::move(folder)), opened_(std::move(opened)) {}

    std::shared_ptr<Opened> opened() const {
        const std::lock_guard lock(mutex_);
        return opened_;
    }
    void replace(std::shared_ptr<Opened> opened) {
        const std::lock_guard lock(mutex_);
        opened_.swap(opened);
    }

    const std::string folder;
    std::mutex changing;  // held by one change at a time

private:
    mutable std::mutex mutex_;
    std::shared_ptr<Opened> opened_;
};

// Plain memory: reading results and failures needs no interpreter.
struct Result {
    std::deque<std::string> strings;  // a deque: none moves once it is pointed to
    std::deque<clipshelf_item> items;
    std::vector<const clipshelf_item *> pointers;
    std::string json;
};

struct Failures {
    std::deque<std::string> strings;
    std::deque<clipshelf_failure> items;
};

// Never destroyed, so that handles may be closed while a process ends.
Table<clipshelf_engine, Engine> &engines();
Table<clipshelf_catalogue, Catalogue> &catalogues();
Table<clipshelf_result, Result> &results();
Table<clipshelf_failures, Failures> &failures();
Table<clipshelf_token, Token> &tokens();

// What the bridge lists as failures: positions, statuses and messages. NULL where it lists none. The GIL is held.
std::shared_ptr<Failures> to_failures(const py::list &listed);

// Give failures to a host that asks for them, by a handle or as NULL; else throw the first.
void give(std::shared_ptr<Failures> found, clipshelf_failures **out);

}  // namespace clipshelf::host
