#include "arguments.hpp"
#include "objects.hpp"

namespace clipshelf::host {

namespace {

std::shared_ptr<Catalogue> open_catalogue(const Engine &engine, const char *folder) {
    std::shared_ptr<Catalogue> catalogue;
    with_python([&] {
        const py::tuple opened = bridge("open_catalogue")(engine.python.get(), text(folder, "folder"));
        catalogue.reset(new Catalogue{PythonObject(opened[0]), opened[1].cast<std::size_t>()});
    });
    return catalogue;
}

// The arguments of the recommender that the fields of the query set.
py::dict query_arguments(const clipshelf_query &query) {
    py::dict arguments;
    if (query.text) arguments["text"] = text(query.text, "text");
    if (query.image) arguments["image"] = picture(*query.image, "image");
    if (query.liked_count) arguments["liked"] = texts(query.liked, nullptr, query.liked_count, "liked");
    if (query.disliked_count) arguments["disliked"] = texts(query.disliked, nullptr, query.disliked_count, "disliked");
    if (query.where) arguments["where"] = text(query.where, "where");
    if (query.k) arguments["k"] = query.k;
    return arguments;
}

std::shared_ptr<Result> to_result(const py::tuple &answer) {
    const py::list ids = answer[0], scores = answer[1], relevances = answer[2], products = answer[3];
    auto result = std::make_shared<Result>();
    result->strings.reserve(2 * ids.size());  // so that no string moves once an item points to it
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const char *id = result->strings.emplace_back(ids[i].cast<std::string>()).c_str();
        const char *product = result->strings.emplace_back(products[i].cast<std::string>()).c_str();
        result->items.push_back({id, scores[i].cast<double>(), relevances[i].cast<double>(), product});
    }
    result->json = answer[4].cast<std::string>();
    return result;
}

}  // namespace

Table<clipshelf_catalogue, Catalogue> &catalogues() {
    static auto *table = new Table<clipshelf_catalogue, Catalogue>("catalogue");
    return *table;
}

Table<clipshelf_result, Result> &results() {
    static auto *table = new Table<clipshelf_result, Result>("result");
    return *table;
}

}  // namespace clipshelf::host

using namespace clipshelf::host;

clipshelf_status clipshelf_catalogue_open(const clipshelf_engine *engine, const char *folder,
                                          clipshelf_catalogue **catalogue) {
    return guarded([&] {
        clear(catalogue, "catalogue");
        *catalogue = catalogues().add(open_catalogue(*engines().get(engine), folder));
    });
}

clipshelf_status clipshelf_catalogue_close(clipshelf_catalogue *catalogue) {
    return guarded([&] { catalogues().close(catalogue); });
}

clipshelf_status clipshelf_catalogue_size(const clipshelf_catalogue *catalogue, size_t *size) {
    return guarded([&] {
        clear(size, "size");
        *size = catalogues().get(catalogue)->size;
    });
}

clipshelf_status clipshelf_recommend(const clipshelf_catalogue *catalogue, const clipshelf_query *query,
                                     clipshelf_result **result) {
    return guarded([&] {
        clear(result, "result");
        require(query, "query: expected a clipshelf_query, found NULL");
        const auto copy = versioned(query, "query");
        check_limit(copy.k, MAX_COUNT, "k");
        const auto object = catalogues().get(catalogue);
        std::shared_ptr<Result> answer;
        with_python([&] {
            const py::object more = copy.json ? py::object(text(copy.json, "json")) : py::none();
            answer = to_result(bridge("recommend")(object->recommender.get(), query_arguments(copy), more));
        });
        *result = results().add(std::move(answer));
    });
}

clipshelf_status clipshelf_result_close(clipshelf_result *result) {
    return guarded([&] { results().close(result); });
}

clipshelf_status clipshelf_result_items(const clipshelf_result *result, const clipshelf_item **items, size_t *count) {
    return guarded([&] {
        if (count) *count = 0;  // even where `items` is NULL
        clear(items, "items");
        clear(count, "count");
        const auto object = results().get(result);
        *items = object->items.data();
        *count = object->items.size();
    });
}

clipshelf_status clipshelf_result_json(const clipshelf_result *result, const char **json) {
    return guarded([&] {
        clear(json, "json");
        *json = results().get(result)->json.c_str();
    });
}
