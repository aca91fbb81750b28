// Handles are keys of a table, not addresses, so that a closed or invented handle is found to be none and does no harm.
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

// Keys start where no address of a process lies. No key is used twice, in any table.
inline std::uintptr_t next_key() {
    static std::atomic<std::uintptr_t> last{std::uintptr_t{0x5C5C} << (8 * sizeof(std::uintptr_t) - 16)};
    return ++last;
}

// The objects behind one kind of handle. A call shares its object, which therefore outlives a close during the call.
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
        const auto entry = objects_.find(key_of(handle));
        if (entry == objects_.end()) throw missing();
        return entry->second;
    }

    void close(Handle *handle) {
        if (!handle) return;
        std::shared_ptr<Object> object;  // destroyed after the lock is released
        std::unique_lock lock(mutex_);
        const auto entry = objects_.find(key_of(handle));
        if (entry == objects_.end()) throw missing();
        object = std::move(entry->second);
        objects_.erase(entry);
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
