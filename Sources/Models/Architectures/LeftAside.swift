/// Tensors that a family's checkpoints hold and that this program does not need.
struct LeftAside: Sendable {
    /// Begins their names, or the names inside a block.
    let mark: String
    /// What they are, for people to read.
    let part: String

    /// Whether a tensor of this name is one of them.
    func includes(_ name: String) -> Bool { name.hasPrefix(mark) || name.contains("." + mark) }
}
