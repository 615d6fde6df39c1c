/// The switches of one plane, whose faults have names.
struct SwitchGraph {
    let plane: String
    let switches: [Hardware.Switch]
    let nodes: [String]

    /// What is wrong with it, in words that name the switch, or nil.
    var fault: String? {
        guard !switches.isEmpty else { return nil }
        return strayName ?? overfull ?? cycle ?? separated
    }

    private var strayName: String? {
        let names = Set(switches.map(\.name))
        let known = Set(nodes)
        var homes: [String: String] = [:]
        for one in switches {
            if let stray = one.above.first(where: { !names.contains($0) }) {
                return "\(one.name).above: \(plane) has no switch \"\(stray)\""
            }
            for node in one.nodes {
                guard known.contains(node) else {
                    return "\(one.name).nodes: there is no node \"\(node)\""
                }
                if let home = homes.updateValue(one.name, forKey: node) {
                    return "\(node) is plugged into \(home) and \(one.name) of \(plane): "
                        + "it has one NIC there"
                }
            }
        }
        return nil
    }

    private var overfull: String? {
        for one in switches {
            let below = switches.reduce(0) { sum, other in
                sum + other.above.count { $0 == one.name }
            }
            let used = one.nodes.count + one.above.count + below
            guard used > one.radix else { continue }
            return "\(one.name) uses \(used) ports: radix is \(one.radix)"
        }
        return nil
    }

    /// Levels that lead back to themselves.
    private var cycle: String? {
        var above = Dictionary(uniqueKeysWithValues: switches.map { ($0.name, $0.above) })
        // What has nothing above it is a top; take tops away until none is left.
        while let top = above.filter({ $0.value.isEmpty }).keys.min() {
            above[top] = nil
            for (name, list) in above { above[name] = list.filter { $0 != top } }
        }
        guard let first = above.keys.min() else { return nil }
        var walk = [first]
        while let next = above[walk[walk.count - 1]]?.first, !walk.contains(next) {
            walk.append(next)
        }
        let back = above[walk[walk.count - 1]]?.first ?? first
        let start = walk.firstIndex(of: back) ?? 0
        return "the levels of \(plane) are cyclic: "
            + (walk[start...] + [back]).joined(separator: " below ")
    }

    /// Two nodes that no way joins.
    private var separated: String? {
        let homes = switches.reduce(into: [String: String]()) { homes, one in
            for node in one.nodes { homes[node] = one.name }
        }
        if let loose = nodes.first(where: { homes[$0] == nil }) {
            return "\(plane) is disconnected: \(loose) is plugged into no switch"
        }
        var neighbours: [String: [String]] = [:]
        for one in switches {
            for other in one.above {
                neighbours[one.name, default: []].append(other)
                neighbours[other, default: []].append(one.name)
            }
        }
        guard let first = nodes.first, let start = homes[first] else { return nil }
        var reached: Set<String> = [start]
        var waiting = [start]
        while let one = waiting.popLast() {
            for other in neighbours[one] ?? [] where reached.insert(other).inserted {
                waiting.append(other)
            }
        }
        guard let lost = nodes.first(where: { !reached.contains(homes[$0] ?? "") }) else {
            return nil
        }
        return "\(plane) is disconnected: no way from \(first) to \(lost)"
    }
}
