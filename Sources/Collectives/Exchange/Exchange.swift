internal import Tensors
internal import Topology
internal import Transport

/// One dispatch with its combine, through one of the two buffers of a group.
///
///                  +----------------[d]---------------+
///                  V                                  |
///             +--------+                        +-----------+
///             |  IDLE  |<--[e]-- any state      | COMBINING |
///             +--------+                        +-----------+
///                  |                                  ^
///                 [a]                                [c]
///                  V                                  |
///           +-------------+                     +----------+
///           | DISPATCHING |---------[b]-------->| RECEIVED |
///           +-------------+                     +----------+
///
///     [a] dispatch    encodes this rank's tokens and says where they lie
///     [b] receive     waits for every rank's tokens and takes in their entries
///     [c] combine     says that this rank's outputs can be read
///     [d] finish      waits for every rank's outputs and adds them up
///     [e] reset       forgets an exchange that failed, when a rank was lost
///
/// In DISPATCHING and COMBINING, `advance` does without waiting what other nodes wait for; it
/// changes no state.
///
/// IDLE: the buffer is free. This rank has read all that it will read of the exchange before, and
/// has finished writing its own part of it. Nothing in the buffer may be read.
///
/// DISPATCHING: this rank's tokens lie in its window, encoded, and may not be written. Of another
/// rank nothing may be read but what it signalled (2), and nothing of that be believed (3).
///
/// RECEIVED: `arrived` lists every token that is for this rank, checked. The tokens of all ranks
/// may be read. The outputs in this rank's window are free to be written (1).
///
/// COMBINING: this rank's outputs may not be written and no token be read. The counts in `arrived`
/// and the blocks of other nodes are still good: the relay reads them.
///
/// Invariants:
/// 1. Outputs are written after all dispatches of the exchange have arrived. A rank dispatches only
///    after it read the outputs of the exchange before in this buffer, so nobody reads them then.
/// 2. Bytes of another rank are read only after its signal of this very sequence, and of this
///    kind (`arrival`).
/// 3. What another rank wrote is checked against this rank's own limits before it is used as an
///    index or a count (`arrival`, `Arrivals.take`, `checkPairs`, `postRows`).
/// 4. A block is forwarded, and rows are sent home, once per half and source (`relay.isDone`).
///
/// An exchange keeps its memory from one use to the next: the data path allocates little.
final class Exchange {
    enum State { case idle, dispatching, received, combining }

    let windows: GroupWindows
    let buffer: Int
    let log: ExchangeLog
    private(set) var state = State.idle
    /// Counts the exchanges of a group from 1.
    private(set) var sequence: UInt64 = 0
    private(set) var weighting = Weighting.gate
    private var current: DispatchLayout?
    var clock: ExchangeClock
    var relay: RelayProgress
    var arrived = Arrivals()
    /// The least time that a wait polls.
    var polling = Duration.zero
    var homeScalars: [Float] = []
    /// This rank's experts' rows where they lie: see `withExpertRows`.
    let inputs: ScatteredRows, outputs: ScatteredRows

    init(_ windows: GroupWindows, rankCount: Int, buffer: Int, log: ExchangeLog) {
        self.windows = windows
        self.buffer = buffer
        self.log = log
        clock = ExchangeClock(windows.clock)
        relay = RelayProgress(rankCount: rankCount)
        let configuration = windows.configuration
        inputs = ScatteredRows(
            configuration.dispatchCodec, columns: configuration.hiddenSize)
        outputs = ScatteredRows(
            configuration.combineCodec, columns: configuration.hiddenSize)
    }

    /// What goes where: of every state but idle.
    var layout: DispatchLayout {
        guard let current else { preconditionFailure("an idle exchange has no layout") }
        return current
    }

    // MARK: Transitions

    /// Idle to dispatching: encodes the tokens, says to the ranks of this node where they are, and
    /// posts the blocks for other nodes.
    ///
    /// - Parameter encode: Writes a token as it travels.
    func dispatch(
        _ layout: DispatchLayout, sequence: UInt64, encode: (Int, inout MutableRawSpan) -> Void
    ) throws {
        precondition(state == .idle, "a dispatch in a buffer that is \(state)")
        current = layout
        self.sequence = sequence
        try watched(.dispatch) {
            begin(.dispatching)
            try sendTokens(layout, encode)
        }
    }

    /// Dispatching to received: forwards what this rank carries for its node, then takes in its own
    /// entries.
    func receive() throws {
        precondition(state == .dispatching, "a dispatch that was not started")
        try watched(.receive) {
            noteArrival()
            let deadline = windows.deadline("dispatch")
            for source in layout.map.carriedSources where !relay.isDone[source] {
                try forwardBlock(of: source, deadline)
            }
            try takeEntries(deadline)
            clock.noteArrival()
            arrived.arrange(experts: layout.expertCount(on: windows.rank))
            state = .received
            record(.dispatch)
        }
    }

    /// Received to combining: says to the ranks of this node that this rank's outputs can be read.
    ///
    /// - Parameter write: Writes the outputs first, if they are not in the window yet.
    func combine(weighting: Weighting, write: () -> Void = {}) throws {
        precondition(state == .received, "a combine without a dispatch")
        try watched(.combine) {
            write()
            begin(.combining)
            self.weighting = weighting
            for rank in layout.map.neighbours {
                try signal(.outputs, at: rank, count: outputCount(for: rank))
            }
            try advance()
        }
    }

    /// Combining to idle: sends rows home for other nodes, then gives the rows of each of this
    /// rank's tokens to `body`, in the order of its choices.
    func finish(
        _ tokens: some Sequence<Int32>, _ body: (Int32, RowSum, [RowTerm]) -> Void
    ) throws {
        precondition(state == .combining, "a combine that was not started")
        try watched(.finish) {
            noteArrival()
            let deadline = windows.deadline("combine")
            for rank in layout.map.neighbours {
                try expectOutputs(of: rank, deadline)
            }
            for source in layout.map.carriedSources where !relay.isDone[source] {
                try sendHome(to: source)
            }
            noteArrival()
            try addUp(tokens, deadline, body)
            for carrier in layout.map.remoteCarriers { try expectRows(from: carrier, deadline) }
            clock.noteArrival()
            state = .idle
            record(.combine)
        }
    }

    /// Any state to idle: forgets an exchange that failed, so that the group can go on without the
    /// rank it lost.
    func reset() {
        state = .idle
        current = nil
    }

    /// Begins a half: its clock, and nothing waited for or relayed yet.
    private func begin(_ state: State) {
        self.state = state
        clock.begin()
        relay.begin()
    }

    // MARK: Between the transitions

    /// Does what other ranks wait for and this rank can do without waiting: forwards blocks that
    /// arrived for its node, sends home rows that its node has ready.
    func advance() throws {
        noteArrival()
        switch state {
        case .dispatching:
            for source in layout.map.carriedSources
            where !relay.isDone[source] && has(.block, from: source) {
                try forwardBlock(of: source, windows.deadline("dispatch"))
            }
        case .combining:
            let map = layout.map
            guard map.neighbours.allSatisfy({ has(.outputs, from: $0) }) else { return }
            for source in map.carriedSources where !relay.isDone[source] {
                try sendHome(to: source)
            }
        case .idle, .received: return
        }
    }

    /// Whether the half that was started would wait for another rank if it were finished now.
    var isTravelling: Bool {
        switch state {
        case .dispatching: !dispatchHasArrived
        case .combining: !combineHasArrived
        case .idle, .received: false
        }
    }

    /// Whether every rank's entries are here.
    var dispatchHasArrived: Bool {
        let map = layout.map
        return map.alive.allSatisfy { has(map.carries($0) ? .block : .entries, from: $0) }
    }

    /// Whether every rank's outputs are home.
    private var combineHasArrived: Bool {
        let layout = layout
        // A carrier also says how far its rows are; only the last count says that they came.
        return layout.map.neighbours.allSatisfy { has(.outputs, from: $0) }
            && layout.map.remoteCarriers.allSatisfy {
                has(.returned, from: $0, atLeast: layout.returnCount[$0])
            }
    }

    /// Notes the time if everything of this half is here.
    ///
    /// A rank that computes calls this now and then, so that records do not take for travel what
    /// was here and waited to be fetched.
    func noteArrival() {
        let isUnderWay = state == .dispatching || state == .combining
        if isUnderWay, clock.arrivedAt == 0, !isTravelling { clock.noteArrival() }
    }
}
