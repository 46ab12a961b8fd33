// Runs CUDA kernels on the host. The threads of a block are fibers of one thread of the processor and change places
// only where they wait for each other, in an order that a schedule chooses; blocks run one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace lrnnx::emulation {

constexpr int kWarpThreads = 32;
// What a block may ask for at most, as on an H100.
constexpr std::size_t kSharedBytes = 232448;

// Which of the threads that could run does, and when an asynchronous copy lands: as soon as it may, or as late.
enum class Order { ascending, descending, random, first_warp_ahead, last_warp_ahead };
enum class Copies { at_once, when_waited_for, either };
struct Schedule {
  Order order;
  Copies copies;
};
constexpr Schedule kSchedules[] = {
    {Order::ascending, Copies::at_once},       {Order::descending, Copies::when_waited_for},
    {Order::random, Copies::either},           {Order::first_warp_ahead, Copies::when_waited_for},
    {Order::last_warp_ahead, Copies::at_once},
};

// For the launches that follow; any number, which counts round and round.
void choose_schedule(std::uint64_t number);

struct Size {
  unsigned x, y, z;
};

// Where the thread that runs is.
extern Size thread_index, block_index, block_size, grid_size;

// Calls the kernel as every thread of the grid. Returns what none of its threads may do and one did, or nothing.
// `follower`: it may start before its predecessor has ended, for which each thread has to wait.
std::string run(Size grid, Size block, std::size_t shared_bytes, bool follower, const std::function<void()>& kernel);

// --- what the threads of a running kernel call
// -------------------------------------------------------------------------

// Ends the launch; `what` is what run() returns, with the thread's place.
[[noreturn]] void fail(const char* what);

void wait_for_block();
void wait_for_warp();
// What each lane of the warp has given; valid until the lane's next but one call.
using LaneValues = std::uint32_t[kWarpThreads];
const LaneValues& gather(std::uint32_t value);

// Shared memory is addressed by the bytes from its start.
std::uint32_t shared_address(const void* pointer);
void store_shared(std::uint32_t destination, const void* source, std::uint32_t size);
// The first `bytes` of `size`, then zeros; may land as late as the wait for its group.
void copy(std::uint32_t destination, const void* source, std::uint32_t bytes, std::uint32_t size);
void commit_copies();
void wait_copies(std::size_t pending);
void barrier_init(std::uint32_t barrier, std::uint32_t arrivals);
void barrier_arrive(std::uint32_t barrier);
void barrier_wait(std::uint32_t barrier, std::uint32_t parity);
void wait_for_predecessor();

}  // namespace lrnnx::emulation
