/// What the files of prefixes gave and took since the engine started.
struct PrefixCounts: Codable, Hashable, Sendable {
    /// Tokens whose entries came from files.
    var restoredTokens: UInt64 = 0
    /// Bytes written.
    var writtenBytes: UInt64 = 0
    /// Blocks that were not kept, because the disk was too slow or refused them.
    var dropped: UInt64 = 0
    /// Files that were not whole.
    var damaged: UInt64 = 0
    /// Bytes of all files when this rank last counted them, and what it wrote since.
    var folderBytes = 0
}
