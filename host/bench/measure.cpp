// What calls of the library cost a host. Usage:
//     measure text ARTIFACT THREADS            median microseconds of one text embedding
//     measure scale ARTIFACT PICTURE           calls a second of 4 host threads over those of 1, one thread an inference
//     measure cycles ARTIFACT CATALOGUE N      growth of resident memory in KiB over N cycles of open, call and close
// ARTIFACT "-" is the embedded default. bench.py compares with the same calls in Python.

#include <clipshelf.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view TEXT = "I love running shoes, especially those with great support and comfort.";

clipshelf::Options make_options(const std::string &artifact, std::size_t threads) {
    clipshelf::Options options;
    if (artifact != "-") options.artifact = artifact;
    options.threads = threads;
    options.warm = true;
    return options;
}

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

void text(const std::string &artifact, std::size_t threads) {
    const clipshelf::Engine engine(make_options(artifact, threads));
    clipshelf::Rows row(1, engine.dim());
    const std::string_view texts[] = {TEXT};
    std::vector<double> times;
    for (int i = 0; i < 2200; ++i) {
        const auto start = Clock::now();
        engine.embed_texts({texts, 1}, row.floats());
        if (i >= 200) times.push_back(microseconds(Clock::now() - start));
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    std::printf("%.1f\n", times[times.size() / 2]);
}

double rate(std::size_t threads, const std::function<void()> &call) {
    std::vector<std::thread> workers;
    std::vector<long> counts(threads);
    const auto start = Clock::now(), end = start + std::chrono::milliseconds(1500);
    for (auto &count : counts)
        workers.emplace_back([&] {
            while (Clock::now() < end) call(), ++count;
        });
    for (auto &thread : workers) thread.join();
    long total = 0;
    for (const long count : counts) total += count;
    return 1e6 * total / microseconds(Clock::now() - start);
}

void scale(const std::string &artifact, const char *picture) {
    std::ifstream file(picture, std::ios::binary);
    const std::vector<unsigned char> photo{std::istreambuf_iterator<char>(file), {}};
    const clipshelf::Engine engine(make_options(artifact, 1));
    const std::function<void()> texts = [&] { engine.embed_texts({TEXT}); };
    const std::function<void()> images = [&] { engine.embed_images({clipshelf::encoded(photo)}); };
    for (const auto &[name, call] : {std::pair("text", texts), std::pair("image", images)}) {
        std::vector<double> ratios;
        for (int i = 0; i < 5; ++i) {
            const double single = rate(1, call);
            ratios.push_back(rate(4, call) / single);
        }
        std::sort(ratios.begin(), ratios.end());
        std::printf("%s %.2f (%.2f to %.2f)\n", name, ratios[2], ratios[0], ratios[4]);
    }
}

long resident() {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);)
        if (line.rfind("VmRSS:", 0) == 0) return std::strtol(line.c_str() + 6, nullptr, 10);
    return 0;
}

void cycles(const std::string &artifact, const std::string &folder, long count) {
    long before = 0;
    const unsigned char red[] = {255, 0, 0};
    for (long i = 0; i < count + 500; ++i) {
        if (i == 500) before = resident();  // pools and caches are full now
        const clipshelf::Engine engine(make_options(artifact, 1));
        const clipshelf::Catalogue catalogue(engine, folder);
        engine.embed_images({clipshelf::pixels(red, CLIPSHELF_RGB, 1, 1)});
        const auto result = catalogue.recommend(clipshelf::Query().text("red shoe").k(2));
        if (result.items().size() != 2) throw std::runtime_error("expected 2 products");
    }
    std::printf("%ld\n", resident() - before);
}

}  // namespace

int main(int argc, char **argv) try {
    const std::string mode = argc > 2 ? argv[1] : "";
    if (mode == "text" && argc == 4) text(argv[2], std::strtoul(argv[3], nullptr, 10));
    else if (mode == "scale" && argc == 4) scale(argv[2], argv[3]);
    else if (mode == "cycles" && argc == 5) cycles(argv[2], argv[3], std::strtol(argv[4], nullptr, 10));
    else return std::fputs("usage: see the top of measure.cpp\n", stderr), 2;
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "measure: %s\n", error.what());
    return 1;
}
