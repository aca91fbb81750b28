// Answers a review and a photo from a catalogue that `clipshelf index` wrote.
//
//     recommend CATALOGUE PHOTO [REVIEW]

#include <clipshelf.hpp>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

namespace {

std::vector<unsigned char> read(const char *path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string("expected a photo, found no file ") + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char **argv) try {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s CATALOGUE PHOTO [REVIEW]\n", argv[0]);
        return 2;
    }
    const char *review = argc > 3 ? argv[3] : "I love running shoes, especially those with great support and comfort.";
    const auto photo = read(argv[2]);

    const clipshelf::Engine engine;
    const clipshelf::Catalogue catalogue(engine, argv[1]);
    const auto result = catalogue.recommend(clipshelf::Query().text(review).image(clipshelf::encoded(photo)).k(2));

    std::printf("%s\n", review);
    for (const auto &item : result.items())
        std::printf("%6.3f  %3.0f%%  %s  %s\n", item.score, 100 * item.relevance, item.id, item.product);
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "recommend: %s\n", error.what());
    return 1;
}
