// RocksDB's `InlineSkipList` over its `ConcurrentArena`, as its memtable uses them, behind a C interface for `rocksdb.rs`.
//
// An entry is what a RocksDB memtable writes: the length of key and tag, the key, the tag (a sequence number, and in the lowest byte
// what kind of entry it is), the length of the value, the value. Greater numbers come first. Left out is what a memtable adds to that:
// virtual calls to the list and to the user's comparator, its bloom filter, checksums, counters.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include "memory/concurrent_arena.h"
#include "memtable/inlineskiplist.h"
#include "rocksdb/version.h"
#include "util/coding.h"

extern "C" {
struct PeersBytes {
  const char *data;
  size_t size;

  std::string_view view() const { return {data, size}; }
};

void *peers_rust_alloc(size_t size);
void peers_rust_free(void *block);
}

// What RocksDB takes of the heap is counted like everybody's. (Only this program's: it has no other C++ in it.)
void *operator new(size_t size) {
  if (void *block = peers_rust_alloc(size)) return block;
  throw std::bad_alloc();
}
void *operator new[](size_t size) { return operator new(size); }
void operator delete(void *block) noexcept { peers_rust_free(block); }
void operator delete[](void *block) noexcept { peers_rust_free(block); }
void operator delete(void *block, size_t) noexcept { peers_rust_free(block); }
void operator delete[](void *block, size_t) noexcept { peers_rust_free(block); }

// What the arena would call if it were asked for huge pages, or were given a tracker. It is not.
namespace rocksdb {
void AllocTracker::Allocate(size_t) {}
void AllocTracker::FreeMem() {}
std::string errnoStr(int) { return {}; }
void Log(InfoLogLevel, Logger *, const char *, ...) {}
}  // namespace rocksdb

namespace {

using rocksdb::Slice;

// What RocksDB gives a memtable of 64 MiB.
constexpr size_t kArenaBlock = 1 << 20;
constexpr size_t kTag = 8;
// Keys that are looked up together at most.
constexpr size_t kMost = 64;
constexpr uint64_t kValue = 1;
constexpr uint64_t kMaxTag = UINT64_MAX;

std::string_view user_key(const Slice &internal) { return {internal.data(), internal.size() - kTag}; }

Slice internal_key(const char *entry) {
  uint32_t size = 0;
  const char *key = rocksdb::GetVarint32Ptr(entry, entry + 5, &size);
  return Slice(key, size);
}

PeersBytes value_behind(const Slice &internal) {
  uint32_t size = 0;
  const char *end = internal.data() + internal.size();
  const char *value = rocksdb::GetVarint32Ptr(end, end + 5, &size);
  return {value, size};
}

// The value of an entry, if it is of this key.
bool take_value(const char *entry, std::string_view key, PeersBytes *value) {
  const Slice found = internal_key(entry);
  const bool is_it = user_key(found) == key;
  if (is_it) *value = value_behind(found);
  return is_it;
}

struct KeyComparator {
  using DecodedType = Slice;

  Slice decode_key(const char *entry) const { return internal_key(entry); }

  int operator()(const char *entry, const Slice &key) const {
    const Slice own = internal_key(entry);
    const size_t shorter = std::min(own.size(), key.size()) - kTag;
    if (const int order = memcmp(own.data(), key.data(), shorter)) return order;
    if (own.size() != key.size()) return own.size() < key.size() ? -1 : 1;
    const uint64_t tag = rocksdb::DecodeFixed64(own.data() + shorter), other = rocksdb::DecodeFixed64(key.data() + shorter);
    return tag > other ? -1 : tag < other;
  }
  int operator()(const char *one, const char *other) const { return operator()(one, internal_key(other)); }
};

using List = rocksdb::InlineSkipList<KeyComparator>;

// What is looked for: the newest version of a key.
class Wanted {
 public:
  explicit Wanted(std::string_view key) {
    const size_t size = 5 + key.size() + kTag;
    if (size > sizeof inline_) far_.resize(size);
    char *end = rocksdb::EncodeVarint32(begin(), uint32_t(key.size() + kTag));
    memcpy(end, key.data(), key.size());
    rocksdb::EncodeFixed64(end + key.size(), kMaxTag);
  }
  const char *entry() { return begin(); }

 private:
  char *begin() { return far_.empty() ? inline_ : far_.data(); }

  char inline_[200];
  std::vector<char> far_;
};

struct Saver {
  std::string_view key;
  PeersBytes *value;

  static bool save(void *self, const char *entry) {
    const auto &[key, value] = *static_cast<const Saver *>(self);
    take_value(entry, key, value);
    return false;
  }
};

// Sorted, with a finger, as `memtable_batch_lookup_optimization` has it, where the version has that.
template <class AnyList, class Else>
void get_many(const AnyList &list, const PeersBytes *keys, PeersBytes *values, size_t count, Else get_each) {
  if constexpr (requires { list.MultiGet(count, nullptr, nullptr, Saver::save); }) {
    std::array<Saver, kMost> savers;
    std::array<std::optional<Wanted>, kMost> wanted;
    std::array<const char *, kMost> entries;
    std::array<void *, kMost> arguments;
    for (; count > 0; keys += kMost, values += kMost, count -= std::min(count, kMost)) {
      const size_t now = std::min(count, kMost);
      for (size_t i = 0; i < now; ++i) savers[i] = {keys[i].view(), &values[i]};
      std::sort(savers.begin(), savers.begin() + now, [](const Saver &a, const Saver &b) { return a.key < b.key; });
      for (size_t i = 0; i < now; ++i) {
        entries[i] = wanted[i].emplace(savers[i].key).entry();
        arguments[i] = &savers[i];
      }
      list.MultiGet(now, entries.data(), arguments.data(), Saver::save);
    }
  } else {
    get_each();
  }
}

}  // namespace

extern "C" {

struct PeersRocksDb {
  explicit PeersRocksDb(bool is_shared) : list(KeyComparator(), &arena), is_shared(is_shared) {}

  rocksdb::ConcurrentArena arena{kArenaBlock};
  List list;
  // Whether several threads write. If not, `Insert` is used, which keeps the position of the last one.
  const bool is_shared;
  // Where the last of a sorted batch went, if one thread writes. In the arena.
  void *hint = nullptr;
  std::atomic<uint64_t> last_seq{1};
};

using PeersVisit = void (*)(void *context, PeersBytes key, PeersBytes value);

static char *peers_make(PeersRocksDb &table, PeersBytes key, PeersBytes value, uint64_t seq) {
  const uint32_t internal = uint32_t(key.size + kTag);
  const size_t size = rocksdb::VarintLength(internal) + internal + rocksdb::VarintLength(value.size) + value.size;
  char *const entry = table.list.AllocateKey(size);
  char *end = rocksdb::EncodeVarint32(entry, internal);
  memcpy(end, key.data, key.size);
  rocksdb::EncodeFixed64(end + key.size, seq << 8 | kValue);
  end = rocksdb::EncodeVarint32(end + internal, uint32_t(value.size));
  memcpy(end, value.data, value.size);
  return entry;
}

static bool peers_put(PeersRocksDb &table, PeersBytes key, PeersBytes value, uint64_t seq) {
  char *const entry = peers_make(table, key, value, seq);
  return table.is_shared ? table.list.InsertConcurrently(entry) : table.list.Insert(entry);
}

const char *peers_rocksdb_version() {
#define PEERS_TEXT(x) #x
#define PEERS_VERSION(a, b, c) PEERS_TEXT(a) "." PEERS_TEXT(b) "." PEERS_TEXT(c)
  return PEERS_VERSION(ROCKSDB_MAJOR, ROCKSDB_MINOR, ROCKSDB_PATCH);
}

PeersRocksDb *peers_rocksdb_new(bool is_shared) { return new PeersRocksDb(is_shared); }
void peers_rocksdb_drop(PeersRocksDb *table) { delete table; }
size_t peers_rocksdb_used(const PeersRocksDb *table) { return table->arena.ApproximateMemoryUsage(); }

bool peers_rocksdb_insert(PeersRocksDb *table, PeersBytes key, PeersBytes value) { return peers_put(*table, key, value, 1); }

bool peers_rocksdb_overwrite(PeersRocksDb *table, PeersBytes key, PeersBytes value) {
  return peers_put(*table, key, value, 1 + table->last_seq.fetch_add(1, std::memory_order_relaxed));
}

// Keys ascend.
bool peers_rocksdb_insert_batch(PeersRocksDb *table, const PeersBytes *keys, const PeersBytes *values, size_t count) {
  bool all = true;
  void *hint = nullptr;
  for (size_t i = 0; i < count; ++i) {
    char *const entry = peers_make(*table, keys[i], values[i], 1);
    all &= table->is_shared ? table->list.InsertWithHintConcurrently(entry, &hint)
                            : table->list.InsertWithHint(entry, &table->hint);
  }
  // A writer among others has one on the heap.
  delete[] static_cast<char *>(hint);
  return all;
}

bool peers_rocksdb_get(const PeersRocksDb *table, PeersBytes key, PeersBytes *value) {
  Wanted wanted(key.view());
  List::Iterator at(&table->list);
  at.Seek(wanted.entry());
  return at.Valid() && take_value(at.key(), key.view(), value);
}

// `values[i].data` stays null where there is no such key.
void peers_rocksdb_get_many(const PeersRocksDb *table, const PeersBytes *keys, PeersBytes *values, size_t count) {
  const auto get_each = [&] {
    for (size_t i = 0; i < count; ++i) peers_rocksdb_get(table, keys[i], &values[i]);
  };
  get_many(table->list, keys, values, count, get_each);
}

// `count` entries from `from` on, or from the first.
void peers_rocksdb_scan(const PeersRocksDb *table, const PeersBytes *from, size_t count, PeersVisit visit, void *context) {
  List::Iterator at(&table->list);
  if (from) {
    Wanted wanted(from->view());
    at.Seek(wanted.entry());
  } else {
    at.SeekToFirst();
  }
  // Older versions come behind the newest: they have its key.
  std::string_view last;
  for (bool is_first = true; count > 0 && at.Valid(); at.Next()) {
    const Slice key = internal_key(at.key());
    if (!is_first && user_key(key) == last) continue;
    is_first = false;
    last = user_key(key);
    count -= 1;
    visit(context, {last.data(), last.size()}, value_behind(key));
  }
}

// All entries, descending. There are no links back: each step is a search, here as there.
void peers_rocksdb_scan_back(const PeersRocksDb *table, PeersVisit visit, void *context) {
  List::Iterator at(&table->list);
  at.SeekToLast();
  while (at.Valid()) {
    // Of several versions the newest comes last.
    Slice key = internal_key(at.key());
    for (at.Prev(); at.Valid(); at.Prev()) {
      const Slice before = internal_key(at.key());
      if (user_key(before) != user_key(key)) break;
      key = before;
    }
    visit(context, {key.data(), key.size() - kTag}, value_behind(key));
  }
}

}  // extern "C"
