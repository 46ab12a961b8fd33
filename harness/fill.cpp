// From a fill's text and a problem to the values of a tensor.
#include "harness/fill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/activity.h"
#include "harness/error.h"

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
    if (tensor.role == Role::input && (is_linear(tensor) || !infinite)) candidates.push_back(tensor);
  }
  const uint64_t key = mix_bits(data_seed(problem) ^ hash_text("plant"));
  const Element random(key, 0, 0, 0, false), place(key, 1, 0, 0, false);
  const TensorSpec& tensor = candidates[static_cast<size_t>(random.uniform(0, static_cast<double>(candidates.size())))];
  return Plant{.tensor = tensor.name,
               .index = static_cast<int64_t>(place.uniform(0, static_cast<double>(tensor.floats()))),
               .value = (*modifier)->plant};
}

namespace {

// Calls put(i, value) for every number of the input, some at a time on each thread.
template <class Put>
void generate_each(const Problem& problem, const TensorSpec& tensor, Put put) {
  const Doing inputs(Activity::inputs);
  const Recipe recipe = parse(problem.fill);
  const uint64_t key = mix_bits(mix_bits(data_seed(problem)) ^ hash_text(tensor.name));
  const Fill::Generator generator = recipe.base->base(problem, tensor.name);
  struct Stage {
    Fill::Modification modification;
    Fill::Context context;
  };
  std::vector<Stage> stages;
  for (const Fill* modifier : recipe.modifiers) {
    const Fill::Modification modification = modifier->modifier(problem, tensor.name);
    if (!modification) continue;
    const uint64_t salt = hash_text(modifier->name);
    stages.push_back(
        {modification,
         {problem, tensor, key, mix_bits(key ^ salt), mix_bits(data_seed(problem) ^ salt), generator, {}}});
    if (tensor.name != "delta" || !problem.options.delta_bias) continue;
    const TensorSpec bias{.name = "delta_bias", .role = Role::input, .shape = {problem.shape.dim}};
    stages.back().context.bias = generate(problem, bias);
  }

  const int64_t components = tensor.complex ? 2 : 1;
  const int64_t last_extent = tensor.shape.back();
  const int64_t count = tensor.floats();
  constexpr int64_t kBlock = 1 << 14;
#pragma omp parallel for schedule(static) if (count > kBlock)
  for (int64_t block = 0; block < (count + kBlock - 1) / kBlock; ++block) {
    const int64_t begin = block * kBlock, end = std::min(count, begin + kBlock);
    int64_t last = begin / components % last_extent, row = begin / components / last_extent;
    for (int64_t i = begin; i < end; ++i) {
      const bool imaginary = components == 2 && i % 2 == 1;
      const Element element(key, i, row, last, imaginary);
      double value = generator(element);
      for (const Stage& stage : stages) value = stage.modification(stage.context, element, value);
      put(i, input_of(tensor.storage, value));
      if (components == 1 || imaginary) {
        if (++last == last_extent) last = 0, ++row;
      }
    }
  }
  if (const auto plant = plant_of(problem); plant && plant->tensor == tensor.name) put(plant->index, plant->value);
}

}  // namespace

std::vector<float> generate(const Problem& problem, const TensorSpec& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.floats()));
  generate_each(problem, tensor, [&](int64_t i, float value) { values[static_cast<size_t>(i)] = value; });
  return values;
}

void generate(const Problem& problem, const TensorSpec& tensor, unsigned char* bytes) {
  const int64_t width = bytes_of(tensor.storage);
  generate_each(problem, tensor, [&](int64_t i, float value) { store(tensor.storage, value, bytes + i * width); });
}

}  // namespace lrnnx::bench
