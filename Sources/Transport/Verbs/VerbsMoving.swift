import CFabric
import Glibc
import Topology

// Writes out, and completions in.

extension VerbsCore {
    /// One write moves at most this much; the limit of the wire is 2 GiB.
    private static let writeLimit = 1 << 30

    /// What a work request's number says; the rank stands above these bits.
    private enum Work {
        static let write: UInt64 = 0
        static let receive: UInt64 = 1
        static let raw: UInt64 = 2
        static let bits: UInt64 = 4
    }

    func put(
        to rank: Rank, _ range: Range<Int>, _ source: UnsafeRawPointer?, window: Int, offset: Int,
        signal: Int?, value: UInt64
    ) throws(TransportError) -> Posting {
        let peer = peers[rank.rawValue]
        guard !peer.isGone, let queue = unsafe peer.queue else {
            let loss = outside.losses.ending(waitFor: [rank])
            throw .rankLost(
                loss?.rank ?? outside.losses.name(rank), phase: "put",
                cause: loss?.cause ?? "it was given up")
        }
        let writes = (range.count + Self.writeLimit - 1) / Self.writeLimit
        if peer.outstanding + writes + 1 > Self.depth { return .full }
        if let source = unsafe source, let target = peer.windows[window] {
            for start in stride(from: 0, to: range.count, by: Self.writeLimit) {
                let length = min(Self.writeLimit, range.count - start)
                let status = unsafe fabric_post_write(
                    queue, UInt64(rank.rawValue) << Work.bits | Work.write,
                    UInt64(UInt(bitPattern: source + start)), UInt32(length),
                    stagingKeys[window] ?? 0, target.address + UInt64(offset + start),
                    target.key, -1)
                guard status == 0 else { throw failure("ibv_post_send", status) }
                peer.outstanding += 1
            }
        }
        peer.posted += 1
        // Bytes without a signal are published by a later record of the same connection.
        guard let signal else { return .pending }
        var header = PutHeader(.put, source: UInt32(self.rank.rawValue), key: peer.key)
        header.sequence = peer.posted
        header.window = UInt32(window)
        header.signal = UInt32(signal)
        header.value = value
        try unsafe send(header, to: peer, queue)
        return .pending
    }

    /// Posts a read or a write of staged bytes without a record, for the link benchmark.
    func postRaw(
        isRead: Bool, of rank: Rank, _ local: UnsafeRawPointer, _ count: Int, window: Int,
        offset: Int
    ) throws(TransportError) {
        let peer = peers[rank.rawValue]
        guard !peer.isGone, let queue = unsafe peer.queue, let target = peer.windows[window] else {
            throw .rankLost(rank, phase: "link measurement", cause: "it was given up")
        }
        let work = UInt64(rank.rawValue) << Work.bits | Work.raw
        let address = UInt64(UInt(bitPattern: local))
        let place = target.address + UInt64(offset)
        let key = stagingKeys[window] ?? 0
        let status =
            unsafe isRead
            ? fabric_post_read(queue, work, address, UInt32(count), key, place, target.key)
            : fabric_post_write(queue, work, address, UInt32(count), key, place, target.key, -1)
        guard status == 0 else { throw failure("ibv_post_send", status) }
        peer.rawOutstanding += 1
    }

    func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64) {
        let peer = peers[rank.rawValue]
        guard !peer.isGone, let queue = unsafe peer.queue, peer.outstanding < Self.depth else {
            return
        }
        // A receiver that takes nothing must not be sent one heartbeat after another.
        if kind == .heartbeat, peer.outstanding > 0 { return }
        var header = PutHeader(kind, source: UInt32(self.rank.rawValue), key: peer.key)
        header.value = value
        do throws(TransportError) {
            try unsafe send(header, to: peer, queue)
        } catch {
            lose(peer, cause: "\(error)")
        }
    }

    private func send(
        _ header: PutHeader, to peer: VerbsPeer, _ queue: UnsafeMutablePointer<ibv_qp>
    ) throws(TransportError) {
        let slot = Int(peer.sent % UInt64(Self.depth))
        let place = unsafe record(peer.rank, slot, isOutgoing: true)
        var bytes = unsafe MutableRawSpan(_unsafeStart: place, byteCount: PutHeader.byteCount)
        header.encode(into: &bytes)
        let status = unsafe fabric_post_write(
            queue, UInt64(peer.rank.rawValue) << Work.bits | Work.write,
            UInt64(UInt(bitPattern: place)), UInt32(PutHeader.byteCount), mailKey.localKey,
            peer.mailbox.address + UInt64(slot * PutHeader.byteCount), peer.mailbox.key,
            Int64(slot))
        guard status == 0 else { throw failure("ibv_post_send", status) }
        peer.sent += 1
        peer.outstanding += 1
    }

    func failure(_ call: String, _ status: Int32) -> TransportError {
        .call(call, status: unsafe String(cString: strerror(status)))
    }

    /// Fills a new connection's receive queue.
    func postReceives(_ peer: VerbsPeer) throws(TransportError) {
        guard let queue = unsafe peer.queue else { return }
        for _ in 0 ..< Self.depth {
            let status = unsafe fabric_post_receive(
                queue, UInt64(peer.rank.rawValue) << Work.bits | Work.receive)
            guard status == 0 else { throw failure("ibv_post_recv", status) }
        }
    }

    /// Turns of `progress` between two looks at the connections; `arm` looks too.
    private static let eventTurns = 256

    func progress() -> Bool {
        var found = [fabric_completion](repeating: fabric_completion(), count: 32)
        let count = unsafe fabric_poll_completions(verbs.completions, &found, 32)
        for completion in found.prefix(Int(max(count, 0))) { take(completion) }
        // A system call: worth it only now and then while completions are polled for.
        turnCount &+= 1
        let hasEvents = turnCount % Self.eventTurns == 0 && takeConnectionEvents()
        return count > 0 || hasEvents
    }

    private func take(_ completion: fabric_completion) {
        let index = Int(completion.identifier >> Work.bits)
        guard index < peers.count else { return }
        let peer = peers[index]
        if peer.isGone { return }
        guard completion.status == 0 else {
            let text = unsafe String(cString: fabric_completion_text(completion.status))
            if outside.losses.hasLeft(peer.rank) { return abandon(peer.rank) }
            return lose(peer, cause: text)
        }
        if completion.identifier & 15 == Work.raw {
            peer.rawOutstanding -= 1
        } else if completion.is_receive {
            receive(completion.immediate, from: peer)
        } else {
            peer.outstanding -= 1
            if peer.outstanding == 0 { outside.control.ring() }
        }
    }

    private func receive(_ immediate: UInt32, from peer: VerbsPeer) {
        let slot = peer.taken % UInt64(Self.depth)
        peer.taken += 1
        guard UInt64(immediate) == slot else {
            return lose(peer, cause: "it wrote slot \(immediate), \(slot) was next")
        }
        let place = unsafe record(peer.rank, Int(slot), isOutgoing: false)
        let bytes = unsafe RawSpan(_unsafeStart: place, byteCount: PutHeader.byteCount)
        let header = PutHeader(decoding: bytes)
        if let queue = unsafe peer.queue {
            let work = UInt64(peer.rank.rawValue) << Work.bits | Work.receive
            _ = unsafe fabric_post_receive(queue, work)
        }
        guard let header, header.key == key, Int(header.source) == peer.rank.rawValue else {
            return lose(peer, cause: "it wrote a record that is none")
        }
        peer.heard = outside.clock.nanoseconds
        switch header.kind {
        case .heartbeat: break
        case .farewell: peer.hasFarewell = true
        case .goodbye:
            let isRank = header.value > 0 && header.value <= UInt64(peers.count)
            let blame = isRank ? Rank(rawValue: Int(header.value) - 1) : nil
            outside.losses.addLeft(peer.rank, blaming: blame == rank ? nil : blame)
            outside.control.ring()
            say(.farewell, to: peer.rank, value: 0)
        case .put: publish(header, from: peer)
        }
    }

    private func publish(_ header: PutHeader, from peer: VerbsPeer) {
        guard header.sequence > peer.arrived else {
            return lose(peer, cause: "it sent put number \(header.sequence) twice")
        }
        peer.arrived = header.sequence
        // A window that its owner no longer holds takes nothing, and that is no fault.
        guard let memory = windows[Int(header.window)] else { return }
        let size = WindowSize(byteCount: memory.byteCount, signalCount: memory.signalCount)
        if let fault = header.fault(byteCount: 0, window: size) {
            return lose(peer, cause: "it sent \(fault)")
        }
        guard header.signal != PutHeader.noSignal else {
            return lose(peer, cause: "it sent a record without a signal")
        }
        memory.setSignal(Int(header.signal), header.value)
        outside.control.ring()
    }
}
