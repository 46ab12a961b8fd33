// What is computed: one problem, and the line of text that it prints as and parses back from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lrnnx::bench {

struct Shape {
  int64_t batch = 1, dim = 1, seqlen = 1, dstate = 1, groups = 1;
  bool operator==(const Shape&) const = default;
};

struct Options {
  bool variable_B = true, variable_C = true;
  bool D = false, z = false, delta_bias = false, delta_softplus = false, deltaA = false, h0 = false;
  bool last_state = false;
  bool save = false;  // forward only: also write what the backward needs
  bool operator==(const Options&) const = default;
};

// How tensors lie in memory. What is between rows, before and behind them, is not the kernel's to write.
enum class MemoryLayout {
  contiguous,
  strided,     // gaps between the rows of (B, D, L), and between batches
  offset,      // every tensor begins one element behind an aligned address
  transposed,  // (B, D, L) with the batches inside the channels
};
struct MemoryLayoutName {
  const char* name;
  MemoryLayout value;
  const char* description;
};
std::span<const MemoryLayoutName> memory_layout_names();
const char* to_string(MemoryLayout layout);
MemoryLayout parse_memory_layout(std::string_view text);

struct Problem {
  std::string family, discretization, dtype, direction, backend;
  Shape shape;
  Options options;
  std::string fill = "init";
  uint64_t seed = 0;
  MemoryLayout layout = MemoryLayout::contiguous;
  std::string configuration;     // launch configuration as the library prints it; empty: the library chooses
  std::string implementation{};  // name of the library that computes it; empty: the one of this repository
  bool operator==(const Problem&) const = default;
};

// The axes of a shape and the options, in the order in which they print.
struct ShapeAxis {
  const char* name;
  int64_t Shape::*value;
};
std::span<const ShapeAxis> shape_axes();

struct OptionName {
  const char* name;
  bool Options::*value;
  uint32_t bit;  // of lrnnx_selective_scan_problem::options
};
std::span<const OptionName> option_names();

// "B,C,D,z,delta_bias" ("none" if no option is on), and back; B and C mean variable B and C.
std::string to_string(const Options& options);
Options parse_options(std::string_view text);

// "selective_scan.mamba.f32.forward.cuda"
std::string variant_name(const Problem& problem);

// selective_scan.mamba.f32.forward.cuda batch=8 dim=2048 seqlen=2048 dstate=16 groups=1 options=B,C,D fill=init seed=0
// followed by layout=... unless contiguous, config=... if a configuration is set and implementation=... if it is not
// the library of this repository. The line that reproduces a failure.
std::string to_string(const Problem& problem);

// The exact inverse. batch, dim, seqlen and dstate must be given; the rest defaults to groups=1 options=B,C fill=init
// seed=0. Throws UsageError naming the word, and what is allowed in its place.
Problem parse_problem(std::string_view line);

// Throws UsageError beginning with `where` unless the text can stand in a problem line: without spaces.
void require_configuration(const std::string& text, const std::string& where);

// Of the library that computes it: "lrnnx" where the problem names none.
std::string implementation_of(const Problem& problem);

// The problem whichever library computes it.
Problem without_implementation(Problem problem);

// Whether the problem's discretization and direction have this option: s7 and rglru have no delta_bias, delta_softplus
// and deltaA, rglru has no B, the backward no save.
bool takes_option(const Problem& problem, bool Options::*option);
void drop_untaken_options(Problem& problem);

// Throws UsageError if the sizes or options contradict each other (dim not divisible by groups, save in backward...).
void validate(const Problem& problem);

// Seed of the problem's data. It leaves out backend, direction, configuration, implementation, layout, modifiers of the
// fill and what is merely written (save, last_state), so that those see the same inputs.
uint64_t data_seed(const Problem& problem);

// Whole numbers as every text of the harness takes them: 1024, 2^10.
int64_t parse_integer(std::string_view text, std::string_view what);

// The seed of a problem line and of --seed; `what` names it in the message.
uint64_t parse_seed(std::string_view text, std::string_view what);

}  // namespace lrnnx::bench
