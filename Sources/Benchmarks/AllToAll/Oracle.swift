import Collectives
import Tensors
import Topology

/// Brute force: knows what every rank routed and sent, and finds what an exchange got wrong.
final class Oracle {
    private let rows: TestRows
    private let ranks: OracleRanks
    private let adds: Bool
    private let combineCodec: RowCodec
    private let placement: ExpertPlacement
    private let choosers: [CopyChooser]
    private let scratch: OracleScratch
    private let decoded: Tensor
    private let sum: Tensor
    /// The sum as it rests at the caller.
    private let stored: EncodedRows
    /// What each rank routed in the current round.
    private(set) var routings: [Routing] = []

    init(
        rows: TestRows, ranks: OracleRanks, configuration: ExpertParallelConfiguration,
        map: ExpertMap, storedCodec: RowCodec
    ) {
        self.rows = rows
        self.ranks = ranks
        adds = configuration.addsBeforeReturn
        combineCodec = configuration.combineCodec
        placement = map.placements[0]
        choosers = ranks.all.map { map.copies(for: $0, layer: 0, nodes: ranks.nodes) }
        scratch = OracleScratch(hidden: rows.hidden)
        decoded = Tensor(rows: 1, columns: rows.hidden)
        sum = Tensor(rows: 1, columns: rows.hidden)
        stored = EncodedRows(storedCodec, rows: 1, columns: rows.hidden)
    }

    func use(_ routings: [Routing]) { self.routings = routings }

    /// Where each choice of a token goes.
    private func choices(
        of token: Int, from source: Rank
    ) -> [(rank: Rank, local: Int, expert: ExpertID, choice: Int, weight: Float)] {
        let routing = routings[source.rawValue]
        return (0 ..< routing.topK).compactMap { choice in
            let index = token * routing.topK + choice
            guard routing.expertIDs[index] >= 0 else { return nil }
            let expert = ExpertID(rawValue: Int(routing.expertIDs[index]))
            let copy = choosers[source.rawValue].copy(of: expert, token: token)
            return (copy.rank, copy.localIndex, expert, choice, routing.weights[index])
        }
    }

    /// Counts tokens that are wrong, missing, or here by mistake.
    func wrongTokens(in received: borrowing ReceivedTokens, round: Int) throws -> Int {
        var wrong = 0
        for index in 0 ..< received.tokenCount {
            let token = received.token(index)
            let source = token.source
            guard token.index < routings[source.rawValue].tokenCount else {
                wrong += 1
                continue
            }
            let expected = choices(of: token.index, from: source).filter { $0.rank == ranks.rank }
                .map {
                    ReceivedToken.Pair(localExpert: $0.local, choice: $0.choice, weight: $0.weight)
                }
            let isRight = try received.withToken(index) {
                rows.matches($0, round: round, rank: source, token: token.index)
            }
            if !isRight || expected != token.pairs { wrong += 1 }
        }
        return wrong + abs(expectedTokenCount() - received.tokenCount)
    }

    private func expectedTokenCount() -> Int {
        ranks.all.reduce(0) { count, source in
            count
                + (0 ..< routings[source.rawValue].tokenCount).count { token in
                    choices(of: token, from: source).contains { $0.rank == ranks.rank }
                }
        }
    }

    /// Does the experts' work: writes the rows that go home.
    func writeOutputs(of received: borrowing ReceivedTokens, round: Int) throws {
        let experts = placement.experts(on: ranks.rank)
        let (decoded, scaled) = (decoded, scratch.scaled)
        for index in 0 ..< received.tokenCount {
            let token = received.token(index)
            try received.withToken(index) { bytes in
                var row = decoded.mutableRow(0)
                rows.codec.decode(bytes, into: &row)
            }
            let factors = token.pairs.map {
                ScalingExpert.factor(experts[$0.localExpert])
            }
            let outputs = adds ? [factors.reduce(0, +)] : factors
            for (pair, factor) in outputs.enumerated() {
                ScalingExpert.scale(decoded, by: factor, into: scaled)
                received.withOutput(of: index, pair: pair) {
                    combineCodec.encode(scaled.row(0), into: &$0)
                }
            }
        }
    }

    /// Counts rows of a combine that are not what brute force gives, bit for bit.
    func wrongSums(in combined: EncodedRows, round: Int) -> Int {
        var wrong = 0
        let (decoded, sum, stored) = (decoded, sum, stored)
        for token in 0 ..< routings[ranks.rank.rawValue].tokenCount {
            rows.decoded(round: round, rank: ranks.rank, token: token, into: decoded)
            ScalingExpert.expected(
                decoded,
                choices: choices(of: token, from: ranks.rank).map {
                    ($0.rank, $0.expert, $0.weight)
                },
                ranks: ranks, adds: adds, codec: combineCodec, scratch: scratch, into: sum)
            var expected = stored.mutableRow(0)
            stored.codec.encode(sum.row(0), into: &expected)
            let isRight = combined.row(token).holdsSameBytes(
                at: 0, as: stored.row(0), at: 0, count: stored.rowBytes)
            if !isRight { wrong += 1 }
        }
        return wrong
    }
}
