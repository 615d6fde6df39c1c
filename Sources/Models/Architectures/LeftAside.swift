/// Tensors that a family's checkpoints hold and that this program does not need.
struct LeftAside: Sendable {
    /// Begins their names, or the names inside a block.
    let mark: String
    /// What they are, for people to read.
    let part: String

    /// Of sparse attention, as DeepSeek-V3.2 and GLM-5 name it.
    static let indexer = LeftAside(
        mark: "self_attn.indexer.", part: "the indexer of sparse attention")

    /// Whether a tensor of this name is one of them.
    func includes(_ name: String) -> Bool { name.hasPrefix(mark) || name.contains("." + mark) }
}
