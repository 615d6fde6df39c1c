import Collectives
import Tensors
import Topology

/// How many rows each rank has for each other, counted token by token from drawn routing.
struct FlowTraffic {
    private let options: SimulationOptions
    private let links: LinkMap
    /// Rows that cross between nodes on the way out, by source, then by rank of its group.
    private var crossing: [[Int32]]
    /// Rows of tokens that go home there: one per token, or one per choice.
    private var returning: [[Int32]]
    /// Rows that pass inside a node on the way out and home: by rank that has them, then by place
    /// of the reader in its node.
    private var inside: [[Int32]]
    private var insideHome: [[Int32]]
    /// The first rank of each node, and one past the last.
    private let firsts: [Int]

    init(_ options: SimulationOptions, _ links: LinkMap) throws {
        self.options = options
        self.links = links
        firsts = links.map.nodes.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.ranks) }
        let size = options.chosenGroupSize
        let widest = links.map.nodes.map(\.ranks).max() ?? 1
        crossing = Array(
            repeating: Array(repeating: 0, count: size), count: options.rankCount)
        returning = crossing
        inside = Array(
            repeating: Array(repeating: 0, count: widest), count: options.rankCount)
        insideHome = inside
        let placement = try ExpertPlacement.contiguous(
            expertCount: options.expertCount, rankCount: size)
        var homes = [Int](repeating: 0, count: options.expertCount)
        for rank in 0 ..< size {
            for expert in placement.experts(on: Rank(rawValue: rank)) {
                homes[expert.rawValue] = rank
            }
        }
        let draw = RoutingDraw(options)
        for source in 0 ..< options.rankCount {
            count(draw.experts(of: source), of: source, homes: homes)
        }
    }

    private mutating func count(_ experts: [Int32], of source: Int, homes: [Int]) {
        let first = source / options.chosenGroupSize * options.chosenGroupSize
        let relays = options.mode == .normal
        let adds = options.configuration.addsBeforeReturn
        var ranks: [Int] = []
        var carriers: [Int] = []
        for token in 0 ..< options.tokenCount {
            ranks.removeAll(keepingCapacity: true)
            carriers.removeAll(keepingCapacity: true)
            for choice in token * options.topK ..< (token + 1) * options.topK {
                let rank = first + homes[Int(experts[choice])]
                let isNew = !ranks.contains(rank)
                if isNew { ranks.append(rank) }
                let isNear = links.nodes[rank] == links.nodes[source]
                let holder =
                    isNear ? source : relays ? carrier(of: source, near: rank, first) : rank
                let isNewCarrier = !isNear && !carriers.contains(holder)
                if isNewCarrier {
                    carriers.append(holder)
                    crossing[source][holder - first] += 1
                }
                if !isNear, adds ? isNewCarrier : true { returning[source][holder - first] += 1 }
                guard holder != rank else { continue }
                if isNew { inside[holder][place(of: rank)] += 1 }
                if adds ? isNew : true { insideHome[holder][place(of: rank)] += 1 }
            }
        }
    }

    private func place(of rank: Int) -> Int { rank - firsts[links.nodes[rank]] }

    /// The rank of another rank's node, and of the group, that has the source's place.
    private func carrier(of source: Int, near rank: Int, _ first: Int) -> Int {
        let group = first ..< first + options.chosenGroupSize
        func members(_ rank: Int) -> Range<Int> {
            (firsts[links.nodes[rank]] ..< firsts[links.nodes[rank] + 1]).clamped(to: group)
        }
        let (own, other) = (members(source), members(rank))
        return other.lowerBound + (source - own.lowerBound) % other.count
    }

    /// The flows of one half.
    func flows(home: Bool) -> [PlannedFlow] {
        let rowBytes =
            home
            ? Double(2 * options.hiddenSize)
            : Double(options.dispatchCodec.byteCount(columns: options.hiddenSize) + Self.headBytes)
        var flows: [PlannedFlow] = []
        for rank in 0 ..< options.rankCount {
            let first = rank / options.chosenGroupSize * options.chosenGroupSize
            for (index, rows) in (home ? returning : crossing)[rank].enumerated() where rows > 0 {
                add(rank, first + index, Double(rows) * rowBytes, home, &flows)
            }
            let neighbours = firsts[links.nodes[rank]]
            for (place, rows) in (home ? insideHome : inside)[rank].enumerated() where rows > 0 {
                add(rank, neighbours + place, Double(rows) * rowBytes, home, &flows)
            }
        }
        return flows
    }

    /// What names a token beside its values.
    private static let headBytes = 16

    private func add(
        _ rank: Int, _ other: Int, _ bytes: Double, _ home: Bool, _ flows: inout [PlannedFlow]
    ) {
        let (source, target) = home ? (other, rank) : (rank, other)
        let isNear = links.nodes[source] == links.nodes[target]
        let planes = isNear ? 0 ..< 1 : links.planes(of: Rank(rawValue: source))
        for plane in planes {
            // Adaptive switches send packet after packet another way: evenly over all.
            let routes = links.routes(
                from: Rank(rawValue: source), to: Rank(rawValue: target), plane: plane)
            let part = bytes / Double(planes.count * routes.count)
            flows += routes.map {
                PlannedFlow(source: source, target: target, route: $0, bytes: part)
            }
        }
    }
}
