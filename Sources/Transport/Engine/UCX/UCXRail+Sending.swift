import CFabric
import Topology

extension UCXRail {
    /// Posts one put; the bytes at `source` stay unchanged until it completes.
    func put(_ put: Put, sequence: UInt64) throws(TransportError) -> Posting {
        var header = PutHeader(
            .put, source: UInt32(rank.rawValue), key: remoteKeys[put.rank.rawValue])
        header.sequence = sequence
        header.window = UInt32(put.window)
        header.signal = put.headerSignal
        header.offset = UInt64(put.offset)
        header.length = UInt64(put.byteCount)
        header.value = put.value
        return try unsafe send(header, to: put.rank, put.source, put.byteCount)
    }

    /// Sends a message without bytes to a rank, if it is still there.
    func say(_ kind: PutHeader.Kind, to remote: Rank, value: UInt64 = 0) {
        let index = remote.rawValue
        if !isConnected(to: remote) || (kind == .heartbeat && heartbeatPending[index]) { return }
        var header = PutHeader(kind, source: UInt32(rank.rawValue), key: remoteKeys[index])
        header.value = value
        do throws(TransportError) {
            _ = try unsafe send(header, to: remote, nil, 0)
        } catch {
            core?.end(remote, cause: "\(error)")
        }
    }

    func send(
        _ header: PutHeader, to remote: Rank, _ source: UnsafeRawPointer?, _ count: Int
    ) throws(TransportError) -> Posting {
        let index = remote.rawValue
        guard let endpoint = unsafe endpoints[index] else {
            throw core?.outside.lostRanks.refusal(ofPutTo: remote) ?? .closed
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
        unsafe parameters.cb.send = { unsafe UCXRail.onSendCompletion($0, $1, $2) }
        let request = unsafe ucp_am_send_nbx(
            endpoint, Self.messageIdentifier, slot, PutHeader.byteCount, source, count,
            &parameters)
        if unsafe fabric_request_is_pending(request) {
            outstanding[index] += 1
            if header.kind == .heartbeat { heartbeatPending[index] = true }
            return .pending
        }
        unsafe slots?.give(slot)
        let status = unsafe fabric_request_status(request)
        if status != UCS_OK { throw failed(remote, status) }
        return .done
    }

    /// Ends the connection to a rank because a send to it failed at once, as one that fails later
    /// does.
    ///
    /// - Returns: The error of the send, which names the rank that is gone.
    private func failed(_ remote: Rank, _ status: ucs_status_t) -> TransportError {
        let text = UCXStatus.text(status)
        core?.end(remote, cause: text)
        return core?.outside.lostRanks.refusal(ofPutTo: remote)
            ?? .call("ucp_am_send_nbx to \(remote)", status: text)
    }

    func sendCompleted(_ slot: UnsafeMutablePointer<UCXSlot>, _ status: ucs_status_t) {
        let index = Int(unsafe slot.pointee.rank)
        if unsafe slot.pointee.isHeartbeat { heartbeatPending[index] = false }
        unsafe slots?.give(slot)
        let remote = Rank(rawValue: index)
        guard let core, isConnected(to: remote) else { return }
        outstanding[index] -= 1
        if status != UCS_OK { core.end(remote, cause: UCXStatus.text(status)) }
        if outstanding[index] == 0 { core.outside.control.ring() }
    }
}
