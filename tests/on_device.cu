// The device sides of discretization_test.cpp and math_test.cpp: what they test compiled for the device, applied to
// every element of a vector there.
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "discretization_test.h"
#include "math_test.h"

namespace lrnnx::test {
namespace {

void checked(cudaError_t status) {
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

template <class D, class T>
struct Evaluate {
  Part part;
  __device__ Evaluation operator()(Point point) const { return evaluate<D, T>(part, point); }
};

struct Apply {
  Function function;
  __device__ float operator()(float x) const { return apply(function, x); }
};

}  // namespace

bool device_available() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

template <class D, class T>
std::vector<Evaluation> evaluate_on_device(Part part, const std::vector<Point>& points) {
  return map_on_device<Evaluation>(Evaluate<D, T>{part}, points);
}

#define LRNNX_INSTANTIATE_true(functor, type) \
  template std::vector<Evaluation> evaluate_on_device<functor<type>, type>(Part, const std::vector<Point>&);
#define LRNNX_INSTANTIATE_false(functor, type)
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  LRNNX_INSTANTIATE_##takes_real(functor, float) LRNNX_INSTANTIATE_##takes_complex(functor, Complex)
#include "lrnnx/discretizations.def"

std::vector<float> apply_on_device(Function function, const std::vector<float>& x) {
  return map_on_device<float>(Apply{function}, x);
}

}  // namespace lrnnx::test
