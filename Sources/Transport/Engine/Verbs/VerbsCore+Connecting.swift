import CFabric
import Glibc
import Topology

// Connections through rdmacm: the higher rank of a pair connects, the lower accepts.

extension VerbsCore {
    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
        for (rank, address) in addresses.sorted(by: { $0.key < $1.key }) {
            var reader = WireReader(address, from: rank.description)
            let remote = remotes[rank.rawValue]
            remote.key = try reader.integer(UInt64.self, "key")
            let host = try reader.text("address", limit: 64)
            let port = try reader.integer(UInt16.self, "port")
            try reader.finish()
            if rank < self.rank { try resolve(remote, "\(host):\(port)") }
        }
        let wanted = addresses.keys.sorted()
        while let missing = wanted.first(where: { !remotes[$0.rawValue].liveness.isLive }) {
            if deadline.hasPassed { throw deadline.missed(by: missing) }
            var entry = pollfd(
                fd: unsafe verbs.events.pointee.fd, events: Int16(POLLIN), revents: 0)
            _ = unsafe poll(&entry, 1, 50)
            while let event = unsafe nextEvent() {
                defer { unsafe rdma_ack_cm_event(event) }
                unsafe try handle(event)
            }
        }
    }

    private func resolve(_ remote: VerbsRank, _ address: String) throws(TransportError) {
        var created: UnsafeMutablePointer<rdma_cm_id>?
        let context = unsafe UnsafeMutableRawPointer(bitPattern: remote.rank.rawValue + 1)
        guard unsafe rdma_create_id(verbs.events, &created, context, RDMA_PS_TCP) == 0 else {
            throw .system("rdma_create_id")
        }
        unsafe remote.connection = created
        let status = unsafe try NetworkEndpoint(address).withAddress { target, _ in
            unsafe rdma_resolve_addr(created, nil, UnsafeMutablePointer(mutating: target), 2000)
        }
        guard status == 0 else { throw .system("rdma_resolve_addr of \(address)") }
    }

    private func nextEvent() -> UnsafeMutablePointer<rdma_cm_event>? {
        var event: UnsafeMutablePointer<rdma_cm_event>?
        return unsafe rdma_get_cm_event(verbs.events, &event) == 0 ? event : nil
    }

    /// The remote whose number `resolve`, or the acceptance, put into the connection.
    private func remote(of connection: UnsafeMutablePointer<rdma_cm_id>?) -> VerbsRank? {
        let number = UInt(bitPattern: unsafe connection?.pointee.context)
        return number > 0 && Int(number) <= remotes.count ? remotes[Int(number) - 1] : nil
    }

    private func handle(_ event: UnsafeMutablePointer<rdma_cm_event>) throws(TransportError) {
        let connection = unsafe event.pointee.id
        switch unsafe fabric_event_kind(event) {
        case Int32(RDMA_CM_EVENT_ADDR_RESOLVED.rawValue):
            guard unsafe rdma_resolve_route(connection, 2000) == 0 else {
                throw .system("rdma_resolve_route")
            }
        case Int32(RDMA_CM_EVENT_ROUTE_RESOLVED.rawValue):
            guard let remote = unsafe remote(of: connection) else { return }
            try begin(remote)
            let greeting = greeting(for: remote)
            guard unsafe fabric_connect(connection, greeting, UInt8(greeting.count)) == 0 else {
                throw .system("rdma_connect to \(remote.rank)")
            }
        case Int32(RDMA_CM_EVENT_CONNECT_REQUEST.rawValue):
            try unsafe accept(connection, greeting: privateData(event))
        case Int32(RDMA_CM_EVENT_ESTABLISHED.rawValue):
            guard let remote = unsafe remote(of: connection) else { return }
            if remote.rank < rank {
                let answer = try VerbsGreeting(decoding: unsafe privateData(event))
                remote.mailbox = (answer.mailboxAddress, answer.mailboxKey)
            }
            remote.liveness.connected(at: outside.clock.nanoseconds)
        case let kind:
            let name = unsafe String(cString: rdma_event_str(event.pointee.event))
            let who = unsafe remote(of: connection)?.rank.description ?? "kind \(kind)"
            throw .call("rdma_connect to \(who)", status: name)
        }
    }

    private func privateData(_ event: UnsafeMutablePointer<rdma_cm_event>) -> [UInt8] {
        var count: UInt8 = 0
        guard let data = unsafe fabric_event_data(event, &count) else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: data, count: Int(count)))
    }

    /// Gives a connection its queue pair and its receives.
    private func begin(_ remote: VerbsRank) throws(TransportError) {
        let status = unsafe fabric_create_queue(
            remote.connection, verbs.domain, verbs.completions, UInt32(Self.depth))
        guard status == 0 else { throw .system("rdma_create_qp to \(remote.rank)") }
        try postReceives(remote)
    }

    private func greeting(for remote: VerbsRank) -> [UInt8] {
        let mailbox = unsafe record(remote.rank, 0, isOutgoing: false)
        return VerbsGreeting(
            rank: UInt32(rank.rawValue), key: remote.key,
            mailboxAddress: UInt64(UInt(bitPattern: mailbox)),
            mailboxKey: mailKey.remoteKey
        ).encoded()
    }

    private func accept(
        _ connection: UnsafeMutablePointer<rdma_cm_id>?, greeting bytes: [UInt8]
    ) throws(TransportError) {
        guard let greeting = try? VerbsGreeting(decoding: bytes), greeting.key == key,
            Int(greeting.rank) < remotes.count, Int(greeting.rank) > rank.rawValue,
            unsafe remotes[Int(greeting.rank)].connection == nil
        else {
            // Not authenticated, or a rank that should not connect: rejected.
            unsafe rdma_reject(connection, nil, 0)
            return
        }
        let remote = remotes[Int(greeting.rank)]
        unsafe remote.connection = connection
        unsafe connection?.pointee.context = UnsafeMutableRawPointer(
            bitPattern: Int(greeting.rank) + 1)
        remote.mailbox = (greeting.mailboxAddress, greeting.mailboxKey)
        try begin(remote)
        let answer = self.greeting(for: remote)
        guard unsafe fabric_accept_connection(connection, answer, UInt8(answer.count)) == 0 else {
            throw .system("rdma_accept of \(remote.rank)")
        }
    }

    /// Events after the join: a connection that ends is a rank that left or was lost.
    func takeConnectionEvents() -> Bool {
        var hasAny = false
        while let event = unsafe nextEvent() {
            hasAny = true
            let remote = unsafe remote(of: event.pointee.id)
            let kind = unsafe fabric_event_kind(event)
            unsafe rdma_ack_cm_event(event)
            guard let remote, kind == Int32(RDMA_CM_EVENT_DISCONNECTED.rawValue) else { continue }
            end(remote.rank, cause: "its connection ended")
        }
        return hasAny
    }
}
