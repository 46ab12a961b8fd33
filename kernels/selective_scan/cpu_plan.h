// How the CPU backend cuts a selective scan into tasks and memory: the figures that its drivers and kernels share.
//
// Channels lie across vector lanes: a block is `lanes` neighbouring channels of one group, the last of a group maybe
// fewer. Time is cut into chunks; the forward saves the state before every chunk but the first, and the backward walks
// the chunks in reverse, recomputing the states inside. Variable B and C are shared by a group's channels, so their
// gradients are sums over its blocks: a slab, a run of blocks, adds up in order within one task, and the slabs are then
// added in order, one segment (some chunks) of time after the other. None of this depends on the number of threads.
#pragma once

#include <cstdint>

#include "lrnnx/lrnnx.h"

namespace lrnnx {

// Steps that the forward takes from the rows at once: 512 bytes a row, since many short pieces of rows that lie far
// apart are slow to read (forward and backward gain 20 % over 32 steps; AMD EPYC 9005, November 2025). Shorter
// sequences round up to a multiple of kCpuTileUnit, which has whole vectors.
inline constexpr int64_t kCpuTile = 128;
inline constexpr int64_t kCpuTileUnit = 32;
// States that a pass advances together, to hide the latency of their recurrences.
inline constexpr int64_t kCpuStates = 4;

// Floats through which a thread reads and writes `steps` of tensors that are stored in 16 bits: rows of (batch, dim,
// seqlen) tensors, and B and C of the states of a pass.
inline constexpr int64_t kCpuRowBuffers = 4;
constexpr int64_t cpu_buffer_floats(int64_t steps) { return (kCpuRowBuffers + 2 * kCpuStates) * steps; }

struct CpuPlan {
  int64_t group_dim;         // channels of a group
  int64_t blocks_per_group;  // its blocks of channels
  int64_t blocks;            // of all groups
  int64_t tile;              // steps of a forward pass over the states
  int64_t chunk, chunks;     // steps in one (a multiple of tile), and their number
  int64_t blocks_per_slab, slabs_per_group;
  int64_t segment, segments;  // steps in one (a multiple of chunk), and their number
  int threads;

  int64_t sums;     // bytes that the backward carries from segment to segment for one (batch, block)
  int64_t scratch;  // bytes of one thread, in this direction

  // Where the parts of the workspace begin, after the sums; the forward has scratch alone.
  int64_t partial_B_offset, partial_C_offset, scratch_offset;
  int64_t saved_bytes, workspace_bytes;
};

struct CpuForward {
  const lrnnx_selective_scan_problem& problem;
  const lrnnx_selective_scan_forward_args& args;
  const CpuPlan& plan;
};

struct CpuBackward {
  const lrnnx_selective_scan_problem& problem;
  const lrnnx_selective_scan_backward_args& args;
  const CpuPlan& plan;
};

// The kernels of one discretization, weight type and choice of variable B and C.
struct CpuKernels {
  // All time steps of one block of channels.
  void (*forward)(const CpuForward&, int64_t batch, int64_t block, float* scratch);
  // One segment, the last one first.
  void (*backward)(const CpuBackward&, int64_t batch, int64_t block, int64_t segment, float* scratch);
  // After every segment: the gradients of one block that are sums over time and batch.
  void (*finish_backward)(const CpuBackward&, int64_t block);
};

// The same kernels, built for one instruction set.
struct CpuImplementation {
  const char* instructions;
  int64_t lanes;
  bool (*runs_here)();
  CpuKernels (*kernels)(const lrnnx_selective_scan_problem& problem);
};

// Of one discretization, in vectors of `lanes` floats; only for problems that the variant table has. The build writes
// the definitions, each in a file of its own for one instruction set (cpu_instance.cpp.in).
template <int64_t lanes, template <class> class Discretization>
CpuKernels cpu_kernels(const lrnnx_selective_scan_problem& problem);

}  // namespace lrnnx
