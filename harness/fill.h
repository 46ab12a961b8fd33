// Named generators of inputs. A fill is a base, which gives every tensor its values, and any number of modifiers, which
// replace some of them: "slow+zero_dt". The value of element i of a tensor is a function of the problem's text, the
// tensor's name and i. Modifiers leave the random numbers of the base alone: "init+nan" is "init" with one NaN.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/backend.h"
#include "harness/compare.h"
#include "harness/fill_generator.h"
#include "harness/problem.h"
#include "harness/tensors.h"

namespace lrnnx::bench {

// Bases and modifiers are listed alike; only one of the two functions is there.
struct Fill {
  // What a modifier needs beside the value that it replaces.
  struct Context {
    const Problem& problem;
    const TensorSpec& tensor;
    uint64_t base_key;        // of the tensor's random numbers
    uint64_t modifier_key;    // of the modifier's own, for this tensor
    uint64_t event_key;       // of the modifier's own, the same for all tensors of one shape
    Generator base;           // what the base would give at another place
    std::vector<float> bias;  // delta_bias, for the tensor delta
  };
  using Modification = double (*)(const Context& context, const Element& element, double value);

  const char* name;
  const char* description;
  // Of the tensor; a modifier returns null where it changes nothing.
  Generator (*base)(const Problem& problem, std::string_view tensor) = nullptr;
  Modification (*modifier)(const Problem& problem, std::string_view tensor) = nullptr;
  // Why it has no meaning for the problem; null if it has.
  const char* (*objection)(const Problem& problem) = [](const Problem&) -> const char* { return nullptr; };
  Judgement judgement = Judgement::gauged;
  float plant = 0;          // if not finite, one number becomes this
  bool plants_row = false;  // or all of one row
};

std::span<const Fill> fill_bases();
std::span<const Fill> fill_modifiers();

// Throws UsageError naming the word, and what is allowed in its place.
void require_fill(std::string_view fill);

// "fill A_near_zero: s7 has no A", or nothing if the fill has a meaning for the problem.
std::optional<std::string> fill_objection(const Problem& problem);

Judgement judgement_of(const Problem& problem);

// The values of one input of the problem, rounded to its storage.
std::vector<float> generate(const Problem& problem, const TensorSpec& tensor);

// The same in their storage, tensor.bytes() of them; parts must begin and end between numbers.
WritePart generation_of(const Problem& problem, const TensorSpec& tensor);

// The number, or row of numbers, that the modifiers nan, inf and nan_row replace, in an input that the seed chooses.
struct Plant {
  std::string tensor;
  int64_t index = 0;  // of the first number, as generate() orders them
  int64_t count = 1;
  float value = 0;
};
std::optional<Plant> plant_of(const Problem& problem);

// The same inputs without it.
Problem without_plant(const Problem& problem);

}  // namespace lrnnx::bench
