internal import Topology
internal import Transport

extension Exchange {
    /// The signal word of this exchange's buffer that a rank sets.
    func signalIndex(_ kind: ArrivalSignal, from rank: Rank) -> Int {
        ArrivalSignal.index(kind, buffer: buffer, from: rank, rankCount: layout.map.rankCount)
    }

    /// Whether a rank's signal of this exchange is here, with a count of at least `least`.
    func has(_ kind: ArrivalSignal, from rank: Rank, atLeast least: Int = 0) -> Bool {
        windows.window.signalValue(signalIndex(kind, from: rank))
            >= ArrivalSignal.word(sequence: sequence, count: least)
    }

    /// Sets one of this rank's signals, or of a rank for which it speaks, at a rank.
    func signal(
        _ kind: ArrivalSignal, at rank: Rank, for source: Rank? = nil, count: Int
    ) throws(TransportError) {
        try windows.window.signal(
            signalIndex(kind, from: source ?? windows.rank), of: rank,
            value: ArrivalSignal.word(sequence: sequence, count: count))
    }

    /// Waits for a rank's signal of this exchange, with a count of at least `least`, and returns
    /// the count that it carries.
    func arrival(
        _ kind: ArrivalSignal, from rank: Rank, atLeast least: Int = 0, atMost limit: Int,
        _ deadline: Deadline
    ) throws -> Int {
        let index = signalIndex(kind, from: rank)
        let awaited = ArrivalSignal.word(sequence: sequence, count: least)
        var word = windows.window.signalValue(index)
        if word < awaited {
            let start = clock.now
            word = try windows.window.wait(
                signal: index, atLeast: awaited, from: rank, deadline: deadline,
                polling: polling)
            clock.noteWait(since: start, for: rank)
        }
        let found = ArrivalSignal.sequence(of: word)
        guard found == sequence else {
            throw CollectivesError.malformed(
                rank, "sequence \(found) while \(sequence) is expected")
        }
        let count = ArrivalSignal.count(of: word)
        guard count <= limit else {
            throw CollectivesError.malformed(
                rank, "a count of \(count), above the limit of \(limit)")
        }
        return count
    }

    /// Waits for a rank of this node to have written its outputs for this one.
    func expectOutputs(of rank: Rank, _ deadline: Deadline) throws {
        let adds = windows.configuration.addsBeforeReturn
        try expect(
            adds ? layout.entryCount(rank) : layout.pairCounts[rank], .outputs, from: rank, deadline
        )
    }

    /// Waits for a carrier to have brought home all rows of its node.
    func expectRows(from carrier: Rank, _ deadline: Deadline) throws {
        try expect(layout.returnCount[carrier], .returned, from: carrier, deadline)
    }

    private func expect(
        _ count: Int, _ kind: ArrivalSignal, from rank: Rank, _ deadline: Deadline
    ) throws {
        let found = try arrival(kind, from: rank, atLeast: count, atMost: count, deadline)
        guard found == count else {
            throw CollectivesError.malformed(
                rank, "\(found) rows returned, \(count) were sent for")
        }
    }
}
