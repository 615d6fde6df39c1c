/// Shortest ways between the switches of one plane.
struct SwitchRoutes: Sendable {
    /// The switch that each node is plugged into.
    private let homes: [Int]
    /// Per switch: its neighbours, each with the link to it.
    private var neighbours: [[(switch: Int, link: Int32)]]

    init(_ switches: [Hardware.Switch], nodes: [String]) {
        homes = nodes.map { node in switches.firstIndex { $0.nodes.contains(node) } ?? 0 }
        neighbours = Array(repeating: [], count: switches.count)
    }

    /// Joins two switches by a link upwards; the next number is the link downwards.
    mutating func join(_ below: Int, _ above: Int, by link: Int32) {
        neighbours[below].append((above, link))
        neighbours[above].append((below, link + 1))
    }

    /// The links from a node's switch to another's, on a shortest way.
    ///
    /// - Parameter choice: Which of several equally short ways, taken round by round.
    func path(from source: Int, to target: Int, choice: Int) -> [Int32] {
        let distances = distances(to: homes[target])
        var place = homes[source]
        var links: [Int32] = []
        while place != homes[target] {
            let nearer = neighbours[place].filter { distances[$0.switch] < distances[place] }
            guard !nearer.isEmpty else { preconditionFailure("no way from node \(source)") }
            let next = nearer[(choice + target) % nearer.count]
            links.append(next.link)
            place = next.switch
        }
        return links
    }

    /// All shortest ways from a node's switch to another's; the first ones where there are more
    /// than `mostPaths`.
    func paths(from source: Int, to target: Int) -> [[Int32]] {
        let distances = distances(to: homes[target])
        var ways: [(place: Int, links: [Int32])] = [(homes[source], [])]
        for _ in 0 ..< distances[homes[source]] {
            let longer = ways.flatMap { way in
                neighbours[way.place].filter { distances[$0.switch] < distances[way.place] }
                    .map { (place: $0.switch, links: way.links + [$0.link]) }
            }
            ways = Array(longer.prefix(Self.mostPaths))
        }
        return ways.map(\.links)
    }

    /// Switches have so many ports at most towards one other, in the files that are shipped.
    private static let mostPaths = 64

    private func distances(to target: Int) -> [Int] {
        var distances = Array(repeating: Int.max, count: neighbours.count)
        distances[target] = 0
        var front = [target]
        while !front.isEmpty {
            var next: [Int] = []
            for place in front {
                for neighbour in neighbours[place] where distances[neighbour.switch] == .max {
                    distances[neighbour.switch] = distances[place] + 1
                    next.append(neighbour.switch)
                }
            }
            front = next
        }
        return distances
    }
}
