// What this build is: its ABI version and the one table of kernel variants, which listing and dispatch both read.
#include "common/variants.h"

#include <cstring>
#include <iterator>

#include "common/error.h"

namespace lrnnx {
namespace {

constexpr const char* kDtypes[] = {"f32", "c64"};
constexpr const char* kDirections[] = {"forward", "backward"};
constexpr const char* kBackends[] = {"cpu", "cuda"};

constexpr lrnnx_variant kVariants[] = {
    {"selective_scan", "mamba", "f32", "forward", "cpu"},
    {"selective_scan", "mamba", "f32", "backward", "cpu"},
#ifdef LRNNX_WITH_CUDA
    {"selective_scan", "mamba", "f32", "forward", "cuda"},
    {"selective_scan", "mamba", "f32", "backward", "cuda"},
#endif
};

template <int64_t count>
const char* name_at(const char* const (&names)[count], int64_t index) {
  return index >= 0 && index < count ? names[index] : nullptr;
}

bool equal(const char* a, const char* b) { return std::strcmp(a, b) == 0; }

}  // namespace

const char* discretization_name(int64_t discretization) {
  switch (discretization) {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  case LRNNX_##enumerator:                                                         \
    return name;
#include "discretizations.def"
  }
  return nullptr;
}
const char* dtype_name(int64_t dtype) { return name_at(kDtypes, dtype); }
const char* direction_name(int64_t direction) { return name_at(kDirections, direction); }
const char* backend_name(int64_t backend) { return name_at(kBackends, backend); }

std::string discretization_list() {
  std::string list;
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  list += (list.empty() ? "" : ", ") + std::to_string(LRNNX_##enumerator) + " (" + name + ")";
#include "discretizations.def"
  return list;
}

bool is_computed(const lrnnx_variant& variant) {
  for (const lrnnx_variant& known : kVariants)
    if (equal(known.family, variant.family) && equal(known.discretization, variant.discretization) &&
        equal(known.dtype, variant.dtype) && equal(known.direction, variant.direction) &&
        equal(known.backend, variant.backend))
      return true;
  return false;
}

std::string computed_list(const char* family) {
  std::string list;
  for (const lrnnx_variant& known : kVariants)
    if (equal(known.family, family))
      list += (list.empty() ? "" : ", ") + std::string(known.discretization) + "." + known.dtype + "." +
              known.direction + "." + known.backend;
  return list;
}

}  // namespace lrnnx

extern "C" int32_t lrnnx_abi_version(void) { return LRNNX_ABI_VERSION; }

extern "C" int64_t lrnnx_variant_count(void) { return std::size(lrnnx::kVariants); }

extern "C" lrnnx_status lrnnx_variant_at(int64_t index, lrnnx_variant* variant) {
  if (variant == nullptr) return lrnnx::fail(LRNNX_INVALID_ARGUMENT, "variant is null");
  if (index < 0 || index >= lrnnx_variant_count())
    return lrnnx::fail(LRNNX_INVALID_ARGUMENT, "index is %lld; allowed are 0 to %lld", static_cast<long long>(index),
                       static_cast<long long>(lrnnx_variant_count() - 1));
  *variant = lrnnx::kVariants[index];
  return LRNNX_OK;
}
