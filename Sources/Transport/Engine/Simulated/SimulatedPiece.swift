import Topology

/// A header and its bytes on their way over one plane of a simulated fabric.
///
/// Safe because `memory` keeps the bytes at `source` mapped.
@safe struct SimulatedPiece {
    let header: PutHeader
    /// nil where there are no bytes.
    let source: UnsafeRawPointer?
    let byteCount: Int
    /// Keeps the bytes mapped until they have arrived.
    let memory: Region?

    /// Bytes that the links carry.
    var wireBytes: Int { PutHeader.byteCount + byteCount }

    /// Whether the sender counts it until it has arrived.
    var isCounted: Bool { header.kind == .put }
}

/// The one-way connection of two ranks on one plane: pieces leave in order, and arrive in order,
/// whichever way each takes.
struct SimulatedConnection {
    /// Orders events of one moment.
    struct Key: Hashable, Comparable {
        let source: Int
        let target: Int
        let plane: Int

        static func < (one: Key, other: Key) -> Bool {
            (one.source, one.target, one.plane) < (other.source, other.target, other.plane)
        }
    }

    /// The ways among which switches choose.
    let routes: [LinkMap.Route]
    /// The way of the piece that leaves now, or left last.
    var route: LinkMap.Route
    /// Pieces that have not left, the next first; `sent` of them have.
    private var pieces: [SimulatedPiece] = []
    private var sent = 0
    /// The flow of the piece that leaves now.
    var flow: Int32?
    /// When the last piece that has left will arrive.
    var lastArrival: UInt64 = 0

    /// - Precondition: there is a way.
    init(_ routes: [LinkMap.Route]) {
        self.routes = routes
        route = routes[0]
    }

    var isEmpty: Bool { sent == pieces.count }
    var first: SimulatedPiece? { sent < pieces.count ? pieces[sent] : nil }

    mutating func append(_ piece: SimulatedPiece) { pieces.append(piece) }

    mutating func removeFirst() -> SimulatedPiece {
        defer {
            sent += 1
            if sent == pieces.count { removeAll() }
        }
        return pieces[sent]
    }

    mutating func removeAll() {
        pieces.removeAll(keepingCapacity: true)
        sent = 0
    }
}
