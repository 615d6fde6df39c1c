import CFabric
import Glibc
import Topology

extension SocketCore: PutSink {
    /// Events taken by one call.
    private static let eventCount = 64

    func progress() -> Bool {
        unsafe withUnsafeTemporaryAllocation(
            of: epoll_event.self, capacity: Self.eventCount
        ) { events in
            let count = unsafe epoll_wait(epoll, events.baseAddress, Int32(events.count), 0)
            var moved = false
            for index in 0 ..< max(0, Int(count)) {
                let (number, kinds) = unsafe (events[index].data.u32, events[index].events)
                guard let rail = rails[Int(number)] else { continue }
                if kinds & EPOLLOUT.rawValue != 0, flush(rail) { moved = true }
                if kinds & ~EPOLLOUT.rawValue != 0, receive(rail) { moved = true }
            }
            return moved || flushHeld()
        }
    }

    /// Takes in what a connection brought, so much that others get their turn.
    private func receive(_ rail: SocketRail) -> Bool {
        var budget = SocketRail.callBytes
        while budget > 0, rails[rail.number] != nil {
            switch rail.receive() {
            case .moved(let bytes, let isAll):
                remotes[rail.remote.rawValue].liveness.heard(
                    on: rail.plane, at: outside.clock.nanoseconds)
                budget = isAll ? budget - bytes : 0
                do throws(PutFault) {
                    try rail.incoming.took(bytes, self)
                } catch {
                    end(rail.remote, cause: "it sent \(error.fact)")
                }
            case .wouldBlock: return budget < SocketRail.callBytes
            case .ended: end(rail.remote, cause: "it closed the connection")
            case .failed(let cause): end(rail.remote, cause: cause)
            }
        }
        return true
    }

    func place(_ header: PutHeader, on number: Int) throws(PutFault) -> PutPlace {
        guard let rail = rails[number] else { throw PutFault(fact: "more after it was given up") }
        guard header.key == key else { throw PutFault(fact: "a header with another rank's key") }
        guard header.source == UInt32(rail.remote.rawValue) else {
            throw PutFault(fact: "a header of rank \(header.source)")
        }
        guard header.kind == .put else {
            guard header.length == 0 else {
                throw PutFault(fact: "\(header.length) bytes with no put")
            }
            return PutPlace()
        }
        guard let memory = try windows.target(of: header, byteCount: Int(header.length))?.memory
        else { return PutPlace() }
        return unsafe PutPlace(target: memory.bytes + Int(header.offset), memory: memory.region)
    }

    func landed(_ header: PutHeader, on number: Int) throws(PutFault) {
        guard let rail = rails[number] else { return }
        guard header.kind == .put else {
            return note(header, of: rail.remote, on: rail.plane) {
                say(.goodbyeAcknowledgement, on: rail)
            }
        }
        let isTaken = remotes[rail.remote.rawValue].order.arrive(
            header.sequence, header.publication
        ) {
            windows.publish($0, ringing: outside.control)
        }
        guard isTaken else {
            throw PutFault(fact: "put number \(header.sequence) twice or out of reach")
        }
    }
}
