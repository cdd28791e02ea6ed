public import Attention

/// Which masks a screen wants laid over one another.
///
/// Example: `OverlapRequest(.layers, MethodSetting(id))` asked of any head of a source: the
/// masks of every layer, mean over heads. The answer is findings: a field `overlap` of intersection
/// over union, and what goes with it.
public struct OverlapRequest: Sendable, Hashable {
  /// What is laid over one another.
  public enum Along: String, Sendable, Hashable, CaseIterable {
    /// All layers, head by head of the same number.
    case layers
    /// The heads of the layer.
    case heads
    /// The rows of the head.
    case steps
    /// The methods of the library on the head.
    case methods
  }

  /// What is laid over one another.
  public var along: Along
  /// Whose masks; of `methods` the one that stands first.
  public var setting: MethodSetting
  /// Nil, or a second mask: of `methods` the two are then laid over one another and nothing else.
  public var other: Other?

  /// The mask on the other side of a comparison.
  public struct Other: Sendable, Hashable {
    /// Of the same source.
    public var head: HeadID
    /// Its method.
    public var setting: MethodSetting

    /// `head` of the source that is asked.
    public init(_ head: HeadID, _ setting: MethodSetting) {
      (self.head, self.setting) = (head, setting)
    }
  }

  /// Without another side.
  public init(_ along: Along, _ setting: MethodSetting, other: Other? = nil) {
    (self.along, self.setting, self.other) = (along, setting, other)
  }
}
