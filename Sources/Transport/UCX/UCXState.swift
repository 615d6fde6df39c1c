import CFabric
import Glibc
import Topology

/// Everything of the UCX engine that only the holder of its lock touches, UCX's callbacks included:
/// they run inside progress, which runs under the lock.
///
/// Invariants:
/// 1. A header is checked against key, rank, sequence and window before a byte is moved.
/// 2. A lost rank's operations are not waited for: UCX may never complete them.
/// 3. The receive callback copies eager bytes, and receives rendezvous bytes in place.
@safe final class UCXState {
    let rank: Rank
    let rankCount: Int
    /// What others must show to put here.
    let key: UInt64
    var worker: UCXWorker
    let context: UCXContext
    var slots: UCXSlotPool?
    var endpoints: [ucp_ep_h?]
    var peerKeys: [UInt64]
    var windows: [RegisteredWindow?] = []
    /// Released by the rank, but operations in flight may still read or write them.
    var retired: [RegisteredWindow] = []
    var receivingCount = 0
    let ledger: PutLedger
    var outstanding: [Int]
    var failed: [ucp_ep_h] = unsafe []
    var heartbeatPending: [Bool]
    /// When each rank was last heard, on the fabric's clock.
    var heard: [UInt64]
    var isGone: [Bool]
    var hasFarewell: [Bool]
    let outside: EngineOutside

    /// Operations posted and not complete, to all ranks; more wait for a slot.
    static let slotCount = 16_384

    init(
        rank: Rank, rankCount: Int, settings: [(name: String, value: String)], ledger: PutLedger,
        outside: EngineOutside
    ) throws(TransportError) {
        self.rank = rank
        self.rankCount = rankCount
        self.outside = outside
        key = UInt64.random(in: .min ... .max)
        let context = try UCXContext(settings: settings)
        worker = try UCXWorker(context: context)
        self.context = context
        unsafe endpoints = Array(repeating: nil, count: rankCount)
        peerKeys = Array(repeating: 0, count: rankCount)
        self.ledger = ledger
        outstanding = Array(repeating: 0, count: rankCount)
        heartbeatPending = Array(repeating: false, count: rankCount)
        heard = Array(repeating: 0, count: rankCount)
        isGone = Array(repeating: false, count: rankCount)
        hasFarewell = Array(repeating: false, count: rankCount)
        slots = UCXSlotPool(capacity: Self.slotCount, owner: self)
        try setReceiveHandler()
    }

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
        unsafe parameters.cb = { unsafe onMessage($0, $1, $2, $3, $4, $5) }
        try check(
            "ucp_worker_set_am_recv_handler",
            unsafe ucp_worker_set_am_recv_handler(worker.handle, &parameters))
    }

    /// Makes the endpoint to a rank; UCX connects when it is first used.
    func connect(_ peer: Rank, address: [UInt8], key: UInt64) throws(TransportError) {
        peerKeys[peer.rawValue] = key
        heard[peer.rawValue] = outside.clock.nanoseconds
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
            unsafe parameters.err_handler.cb = { unsafe onEndpointFailure($0, $1, $2) }
            return unsafe ucp_ep_create(worker.handle, &parameters, &endpoint)
        }
        try check("ucp_ep_create to \(peer)", status)
        unsafe endpoints[peer.rawValue] = endpoint
    }

    func register(_ window: RegisteredWindow) {
        while windows.count <= window.identifier { windows.append(nil) }
        windows[window.identifier] = window
    }

    func release(window identifier: Int) {
        guard let window = windows[identifier] else { return }
        retired.append(window)
        windows[identifier] = nil
    }

    /// Lets go of released windows once nothing is in flight that may touch their memory.
    func forgetRetired() {
        if outstandingCount == 0, receivingCount == 0 { retired.removeAll() }
    }

    /// How many more operations can be posted.
    var freeCount: Int { slots?.freeCount ?? 0 }

    var outstandingCount: Int { outstanding.reduce(0, +) }
}
