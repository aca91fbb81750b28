// Calls every function of clipshelf.h in random order with good and bad arguments, from several threads: no call may
// crash, and every failure must leave a message. usage: fuzz ARTIFACT CATALOGUE SEED CALLS

#include <clipshelf.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace {

std::mutex mutex;
std::vector<void *> handles{nullptr, reinterpret_cast<void *>(0x10), reinterpret_cast<void *>(~std::uintptr_t{0})};
std::string artifact, catalogue;

class Caller {
public:
    explicit Caller(unsigned seed) : random_(seed) {}

    void call() {
        switch (below(20)) {
            case 0: return open_engine();
            case 1: return open_catalogue();
            case 2: return recommend();
            case 3: case 4: return embed_texts();
            case 5: case 6: return embed_images();
            case 7: return check(clipshelf_engine_close(handle<clipshelf_engine>()));
            case 8: return check(clipshelf_catalogue_close(handle<clipshelf_catalogue>()));
            case 9: return check(clipshelf_result_close(handle<clipshelf_result>()));
            case 10: return read_result();
            case 11: return sizes();
            case 12: clipshelf_status_name(static_cast<clipshelf_status>(below(100))); return;
            case 13: return embed_images_each();
            case 14: return recommend_batch();
            case 15: return products();
            case 16: return check(clipshelf_catalogue_reload(handle<clipshelf_catalogue>()));
            case 17: return change();
            case 18: return obey();
            default: if (!below(20)) check(clipshelf_shutdown());
        }
    }

private:
    std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
    bool rarely() { return !below(8); }

    // Ends the program unless a failed call has a message and a status that the header knows.
    void check(clipshelf_status status) {
        if (status == CLIPSHELF_OK) return;
        const char *message = clipshelf_last_error();
        if (!*message || status == CLIPSHELF_INTERNAL || !std::strcmp(clipshelf_status_name(status), "unknown status")) {
            std::fprintf(stderr, "status %d: %s\n", static_cast<int>(status), message);
            std::abort();
        }
    }

    template <class T> T *handle() {
        const std::lock_guard lock(mutex);
        // mostly the latest, so that a good part of the calls gets through
        const std::size_t last = handles.size();
        return static_cast<T *>(handles[below(2) ? last - 1 - below(last < 6 ? last : 6) : below(last)]);
    }
    void add_handle(void *made) {
        const std::lock_guard lock(mutex);
        handles.push_back(made);
        if (handles.size() > 200) handles.erase(handles.begin() + 3, handles.begin() + 50);
    }

    std::string noise() {
        static const char *texts[] = {"", "a red shoe", "\xff\xfe", "\xed\xa0\x80", "price<", "price<100", "{", "{\"k\": 0}",
                                      "{\"weights\": {\"text\": 2}}", "[1]", "p1", "no such thing", "{\"k\": 1e400}",
                                      "{\"image\": {}}", "category = 'x' and", "NaN", "{\"explain\": true}"};
        std::string text = texts[below(sizeof texts / sizeof *texts)];
        for (std::size_t i = below(4); i; --i) text += static_cast<char>(1 + below(255));
        return rarely() ? std::string(1 + below(5000), 'x') : text;
    }

    void open_engine() {
        clipshelf_engine_options options = CLIPSHELF_ENGINE_OPTIONS_INIT;
        const std::string bad = noise();
        options.artifact = rarely() ? bad.c_str() : artifact.c_str();
        options.threads = rarely() ? below(5000) : 1;
        if (rarely()) options.provider = bad.c_str();
        if (rarely()) options.decode = bad.c_str();
        if (rarely()) options.venv = bad.c_str();
        if (rarely()) options.size = below(sizeof options + 1);
        clipshelf_engine *engine = nullptr;
        check(clipshelf_engine_open(&options, rarely() ? nullptr : &engine));
        if (engine) add_handle(engine);
    }

    void open_catalogue() {
        const std::string bad = noise();
        clipshelf_catalogue *opened = nullptr;
        check(clipshelf_catalogue_open(handle<clipshelf_engine>(), rarely() ? bad.c_str() : catalogue.c_str(),
                                      rarely() ? nullptr : &opened));
        if (opened) add_handle(opened);
    }

    clipshelf_image image(std::vector<unsigned char> &bytes) {
        bytes.resize(below(3000));
        for (auto &byte : bytes) byte = static_cast<unsigned char>(below(256));
        clipshelf_image made{sizeof made, bytes.data(), bytes.size(), static_cast<clipshelf_format>(below(6)), 0, 0, 0};
        if (made.format != CLIPSHELF_ENCODED) {
            made.width = 1 + below(20), made.height = 1 + below(20), made.stride = below(2) ? 0 : below(100);
            if (rarely()) made.width = static_cast<std::size_t>(random_()) << 40;
            if (rarely()) made.height = ~std::size_t{0};
            if (rarely()) made.stride = ~std::size_t{0} / 2;
        }
        if (rarely()) made.data = nullptr;
        if (rarely()) made.size = below(sizeof made + 1);
        return made;
    }

    // What the queries of one call point to.
    struct Given {
        std::string text, where, json, id;
        const char *ids[2];
        std::vector<unsigned char> bytes;
        clipshelf_image picture;
    };

    clipshelf_query query(Given &given) {
        clipshelf_query query = CLIPSHELF_QUERY_INIT;
        given.text = noise(), given.where = noise(), given.json = noise(), given.id = noise();
        const std::string &text = given.text, &where = given.where, &json = given.json;
        const char **ids = given.ids;
        ids[0] = rarely() ? given.id.c_str() : "p1", ids[1] = rarely() ? nullptr : "p2";
        given.picture = image(given.bytes);
        const clipshelf_image &picture = given.picture;
        if (below(4)) query.text = text.c_str();
        if (rarely()) query.where = where.c_str();
        if (rarely()) query.json = json.c_str();
        if (rarely()) query.image = &picture;
        if (below(2)) query.liked = ids, query.liked_count = below(3);
        if (rarely()) query.disliked = rarely() ? nullptr : ids, query.disliked_count = below(3);
        if (rarely()) query.k = static_cast<std::size_t>(random_());
        if (rarely()) query.size = below(sizeof query + 1);
        return query;
    }

    void recommend() {
        Given given;
        const clipshelf_query query = this->query(given);
        clipshelf_result *result = nullptr;
        check(clipshelf_recommend(handle<clipshelf_catalogue>(), rarely() ? nullptr : &query, rarely() ? nullptr : &result));
        if (result) add_handle(result);
    }

    void recommend_batch() {
        Given given[3];
        const clipshelf_query queries[] = {query(given[0]), query(given[1]), query(given[2])};
        clipshelf_result *results[3];
        clipshelf_failures *failures = nullptr;
        const std::size_t count = below(4);
        const bool listed = below(2);
        const clipshelf_status status = clipshelf_recommend_batch(
            handle<clipshelf_catalogue>(), rarely() ? nullptr : queries, count, rarely() ? nullptr : results,
            listed ? &failures : nullptr);
        check(status);
        if (status == CLIPSHELF_OK && listed) read(failures);
    }

    void read(clipshelf_failures *failures) {
        std::size_t count = 0;
        check(clipshelf_failures_count(failures, &count));
        for (std::size_t i = 0; i < count; ++i) {
            const clipshelf_failure *failure = nullptr;
            check(clipshelf_failures_item(failures, i, &failure));
            if (!failure || !*failure->message || failure->status == CLIPSHELF_OK) std::abort();
        }
        if (below(2)) check(clipshelf_failures_close(failures));
        else if (failures) add_handle(failures);
    }

    void products() {
        const std::string id = noise();
        const char *ids[] = {"p1", rarely() ? nullptr : "p2", rarely() ? id.c_str() : "p3"};
        clipshelf_result *result = nullptr;
        check(clipshelf_catalogue_products(handle<clipshelf_catalogue>(), rarely() ? nullptr : ids, below(4), &result));
        if (result) add_handle(result);
    }

    void change() {
        clipshelf_change_options options = CLIPSHELF_CHANGE_OPTIONS_INIT;
        options.allow_shrink = static_cast<double>(below(4)) - 1;
        options.wait = rarely() ? -1 : 1;
        options.keep_text = below(2);
        if (rarely()) options.size = below(sizeof options + 1);
        const std::string bad = noise(), known = R"([{"id": "p1", "price": )" + std::to_string(below(100)) + "}]";
        const char *ids[] = {bad.c_str()};
        const char *products = rarely() ? bad.c_str() : rarely() ? nullptr : known.c_str();
        clipshelf_failures *failures = nullptr;
        auto *const opened = handle<clipshelf_catalogue>();
        switch (below(3)) {
            case 0: return check(clipshelf_catalogue_remove(opened, rarely() ? nullptr : ids, below(2), &options));
            case 1: check(clipshelf_catalogue_add(opened, products, rarely() ? nullptr : &options, &failures)); break;
            default: check(clipshelf_catalogue_update(opened, products, &options, &failures));
        }
        read(failures);
    }

    // What ends the next calls of this thread: a time, or a token that is cancelled soon, at once or never.
    void obey() {
        clipshelf_token *token = nullptr;
        check(clipshelf_token_open(&token));
        clipshelf_call_options options = CLIPSHELF_CALL_OPTIONS_INIT;
        options.milliseconds = rarely() ? ~std::size_t{0} : below(20);
        options.token = rarely() ? handle<clipshelf_token>() : below(2) ? token : nullptr;
        if (rarely()) options.size = below(sizeof options + 1);
        check(clipshelf_thread_options(below(2) ? nullptr : &options));
        if (below(2)) check(clipshelf_token_cancel(token));
        check(clipshelf_token_close(token));
    }

    void embed_images_each() {
        std::vector<unsigned char> first, second;
        const clipshelf_image images[] = {image(first), image(second)};
        std::vector<float> out(below(2) ? 4096 : below(64));
        clipshelf_failures *failures = nullptr;
        const clipshelf_status status =
            clipshelf_embed_images_each(handle<clipshelf_engine>(), rarely() ? nullptr : images, below(3), out.data(),
                                        out.size(), rarely() ? nullptr : &failures);
        check(status);
        if (status == CLIPSHELF_OK) read(failures);
    }

    void embed_texts() {
        const std::string one = noise(), two = noise();
        const char *texts[] = {one.c_str(), rarely() ? nullptr : two.c_str()};
        const std::size_t lengths[] = {below(one.size() + 1), rarely() ? ~std::size_t{0} : two.size()};
        std::vector<float> out(below(2) ? 4096 : below(64));
        check(clipshelf_embed_texts(handle<clipshelf_engine>(), rarely() ? nullptr : texts, texts[1] && below(2) ? lengths : nullptr,
                                   rarely() ? ~std::size_t{0} : below(3), rarely() ? nullptr : out.data(), out.size()));
    }

    void embed_images() {
        std::vector<unsigned char> first, second;
        const clipshelf_image images[] = {image(first), image(second)};
        std::vector<float> out(below(2) ? 4096 : below(64));
        check(clipshelf_embed_images(handle<clipshelf_engine>(), rarely() ? nullptr : images,
                                    rarely() ? ~std::size_t{0} : below(3), rarely() ? nullptr : out.data(), out.size()));
    }

    void read_result() {
        const clipshelf_item *const *items = nullptr;
        const char *json = nullptr;
        std::size_t count = 0;
        // of a result that no other thread closes meanwhile
        clipshelf_query query = CLIPSHELF_QUERY_INIT;
        query.text = "a red shoe";
        clipshelf_result *result = nullptr;
        check(clipshelf_recommend(handle<clipshelf_catalogue>(), &query, &result));
        check(clipshelf_result_items(rarely() ? handle<clipshelf_result>() : result, nullptr, &count));
        if (!result || clipshelf_result_items(result, &items, &count) || clipshelf_result_json(result, &json)) return;
        check(clipshelf_result_close(result));
    }

    void sizes() {
        std::size_t size = 0;
        check(clipshelf_engine_dim(handle<clipshelf_engine>(), rarely() ? nullptr : &size));
        check(clipshelf_catalogue_size(handle<clipshelf_catalogue>(), rarely() ? nullptr : &size));
    }

    std::mt19937_64 random_;
};

// Whether calls in a forked child fail, instead of waiting for threads that the child does not have.
bool child_calls_fail(clipshelf_engine *engine) {
    const pid_t child = fork();
    if (child == 0) {
        float row[8];
        const char *text = "a red shoe";
        clipshelf_engine *again = nullptr;
        const bool failed = clipshelf_embed_texts(engine, &text, nullptr, 1, row, 8) == CLIPSHELF_NO_RUNTIME &&
                            clipshelf_engine_open(nullptr, &again) == CLIPSHELF_NO_RUNTIME && *clipshelf_last_error();
        _exit(failed ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    artifact = argv[1], catalogue = argv[2];
    const auto seed = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10));
    const long calls = std::strtol(argv[4], nullptr, 10);
    clipshelf_engine_options options = CLIPSHELF_ENGINE_OPTIONS_INIT;
    options.artifact = artifact.c_str();
    clipshelf_engine *engine = nullptr;
    clipshelf_catalogue *opened = nullptr;
    if (clipshelf_engine_open(&options, &engine) || clipshelf_catalogue_open(engine, catalogue.c_str(), &opened)) {
        std::fprintf(stderr, "%s\n", clipshelf_last_error());
        return 1;
    }
    if (!child_calls_fail(engine)) {
        std::fputs("a call in a forked child did not fail as it should\n", stderr);
        return 1;
    }
    handles.push_back(engine), handles.push_back(opened);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 4; ++i)
        threads.emplace_back([=] {
            Caller caller(4 * seed + i);
            for (long n = 0; n < calls; ++n) caller.call();
        });
    for (auto &thread : threads) thread.join();
    std::puts("done");
    return clipshelf_shutdown();
}
