// The runtime: a device that looks like an H100, whose launches the scheduler runs.
#include <cuda_runtime_api.h>

#include <map>
#include <string>

namespace {

std::string failure;  // of the last launch
std::map<lrnnx::emulation::Function, std::size_t> shared_limits;

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? "cudaErrorLaunchFailure" : "cudaErrorInvalidConfiguration";
}
const char* cudaGetErrorString(cudaError_t) { return failure.c_str(); }

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  constexpr int kMultiprocessors = 132;  // of an H100
  *value =
      attribute == cudaDevAttrMultiProcessorCount ? kMultiprocessors : static_cast<int>(lrnnx::emulation::kSharedBytes);
  return cudaSuccess;
}

namespace lrnnx::emulation {

cudaError_t set_shared_limit(Function kernel, int bytes) {
  shared_limits[kernel] = static_cast<std::size_t>(bytes);
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, Function kernel, const std::function<void()>& call) {
  constexpr std::size_t kDefaultSharedBytes = 48 * 1024;
  constexpr unsigned kMostThreads = 1024, kMostBlocks = 65535;  // along y and z
  const Size &grid = config.gridDim, &block = config.blockDim;
  failure.clear();
  if (config.dynamicSmemBytes > std::max(shared_limits[kernel], kDefaultSharedBytes)) {
    failure = "more shared memory than cudaFuncSetAttribute was told of";
  } else if (grid.x == 0 || grid.x > 0x7fffffff || grid.y == 0 || grid.y > kMostBlocks || grid.z != 1) {
    failure = "no such grid";
  } else if (block.x == 0 || block.x > kMostThreads || block.x % kWarpThreads != 0 || block.y != 1 || block.z != 1) {
    failure = "no such block";
  }
  if (!failure.empty()) return cudaErrorInvalidConfiguration;
  const bool follower = config.numAttrs == 1 && config.attrs->val.programmaticStreamSerializationAllowed != 0;
  failure = run(grid, block, config.dynamicSmemBytes, follower, call);
  return failure.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

}  // namespace lrnnx::emulation
