// Applies a function object to every element of a vector on the current CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace lrnnx::test {

inline void checked(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
}

template <class T>
struct DeviceArray {
  T* data = nullptr;
  explicit DeviceArray(size_t size) { checked(cudaMalloc(&data, size * sizeof(T))); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data); }
};

template <class F, class In, class Out>
__global__ void map_kernel(F f, const In* in, Out* out, size_t count) {
  const size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x;
  if (i < count) out[i] = f(in[i]);
}

template <class Out, class F, class In>
std::vector<Out> map_on_device(F f, const std::vector<In>& in) {
  const DeviceArray<In> device_in(in.size());
  const DeviceArray<Out> device_out(in.size());
  checked(cudaMemcpy(device_in.data, in.data(), in.size() * sizeof(In), cudaMemcpyHostToDevice));
  map_kernel<<<static_cast<unsigned>((in.size() + 127) / 128), 128>>>(f, device_in.data, device_out.data, in.size());
  checked(cudaGetLastError());
  std::vector<Out> out(in.size());
  checked(cudaMemcpy(out.data(), device_out.data, out.size() * sizeof(Out), cudaMemcpyDeviceToHost));
  return out;
}

inline bool has_device() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

}  // namespace lrnnx::test
