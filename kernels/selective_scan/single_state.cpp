// Which launch configuration the kernels for one real state a channel take, and what memory that needs.
#include "selective_scan/single_state.h"

#include <algorithm>
#include <array>

#include "common/error.h"
#include "common/integers.h"
#include "common/variants.h"
#include "selective_scan/configuration.h"
#include "selective_scan/single_state_layout.h"

namespace lrnnx::cuda {
namespace {

using single_state::TimeSum;

bool is_variable_B(const lrnnx_selective_scan_problem& problem) { return problem.options & LRNNX_VARIABLE_B; }
bool is_variable_C(const lrnnx_selective_scan_problem& problem) { return problem.options & LRNNX_VARIABLE_C; }

// Blocks along the grid's first axis; the splits lie along the second.
std::int64_t blocks_of(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                       const SingleStateConfiguration& configuration) {
  return direction == LRNNX_FORWARD ? ceil_div(problem.batch * problem.dim, configuration.rows)
                                    : plan_single_state(problem, direction, configuration).blocks;
}

std::int64_t tiles_of(const lrnnx_selective_scan_problem& problem) {
  return ceil_div(problem.seqlen, single_state::kTileSteps);
}

std::array<ConfigurationField, 3> fields_of(const lrnnx_selective_scan_problem& problem,
                                            SingleStateConfiguration& configuration) {
  return {{{"rows", &configuration.rows, SingleStateConfiguration::kRows},
           {"stages", &configuration.stages, SingleStateConfiguration::kStages},
           {"splits", &configuration.splits, {}, std::min(tiles_of(problem), SingleStateConfiguration::kMaxSplits)}}};
}

}  // namespace

bool has_single_state(const lrnnx_selective_scan_problem& problem) {
  return problem.dstate == 1 && problem.dtype == LRNNX_F32;
}

lrnnx_status configure(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction, const Device& device,
                       SingleStateConfiguration& configuration) {
  constexpr std::int64_t kLongest = std::int64_t{1} << 30, kMostBlocks = (std::int64_t{1} << 31) - 1;
  if (problem.seqlen > kLongest) {
    return fail(LRNNX_UNSUPPORTED, "seqlen is %lld; backend cuda takes at most %lld",
                static_cast<long long>(problem.seqlen), static_cast<long long>(kLongest));
  }
  const std::int64_t tiles = tiles_of(problem);
  const std::int64_t rows = problem.batch * problem.dim;
  if (rows > kMostBlocks) {
    return fail(LRNNX_UNSUPPORTED, "batch * dim is %lld; backend cuda takes at most %lld", static_cast<long long>(rows),
                static_cast<long long>(kMostBlocks));
  }
  const bool has_z = problem.options & LRNNX_HAS_Z;
  // A row keeps its warp waiting for most of a tile's time; as many rows as this keep the memory busy none the less.
  const std::int64_t enough_rows = device.multiprocessors * (direction == LRNNX_FORWARD ? 3 : 5);
  // Those of several waves are better served by fewer warps that look further ahead.
  const std::int64_t many_rows = device.multiprocessors * 64;
  // In the backward two blocks should fit a multiprocessor.
  const int slots = 3 + 2 * has_z + is_variable_B(problem) + is_variable_C(problem);
  configuration = direction == LRNNX_FORWARD
                      ? SingleStateConfiguration{.rows = 8, .stages = has_z || rows < many_rows ? 3 : 4, .splits = 1}
                      : SingleStateConfiguration{.rows = 12, .stages = slots > 3 ? 2 : 3, .splits = 1};
  if (direction == LRNNX_BACKWARD) {
    // A row less where that leaves fewer multiprocessors idle in the last of several waves. Two rows less were slower
    // none the less.
    SingleStateConfiguration smaller = configuration;
    --smaller.rows;
    const auto waves = [&](const SingleStateConfiguration& candidate) {
      return ceil_div(blocks_of(problem, direction, candidate), 2 * device.multiprocessors);
    };
    if (waves(configuration) > 1 && waves(smaller) * smaller.rows < waves(configuration) * configuration.rows)
      configuration = smaller;
  }
  if (rows < enough_rows) {
    configuration.splits =
        std::clamp<std::int64_t>(device.multiprocessors * 16 / rows, 1, std::max<std::int64_t>(tiles / 4, 1));
  }
  if (const lrnnx_status status = parse_configuration(problem, fields_of(problem, configuration)); status != LRNNX_OK)
    return status;
  // As many as there are: all but the last take the same number of tiles.
  configuration.splits = ceil_div(tiles, ceil_div(tiles, configuration.splits));
  if (const std::int64_t blocks = blocks_of(problem, direction, configuration); blocks > kMostBlocks) {
    return fail(LRNNX_UNSUPPORTED, "batch, groups and dim need %lld thread blocks; backend cuda takes at most %lld",
                static_cast<long long>(blocks), static_cast<long long>(kMostBlocks));
  }
  return LRNNX_OK;
}

std::string single_state_configuration_keys(const lrnnx_selective_scan_problem& problem) {
  SingleStateConfiguration configuration{};
  return configuration_keys(fields_of(problem, configuration));
}

std::string to_string(const SingleStateConfiguration& configuration) {
  return "rows=" + std::to_string(configuration.rows) + ",stages=" + std::to_string(configuration.stages) +
         ",splits=" + std::to_string(configuration.splits);
}

SingleStatePlan plan_single_state(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                  const SingleStateConfiguration& configuration) {
  SingleStatePlan plan = {};
  const std::int64_t rows = problem.batch * problem.dim;
  const std::int64_t tiles = tiles_of(problem);
  plan.tiles_per_split = ceil_div(tiles, configuration.splits);
  plan.splits = ceil_div(tiles, plan.tiles_per_split);
  // A tile may start up to three steps before its multiple of kTileSteps.
  plan.saves = (problem.seqlen + 2) / single_state::kTileSteps;
  const bool saves = direction == LRNNX_BACKWARD || (problem.options & LRNNX_SAVE_FOR_BACKWARD);
  plan.saved_bytes = saves ? rows * plan.saves * 16 : 0;

  const auto reserve = [&](std::int64_t floats) {
    const std::int64_t offset = plan.workspace_bytes;
    plan.workspace_bytes += round_up(floats * 4, 256);
    return offset;
  };
  plan.maps = reserve(plan.splits > 1 ? rows * plan.splits * 2 : 0);
  if (direction == LRNNX_FORWARD) return plan;

  const bool variable_B = is_variable_B(problem), variable_C = is_variable_C(problem);
  plan.kinds = variable_B + variable_C;
  plan.batch_groups = plan.kinds > 0 ? problem.batch * problem.groups : 1;
  plan.rows_a_group = rows / plan.batch_groups;
  plan.rows_a_part = std::min(configuration.rows, plan.rows_a_group);
  plan.parts = ceil_div(plan.rows_a_group, plan.rows_a_part);
  plan.groups_a_block = plan.parts > 1 ? 1 : configuration.rows / plan.rows_a_part;
  plan.blocks = ceil_div(plan.batch_groups, plan.groups_a_block) * plan.parts;
  plan.padded_seqlen = round_up(problem.seqlen, 4);
  plan.step_sums =
      reserve(plan.kinds > 0 && plan.parts > 1 ? plan.batch_groups * plan.parts * plan.kinds * plan.padded_seqlen : 0);

  const Traits takes = traits(problem.discretization);
  const std::array<bool, TimeSum::kCount> needed = {takes.A,
                                                    takes.A,
                                                    takes.B && !variable_B,
                                                    !variable_C,
                                                    (problem.options & LRNNX_HAS_D) != 0,
                                                    (problem.options & LRNNX_HAS_DELTA_BIAS) != 0};
  for (int kind = 0; kind < TimeSum::kCount; ++kind) {
    plan.time_sums[kind] = needed[kind] ? reserve(problem.batch * plan.splits * problem.dim) : -1;
  }
  return plan;
}

lrnnx_memory single_state_memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                 const SingleStateConfiguration& configuration) {
  const SingleStatePlan plan = plan_single_state(problem, direction, configuration);
  return {.saved_bytes = plan.saved_bytes, .workspace_bytes = plan.workspace_bytes};
}

}  // namespace lrnnx::cuda
