// Handles are keys of a table, not addresses: one that was closed, or made up, is not found, and that is all.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "errors.hpp"

namespace clipshelf::host {

// Keys start where no address of a process lies, are never used twice, and are those of one table only.
inline std::uintptr_t next_key() {
    static std::atomic<std::uintptr_t> last{std::uintptr_t{0x5C5C} << (8 * sizeof(std::uintptr_t) - 16)};
    return ++last;
}

// What a kind of handle stands for. Who uses an object shares it, so that it outlives a close meanwhile.
template <class Handle, class Object>
class Table {
public:
    explicit Table(const char *kind) : kind_(kind) {}

    Handle *add(std::shared_ptr<Object> object) {
        const std::uintptr_t key = next_key();
        std::unique_lock lock(mutex_);
        objects_.emplace(key, std::move(object));
        return reinterpret_cast<Handle *>(key);
    }

    std::shared_ptr<Object> get(const Handle *handle) const {
        std::shared_lock lock(mutex_);
        const auto found = objects_.find(key_of(handle));
        if (found == objects_.end()) throw missing();
        return found->second;
    }

    void close(Handle *handle) {
        if (!handle) return;
        std::shared_ptr<Object> last;  // let go after the lock
        std::unique_lock lock(mutex_);
        const auto found = objects_.find(key_of(handle));
        if (found == objects_.end()) throw missing();
        last = std::move(found->second);
        objects_.erase(found);
        lock.unlock();
    }

    void close_all() {
        std::unordered_map<std::uintptr_t, std::shared_ptr<Object>> all;
        std::unique_lock lock(mutex_);
        all.swap(objects_);
        lock.unlock();
    }

private:
    static std::uintptr_t key_of(const Handle *handle) {
        require(handle, "handle: expected one that is open, found NULL");
        return reinterpret_cast<std::uintptr_t>(handle);
    }

    Failure missing() const {
        return {CLIPSHELF_CLOSED_HANDLE, std::string("handle: expected an open ") + kind_ + ", found a closed one or none"};
    }

    const char *kind_;
    mutable std::shared_mutex mutex_;
    std::unordered_map<std::uintptr_t, std::shared_ptr<Object>> objects_;
};

}  // namespace clipshelf::host
