#include "discretization/mamba.h"
#include "selective_scan/launch.cuh"

namespace lrnnx::cuda {

template lrnnx_status launch_forward<Mamba<float>>(const lrnnx_selective_scan_problem&,
                                                   const lrnnx_selective_scan_forward_args&,
                                                   const ForwardConfiguration&, const Device&);
template lrnnx_status launch_backward<Mamba<float>>(const lrnnx_selective_scan_problem&,
                                                    const lrnnx_selective_scan_backward_args&,
                                                    const BackwardConfiguration&, const Device&);

}  // namespace lrnnx::cuda
