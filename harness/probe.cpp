// Where a planted number may be, where it must be, and whether it is.
#include "harness/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "harness/compare.h"

namespace lrnnx::bench {
namespace {

bool has_axes(const TensorSpec& tensor, const std::vector<std::string_view>& names) {
  return std::equal(tensor.axes.begin(), tensor.axes.end(), names.begin(), names.end());
}

// The (batch, channel, time) that a NaN reaches, and what follows for tensors with other axes.
class Reach {
 public:
  Reach(const Problem& problem, const std::vector<TensorSpec>& outputs, const OracleTensors& lost)
      : shape_(problem.shape),
        steps_(static_cast<size_t>(shape_.batch * shape_.dim * shape_.seqlen)),
        rows_(static_cast<size_t>(shape_.batch * shape_.dim)),
        channels_(static_cast<size_t>(shape_.dim)),
        group_steps_(static_cast<size_t>(shape_.batch * shape_.groups * shape_.seqlen)) {
    for (const TensorSpec& tensor : outputs) {
      if (!has_axes(tensor, {"batch", "channel", "time"})) continue;
      const std::vector<double>& values = lost.at(tensor.name).value;
      for (size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i])) mark(static_cast<int64_t>(i));
      }
    }
  }

  bool at(const TensorSpec& tensor, const std::vector<int64_t>& index) const {
    const auto get = [](const std::vector<bool>& flags, int64_t i) { return bool{flags[static_cast<size_t>(i)]}; };
    if (has_axes(tensor, {"batch", "channel", "time"}))
      return get(steps_, (index[0] * shape_.dim + index[1]) * shape_.seqlen + index[2]);
    if (has_axes(tensor, {"batch", "channel", "state"})) return get(rows_, index[0] * shape_.dim + index[1]);
    if (has_axes(tensor, {"batch", "group", "state", "time"}))
      return get(group_steps_, (index[0] * shape_.groups + index[1]) * shape_.seqlen + index[3]);
    return get(channels_, index[0]);
  }

 private:
  void mark(int64_t step) {
    const int64_t row = step / shape_.seqlen, time = step % shape_.seqlen;
    const int64_t batch = row / shape_.dim, channel = row % shape_.dim;
    const int64_t group = channel / (shape_.dim / shape_.groups);
    steps_[static_cast<size_t>(step)] = true;
    rows_[static_cast<size_t>(row)] = true;
    channels_[static_cast<size_t>(channel)] = true;
    group_steps_[static_cast<size_t>((batch * shape_.groups + group) * shape_.seqlen + time)] = true;
  }

  Shape shape_;
  std::vector<bool> steps_, rows_, channels_, group_steps_;
};

// The numbers of one element, on every side.
struct Sides {
  const TensorSpec& tensor;
  const std::vector<float>&with, &without;
  const std::vector<double>&clean, &moved, &lost;

  size_t parts() const { return tensor.complex ? 2 : 1; }
  template <class Predicate>
  bool any(int64_t element, Predicate predicate) const {
    const size_t begin = static_cast<size_t>(element) * parts();
    return predicate(begin) || predicate(begin + parts() - 1);
  }
  bool changed(int64_t i) const {
    return any(i, [&](size_t k) { return std::memcmp(&with[k], &without[k], sizeof(float)) != 0; });
  }
  bool finite(int64_t i) const {
    return !any(i, [&](size_t k) { return !std::isfinite(with[k]); });
  }
  bool depends(int64_t i) const {
    return any(i, [&](size_t k) { return clean[k] != moved[k]; });
  }
  bool lost_in_reference(int64_t i) const {
    return any(i, [&](size_t k) { return std::isnan(lost[k]); });
  }
};

// Counts the elements where `fault` holds, and says so.
void report(const Sides& sides, const Plant& plant, const char* what, const std::function<bool(int64_t)>& fault,
            std::vector<std::string>& faults) {
  int64_t count = 0, first = -1;
  for (int64_t i = 0; i < sides.tensor.elements(); ++i) {
    if (fault(i) && count++ == 0) first = i;
  }
  if (count == 0) return;
  const size_t at = static_cast<size_t>(first) * sides.parts();
  const std::string planted = plant.count == 1
                                  ? fmt::format("number {}", plant.index)
                                  : fmt::format("numbers {} to {}", plant.index, plant.index + plant.count - 1);
  faults.push_back(
      fmt::format("{}: {} elements {} {} of {}, which became {}; the first, at {}, went from {:.9g} to {:.9g}",
                  sides.tensor.name, count, what, planted, plant.tensor, plant.value,
                  format_index(index_of(sides.tensor, first)), sides.without[at], sides.with[at]));
}

}  // namespace

std::vector<std::string> causality_faults(const Problem& problem, const Plant& plant, const HostTensors& with,
                                          const HostTensors& without, const PlantedOracles& oracles) {
  std::vector<TensorSpec> outputs = tensors(problem);
  std::erase_if(outputs, [](const TensorSpec& tensor) { return tensor.role != Role::output; });
  const Reach reach(problem, outputs, oracles.lost);
  std::vector<std::string> faults;
  for (const TensorSpec& tensor : outputs) {
    const std::string& name = tensor.name;
    const Sides sides{tensor,
                      with.at(name),
                      without.at(name),
                      oracles.clean.at(name).value,
                      oracles.moved.at(name).value,
                      oracles.lost.at(name).value};
    report(
        sides, plant, "changed that are out of reach of",
        [&](int64_t i) {
          return sides.changed(i) && !sides.lost_in_reference(i) && !reach.at(tensor, index_of(tensor, i));
        },
        faults);
    report(
        sides, plant, "stayed finite that depend on",
        [&](int64_t i) { return sides.depends(i) && sides.lost_in_reference(i) && sides.finite(i); }, faults);
  }
  return faults;
}

}  // namespace lrnnx::bench
