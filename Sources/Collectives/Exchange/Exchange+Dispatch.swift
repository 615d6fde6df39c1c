internal import Tensors
internal import Topology
internal import Transport

extension Operation {
    /// Takes up another exchange.
    func prepare(_ layout: DispatchLayout, sequence: UInt64) {
        self.layout = layout
        self.sequence = sequence
    }

    /// Encodes the tokens, tells the ranks of this node where they are, and posts the blocks for
    /// other nodes.
    ///
    /// - Parameter encode: Writes a token as it travels.
    func startDispatch(
        _ layout: DispatchLayout, encode: (Int, inout MutableRawSpan) -> Void
    ) throws {
        begin(.dispatching)
        let carriers = map.remoteCarriers
        try group.flushAfterLoss(deadline("dispatch"))
        if carriers.isEmpty {
            encodeHere(layout.tokensSent[...], encode)
        } else {
            try encodeAndSend(layout, to: carriers, encode)
        }
        for rank in map.neighbours {
            tell(rank, words: layout.entries(rank), source: map.rank)
            try signal(.entries, at: rank, count: layout.entryCount(rank))
        }
    }

    /// Encodes tokens where the ranks of this node read them.
    @inline(__always)
    func encodeHere(
        _ tokensSent: ArraySlice<Int32>, _ encode: (Int, inout MutableRawSpan) -> Void
    ) {
        let here = own
        for token in tokensSent {
            window.withMutableBytes(here.token(buffer, Int(token))) { encode(Int(token), &$0) }
        }
    }

    /// Writes the entries of a source into the window of a rank of this node.
    private func tell(_ rank: Int, words: ArraySlice<UInt64>, source: Int) {
        let there = group.maps[rank]
        let count = words.count * 8 / there.entryBytes
        withNeighbourMutable(rank, there.entries(buffer, from: source, count: count)) { bytes in
            bytes.setWord(began, at: 0)
            bytes.copy(words.span, to: WindowMap.entriesHeadBytes)
        }
    }

    /// Whether every rank's entries are there.
    var dispatchHasArrived: Bool {
        let least = Arrival.word(sequence: sequence, count: 0)
        return map.alive.allSatisfy { source in
            let kind: Arrival = map.carries(source) ? .block : .entries
            let index = Arrival.index(kind, buffer: buffer, from: source, rankCount: map.rankCount)
            return window.signalValue(index) >= least
        }
    }

    /// Fans out what this rank carries for its node, then takes in its own entries.
    func finishDispatch() throws {
        precondition(phase == .dispatching, "a dispatch that was not started")
        look()
        let deadline = deadline("dispatch")
        for source in map.carriedSources where !isRelayed[source] {
            try fanOut(from: source, deadline)
        }
        arrived.begin()
        for source in 0 ..< map.rankCount {
            if !map.masked[source] { try takeEntries(from: source, deadline) }
            arrived.endSource()
        }
        if arrivedAt == 0 { arrivedAt = group.clock.nanoseconds }
        arrange(alignment: 1)
        phase = .received
        record(.dispatch)
    }

    /// Tells every rank of this node which tokens of a block are for it.
    func fanOut(from source: Int, _ deadline: Deadline) throws {
        isRelayed[source] = true
        let limit = own.tokenCeiling
        let count = try arrival(.block, from: source, atMost: limit, deadline)
        blockCounts[source] = count
        let members = map.ranksOfNode[map.nodes[map.rank]]
        let topK = group.configuration.topK
        let isServed = members.map { served($0, source) }
        var lists = [[UInt64]](repeating: [], count: members.count)
        for place in members.indices { lists[place].reserveCapacity(count * (topK + 1)) }
        // Per place: the slot whose entry it got last, and where that entry begins.
        var lastSlot = [Int](repeating: -1, count: members.count)
        var heads = [Int](repeating: 0, count: members.count)
        try readBlock(from: source, count: count) { slot, words in
            try group.check(words, from: source, places: members.count)
            for pair in words.dropFirst() {
                let place = Entry.place(pair)
                if !isServed[place] { continue }
                if lastSlot[place] != slot {
                    lastSlot[place] = slot
                    heads[place] = lists[place].count
                    lists[place].append(Entry.head(row: slot, count: 0))
                    lists[place].append(contentsOf: repeatElement(0, count: topK))
                }
                let head = heads[place]
                let own = Entry.count(lists[place][head]) + 1
                lists[place][head] = Entry.head(row: slot, count: own)
                lists[place][head + own] = pair
            }
        }
        for (place, rank) in members.enumerated() where isServed[place] {
            let stride = topK + 1
            tell(rank, words: lists[place][...], source: source)
            let index = Arrival.index(
                .entries, buffer: buffer, from: source, rankCount: map.rankCount)
            try window.signal(
                index, of: Rank(rawValue: rank),
                value: Arrival.word(sequence: sequence, count: lists[place].count / stride))
        }
    }

    /// Whether this rank tells a rank of its node about the tokens of a source elsewhere.
    private func served(_ rank: Int, _ source: Int) -> Bool {
        !map.masked[rank] && map.carrier(from: source, to: rank) == map.rank
    }

    /// Calls `body` with the head and the pairs before each token of a block.
    func readBlock(
        from source: Int, count: Int, _ body: (Int, ArraySlice<UInt64>) throws -> Void
    ) throws {
        let map = own
        let topK = group.configuration.topK
        var words = [UInt64](repeating: 0, count: topK + 1)
        try window.withBytes(map.block(buffer, from: source, count: count)) { block in
            for slot in 0 ..< count {
                let start = WindowMap.blockHeadBytes + slot * map.slotBytes
                for word in 0 ... topK { words[word] = block.word(at: start + 8 * word) }
                let pairs = Entry.count(words[0])
                guard (1 ... topK).contains(pairs) else {
                    throw CollectivesError.malformed(
                        Rank(rawValue: source), "a token with \(pairs) experts; top-k is \(topK)")
                }
                try body(slot, words[...pairs])
            }
        }
    }
}

extension ExpertParallelGroup {
    /// Refuses pairs that name a rank, an expert or a choice that does not exist here.
    func check(_ words: ArraySlice<UInt64>, from source: Int, places: Int) throws {
        let members = map.ranksOfNode[map.nodes[map.rank]]
        for pair in words.dropFirst() {
            let place = Entry.place(pair)
            guard place < places else {
                throw CollectivesError.malformed(
                    Rank(rawValue: source), "place \(place) of a node of \(places) ranks")
            }
            let count = placement.expertsByRank[members[place]].count
            guard Entry.local(pair) < count, Entry.choice(pair) < configuration.topK else {
                throw CollectivesError.malformed(
                    Rank(rawValue: source),
                    "local expert \(Entry.local(pair)) of \(count), "
                        + "choice \(Entry.choice(pair)) of \(configuration.topK)")
            }
        }
    }
}
