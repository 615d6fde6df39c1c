import Topology

/// Who sends how much to whom, as `apus top` draws it: a matrix if it fits, else a line per rank.
enum TopTraffic {
    private static let nodeWidth = 14
    private static let cellWidth = 9

    /// The lines; none where nothing was sent, or where there is no room for them.
    ///
    /// - Parameters:
    ///   - rows: Lines that there is room for.
    ///   - columns: Characters of a line.
    static func lines(_ snapshot: JobSnapshot, rows: Int, columns: Int) -> [String] {
        let senders = snapshot.members.filter { $0.absence == nil && sum($0) > 0 }
        guard !senders.isEmpty else { return [] }
        let ranks = snapshot.members.map(\.rank.rawValue)
        let width = snapshot.titleWidth + nodeWidth + (ranks.count + 2) * cellWidth
        let isWhole = senders.allSatisfy { !($0.statistics?.sentPerSecond.isEmpty ?? true) }
        let lines =
            isWhole && ranks.count <= RankStatistics.matrixRanks && width <= columns
            ? matrix(snapshot, senders) : sums(snapshot, senders)
        if lines.count <= rows { return lines }
        // The title, the heads, a rank and what is left.
        guard rows > 3 else { return [] }
        return lines.prefix(rows - 1) + ["and \(lines.count - rows + 1) ranks more that send"]
    }

    private static func sum(_ member: JobSnapshot.Member) -> Double {
        guard let figures = member.statistics else { return 0 }
        return Double(figures.sentInsidePerSecond) + Double(figures.sentAcrossPerSecond)
    }

    private static func matrix(
        _ snapshot: JobSnapshot, _ senders: [JobSnapshot.Member]
    ) -> [String] {
        let members = snapshot.members
        let title = "MB/s of tokens and rows, from a row's rank to a column's; * to another node"
        let heads = members.map { "to \($0.rank.rawValue)" } + ["inside", "across"]
        return [title, row(snapshot, "rank", "node", heads)]
            + senders.map { sender in
                let sent = sender.statistics?.sentPerSecond ?? []
                var (inside, across) = (0.0, 0.0)
                let cells = members.map { member in
                    let to = member.rank.rawValue
                    if member.rank == sender.rank { return "-" }
                    guard sent.indices.contains(to), sent[to] > 0 else { return "0" }
                    let isNear = member.node == sender.node
                    if isNear { inside += Double(sent[to]) } else { across += Double(sent[to]) }
                    return megabytes(Double(sent[to])) + (isNear ? "" : "*")
                }
                let sums = [inside, across].map(megabytes)
                return row(snapshot, sender.title, sender.node, cells + sums)
            }
    }

    private static func sums(
        _ snapshot: JobSnapshot, _ senders: [JobSnapshot.Member]
    ) -> [String] {
        let title = "MB/s of tokens and rows that a rank sends: inside its node, and across nodes"
        return [title, row(snapshot, "rank", "node", ["inside", "across", "most to"])]
            + senders.map { sender in
                let most = sender.statistics?.busiestReceiver.map { "\($0.rawValue)" } ?? "-"
                return row(snapshot, sender.title, sender.node, sums(of: sender) + [most])
            }
    }

    private static func sums(of sender: JobSnapshot.Member) -> [String] {
        guard let figures = sender.statistics else { return [] }
        return [figures.sentInsidePerSecond, figures.sentAcrossPerSecond].map {
            megabytes(Double($0))
        }
    }

    private static func megabytes(_ bytes: Double) -> String {
        let value = bytes / 1e6
        return value.formatted(digits: value >= 100 ? 0 : value >= 10 ? 1 : 2)
    }

    private static func row(
        _ snapshot: JobSnapshot, _ rank: String, _ node: String, _ cells: [String]
    ) -> String {
        TopTable.left(rank, snapshot.titleWidth) + TopTable.left(node, nodeWidth)
            + cells.map { TopTable.right($0, cellWidth) }.joined()
    }
}
