// How the scans with one state a channel walk along a row: a warp a row, tiles of 128 steps, four consecutive steps (a
// quad) a lane.
//
// A row may start anywhere. The tiles start at the multiple of 16 bytes at or before the row's first step in delta, so
// that quads are aligned in memory whatever the length and the strides are; a tensor that lies differently is moved by
// single floats. Steps outside the row are identities of the recurrence.
#pragma once

#include <cstdint>

#include "common/cuda_async.cuh"
#include "common/math.h"
#include "discretization/discretization.h"
#include "selective_scan/single_state_layout.h"

namespace lrnnx::cuda::single_state {

constexpr int kSlotBytes = kTileSteps * 4;  // one tensor's tile in shared memory
// The most warps of a block; 64 registers a thread then leave two such blocks on a multiprocessor.
constexpr int kMaxWarps = 16;

struct alignas(16) Quad {
  float steps[4];
  __device__ float& operator[](int e) { return steps[e]; }
  __device__ float operator[](int e) const { return steps[e]; }
  __device__ float4 as_float4() const { return {steps[0], steps[1], steps[2], steps[3]}; }
};

// A (B, D, L) tensor.
struct RowTensor {
  float* data;
  std::int64_t stride_batch, stride_dim;
};

// One row of a tensor. A warp keeps those of its tensors in shared memory, for registers are short.
struct alignas(16) Row {
  float* origin;          // where the first tile starts
  std::uint32_t matches;  // whether that is a multiple of 16 bytes
};

// The part of a row that one tile gives a lane. kWhole: the tile lies within the row, and the rows of all tensors
// match.
template <bool kWhole>
struct Place {
  int offset;  // of the quad, from the row's origin
  int step;    // of the quad's first element; negative before the row
  int seqlen;

  __device__ bool holds(int e) const {
    return kWhole || static_cast<std::uint32_t>(step + e) < static_cast<std::uint32_t>(seqlen);
  }
  __device__ bool holds_all() const { return kWhole || (step >= 0 && step + 4 <= seqlen); }
  // Bytes of the quad that lie before the row's end.
  __device__ std::uint32_t bytes() const {
    return kWhole ? 16 : static_cast<std::uint32_t>(min(max(seqlen - step, 0), 4)) * 4;
  }
};

// A warp's row and its tiles.
class Tiles {
 public:
  // Fills rows[i] for inputs and outputs, null ones included; the first input decides where the tiles start. With
  // seqlen 0, no tile holds anything of the row.
  template <int kInputs, int kOutputs>
  __device__ Tiles(Row* rows, const RowTensor (&inputs)[kInputs], const RowTensor (&outputs)[kOutputs], bool shifted,
                   std::uint32_t batch, std::uint32_t channel, int seqlen, int lane)
      : seqlen_(seqlen), lane_(lane) {
    const auto first = [&](const RowTensor& tensor) {
      return tensor.data + (static_cast<std::int64_t>(batch) * tensor.stride_batch +
                            static_cast<std::int64_t>(channel) * tensor.stride_dim);
    };
    shift_ = shifted ? static_cast<int>(reinterpret_cast<std::uintptr_t>(first(inputs[0])) / 4 & 3) : 0;
    bool matches = true;
    if (lane < kInputs + kOutputs) {
      const RowTensor& tensor = lane < kInputs ? inputs[lane] : outputs[lane - kInputs];
      float* const origin = first(tensor) - shift_;
      matches = reinterpret_cast<std::uintptr_t>(origin) % 16 == 0;
      rows[lane] = {origin, matches};
      matches = matches || tensor.data == nullptr;
    }
    all_match_ = __all_sync(~0u, matches);
    __syncwarp();
  }

  // Steps that the first tile starts before the row.
  __device__ int shift() const { return shift_; }

  // The row that starts at `first`, of a tensor that the channels of a group share.
  __device__ Row shared_row(const float* first) const {
    float* const origin = const_cast<float*>(first) - shift_;
    return {origin, reinterpret_cast<std::uintptr_t>(origin) % 16 == 0};
  }

  template <class Function>
  __device__ __forceinline__ void visit(int tile, Function function) const {
    const int first = tile * kTileSteps - shift_;
    const int offset = tile * kTileSteps + 4 * lane_;
    if (all_match_ && first >= 0 && first + kTileSteps <= seqlen_) {
      function(Place<true>{offset, offset - shift_, seqlen_});
    } else {
      function(Place<false>{offset, offset - shift_, seqlen_});
    }
  }

 private:
  int shift_, seqlen_, lane_;
  bool all_match_;
};

constexpr int kNoTile = -1;

// The tile that the next split of time begins with.
template <class Parameters>
__device__ __forceinline__ int end_of_split(const Parameters& p, int split) {
  return split + 1 == p.splits ? p.tiles : (split + 1) * p.tiles_per_split;
}

template <bool kWhole>
__device__ __forceinline__ void store_quad(const Row& row, const Place<kWhole>& place, const Quad& quad) {
  float* const target = row.origin + place.offset;
  if (kWhole || (row.matches && place.holds_all())) {
    store_streaming(target, quad.as_float4());
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (place.holds(e)) store_global(target + e, quad[e]);
    }
  }
}

// The stages through which a warp's inputs go, a tile in each. Of each tile first those of the row's own tensors lie
// there that are always given, then the rows of B and C that the channels of its group share, and find in the cache,
// then the row's other tensors.
struct InputStages {
  std::int32_t own, shared;  // tensors
  std::int32_t count;        // stages
  std::int32_t stage_bytes;

  static InputStages of(int own, int shared, int count) { return {own, shared, count, (own + shared) * kSlotBytes}; }
  __host__ __device__ int bytes() const { return count * stage_bytes; }
};

// The inputs of a warp's row on their way through shared memory, of which the oldest tile is being read; kAlways
// tensors are always given. A lane reads what it copied itself, so that nothing waits for other lanes.
template <int kAlways>
class Inputs {
 public:
  __device__ Inputs(const InputStages& stages, const Row* own, const Row* shared, unsigned char* begin, int lane)
      : stages_(stages),
        own_(own),
        shared_(shared),
        begin_(begin + lane * sizeof(Quad)),
        read_(begin_),
        write_(begin_),
        shared_match_(true) {
    for (int i = 0; i < stages.shared; ++i) shared_match_ = shared_match_ && shared[i].matches;
  }

  // Copies the first tiles, tile_of(0), tile_of(1) and so on; copy() then those that follow.
  template <class TileOf>
  __device__ void start(const Tiles& tiles, TileOf tile_of) {
    for (int i = 0; i < stages_.count - 1; ++i) {
      copy(tiles, tile_of(i));
      write_ += stages_.stage_bytes;
    }
  }
  // Copies the tile that comes `stages.count` - 1 after the one that is read next.
  __device__ __forceinline__ void copy(const Tiles& tiles, int tile) const {
    if (tile != kNoTile) tiles.visit(tile, [&](const auto& place) { copy_tile(place); });
    commit_copies();
  }
  // For the tile that is read next.
  __device__ __forceinline__ void wait() const {
    if (stages_.count == 2) {
      wait_copies<0>();
    } else if (stages_.count == 3) {
      wait_copies<1>();
    } else {
      wait_copies<2>();
    }
  }
  // Of those that are always given.
  __device__ __forceinline__ Quad load(int tensor) const { return slot(tensor * kSlotBytes); }
  __device__ __forceinline__ Quad load_shared(int tensor) const { return slot((kAlways + tensor) * kSlotBytes); }
  // The same or, where the tensor is not one of those, *other: by one load.
  __device__ __forceinline__ Quad load_shared_or(bool is_shared, int tensor, const Quad* other) const {
    return *(is_shared ? &slot((kAlways + tensor) * kSlotBytes) : other);
  }
  // Of the others.
  __device__ __forceinline__ Quad load_optional(int tensor) const {
    return slot((kAlways + stages_.shared + tensor) * kSlotBytes);
  }
  __device__ __forceinline__ Quad load_last() const { return slot(stages_.stage_bytes - kSlotBytes); }
  // Puts what is derived from an input in its place.
  __device__ __forceinline__ void replace(int tensor, const Quad& quad) const { slot(tensor * kSlotBytes) = quad; }
  __device__ __forceinline__ void release() {
    write_ = read_;
    read_ += stages_.stage_bytes;
    if (read_ == begin_ + stages_.bytes()) read_ = begin_;
  }

 private:
  __device__ __forceinline__ Quad& slot(int offset) const { return *reinterpret_cast<Quad*>(read_ + offset); }

  // What comes from outside the row has no meaning.
  template <bool kWhole>
  __device__ __forceinline__ void copy_tile(const Place<kWhole>& place) const {
    const std::uint32_t target = shared_address(write_), shared_target = target + kAlways * kSlotBytes;
    if constexpr (kWhole) {
      // All addresses first: an asynchronous copy waits for the loads before it.
      const auto copy_all = [&](auto copy_shared) {
        const float *sources[kAlways], *shared_sources[2] = {};
#pragma unroll
        for (int i = 0; i < kAlways; ++i) sources[i] = own_[i].origin + place.offset;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (i < stages_.shared) shared_sources[i] = shared_[i].origin + place.offset;
        }
#pragma unroll
        for (int i = 0; i < kAlways; ++i) copy_async_16(target + i * kSlotBytes, sources[i], 16);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (i < stages_.shared) copy_shared(shared_target + i * kSlotBytes, shared_sources[i]);
        }
      };
      if (shared_match_) {
        copy_all([](std::uint32_t target, const float* source) { copy_async_16_cached(target, source, 16); });
      } else {
        copy_all([&](std::uint32_t target, const float* source) { copy_steps(target, source, place); });
      }
#pragma unroll 1
      for (int i = kAlways; i < stages_.own; ++i)
        copy_async_16(target + (i + stages_.shared) * kSlotBytes, own_[i].origin + place.offset, 16);
    } else {
#pragma unroll 1
      for (int i = 0; i < stages_.own; ++i)
        copy_quad<false>(target + (i < kAlways ? i : i + stages_.shared) * kSlotBytes, own_[i], place);
#pragma unroll 1
      for (int i = 0; i < stages_.shared; ++i) copy_quad<true>(shared_target + i * kSlotBytes, shared_[i], place);
    }
  }
  template <bool kCached, bool kWhole>
  __device__ __forceinline__ static void copy_quad(std::uint32_t target, const Row& row, const Place<kWhole>& place) {
    const float* const source = row.origin + place.offset;
    if (!row.matches) {
      copy_steps(target, source, place);
    } else if (kCached) {
      copy_async_16_cached(target, source, place.bytes());
    } else {
      copy_async_16(target, source, place.bytes());
    }
  }
  template <bool kWhole>
  __device__ __forceinline__ static void copy_steps(std::uint32_t target, const float* source,
                                                    const Place<kWhole>& place) {
#pragma unroll
    for (int e = 0; e < 4; ++e) copy_async<4>(target + 4 * e, source + e, place.holds(e));
  }

  const InputStages& stages_;
  const Row *own_, *shared_;
  unsigned char *const begin_, *read_, *write_;  // the lane's places in the first stage and in those at hand
  bool shared_match_;
};

// One or several steps of a recurrence: h becomes a h + b.
struct Map {
  float a, b;
};
__device__ __forceinline__ Map then(Map first, Map second) {
  return {second.a * first.a, fmaf(second.a, first.b, second.b)};
}

enum class Order { first_lane_first, last_lane_first };

// The lane's map after that of the lane `distance` before it, where there is one.
template <Order kOrder>
__device__ __forceinline__ void compose_with(Map& map, int distance) {
  if constexpr (kOrder == Order::first_lane_first) {
    compose_up(map.a, map.b, distance);
  } else {
    compose_down(map.a, map.b, distance);
  }
}

template <Order kOrder>
__device__ __forceinline__ float before(float value, int distance) {
  return kOrder == Order::first_lane_first ? __shfl_up_sync(~0u, value, distance)
                                           : __shfl_down_sync(~0u, value, distance);
}

template <Order kOrder>
__device__ __forceinline__ float last_of(float value) {
  return __shfl_sync(~0u, value, kOrder == Order::first_lane_first ? 31 : 0);
}

// The lanes' maps one after the other.
template <Order kOrder>
__device__ __forceinline__ Map compose_lanes(Map map) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) compose_with<kOrder>(map, distance);
  return {last_of<kOrder>(map.a), last_of<kOrder>(map.b)};
}

// Hands the carried value, which only the first lane need know, through the lanes' maps: returns what enters this
// lane's, and leaves in `carry` what the last one gives.
template <Order kOrder>
__device__ __forceinline__ float pass_through(Map map, float& carry, int lane) {
  const bool forward = kOrder == Order::first_lane_first;
  const bool is_first = lane == (forward ? 0 : 31);
  if (is_first) map.b = fmaf(map.a, carry, map.b);
#pragma unroll
  for (int distance = 1; distance < 16; distance *= 2) compose_with<kOrder>(map, distance);
  const float half = before<kOrder>(map.b, 16);
  if (forward ? lane >= 16 : lane < 16) map.b = fmaf(map.a, half, map.b);
  const float given = before<kOrder>(map.b, 1);
  const float entering = is_first ? carry : given;
  carry = last_of<kOrder>(map.b);
  return entering;
}

// The value that enters a split of time: `carry` through the maps of the `count` splits before it, maps[0],
// maps[stride] and so on.
__device__ __forceinline__ float pass_splits(const float2* maps, int count, int stride, float carry, int lane) {
  for (int first = 0; first < count; first += 32) {
    Map map = {1.0f, 0.0f};
    if (first + lane < count) {
      const float2 stored = maps[static_cast<std::int64_t>(first + lane) * stride];
      map = {stored.x, stored.y};
    }
    pass_through<Order::first_lane_first>(map, carry, lane);
  }
  return carry;
}

__device__ __forceinline__ float sum_over_warp(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
  return value;
}

// omega of the row's channel
template <class F>
__device__ __forceinline__ float prepared_weight(const float* A, std::uint32_t channel) {
  if constexpr (F::kUsesA) {
    return F::prepare(A[channel]);
  } else {
    return F::prepare(1.0f);
  }
}

// dt from delta
template <class F>
__device__ __forceinline__ Quad input_steps(Quad delta, float bias, bool with_softplus) {
  if constexpr (F::kTakesStepOptions) {
#pragma unroll
    for (int e = 0; e < 4; ++e) delta[e] += bias;
    if (with_softplus) {
#pragma unroll
      for (int e = 0; e < 4; ++e) delta[e] = softplus(delta[e]);
    }
  }
  return delta;
}

}  // namespace lrnnx::cuda::single_state
