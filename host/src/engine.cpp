#include "arguments.hpp"
#include "objects.hpp"

namespace clipshelf::host {

namespace {

constexpr std::size_t MAX_THREADS = 1024;

std::shared_ptr<Engine> open_engine(const clipshelf_engine_options &options) {
    std::shared_ptr<Engine> engine;
    with_python([&] {
        const py::tuple opened = bridge("open_engine")(
            options.artifact ? py::object(text(options.artifact, "artifact")) : py::none(),
            text(options.provider ? options.provider : "cpu", "provider"),
            text(options.decode ? options.decode : "fast", "decode"), options.threads, options.warm != 0);
        engine.reset(new Engine{PythonObject(opened[0]), opened[1].cast<std::size_t>()});
    });
    return engine;
}

}  // namespace

Table<clipshelf_engine, Engine> &engines() {
    static auto *table = new Table<clipshelf_engine, Engine>("engine");
    return *table;
}

}  // namespace clipshelf::host

using namespace clipshelf::host;

clipshelf_status clipshelf_engine_open(const clipshelf_engine_options *options, clipshelf_engine **engine) {
    return guarded([&] {
        clear(engine, "engine");
        const auto copy = options ? versioned(options, "options") : clipshelf_engine_options{};
        check_limit(copy.threads, MAX_THREADS, "threads");
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
            require(images || !count, "images: expected an array of pictures, found NULL");
            py::list list(count);
            for (std::size_t i = 0; i < count; ++i) list[i] = picture(images[i], numbered("images", i));
            bridge("embed_images")(object->python.get(), list, view);
        });
    });
}

clipshelf_status clipshelf_shutdown(void) {
    return guarded([&] {
        results().close_all();
        catalogues().close_all();
        engines().close_all();
        if (running()) with_python([] { bridge("collect")(); });
    });
}
