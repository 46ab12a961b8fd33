// The forward scan over a chunk of time, in any arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "reference/arithmetic.h"
#include "reference/selective_scan.h"

namespace lrnnx::reference {

// The inputs of a scan where they lie; null means absent.
template <class Real, class Weight>
struct InputView {
  const Real *u = nullptr, *delta = nullptr, *D = nullptr, *z = nullptr, *delta_bias = nullptr, *deltaA = nullptr,
             *out = nullptr;
  const Weight *A = nullptr, *B = nullptr, *C = nullptr, *h0 = nullptr;
};

// Time steps that are computed, and kept for the backward, at once.
constexpr int64_t kChunk = 256;
inline int64_t chunk_count(const Problem& problem) { return (problem.seqlen + kChunk - 1) / kChunk; }

// Up to kBlock channels of one batch and group: what a thread works on at a time. Fixed by the problem alone, so that
// sums over blocks come out the same for any number of threads.
struct ChannelBlock {
  int64_t batch, group, first_channel, channels;
};
constexpr int64_t kBlock = 8;

inline std::vector<ChannelBlock> channel_blocks(const Problem& problem, int64_t first_batch, int64_t batches) {
  const int64_t width = problem.dim / problem.groups;
  std::vector<ChannelBlock> blocks;
  for (int64_t batch = first_batch; batch < first_batch + batches; ++batch) {
    for (int64_t group = 0; group < problem.groups; ++group) {
      for (int64_t channel = 0; channel < width; channel += kBlock) {
        blocks.push_back({batch, group, group * width + channel, std::min(kBlock, width - channel)});
      }
    }
  }
  return blocks;
}

// Below some tenths of a millisecond, threads cost more than they bring.
inline bool worth_threads(const Problem& problem) {
  return problem.batch * problem.dim * problem.seqlen * problem.dstate > (1 << 14);
}

// Twice the real part of the weighted states with complex weights.
template <class Real>
Real doubled_if(bool complex, const Real& x) {
  return complex ? x + x : x;
}

// One channel over one chunk: its factors and states at every step, state axis innermost.
template <class Numbers>
class Chunk {
 public:
  using Real = typename Numbers::Real;
  using Weight = typename Numbers::Weight;
  using InputWeight = typename Numbers::InputWeight;
  using Inputs = InputView<typename Numbers::InputReal, InputWeight>;
  using Columns = Eigen::Array<Weight, Eigen::Dynamic, Eigen::Dynamic>;  // a column for each time step

  Chunk(const Problem& problem, const Inputs& inputs)
      : problem_(problem),
        inputs_(inputs),
        zeros_(States<InputWeight>::Constant(problem.dstate, InputWeight(0.0))),
        ones_(States<Weight>::Constant(problem.dstate, Weight(1.0))),
        B_(problem.dstate, kChunk),
        C_(problem.dstate, kChunk),
        transition_(problem.dstate, kChunk),
        input_(problem.dstate, kChunk),
        state_(problem.dstate, kChunk + 1),
        steps_(kChunk),
        out_(kChunk) {}

  // Reads what the channels of a group share. Comes before run().
  void load(int64_t batch, int64_t group, int64_t chunk) {
    begin_ = chunk * kChunk;
    length_ = std::min(kChunk, problem_.seqlen - begin_);
    if (problem_.variable_B && reads_B(problem_.discretization)) load(inputs_.B, batch, group, B_);
    if (problem_.variable_C) load(inputs_.C, batch, group, C_);
  }

  // Runs one channel from the state in initial_state(), and reads out() off its states if asked.
  void run(int64_t batch, int64_t channel, bool readout) {
    batch_ = batch;
    channel_ = channel;
    if (!problem_.variable_B && reads_B(problem_.discretization)) fixed_B_ = fixed(inputs_.B).template cast<Weight>();
    if (!problem_.variable_C) fixed_C_ = fixed(inputs_.C).template cast<Weight>();
    const ConstStatesView<InputWeight> weight = A();
    for (int64_t t = 0; t < length_; ++t) {
      steps_[t] = Functions<Real>::steps(step_inputs(t));
      discretize(problem_.discretization, weight, steps_[t], view(transition_, t), view(input_, t));

      const Real u(inputs_.u[row() + t]);
      state_.col(t + 1) = carry(transition(t), state(t - 1)) + input(t) * (B(t) * u);
      if (!readout) continue;
      out_[t] = doubled_if(problem_.complex, real_part((C(t) * state(t)).sum()));
      if (inputs_.D) out_[t] = out_[t] + Real(inputs_.D[channel]) * u;
    }
  }

  StatesView<Weight> initial_state() { return view(state_, 0); }
  ConstStatesView<Weight> final_state() const { return state(length_ - 1); }

  int64_t length() const { return length_; }
  int64_t channel() const { return channel_; }
  // Where the chunk begins in the (B, D, L) tensors.
  int64_t row() const { return (batch_ * problem_.dim + channel_) * problem_.seqlen + begin_; }

  ConstStatesView<InputWeight> A() const {
    return reads_A(problem_.discretization) ? fixed(inputs_.A)
                                            : ConstStatesView<InputWeight>(zeros_.data(), problem_.dstate);
  }
  StepInputs<typename Numbers::InputReal> step_inputs(int64_t t) const {
    return {.delta = inputs_.delta + row() + t,
            .delta_bias = inputs_.delta_bias ? inputs_.delta_bias + channel_ : nullptr,
            .deltaA = inputs_.deltaA ? inputs_.deltaA + row() + t : nullptr,
            .delta_softplus = problem_.delta_softplus};
  }
  // At step t of the chunk; state(-1) is the one the chunk began with.
  ConstStatesView<Weight> B(int64_t t) const {
    if (!reads_B(problem_.discretization)) return view(ones_.data());
    return problem_.variable_B ? view(B_, t) : view(fixed_B_.data());
  }
  ConstStatesView<Weight> C(int64_t t) const { return problem_.variable_C ? view(C_, t) : view(fixed_C_.data()); }
  ConstStatesView<Weight> transition(int64_t t) const { return view(transition_, t); }
  ConstStatesView<Weight> input(int64_t t) const { return view(input_, t); }
  ConstStatesView<Weight> state(int64_t t) const { return view(state_, t + 1); }
  const Steps<Real>& steps(int64_t t) const { return steps_[t]; }
  const Real& out(int64_t t) const { return out_[t]; }  // before the gate

 private:
  void load(const InputWeight* tensor, int64_t batch, int64_t group, Columns& columns) {
    using TimeInnermost = Eigen::Array<InputWeight, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const int64_t rows = (batch * problem_.groups + group) * problem_.dstate;
    const Eigen::Map<const TimeInnermost, 0, Eigen::OuterStride<>> values(
        tensor + rows * problem_.seqlen + begin_, problem_.dstate, length_, Eigen::OuterStride<>(problem_.seqlen));
    columns.leftCols(length_) = values.template cast<Weight>();
  }

  ConstStatesView<Weight> view(const Weight* states) const { return {states, problem_.dstate}; }
  ConstStatesView<Weight> view(const Columns& columns, int64_t t) const { return view(columns.col(t).data()); }
  StatesView<Weight> view(Columns& columns, int64_t t) { return {columns.col(t).data(), problem_.dstate}; }
  ConstStatesView<InputWeight> fixed(const InputWeight* tensor) const {
    return {tensor + channel_ * problem_.dstate, problem_.dstate};
  }

  const Problem& problem_;
  const Inputs& inputs_;
  const States<InputWeight> zeros_;
  const States<Weight> ones_;
  States<Weight> fixed_B_, fixed_C_;  // of the channel
  Columns B_, C_, transition_, input_, state_;
  std::vector<Steps<Real>> steps_;
  std::vector<Real> out_;
  int64_t batch_ = 0, channel_ = 0, begin_ = 0, length_ = 0;
};

template <class Numbers>
States<typename Numbers::Weight> initial_state(const Problem& problem, const typename Chunk<Numbers>::Inputs& inputs,
                                               int64_t batch, int64_t channel) {
  using Weight = typename Numbers::Weight;
  if (!inputs.h0) return States<Weight>::Constant(problem.dstate, Weight(0.0));
  const int64_t offset = (batch * problem.dim + channel) * problem.dstate;
  return ConstStatesView<typename Numbers::InputWeight>(inputs.h0 + offset, problem.dstate).template cast<Weight>();
}

// Runs the blocks over the first `chunks` chunks in order and calls visit(chunk, batch, channel, index of the chunk)
// after each one.
template <class Numbers, class Visit>
void scan(const Problem& problem, const typename Chunk<Numbers>::Inputs& inputs,
          const std::vector<ChannelBlock>& blocks, int64_t chunks, bool readout, Visit visit) {
  using Weight = typename Numbers::Weight;
#pragma omp parallel if (worth_threads(problem))
  {
    Chunk<Numbers> chunk(problem, inputs);
    std::vector<States<Weight>> carries(kBlock);
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < blocks.size(); ++i) {
      const auto& [batch, group, first_channel, channels] = blocks[i];
      for (int64_t c = 0; c < channels; ++c)
        carries[c] = initial_state<Numbers>(problem, inputs, batch, first_channel + c);
      for (int64_t index = 0; index < chunks; ++index) {
        chunk.load(batch, group, index);
        for (int64_t c = 0; c < channels; ++c) {
          chunk.initial_state() = carries[c];
          chunk.run(batch, first_channel + c, readout);
          carries[c] = chunk.final_state();
          visit(chunk, batch, first_channel + c, index);
        }
      }
    }
  }
}

template <class Real, class Weight>
struct ForwardResult {
  std::vector<Real> out, out_z;
  std::vector<Weight> last_state;
};

template <class Numbers>
ForwardResult<typename Numbers::Real, typename Numbers::Weight> forward(const Problem& problem,
                                                                        const typename Chunk<Numbers>::Inputs& inputs) {
  using Real = typename Numbers::Real;
  using Weight = typename Numbers::Weight;
  ForwardResult<Real, Weight> result;
  const int64_t channels = problem.batch * problem.dim;
  result.out.resize(channels * problem.seqlen);
  if (inputs.z) result.out_z.resize(channels * problem.seqlen);
  result.last_state.resize(channels * problem.dstate);
  scan<Numbers>(problem, inputs, channel_blocks(problem, 0, problem.batch), chunk_count(problem), true,
                [&](const Chunk<Numbers>& chunk, int64_t batch, int64_t channel, int64_t) {
                  for (int64_t t = 0; t < chunk.length(); ++t) {
                    const int64_t at = chunk.row() + t;
                    result.out[at] = chunk.out(t);
                    if (inputs.z) result.out_z[at] = chunk.out(t) * Functions<Real>::silu(inputs.z[at]);
                  }
                  const int64_t offset = (batch * problem.dim + channel) * problem.dstate;
                  StatesView<Weight>(result.last_state.data() + offset, problem.dstate) = chunk.final_state();
                });
  return result;
}

}  // namespace lrnnx::reference
