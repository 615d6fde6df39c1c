import CFabric
import Glibc
import Topology

extension UCXRail {
    func receive(
        _ header: RawSpan, _ data: UnsafeMutableRawPointer?, _ count: Int, isRendezvous: Bool
    ) -> ucs_status_t {
        // A header without our key, or of a rank that is not connected, has no rank to suspect.
        guard let core, let header = PutHeader(decoding: header), header.key == key,
            header.source < UInt32(core.rankCount)
        else { return UCS_OK }
        let sender = Rank(rawValue: Int(header.source))
        guard isConnected(to: sender) else { return UCS_OK }
        core.note(header, of: sender, on: number) { say(.goodbyeAcknowledgement, to: sender) }
        guard header.kind == .put else { return UCS_OK }
        do throws(PutFault) {
            return try unsafe receivePut(
                header, from: sender, data, count, isRendezvous: isRendezvous, core)
        } catch {
            core.end(sender, cause: "it sent \(error.fact)")
            return UCS_OK
        }
    }

    private func receivePut(
        _ header: PutHeader, from sender: Rank, _ data: UnsafeMutableRawPointer?, _ count: Int,
        isRendezvous: Bool, _ core: UCXCore
    ) throws(PutFault) -> ucs_status_t {
        guard let memory = try core.windows.target(of: header, byteCount: count)?.memory else {
            return UCS_OK
        }
        let target = unsafe memory.bytes + Int(header.offset)
        if isRendezvous {
            return try unsafe receiveInPlace(header, from: sender, data, target, count, core)
        }
        if count > 0, let data = unsafe data { unsafe memcpy(target, data, count) }
        let isTaken = core.orders[sender.rawValue].arrive(header.sequence, header.publication) {
            core.windows.publish($0, ringing: core.outside.control)
        }
        guard isTaken else { throw Self.outOfReach(header) }
        return UCS_OK
    }

    private static func outOfReach(_ header: PutHeader) -> PutFault {
        PutFault(fact: "put number \(header.sequence) twice or out of reach")
    }

    private func receiveInPlace(
        _ header: PutHeader, from sender: Rank, _ data: UnsafeMutableRawPointer?,
        _ target: UnsafeMutableRawPointer, _ count: Int, _ core: UCXCore
    ) throws(PutFault) -> ucs_status_t {
        guard core.orders[sender.rawValue].begin(header.sequence) else {
            throw Self.outOfReach(header)
        }
        guard let slot = unsafe slots?.take() else {
            throw PutFault(fact: "puts that take more than \(Self.slotCount) slots here")
        }
        unsafe slot.pointee.rank = Int32(sender.rawValue)
        unsafe slot.pointee.sequence = header.sequence
        unsafe slot.pointee.publication = header.publication
        var parameters = unsafe ucp_request_param_t()
        unsafe parameters.op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK.rawValue | UCP_OP_ATTR_FIELD_USER_DATA.rawValue
        unsafe parameters.user_data = UnsafeMutableRawPointer(slot)
        unsafe parameters.cb.recv_am = { unsafe UCXRail.onReceiveCompletion($0, $1, $2, $3) }
        receivingCount += 1
        let request = unsafe ucp_am_recv_data_nbx(worker.handle, data, target, count, &parameters)
        if unsafe !fabric_request_is_pending(request) {
            unsafe landed(slot, fabric_request_status(request))
        }
        return UCS_INPROGRESS
    }

    func landed(_ slot: UnsafeMutablePointer<UCXSlot>, _ status: ucs_status_t) {
        let sender = Rank(rawValue: Int(unsafe slot.pointee.rank))
        let sequence = unsafe slot.pointee.sequence
        let publication = unsafe slot.pointee.publication
        unsafe slots?.give(slot)
        receivingCount -= 1
        guard let core, isConnected(to: sender) else { return }
        core[liveness: sender].heard(on: number, at: core.outside.clock.nanoseconds)
        guard status == UCS_OK else { return core.end(sender, cause: UCXStatus.text(status)) }
        core.orders[sender.rawValue].land(sequence, publication) {
            core.windows.publish($0, ringing: core.outside.control)
        }
    }
}
