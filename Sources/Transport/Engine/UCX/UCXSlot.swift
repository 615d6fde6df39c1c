import CFabric

/// What a posted operation needs until it completes: its header's bytes, and where it belongs.
///
/// UCX reads the header after the call returns, so it lives here and not on a stack.
struct UCXSlot {
    /// The encoded `PutHeader` of a send.
    var header: InlineArray<8, UInt64> = .init(repeating: 0)
    /// The other rank.
    var rank: Int32 = 0
    var isHeartbeat = false
    /// What a receive will publish.
    var sequence: UInt64 = 0
    var publication: PutOrder.Publication?
    unowned(unsafe) var owner: UCXRail
}

/// Slots in one allocation, made once.
@safe struct UCXSlotPool: ~Copyable {
    private let slots: UnsafeMutablePointer<UCXSlot>
    private var free: [Int32]
    private let capacity: Int

    init(capacity: Int, owner: UCXRail) {
        self.capacity = capacity
        unsafe slots = .allocate(capacity: capacity)
        unsafe slots.initialize(repeating: UCXSlot(owner: owner), count: capacity)
        free = (0 ..< Int32(capacity)).reversed()
    }

    deinit { unsafe slots.deallocate() }

    var freeCount: Int { free.count }

    mutating func take() -> UnsafeMutablePointer<UCXSlot>? {
        guard let index = free.popLast() else { return nil }
        return unsafe slots + Int(index)
    }

    mutating func give(_ slot: UnsafeMutablePointer<UCXSlot>) {
        free.append(Int32(unsafe slot - slots))
    }
}
