// The CPU backend of the selective scan: plans memory and tasks, picks the instruction set, runs the tasks in parallel.
#include "selective_scan/cpu.h"

#include <omp.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

#include "common/error.h"
#include "common/half.h"
#include "common/integers.h"

namespace lrnnx {

#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  template <class T>                                                               \
  struct functor;
#include "lrnnx/discretizations.def"

namespace {

constexpr int kMaxThreads = 1024;

// Tasks that a backward of few (batch, group) pairs is cut into; more would only ask for more memory.
constexpr int64_t kSlabTasks = 256;

// The partial gradients of B and C of one segment stay below this, unless a single chunk needs more.
constexpr int64_t kPartialBytes = int64_t{32} << 20;

// Bytes of a thread's buffers for what is stored in 16 bits.
int64_t buffer_bytes(const lrnnx_selective_scan_problem& p, int64_t steps) {
  return is_half(p.dtype) ? cpu_buffer_floats(steps) * static_cast<int64_t>(sizeof(float)) : 0;
}

// Floats in one state: two if it is complex.
int64_t parts_of(const lrnnx_selective_scan_problem& p) { return p.dtype == LRNNX_C64 ? 2 : 1; }

// The saved states, state_floats / chunk floats a channel and step, are to be at most half of one tensor like u.
constexpr int64_t chunk_steps(int64_t tile, int64_t state_floats) { return tile * ceil_div(2 * state_floats, tile); }

// Beginning a parallel region costs about as much as this many state updates; a thread should have more to do.
constexpr int64_t kUpdatesWorthAThread = 1 << 16;

int default_threads(const lrnnx_selective_scan_problem& p, int64_t tasks) {
  const int64_t worth = p.batch * p.dim * p.seqlen * p.dstate / kUpdatesWorthAThread;
  return std::clamp<int64_t>(std::min(worth, tasks), 1, std::clamp(omp_get_max_threads(), 1, kMaxThreads));
}

// "threads=N"; null or "" leaves `threads` as it is.
lrnnx_status parse_configuration(const char* text, int& threads) {
  if (text == nullptr || *text == '\0') return LRNNX_OK;
  constexpr char kKey[] = "threads=";
  constexpr size_t kKeyLength = sizeof kKey - 1;
  if (std::strncmp(text, kKey, kKeyLength) == 0) {
    const char* end = text + std::strlen(text);
    int value = 0;
    const auto [rest, error] = std::from_chars(text + kKeyLength, end, value);
    if (error == std::errc{} && rest == end && value >= 1 && value <= kMaxThreads) {
      threads = value;
      return LRNNX_OK;
    }
  }
  return fail(LRNNX_INVALID_ARGUMENT,
              "configuration is \"%.100s\"; the cpu backend takes \"threads=N\" with N from 1 to %d", text,
              kMaxThreads);
}

lrnnx_status make_plan(const CpuImplementation& implementation, const lrnnx_selective_scan_problem& p,
                       lrnnx_direction direction, CpuPlan& plan) {
  plan = {};
  const int64_t lanes = implementation.lanes, vector = lanes * sizeof(float);
  const int64_t parts = parts_of(p), state_floats = p.dstate * parts;
  plan.group_dim = p.dim / p.groups;
  plan.blocks_per_group = ceil_div(plan.group_dim, lanes);
  plan.blocks = plan.blocks_per_group * p.groups;
  plan.threads = default_threads(p, p.batch * plan.blocks);
  if (lrnnx_status status = parse_configuration(p.configuration, plan.threads); status != LRNNX_OK) return status;
  plan.tile = std::min(kCpuTile, round_up(p.seqlen, kCpuTileUnit));
  plan.chunk = std::min(chunk_steps(plan.tile, state_floats), round_up(p.seqlen, plan.tile));
  plan.chunks = ceil_div(p.seqlen, plan.chunk);

  const int64_t blocks = p.batch * plan.blocks;
  if (direction == LRNNX_BACKWARD || (p.options & LRNNX_SAVE_FOR_BACKWARD))
    plan.saved_bytes = blocks * (plan.chunks - 1) * state_floats * vector;
  if (direction == LRNNX_FORWARD) {
    plan.scratch = round_up((4 * state_floats + 9 * plan.tile) * vector + buffer_bytes(p, plan.tile), 256);
    plan.workspace_bytes = plan.threads * plan.scratch;
    return LRNNX_OK;
  }

  const int64_t pairs = p.batch * p.groups;
  plan.blocks_per_slab = ceil_div(plan.blocks_per_group, ceil_div(kSlabTasks, pairs));
  plan.slabs_per_group = ceil_div(plan.blocks_per_group, plan.blocks_per_slab);
  const int64_t rows = pairs * plan.slabs_per_group * state_floats;
  const bool variable_B = p.options & LRNNX_VARIABLE_B, variable_C = p.options & LRNNX_VARIABLE_C;
  const int64_t bytes_a_chunk = (variable_B + variable_C) * rows * plan.chunk * static_cast<int64_t>(sizeof(float));
  const int64_t chunks_a_segment =
      bytes_a_chunk == 0 ? plan.chunks : std::clamp<int64_t>(kPartialBytes / bytes_a_chunk, 1, plan.chunks);
  plan.segment = chunks_a_segment * plan.chunk;
  plan.segments = ceil_div(plan.chunks, chunks_a_segment);

  plan.sums = round_up(state_floats * lanes * (4 * sizeof(double) + sizeof(float)) + 2 * lanes * sizeof(double), 256);
  const int64_t states = parts * kCpuStates;
  plan.scratch = round_up((4 * state_floats + (15 + 2 * states) * plan.chunk + states + 2 * states * lanes) * vector +
                              buffer_bytes(p, plan.chunk),
                          256);
  const int64_t partial = round_up(rows * plan.segment * sizeof(float), 256);
  plan.partial_B_offset = blocks * plan.sums;
  plan.partial_C_offset = plan.partial_B_offset + (variable_B ? partial : 0);
  plan.scratch_offset = plan.partial_C_offset + (variable_C ? partial : 0);
  plan.workspace_bytes = plan.scratch_offset + plan.threads * plan.scratch;
  return LRNNX_OK;
}

float* scratch_of_thread(const CpuPlan& plan, void* workspace) {
  return reinterpret_cast<float*>(static_cast<char*>(workspace) + plan.scratch_offset +
                                  omp_get_thread_num() * plan.scratch);
}

// Adds the slabs' gradients of a variable B or C over one segment up, slab after slab. A slab has a row for each part
// of each state, the gradient one row for each state. What is stored in 16 bits is summed in the first slab.
void add_slabs(const CpuPlan& plan, const lrnnx_selective_scan_problem& p, float* partial, int64_t segment,
               void* gradient) {
  const int64_t t0 = segment * plan.segment, steps = std::min(plan.segment, p.seqlen - t0);
  const int64_t parts = parts_of(p), rows = p.dstate * parts;
#pragma omp parallel for num_threads(plan.threads) schedule(static)
  for (int64_t r = 0; r < p.batch * p.groups * rows; ++r) {
    const int64_t pair = r / rows, row = r % rows;
    const auto slab = [&](int64_t s) {
      return partial + ((pair * plan.slabs_per_group + s) * rows + row) * plan.segment;
    };
    const auto add_slabs_from = [&](int64_t first, float* __restrict sum) {
      for (int64_t s = first; s < plan.slabs_per_group; ++s) {
        const float* __restrict term = slab(s);
        for (int64_t t = 0; t < steps; ++t) sum[t * parts] += term[t];
      }
    };
    if (is_half(p.dtype)) {
      add_slabs_from(1, slab(0));
      narrow(p.dtype, slab(0), steps, static_cast<uint16_t*>(gradient) + r * p.seqlen + t0);
    } else {
      float* __restrict sum = static_cast<float*>(gradient) + (r / parts * p.seqlen + t0) * parts + r % parts;
      for (int64_t t = 0; t < steps; ++t) sum[t * parts] = slab(0)[t];
      add_slabs_from(1, sum);
    }
  }
}

template <int64_t lanes>
CpuKernels kernels_of(const lrnnx_selective_scan_problem& problem) {
  switch (problem.discretization) {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  case LRNNX_##enumerator:                                                         \
    return cpu_kernels<lanes, functor>(problem);
#include "lrnnx/discretizations.def"
  }
  return {};
}

// What CMakeLists.txt builds the kernels for, fastest first.
constexpr CpuImplementation kImplementations[] = {
#if defined(__x86_64__)
    {.instructions = "avx512",
     .lanes = 16,
     .runs_here =
         [] {
           return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
         },
     .kernels = kernels_of<16>},
    {.instructions = "avx2",
     .lanes = 8,
     .runs_here = [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
     .kernels = kernels_of<8>},
#endif
    {.instructions = "generic", .lanes = 4, .runs_here = [] { return true; }, .kernels = kernels_of<4>},
};

const CpuImplementation& best() { return *cpu_implementations()[0]; }

}  // namespace

const CpuImplementation* const* cpu_implementations() {
  static const std::vector<const CpuImplementation*> table = [] {
    std::vector<const CpuImplementation*> usable;
    for (const CpuImplementation& implementation : kImplementations)
      if (implementation.runs_here()) usable.push_back(&implementation);
    usable.push_back(nullptr);
    return usable;
  }();
  return table.data();
}

lrnnx_status selective_scan_cpu_memory(const CpuImplementation& implementation,
                                       const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                       lrnnx_memory& memory) {
  CpuPlan plan;
  if (lrnnx_status status = make_plan(implementation, problem, direction, plan); status != LRNNX_OK) return status;
  memory = {.saved_bytes = plan.saved_bytes, .workspace_bytes = plan.workspace_bytes};
  return LRNNX_OK;
}

lrnnx_status selective_scan_cpu_forward(const CpuImplementation& implementation,
                                        const lrnnx_selective_scan_problem& problem,
                                        const lrnnx_selective_scan_forward_args& args) {
  CpuPlan plan;
  if (lrnnx_status status = make_plan(implementation, problem, LRNNX_FORWARD, plan); status != LRNNX_OK) return status;
  const CpuKernels kernels = implementation.kernels(problem);
  const CpuForward call = {problem, args, plan};
#pragma omp parallel for num_threads(plan.threads) schedule(dynamic)
  for (int64_t task = 0; task < problem.batch * plan.blocks; ++task)
    kernels.forward(call, task / plan.blocks, task % plan.blocks, scratch_of_thread(plan, args.workspace));
  return LRNNX_OK;
}

lrnnx_status selective_scan_cpu_backward(const CpuImplementation& implementation,
                                         const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_backward_args& args) {
  CpuPlan plan;
  if (lrnnx_status status = make_plan(implementation, problem, LRNNX_BACKWARD, plan); status != LRNNX_OK) return status;
  const CpuKernels kernels = implementation.kernels(problem);
  const CpuBackward call = {problem, args, plan};
  const int64_t slabs = problem.groups * plan.slabs_per_group;
  const auto partial = [&](int64_t offset) {
    return reinterpret_cast<float*>(static_cast<char*>(args.workspace) + offset);
  };
  for (int64_t segment = plan.segments - 1; segment >= 0; --segment) {
#pragma omp parallel for num_threads(plan.threads) schedule(dynamic)
    for (int64_t task = 0; task < problem.batch * slabs; ++task) {
      const int64_t group = task % slabs / plan.slabs_per_group, slab = task % plan.slabs_per_group;
      const int64_t first = slab * plan.blocks_per_slab;
      const int64_t end = std::min(first + plan.blocks_per_slab, plan.blocks_per_group);
      for (int64_t block = first; block < end; ++block)
        kernels.backward(call, task / slabs, group * plan.blocks_per_group + block, segment,
                         scratch_of_thread(plan, args.workspace));
    }
    if (problem.options & LRNNX_VARIABLE_B)
      add_slabs(plan, problem, partial(plan.partial_B_offset), segment, args.dB.data);
    if (problem.options & LRNNX_VARIABLE_C)
      add_slabs(plan, problem, partial(plan.partial_C_offset), segment, args.dC.data);
  }
#pragma omp parallel for num_threads(plan.threads) schedule(static)
  for (int64_t block = 0; block < plan.blocks; ++block) kernels.finish_backward(call, block);
  return LRNNX_OK;
}

lrnnx_status selective_scan_cpu_memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                       lrnnx_memory& memory) {
  return selective_scan_cpu_memory(best(), problem, direction, memory);
}

lrnnx_status selective_scan_cpu_configuration_keys(const lrnnx_selective_scan_problem&, lrnnx_direction,
                                                   std::string& text) {
  text = "threads=1.." + std::to_string(kMaxThreads);
  return LRNNX_OK;
}

lrnnx_status selective_scan_cpu_configuration(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                              std::string& text) {
  CpuPlan plan;
  if (lrnnx_status status = make_plan(best(), problem, direction, plan); status != LRNNX_OK) return status;
  text = "threads=" + std::to_string(plan.threads);
  return LRNNX_OK;
}

lrnnx_status selective_scan_cpu_forward(const lrnnx_selective_scan_problem& problem,
                                        const lrnnx_selective_scan_forward_args& args) {
  return selective_scan_cpu_forward(best(), problem, args);
}

lrnnx_status selective_scan_cpu_backward(const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_backward_args& args) {
  return selective_scan_cpu_backward(best(), problem, args);
}

}  // namespace lrnnx
