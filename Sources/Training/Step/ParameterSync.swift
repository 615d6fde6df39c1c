import Collectives
import Foundation
import Models
import Tensors
import Topology
import Transport

/// Keeps equal what several ranks hold, and shares out the optimizer (ZeRO-1).
///
/// A parameter may be on several ranks: every data rank has it, DualPipe holds each stage twice,
/// the embedding is also needed by the MTP module. Holders are found by name. Each holder owns a
/// contiguous range of the parameter: it sums that range's gradients part by part, each in the
/// order of ranks, updates it with moments that only it keeps, and gives the result to the other
/// holders. So all copies stay the same to the bit.
final class ParameterSync {
    /// Values that travel in one message.
    private static let messageCount = 1 << 18

    /// A parameter and the part of it that this rank updates.
    final class Owned {
        let parameter: Parameter
        let holders: [Rank]
        /// What gradient of all holders, in the order in which it is added.
        let parts: [(part: GradientPart, holder: Rank)]
        let range: Range<Int>
        var moments: AdamMoments
        /// `[1, range.count]`, the moving average of the values in `range`, if one is kept.
        var average: Tensor?

        init(parameter: Parameter, parts: [(part: GradientPart, holder: Rank)], own: Rank) {
            self.parameter = parameter
            self.parts = parts.sorted { ($0.part, $0.holder) < ($1.part, $1.holder) }
            holders = Set(parts.map(\.holder)).sorted()
            let position = holders.firstIndex(of: own) ?? 0
            range = Self.part(parameter.value.count, position, holders.count)
            moments = AdamMoments(count: range.count)
        }

        static func part(_ count: Int, _ position: Int, _ parts: Int) -> Range<Int> {
            count * position / parts ..< count * (position + 1) / parts
        }
    }

    /// In the order of names, which all ranks share.
    let owned: [Owned]
    private let fabric: any Fabric
    private let channels: Channels?
    private let adder = ThreadPool(threads: 1)

    init(_ parameters: [Parameter], fabric: any Fabric) throws {
        self.fabric = fabric
        let sorted = parameters.sorted { $0.name < $1.name }
        let own = Dictionary(uniqueKeysWithValues: sorted.map { ($0.name, $0.parts) })
        let lists = try fabric.allGather(
            Array(try JSONEncoder().encode(own)), label: "parameters",
            deadline: fabric.deadline(.seconds(60), "parameters"))
        var parts: [String: [(part: GradientPart, holder: Rank)]] = [:]
        var most = 1
        for (rank, list) in lists.enumerated() {
            let theirs = try JSONDecoder().decode([String: [GradientPart]].self, from: Data(list))
            for (name, made) in theirs {
                parts[name, default: []] += made.map { ($0, Rank(rawValue: rank)) }
                most = max(most, made.count)
            }
        }
        owned = sorted.map {
            Owned(parameter: $0, parts: parts[$0.name] ?? [], own: fabric.rank)
        }
        channels =
            fabric.rankCount == 1
            ? nil
            : try Channels(
                fabric: fabric, name: "parameters", channelCount: 1,
                slotCount: max(2, most),
                maximumCount: Self.messageCount)
    }

    /// Pieces of the longest part; the same on all holders.
    private func pieces(_ item: Owned) -> StrideTo<Int> {
        let longest = item.parameter.value.count / item.holders.count + 1
        return stride(from: 0, to: longest, by: Self.messageCount)
    }

    private func piece(_ item: Owned, of position: Int, from start: Int) -> Range<Int> {
        let part = Owned.part(item.parameter.value.count, position, item.holders.count)
        let low = min(part.lowerBound + start, part.upperBound)
        return low ..< min(low + Self.messageCount, part.upperBound)
    }

    /// Sums gradients over parts and holders, each holder its own range.
    func reduceGradients() throws {
        for item in owned {
            guard let channels, item.holders.count > 1 else {
                item.parameter.addParts(pool: adder)
                continue
            }
            for start in pieces(item) { try reduce(item, from: start, channels) }
        }
    }

    private func reduce(_ item: Owned, from start: Int, _ channels: Channels) throws {
        let ranges = item.holders.indices.map { piece(item, of: $0, from: start) }
        let mine = item.holders.firstIndex(of: fabric.rank).map { ranges[$0] } ?? 0 ..< 0
        // Sends go first, so that all holders' travel at once: a channel has a slot for each.
        for (part, holder) in item.parts where holder == fabric.rank {
            let gradient = item.parameter.gradient(of: part)
            for (range, other) in zip(ranges, item.holders)
            where other != fabric.rank && !range.isEmpty {
                try channels.send(flat(gradient, range), to: other)
            }
        }
        guard !mine.isEmpty else { return }
        let sum = Tensor(rows: 1, columns: mine.count)
        let arrived = Tensor(rows: 1, columns: mine.count)
        for (part, holder) in item.parts {
            if holder == fabric.rank {
                add(flat(item.parameter.gradient(of: part), mine), into: sum, pool: adder)
            } else {
                try channels.receive(into: arrived, from: holder)
                add(arrived, into: sum, pool: adder)
            }
        }
        flat(item.parameter.gradient, mine).copy(from: sum)
    }

    /// The sum of squares of the gradients of the parts that this rank owns.
    func ownedSumOfSquares(pool: ThreadPool) -> Double {
        owned.reduce(0) { sum, item in
            item.range.isEmpty
                ? sum : sum + sumOfSquares(flat(item.parameter.gradient, item.range), pool: pool)
        }
    }

    /// The first parameter with a gradient that is not finite, in this rank's parts.
    func notFinite(pool: ThreadPool) -> String? {
        owned.first {
            !$0.range.isEmpty
                && !sumOfSquares(flat($0.parameter.gradient, $0.range), pool: pool).isFinite
        }?.parameter.name
    }

    /// Updates the parts that this rank owns.
    func update(_ rule: AdamRule, pool: ThreadPool) {
        for item in owned {
            var rule = rule
            if item.parameter.isVector { rule.decay = 0 }
            rule.apply(
                to: item.parameter.value, gradient: item.parameter.gradient,
                moments: &item.moments, offset: item.range.lowerBound, pool: pool)
        }
    }

    /// Gives every holder the parts that the others updated.
    func shareValues() throws {
        guard let channels else { return }
        for item in owned where item.holders.count > 1 {
            for start in pieces(item) {
                let value = item.parameter.value
                let position = item.holders.firstIndex(of: fabric.rank) ?? 0
                let mine = piece(item, of: position, from: start)
                for holder in item.holders where holder != fabric.rank && !mine.isEmpty {
                    try channels.send(flat(value, mine), to: holder)
                }
                for (position, holder) in item.holders.enumerated() where holder != fabric.rank {
                    let range = piece(item, of: position, from: start)
                    guard !range.isEmpty else { continue }
                    try channels.receive(into: flat(value, range), from: holder)
                }
            }
        }
    }

    /// Begins the moving averages with the values as they are.
    func beginAverages() {
        for item in owned where !item.range.isEmpty {
            let average = Tensor(rows: 1, columns: item.range.count)
            average.copy(from: flat(item.parameter.value, item.range))
            item.average = average
        }
    }

    /// Moves every average towards the values: `a += (1 - decay) (v - a)`, once per step (report,
    /// §3.2.3).
    func updateAverages(decay: Float) {
        for item in owned {
            guard let average = item.average else { continue }
            let values = flat(item.parameter.value, item.range).row(0)
            var target = average.mutableRow(0)
            for index in 0 ..< values.count {
                target[index] += (1 - decay) * (values[index] - target[index])
            }
        }
    }

    func clearGradients() { for item in owned { item.parameter.clearGradient() } }
}

/// Part of a tensor as one row.
func flat(_ tensor: Tensor, _ range: Range<Int>) -> Tensor {
    tensor.reshaped(rows: tensor.count, columns: 1).view(rows: range)
        .reshaped(rows: 1, columns: range.count)
}
