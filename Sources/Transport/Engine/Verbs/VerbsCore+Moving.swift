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

    func put(_ put: Put) throws(TransportError) -> Posting {
        let remote = remotes[put.rank.rawValue]
        guard remote.liveness.isLive, let queue = unsafe remote.queue else {
            throw outside.lostRanks.refusal(ofPutTo: put.rank)
        }
        let writes = (put.byteCount + Self.writeLimit - 1) / Self.writeLimit
        if remote.outstanding + writes + 1 > Self.depth { return .full }
        if let source = unsafe put.source, let target = remote.windows[put.window] {
            for start in stride(from: 0, to: put.byteCount, by: Self.writeLimit) {
                let length = min(Self.writeLimit, put.byteCount - start)
                let status = unsafe fabric_post_write(
                    queue, UInt64(put.rank.rawValue) << Work.bits | Work.write,
                    UInt64(UInt(bitPattern: source + start)), UInt32(length),
                    stagingKeys[put.window] ?? 0, target.address + UInt64(put.offset + start),
                    target.key, -1)
                guard status == 0 else { throw failed(remote, status) }
                remote.outstanding += 1
            }
        }
        remote.posted += 1
        // Bytes without a signal are published by a later record of the same connection.
        guard put.signal != nil else { return .pending }
        var header = PutHeader(.put, source: UInt32(self.rank.rawValue), key: remote.key)
        header.sequence = remote.posted
        header.window = UInt32(put.window)
        header.signal = put.headerSignal
        header.value = put.value
        try unsafe send(header, to: remote, queue)
        return .pending
    }

    /// Posts a read or a write of staged bytes without a record, for the link benchmark.
    func postRaw(
        isRead: Bool, of rank: Rank, _ local: UnsafeRawPointer, _ count: Int, window: Int,
        offset: Int
    ) throws(TransportError) {
        let remote = remotes[rank.rawValue]
        guard remote.liveness.isLive, let queue = unsafe remote.queue,
            let target = remote.windows[window]
        else {
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
        remote.rawOutstanding += 1
    }

    func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64) {
        let remote = remotes[rank.rawValue]
        guard remote.liveness.isLive, let queue = unsafe remote.queue,
            remote.outstanding < Self.depth
        else {
            return
        }
        // A receiver that takes nothing must not be sent one heartbeat after another.
        if kind == .heartbeat, remote.outstanding > 0 { return }
        var header = PutHeader(kind, source: UInt32(self.rank.rawValue), key: remote.key)
        header.value = value
        do throws(TransportError) {
            try unsafe send(header, to: remote, queue)
        } catch {
            end(remote.rank, cause: "\(error)")
        }
    }

    private func send(
        _ header: PutHeader, to remote: VerbsRank, _ queue: UnsafeMutablePointer<ibv_qp>
    ) throws(TransportError) {
        let slot = Int(remote.sent % UInt64(Self.depth))
        let place = unsafe record(remote.rank, slot, isOutgoing: true)
        var bytes = unsafe MutableRawSpan(_unsafeStart: place, byteCount: PutHeader.byteCount)
        header.encode(into: &bytes)
        let status = unsafe fabric_post_write(
            queue, UInt64(remote.rank.rawValue) << Work.bits | Work.write,
            UInt64(UInt(bitPattern: place)), UInt32(PutHeader.byteCount), mailKey.localKey,
            remote.mailbox.address + UInt64(slot * PutHeader.byteCount), remote.mailbox.key,
            Int64(slot))
        guard status == 0 else { throw failed(remote, status) }
        remote.sent += 1
        remote.outstanding += 1
    }

    /// Ends the connection to a rank because a write to it failed at once, as one that fails later
    /// does.
    ///
    /// - Returns: The error of the write, which names the rank that is gone.
    private func failed(_ remote: VerbsRank, _ status: Int32) -> TransportError {
        end(remote.rank, cause: "\(failure("ibv_post_send", status))")
        return outside.lostRanks.refusal(ofPutTo: remote.rank)
    }

    func failure(_ call: String, _ status: Int32) -> TransportError {
        .call(call, status: unsafe String(cString: strerror(status)))
    }

    /// Fills a new connection's receive queue.
    func postReceives(_ remote: VerbsRank) throws(TransportError) {
        guard let queue = unsafe remote.queue else { return }
        for _ in 0 ..< Self.depth {
            let status = unsafe fabric_post_receive(
                queue, UInt64(remote.rank.rawValue) << Work.bits | Work.receive)
            guard status == 0 else { throw failure("ibv_post_recv", status) }
        }
    }

    /// Turns of `progress` between two checks of the connections; `arm` checks too.
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
        guard index < remotes.count else { return }
        let remote = remotes[index]
        if remote.liveness.isGone { return }
        guard completion.status == 0 else {
            let text = unsafe String(cString: fabric_completion_text(completion.status))
            return end(remote.rank, cause: text)
        }
        if completion.identifier & 15 == Work.raw {
            remote.rawOutstanding -= 1
        } else if completion.is_receive {
            receive(completion.immediate, from: remote)
        } else {
            remote.outstanding -= 1
            if remote.outstanding == 0 { outside.control.ring() }
        }
    }

    private func receive(_ immediate: UInt32, from remote: VerbsRank) {
        let slot = remote.taken % UInt64(Self.depth)
        remote.taken += 1
        guard UInt64(immediate) == slot else {
            return end(remote.rank, cause: "it wrote slot \(immediate), \(slot) was next")
        }
        let place = unsafe record(remote.rank, Int(slot), isOutgoing: false)
        let bytes = unsafe RawSpan(_unsafeStart: place, byteCount: PutHeader.byteCount)
        let header = PutHeader(decoding: bytes)
        if let queue = unsafe remote.queue {
            let work = UInt64(remote.rank.rawValue) << Work.bits | Work.receive
            _ = unsafe fabric_post_receive(queue, work)
        }
        guard let header, header.key == key, Int(header.source) == remote.rank.rawValue else {
            return end(remote.rank, cause: "it wrote a record that is none")
        }
        note(header, of: remote.rank, on: 0) {
            say(.goodbyeAcknowledgement, to: remote.rank, value: 0)
        }
        guard header.kind == .put else { return }
        do throws(PutFault) {
            try publish(header, from: remote)
        } catch {
            end(remote.rank, cause: "it sent \(error.fact)")
        }
    }

    private func publish(_ header: PutHeader, from remote: VerbsRank) throws(PutFault) {
        guard header.sequence > remote.arrived else {
            throw PutFault(fact: "put number \(header.sequence) twice")
        }
        remote.arrived = header.sequence
        guard try windows.target(of: header, byteCount: 0) != nil else { return }
        guard let publication = header.publication else {
            throw PutFault(fact: "a record without a signal")
        }
        windows.publish(publication, ringing: outside.control)
    }
}
