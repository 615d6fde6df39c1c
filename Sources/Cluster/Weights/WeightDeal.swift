public import Encoding
import Foundation
import Synchronization

/// Bytes of a file that a receiver wants, by the file's number in the manifest.
public struct WeightPiece: Hashable, Sendable {
    /// The number.
    public let file: Int
    /// At most 4 MiB.
    public let bytes: Range<Int>
    /// The digest of what is here of them, which need not come again; nil where nothing is.
    public let held: Digest?

    /// Bytes of the file of a number.
    public init(file: Int, bytes: Range<Int>, held: Digest?) {
        self.file = file
        self.bytes = bytes
        self.held = held
    }
}

/// Pieces that are dealt to connections, and dealt again when one of them is lost.
final class WeightDeal: Sendable {
    /// Takes a piece in; bytes are nil where those that are held are right.
    typealias Take = @Sendable (WeightPiece, _ bytes: [UInt8]?, _ digest: Digest) throws -> Void

    private struct State {
        /// To be dealt, the next one last.
        var open: [WeightPiece]
        var left: Int
        var failure: (any Error)?
        var lastTaken = ContinuousClock.now
    }

    private let state: Mutex<State>
    private let ended = DispatchSemaphore(value: 0)
    private let takePiece: Take

    init(_ pieces: [WeightPiece], take: @escaping Take) {
        state = Mutex(State(open: pieces.reversed(), left: pieces.count))
        takePiece = take
    }

    /// A piece to ask for; nil where none is open.
    func claim() -> WeightPiece? {
        state.withLock { $0.failure == nil ? $0.open.popLast() : nil }
    }

    /// Takes back what a lost connection had claimed.
    func giveBack(_ pieces: [WeightPiece]) {
        state.withLock { $0.open += pieces.reversed() }
    }

    /// A piece came.
    func take(_ piece: WeightPiece, _ bytes: [UInt8]?, _ digest: Digest) {
        do {
            try takePiece(piece, bytes, digest)
        } catch {
            return fail(error)
        }
        let isLast = state.withLock { state in
            state.left -= 1
            state.lastTaken = .now
            return state.left == 0
        }
        if isLast { ended.signal() }
    }

    /// Nothing more is wanted.
    func fail(_ error: any Error) {
        state.withLock { $0.failure = $0.failure ?? error }
        ended.signal()
    }

    /// Waits a moment for the end.
    ///
    /// - Returns: Whether every piece was taken.
    /// - Throws: What kept one from being taken.
    func wait(_ seconds: Double) throws -> Bool {
        if !isOver { _ = ended.wait(timeout: .now() + seconds) }
        return try state.withLock { state in
            if let failure = state.failure { throw failure }
            return state.left == 0
        }
    }

    private var isOver: Bool { state.withLock { $0.left == 0 || $0.failure != nil } }

    /// When the last piece came.
    var lastTaken: ContinuousClock.Instant { state.withLock { $0.lastTaken } }
}
