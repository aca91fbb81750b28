#include "arguments.hpp"
#include "objects.hpp"

namespace clipshelf::host {

namespace {

std::shared_ptr<Engine> open_engine(const clipshelf_engine_options &options) {
    std::shared_ptr<Engine> engine;
    with_python([&] {
        const py::tuple opened = bridge("open_engine")(
            options.artifact ? py::object(text(options.artifact, "artifact")) : py::none(),
            text(options.provider ? options.provider : "cpu", "provider"),
            text(options.decode ? options.decode : "fast", "decode"), options.threads, options.warm != 0,
            options.limits ? py::object(text(options.limits, "limits")) : py::none());
        engine.reset(new Engine{PythonObject(opened[0]), opened[1].cast<std::size_t>()});
    });
    return engine;
}

}  // namespace

Table<clipshelf_engine, Engine> &engines() {
    static auto *table = new Table<clipshelf_engine, Engine>("engine");
    return *table;
}

Table<clipshelf_failures, Failures> &failures() {
    static auto *table = new Table<clipshelf_failures, Failures>("list of failures");
    return *table;
}

std::shared_ptr<Failures> to_failures(const py::list &listed) {
    if (listed.empty()) return nullptr;
    auto answer = std::make_shared<Failures>();
    for (const auto &entry : listed) {
        const auto failure = py::reinterpret_borrow<py::tuple>(entry);
        const char *message = answer->strings.emplace_back(failure[2].cast<std::string>()).c_str();
        answer->items.push_back({sizeof(clipshelf_failure), failure[0].cast<std::size_t>(),
                               static_cast<clipshelf_status>(failure[1].cast<int>()), message});
    }
    return answer;
}

void give(std::shared_ptr<Failures> found, clipshelf_failures **out) {
    if (!found) return;
    if (!out) throw Failure{found->items[0].status, found->items[0].message};
    *out = failures().add(std::move(found));
}

}  // namespace clipshelf::host

using namespace clipshelf::host;

clipshelf_status clipshelf_engine_open(const clipshelf_engine_options *options, clipshelf_engine **engine) {
    return guarded([&] {
        clear(engine, "engine");
        const auto copy = options ? versioned(options, "options") : clipshelf_engine_options{};
        check_limit(copy.threads, MAX_COUNT, "threads");  // the engine's copy limit is lower
        start(copy.venv);
        *engine = engines().add(open_engine(copy));
    });
}

clipshelf_status clipshelf_engine_close(clipshelf_engine *engine) {
    return guarded([&] { engines().close(engine); });
}

clipshelf_status clipshelf_engine_dim(const clipshelf_engine *engine, size_t *dim) {
    return guarded([&] {
        clear(dim, "dim");
        *dim = engines().get(engine)->dim;
    });
}

clipshelf_status clipshelf_embed_texts(const clipshelf_engine *engine, const char *const *data, const size_t *lengths,
                                       size_t count, float *out, size_t capacity) {
    return guarded([&] {
        const auto object = engines().get(engine);
        with_python([&] {
            const py::memoryview view = rows(count, object->dim, out, capacity);
            bridge("embed_texts")(object->python.get(), texts(data, lengths, count, "texts"), view);
        });
    });
}

clipshelf_status clipshelf_embed_images(const clipshelf_engine *engine, const clipshelf_image *images, size_t count,
                                        float *out, size_t capacity) {
    return guarded([&] {
        const auto object = engines().get(engine);
        with_python([&] {
            const py::memoryview view = rows(count, object->dim, out, capacity);
            bridge("embed_images")(object->python.get(), pictures(images, count), view);
        });
    });
}

clipshelf_status clipshelf_embed_images_each(const clipshelf_engine *engine, const clipshelf_image *images, size_t count,
                                             float *out, size_t capacity, clipshelf_failures **failed) {
    return guarded([&] {
        clear(failed, "failures");
        const auto object = engines().get(engine);
        std::shared_ptr<Failures> found;
        with_python([&] {
            const py::memoryview view = rows(count, object->dim, out, capacity);
            found = to_failures(bridge("embed_images_each")(object->python.get(), pictures(images, count), view));
        });
        give(std::move(found), failed);
    });
}

clipshelf_status clipshelf_failures_count(const clipshelf_failures *handle, size_t *count) {
    return guarded([&] {
        clear(count, "count");
        if (handle) *count = failures().get(handle)->items.size();
    });
}

clipshelf_status clipshelf_failures_item(const clipshelf_failures *handle, size_t index, const clipshelf_failure **failure) {
    return guarded([&] {
        clear(failure, "failure");
        const auto object = failures().get(handle);
        require(index < object->items.size(), "index: expected less than " + std::to_string(object->items.size()) + ", found " +
                                               std::to_string(index));
        *failure = &object->items[index];
    });
}

clipshelf_status clipshelf_failures_close(clipshelf_failures *handle) {
    return guarded([&] { failures().close(handle); });
}

clipshelf_status clipshelf_shutdown(void) {
    return guarded([&] {
        results().close_all();
        failures().close_all();
        catalogues().close_all();
        engines().close_all();
        tokens().close_all();
        if (running()) with_python([] { bridge("collect")(); });
    });
}
