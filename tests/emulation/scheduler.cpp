#include "scheduler.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

// The shared memory of the block that runs, and what must stay as it was behind it. A kernel declares it as a variable
// of its own namespace, thread_local because that is what __shared__ stands for.
constexpr std::size_t kGuardBytes = 4096;
extern "C" {
alignas(256) thread_local unsigned char lrnnx_emulated_shared[lrnnx::emulation::kSharedBytes + kGuardBytes];
}
namespace lrnnx::cuda {
extern thread_local unsigned char shared[] __attribute__((alias("lrnnx_emulated_shared")));
namespace single_state {
extern thread_local unsigned char shared[] __attribute__((alias("lrnnx_emulated_shared")));
}
}  // namespace lrnnx::cuda

namespace lrnnx::emulation {

Size thread_index, block_index, block_size, grid_size;

namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
// What nothing has been written to: a NaN as a float.
constexpr int kUnwritten = 0xff;

struct Copy {
  std::uint32_t destination, bytes, size;
  const void* source;
};

// Where a stack was left. The compiler's own jumps save no more than they must; glibc's do, and swapcontext() also asks
// the kernel for the signal mask.
using Place = void* [5];
[[noreturn]] void __attribute__((noinline)) jump(Place& place) { __builtin_longjmp(place, 1); }

struct Fiber {
  Fiber() : stack(map_stack()) {}
  Fiber(const Fiber&) = delete;
  ~Fiber() { munmap(stack, kStackBytes); }

  static void* map_stack() {
    void* const stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) throw std::bad_alloc();
    return stack;
  }

  void* stack;
  ucontext_t start;
  Place place;  // where it waits
  bool started = false;
};

// A thread of the block, which the fiber of its number runs.
struct Thread {
  const unsigned* wait_on = nullptr;  // can run when this is not `wait_value`
  unsigned wait_value = 0;
  bool done = false;
};
struct ThreadCopies {
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

struct Warp {
  unsigned arrived = 0, generation = 0;
  unsigned gathered[kWarpThreads] = {};  // calls of each lane
  LaneValues values[2];
};

struct Barrier {
  unsigned expected, arrived, phase;
};

struct Block {
  std::vector<Thread> threads;
  unsigned running = 0;  // threads that are not done
  std::vector<ThreadCopies> copies;
  std::vector<bool> has_waited;  // for the grid before
  std::vector<Warp> warps;
  std::map<std::uint32_t, Barrier> barriers;
  unsigned arrived = 0, generation = 0;
  std::size_t shared_bytes = 0;
};

std::mutex one_launch;
Schedule schedule = kSchedules[0];
std::minstd_rand random_bits;
std::vector<std::unique_ptr<Fiber>> fibers;  // kept from block to block
Block block;
const std::function<void()>* body;
unsigned current;  // the number of the fiber that runs
Place scheduler;
std::string failure;
bool is_follower = false;

unsigned char* shared_at(std::uint32_t address) { return lrnnx_emulated_shared + address; }

// Back to the scheduler, until the fiber's next turn.
void __attribute__((noinline)) yield() {
  if (__builtin_setjmp(fibers[current]->place) == 0) jump(scheduler);
}

void wait_while(const unsigned& where, unsigned value) {
  block.threads[current] = {.wait_on = &where, .wait_value = value};
  while (static_cast<const volatile unsigned&>(where) == value) yield();
  block.threads[current] = {};
}

// A follower has to wait for its predecessor before all else.
void require_wait() {
  if (is_follower && !block.has_waited[current]) fail("a follower has not waited for its predecessor");
}

// A fiber is a thread of one block after the other.
void live() {
  while (true) {
    (*body)();
    require_wait();
    block.threads[current].done = true;
    --block.running;
    yield();
  }
}

void __attribute__((noinline)) resume(unsigned thread) {
  current = thread;
  thread_index = {thread, 0, 0};
  Fiber& fiber = *fibers[thread];
  if (__builtin_setjmp(scheduler) != 0) return;
  if (fiber.started) jump(fiber.place);
  fiber.started = true;
  getcontext(&fiber.start);
  // Tops of stacks that lie at one distance from each other would displace each other from the cache.
  const std::size_t stagger = thread % 64 * 576;
  fiber.start.uc_stack = {.ss_sp = fiber.stack, .ss_flags = 0, .ss_size = kStackBytes - stagger};
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, live, 0);
  setcontext(&fiber.start);
}

// Whether the thread could run and did.
bool give_turn(unsigned number) {
  const Thread& thread = block.threads[number];
  if (thread.done || (thread.wait_on != nullptr && *thread.wait_on == thread.wait_value)) return false;
  resume(number);
  return true;
}

// One round of turns. Returns whether anyone took theirs.
bool take_turns(std::vector<unsigned>& threads) {
  bool any = false;
  const auto all = [&](auto first, auto last) {
    bool some = false;
    for (; first != last && failure.empty(); ++first) some |= give_turn(*first);
    any |= some;
    return some;
  };
  switch (schedule.order) {
    case Order::ascending:
    case Order::descending:
      all(threads.begin(), threads.end());
      break;
    case Order::random: {
      std::shuffle(threads.begin(), threads.end(), random_bits);
      // Some warps stand still in this round.
      const auto still = static_cast<std::uint32_t>(random_bits() & random_bits());
      for (const unsigned thread : threads)
        if ((still >> (thread / kWarpThreads % 30) & 1) == 0 && failure.empty()) any |= give_turn(thread);
      if (!any) all(threads.begin(), threads.end());
      break;
    }
    case Order::first_warp_ahead:
    case Order::last_warp_ahead:  // of which one that can goes as far as it gets
      for (std::size_t i = 0; i < threads.size() && !any; i += kWarpThreads)
        while (all(threads.begin() + i, threads.begin() + std::min(i + kWarpThreads, threads.size())) &&
               failure.empty()) {
        }
      break;
  }
  return any;
}

void run_block(std::size_t shared_bytes) {
  const unsigned count = block_size.x;
  while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
  block = {};
  block.threads.resize(count);
  block.running = count;
  block.copies.resize(count);
  block.has_waited.assign(count, false);
  block.warps.resize((count + kWarpThreads - 1) / kWarpThreads);
  block.shared_bytes = shared_bytes;
  std::memset(lrnnx_emulated_shared, kUnwritten, shared_bytes + kGuardBytes);
  std::vector<unsigned> threads(count);
  std::iota(threads.begin(), threads.end(), 0u);
  if (schedule.order == Order::descending || schedule.order == Order::last_warp_ahead)
    std::reverse(threads.begin(), threads.end());
  while (failure.empty() && block.running > 0) {
    if (take_turns(threads)) continue;
    failure = "threads wait for each other, or for one that has returned (block " + std::to_string(block_index.x) + ")";
  }
  const auto* const guard = shared_at(static_cast<std::uint32_t>(shared_bytes));
  const bool whole = guard[0] == kUnwritten && std::memcmp(guard, guard + 1, kGuardBytes - 1) == 0;
  if (failure.empty() && !whole)
    failure = "wrote behind the shared memory that was asked for (block " + std::to_string(block_index.x) + ")";
}

// Of a thread: a part of the shared memory, aligned to its size.
unsigned char* checked_shared(std::uint32_t address, std::uint32_t size) {
  if (address % size != 0) fail("an address in shared memory is not aligned");
  if (address + size > block.shared_bytes) fail("an address lies behind the shared memory that was asked for");
  return shared_at(address);
}

void land(const Copy& copy) {
  unsigned char* const destination = shared_at(copy.destination);
  std::memset(destination, 0, copy.size);
  if (copy.bytes > 0) std::memcpy(destination, copy.source, copy.bytes);
}

// What a barrier's place holds, so that a write to it is seen.
constexpr std::uint64_t kBarrierMark = 0xffbadbad12345678;

Barrier& barrier_at(std::uint32_t address) {
  const auto found = block.barriers.find(address);
  if (found == block.barriers.end()) fail("a barrier is used that nobody has initialised yet");
  if (std::memcmp(shared_at(address), &kBarrierMark, sizeof kBarrierMark) != 0) fail("a barrier was overwritten");
  return found->second;
}

}  // namespace

void choose_schedule(std::uint64_t number) { schedule = kSchedules[number % std::size(kSchedules)]; }

std::string run(Size grid, Size size, std::size_t shared_bytes, bool follower, const std::function<void()>& kernel) {
  const std::lock_guard lock(one_launch);
  grid_size = grid;
  block_size = size;
  body = &kernel;
  failure.clear();
  is_follower = follower;
  random_bits.seed(1);
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t i = 0; i < blocks && failure.empty(); ++i) {
    const std::uint64_t number = schedule.order == Order::descending ? blocks - 1 - i : i;
    block_index = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                   static_cast<unsigned>(number / grid.x / grid.y)};
    run_block(shared_bytes);
  }
  if (!failure.empty()) fibers.clear();  // they lie where they stopped
  return std::exchange(failure, {});
}

void wait_for_predecessor() { block.has_waited[current] = true; }

void fail(const char* what) {
  failure =
      std::string(what) + " (block " + std::to_string(block_index.x) + ", thread " + std::to_string(current) + ")";
  yield();
  std::abort();  // has no further turn
}

// The last to arrive waits for its turn too: else it would always be the first to go on.
void wait_for_block() {
  require_wait();
  if (++block.arrived == block_size.x) {
    block.arrived = 0;
    ++block.generation;
    yield();
  } else {
    wait_while(block.generation, block.generation);
  }
}

void wait_for_warp() {
  require_wait();
  Warp& warp = block.warps[current / kWarpThreads];
  if (++warp.arrived == kWarpThreads) {
    warp.arrived = 0;
    ++warp.generation;
    yield();
  } else {
    wait_while(warp.generation, warp.generation);
  }
}

const LaneValues& gather(std::uint32_t value) {
  require_wait();
  Warp& warp = block.warps[current / kWarpThreads];
  const unsigned lane = current % kWarpThreads;
  // In turns: a lane may be one call ahead of another that still reads.
  LaneValues& values = warp.values[warp.gathered[lane]++ % 2];
  values[lane] = value;
  wait_for_warp();
  return values;
}

std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const unsigned char*>(pointer) - lrnnx_emulated_shared);
}

void store_shared(std::uint32_t destination, const void* source, std::uint32_t size) {
  require_wait();
  std::memcpy(checked_shared(destination, size), source, size);
}

void copy(std::uint32_t destination, const void* source, std::uint32_t bytes, std::uint32_t size) {
  require_wait();
  if (reinterpret_cast<std::uintptr_t>(source) % size != 0) fail("a copy's source is not aligned");
  if (bytes > size) fail("a copy has more bytes than its size");
  unsigned char* const place = checked_shared(destination, size);
  const Copy copy = {destination, bytes, size, source};
  const bool at_once =
      schedule.copies == Copies::at_once || (schedule.copies == Copies::either && random_bits() % 2 == 0);
  if (at_once) return land(copy);
  std::memset(place, kUnwritten, size);  // under way, it holds nothing that means anything
  block.copies[current].open.push_back(copy);
}

void commit_copies() {
  ThreadCopies& copies = block.copies[current];
  copies.groups.push_back(std::exchange(copies.open, {}));
}

void wait_copies(std::size_t pending) {
  auto& groups = block.copies[current].groups;
  for (; groups.size() > pending; groups.pop_front()) std::ranges::for_each(groups.front(), land);
}

void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  require_wait();
  std::memcpy(checked_shared(barrier, sizeof kBarrierMark), &kBarrierMark, sizeof kBarrierMark);
  block.barriers[barrier] = {.expected = arrivals, .arrived = 0, .phase = 0};
}

void barrier_arrive(std::uint32_t address) {
  require_wait();
  Barrier& barrier = barrier_at(address);
  if (++barrier.arrived < barrier.expected) return;
  barrier.arrived = 0;
  ++barrier.phase;
}

void barrier_wait(std::uint32_t address, std::uint32_t parity) {
  require_wait();
  const Barrier& barrier = barrier_at(address);
  while (barrier.phase % 2 == parity) wait_while(barrier.phase, barrier.phase);
}

}  // namespace lrnnx::emulation
