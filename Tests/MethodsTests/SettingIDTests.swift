import Attention
import Foundation
import Methods
import Testing

/// The names that users, tests and scripts rely on: ids, and the knobs under which results are
/// compared, in the words of the list that was agreed on.
@Suite struct SettingIDTests {
  /// An id and its knobs; empty: none are given.
  static let agreed: [(String, String)] = [
    ("lucid", "t=1.0, ridge_bidirectional=1e-06"),
    ("lucid-half", "t=0.5, ridge_bidirectional=1e-06"),
    ("dsf-linear", "phi=elu1"),
    ("dsf-normalised", "log_eta=ln c_i"),
    ("dsf-ssd", "a=1.0, half_life=32.0"),
    ("dsf-s6", "a_s=s, half_life=32.0"),
    ("dsf-qlstm", "reversed=False"),
    ("dsf-qlstm-reversed", "reversed=True"),
    ("taylor-1", "P=1"),
    ("taylor-2", "P=2"),
    ("taylor-4", "P=4"),
    ("taylor-8", "P=8"),
    ("taylor-2-divS", "P=2, denominator=divS"),
    ("taylor-2-clamp", "P=2, denominator=clamp"),
    ("soft-tied", "tied=True"),
    ("soft-untied", "tied=False"),
    ("soft-untied-normalised", "tied=False, row_normalised=True"),
    ("soft-nystrom", "landmarks=block mean, m=default, inverse=newton 20"),
    (
      "soft-nystrom-symmetric",
      "landmarks=block mean, m=default, inverse=newton 20, "
        + "symmetric=True"
    ),
    ("sigmoid", "b=-ln n"),
    ("sigmoid-per-row", "b=-ln c_i"),
    ("ttr-linear", "gamma=1.0"),
    ("ttr-decayed", "gamma=0.95"),
    ("deltanet", "beta=1.0"),
    ("deltanet-half", "beta=0.5"),
    ("mesa-gamma", "lambda=1.0, gamma=0.95"),
    ("linear", "phi=elu1"),
    ("mala", "phi=elu1, scale=released"),
    ("mala-paper", "phi=elu1, scale=paper"),
    ("lssa", ""),
    ("lssar-3", "p=3"),
    ("lssar-15", "p=15"),
    ("inline", "phi=identity"),
    ("inline-elu1", "phi=elu1"),
    ("affine", "alpha=U3, alpha_ma=mean"),
    ("affine-fixed", "alpha=0.8, alpha_ma=0.4"),
    ("l2vit", "clamp=1.0, tau=d^-1/2"),
    ("l2vit-100", "clamp=100.0, tau=d^-1/2"),
    ("l2vit-window", "window=49"),
    ("l2vit-smoothed", "clamp=1.0, width=7, sd=1.5"),
    ("hedgehog", "H=identity, s=1.0"),
    ("rala", ""),
    ("ssa", "kappa=0.5, token=tanh(z of row entropy)"),
    ("ssa-position", "kappa=0.5, token=None"),
    ("infsa-hop", "rho=0.95, eps=0"),
    ("infsa-neumann-4", "gamma=0.95, hops=4, eps=0"),
    ("infsa-visits", "gamma=0.95"),
    ("infsa-linear", "rho=0.95"),
    ("lla-1", "lambda=1.0"),
    ("nalaformer", "divisor=1.0"),
    ("nalaformer-sqrt-d", "divisor=sqrt d"),
    ("tensor", "K2=K, V2=1, scale=d^-1/2"),
    ("nprf-limit", "b=0, gain=1.0"),
    ("nprf-limit-fit", "b=U2 Toeplitz fit, gain=1.0"),
    ("nprf-64", "b=0, m=64, seed=1"),
    ("alibi", "m=0.25"),
    ("flashbias-svd", "m=0.25, energy=0.99"),
    ("clipped", "gamma=-3.2/n, zeta=1.0"),
    ("clipped-stretched", "gamma=-0.03, zeta=1.03"),
    ("gated-half", "pi=0.5"),
    ("gated-sink", "pi=1 - A_i1"),
    ("minference-vs", "v=16, s=24, forced_v=4, forced_s=8, floor_v=1, floor_s=1, L=64, block=16"),
    (
      "minference-vs-kernel",
      "v=16, s=24, forced_v=4, forced_s=8, floor_v=1, floor_s=1, L=64, "
        + "block=16"
    ),
    ("minference-block", "k=3, B=16"),
    ("a-shape", "n_init=2, n_local=8"),
    ("flexprefill-vs", "gamma=0.6, tau=0.0, B=16, min_budget=16, fallback=False"),
    ("flexprefill-qa", "gamma=0.6, tau=1.0, B=16, min_budget=16, fallback=False"),
    ("sale-token", "theta=0.02, bq=16, bk=8, local=16, seg=16, fallback=False"),
    ("sale-warp", "theta=0.02, bq=16, bk=8, local=16, seg=16, fallback=False"),
    ("sale-exact", "theta=0.02, bq=16, bk=8, local=16, seg=16, fallback=False"),
    ("hip", "mask_k=8, bq=8, bk=2, window=8"),
    ("dhsa", "block=16, local=16, budget=16"),
    ("still", "W=16, chunk=16, ratio=0.125, variant=code"),
    ("natsl-softmax", "chunk=16, share=0.25"),
    ("zipvl", "tau=0.9, recent=16, random=16"),
    ("natten", "w=9, stride=1, dilation=1"),
    ("natten-strided", "w=8, stride=4, dilation=2"),
    ("hyper", "block=16, m=8, r=5, min_seq_len=0"),
  ]

  /// Ids without knobs.
  static let alone = [
    "lean", "delta", "adaptinfer", "sgl", "as-vit", "debias", "prior", "sinks", "unip",
    "attn-fiqa", "attention-influence", "softpag", "layerboost", "clipped", "gated", "flashbias",
    "attention-residuals", "icl-regression", "hedgehog-fit", "weight-shifting", "top-k", "top-p",
    "block-top-k", "block-top-p", "window", "sink-window", "tri-shape", "dilated", "quest",
    "moba", "snapkv", "h2o", "tova", "key-norm", "keydiff", "xattention", "infllm", "spargeattn",
    "nsa", "duoattention", "seer-oracle", "selected", "vertical-slash", "block-sparse",
  ]

  /// The whole text parses and makes a method, and so does each of its knobs alone.
  @Test(arguments: agreed) func textsAreTaken(_ id: String, _ knobs: String) throws {
    let whole = knobs.isEmpty ? id : "\(id):\(knobs)"
    _ = try Registry.standard.make(MethodSetting(parsing: whole))
    for piece in MethodSetting.pieces(of: knobs) {
      _ = try Registry.standard.make(MethodSetting(parsing: "\(id):\(piece)"))
    }
    let setting = try MethodSetting(parsing: whole)
    #expect(try MethodSetting(parsing: setting.description) == setting)
  }

  @Test(arguments: alone) func idsAreTaken(_ id: String) throws {
    _ = try Registry.standard.make(MethodSetting(id))
  }

  /// Words that say what is the standard anyway, or what a variant is: the same map, and another
  /// than that of a value that they could be mistaken for.
  @Test(arguments: [
    ("soft-nystrom:landmarks=block mean", "soft-nystrom", "soft-nystrom:landmarks=block-first"),
    ("soft-nystrom:m=default", "soft-nystrom", "soft-nystrom:m=3"),
    ("soft-nystrom:inverse=newton 20", "soft-nystrom", "soft-nystrom:iterations=2"),
    ("soft-nystrom:inverse=newton 2", "soft-nystrom:iterations=2", "soft-nystrom"),
    (
      "soft-nystrom:inverse=Newton-unshifted 3",
      "soft-nystrom:inverse=newton-unshifted,iterations=3",
      "soft-nystrom:inverse=newton-unshifted"
    ),
    ("nprf-limit-fit:b=U2 Toeplitz fit", "nprf-limit:bias=fit", "nprf-limit"),
    ("nprf-limit:b=U2 Toeplitz fit", "nprf-limit-fit", "nprf-limit"),
    ("l2vit:tau=d^-1/2", "l2vit", "l2vit:tau=0.5"),
    ("l2vit:tau=0", "l2vit", "l2vit:tau=0.5"),
    ("nalaformer-sqrt-d:divisor=sqrt d", "nalaformer:divisor=0", "nalaformer"),
  ]) func wordsMeanTheSame(_ text: String, _ same: String, _ other: String) throws {
    let head = Bench.random.head.slice(0..<64, keys: 64)
    func map(_ setting: String) throws -> [[Double]] {
      let wide = Head(
        query: try #require(head.queryAndKey).query, key: try #require(head.queryAndKey).key,
        value: head.value, causal: false)
      return try RowwiseTests.map(RowwiseTests.examine(setting, wide))
    }
    let found = try map(text)
    #expect(try found == map(same))
    #expect(try found != map(other))
  }

  /// The label follows the knob that says where a number comes from, and not the id.
  @Test(arguments: [
    ("affine", "U3"), ("affine:alpha=u0", "U0"), ("affine:alpha=U1", "U1"),
    ("affine:alpha=0.8", "exact"), ("affine-fixed", "exact"), ("affine-fixed:alpha=U3", "U3"),
    ("ssa", "U3"), ("ssa-position", "U0"), ("ssa:token=none", "U0"), ("l2vit", "U0"),
    ("l2vit:tau=0.5", "exact"), ("l2vit:tau=0", "U0"), ("l2vit-window", "exact"),
    ("l2vit:part=smoothed", "U3"), ("l2vit-smoothed:tau=1", "U3"), ("nalaformer", "exact"),
    ("nalaformer:divisor=1", "exact"), ("nalaformer:divisor=8", "U3"),
    ("nalaformer-sqrt-d", "U3"), ("nalaformer-sqrt-d:divisor=1.0", "exact"), ("soft", "exact"),
    ("soft:landmarks=block mean", "U2"), ("soft-nystrom", "U2"),
    ("soft-nystrom:landmarks=block-first", "U0"), ("soft-nystrom:landmarks=none", "exact"),
    ("nprf", "U0"), ("nprf:bias=fit", "U2"), ("nprf-64:b=U2 toeplitz fit", "U2"),
    ("nprf-limit-fit", "U2"), ("nprf-limit-fit:bias=slope", "U0"),
  ]) func labelsFollowKnobs(_ text: String, _ tag: String) throws {
    let setting = try MethodSetting(parsing: text)
    let card = try #require(Registry.standard.method(setting.id)).card
    #expect(card.fidelity(of: setting).tag == tag)
    let isExact = card.fidelity(of: setting).sentence.isEmpty
    #expect(isExact == (tag == "exact"))
  }

  /// What contradicts itself, or is no such word, is refused by name.
  @Test(arguments: [
    ("soft-nystrom:inverse=newton 20,iterations=5", "iterations"),
    ("soft-nystrom:inverse=newton many", "inverse"), ("soft-nystrom:inverse=newton 101", "100"),
    ("soft-nystrom:inverse=exact 3", "inverse"), ("soft-nystrom:m=some", "m must"),
    ("soft-nystrom:landmarks=block median", "landmarks"),
    ("nprf:bias=heads,b=U2 Toeplitz fit", "bias"), ("nprf:b=fit of mine", "U2 Toeplitz fit"),
    ("nprf:gain=64", "32"), ("l2vit:tau=n^-1/2", "d^-1/2"), ("nalaformer:divisor=d", "sqrt d"),
  ]) func wordsAreRefused(_ text: String, _ word: String) throws {
    let error = #expect(throws: KnobError.self) {
      try Registry.standard.make(MethodSetting(parsing: text))
    }
    #expect(error?.description.contains(word) == true, "\(String(describing: error))")
  }
}
