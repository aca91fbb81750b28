// A host that does one thing: program MODE ARTIFACT CATALOGUE [NUMBER]; test_programs.py says what each must print.

#include <clipshelf.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

std::string artifact, folder;

clipshelf::Options options(std::size_t threads) {
    clipshelf::Options made;
    made.artifact = artifact;
    made.threads = threads;
    return made;
}

void call_without_end(const clipshelf::Engine &engine, bool pictures) {
    const std::vector<unsigned char> pixels(300, 7);
    for (;;) {
        try {
            if (pictures) engine.embed_images({clipshelf::pixels(pixels, CLIPSHELF_RGB, 10, 10)});
            else engine.embed_texts({"red shoe"});
        } catch (const clipshelf::Error &error) {
            if (error.status() != CLIPSHELF_NO_RUNTIME) std::fprintf(stderr, "%s\n", error.what());
        }
    }
}

// Ends while four threads are in calls; with `forks`, children end normally first.
void end(std::size_t threads, int forks) {
    const auto *engine = new clipshelf::Engine(options(threads));
    engine->embed_texts({"red"});
    for (int i = 0; i < 4; ++i) std::thread([=] { call_without_end(*engine, i % 2); }).detach();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    for (int i = 0; i < forks; ++i) {
        const pid_t child = fork();
        if (!child) {
            clipshelf_engine *again = nullptr;
            std::exit(clipshelf_engine_open(nullptr, &again) == CLIPSHELF_NO_RUNTIME ? 7 : 1);
        }
        int status = 0;
        waitpid(child, &status, 0);
        std::printf("child %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        std::fflush(stdout);  // or the next child would print it again
    }
    std::exit(0);
}

void *call_in_thread(void *) {
    try {
        const clipshelf::Engine engine(options(1));
        const clipshelf::Catalogue catalogue(engine, folder);
        const auto result = catalogue.recommend(clipshelf::Query().text("red").k(2));
        std::printf("%zu\n", result.items().size());
        std::string deep;
        for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
        catalogue.recommend(clipshelf::Query().text("red").json(deep));
    } catch (const clipshelf::Error &error) {
        std::printf("%s: %s\n", clipshelf_status_name(error.status()), error.what());
    }
    return nullptr;
}

void stack(std::size_t bytes) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, bytes);
    pthread_t thread;
    pthread_create(&thread, &attributes, call_in_thread, nullptr);
    pthread_join(thread, nullptr);
}

void print(const std::vector<clipshelf::Failure> &failures) {
    for (const auto &failure : failures)
        std::printf("failed %zu %s %s\n", failure.index, clipshelf_status_name(failure.status), failure.message.c_str());
}

void batch() {
    const clipshelf::Engine engine(options(1));
    const clipshelf::Catalogue catalogue(engine, folder);
    std::vector<clipshelf::Query> queries(4);
    queries[0].text("red shoe").k(1);
    queries[1].like("nothing");
    queries[2].text("blue").json("{");
    queries[3].text("blue shirt").k(2).json("{\"explain\": true}");
    std::vector<clipshelf::Failure> failures;
    const auto results = catalogue.recommend(clipshelf::View<const clipshelf::Query>(queries), failures);
    for (std::size_t i = 0; i < results.size(); ++i)
        if (results[i].get()) std::printf("%zu %s\n", i, results[i].items()[0].id);
    print(failures);
    const unsigned char red[] = {255, 0, 0};
    const char broken[] = "no picture";
    const auto rows = engine.embed_images(
        {clipshelf::encoded({broken, sizeof broken}), clipshelf::pixels(red, CLIPSHELF_RGB, 1, 1)}, failures);
    std::printf("%d %d\n", rows[0][0] == 0 && rows[0][1] == 0, rows[1][0] != 0 || rows[1][1] != 0);
    print(failures);
}

void changes() {
    const clipshelf::Engine engine(options(1));
    clipshelf::Catalogue catalogue(engine, folder), other(engine, folder);
    const auto before = catalogue.recommend(clipshelf::Query().text("red shoe").k(1));
    print(catalogue.add(R"([{"id": "new", "text": "green watch", "price": 5}])"));
    print(catalogue.update(R"([{"id": "new", "text": "warm shirt", "price": 7}])"));
    std::printf("%zu %zu\n", catalogue.size(), other.size());
    const auto found = catalogue.products({"new", "p1"});
    for (const auto &item : found.items()) std::printf("%s %s\n", item.id, item.product);
    other.reload();
    std::printf("%zu\n", other.size());
    other.remove({"new"});
    std::printf("%zu %s\n", other.size(), before.items()[0].id);
    try {
        other.remove({"new"});
    } catch (const clipshelf::Error &error) {
        std::printf("%s\n", clipshelf_status_name(error.status()));
    }
}

template <class Body>
void report(const char *name, Body &&body) {
    try {
        body();
        std::printf("%s CLIPSHELF_OK\n", name);
    } catch (const clipshelf::Error &error) {
        std::printf("%s %s\n", name, clipshelf_status_name(error.status()));
    }
}

// Calls that are cancelled, or whose time is up.
void interrupts() {
    const clipshelf::Engine engine(options(1));
    clipshelf::Catalogue catalogue(engine, folder);
    const std::vector<std::string_view> texts(300000, "red shoe");
    clipshelf::Token token;
    std::thread canceller([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        token.cancel();
    });
    {
        const clipshelf::Obey obey(token);
        report("in flight", [&] { engine.embed_texts(texts); });
        canceller.join();
        report("not begun", [&] { engine.embed_texts({"red"}); });
        report("add", [&] { catalogue.add(R"([{"id": "new", "text": "green watch"}])"); });
        report("recommend", [&] { catalogue.recommend(clipshelf::Query().text("red")); });
    }
    report("free again", [&] { engine.embed_texts({"red"}); });
    {
        const clipshelf::Obey obey(std::chrono::milliseconds(5));
        report("time", [&] { engine.embed_texts(texts); });
    }
    {
        const clipshelf::Obey obey(std::chrono::hours(1));
        report("enough time", [&] { engine.embed_texts({"red"}); });
        std::thread([&] { report("another thread", [&] { engine.embed_texts({"red"}); }); }).join();
    }
    token.close();
    report("closed", [&] { clipshelf::check(clipshelf_token_cancel(token.get())); });
    catalogue.reload();
    std::printf("%zu\n", catalogue.size());
}

void print_message(clipshelf_level level, const char *message, void *context) {
    std::printf("%d %s %s\n", level, static_cast<const char *>(context), message);
}

// Changes with options, and what they log.
void options_of_changes() {
    const clipshelf::Engine engine(options(1));
    clipshelf::Catalogue catalogue(engine, folder);
    char name[] = "log:";
    clipshelf::check(clipshelf_set_log(print_message, name));
    catalogue.add(R"([{"id": "new", "text": "green watch", "price": "cheap"}])");
    clipshelf::check(clipshelf_set_log(nullptr, nullptr));
    catalogue.add(R"([{"id": "newer", "text": "green watch", "price": "dear"}])");
    const char *texts_away = R"([{"id": "p1", "text": null, "image": "data:image/gif;base64,R0lGODdhAQABAIAAAP8AAP///ywAAAAAAQABAAACAkQBADs="}])";
    report("shrink", [&] { catalogue.update(texts_away); });
    clipshelf::ChangeOptions change;
    change.allow_shrink = 1;
    report("allowed", [&] { catalogue.update(texts_away, change); });
    change.allow_shrink = 2;
    report("out of range", [&] { catalogue.update(texts_away, change); });
    change = {};
    change.keep_text = true;
    const auto failures = catalogue.add(R"([{"id": "x", "text": "red", "image": "data:image/gif;base64,AAAA"}])", change);
    std::printf("%zu %zu\n", failures.size(), catalogue.size());
    change = {};
    change.wait = -1;
    report("wait", [&] { catalogue.remove({"x"}, change); });
}

// A picture and a query of a newer and of an older host.
void sizes() {
    const clipshelf::Engine engine(options(1));
    const clipshelf::Catalogue catalogue(engine, folder);
    struct Newer {
        clipshelf_query query;
        void *more;
    } newer{CLIPSHELF_QUERY_INIT, nullptr};
    newer.query.size = sizeof newer;
    newer.query.text = "red";
    clipshelf_result *result = nullptr;
    std::printf("%d", clipshelf_recommend(catalogue.get(), &newer.query, &result));
    newer.more = &newer;
    std::printf(" %d", clipshelf_recommend(catalogue.get(), &newer.query, &result));
    clipshelf_query older = CLIPSHELF_QUERY_INIT;
    older.text = "red";
    older.size = offsetof(clipshelf_query, image);
    older.json = "not read";
    std::printf(" %d", clipshelf_recommend(catalogue.get(), &older, &result));
    const clipshelf_item *const *items = nullptr;
    std::size_t count = 0;
    clipshelf_result_items(result, &items, &count);
    std::printf(" %d\n", count > 0 && items[0]->size == sizeof(clipshelf_item));
}

// Answers, and prints the files that are mapped.
void maps() {
    const clipshelf::Engine engine(options(1));
    engine.embed_texts({"red"});
    std::ifstream file("/proc/self/maps");
    for (std::string line; std::getline(file, line);)
        if (const auto start = line.find('/'); start != std::string::npos) std::puts(line.c_str() + start);
}

}  // namespace

int main(int argc, char **argv) try {
    if (argc < 4) return 2;
    artifact = argv[2], folder = argv[3];
    const std::string mode = argv[1];
    const std::size_t number = argc > 4 ? std::strtoul(argv[4], nullptr, 10) : 0;
    if (mode == "end") end(number, 0);
    else if (mode == "fork") end(number, 3);
    else if (mode == "stack") stack(number);
    else if (mode == "batch") batch();
    else if (mode == "changes") changes();
    else if (mode == "sizes") sizes();
    else if (mode == "interrupts") interrupts();
    else if (mode == "options") options_of_changes();
    else if (mode == "maps") maps();
    else return 2;
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "program: %s\n", error.what());
    return 1;
}
