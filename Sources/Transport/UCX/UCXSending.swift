import CFabric
import Topology

extension UCXState {
    /// Posts one put; the bytes at `source` stay unchanged until it completes.
    func put(
        to peer: Rank, _ source: UnsafeRawPointer?, count: Int, window: Int, offset: Int,
        signal: Int?, value: UInt64
    ) throws(TransportError) -> Posting {
        var header = PutHeader(
            .put, source: UInt32(rank.rawValue), key: peerKeys[peer.rawValue])
        header.sequence = ledger.posted[peer.rawValue] + 1
        header.window = UInt32(window)
        header.signal = signal.map { UInt32($0) } ?? PutHeader.noSignal
        header.offset = UInt64(offset)
        header.length = UInt64(count)
        header.value = value
        let posting = try unsafe send(header, to: peer, source, count)
        if posting != .full { ledger.posted[peer.rawValue] += 1 }
        return posting
    }

    /// Sends a message without bytes to a rank, if it is still there.
    func say(_ kind: PutHeader.Kind, to peer: Rank, value: UInt64 = 0) {
        let index = peer.rawValue
        if isGone[index] || (kind == .heartbeat && heartbeatPending[index]) { return }
        var header = PutHeader(kind, source: UInt32(rank.rawValue), key: peerKeys[index])
        header.value = value
        do throws(TransportError) {
            _ = try unsafe send(header, to: peer, nil, 0)
        } catch {
            lose(peer, cause: "\(error)")
        }
    }

    func send(
        _ header: PutHeader, to peer: Rank, _ source: UnsafeRawPointer?, _ count: Int
    ) throws(TransportError) -> Posting {
        let index = peer.rawValue
        guard !isGone[index], let endpoint = unsafe endpoints[index] else {
            // Whoever was lost first is to be named, not a survivor that left because of it.
            let loss = outside.losses.ending(waitFor: [peer])
            throw .rankLost(
                loss?.rank ?? outside.losses.name(peer), phase: "put",
                cause: loss?.cause ?? "it was given up")
        }
        guard let slot = unsafe slots?.take() else { return .full }
        unsafe slot.pointee.rank = Int32(index)
        unsafe slot.pointee.isHeartbeat = header.kind == .heartbeat
        var bytes = unsafe MutableRawSpan(_unsafeStart: slot, byteCount: PutHeader.byteCount)
        header.encode(into: &bytes)
        var parameters = unsafe ucp_request_param_t()
        unsafe parameters.op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK.rawValue | UCP_OP_ATTR_FIELD_USER_DATA.rawValue
        unsafe parameters.user_data = UnsafeMutableRawPointer(slot)
        unsafe parameters.cb.send = { unsafe onSendCompletion($0, $1, $2) }
        let request = unsafe ucp_am_send_nbx(
            endpoint, Self.messageIdentifier, slot, PutHeader.byteCount, source, count,
            &parameters)
        if unsafe fabric_request_is_pending(request) {
            outstanding[index] += 1
            if header.kind == .heartbeat { heartbeatPending[index] = true }
            return .pending
        }
        unsafe slots?.give(slot)
        try check("ucp_am_send_nbx to \(peer)", unsafe fabric_request_status(request))
        return .done
    }

    func sendCompleted(_ slot: UnsafeMutablePointer<UCXSlot>, _ status: ucs_status_t) {
        let index = Int(unsafe slot.pointee.rank)
        if unsafe slot.pointee.isHeartbeat { heartbeatPending[index] = false }
        unsafe slots?.give(slot)
        if isGone[index] { return }
        outstanding[index] -= 1
        if status != UCS_OK { lose(Rank(rawValue: index), cause: statusText(status)) }
        if outstanding[index] == 0 { outside.control.ring() }
    }
}
