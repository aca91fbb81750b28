// What the handles stand for, and their tables.
#pragma once

#include <string>
#include <vector>

#include "handles.hpp"
#include "interpreter.hpp"

namespace clipshelf::host {

struct Engine {
    Held python;
    std::size_t dim;
};

struct Catalogue {
    Held recommender;
    std::size_t size;
};

// Plain memory: reading a result needs no interpreter.
struct Result {
    std::vector<std::string> strings;
    std::vector<clipshelf_item> items;
    std::string json;
};

// Never destroyed, so that handles may be closed while a process ends.
Table<clipshelf_engine, Engine> &engines();
Table<clipshelf_catalogue, Catalogue> &catalogues();
Table<clipshelf_result, Result> &results();

}  // namespace clipshelf::host
