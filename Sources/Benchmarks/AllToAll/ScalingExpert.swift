import Collectives
import Tensors
import Topology

/// The benchmark's experts: each scales its tokens by a factor that rounds nothing.
enum ScalingExpert {
    /// A quarter to two, in quarters: sums of 64 of them times an e4m3 value stay exact.
    static func factor(_ expert: ExpertID) -> Float { Float(expert.rawValue % 8 + 1) * 0.25 }

    /// What brute force says a token becomes, in the order in which an exchange adds.
    ///
    /// - Parameters:
    ///   - row: The token as decoded by a receiver.
    ///   - plan: Where each choice goes.
    ///   - sum: Receives the result.
    static func expected(
        _ row: Tensor, choices: [(rank: Rank, expert: ExpertID, weight: Float)],
        ranks all: OracleRanks,
        adds: Bool, codec: RowCodec, scratch: OracleScratch, into sum: Tensor
    ) {
        sum.fill(0)
        if !adds {
            for choice in choices {
                add(row, factor(choice.expert), codec, choice.weight, scratch, into: sum)
            }
            return
        }
        var ranks: [Rank] = []
        for choice in choices where !ranks.contains(choice.rank) { ranks.append(choice.rank) }
        func total(_ rank: Rank) -> Float {
            choices.reduce(0) { $0 + ($1.rank == rank ? factor($1.expert) : 0) }
        }
        var carriers: [Rank] = []
        for rank in ranks {
            if all.isNear(rank) {
                add(row, total(rank), codec, 1, scratch, into: sum)
                continue
            }
            let carrier = all.carrier(to: rank)
            if carriers.contains(carrier) { continue }
            carriers.append(carrier)
            scratch.partial.fill(0)
            for other in ranks
            where !all.isNear(other)
                && all.carrier(to: other) == carrier
            {
                add(row, total(other), codec, 1, scratch, into: scratch.partial)
            }
            add(scratch.partial, 1, codec, 1, scratch, into: sum)
        }
    }

    /// sum += weight * decode(encode(factor * row))
    private static func add(
        _ row: Tensor, _ factor: Float, _ codec: RowCodec, _ weight: Float,
        _ scratch: OracleScratch, into sum: Tensor
    ) {
        let (scaled, encoded) = (scratch.scaled, scratch.bytes)
        scale(row, by: factor, into: scaled)
        var bytes = encoded.mutableBytes
        codec.encode(scaled.row(0), into: &bytes)
        var target = sum.mutableRow(0)
        codec.accumulate(encoded.bytes, weight: weight, into: &target)
    }

    /// target = factor * row
    static func scale(_ row: Tensor, by factor: Float, into target: Tensor) {
        target.fill(0)
        var values = target.mutableRow(0)
        RowCodec.float32.accumulate(row.bytes, weight: factor, into: &values)
    }
}

/// Rows that the oracle writes over and over.
final class OracleScratch {
    let scaled: Tensor, partial: Tensor, bytes: Tensor

    init(hidden: Int) {
        scaled = Tensor(rows: 1, columns: hidden)
        partial = Tensor(rows: 1, columns: hidden)
        bytes = Tensor(rows: 1, columns: hidden + 64)
    }
}
