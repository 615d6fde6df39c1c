import Glibc
import Topology

/// What the others need to connect to a rank: its key, and where each of its planes listens.
struct SocketAddresses: Equatable {
    /// More planes than any node has.
    static let planeLimit = 64
    /// More addresses than a node's networks have; the rest are not offered.
    static let candidateLimit = 16

    /// What a connecting rank must show.
    var key: UInt64
    /// The kernel and namespaces of the rank: within one, loopback reaches it.
    var place: String
    /// By plane: `host:port`, any of which may be the one that the other node reaches.
    var planes: [[String]]

    init(key: UInt64, place: String, planes: [[String]]) {
        self.key = key
        self.place = place
        self.planes = planes
    }

    func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.append(key)
        writer.append(place)
        writer.append(UInt64(planes.count))
        for candidates in planes {
            writer.append(UInt64(candidates.count))
            for candidate in candidates { writer.append(candidate) }
        }
        return writer.bytes
    }

    /// Decodes what came from a rank that may run another program.
    init(decoding bytes: [UInt8], from source: Rank) throws(TransportError) {
        var reader = WireReader(bytes, from: source.description)
        key = try reader.integer(UInt64.self, "key")
        place = try reader.text("place", limit: 1024)
        planes = []
        for _ in 0 ..< (try reader.count("plane count", in: 1 ... Self.planeLimit)) {
            var candidates: [String] = []
            let count = try reader.count("address count", in: 1 ... Self.candidateLimit)
            for _ in 0 ..< count { candidates.append(try reader.text("address", limit: 64)) }
            planes.append(candidates)
        }
        try reader.finish()
    }

    /// The addresses of a plane that may lead to the rank, the likeliest first: loopback where both
    /// ranks have the same one, else those that begin like an address of ours.
    ///
    /// - Parameter ours: The addresses of this node. One that both nodes have (of a bridge for
    ///   containers) leads back here.
    func candidates(plane: Int, from place: String, ours: [String]) -> [String] {
        func host(_ endpoint: String) -> Substring {
            endpoint.prefix(upTo: endpoint.lastIndex(of: ":") ?? endpoint.endIndex)
        }
        if place == self.place {
            return planes[plane].filter(Self.isLoopback)
                + planes[plane].filter { !Self.isLoopback($0) }
        }
        let abroad = planes[plane].filter { candidate in
            !Self.isLoopback(candidate) && !ours.contains { $0 == host(candidate) }
        }
        let scored = abroad.enumerated().map { index, candidate in
            let score = ours.map { Self.commonPrefix($0, host(candidate)) }.max() ?? 0
            return (candidate: candidate, score: score, index: index)
        }
        return scored.sorted { ($1.score, $0.index) < ($0.score, $1.index) }.map(\.candidate)
    }

    static func isLoopback(_ endpoint: String) -> Bool {
        endpoint.hasPrefix("127.") || endpoint.hasPrefix("[::1]") || endpoint == "::1"
    }

    /// How many of the fields of two addresses are equal, from the left.
    private static func commonPrefix(_ first: String, _ second: Substring) -> Int {
        func fields(_ text: some StringProtocol) -> [Substring] {
            String(text).split { ".:[]".contains($0) }
        }
        return zip(fields(first), fields(second)).prefix { $0 == $1 }.count
    }
}
