import Topology

extension SocketCore {
    /// A longer put travels in pieces of this size, in turn on each plane where there are several.
    private static let pieceBytes = 128 << 10
    /// From here on a put goes to the next plane in turn: a shorter one is not worth waiting for.
    private static let turnBytes = 32 << 10
    /// Puts without a signal are held until there is as much, or nothing else to do: nobody can see
    /// them before a signal, and one long call costs less than several short ones.
    private static let heldBytes = 256 << 10

    func put(
        to rank: Rank, _ range: Range<Int>, _ source: UnsafeRawPointer?, window: Int, offset: Int,
        signal: Int?, value: UInt64
    ) throws(TransportError) -> Posting {
        let peer = peers[rank.rawValue]
        let planes = peer.rails.count
        guard planes > 0 else {
            // Whoever was lost first is to be named, not a survivor that left because of it.
            let loss = outside.losses.ending(waitFor: [rank])
            throw .rankLost(
                loss?.rank ?? outside.losses.name(rank), phase: "put",
                cause: loss?.cause ?? "it was given up")
        }
        let isShared = planes > 1 && range.count >= Self.turnBytes
        let pieceBytes = isShared ? Self.pieceBytes : max(range.count, 1)
        let pieces = max(1, (range.count + pieceBytes - 1) / pieceBytes)
        let share = (pieces + planes - 1) / planes
        precondition(
            share <= SendQueue.capacity / 2, "a put of \(range.count) bytes is \(pieces) pieces")
        if peer.rails.contains(where: { $0.queue.freeCount < share }) { return .full }
        var header = PutHeader(.put, source: UInt32(self.rank.rawValue), key: peer.key)
        header.window = UInt32(window)
        let memory = windows[window]?.staging?.region
        for piece in 0 ..< pieces {
            let start = piece * pieceBytes
            let count = min(pieceBytes, range.count - start)
            let isLast = piece == pieces - 1
            peer.posted += 1
            header.sequence = peer.posted
            header.offset = UInt64(offset + start)
            header.length = UInt64(count)
            // The last piece's signal waits for the others wherever they travel: see PutOrder.
            header.signal =
                isLast
                ? signal.map { UInt32($0) } ?? PutHeader.noSignal
                : PutHeader.noSignal
            header.value = isLast ? value : 0
            let rail = peer.rails[isShared ? (turn + piece) % planes : 0]
            unsafe rail.queue.append(
                header, source.map { unsafe $0 + start }, count, memory, isCounted: true)
            peer.outstanding += 1
        }
        if isShared { turn = (turn + pieces) % planes }
        for rail in peer.rails where !rail.waitsForRoom {
            if signal == nil, rail.queue.byteCount < Self.heldBytes {
                isHolding = true
            } else {
                _ = flush(rail)
            }
        }
        return peer.outstanding > 0 ? .pending : .done
    }

    func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64) {
        for rail in peers[rank.rawValue].rails { say(kind, on: rail, value: value) }
    }

    func say(_ kind: PutHeader.Kind, on rail: SocketRail, value: UInt64 = 0) {
        // What waits shows as well that this rank lives.
        if kind == .heartbeat, !rail.queue.isEmpty { return }
        guard rail.queue.hasRoom else { return }
        var header = PutHeader(
            kind, source: UInt32(rank.rawValue), key: peers[rail.peer.rawValue].key)
        header.value = value
        unsafe rail.queue.append(header, nil, 0, nil, isCounted: false)
        if !rail.waitsForRoom { _ = flush(rail) }
    }

    /// Gives sockets what was held for them; true if they took anything.
    func flushHeld() -> Bool {
        guard isHolding else { return false }
        isHolding = false
        var moved = false
        for rail in rails.compactMap({ $0 }) where !rail.queue.isEmpty && !rail.waitsForRoom {
            if flush(rail) { moved = true }
        }
        return moved
    }

    /// Gives the socket a call's worth of what waits; true if it took anything.
    func flush(_ rail: SocketRail) -> Bool {
        guard !rail.queue.isEmpty, rails[rail.number] != nil else { return false }
        let peer = peers[rail.peer.rawValue]
        var moved = false
        switch rail.send() {
        case .moved(let bytes, _):
            moved = true
            peer.outstanding -= rail.queue.took(bytes)
        case .wouldBlock, .ended: break
        case .failed(let cause):
            end(peer, cause: cause)
            return true
        }
        // What is left goes on when the socket has room, after what came was taken in.
        if rail.queue.isEmpty == rail.waitsForRoom {
            rail.waitsForRoom.toggle()
            do throws(TransportError) { try watch(rail) } catch { end(peer, cause: "\(error)") }
        }
        if moved, peer.outstanding == 0 { outside.control.ring() }
        return moved
    }
}
