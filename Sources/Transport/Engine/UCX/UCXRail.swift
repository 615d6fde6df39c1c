import CFabric
import Glibc
import Topology

/// A UCX context and worker on one network device, with an endpoint for each remote rank.
///
/// Only the holder of the engine's lock touches a rail. UCX's callbacks run inside `progress`, so
/// they hold the lock too.
///
/// Invariants:
/// 1. A header is checked against key, rank, sequence and window before a byte is moved.
/// 2. A lost rank's operations are not waited for: UCX may never complete them.
/// 3. The receive callback copies eager bytes, and receives rendezvous bytes in place.
@safe final class UCXRail {
    /// Its place among the core's rails.
    let number: Int
    let rank: Rank
    private(set) unowned var core: UCXCore?
    /// What others must show to put here.
    let key: UInt64
    var worker: UCXWorker
    let context: UCXContext
    var slots: UCXSlotPool?
    var endpoints: [ucp_ep_h?]
    var remoteKeys: [UInt64]
    /// Rendezvous receives that are not complete.
    var receivingCount = 0
    var outstanding: [Int]
    private var failed: [ucp_ep_h] = unsafe []
    var heartbeatPending: [Bool]

    /// Operations posted and not complete, to all ranks; more wait for a slot.
    static let slotCount = 16_384

    init(
        number: Int, rank: Rank, rankCount: Int, settings: [(name: String, value: String)]
    ) throws(TransportError) {
        self.number = number
        self.rank = rank
        key = UInt64.random(in: .min ... .max)
        let context = try UCXContext(settings: settings)
        worker = try UCXWorker(context: context)
        self.context = context
        unsafe endpoints = Array(repeating: nil, count: rankCount)
        remoteKeys = Array(repeating: 0, count: rankCount)
        outstanding = Array(repeating: 0, count: rankCount)
        heartbeatPending = Array(repeating: false, count: rankCount)
        slots = UCXSlotPool(capacity: Self.slotCount, owner: self)
        try setReceiveHandler()
    }

    /// Names the core that takes what comes; it owns the rail.
    func attach(to core: UCXCore?) { self.core = core }

    /// The identifier of our one active message.
    static let messageIdentifier: UInt32 = 1

    func setReceiveHandler() throws(TransportError) {
        var parameters = unsafe ucp_am_handler_param_t()
        unsafe parameters.field_mask =
            UInt64(UCP_AM_HANDLER_PARAM_FIELD_ID.rawValue)
            | UInt64(UCP_AM_HANDLER_PARAM_FIELD_CB.rawValue)
            | UInt64(UCP_AM_HANDLER_PARAM_FIELD_ARG.rawValue)
        unsafe parameters.id = Self.messageIdentifier
        unsafe parameters.arg = Unmanaged.passUnretained(self).toOpaque()
        unsafe parameters.cb = { unsafe UCXRail.onMessage($0, $1, $2, $3, $4, $5) }
        try UCXStatus.check(
            "ucp_worker_set_am_recv_handler",
            unsafe ucp_worker_set_am_recv_handler(worker.handle, &parameters))
    }

    /// Makes the endpoint to a rank; UCX connects when it is first used.
    func connect(_ remote: Rank, address: [UInt8], key: UInt64) throws(TransportError) {
        remoteKeys[remote.rawValue] = key
        var endpoint: ucp_ep_h?
        let status = unsafe address.withUnsafeBytes { bytes in
            var parameters = unsafe ucp_ep_params_t()
            unsafe parameters.field_mask =
                UInt64(UCP_EP_PARAM_FIELD_REMOTE_ADDRESS.rawValue)
                | UInt64(UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE.rawValue)
                | UInt64(UCP_EP_PARAM_FIELD_ERR_HANDLER.rawValue)
            unsafe parameters.address = OpaquePointer(bytes.baseAddress)
            unsafe parameters.err_mode = UCP_ERR_HANDLING_MODE_PEER
            unsafe parameters.err_handler.arg = Unmanaged.passUnretained(self).toOpaque()
            unsafe parameters.err_handler.cb = { unsafe UCXRail.onEndpointFailure($0, $1, $2) }
            return unsafe ucp_ep_create(worker.handle, &parameters, &endpoint)
        }
        try UCXStatus.check("ucp_ep_create to \(remote)", status)
        unsafe endpoints[remote.rawValue] = endpoint
    }

    /// How many more operations can be posted.
    var freeCount: Int { slots?.freeCount ?? 0 }

    var outstandingCount: Int { outstanding.reduce(0, +) }

    func isConnected(to rank: Rank) -> Bool { unsafe endpoints[rank.rawValue] != nil }
}

// MARK: - Losing

extension UCXRail {
    /// Ends the connection to a rank that is gone: what is posted to it no longer counts
    /// (invariant 2). Not inside a callback of the endpoint's: `closeFailed` closes it.
    func disconnect(_ rank: Rank) {
        let index = rank.rawValue
        outstanding[index] = 0
        if let endpoint = unsafe endpoints[index] { unsafe failed.append(endpoint) }
        unsafe endpoints[index] = nil
    }

    /// Closes the endpoints of ranks that are gone.
    func closeFailed() {
        while let endpoint = unsafe failed.popLast() { unsafe close(endpoint) }
    }

    /// Closes at once what is still open, at the end.
    func closeAll() {
        for index in outstanding.indices { disconnect(Rank(rawValue: index)) }
        closeFailed()
        for _ in 0 ..< 100 where worker.progress() {}
    }

    private func close(_ endpoint: ucp_ep_h) {
        var parameters = unsafe ucp_request_param_t()
        unsafe parameters.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS.rawValue
        unsafe parameters.flags = UCP_EP_CLOSE_FLAG_FORCE.rawValue
        let request = unsafe ucp_ep_close_nbx(endpoint, &parameters)
        if unsafe fabric_request_is_pending(request) { unsafe ucp_request_free(request) }
    }

    func endpointFailed(_ endpoint: ucp_ep_h?, _ status: ucs_status_t) {
        guard let index = unsafe endpoints.firstIndex(where: { unsafe $0 == endpoint }) else {
            return
        }
        core?.end(Rank(rawValue: index), cause: UCXStatus.text(status))
    }
}
