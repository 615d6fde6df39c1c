import CFabric

/// C calls these with a pointer that it was given: the rail, or a slot of the rail's.
extension UCXRail {
    private static func rail(_ argument: UnsafeMutableRawPointer?) -> UCXRail? {
        guard let argument = unsafe argument else { return nil }
        return unsafe Unmanaged<UCXRail>.fromOpaque(argument).takeUnretainedValue()
    }

    static func onMessage(
        _ argument: UnsafeMutableRawPointer?, _ header: UnsafeRawPointer?, _ headerByteCount: Int,
        _ data: UnsafeMutableRawPointer?, _ count: Int,
        _ parameters: UnsafePointer<ucp_am_recv_param_t>?
    ) -> ucs_status_t {
        guard let rail = unsafe rail(argument), let header = unsafe header,
            let parameters = unsafe parameters
        else { return UCS_OK }
        let isRendezvous =
            unsafe parameters.pointee.recv_attr & UInt64(UCP_AM_RECV_ATTR_FLAG_RNDV.rawValue) != 0
        return unsafe rail.receive(
            RawSpan(_unsafeStart: header, byteCount: headerByteCount), data, count,
            isRendezvous: isRendezvous)
    }

    static func onSendCompletion(
        _ request: UnsafeMutableRawPointer?, _ status: ucs_status_t,
        _ argument: UnsafeMutableRawPointer?
    ) {
        defer { if let request = unsafe request { unsafe ucp_request_free(request) } }
        guard let slot = unsafe argument?.assumingMemoryBound(to: UCXSlot.self) else { return }
        unsafe slot.pointee.owner.sendCompleted(slot, status)
    }

    static func onReceiveCompletion(
        _ request: UnsafeMutableRawPointer?, _ status: ucs_status_t, _ count: Int,
        _ argument: UnsafeMutableRawPointer?
    ) {
        defer { if let request = unsafe request { unsafe ucp_request_free(request) } }
        guard let slot = unsafe argument?.assumingMemoryBound(to: UCXSlot.self) else { return }
        unsafe slot.pointee.owner.landed(slot, status)
    }

    static func onEndpointFailure(
        _ argument: UnsafeMutableRawPointer?, _ endpoint: ucp_ep_h?, _ status: ucs_status_t
    ) {
        unsafe rail(argument)?.endpointFailed(endpoint, status)
    }
}
