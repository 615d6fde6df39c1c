import Topology

extension SocketCore {
    /// A longer put travels in pieces of this size, in turn on each plane where there are several.
    private static let pieceBytes = 128 << 10
    /// From here on a put goes to the next plane in turn: a shorter one is not worth waiting for.
    private static let turnBytes = 32 << 10
    /// Puts without a signal are held until there is as much, or nothing else to do: nobody can see
    /// them before a signal, and one long call costs less than several short ones.
    private static let heldBytes = 256 << 10

    func put(_ put: Put) throws(TransportError) -> Posting {
        let remote = remotes[put.rank.rawValue]
        let planes = remote.rails.count
        guard planes > 0 else { throw outside.lostRanks.refusal(ofPutTo: put.rank) }
        let isShared = planes > 1 && put.byteCount >= Self.turnBytes
        let pieceBytes = isShared ? Self.pieceBytes : max(put.byteCount, 1)
        let pieces = max(1, (put.byteCount + pieceBytes - 1) / pieceBytes)
        let share = (pieces + planes - 1) / planes
        precondition(
            share <= SendQueue.capacity / 2, "a put of \(put.byteCount) bytes is \(pieces) pieces")
        if remote.rails.contains(where: { $0.queue.freeCount < share }) { return .full }
        var header = PutHeader(.put, source: UInt32(self.rank.rawValue), key: remote.key)
        header.window = UInt32(put.window)
        let memory = windows[put.window]?.staging?.region
        for index in 0 ..< pieces {
            let start = index * pieceBytes
            let piece = put.part(start ..< min(start + pieceBytes, put.byteCount))
            remote.posted += 1
            header.sequence = remote.posted
            header.offset = UInt64(piece.offset)
            header.length = UInt64(piece.byteCount)
            // The last piece's signal waits for the others wherever they travel: see PutOrder.
            header.signal = piece.headerSignal
            header.value = piece.value
            let rail = remote.rails[isShared ? (turn + index) % planes : 0]
            unsafe rail.queue.append(
                header, piece.source, piece.byteCount, memory, isCounted: true)
            remote.outstanding += 1
        }
        if isShared { turn = (turn + pieces) % planes }
        for rail in remote.rails where !rail.waitsForRoom {
            if put.signal == nil, rail.queue.byteCount < Self.heldBytes {
                isHolding = true
            } else {
                _ = flush(rail)
            }
        }
        return remote.outstanding > 0 ? .pending : .done
    }

    func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64) {
        for rail in remotes[rank.rawValue].rails { say(kind, on: rail, value: value) }
    }

    func say(_ kind: PutHeader.Kind, on rail: SocketRail, value: UInt64 = 0) {
        // Queued bytes show as well that this rank lives.
        if kind == .heartbeat, !rail.queue.isEmpty { return }
        guard rail.queue.hasRoom else { return }
        var header = PutHeader(
            kind, source: UInt32(rank.rawValue), key: remotes[rail.remote.rawValue].key)
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
        let remote = remotes[rail.remote.rawValue]
        var moved = false
        switch rail.send() {
        case .moved(let bytes, _):
            moved = true
            remote.outstanding -= rail.queue.took(bytes)
        case .wouldBlock, .ended: break
        case .failed(let cause):
            end(rail.remote, cause: cause)
            return true
        }
        // The rest of the queue is sent when the socket has room, after incoming bytes were read.
        if rail.queue.isEmpty == rail.waitsForRoom {
            rail.waitsForRoom.toggle()
            do throws(TransportError) {
                try watch(rail)
            } catch {
                end(rail.remote, cause: "\(error)")
            }
        }
        if moved, remote.outstanding == 0 { outside.control.ring() }
        return moved
    }
}
