import CFabric
import Glibc

/// Owns what all connections of a rank share: the listener, the protection domain, and the queue of
/// completions with its channel.
///
/// Safe because the handles are written once, and used under the engine's lock.
@safe final class VerbsDomain {
    let events: UnsafeMutablePointer<rdma_event_channel>
    let listener: UnsafeMutablePointer<rdma_cm_id>
    let domain: UnsafeMutablePointer<ibv_pd>
    let channel: UnsafeMutablePointer<ibv_comp_channel>
    let completions: UnsafeMutablePointer<ibv_cq>
    let device: String
    let port: Int
    /// The address of ours that routes to the device.
    let address: String

    /// Listens on the first address whose device is wanted.
    ///
    /// - Parameter wanted: Names of RDMA devices or network interfaces; nil takes any.
    init(wanted: String?, completionCount: Int) throws(TransportError) {
        guard !VerbsDevices.ports().isEmpty else {
            throw .unavailable(
                "no RDMA device: ibv_get_device_list found none on this node (transport rdma)")
        }
        var made = Undo()
        guard let events = unsafe rdma_create_event_channel() else {
            throw .system("rdma_create_event_channel")
        }
        made.add { unsafe rdma_destroy_event_channel(events) }
        unsafe self.events = events
        let names = wanted?.split(separator: ",").map(String.init)
        var found: (UnsafeMutablePointer<rdma_cm_id>, NetworkAddress, String)?
        for address in NetworkAddress.all() where !address.address.hasPrefix("127.") {
            guard let (identifier, device) = unsafe try Self.bind(address, events) else { continue }
            if let names, !names.contains(device), !names.contains(address.device) {
                unsafe rdma_destroy_id(identifier)
                continue
            }
            unsafe found = (identifier, address, device)
            break
        }
        guard let (identifier, address, device) = unsafe found,
            let context = unsafe identifier.pointee.verbs
        else {
            throw .unavailable("no RDMA device \(wanted ?? "") has an address on this node")
        }
        made.add { unsafe rdma_destroy_id(identifier) }
        unsafe listener = identifier
        self.device = device
        self.address = address.address
        port = Int(unsafe identifier.pointee.port_num)
        guard let domain = unsafe ibv_alloc_pd(context) else { throw .system("ibv_alloc_pd") }
        made.add { unsafe ibv_dealloc_pd(domain) }
        guard let channel = unsafe ibv_create_comp_channel(context) else {
            throw .system("ibv_create_comp_channel")
        }
        made.add { unsafe ibv_destroy_comp_channel(channel) }
        guard
            let completions = unsafe ibv_create_cq(
                context, Int32(completionCount), nil, channel, 0)
        else { throw .system("ibv_create_cq of \(completionCount) entries") }
        made.add { unsafe ibv_destroy_cq(completions) }
        unsafe self.domain = domain
        unsafe self.channel = channel
        unsafe self.completions = completions
        guard unsafe rdma_listen(identifier, 64) == 0 else { throw .system("rdma_listen") }
        made.keep()
        for descriptor in unsafe [events.pointee.fd, channel.pointee.fd] {
            _ = fabric_set_nonblocking(descriptor)
        }
    }

    /// Binds to an address; nil if no RDMA device has it.
    private static func bind(
        _ address: NetworkAddress, _ events: UnsafeMutablePointer<rdma_event_channel>
    ) throws(TransportError) -> (UnsafeMutablePointer<rdma_cm_id>, String)? {
        var created: UnsafeMutablePointer<rdma_cm_id>?
        guard unsafe rdma_create_id(events, &created, nil, RDMA_PS_TCP) == 0,
            let identifier = unsafe created
        else { throw .system("rdma_create_id") }
        let endpoint = try NetworkEndpoint("\(address.address):0")
        let status = unsafe endpoint.withAddress { address, _ in
            unsafe rdma_bind_addr(identifier, UnsafeMutablePointer(mutating: address))
        }
        guard status == 0, let verbs = unsafe identifier.pointee.verbs else {
            unsafe rdma_destroy_id(identifier)
            return nil
        }
        return unsafe (identifier, String(cString: ibv_get_device_name(verbs.pointee.device)))
    }

    var listenPort: UInt16 { UInt16(bigEndian: unsafe rdma_get_src_port(listener)) }

    deinit {
        unsafe rdma_destroy_id(listener)
        unsafe ibv_destroy_cq(completions)
        unsafe ibv_destroy_comp_channel(channel)
        unsafe ibv_dealloc_pd(domain)
        unsafe rdma_destroy_event_channel(events)
    }
}

/// Takes back what was made, last first, unless all of it is kept.
private struct Undo: ~Copyable {
    private var steps: [() -> Void] = []

    mutating func add(_ step: @escaping () -> Void) { steps.append(step) }

    mutating func keep() { steps = [] }

    deinit { for step in steps.reversed() { step() } }
}

/// Owns a stretch of memory's registration: the device may read and write it meanwhile.
@safe final class VerbsRegistration {
    private let region: UnsafeMutablePointer<ibv_mr>
    /// For work requests of this rank.
    let localKey: UInt32
    /// For those of others.
    let remoteKey: UInt32

    init(
        _ verbs: VerbsDomain, _ memory: UnsafeMutableRawPointer, byteCount: Int, name: String
    ) throws(TransportError) {
        // Reads are for the link benchmark; the data path only writes.
        let access = Int32(
            IBV_ACCESS_LOCAL_WRITE.rawValue | IBV_ACCESS_REMOTE_WRITE.rawValue
                | IBV_ACCESS_REMOTE_READ.rawValue)
        guard let region = unsafe fabric_register(verbs.domain, memory, byteCount, access) else {
            let status = unsafe String(cString: strerror(errno))
            throw .call(
                "ibv_reg_mr of \(byteCount) bytes of \(name)",
                status: "\(status) (RLIMIT_MEMLOCK is \(fabric_memlock_limit()) bytes)")
        }
        unsafe self.region = region
        localKey = unsafe region.pointee.lkey
        remoteKey = unsafe region.pointee.rkey
    }

    deinit { unsafe ibv_dereg_mr(region) }
}
