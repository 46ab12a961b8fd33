// What the checker's inputs do not pin down: calls of the emulated CUDA backend on numbers chosen by hand.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <vector>

#include "lrnnx/lrnnx.h"

namespace {

class Emulated : public testing::Test {
 protected:
  template <class Function>
  Function* function(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(library_, name));
  }
  void SetUp() override { ASSERT_NE(library_, nullptr) << dlerror(); }

  void* const library_ = dlopen(LRNNX_EMULATED, RTLD_NOW | RTLD_LOCAL);
};

// With A < 0 it is a reset, whatever number of states a pass has room for.
TEST_F(Emulated, AnInfiniteStepOfTheTransitionForgetsAndNothingElse) {
  constexpr int64_t L = 8;
  for (const int64_t N : {2, 3, 16, 17}) {
    std::vector<float> u(L, 1), delta(L, 1), deltaA(L, 0.5f), out(L);
    std::vector<float> A(static_cast<size_t>(N), -1), B(static_cast<size_t>(N * L), 1), C = B;
    deltaA[3] = std::numeric_limits<float>::infinity();
    const lrnnx_selective_scan_problem problem = {.discretization = LRNNX_MAMBA,
                                                  .dtype = LRNNX_F32,
                                                  .backend = LRNNX_CPU,
                                                  .options = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_HAS_DELTA_A,
                                                  .batch = 1,
                                                  .dim = 1,
                                                  .seqlen = L,
                                                  .dstate = N,
                                                  .groups = 1,
                                                  .configuration = nullptr};
    lrnnx_memory memory;
    ASSERT_EQ(function<decltype(lrnnx_selective_scan_memory)>("lrnnx_selective_scan_memory")(&problem, LRNNX_FORWARD,
                                                                                             &memory),
              LRNNX_OK);
    const std::unique_ptr<void, decltype(&std::free)> workspace(
        std::aligned_alloc(256, static_cast<size_t>(memory.workspace_bytes + 256) / 256 * 256), &std::free);
    lrnnx_selective_scan_forward_args args{};
    args.u = {u.data(), L, 0, 0};
    args.delta = {delta.data(), L, 0, 0};
    args.deltaA = {deltaA.data(), L, 0, 0};
    args.A = {A.data(), N, 0, 0};
    args.B = {B.data(), N * L, 0, 0};
    args.C = {C.data(), N * L, 0, 0};
    args.out = {out.data(), L, 0, 0};
    args.workspace = workspace.get();
    args.workspace_bytes = memory.workspace_bytes;
    ASSERT_EQ(function<decltype(lrnnx_selective_scan_forward)>("lrnnx_selective_scan_forward")(&problem, &args),
              LRNNX_OK);
    EXPECT_FLOAT_EQ(out[3], static_cast<float>(N)) << N << " states: only what came in at that step";
    for (const float y : out) EXPECT_TRUE(std::isfinite(y)) << N << " states";
  }
}

}  // namespace
