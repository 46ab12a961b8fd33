#include "selective_scan/tuning.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>

#include "common/error.h"
#include "common/half.h"
#include "common/integers.h"
#include "selective_scan/configuration.h"

namespace lrnnx::cuda {
namespace {

std::int64_t blocks_of(const lrnnx_selective_scan_problem& problem, std::int64_t block_channels) {
  return problem.batch * problem.groups * channel_blocks_of(problem, block_channels);
}

// What the kernels count in 32 bits.
lrnnx_status validate_size(const lrnnx_selective_scan_problem& problem, std::int64_t blocks) {
  constexpr std::int64_t kLongest = std::int64_t{1} << 30, kMostBlocks = (std::int64_t{1} << 31) - 1;
  // Of complex weights the floats of a row.
  const std::int64_t longest = problem.dtype == LRNNX_C64 ? kLongest - 1 : kLongest;
  if (problem.seqlen > longest) {
    return fail(LRNNX_UNSUPPORTED, "seqlen is %lld; backend cuda takes at most %lld",
                static_cast<long long>(problem.seqlen), static_cast<long long>(longest));
  }
  if (problem.dim / problem.groups > kLongest) {
    return fail(LRNNX_UNSUPPORTED, "dim / groups is %lld; backend cuda takes at most %lld",
                static_cast<long long>(problem.dim / problem.groups), static_cast<long long>(kLongest));
  }
  if (blocks > kMostBlocks) {
    return fail(LRNNX_UNSUPPORTED, "batch, groups and dim need %lld thread blocks; backend cuda takes at most %lld",
                static_cast<long long>(blocks), static_cast<long long>(kMostBlocks));
  }
  return LRNNX_OK;
}

// Whatever their strides, rows of 32-bit numbers are read and written by lines.
bool takes_lines(const lrnnx_selective_scan_problem& problem) {
  return problem.seqlen % 4 != 0 && !is_half(problem.dtype) && row_phase(problem).channel_step == 1;
}

constexpr const char* kGeneralProblems = " for dstate > 16, fixed B or C, or deltaA";
constexpr const char* kLines = " for a seqlen that is no multiple of 4, with complex weights or few channels a group";

// A tile of the forward with 16 lanes takes two of those whose states are saved.
constexpr std::int64_t kForwardTiles = 2;

// One value of `all`, or those from the first to the last.
template <std::size_t kSize>
std::span<const std::int64_t> values_of(const std::int64_t (&all)[kSize], std::int64_t first, std::int64_t last) {
  return {std::ranges::find(all, first), std::ranges::find(all, last) + 1};
}
template <std::size_t kSize>
std::span<const std::int64_t> value_of(const std::int64_t (&all)[kSize], std::int64_t only) {
  return values_of(all, only, only);
}

// The values that some kernel for the problem has.
std::array<ConfigurationField, 5> fields_of(const lrnnx_selective_scan_problem& problem,
                                            ForwardConfiguration& configuration) {
  using Values = ForwardConfiguration;
  ConfigurationField lanes{.key = "lanes", .value = &configuration.state_lanes, .allowed = Values::kStateLanes};
  ConfigurationField channels{.key = "channels",
                              .value = &configuration.channels_per_lane,
                              .allowed = values_of(Values::kChannelsPerLane, 1, most_channels_per_lane(problem))};
  ConfigurationField warps{.key = "warps", .value = &configuration.warps, .allowed = Values::kWarps};
  ConfigurationField stages{
      .key = "stages", .value = &configuration.stages, .allowed = values_of(Values::kStages, 2, 4)};
  if (problem.dtype == LRNNX_C64) channels.why = " for complex weights";
  if (takes_lines(problem)) {
    stages.allowed = value_of(Values::kStages, 2);
    stages.why = kLines;
  }
  if (needs_general_kernel(problem)) {
    lanes.allowed = value_of(Values::kStateLanes, 8);
    channels.allowed = value_of(Values::kChannelsPerLane, 1);
    warps.allowed = value_of(Values::kWarps, 4);
    // A stage holds all states of B and C: two of more than 128 complex states do not fit.
    stages.allowed = value_of(Values::kStages, problem.dtype == LRNNX_C64 && problem.dstate > 128 ? 1 : 2);
    lanes.why = channels.why = warps.why = stages.why = kGeneralProblems;
  }
  const ConfigurationField splits{.key = "splits",
                                  .value = &configuration.splits,
                                  .largest = std::min(ceil_div(time_tiles(problem), kForwardTiles), Values::kMaxSplits),
                                  .why = " for this seqlen"};
  return {lanes, channels, warps, stages, splits};
}

std::array<ConfigurationField, 3> fields_of(const lrnnx_selective_scan_problem& problem,
                                            BackwardConfiguration& configuration) {
  using Values = BackwardConfiguration;
  const bool general = needs_general_kernel(problem);
  const bool halves = is_half(problem.dtype), lines = takes_lines(problem);
  const std::int64_t most_channels = most_channels_per_lane(problem);
  return {{{.key = "channels",
            .value = &configuration.channels_per_lane,
            .allowed = values_of(Values::kChannelsPerLane, 1, general || lines ? 1 : most_channels),
            .why = general              ? kGeneralProblems
                   : most_channels == 1 ? " for complex weights"
                   : lines              ? kLines
                                        : ""},
           {.key = "warps",
            .value = &configuration.warps,
            .allowed = general ? value_of(Values::kWarps, 4) : values_of(Values::kWarps, 8, halves ? 8 : 16),
            .why = general  ? kGeneralProblems
                   : halves ? " for 16-bit tensors"
                            : ""},
           {.key = "splits",
            .value = &configuration.splits,
            .largest = std::min(time_tiles(problem), Values::kMaxSplits),
            .why = " for this seqlen"}}};
}

// Whether a block of this device holds what adjoint_of_split keeps of all states at once: two tiles of C, an adjoint
// and a product. Else the backward is not split; its own kernel, which holds 16 states, has room, and so has
// state_of_split where the forward has.
bool holds_adjoint_of_split(const lrnnx_selective_scan_problem& problem, const Device& device) {
  if (!needs_general_kernel(problem)) return true;
  constexpr std::int64_t kWeights = 2 * kSavedSteps + 2 * 16;  // of a state, with the 16 channels of a block
  constexpr std::int64_t kRows = 16 * 1024;                    // of delta, dout and z, at most
  const std::int64_t weight_bytes = problem.dtype == LRNNX_C64 ? 8 : 4;
  return ceil_div(problem.dstate, kStatesPerPass) * kStatesPerPass * kWeights * weight_bytes + kRows <=
         device.shared_bytes;
}

// Splits of at least so many tiles, and so many that their blocks fill the multiprocessors so often.
struct SplitRule {
  std::int64_t tiles, rounds;
};

// The most splits that one of the rules has. As all but the last take the same number of `unit` tiles, what is next to
// that, but no more than fill the multiprocessors, unless by a last one of half their length.
std::int64_t splits_by(std::initializer_list<SplitRule> rules, std::int64_t tiles, std::int64_t blocks,
                       const Device& device, std::int64_t unit, std::int64_t most) {
  std::int64_t splits = 1, filling = 1;
  for (const SplitRule& rule : rules) {
    const std::int64_t fill = device.multiprocessors * rule.rounds / blocks;
    const std::int64_t of_rule = std::min(tiles / rule.tiles, fill);
    if (of_rule > splits) splits = of_rule, filling = fill;
  }
  const std::int64_t units = ceil_div(tiles, unit);
  const auto splits_of = [&](std::int64_t each) { return ceil_div(units, std::max<std::int64_t>(each, 1)); };
  const std::int64_t nearest = splits_of((units + splits / 2) / splits);
  const std::int64_t each = ceil_div(units, nearest), last = units - (nearest - 1) * each;
  const bool has_room = nearest <= filling || (nearest == filling + 1 && last * 2 <= each);
  return std::min(has_room ? nearest : splits_of(ceil_div(units, splits)), most);
}

// Splits of the forward's time. They cost a pass over the steps for the state alone, some two thirds of the forward,
// and two launches.
std::int64_t usual_splits(const lrnnx_selective_scan_problem& problem, const Device& device) {
  const bool general = needs_general_kernel(problem);
  // Blocks of state_of_split, of 4 warps each.
  const std::int64_t blocks = blocks_of(problem, general ? 16 : 16 * most_channels_per_lane(problem));
  const std::int64_t tiles = time_tiles(problem);
  // In 32nds of the multiprocessors; the more steps there are, the more channels still gain. Most does the general
  // kernel, whose chain of steps is long; least zoh, for which that pass takes nearly as much time as the forward.
  std::int64_t most_blocks = 0;
  if (general) {
    most_blocks = tiles < (problem.dstate > kStatesPerPass ? 8 : 32) ? 0 : tiles < 64 ? 16 : 24;
  } else if (problem.dtype == LRNNX_C64) {
    most_blocks = tiles < 16 ? 0 : tiles < 32 ? 4 : 8;
  } else if (problem.discretization == LRNNX_ZOH) {
    most_blocks = tiles < 32 ? 0 : tiles < 128 ? 4 : 6;
  } else {
    most_blocks = tiles < 16 ? 0 : tiles < 32 ? 1 : tiles < 64 ? 4 : tiles < 128 ? 6 : tiles < 256 ? 8 : 12;
  }
  if (blocks * 32 > most_blocks * device.multiprocessors) return 1;
  const auto splits = [&](std::initializer_list<SplitRule> rules) {
    return splits_by(rules, tiles, blocks, device, kForwardTiles, ForwardConfiguration::kMaxSplits);
  };
  if (general) return splits({{2, 2}, {16, 4}, {32, 8}});
  // More than 64 splits take longer to be joined than they save, unless they are long.
  const std::int64_t of_64 = tiles / 64;
  return splits({{std::max<std::int64_t>(2, of_64), 1}, {std::max<std::int64_t>(4, of_64), 2}, {16, 4}, {32, 8}});
}

// What else the forward takes with so many splits.
ForwardConfiguration usual_configuration(const lrnnx_selective_scan_problem& problem, const Device& device,
                                         std::int64_t splits) {
  if (needs_general_kernel(problem))
    return {.state_lanes = 8, .channels_per_lane = 1, .warps = 4, .stages = 2, .splits = splits};
  const std::int64_t most_channels = most_channels_per_lane(problem), multiprocessors = device.multiprocessors;
  // Few channels take twice the lanes each, for a chain of steps half as long: until blocks of 4 warps, three a
  // multiprocessor, are more than two rounds, of complex weights more than one.
  const std::int64_t narrow_blocks = blocks_of(problem, 8);
  const bool narrow = splits > 1 ? blocks_of(problem, 16 * most_channels) * splits < multiprocessors
                                 : narrow_blocks <= multiprocessors * (most_channels == 2 ? 6 : 3);
  if (narrow) {
    // Those of 8 warps leave fewer idle where they nearly fill one round, and two while those of 4 begin their second.
    const std::int64_t blocks = blocks_of(problem, 16);
    const bool fill =
        (blocks * 4 >= multiprocessors * 3 && blocks <= multiprocessors) ||
        (narrow_blocks > multiprocessors * 3 && blocks <= multiprocessors * 2 && problem.discretization != LRNNX_ZOH);
    const bool wide = splits == 1 && most_channels == 2 && fill;
    return {.state_lanes = 16, .channels_per_lane = 1, .warps = wide ? 8 : 4, .stages = 4, .splits = splits};
  }
  if (blocks_of(problem, 32 * most_channels) * splits * 2 < multiprocessors * 3)
    return {.state_lanes = 8, .channels_per_lane = most_channels, .warps = 4, .stages = 3, .splits = splits};
  return {.state_lanes = 8, .channels_per_lane = most_channels, .warps = 8, .stages = 2, .splits = splits};
}

// The backward's configuration from what is given of it; 0: left open.
BackwardConfiguration completed(const lrnnx_selective_scan_problem& problem, const Device& device,
                                const BackwardConfiguration& given) {
  const bool general = needs_general_kernel(problem);
  const std::int64_t tiles = time_tiles(problem), multiprocessors = device.multiprocessors;
  const auto blocks_with = [&](std::int64_t channels) { return blocks_of(problem, 4 * channels * (general ? 4 : 8)); };
  // Input factors with an exponential of their own leave no registers for two channels.
  const bool one_channel =
      general || given.warps == 16 || takes_lines(problem) || problem.discretization == LRNNX_RGLRU;
  const bool open_channels = given.channels_per_lane == 0, open_splits = given.splits == 0;
  if (open_channels && !open_splits) {
    const BackwardConfiguration usual =
        completed(problem, device, {.channels_per_lane = 0, .warps = given.warps, .splits = 0});
    if (usual.splits == given.splits) return usual;
  }
  std::int64_t channels = !open_channels ? given.channels_per_lane : one_channel ? 1 : most_channels_per_lane(problem);
  std::int64_t splits = open_splits ? 1 : given.splits;
  // Whether the last round of blocks takes at most half of the multiprocessors. Blocks of half the size then finish
  // sooner, unless theirs would be the first sums that a second kernel has to add up.
  const auto leaves_half_idle = [&](std::int64_t blocks) {
    const std::int64_t last = blocks % multiprocessors;
    return last > 0 && last * 2 <= multiprocessors && (blocks <= multiprocessors || channel_blocks_of(problem, 64) > 1);
  };
  const bool may_split = holds_adjoint_of_split(problem, device);
  const std::int64_t wide_blocks = blocks_of(problem, 64);
  // In eighths of the multiprocessors.
  const bool short_sequence = !general && tiles < (most_channels_per_lane(problem) == 1 ? 128 : 16);
  const bool few_channels = tiles >= 4 && wide_blocks * 8 <= multiprocessors * (short_sequence ? 2 : 3);
  if (open_splits ? few_channels && may_split : splits > 1) {
    // The second pass over the adjoint is worth it for splits of one tile that fill multiprocessors once, of four that
    // fill them twice, and of 32 that fill them some times. Two channels a lane are faster, but need splits enough.
    const auto splits_of = [&](std::initializer_list<SplitRule> rules, std::int64_t blocks) {
      return splits_by(rules, tiles, blocks, device, 1, BackwardConfiguration::kMaxSplits);
    };
    const std::int64_t wide_splits = open_splits ? splits_of({{4, 2}, {32, 4}}, wide_blocks) : splits;
    if (open_channels && wide_blocks * wide_splits * 4 < multiprocessors * 3) channels = 1;
    if (open_splits) {
      splits = channels == 2 ? wide_splits
               : general     ? splits_of({{1, 1}, {2, 2}, {4, 3}, {32, 8}}, blocks_with(1))
                             : splits_of({{1, 1}, {4, 2}, {32, 4}}, blocks_with(1));
    }
  } else if (open_channels && (tiles < 64 || !open_splits)) {
    // Short sequences are not worth that pass. Without it, one channel a lane is faster where its blocks, of which
    // there are twice as many, fill what else would be idle (with many more blocks that matters less), and as long as
    // every block has a multiprocessor of its own, unless updates take much work.
    const bool much_work = problem.discretization == LRNNX_ZOH || problem.discretization == LRNNX_BILINEAR;
    const std::int64_t blocks = blocks_with(channels);
    const bool fills_up = leaves_half_idle(blocks) && blocks < 3 * multiprocessors;
    if (fills_up || (blocks <= multiprocessors && !much_work)) channels = 1;
  }
  const std::int64_t blocks = blocks_with(channels);
  const bool fills = blocks * 2 >= multiprocessors * 3;  // two blocks of 8 warps a multiprocessor
  if (open_splits && splits == 1 && !fills && may_split)
    splits = std::clamp<std::int64_t>(multiprocessors * 4 / blocks, 1, std::max<std::int64_t>(tiles / 32, 1));
  splits = std::min(splits, BackwardConfiguration::kMaxSplits);
  // As many as there are: all but the last take the same number of tiles.
  splits = ceil_div(tiles, ceil_div(tiles, splits));

  std::int64_t warps = given.warps;
  if (warps == 0 && general) warps = 4;
  if (warps == 0) {
    // Blocks of twice the channels leave half as many sums to be added up. Lines are slower by them, and take them only
    // where short rows fill their last tile so little that the sums would take a fifth of the memory.
    const bool pairs_up = wide_blocks * 2 == blocks_of(problem, 32);
    const bool pays = takes_lines(problem) ? tiles * 32 * 10 > problem.seqlen * 11 : !is_half(problem.dtype);
    const bool idles = leaves_half_idle(wide_blocks) && wide_blocks < 8 * multiprocessors;
    warps = channels == 1 && fills && pairs_up && pays && !idles ? 16 : 8;
  }
  return {.channels_per_lane = channels, .warps = warps, .splits = splits};
}

}  // namespace

std::int64_t most_channels_per_lane(const lrnnx_selective_scan_problem& problem) {
  return problem.dtype == LRNNX_C64 ? 1 : 2;
}

RowPhase row_phase(const lrnnx_selective_scan_problem& problem) {
  if (problem.dtype != LRNNX_F32 || problem.seqlen % 4 == 0 || needs_general_kernel(problem)) return {};
  // Blocks of 64 channels are to be filled nearly as well as by neighbours. The least work is best, and of the same the
  // longest unit, up to half a line: channels 32 apart make the backward 1 % slower.
  constexpr std::int64_t kChannels = 64;
  const std::int64_t channels = problem.dim / problem.groups, fewest = ceil_div(channels, kChannels);
  RowPhase best;
  std::int64_t least = 0;
  for (const std::int32_t unit : {16, 8, 4}) {
    const RowPhase phase = {.channel_step = problem.seqlen % 2 == 0 ? unit / 2 : unit, .unit = unit};
    const std::int64_t blocks = phase.channel_step * ceil_div(channels / phase.channel_step, kChannels);
    const std::int64_t work = blocks * ceil_div(phase.steps(problem.seqlen), kSavedSteps);
    if (channels % phase.channel_step != 0 || blocks * 3 > fewest * 4 || (least > 0 && work >= least)) continue;
    best = phase;
    least = work;
  }
  return best;
}

std::int64_t time_tiles(const lrnnx_selective_scan_problem& problem) {
  return ceil_div(row_phase(problem).steps(problem.seqlen), kSavedSteps);
}

std::int64_t forward_split_tiles(const lrnnx_selective_scan_problem& problem, std::int64_t splits) {
  return ceil_div(ceil_div(time_tiles(problem), kForwardTiles), splits) * kForwardTiles;
}

std::int64_t channel_blocks_of(const lrnnx_selective_scan_problem& problem, std::int64_t block_channels) {
  const std::int64_t step = row_phase(problem).channel_step;
  return step * ceil_div(problem.dim / problem.groups / step, block_channels);
}

bool needs_general_kernel(const lrnnx_selective_scan_problem& problem) {
  const std::uint32_t variable =
      problem.discretization == LRNNX_RGLRU ? LRNNX_VARIABLE_C : LRNNX_VARIABLE_B | LRNNX_VARIABLE_C;
  return problem.dstate > 16 || (problem.options & (variable | LRNNX_HAS_DELTA_A)) != variable;
}

lrnnx_status configure(const lrnnx_selective_scan_problem& problem, const Device& device,
                       ForwardConfiguration& configuration) {
  configuration = {};  // 0: left open
  const auto fields = fields_of(problem, configuration);
  if (const lrnnx_status status = parse_configuration(problem, fields); status != LRNNX_OK) return status;
  if (configuration.splits == 0) configuration.splits = usual_splits(problem, device);
  // As many as there are: all but the last take the same number of tiles.
  configuration.splits = ceil_div(time_tiles(problem), forward_split_tiles(problem, configuration.splits));
  ForwardConfiguration usual = usual_configuration(problem, device, configuration.splits);
  const std::int64_t most_channels = most_channels_per_lane(problem);
  // Real weights have one number of channels for each number of lanes.
  const auto channels_of = [&](std::int64_t lanes) { return lanes == 8 ? most_channels : 1; };
  const bool general = needs_general_kernel(problem);
  if (!general && most_channels > 1 && configuration.state_lanes == 0 && configuration.channels_per_lane != 0)
    usual.state_lanes = configuration.channels_per_lane == channels_of(8) ? 8 : 16;
  if (!general)
    usual.channels_per_lane =
        channels_of(configuration.state_lanes != 0 ? configuration.state_lanes : usual.state_lanes);
  const auto usual_fields = fields_of(problem, usual);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (*fields[i].value != 0) continue;
    *fields[i].value = fields[i].allowed.size() == 1 ? fields[i].allowed.front() : *usual_fields[i].value;
  }
  if (!general && configuration.channels_per_lane != channels_of(configuration.state_lanes)) {
    return fail(LRNNX_INVALID_ARGUMENT,
                "configuration: no forward kernel has %s; there are lanes=8,channels=2 and lanes=16,channels=1",
                to_string(configuration).c_str());
  }
  return validate_size(problem, blocks_of(problem, 32 / configuration.state_lanes * configuration.channels_per_lane *
                                                       configuration.warps));
}

lrnnx_status configure(const lrnnx_selective_scan_problem& problem, const Device& device,
                       BackwardConfiguration& configuration) {
  configuration = {};  // 0: left open
  if (const lrnnx_status status = parse_configuration(problem, fields_of(problem, configuration)); status != LRNNX_OK)
    return status;
  configuration = completed(problem, device, configuration);
  if (configuration.channels_per_lane == 2 && configuration.warps == 16) {
    return fail(LRNNX_INVALID_ARGUMENT,
                "configuration: no backward kernel has %s; there are channels=2,warps=8 and channels=1,warps=16",
                to_string(configuration).c_str());
  }
  if (configuration.splits > 1 && !holds_adjoint_of_split(problem, device)) {
    return fail(LRNNX_UNSUPPORTED,
                "configuration: splits > 1 with dstate = %lld needs more shared memory than the %lld bytes a block of "
                "this device",
                static_cast<long long>(problem.dstate), static_cast<long long>(device.shared_bytes));
  }
  // Those of adjoint_of_split are of 8 warps.
  const std::int64_t warps =
      configuration.splits > 1 ? std::min<std::int64_t>(configuration.warps, 8) : configuration.warps;
  return validate_size(problem, blocks_of(problem, 4 * configuration.channels_per_lane * warps) * configuration.splits);
}

std::string configuration_keys(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction) {
  ForwardConfiguration forward{};
  BackwardConfiguration backward{};
  return direction == LRNNX_FORWARD ? lrnnx::configuration_keys(fields_of(problem, forward))
                                    : lrnnx::configuration_keys(fields_of(problem, backward));
}

std::string to_string(const ForwardConfiguration& configuration) {
  return "lanes=" + std::to_string(configuration.state_lanes) +
         ",channels=" + std::to_string(configuration.channels_per_lane) +
         ",warps=" + std::to_string(configuration.warps) + ",stages=" + std::to_string(configuration.stages) +
         ",splits=" + std::to_string(configuration.splits);
}

std::string to_string(const BackwardConfiguration& configuration) {
  return "channels=" + std::to_string(configuration.channels_per_lane) +
         ",warps=" + std::to_string(configuration.warps) + ",splits=" + std::to_string(configuration.splits);
}

}  // namespace lrnnx::cuda
