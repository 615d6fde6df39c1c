public import Encoding

/// A file of a checkpoint's folder on another machine.
public struct RemoteFile: Sendable {
    /// Its name.
    public let name: String
    /// Its size.
    public let byteCount: Int

    /// A file of this name and size.
    public init(name: String, byteCount: Int) {
        self.name = name
        self.byteCount = byteCount
    }
}

/// Some bytes of a file of a checkpoint's folder.
public struct CheckpointPiece: Hashable, Sendable {
    /// Most bytes of one: what is written and recorded at once.
    static let mostBytes = 4 << 20

    /// The file's name.
    public let file: String
    /// Where in it they are.
    public let bytes: Range<Int>
    /// The digest of what is here of them; nil where nothing is.
    public var held: Digest?
}

/// Gives bytes of a checkpoint that this machine has not.
public protocol PieceSource: Sendable {
    /// How long another process of this machine may receive before this one gives up.
    var waitLimit: Duration { get }

    /// Makes room on the disk for bytes that are about to come.
    ///
    /// - Throws: What the disk or a limit has, and what is needed.
    func makeRoom(for byteCount: Int) throws

    /// Receives pieces, in any order; returns when all were taken.
    ///
    /// - Parameter take: Called from several threads; bytes are nil where those held are right.
    /// - Throws: What `take` threw, or why a piece does not come.
    func receive(
        _ pieces: [CheckpointPiece],
        take: @escaping @Sendable (CheckpointPiece, _ bytes: [UInt8]?, Digest) throws -> Void
    ) throws
}
