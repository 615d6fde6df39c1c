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
        let peer = peers[rail.peer.rawValue]
        var budget = SocketRail.callBytes
        while budget > 0, rails[rail.number] != nil {
            switch rail.receive() {
            case .moved(let bytes, let isAll):
                rail.heard = outside.clock.nanoseconds
                budget = isAll ? budget - bytes : 0
                do throws(PutFault) {
                    try rail.incoming.took(bytes, self)
                } catch {
                    end(peer, cause: "it sent \(error.fact)")
                }
            case .wouldBlock: return budget < SocketRail.callBytes
            case .ended: end(peer, cause: "it closed the connection")
            case .failed(let cause): end(peer, cause: cause)
            }
        }
        return true
    }

    func place(_ header: PutHeader, on number: Int) throws(PutFault) -> PutPlace {
        guard let rail = rails[number] else { throw PutFault(fact: "more after it was given up") }
        guard header.key == key else { throw PutFault(fact: "a header with another rank's key") }
        guard header.source == UInt32(rail.peer.rawValue) else {
            throw PutFault(fact: "a header of rank \(header.source)")
        }
        guard header.kind == .put else {
            guard header.length == 0 else {
                throw PutFault(fact: "\(header.length) bytes with no put")
            }
            return PutPlace()
        }
        guard Int(header.window) < windows.count else {
            throw PutFault(fact: "a put into window \(header.window) of \(windows.count)")
        }
        // A window that its owner no longer holds takes nothing, and that is no fault.
        guard let memory = windows[Int(header.window)]?.memory else { return PutPlace() }
        let size = WindowSize(byteCount: memory.byteCount, signalCount: memory.signalCount)
        if let fault = header.fault(byteCount: Int(header.length), window: size) {
            throw PutFault(fact: fault)
        }
        return unsafe PutPlace(target: memory.bytes + Int(header.offset), memory: memory.region)
    }

    func landed(_ header: PutHeader, on number: Int) throws(PutFault) {
        guard let rail = rails[number] else { return }
        let peer = peers[rail.peer.rawValue]
        switch header.kind {
        case .heartbeat: break
        case .farewell: rail.hasFarewell = true
        case .goodbye:
            rail.saidGoodbye = true
            // Bytes may still be under way on another plane.
            if peer.rails.allSatisfy(\.saidGoodbye) {
                let isRank = header.value > 0 && header.value <= UInt64(rankCount)
                let blame = isRank ? Rank(rawValue: Int(header.value) - 1) : nil
                outside.losses.addLeft(peer.rank, blaming: blame == rank ? nil : blame)
                outside.control.ring()
            }
            say(.farewell, on: rail)
        case .put:
            let publication =
                header.signal == PutHeader.noSignal
                ? nil
                : PutOrder.Publication(
                    window: header.window, signal: header.signal, value: header.value)
            guard peer.order.arrive(header.sequence, publication, publish: publish) else {
                throw PutFault(fact: "put number \(header.sequence) twice or out of reach")
            }
        }
    }

    private func publish(_ publication: PutOrder.Publication) {
        guard let memory = windows[Int(publication.window)]?.memory else { return }
        memory.setSignal(Int(publication.signal), publication.value)
        outside.control.ring()
    }
}
