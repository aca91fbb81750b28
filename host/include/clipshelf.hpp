// clipshelf for C++17: RAII over clipshelf.h, in one header. host/README.md is the guide.
//
// Every function may be called from any thread. A failure throws clipshelf::Error. Objects move and do not copy. An object
// that was moved from or closed throws CLIPSHELF_CLOSED_HANDLE or CLIPSHELF_INVALID_ARGUMENT, like a null handle.
#ifndef CLIPSHELF_HPP
#define CLIPSHELF_HPP

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "clipshelf.h"

namespace clipshelf {

// A failure: `status()` for programs, `what()` for people.
class Error : public std::runtime_error {
public:
    Error(clipshelf_status status, const char *message) : std::runtime_error(message), status_(status) {}
    clipshelf_status status() const noexcept { return status_; }

private:
    clipshelf_status status_;
};

inline void check(clipshelf_status status) {
    if (status != CLIPSHELF_OK) throw Error(status, clipshelf_last_error());
}

// A view of contiguous values that the caller owns; std::span of C++20.
template <class T>
class View {
public:
    constexpr View() noexcept = default;
    constexpr View(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t N>
    constexpr View(T (&array)[N]) noexcept : data_(array), size_(N) {}
    // From anything with data() and size(): std::vector, std::array, std::string, std::span.
    template <class Container, class = decltype(static_cast<T *>(std::declval<Container>().data()))>
    constexpr View(Container &&container) noexcept : data_(container.data()), size_(container.size()) {}
    // From values in braces, which live until the end of the call that they are written in.
    template <class Value = T, class = std::enable_if_t<std::is_const_v<Value>>>
    constexpr View(std::initializer_list<std::remove_const_t<Value>> values) noexcept
        : View(values.begin(), values.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

using Image = clipshelf_image;
using Item = clipshelf_item;

// The products of a result. They belong to it.
class Items {
public:
    class Iterator {
    public:
        explicit Iterator(const Item *const *at) noexcept : at_(at) {}
        const Item &operator*() const noexcept { return **at_; }
        const Item *operator->() const noexcept { return *at_; }
        Iterator &operator++() noexcept {
            ++at_;
            return *this;
        }
        bool operator==(const Iterator &other) const noexcept { return at_ == other.at_; }
        bool operator!=(const Iterator &other) const noexcept { return at_ != other.at_; }

    private:
        const Item *const *at_;
    };

    Items(const Item *const *data, std::size_t size) noexcept : data_(data), size_(size) {}
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    const Item &operator[](std::size_t i) const noexcept { return *data_[i]; }
    Iterator begin() const noexcept { return Iterator(data_); }
    Iterator end() const noexcept { return Iterator(data_ + size_); }

private:
    const Item *const *data_;
    std::size_t size_;
};

// What was wrong with one item of a call that went on without it.
struct Failure {
    std::size_t index;
    clipshelf_status status;
    std::string message;
};

// Copy what failed, and close the handle.
inline std::vector<Failure> take(clipshelf_failures *handle) {
    std::vector<Failure> found;
    std::size_t count = 0;
    clipshelf_failures_count(handle, &count);
    for (std::size_t i = 0; i < count; ++i) {
        const clipshelf_failure *failure = nullptr;
        if (!clipshelf_failures_item(handle, i, &failure)) found.push_back({failure->index, failure->status, failure->message});
    }
    clipshelf_failures_close(handle);
    return found;
}

// Bytes of someone else's: a pointer and a size, or anything with data() and size() whose elements are bytes.
class Bytes {
public:
    Bytes(const void *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class Container, class = std::enable_if_t<sizeof(*std::data(std::declval<const Container &>())) == 1>>
    Bytes(const Container &container) noexcept : data_(std::data(container)), size_(std::size(container)) {}

    const void *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    const void *data_;
    std::size_t size_;
};

// A picture as it came from a file or the network. The bytes are read during calls that take it.
inline Image encoded(Bytes bytes) noexcept { 
    return {sizeof(Image), bytes.data(), bytes.size(), CLIPSHELF_ENCODED, 0, 0, 0};
}

// Raw pixels, `stride` bytes from a row to the next; 0: rows without a gap.
inline Image pixels(Bytes bytes, clipshelf_format format, std::size_t width, std::size_t height,
                    std::size_t stride = 0) noexcept {
    return {sizeof(Image), bytes.data(), bytes.size(), format, width, height, stride};
}

// Closes a handle once.
template <class T, clipshelf_status (*close_handle)(T *)>
class Handle {
public:
    Handle(Handle &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Handle &operator=(Handle &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Handle() { close_handle(handle_); }

    T *get() const noexcept { return handle_; }
    void close() { check(close_handle(std::exchange(handle_, nullptr))); }

protected:
    explicit Handle(T *handle) noexcept : handle_(handle) {}

private:
    T *handle_;
};

// Options of an engine; empty strings and zeros are the defaults of clipshelf_engine_options.
struct Options {
    std::string venv, artifact, provider, decode, limits;
    std::size_t threads = 0;
    bool warm = false;
};

// Rows of embeddings, contiguous: rows[i] is a view of `dim` floats.
class Rows {
public:
    Rows(std::size_t count, std::size_t dim) : floats_(count * dim), count_(count), dim_(dim) {}
    std::size_t size() const noexcept { return count_; }
    std::size_t dim() const noexcept { return dim_; }
    View<const float> operator[](std::size_t i) const noexcept { return {floats_.data() + i * dim_, dim_}; }
    View<float> floats() noexcept { return {floats_.data(), floats_.size()}; }
    View<const float> floats() const noexcept { return {floats_.data(), floats_.size()}; }

private:
    std::vector<float> floats_;
    std::size_t count_, dim_;
};

class Engine : public Handle<clipshelf_engine, clipshelf_engine_close> {
public:
    explicit Engine(const Options &options = {}) : Handle(open(options)), dim_(0) {
        check(clipshelf_engine_dim(get(), &dim_));
    }

    // Width of an embedding, in floats.
    std::size_t dim() const noexcept { return dim_; }

    // Write one row of dim() floats for each text to `out`, which has room for them.
    void embed_texts(View<const std::string_view> texts, View<float> out) const {
        std::vector<const char *> data;
        std::vector<std::size_t> sizes;
        data.reserve(texts.size());
        sizes.reserve(texts.size());
        for (const std::string_view text : texts) {
            data.push_back(text.data() ? text.data() : "");
            sizes.push_back(text.size());
        }
        check(clipshelf_embed_texts(get(), data.data(), sizes.data(), texts.size(), out.data(), out.size()));
    }

    Rows embed_texts(View<const std::string_view> texts) const {
        Rows rows(texts.size(), dim_);
        embed_texts(texts, rows.floats());
        return rows;
    }

    // Write one row of dim() floats for each picture to `out`, which has room for them.
    void embed_images(View<const Image> images, View<float> out) const {
        check(clipshelf_embed_images(get(), images.data(), images.size(), out.data(), out.size()));
    }

    Rows embed_images(View<const Image> images) const {
        Rows rows(images.size(), dim_);
        embed_images(images, rows.floats());
        return rows;
    }

    // The same; a picture that cannot be read leaves a row of zeros and is added to `failures`.
    Rows embed_images(View<const Image> images, std::vector<Failure> &failures) const {
        Rows rows(images.size(), dim_);
        clipshelf_failures *failed = nullptr;
        check(clipshelf_embed_images_each(get(), images.data(), images.size(), rows.floats().data(), rows.floats().size(),
                                          &failed));
        failures = take(failed);
        return rows;
    }

private:
    static clipshelf_engine *open(const Options &options) {
        const auto text = [](const std::string &value) { return value.empty() ? nullptr : value.c_str(); };
        clipshelf_engine_options c_options = CLIPSHELF_ENGINE_OPTIONS_INIT;
        c_options.venv = text(options.venv);
        c_options.artifact = text(options.artifact);
        c_options.provider = text(options.provider);
        c_options.decode = text(options.decode);
        c_options.limits = text(options.limits);
        c_options.threads = options.threads;
        c_options.warm = options.warm;
        clipshelf_engine *handle = nullptr;
        check(clipshelf_engine_open(&c_options, &handle));
        return handle;
    }

    std::size_t dim_;
};

// A query: each call adds to it. Strings are copied; a picture is read when the catalogue answers.
class Query {
public:
    Query &text(std::string value) { return set(text_, std::move(value)); }
    Query &where(std::string value) { return set(where_, std::move(value)); }
    // All other arguments, as docs/json.md describes them.
    Query &json(std::string value) { return set(json_, std::move(value)); }
    Query &image(const Image &value) {
        image_ = value;
        has_image_ = true;
        return *this;
    }
    Query &like(std::string id) { return add(liked_, std::move(id)); }
    Query &dislike(std::string id) { return add(disliked_, std::move(id)); }
    Query &k(std::size_t value) {
        k_ = value;
        return *this;
    }

private:
    friend class Catalogue;

    static const char *or_null(const std::string &value) { return value.empty() ? nullptr : value.c_str(); }
    static std::vector<const char *> pointers(const std::vector<std::string> &ids) {
        std::vector<const char *> pointers;
        for (const auto &id : ids) pointers.push_back(id.c_str());
        return pointers;
    }
    Query &set(std::string &field, std::string value) {
        field = std::move(value);
        return *this;
    }
    Query &add(std::vector<std::string> &ids, std::string id) {
        ids.push_back(std::move(id));
        return *this;
    }

    std::string text_, where_, json_;
    Image image_{};
    bool has_image_ = false;
    std::vector<std::string> liked_, disliked_;
    std::size_t k_ = 0;
};

// The products that fit, best first. Items and JSON point into the result, so a temporary result does not give them.
class Result : public Handle<clipshelf_result, clipshelf_result_close> {
public:
    Items items() const && = delete;
    Items items() const & {
        const Item *const *items = nullptr;
        std::size_t count = 0;
        check(clipshelf_result_items(get(), &items, &count));
        return {items, count};
    }

    // The whole answer as the JSON that `clipshelf recommend --json` prints.
    std::string_view json() const && = delete;
    std::string_view json() const & {
        const char *json = nullptr;
        check(clipshelf_result_json(get(), &json));
        return json;
    }

private:
    friend class Catalogue;
    using Handle::Handle;
};

// How a catalogue is changed; zeros are the defaults of clipshelf_change_options.
struct ChangeOptions {
    double allow_shrink = 0.0;
    double wait = 0.0;
    bool keep_text = false;

    clipshelf_change_options c_options() const noexcept {
        return {sizeof(clipshelf_change_options), allow_shrink, wait, keep_text};
    }
};

// Cancels the calls that obey it, from any thread.
class Token : public Handle<clipshelf_token, clipshelf_token_close> {
public:
    Token() : Handle(open()) {}
    void cancel() { check(clipshelf_token_cancel(get())); }

private:
    static clipshelf_token *open() {
        clipshelf_token *handle = nullptr;
        check(clipshelf_token_open(&handle));
        return handle;
    }
};

// What the calls of this thread obey while the object lives: a time, a token or both. Afterwards they obey nothing.
class Obey {
public:
    explicit Obey(std::chrono::milliseconds time, const Token *token = nullptr) {
        clipshelf_call_options options = CLIPSHELF_CALL_OPTIONS_INIT;
        options.milliseconds = static_cast<std::size_t>(time.count() < 0 ? 0 : time.count());
        options.token = token ? token->get() : nullptr;
        check(clipshelf_thread_options(&options));
    }
    explicit Obey(const Token &token) : Obey(std::chrono::milliseconds(0), &token) {}
    Obey(const Obey &) = delete;
    Obey &operator=(const Obey &) = delete;
    ~Obey() { clipshelf_thread_options(nullptr); }
};

class Catalogue : public Handle<clipshelf_catalogue, clipshelf_catalogue_close> {
public:
    Catalogue(const Engine &engine, const std::string &folder) : Handle(open(engine, folder)) {}

    // Number of products.
    std::size_t size() const {
        std::size_t size = 0;
        check(clipshelf_catalogue_size(get(), &size));
        return size;
    }

    Result recommend(const Query &query) const {
        const Given given(query);
        clipshelf_result *result = nullptr;
        check(clipshelf_recommend(get(), &given.query, &result));
        return Result(result);
    }

    // One result for each query, in order. A query that cannot be answered is added to `failures`; its result is closed.
    std::vector<Result> recommend(View<const Query> queries, std::vector<Failure> &failures) const {
        std::vector<Given> all;
        all.reserve(queries.size());
        for (const Query &query : queries) all.emplace_back(query);
        std::vector<clipshelf_query> given;
        for (const Given &one : all) given.push_back(one.query);
        std::vector<clipshelf_result *> handles(given.size());
        clipshelf_failures *failed = nullptr;
        check(clipshelf_recommend_batch(get(), given.data(), given.size(), handles.data(), &failed));
        failures = take(failed);
        std::vector<Result> results;
        for (clipshelf_result *handle : handles) results.push_back(Result(handle));
        return results;
    }

    // The products with these ids, in order.
    Result products(const std::vector<std::string> &ids) const {
        const auto pointers = Query::pointers(ids);
        clipshelf_result *result = nullptr;
        check(clipshelf_catalogue_products(get(), pointers.data(), pointers.size(), &result));
        return Result(result);
    }

    // Answer from the newest generation in the folder from now on.
    void reload() { check(clipshelf_catalogue_reload(get())); }

    // Change the catalogue in its folder, and answer from it from now on. `products` is a JSON array of objects.
    std::vector<Failure> add(const std::string &products, const ChangeOptions &options = {}) {
        return changed(clipshelf_catalogue_add, products, options);
    }
    std::vector<Failure> update(const std::string &products, const ChangeOptions &options = {}) {
        return changed(clipshelf_catalogue_update, products, options);
    }
    void remove(const std::vector<std::string> &ids, const ChangeOptions &options = {}) {
        const auto pointers = Query::pointers(ids);
        const auto c_options = options.c_options();
        check(clipshelf_catalogue_remove(get(), pointers.data(), pointers.size(), &c_options));
    }

private:
    // A query as the C interface takes it; it points into the Query.
    struct Given {
        explicit Given(const Query &of)
            : liked(Query::pointers(of.liked_)), disliked(Query::pointers(of.disliked_)), query(CLIPSHELF_QUERY_INIT) {
            query.text = Query::or_null(of.text_);
            query.image = of.has_image_ ? &of.image_ : nullptr;
            query.liked = liked.data();
            query.liked_count = liked.size();
            query.disliked = disliked.data();
            query.disliked_count = disliked.size();
            query.where = Query::or_null(of.where_);
            query.k = of.k_;
            query.json = Query::or_null(of.json_);
        }
        std::vector<const char *> liked, disliked;
        clipshelf_query query;
    };

    using Change = clipshelf_status (*)(clipshelf_catalogue *, const char *, const clipshelf_change_options *,
                                        clipshelf_failures **);

    std::vector<Failure> changed(Change change, const std::string &products, const ChangeOptions &options) {
        const auto c_options = options.c_options();
        clipshelf_failures *failed = nullptr;
        check(change(get(), products.c_str(), &c_options, &failed));
        return take(failed);
    }

    static clipshelf_catalogue *open(const Engine &engine, const std::string &folder) {
        clipshelf_catalogue *handle = nullptr;
        check(clipshelf_catalogue_open(engine.get(), folder.c_str(), &handle));
        return handle;
    }
};

}  // namespace clipshelf

#endif
