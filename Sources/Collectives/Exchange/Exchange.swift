internal import Tensors
internal import Topology
internal import Transport

/// One buffer of a group, and the exchange that goes through it.
///
/// Kept from exchange to exchange, so that the data path reuses its memory.
final class Operation {
    enum Phase { case idle, dispatching, received, combining }

    /// The group lives as long as any of its operations is used.
    unowned let group: ExpertParallelGroup
    /// The group's, here so that loops over rows need not look there.
    let window: Window
    let rank: Int
    let buffer: Int
    var phase = Phase.idle
    var sequence: UInt64 = 0
    var layout: DispatchLayout?
    var weighting = Weighting.gate

    var arrived = Arrivals()
    var homeScalars: [Float] = []

    // Times, in nanoseconds of the node's clock.
    var began: UInt64 = 0
    var exposed: UInt64 = 0
    var lastBegin: UInt64 = 0
    /// When this rank first saw that everything of this half is here; 0 before.
    var arrivedAt: UInt64 = 0
    /// The waits of this half, each from its begin to its end.
    var waits: [Range<UInt64>] = []
    /// Per rank: whether what this rank carries from it, or for it, went on already.
    var isRelayed: [Bool] = []
    /// Per source elsewhere: tokens of its block, and bytes that went back to it.
    var blockCounts: [Int] = []
    var returnedBytes: [Int] = []

    init(group: ExpertParallelGroup, buffer: Int) {
        self.group = group
        self.buffer = buffer
        window = group.window
        rank = group.map.rank
        blockCounts = [Int](repeating: 0, count: group.map.rankCount)
        returnedBytes = blockCounts
        isRelayed = [Bool](repeating: false, count: group.map.rankCount)
    }

    /// Begins a half: its clock, and nothing waited for or relayed yet.
    func begin(_ phase: Phase) {
        self.phase = phase
        began = group.clock.nanoseconds
        exposed = 0
        lastBegin = began
        arrivedAt = 0
        waits.removeAll(keepingCapacity: true)
        for rank in isRelayed.indices { isRelayed[rank] = false }
    }

    /// Does what other ranks wait for and this rank can do without waiting: hands on blocks that
    /// arrived for its node, sends home rows that its node has ready.
    func advance() throws {
        look()
        switch phase {
        case .dispatching:
            for source in map.carriedSources where !isRelayed[source] {
                let index = Arrival.index(
                    .block, buffer: buffer, from: source, rankCount: map.rankCount)
                if has(index) { try fanOut(from: source, deadline("dispatch")) }
            }
        case .combining:
            let isReady = map.neighbours.allSatisfy { rank in
                has(
                    Arrival.index(
                        .outputs, buffer: buffer, from: rank, rankCount: map.rankCount))
            }
            guard isReady else { return }
            for source in map.carriedSources where !isRelayed[source] {
                try sendHome(to: source)
            }
        case .idle, .received: return
        }
    }

    /// Whether the half that was started would wait for another rank if it were finished now.
    var isTravelling: Bool {
        switch phase {
        case .dispatching: !dispatchHasArrived
        case .combining: !combineHasArrived
        case .idle, .received: false
        }
    }

    /// Whether every rank's outputs are home.
    private var combineHasArrived: Bool {
        func came(_ kind: Arrival, _ source: Int, rows: Int) -> Bool {
            let index = Arrival.index(kind, buffer: buffer, from: source, rankCount: map.rankCount)
            return window.signalValue(index) >= Arrival.word(sequence: sequence, count: rows)
        }
        // A carrier also tells how far its rows are; only the last count says that they came.
        let returnCount = layout?.returnCount ?? []
        return map.neighbours.allSatisfy { came(.outputs, $0, rows: 0) }
            && map.remoteCarriers.allSatisfy { came(.returned, $0, rows: returnCount[$0]) }
    }

    /// Notes the time if everything of this half is here.
    ///
    /// A rank that computes looks now and then, so that records do not take for travel what was
    /// there and waited to be fetched.
    func look() {
        let isUnderWay = phase == .dispatching || phase == .combining
        if isUnderWay, arrivedAt == 0, !isTravelling { arrivedAt = group.clock.nanoseconds }
    }

    /// Whether a signal of this operation is here.
    func has(_ index: Int) -> Bool {
        window.signalValue(index) >= Arrival.word(sequence: sequence, count: 0)
    }

    var map: RankMap { group.map }
    var own: WindowMap { group.maps[rank] }
    var hidden: Int { group.configuration.hiddenSize }
    var tokenCount: Int { arrived.entryRow.count }

    func deadline(_ phase: StaticString) -> Deadline {
        group.fabric.deadline(group.configuration.limit, phase)
    }

    /// Sets one of our signals at a rank.
    func signal(_ kind: Arrival, at rank: Int, count: Int) throws {
        let index = Arrival.index(
            kind, buffer: buffer, from: map.rank, rankCount: map.rankCount)
        try window.signal(
            index, of: Rank(rawValue: rank),
            value: Arrival.word(sequence: sequence, count: count))
    }

    /// Waits for a rank's signal of this operation, with a count of at least `least`, and returns
    /// the count that it carries.
    func arrival(
        _ kind: Arrival, from rank: Int, atLeast least: Int = 0, atMost limit: Int,
        _ deadline: Deadline
    ) throws -> Int {
        let index = Arrival.index(kind, buffer: buffer, from: rank, rankCount: map.rankCount)
        let awaited = Arrival.word(sequence: sequence, count: least)
        var word = window.signalValue(index)
        if word < awaited {
            let start = group.clock.nanoseconds
            word = try window.wait(
                signal: index, atLeast: awaited, from: Rank(rawValue: rank), deadline: deadline)
            let end = group.clock.nanoseconds
            exposed += end - start
            waits.append(start ..< end)
        }
        guard Arrival.sequence(of: word) == sequence else {
            throw CollectivesError.malformed(
                Rank(rawValue: rank),
                "sequence \(Arrival.sequence(of: word)) while \(sequence) is expected")
        }
        let count = Arrival.count(of: word)
        guard count <= limit else {
            throw CollectivesError.malformed(
                Rank(rawValue: rank), "a count of \(count), above the limit of \(limit)")
        }
        return count
    }

    /// Reads bytes of the window of a rank on this node.
    @inline(__always)
    func withNeighbour<R>(
        _ rank: Int, _ range: Range<Int>, _ body: (RawSpan) throws -> R
    ) rethrows -> R {
        if rank == self.rank { return try window.withBytes(range, body) }
        let result = try window.withPeerBytes(of: Rank(rawValue: rank), range) { bytes in
            try body(bytes.bytes)
        }
        guard let result else {
            preconditionFailure("stores do not reach rank \(rank) of this node")
        }
        return result
    }

    /// Writes bytes of the window of a rank on this node.
    @inline(__always)
    func withNeighbourMutable(
        _ rank: Int, _ range: Range<Int>, _ body: (inout MutableRawSpan) -> Void
    ) {
        if rank == self.rank { return window.withMutableBytes(range, body) }
        guard window.withPeerBytes(of: Rank(rawValue: rank), range, body) != nil else {
            preconditionFailure("stores do not reach rank \(rank) of this node")
        }
    }

    /// Forgets an exchange that failed, so that the group can go on without the rank it lost.
    func reset() {
        phase = .idle
        layout = nil
    }
}
