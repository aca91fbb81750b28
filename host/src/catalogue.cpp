#include "arguments.hpp"
#include "objects.hpp"

namespace clipshelf::host {

namespace {

std::shared_ptr<Opened> to_opened(const py::tuple &opened) {
    return std::shared_ptr<Opened>(new Opened{PythonObject(opened[0]), opened[1].cast<std::size_t>()});
}

std::shared_ptr<Catalogue> open_catalogue(const Engine &engine, const char *folder) {
    std::shared_ptr<Opened> opened;
    with_python([&] { opened = to_opened(bridge("open_catalogue")(engine.python.get(), text(folder, "folder"))); });
    return std::make_shared<Catalogue>(folder, std::move(opened));
}

// The arguments of the recommender that the fields of the query set.
py::dict query_arguments(const clipshelf_query &query) {
    py::dict arguments;
    if (query.text) arguments["text"] = text(query.text, "text");
    if (query.image) arguments["image"] = picture(versioned(query.image, "image"), "image");
    if (query.liked_count) arguments["liked"] = texts(query.liked, nullptr, query.liked_count, "liked");
    if (query.disliked_count) arguments["disliked"] = texts(query.disliked, nullptr, query.disliked_count, "disliked");
    if (query.where) arguments["where"] = text(query.where, "where");
    if (query.k) arguments["k"] = query.k;
    return arguments;
}

// The JSON of a query's further arguments, or None.
py::object further(const clipshelf_query &query) {
    return query.json ? py::object(text(query.json, "json")) : py::none();
}

std::shared_ptr<Result> to_result(const py::tuple &answer) {
    const py::list ids = answer[0], scores = answer[1], relevances = answer[2], products = answer[3];
    auto result = std::make_shared<Result>();
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const char *id = result->strings.emplace_back(ids[i].cast<std::string>()).c_str();
        const char *product = result->strings.emplace_back(products[i].cast<std::string>()).c_str();
        result->pointers.push_back(&result->items.emplace_back(
            clipshelf_item{sizeof(clipshelf_item), id, scores[i].cast<double>(), relevances[i].cast<double>(), product}));
    }
    result->json = answer[4].cast<std::string>();
    return result;
}

constexpr double ALLOW_SHRINK = 0.1;

// Change the catalogue in its folder by a function of the bridge, and answer from then on from what it became.
template <class Payload>
void change(clipshelf_catalogue *handle, const char *operation, Payload &&payload,
            const clipshelf_change_options *given, clipshelf_failures **out) {
    if (out) *out = nullptr;
    const auto options = given ? versioned(given, "options") : clipshelf_change_options{};
    const auto catalogue = catalogues().get(handle);
    const std::lock_guard lock(catalogue->changing);
    std::shared_ptr<Opened> opened;
    std::shared_ptr<Failures> found;
    with_python([&] {
        const py::tuple changed = bridge("change_catalogue")(
            catalogue->opened()->recommender.get(), text(catalogue->folder.c_str(), "folder"), operation, payload(),
            out != nullptr,
            py::make_tuple(options.allow_shrink ? options.allow_shrink : ALLOW_SHRINK, options.wait, options.keep_text != 0));
        opened = to_opened(changed);
        found = to_failures(changed[2]);
    });
    catalogue->replace(std::move(opened));
    give(std::move(found), out);
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
        *size = catalogues().get(catalogue)->opened()->size;
    });
}

clipshelf_status clipshelf_recommend(const clipshelf_catalogue *catalogue, const clipshelf_query *query,
                                     clipshelf_result **result) {
    return guarded([&] {
        clear(result, "result");
        require(query, "query: expected a clipshelf_query, found NULL");
        const auto copy = versioned(query, "query");
        check_limit(copy.k, MAX_COUNT, "k");
        const auto searched = catalogues().get(catalogue)->opened();
        std::shared_ptr<Result> answer;
        with_python([&] {
            answer = to_result(bridge("recommend")(searched->recommender.get(), query_arguments(copy), further(copy)));
        });
        *result = results().add(std::move(answer));
    });
}

clipshelf_status clipshelf_recommend_batch(const clipshelf_catalogue *catalogue, const clipshelf_query *queries,
                                           size_t count, clipshelf_result **answers, clipshelf_failures **failed) {
    return guarded([&] {
        if (failed) *failed = nullptr;
        check_limit(count, MAX_COUNT, "queries: count");
        require((queries && answers) || !count, "queries and results: expected arrays, found NULL");
        for (std::size_t i = 0; i < count; ++i) answers[i] = nullptr;
        const auto searched = catalogues().get(catalogue)->opened();
        std::vector<std::shared_ptr<Result>> answer(count);
        std::shared_ptr<Failures> found;
        with_python([&] {
            py::list list(count);
            for (std::size_t i = 0; i < count; ++i) {
                try {
                    const auto copy = element(queries, i, "queries");
                    check_limit(copy.k, MAX_COUNT, "k");
                    list[i] = py::make_tuple(query_arguments(copy), further(copy));
                } catch (const Failure &failure) {
                    list[i] = py::make_tuple(static_cast<int>(failure.status), py::bytes(failure.message));
                }
            }
            const py::tuple answered = bridge("recommend_batch")(searched->recommender.get(), list);
            const py::list of_queries = answered[0];
            for (std::size_t i = 0; i < count; ++i)
                if (!of_queries[i].is_none()) answer[i] = to_result(of_queries[i]);
            found = to_failures(answered[1]);
        });
        give(std::move(found), failed);
        for (std::size_t i = 0; i < count; ++i)
            if (answer[i]) answers[i] = results().add(std::move(answer[i]));
    });
}

clipshelf_status clipshelf_catalogue_products(const clipshelf_catalogue *catalogue, const char *const *ids, size_t count,
                                              clipshelf_result **result) {
    return guarded([&] {
        clear(result, "result");
        const auto searched = catalogues().get(catalogue)->opened();
        std::shared_ptr<Result> answer;
        with_python([&] {
            answer = to_result(bridge("products")(searched->recommender.get(), texts(ids, nullptr, count, "ids")));
        });
        *result = results().add(std::move(answer));
    });
}

clipshelf_status clipshelf_catalogue_reload(clipshelf_catalogue *catalogue) {
    return guarded([&] { change(catalogue, "reload", [] { return py::none(); }, nullptr, nullptr); });
}

clipshelf_status clipshelf_catalogue_add(clipshelf_catalogue *catalogue, const char *products,
                                         const clipshelf_change_options *options, clipshelf_failures **failed) {
    return guarded([&] { change(catalogue, "add", [&] { return text(products, "products"); }, options, failed); });
}

clipshelf_status clipshelf_catalogue_update(clipshelf_catalogue *catalogue, const char *products,
                                            const clipshelf_change_options *options, clipshelf_failures **failed) {
    return guarded([&] { change(catalogue, "update", [&] { return text(products, "products"); }, options, failed); });
}

clipshelf_status clipshelf_catalogue_remove(clipshelf_catalogue *catalogue, const char *const *ids, size_t count,
                                            const clipshelf_change_options *options) {
    return guarded(
        [&] { change(catalogue, "remove", [&] { return texts(ids, nullptr, count, "ids"); }, options, nullptr); });
}

clipshelf_status clipshelf_result_close(clipshelf_result *result) {
    return guarded([&] { results().close(result); });
}

clipshelf_status clipshelf_result_items(const clipshelf_result *result, const clipshelf_item *const **items,
                                        size_t *count) {
    return guarded([&] {
        if (count) *count = 0;  // even where `items` is NULL
        clear(items, "items");
        clear(count, "count");
        const auto object = results().get(result);
        *items = object->pointers.data();
        *count = object->pointers.size();
    });
}

clipshelf_status clipshelf_result_json(const clipshelf_result *result, const char **json) {
    return guarded([&] {
        clear(json, "json");
        *json = results().get(result)->json.c_str();
    });
}
