// What this build is: its ABI version and the one table of kernel variants, which listing and dispatch both read.
#include "common/variants.h"

#include <iterator>

#include "common/error.h"
#include "common/half.h"
#include "discretization/all.h"

namespace lrnnx {
namespace {

constexpr const char* kFamily = "selective_scan";
constexpr const char* kDiscretizations[] = {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) #name,
#include "lrnnx/discretizations.def"
};
constexpr const char* kDtypes[] = {"f32", "c64", "bf16", "f16"};
constexpr const char* kDirections[] = {"forward", "backward"};
constexpr const char* kBackends[] = {"cpu", "cuda"};

template <template <class> class Functor>
constexpr Traits traits_of(bool takes_real, bool takes_complex) {
  using D = Functor<float>;  // complex weights change nothing here
  uint32_t options =
      LRNNX_VARIABLE_C | LRNNX_HAS_D | LRNNX_HAS_Z | LRNNX_HAS_H0 | LRNNX_HAS_LAST_STATE | LRNNX_SAVE_FOR_BACKWARD;
  if (D::kTakesStepOptions) options |= LRNNX_HAS_DELTA_BIAS | LRNNX_DELTA_SOFTPLUS | LRNNX_HAS_DELTA_A;
  if (D::kTakesB) options |= LRNNX_VARIABLE_B;
  return {takes_real, takes_complex, D::kUsesA, D::kTakesB, options};
}

constexpr Traits kTraits[] = {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  traits_of<functor>(takes_real, takes_complex),
#include "lrnnx/discretizations.def"
};

constexpr bool is_built(int64_t backend) {
#ifdef LRNNX_WITH_CUDA
  if (backend == LRNNX_CUDA) return true;
#endif
  return backend == LRNNX_CPU;
}

constexpr bool computes(int64_t discretization, int64_t dtype, int64_t backend) {
  const Traits& takes = kTraits[discretization];
  return (dtype == LRNNX_C64 ? takes.complex_weights : takes.real_weights) && is_built(backend);
}

struct Variants {
  lrnnx_variant rows[std::size(kTraits) * std::size(kDtypes) * std::size(kBackends) * std::size(kDirections)];
  int64_t count;
};

constexpr Variants kVariants = [] {
  Variants table{};
  for (size_t discretization = 0; discretization < std::size(kTraits); ++discretization)
    for (size_t dtype = 0; dtype < std::size(kDtypes); ++dtype)
      for (size_t backend = 0; backend < std::size(kBackends); ++backend)
        for (const char* direction : kDirections)
          if (computes(discretization, dtype, backend))
            table.rows[table.count++] = {.family = kFamily,
                                         .discretization = kDiscretizations[discretization],
                                         .dtype = kDtypes[dtype],
                                         .direction = direction,
                                         .backend = kBackends[backend],
                                         .options = kTraits[discretization].options,
                                         .takes_A = kTraits[discretization].A,
                                         .takes_B = kTraits[discretization].B};
  return table;
}();

template <int64_t count>
const char* name_at(const char* const (&names)[count], int64_t index) {
  return index >= 0 && index < count ? names[index] : nullptr;
}

template <int64_t count>
std::string list(const char* const (&names)[count]) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += (text.empty() ? "" : ", ") + std::to_string(i) + " (" + names[i] + ")";
  return text;
}

}  // namespace

const char* discretization_name(int64_t discretization) { return name_at(kDiscretizations, discretization); }
const char* dtype_name(int64_t dtype) { return name_at(kDtypes, dtype); }
const char* direction_name(int64_t direction) { return name_at(kDirections, direction); }
const char* backend_name(int64_t backend) { return name_at(kBackends, backend); }

std::string discretization_list() { return list(kDiscretizations); }
std::string dtype_list() { return list(kDtypes); }

Traits traits(int64_t discretization) { return kTraits[discretization]; }

bool is_computed(int64_t discretization, int64_t dtype, int64_t backend) {
  return computes(discretization, dtype, backend);
}

std::string computed_list(int64_t backend) {
  std::string list;
  for (size_t discretization = 0; discretization < std::size(kTraits); ++discretization)
    for (size_t dtype = 0; dtype < std::size(kDtypes); ++dtype)
      if (computes(discretization, dtype, backend))
        list += (list.empty() ? "" : ", ") + std::string(kDiscretizations[discretization]) + "." + kDtypes[dtype];
  return list;
}

}  // namespace lrnnx

extern "C" int32_t lrnnx_abi_version(void) { return LRNNX_ABI_VERSION; }

extern "C" int64_t lrnnx_variant_count(void) { return lrnnx::kVariants.count; }

extern "C" lrnnx_status lrnnx_variant_at(int64_t index, lrnnx_variant* variant) {
  if (variant == nullptr) return lrnnx::fail(LRNNX_INVALID_ARGUMENT, "variant is null");
  if (index < 0 || index >= lrnnx_variant_count())
    return lrnnx::fail(LRNNX_INVALID_ARGUMENT, "index is %lld; allowed are 0 to %lld", static_cast<long long>(index),
                       static_cast<long long>(lrnnx_variant_count() - 1));
  *variant = lrnnx::kVariants.rows[index];
  return LRNNX_OK;
}
