import CFabric
import Glibc
import Topology

extension UCXState {
    func receive(
        _ header: RawSpan, _ data: UnsafeMutableRawPointer?, _ count: Int, isRendezvous: Bool
    ) -> ucs_status_t {
        guard let header = PutHeader(decoding: header), header.key == key,
            header.source < UInt32(rankCount)
        else { return UCS_OK }  // A stranger's: nobody to blame.
        let index = Int(header.source)
        if isGone[index] { return UCS_OK }
        heard[index] = outside.clock.nanoseconds
        let peer = Rank(rawValue: index)
        switch header.kind {
        case .heartbeat: break
        case .farewell:
            hasFarewell[index] = true
        case .goodbye:
            let isRank = header.value > 0 && header.value <= UInt64(rankCount)
            let blame = isRank ? Rank(rawValue: Int(header.value) - 1) : nil
            outside.losses.addLeft(peer, blaming: blame == rank ? nil : blame)
            outside.control.ring()
            say(.farewell, to: peer)
        case .put:
            return unsafe receivePut(header, from: peer, data, count, isRendezvous: isRendezvous)
        }
        return UCS_OK
    }

    func receivePut(
        _ header: PutHeader, from peer: Rank, _ data: UnsafeMutableRawPointer?, _ count: Int,
        isRendezvous: Bool
    ) -> ucs_status_t {
        guard Int(header.window) < windows.count else {
            lose(peer, cause: "it sent a put into window \(header.window) of \(windows.count)")
            return UCS_OK
        }
        // A window that its owner no longer holds takes nothing, and that is no fault.
        guard let window = windows[Int(header.window)] else { return UCS_OK }
        let memory = window.memory
        let size = WindowSize(byteCount: memory.byteCount, signalCount: memory.signalCount)
        if let fault = header.fault(byteCount: count, window: size) {
            lose(peer, cause: "it sent \(fault)")
            return UCS_OK
        }
        let publication =
            header.signal == PutHeader.noSignal
            ? nil
            : PutOrder.Publication(
                window: header.window, signal: header.signal, value: header.value)
        let target = unsafe memory.bytes + Int(header.offset)
        if isRendezvous {
            return unsafe receiveInPlace(header, from: peer, publication, data, target, count)
        }
        if count > 0, let data = unsafe data { unsafe memcpy(target, data, count) }
        if !ledger.orders[peer.rawValue].arrive(header.sequence, publication, publish: publish) {
            lose(peer, cause: "it sent put number \(header.sequence) twice or out of reach")
        }
        return UCS_OK
    }

    func receiveInPlace(
        _ header: PutHeader, from peer: Rank, _ publication: PutOrder.Publication?,
        _ data: UnsafeMutableRawPointer?, _ target: UnsafeMutableRawPointer, _ count: Int
    ) -> ucs_status_t {
        guard ledger.orders[peer.rawValue].begin(header.sequence) else {
            lose(peer, cause: "it sent put number \(header.sequence) twice or out of reach")
            return UCS_OK
        }
        guard let slot = unsafe slots?.take() else {
            lose(peer, cause: "its puts take more than \(Self.slotCount) slots here")
            return UCS_OK
        }
        unsafe slot.pointee.rank = Int32(peer.rawValue)
        unsafe slot.pointee.sequence = header.sequence
        unsafe slot.pointee.publication = publication
        var parameters = unsafe ucp_request_param_t()
        unsafe parameters.op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK.rawValue | UCP_OP_ATTR_FIELD_USER_DATA.rawValue
        unsafe parameters.user_data = UnsafeMutableRawPointer(slot)
        unsafe parameters.cb.recv_am = { unsafe onReceiveCompletion($0, $1, $2, $3) }
        receivingCount += 1
        let request = unsafe ucp_am_recv_data_nbx(worker.handle, data, target, count, &parameters)
        if unsafe !fabric_request_is_pending(request) {
            unsafe landed(slot, fabric_request_status(request))
        }
        return UCS_INPROGRESS
    }

    func landed(_ slot: UnsafeMutablePointer<UCXSlot>, _ status: ucs_status_t) {
        let index = Int(unsafe slot.pointee.rank)
        let sequence = unsafe slot.pointee.sequence
        let publication = unsafe slot.pointee.publication
        unsafe slots?.give(slot)
        receivingCount -= 1
        if isGone[index] { return }
        heard[index] = outside.clock.nanoseconds
        guard status == UCS_OK else {
            return lose(Rank(rawValue: index), cause: statusText(status))
        }
        ledger.orders[index].land(sequence, publication, publish: publish)
    }

    func publish(_ publication: PutOrder.Publication) {
        guard let memory = windows[Int(publication.window)]?.memory else { return }
        memory.setSignal(Int(publication.signal), publication.value)
        outside.control.ring()
    }
}
