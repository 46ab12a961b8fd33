/* lrnnx: kernels for linear recurrent networks behind a stable C ABI.
 *
 * Every entry point validates its arguments before it launches anything. On failure it returns a status other than
 * LRNNX_OK, and leaves a sentence in lrnnx_last_error() that names the argument, what was given and what is allowed. A
 * call that is refused writes nothing to any tensor; after LRNNX_CUDA_ERROR the outputs hold nothing that counts.
 *
 * Letters: B batch, D channels, L time steps, N states a channel, G groups (channel d belongs to group d / (D / G)).
 * Tensors are row-major with the last axis contiguous. Sizes and strides are 64-bit and count elements; one complex
 * number (re, im interleaved) is one element. Nothing here allocates device memory or synchronises a stream.
 *
 * Any number of threads may call at once. The same call gives the same bits each time on the same kind of device, and on
 * the CPU with any number of threads. A NaN or an infinity reaches what depends on it, later in its own channel, and
 * nothing else. Backend cuda composes transitions over spans of time: where the product of those of a span, each above 1
 * in modulus, exceeds the largest float, it may give NaN within that channel where step after step would not.
 *
 * Backend cuda takes seqlen and dim / groups of at most 2^30 (seqlen one less if complex), stride_dim below 2^32, and
 * what needs at most 2^31 - 1 thread blocks; a device with little shared memory may lack room for a kernel, which only
 * the call itself says (LRNNX_UNSUPPORTED).
 */
#ifndef LRNNX_LRNNX_H
#define LRNNX_LRNNX_H

#include <stdint.h>

#if defined(_WIN32)
#define LRNNX_API
#else
#define LRNNX_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever a struct or the meaning of an argument below changes. */
#define LRNNX_ABI_VERSION 3

LRNNX_API int32_t lrnnx_abi_version(void);

typedef enum lrnnx_status {
  LRNNX_OK = 0,
  LRNNX_INVALID_ARGUMENT = 1, /* an argument is outside what the operator defines */
  LRNNX_UNSUPPORTED = 2,      /* well defined, but this build or this variant does not compute it */
  LRNNX_NO_DEVICE = 3,        /* backend cuda without a CUDA device, or a build without CUDA */
  LRNNX_CUDA_ERROR = 4,
  LRNNX_OUT_OF_MEMORY = 5
} lrnnx_status;

LRNNX_API const char* lrnnx_status_name(lrnnx_status status);

/* Why the last failing call of this thread failed; "" if none has. Valid until the thread's next call. */
LRNNX_API const char* lrnnx_last_error(void);

typedef enum lrnnx_backend { LRNNX_CPU = 0, LRNNX_CUDA = 1 } lrnnx_backend;

typedef enum lrnnx_direction { LRNNX_FORWARD = 0, LRNNX_BACKWARD = 1 } lrnnx_direction;

/* How A and dt become the transition and the input factor of h_t = transition h_{t-1} + input B_t u_t, of which the
 * transition's step is dtA; from 0 on, a line each in discretizations.def.
 *
 *   LRNNX_MAMBA     exp(dtA A)                          dt
 *   LRNNX_ZOH       exp(dtA A)                          (exp(dt A) - 1) / A, which is dt where A = 0
 *   LRNNX_BILINEAR  (1 + dtA A / 2) / (1 - dtA A / 2)   dt / (1 - dt A / 2)
 *   LRNNX_DIRAC     exp(dtA A)                          1
 *   LRNNX_S7        1 - 1 / (a^2 + 1/2), a = delta      1; no A
 *   LRNNX_RGLRU     A^delta, 0 < A < 1                  sqrt(1 - A^(2 delta)); no B, in whose place stands 1
 *
 * The last two have real weights only and take delta as it is: no delta_bias, softplus or deltaA. */
typedef enum lrnnx_discretization {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) LRNNX_##enumerator,
#include "lrnnx/discretizations.def"
} lrnnx_discretization;

/* The 16-bit types are storage only: what is read is widened to 32-bit floats, all arithmetic and the states are in
 * these, and each number that is written is rounded once, to nearest even; what is too large for it becomes infinite. */
typedef enum lrnnx_dtype {
  LRNNX_F32 = 0,  /* everything in 32-bit floats */
  LRNNX_C64 = 1,  /* A, B, C and the states complex (two 32-bit floats), the rest in 32-bit floats */
  LRNNX_BF16 = 2, /* every tensor with a time axis in bfloat16 (the upper half of a float), the rest in 32-bit floats */
  LRNNX_F16 = 3   /* likewise in IEEE binary16, which ends at 65504 */
} lrnnx_dtype;

/* One kernel variant of this library. The strings live as long as the library is loaded. */
typedef struct lrnnx_variant {
  const char* family;         /* "selective_scan" */
  const char* discretization; /* "mamba" */
  const char* dtype;          /* "f32" */
  const char* direction;      /* "forward" */
  const char* backend;        /* "cuda" */
  uint32_t options;           /* those that it takes: LRNNX_VARIABLE_B | ... */
  int32_t takes_A, takes_B;   /* 0: the tensor and its gradient must be absent */
} lrnnx_variant;

LRNNX_API int64_t lrnnx_variant_count(void);
LRNNX_API lrnnx_status lrnnx_variant_at(int64_t index, lrnnx_variant* variant);

/* A view of caller-owned memory, on the device for backend cuda. Rows along the last axis have unit stride. Backend
 * cuda reads 32-bit inputs by whole 16-byte pieces: where data is not 16-byte aligned, also up to 12 bytes before it.
 * The strides are read for tensors with axes (B, D, L) only; every other tensor is contiguous. Both zero mean
 * contiguous; an input may broadcast over the batch with stride_batch 0 and stride_dim > 0. */
typedef struct lrnnx_tensor {
  void* data;           /* null: absent */
  int64_t size;         /* elements that may be read or written from data on */
  int64_t stride_batch; /* elements from one batch to the next */
  int64_t stride_dim;   /* elements from one channel to the next */
} lrnnx_tensor;

/* ---------------------------------------------------------------------------------------------------------------
 * Selective scan (Gu and Dao 2023, "Mamba"; S7 and RG-LRU as further discretizations)
 *
 *   dt_t  = delta_t + delta_bias, through softplus if asked        dtA_t = deltaA_t if given, else dt_t
 *   h_t   = transition(dtA_t, A) h_{t-1} + input(dt_t, A) B_t u_t  h_0 = h0 if given, else 0
 *   out_t = (sum over n of C_t h_t) + D u_t                        (complex: twice the real part of the sum over n)
 *   out_z = out * z * sigmoid(z)                                   if z is given
 * ------------------------------------------------------------------------------------------------------------- */

enum {
  LRNNX_VARIABLE_B = 1 << 0,      /* B is (B, G, N, L) instead of (D, N) */
  LRNNX_VARIABLE_C = 1 << 1,      /* C is (B, G, N, L) instead of (D, N) */
  LRNNX_HAS_D = 1 << 2,           /* skip connection D (D) */
  LRNNX_HAS_Z = 1 << 3,           /* gate z (B, D, L) */
  LRNNX_HAS_DELTA_BIAS = 1 << 4,  /* delta_bias (D) */
  LRNNX_DELTA_SOFTPLUS = 1 << 5,  /* dt through softplus */
  LRNNX_HAS_DELTA_A = 1 << 6,     /* deltaA (B, D, L): the transition's own step, taken raw */
  LRNNX_HAS_H0 = 1 << 7,          /* initial state h0 (B, D, N) */
  LRNNX_HAS_LAST_STATE = 1 << 8,  /* forward writes last_state; backward reads dlast_state (B, D, N) */
  LRNNX_SAVE_FOR_BACKWARD = 1 << 9 /* forward fills `saved`; implied, and ignored, in backward */
};

/* What is to be computed, apart from where the data lies. Both directions of one scan share one problem, but for the
 * configuration, which is of one direction; `saved` does not depend on it. */
typedef struct lrnnx_selective_scan_problem {
  int32_t discretization; /* lrnnx_discretization */
  int32_t dtype;          /* lrnnx_dtype */
  int32_t backend;        /* lrnnx_backend */
  uint32_t options;       /* LRNNX_VARIABLE_B | ... */
  int64_t batch, dim, seqlen, dstate, groups; /* all >= 1; dim divisible by groups; dstate <= 256 */
  /* Launch configuration, as lrnnx_selective_scan_configuration prints it; null or "": chosen by the library. */
  const char* configuration;
} lrnnx_selective_scan_problem;

/* Bytes of the two opaque buffers, 256-byte aligned by the caller. `saved` is written by the forward under
 * LRNNX_SAVE_FOR_BACKWARD and read by the backward; `workspace` holds nothing between calls. What a workspace needs
 * follows from the configuration; where that is left to the library, also from the current device, or on the CPU from how
 * many threads OpenMP would give the thread that asks: ask on the thread that will call. */
typedef struct lrnnx_memory {
  int64_t saved_bytes;
  int64_t workspace_bytes;
} lrnnx_memory;

LRNNX_API lrnnx_status lrnnx_selective_scan_memory(const lrnnx_selective_scan_problem* problem,
                                                   lrnnx_direction direction, lrnnx_memory* memory);

/* Writes the launch configuration that a call would use, as "key=value,key=value", 0-terminated, into text. */
LRNNX_API lrnnx_status lrnnx_selective_scan_configuration(const lrnnx_selective_scan_problem* problem,
                                                          lrnnx_direction direction, char* text, int64_t capacity);

/* Writes, likewise, the keys of a launch configuration and their values, "key=4|8,key=1..64"; "" if there are none. Not
 * every combination has a kernel for the problem: lrnnx_selective_scan_configuration of one that has none fails, and
 * says what there is. Asks no device. */
LRNNX_API lrnnx_status lrnnx_selective_scan_configuration_keys(const lrnnx_selective_scan_problem* problem,
                                                               lrnnx_direction direction, char* text,
                                                               int64_t capacity);

/* Element types. c64: A, B, C, h0, last_state and their gradients, variable or not. bf16 or f16: what has a time axis,
 * that is u, delta, z, deltaA, out, out_z, variable B and C, and the gradients of these; what has none, A, fixed B and C,
 * D, delta_bias, h0, last_state and their gradients, is f32. Every element starts at a multiple of its size. Tensors that
 * the options leave out must have null data, and so must `saved` without LRNNX_SAVE_FOR_BACKWARD. An output, `saved` of a
 * forward and `workspace` share no memory with anything else; rows of strided tensors may lie in each other's gaps, where
 * only their starts are compared. */
typedef struct lrnnx_selective_scan_forward_args {
  lrnnx_tensor u, delta;      /* (B, D, L) */
  lrnnx_tensor A;             /* (D, N) */
  lrnnx_tensor B, C;          /* (D, N) or (B, G, N, L) */
  lrnnx_tensor D, z, delta_bias, deltaA, h0;
  lrnnx_tensor out;           /* written: (B, D, L), before the gate */
  lrnnx_tensor out_z;         /* written if z: (B, D, L), after the gate */
  lrnnx_tensor last_state;    /* written if asked: (B, D, N) */
  void* saved;                /* written if asked */
  int64_t saved_bytes;
  void* workspace;
  int64_t workspace_bytes;
  void* stream;               /* cudaStream_t of the current device; null: the default stream. Unused on the cpu. */
} lrnnx_selective_scan_forward_args;

LRNNX_API lrnnx_status lrnnx_selective_scan_forward(const lrnnx_selective_scan_problem* problem,
                                                    const lrnnx_selective_scan_forward_args* args);

/* Gradients of a loss. A complex gradient is dLoss/dRe + i dLoss/dIm. Each gradient has its input's shape and type. */
typedef struct lrnnx_selective_scan_backward_args {
  lrnnx_tensor u, delta, A, B, C, D, z, delta_bias, deltaA, h0; /* as the forward read them */
  lrnnx_tensor out;           /* as the forward wrote it, rounded if bf16 or f16; needed if z, else null: dz is by it */
  lrnnx_tensor dout;          /* (B, D, L): gradient of out_z if z, else of out */
  lrnnx_tensor dlast_state;   /* (B, D, N) if LRNNX_HAS_LAST_STATE */
  lrnnx_tensor du, ddelta, dA, dB, dC; /* written */
  lrnnx_tensor dD, dz, ddelta_bias, ddeltaA, dh0; /* written, each if its input is given */
  const void* saved;          /* as the forward of the same problem on the same backend wrote it */
  int64_t saved_bytes;
  void* workspace;
  int64_t workspace_bytes;
  void* stream;
} lrnnx_selective_scan_backward_args;

LRNNX_API lrnnx_status lrnnx_selective_scan_backward(const lrnnx_selective_scan_problem* problem,
                                                     const lrnnx_selective_scan_backward_args* args);

#ifdef __cplusplus
}
#endif

#endif
