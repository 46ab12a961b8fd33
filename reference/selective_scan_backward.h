// The gradients of the selective scan, in any arithmetic: states are kept at the start of every chunk, run again chunk
// by chunk from the last to the first, and the adjoint of the state is carried backwards through them. Nothing is ever
// divided by a transition.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "reference/selective_scan_forward.h"

namespace lrnnx::reference {

// Each as large as its input, empty where that is absent.
template <class Real, class Weight>
struct BackwardResult {
  std::vector<Real> du, ddelta, dD, dz, ddelta_bias, ddeltaA;
  std::vector<Weight> dA, dB, dC, dh0;
};

// What the backward pass of one channel of one batch carries from chunk to chunk, and its sums over time.
template <class Numbers>
struct ChannelGradients {
  States<typename Numbers::Weight> state, A, B, C;  // B and C only where they are fixed
  typename Numbers::Real D = 0.0, delta_bias = 0.0;
};

// Gradients of the variable B and C from one block of channels over one chunk; a column for each time step.
template <class Weight>
struct BlockGradients {
  Eigen::Array<Weight, Eigen::Dynamic, Eigen::Dynamic> B, C;
};

template <class Numbers>
class Backward {
 public:
  using Real = typename Numbers::Real;
  using Weight = typename Numbers::Weight;
  using InputReal = typename Numbers::InputReal;
  using InputWeight = typename Numbers::InputWeight;
  using Inputs = InputView<InputReal, InputWeight>;

  // dlast_state may be null.
  Backward(const Problem& problem, const Inputs& inputs, const InputReal* dout, const InputWeight* dlast_state)
      : problem_(problem), inputs_(inputs), dout_(dout), dlast_state_(dlast_state) {
    const int64_t rows = problem.batch * problem.dim, fixed = problem.dim * problem.dstate;
    const int64_t variable = problem.batch * problem.groups * problem.dstate * problem.seqlen;
    const auto allot = [](auto& gradient, const auto* input, int64_t size) { gradient.resize(input ? size : 0); };
    allot(gradients_.du, inputs.u, rows * problem.seqlen);
    allot(gradients_.ddelta, inputs.delta, rows * problem.seqlen);
    allot(gradients_.dA, inputs.A, fixed);
    allot(gradients_.dB, inputs.B, problem.variable_B ? variable : fixed);
    allot(gradients_.dC, inputs.C, problem.variable_C ? variable : fixed);
    allot(gradients_.dD, inputs.D, problem.dim);
    allot(gradients_.dz, inputs.z, rows * problem.seqlen);
    allot(gradients_.ddelta_bias, inputs.delta_bias, problem.dim);
    allot(gradients_.ddeltaA, inputs.deltaA, rows * problem.seqlen);
    allot(gradients_.dh0, inputs.h0, rows * problem.dstate);
  }

  BackwardResult<Real, Weight> run() {
    // A few batches at a time, enough to occupy many threads: what is kept between the passes then stays small.
    constexpr int64_t kBlocksAtOnce = 256;
    const auto blocks_a_batch = static_cast<int64_t>(channel_blocks(problem_, 0, 1).size());
    const int64_t batches = (kBlocksAtOnce + blocks_a_batch - 1) / blocks_a_batch;
    for (first_batch_ = 0; first_batch_ < problem_.batch; first_batch_ += batches) {
      batches_ = std::min(batches, problem_.batch - first_batch_);
      blocks_ = channel_blocks(problem_, first_batch_, batches_);
      run_batches();
    }
    return std::move(gradients_);
  }

 private:
  using Channel = ChannelGradients<Numbers>;

  // What a thread works with.
  struct Worker {
    Worker(const Problem& problem, const Inputs& inputs)
        : chunk(problem, inputs), slopes(problem.dstate), transition(problem.dstate), input(problem.dstate) {}

    Chunk<Numbers> chunk;
    DiscretizationSlopes<Weight> slopes;
    States<Weight> transition, input;  // gradients of the factors of one step
  };

  void run_batches() {
    keep_chunk_states();
    start_channels();
    block_gradients_.resize(blocks_.size());
#pragma omp parallel if (worth_threads(problem_))
    {
      Worker worker(problem_, inputs_);
      for (int64_t index = chunk_count(problem_) - 1; index >= 0; --index) {
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < blocks_.size(); ++i) run_block(blocks_[i], index, worker, block_gradients_[i]);
        if (reads_B(problem_.discretization) && problem_.variable_B)
          sum_blocks(index, &BlockGradients<Weight>::B, gradients_.dB);
        if (problem_.variable_C) sum_blocks(index, &BlockGradients<Weight>::C, gradients_.dC);
      }
    }
    add_channel_gradients();
  }

  void keep_chunk_states() {
    chunk_states_.resize(batches_ * problem_.dim * chunk_count(problem_) * problem_.dstate);
    for (int64_t batch = first_batch_; batch < first_batch_ + batches_; ++batch)
      for (int64_t c = 0; c < problem_.dim; ++c)
        chunk_state(batch, c, 0) = initial_state<Numbers>(problem_, inputs_, batch, c);
    // The last chunk is run on the way back alone.
    scan<Numbers>(problem_, inputs_, blocks_, chunk_count(problem_) - 1, false,
                  [&](const Chunk<Numbers>& chunk, int64_t batch, int64_t channel, int64_t index) {
                    chunk_state(batch, channel, index + 1) = chunk.final_state();
                  });
  }

  StatesView<Weight> chunk_state(int64_t batch, int64_t channel, int64_t index) {
    const int64_t row = ((batch - first_batch_) * problem_.dim + channel) * chunk_count(problem_) + index;
    return {chunk_states_.data() + row * problem_.dstate, problem_.dstate};
  }

  void start_channels() {
    channels_.resize(batches_ * problem_.dim);
    for (int64_t i = 0; i < batches_ * problem_.dim; ++i) {
      Channel& channel = channels_[i];
      for (auto* sum : {&channel.state, &channel.A, &channel.B, &channel.C}) sum->setZero(problem_.dstate);
      channel.D = channel.delta_bias = 0.0;
      if (dlast_state_) {
        const int64_t row = first_batch_ * problem_.dim + i;
        channel.state =
            ConstStatesView<InputWeight>(dlast_state_ + row * problem_.dstate, problem_.dstate).template cast<Weight>();
      }
    }
  }

  void run_block(const ChannelBlock& block, int64_t index, Worker& worker, BlockGradients<Weight>& sums) {
    Chunk<Numbers>& chunk = worker.chunk;
    chunk.load(block.batch, block.group, index);
    if (problem_.variable_B) sums.B.setZero(problem_.dstate, chunk.length());
    if (problem_.variable_C) sums.C.setZero(problem_.dstate, chunk.length());
    for (int64_t c = block.first_channel; c < block.first_channel + block.channels; ++c) {
      chunk.initial_state() = chunk_state(block.batch, c, index);
      chunk.run(block.batch, c, inputs_.z && !inputs_.out);
      Channel& channel = channels_[(block.batch - first_batch_) * problem_.dim + c];
      for (int64_t t = chunk.length() - 1; t >= 0; --t) {
        run_step(worker, c, t, channel, problem_.variable_B ? sums.B.col(t).data() : channel.B.data(),
                 problem_.variable_C ? sums.C.col(t).data() : channel.C.data());
      }
    }
  }

  // The chain rule on h_t = a h_{t-1} + b B u and y = C h_t. With complex weights y is twice a real part, which hands
  // its gradient on doubled; and each factor of a product hands a gradient on times the conjugate of the other.
  void run_step(Worker& worker, int64_t c, int64_t t, Channel& channel, Weight* dB, Weight* dC) {
    const Chunk<Numbers>& chunk = worker.chunk;
    const int64_t at = chunk.row() + t;
    const Real dout = through_gate(at, chunk.out(t));
    const Real dreadout = doubled_if(problem_.complex, dout);
    const Real u(inputs_.u[at]);
    const auto B = chunk.B(t);
    const auto input = chunk.input(t);
    States<Weight>& dstate = channel.state;

    StatesView<Weight>(dC, problem_.dstate) += chunk.state(t).conjugate() * dreadout;
    dstate += chunk.C(t).conjugate() * dreadout;
    StatesView<Weight>(dB, problem_.dstate) += dstate * input.conjugate() * u;
    Real du = real_part((dstate * (input * B).conjugate()).sum());
    if (inputs_.D) {
      du += dout * Real(inputs_.D[c]);
      channel.D += dout * u;
    }
    gradients_.du[at] = du;

    worker.transition = dstate * chunk.state(t - 1).conjugate();
    worker.input = dstate * B.conjugate() * u;
    dstate = carry(chunk.transition(t).conjugate(), dstate).eval();
    through_discretization(worker, t, channel);
  }

  // Gradient of out at one (b, d, l) from that of what leaves the gate.
  Real through_gate(int64_t at, const Real& computed_out) {
    const Real dout = upstream<Real>(dout_[at]);
    if (!inputs_.z) return dout;
    const Real out = inputs_.out ? Real(inputs_.out[at]) : computed_out;
    gradients_.dz[at] = dout * out * Functions<Real>::silu_slope(inputs_.z[at]);
    return dout * Functions<Real>::silu(inputs_.z[at]);
  }

  // Hands the gradients of the two factors on to A and the steps.
  void through_discretization(Worker& worker, int64_t t, Channel& channel) {
    const Chunk<Numbers>& chunk = worker.chunk;
    const int64_t at = chunk.row() + t;
    auto& slopes = worker.slopes;
    differentiate(problem_.discretization, chunk.A(), chunk.steps(t), chunk.transition(t), chunk.input(t), slopes);
    if (reads_A(problem_.discretization)) {
      channel.A += worker.transition * slopes.transition_by_weight.conjugate() +
                   worker.input * slopes.input_by_weight.conjugate();
    }
    const Real ddtA = real_part((worker.transition * slopes.transition_by_step.conjugate()).sum());
    Real ddt = real_part((worker.input * slopes.input_by_step.conjugate()).sum());
    if (inputs_.deltaA) {
      gradients_.ddeltaA[at] = ddtA;
    } else {
      ddt += ddtA;
    }
    if (problem_.delta_softplus) ddt = ddt * Functions<Real>::step_slope(chunk.step_inputs(t));
    gradients_.ddelta[at] = ddt;
    channel.delta_bias += ddt;
  }

  // Adds up the blocks of each group, in order, and puts the time axis innermost again. Runs inside a parallel region.
  void sum_blocks(int64_t index, Eigen::Array<Weight, Eigen::Dynamic, Eigen::Dynamic> BlockGradients<Weight>::*part,
                  std::vector<Weight>& gradient) {
    const int64_t begin = index * kChunk;
    const int64_t length = std::min(kChunk, problem_.seqlen - begin);
    const int64_t slots = batches_ * problem_.groups;
    const int64_t blocks = static_cast<int64_t>(blocks_.size()) / slots;
#pragma omp for collapse(2)
    for (int64_t slot = 0; slot < slots; ++slot) {
      for (int64_t t = 0; t < length; ++t) {
        States<Weight> sum = States<Weight>::Zero(problem_.dstate);
        for (int64_t i = slot * blocks; i < (slot + 1) * blocks; ++i) sum += (block_gradients_[i].*part).col(t);
        const int64_t row = (first_batch_ * problem_.groups + slot) * problem_.dstate;
        Eigen::Map<States<Weight>, 0, Eigen::InnerStride<>>(gradient.data() + row * problem_.seqlen + begin + t,
                                                            problem_.dstate, Eigen::InnerStride<>(problem_.seqlen)) =
            sum;
      }
    }
  }

  void add_channel_gradients() {
    for (int64_t i = 0; i < batches_ * problem_.dim; ++i) {
      const Channel& channel = channels_[i];
      const int64_t c = i % problem_.dim;
      if (reads_A(problem_.discretization)) add(channel.A, c, gradients_.dA);
      if (reads_B(problem_.discretization) && !problem_.variable_B) add(channel.B, c, gradients_.dB);
      if (!problem_.variable_C) add(channel.C, c, gradients_.dC);
      if (inputs_.D) gradients_.dD[c] += channel.D;
      if (inputs_.delta_bias) gradients_.ddelta_bias[c] += channel.delta_bias;
      add(channel.state, first_batch_ * problem_.dim + i, gradients_.dh0);
    }
  }

  void add(const States<Weight>& states, int64_t row, std::vector<Weight>& gradient) {
    if (gradient.empty()) return;
    StatesView<Weight>(gradient.data() + row * problem_.dstate, problem_.dstate) += states;
  }

  const Problem& problem_;
  const Inputs inputs_;
  const InputReal* dout_;
  const InputWeight* dlast_state_;
  BackwardResult<Real, Weight> gradients_;

  // Of the batches at work.
  int64_t first_batch_ = 0, batches_ = 0;
  std::vector<ChannelBlock> blocks_;
  std::vector<Weight> chunk_states_;
  std::vector<Channel> channels_;
  std::vector<BlockGradients<Weight>> block_gradients_;
};

}  // namespace lrnnx::reference
