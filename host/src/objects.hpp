// The objects behind the handles, and their tables.
#pragma once

#include <string>
#include <vector>

#include "handles.hpp"
#include "interpreter.hpp"

namespace clipshelf::host {

struct Engine {
    PythonObject python;
    std::size_t dim;
};

struct Catalogue {
    PythonObject recommender;
    std::size_t size;
};

// Plain memory, so that reading a result needs no interpreter.
struct Result {
    std::vector<std::string> strings;
    std::vector<clipshelf_item> items;
    std::string json;
};

// The tables are never destroyed, so that handles may be closed while the process ends.
Table<clipshelf_engine, Engine> &engines();
Table<clipshelf_catalogue, Catalogue> &catalogues();
Table<clipshelf_result, Result> &results();

}  // namespace clipshelf::host
