/// EPLB's hierarchical policy for ranks that are there: where each rank is, and how many groups the
/// experts of the model make.
///
/// Groups of experts are packed onto nodes, so that a token whose gate keeps few groups goes to few
/// nodes. It is for groups that divide over nodes with equally many ranks, of equally many slots;
/// else the global policy is used, as EPLB does.
public struct NodePacking: Hashable, Sendable {
    /// Of each rank.
    let nodes: [NodeID]
    private let groupCount: Int

    /// States where ranks are.
    ///
    /// - Parameters:
    ///   - names: The node of each rank.
    ///   - groupCount: Groups of the gate (`n_group`).
    public init(names: [String], groupCount: Int) {
        var numbers: [String: Int] = [:]
        nodes = names.map { name in
            let number = numbers[name] ?? numbers.count
            numbers[name] = number
            return NodeID(rawValue: number)
        }
        self.groupCount = groupCount
    }

    /// Which policy is used, and why: what people are told.
    ///
    /// - Parameter slots: Copies of a layer that each rank has room for.
    public func policy(slots: [Int]) -> String {
        misfit(slots: slots).map { "global policy: \($0)" }
            ?? "hierarchical policy: \(groupCount) groups of experts on \(nodeCount) nodes"
    }

    var nodeCount: Int { Set(nodes).count }

    /// Why the policy cannot be used; nil where it can.
    func misfit(slots: [Int]) -> String? {
        let counts = Set(Dictionary(grouping: nodes) { $0 }.values.map(\.count))
        if nodes.count != slots.count { return "the nodes of the ranks are not known" }
        if nodeCount < 2 { return "all ranks are on one node" }
        if groupCount < 2 || !groupCount.isMultiple(of: nodeCount) {
            return "\(groupCount) groups of experts do not divide over \(nodeCount) nodes"
        }
        if counts.count > 1 { return "nodes have different numbers of ranks" }
        return Set(slots).count > 1 ? "ranks have room for different numbers of copies" : nil
    }

    /// The placement of a layer, its nodes and ranks named so that many copies stay where they are.
    ///
    /// - Throws: `TopologyError.balancing` where the slots are too few for the experts.
    func placement(
        loads: [Double], slots: [Int], near current: ExpertPlacement
    ) throws -> ExpertPlacement {
        let packs = try ExpertBalancing(
            physicalExpertCount: slots.reduce(0, +), groupCount: groupCount,
            nodeCount: nodeCount, rankCount: slots.count
        ).placement(loads: loads).expertsByRank
        let held = current.expertsByRank.map { Set($0) }
        let ranksOfNode = Set(nodes).sorted().map { node in
            nodes.indices.filter { nodes[$0] == node }
        }
        let share = slots.count / nodeCount
        func kept(_ pack: Int, _ rank: Int) -> Int { packs[pack].count { held[rank].contains($0) } }
        func keptOnNode(_ part: Int, _ node: Int) -> Int {
            let there = ranksOfNode[node].reduce(into: Set<ExpertID>()) { $0.formUnion(held[$1]) }
            return Set(packs[part * share ..< (part + 1) * share].joined())
                .count { there.contains($0) }
        }
        var experts = [[ExpertID]](repeating: [], count: slots.count)
        for (part, node) in Self.matched(nodeCount, keptOnNode).enumerated() {
            let ranks = Self.matched(share) { kept(part * share + $0, ranksOfNode[node][$1]) }
            for (pack, place) in ranks.enumerated() {
                experts[ranksOfNode[node][place]] = packs[part * share + pack].sorted()
            }
        }
        return try ExpertPlacement(expertCount: loads.count, expertsByRank: experts)
    }

    /// Gives each item a place of its own, the pair that is worth most first.
    private static func matched(_ count: Int, _ worth: (Int, Int) -> Int) -> [Int] {
        var pairs = (0 ..< count * count).map {
            (worth: worth($0 / count, $0 % count), item: $0 / count, place: $0 % count)
        }
        pairs.sort { ($1.worth, $0.item, $0.place) < ($0.worth, $1.item, $1.place) }
        var places = [Int](repeating: -1, count: count)
        var isTaken = [Bool](repeating: false, count: count)
        for pair in pairs where places[pair.item] < 0 && !isTaken[pair.place] {
            places[pair.item] = pair.place
            isTaken[pair.place] = true
        }
        return places
    }
}
