// From a fill's text and a problem to the values of a tensor.
#include "harness/fill.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "harness/activity.h"
#include "harness/error.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

struct Recipe {
  const Fill* base = nullptr;
  std::vector<const Fill*> modifiers;
};

const Fill* find(std::span<const Fill> fills, std::string_view name) {
  const auto fill = std::find_if(fills.begin(), fills.end(), [&](const Fill& f) { return f.name == name; });
  return fill == fills.end() ? nullptr : &*fill;
}

std::vector<std::string> names(std::span<const Fill> fills) {
  std::vector<std::string> words;
  for (const Fill& fill : fills) words.emplace_back(fill.name);
  return words;
}

Recipe parse(std::string_view text) {
  Recipe recipe;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('+', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    if (!recipe.base) {
      recipe.base = find(fill_bases(), word);
      if (!recipe.base) {
        throw UsageError(fmt::format("fill '{}': '{}': expected {}, and modifiers after it, as in slow+zero_dt", text,
                                     word, join_or(names(fill_bases()))));
      }
      continue;
    }
    const Fill* modifier = find(fill_modifiers(), word);
    if (!modifier) {
      throw UsageError(
          fmt::format("fill '{}': modifier '{}': expected {}", text, word, join_or(names(fill_modifiers()))));
    }
    if (std::find(recipe.modifiers.begin(), recipe.modifiers.end(), modifier) != recipe.modifiers.end())
      throw UsageError(fmt::format("fill '{}': modifier '{}' is given twice", text, word));
    recipe.modifiers.push_back(modifier);
  }
  return recipe;
}

bool is_plant(const Fill& fill) { return !std::isfinite(fill.plant); }

int64_t row_floats(const TensorSpec& tensor) { return tensor.shape.back() * (tensor.complex ? 2 : 1); }

std::string text_of(const Recipe& recipe) {
  std::string text = recipe.base->name;
  for (const Fill* modifier : recipe.modifiers) text += fmt::format("+{}", modifier->name);
  return text;
}

bool is_linear(const TensorSpec& tensor) {
  constexpr std::string_view kLinear[] = {"u", "B", "C", "D", "h0", "dout", "dlast_state"};
  return std::find(std::begin(kLinear), std::end(kLinear), tensor.name) != std::end(kLinear);
}

}  // namespace

void require_fill(std::string_view fill) {
  const Recipe recipe = parse(fill);
  if (std::count_if(recipe.modifiers.begin(), recipe.modifiers.end(), [](const Fill* f) { return is_plant(*f); }) > 1)
    throw UsageError(fmt::format("fill '{}': nan and inf exclude each other", fill));
  if (recipe.base->judgement == Judgement::exact && !recipe.modifiers.empty())
    throw UsageError(fmt::format("fill '{}': exact takes no modifiers", fill));
}

std::optional<std::string> fill_objection(const Problem& problem) {
  Recipe recipe = parse(problem.fill);
  recipe.modifiers.insert(recipe.modifiers.begin(), recipe.base);
  for (const Fill* fill : recipe.modifiers) {
    if (const char* objection = fill->objection(problem)) return fmt::format("{}: {}", fill->name, objection);
  }
  return std::nullopt;
}

Judgement judgement_of(const Problem& problem) { return parse(problem.fill).base->judgement; }

Problem without_plant(const Problem& problem) {
  Recipe recipe = parse(problem.fill);
  std::erase_if(recipe.modifiers, [](const Fill* modifier) { return is_plant(*modifier); });
  Problem clean = problem;
  clean.fill = text_of(recipe);
  return clean;
}

std::optional<Plant> plant_of(const Problem& problem) {
  const Recipe recipe = parse(problem.fill);
  const auto modifier =
      std::find_if(recipe.modifiers.begin(), recipe.modifiers.end(), [](const Fill* f) { return is_plant(*f); });
  if (modifier == recipe.modifiers.end()) return std::nullopt;
  // Through what is not linear, an infinity may come out as anything.
  const bool infinite = std::isinf((*modifier)->plant);
  std::vector<TensorSpec> candidates;
  for (const TensorSpec& tensor : tensors(problem)) {
    if (tensor.role != Role::input || (infinite && !is_linear(tensor))) continue;
    if ((*modifier)->plants_row && tensor.shape.size() == 1) continue;  // one of several rows
    candidates.push_back(tensor);
  }
  const uint64_t key = mix_bits(data_seed(problem) ^ hash_text("plant"));
  const Element random(key, 0, 0, 0, false), place(key, 1, 0, 0, false);
  const TensorSpec& tensor = candidates[static_cast<size_t>(random.uniform(0, static_cast<double>(candidates.size())))];
  Plant plant{.tensor = tensor.name,
              .index = static_cast<int64_t>(place.uniform(0, static_cast<double>(tensor.floats()))),
              .value = (*modifier)->plant};
  if ((*modifier)->plants_row) {
    plant.count = row_floats(tensor);
    plant.index -= plant.index % plant.count;
  }
  return plant;
}

namespace {

// The numbers of one input. They refer to each other: it stays where it is.
class Input {
 public:
  Input(const Problem& problem, const TensorSpec& tensor)
      : problem_(problem),
        tensor_(tensor),
        key_(mix_bits(mix_bits(data_seed(problem)) ^ hash_text(tensor.name))),
        plant_(plant_of(problem)) {
    const Recipe recipe = parse(problem.fill);
    base_ = recipe.base->base(problem, tensor.name);
    for (const Fill* modifier : recipe.modifiers) {
      const Fill::Modification modification = modifier->modifier(problem, tensor.name);
      if (!modification) continue;
      const uint64_t salt = hash_text(modifier->name);
      stages_.push_back(
          {modification,
           {problem_, tensor_, key_, mix_bits(key_ ^ salt), mix_bits(data_seed(problem) ^ salt), base_, {}}});
      if (tensor.name != "delta" || !problem.options.delta_bias) continue;
      const TensorSpec bias{.name = "delta_bias", .role = Role::input, .shape = {problem.shape.dim}};
      stages_.back().context.bias = generate(problem, bias);
    }
    if (plant_ && plant_->tensor != tensor.name) plant_.reset();
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // Calls put(i, values) with the numbers from `begin` to `end`, some from the i-th on at a time on each thread.
  template <class Put>
  void each(int64_t begin, int64_t end, Put put) const {
    constexpr int64_t kBlock = 1 << 12;
    const int64_t blocks = (end - begin + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (int64_t block = 0; block < blocks; ++block) {
      std::array<double, kBlock> values;
      std::array<float, kBlock> rounded;
      const int64_t first = begin + block * kBlock, count = std::min(end - first, kBlock);
      write(first, count, values.data());
      round_inputs(tensor_.storage, std::span(values.data(), static_cast<size_t>(count)), rounded.data());
      if (plant_) {
        const int64_t plant_end = std::min(plant_->index + plant_->count, first + count);
        for (int64_t i = std::max(plant_->index, first); i < plant_end; ++i)
          rounded[static_cast<size_t>(i - first)] = plant_->value;
      }
      put(first, std::span<const float>(rounded.data(), static_cast<size_t>(count)));
    }
  }

 private:
  struct Stage {
    Fill::Modification modification;
    Fill::Context context;
  };

  // `count` numbers from the `first` on, before they are rounded.
  void write(int64_t first, int64_t count, double* values) const {
    const int64_t components = tensor_.complex ? 2 : 1, length = row_floats(tensor_);
    for (int64_t done = 0; done < count;) {
      const int64_t index = first + done, row = index / length, place = index % length;
      const Stretch stretch{key_, index, row, place, std::min(count - done, length - place), tensor_.complex};
      base_(stretch, values + done);
      for (int64_t i = 0; i < stretch.count && !stages_.empty(); ++i) {
        const Element element(key_, index + i, row, (place + i) / components, (place + i) % components == 1);
        double& value = values[done + i];
        for (const Stage& stage : stages_) value = stage.modification(stage.context, element, value);
      }
      done += stretch.count;
    }
  }

  const Problem problem_;
  const TensorSpec tensor_;
  uint64_t key_;
  Generator base_;
  std::vector<Stage> stages_;
  std::optional<Plant> plant_;
};

}  // namespace

std::vector<float> generate(const Problem& problem, const TensorSpec& tensor) {
  const Doing inputs(Activity::inputs);
  std::vector<float> all(static_cast<size_t>(tensor.floats()));
  Input(problem, tensor).each(0, tensor.floats(), [&](int64_t i, std::span<const float> values) {
    std::ranges::copy(values, all.begin() + i);
  });
  return all;
}

WritePart generation_of(const Problem& problem, const TensorSpec& tensor) {
  return [input = std::make_shared<Input>(problem, tensor), storage = tensor.storage](unsigned char* part,
                                                                                      int64_t offset, int64_t bytes) {
    const int64_t width = bytes_of(storage);
    input->each(offset / width, (offset + bytes) / width,
                [&](int64_t i, std::span<const float> values) { store(storage, values, part + i * width - offset); });
  };
}

}  // namespace lrnnx::bench
