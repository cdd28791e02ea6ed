import Formats
import Foundation
import Kernels
import Tensors

/// The transformer once more, in double precision, one position at a time and nothing clever: what
/// the engine is held to.
struct ReferenceForward {
  private let gguf: GGUFFile
  private let name: String
  private let heads: Int, kvHeads: Int, dim: Int, layers: Int
  private let base: Double
  private let isInterleaved: Bool
  /// position -> angle of pair i; replaced by tests of scaling.
  var angle: (_ position: Int, _ pair: Int) -> Double
  /// On the turned vectors (YaRN).
  var magnitude = 1.0
  private let weights: [String: [Double]]

  init(_ path: String) throws {
    let gguf = try GGUFFile(path)
    self.gguf = gguf
    guard case .text(let name) = gguf.metadata["general.architecture"] else { fatalError() }
    self.name = name
    func size(_ key: String) -> Int {
      guard case .integer(let x) = gguf.metadata["\(name).\(key)"] else { fatalError(key) }
      return x
    }
    (heads, kvHeads) = (size("attention.head_count"), size("attention.head_count_kv"))
    (dim, layers) = (size("attention.key_length"), size("block_count"))
    guard case .number(let base) = gguf.metadata["\(name).rope.freq_base"] else { fatalError() }
    self.base = base
    isInterleaved = name == "llama"
    let width = dim
    angle = { Double($0) * pow(base, -2 * Double($1) / Double(width)) }
    var weights: [String: [Double]] = [:]
    for (name, tensor) in gguf.tensors {
      var row = [Float](repeating: 0, count: tensor.columns)
      var all: [Double] = []
      for r in 0..<tensor.rows {
        let at = gguf.bytes(tensor).baseAddress! + r * tensor.type.bytes(tensor.columns)
        as_dequantise(as_weight(tensor.type.rawValue), at, 0, tensor.columns, &row)
        all += row.map(Double.init)
      }
      weights[name] = all
    }
    self.weights = weights
  }

  private func times(_ name: String, _ x: [Double]) -> [Double] {
    let w = weights[name + ".weight"]!, rows = w.count / x.count
    var out = (0..<rows).map { r in
      (0..<x.count).reduce(0.0) { $0 + w[r * x.count + $1] * x[$1] }
    }
    if let bias = weights[name + ".bias"] { for r in 0..<rows { out[r] += bias[r] } }
    return out
  }

  private func norm(_ x: [Double], _ w: [Double]) -> [Double] {
    let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
    return zip(x, w).map { $0 / (mean + 1e-5).squareRoot() * $1 }
  }

  private func turned(_ x: [Double], _ position: Int, _ w: [Double]?) -> [Double] {
    var out = x
    for h in 0..<x.count / dim {
      var v = Array(x[h * dim..<(h + 1) * dim])
      if let w { v = norm(v, w) }
      for i in 0..<dim / 2 {
        let (a, b) = isInterleaved ? (2 * i, 2 * i + 1) : (i, i + dim / 2)
        let c = magnitude * cos(angle(position, i)), s = magnitude * sin(angle(position, i))
        (out[h * dim + a], out[h * dim + b]) = (v[a] * c - v[b] * s, v[a] * s + v[b] * c)
      }
    }
    return out
  }

  /// Queries of the first layer after rotation, `[tokens][heads * dim]`: little work, so that debug
  /// builds can afford it.
  func firstQueries(_ tokens: [Int]) -> [[Double]] {
    let embedding = weights["token_embd.weight"]!
    let width = gguf.tensors["token_embd.weight"]!.columns
    return tokens.enumerated().map { position, token in
      let x = norm(
        Array(embedding[token * width..<(token + 1) * width]), weights["blk.0.attn_norm.weight"]!)
      return turned(times("blk.0.attn_q", x), position, weights["blk.0.attn_q_norm.weight"])
    }
  }

  /// Logits after every token.
  func logits(_ tokens: [Int]) -> [[Double]] {
    let embedding = weights["token_embd.weight"]!
    let width = gguf.tensors["token_embd.weight"]!.columns
    var keys = [[[Double]]](repeating: [], count: layers), values = keys
    return tokens.enumerated().map { position, token in
      var x = Array(embedding[token * width..<(token + 1) * width])
      for l in 0..<layers {
        let at = "blk.\(l)."
        let n = norm(x, weights[at + "attn_norm.weight"]!)
        let q = turned(times(at + "attn_q", n), position, weights[at + "attn_q_norm.weight"])
        keys[l].append(
          turned(times(at + "attn_k", n), position, weights[at + "attn_k_norm.weight"]))
        values[l].append(times(at + "attn_v", n))
        let mixed = times(at + "attn_output", attend(q, keys[l], values[l]))
        x = zip(x, mixed).map(+)
        let m = norm(x, weights[at + "ffn_norm.weight"]!)
        let gate = times(at + "ffn_gate", m), up = times(at + "ffn_up", m)
        let down = times(at + "ffn_down", zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 })
        x = zip(x, down).map(+)
      }
      let n = norm(x, weights["output_norm.weight"]!)
      return times(weights["output.weight"] == nil ? "token_embd" : "output", n)
    }
  }

  private func attend(_ q: [Double], _ keys: [[Double]], _ values: [[Double]]) -> [Double] {
    (0..<heads).flatMap { h -> [Double] in
      let kv = h / (heads / kvHeads) * dim
      let scores = keys.map { k in
        (0..<dim).reduce(0.0) { $0 + q[h * dim + $1] * k[kv + $1] } / Double(dim).squareRoot()
      }
      let top = scores.max()!
      let p = scores.map { exp($0 - top) }
      let sum = p.reduce(0, +)
      return (0..<dim).map { c in zip(p, values).reduce(0) { $0 + $1.0 * $1.1[kv + c] } / sum }
    }
  }
}

func relativeError(_ a: [Float], _ b: [Double]) -> Double {
  let difference = zip(a, b).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
  return (difference / b.reduce(0) { $0 + $1 * $1 }).squareRoot()
}
