import Collectives
import Models

/// Rows and copies of a phase, by block.
struct ShareVolumes {
    let tokens: Int
    /// Of each block that was made: rows of each expert here; empty without experts.
    private let rows: [[Int]]
    /// Of each block: copies of tokens to other nodes.
    private let copies: [Int]
    private let topK: Int
    private let hidden: Int
    private let rowBytes: Int
    private let expertsPerRank: Int

    init(
        _ traffic: [RankShare.Traffic?], tokens: Int, _ options: ShareOptions,
        _ share: RankShare?
    ) {
        self.tokens = tokens
        topK = options.model.activeExpertCount
        hidden = options.model.hiddenSize
        // Rows travel in bf16, as the experts round them anyway.
        rowBytes = 2 * options.model.hiddenSize
        let count = options.model.routedExpertCount / options.ranks
        expertsPerRank = count
        rows = traffic.map { $0?.allRows(ofExperts: count) ?? [] }
        copies = traffic.map { block in
            guard let share, let own = block?.own else { return 0 }
            return share.copies(of: own).count
        }
    }

    private func mean(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
    }

    private var withExperts: [[Int]] { rows.filter { !$0.isEmpty } }

    /// Rows of a block's experts, on average.
    var expertRows: Double { mean(withExperts.map { Double($0.reduce(0, +)) }) }
    /// Experts with rows, on average.
    var expertsWithRows: Double { mean(withExperts.map { rows in Double(rows.count { $0 > 0 }) }) }
    /// Rows of even routing.
    var evenRows: Double { Double(tokens * topK) }
    /// Experts with rows where each row falls to any of them.
    var evenExpertsWithRows: Double {
        let count = Double(expertsPerRank)
        var missed = 1.0
        for _ in 0 ..< tokens * topK { missed *= 1 - 1 / count }
        return count * (1 - missed)
    }
    /// Copies of a block, on average.
    var meanCopies: Double {
        mean(zip(rows, copies).filter { !$0.0.isEmpty }.map { Double($0.1) })
    }

    /// Bytes that encoding for the way reads and writes in a block.
    func dispatchBytes(_ layer: Int) -> Double {
        Double(tokens * (4 * hidden + rowBytes) + 2 * copies[layer] * rowBytes)
    }

    /// Bytes that adding up what returned reads and writes.
    var combineBytes: Double { Double(tokens * (topK * rowBytes + 8 * hidden)) }
}

extension RankShare.Traffic {
    /// Rows of each of this rank's experts, those of its own tokens included.
    func allRows(ofExperts count: Int) -> [Int] {
        var rows = rows(ofExperts: count)
        for expert in own?.expertIDs ?? [] where expert < count { rows[Int(expert)] += 1 }
        return rows
    }
}
