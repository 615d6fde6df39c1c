package import Topology

/// The links of a simulated fabric, and everything that travels on them.
///
/// A piece takes its share of every link on its way until its last byte has left; it arrives after
/// the latency of its route. Shares are max-min fair among all pieces that leave at a time. With
/// adaptive routing each piece takes the way whose links the fewest pieces share.
///
/// Invariants:
/// 1. Only the thread whose turn it is in `SimulatedTime` touches it, so it needs no lock.
/// 2. Events of one moment happen in the order of ranks and planes, so one seed has one history.
/// 3. Pieces of one connection arrive in order; pieces of two planes may overtake each other.
///
/// Safe because of invariant 1.
package final class SimulatedNetwork: TimedEvents, @unchecked Sendable {
    /// Where bytes can go.
    package let links: LinkMap
    let time: SimulatedTime
    private let faults: SimulatedFaults
    private let draw: @Sendable (UInt64) -> UInt64
    private var flows: FlowTable
    var connections: [SimulatedConnection.Key: SimulatedConnection] = [:]
    private var leaving: [Int32: SimulatedConnection.Key] = [:]
    /// Pieces that leave now, by link.
    private var sharers: [Int]
    private var arrivals: [Arrival] = []
    private var pendingFaults: [SimulatedFaults.Event] = []
    private var pieceCount: UInt64 = 0
    private var cores: [Int: SimulatedCore] = [:]

    struct Arrival {
        let moment: UInt64
        let key: SimulatedConnection.Key
        let piece: SimulatedPiece
    }

    /// A network without faults until `beginFaults`.
    ///
    /// - Parameter draw: Random bits for a count; decides how late a message is.
    package init(
        _ links: LinkMap, time: SimulatedTime, faults: SimulatedFaults = SimulatedFaults(),
        draw: @escaping @Sendable (UInt64) -> UInt64
    ) {
        self.links = links
        self.time = time
        self.faults = faults
        self.draw = draw
        flows = FlowTable(
            bytesPerSecond: links.links.map(\.bytesPerSecond), now: time.nanoseconds,
            slackNanoseconds: Self.slackNanoseconds)
        sharers = Array(repeating: 0, count: links.links.count)
        time.attach(self)
    }

    /// Messages that end within so short a time end together: a tenth of the shortest latency.
    private static let slackNanoseconds: UInt64 = 100

    /// What each link has carried, in bytes.
    package var carriedBytes: [Double] { flows.carriedBytes }

    /// From now on the moments of the faults count.
    package func beginFaults() {
        let begin = time.nanoseconds
        pendingFaults = faults.links
            .map {
                SimulatedFaults.Event(
                    nanoseconds: begin + $0.nanoseconds, links: $0.links, share: $0.share)
            }
            .sorted {
                ($0.nanoseconds, $0.links.first ?? 0) < ($1.nanoseconds, $1.links.first ?? 0)
            }
    }

    func attach(_ core: SimulatedCore, at endpoint: Int) { cores[endpoint] = core }
}

// MARK: - Sending

extension SimulatedNetwork {
    /// Queues a piece behind those before it.
    func send(_ piece: SimulatedPiece, on key: SimulatedConnection.Key) {
        if connections[key] == nil {
            connections[key] = SimulatedConnection(
                links.routes(
                    from: links.rank(at: key.source), to: links.rank(at: key.target),
                    plane: key.plane))
        }
        connections[key]?.append(piece)
        if connections[key]?.flow == nil { beginNext(key) }
    }

    private func beginNext(_ key: SimulatedConnection.Key) {
        guard let connection = connections[key], let piece = connection.first else { return }
        let route = leastShared(connection.routes)
        connections[key]?.route = route
        let flow = flows.begin(over: route.links, bytes: Double(piece.wireBytes))
        for link in route.links { sharers[Int(link)] += 1 }
        connections[key]?.flow = flow
        leaving[flow] = key
    }

    /// The first of the ways whose links the fewest pieces share, counted link by link. What all
    /// ways have in common, as both NICs, does not decide.
    private func leastShared(_ routes: [LinkMap.Route]) -> LinkMap.Route {
        guard routes.count > 1 else { return routes[0] }
        var best = routes[0]
        var least = Int.max
        for route in routes {
            let count = route.links.reduce(0) { $0 + sharers[Int($1)] }
            if count < least { (best, least) = (route, count) }
        }
        return best
    }

    /// Drops what one endpoint has for another, sent or not.
    func drop(from source: Int, to target: Int) {
        for plane in links.map.planes.indices {
            let key = SimulatedConnection.Key(
                source: source, target: target, plane: plane)
            guard let connection = connections.removeValue(forKey: key) else { continue }
            guard let flow = connection.flow else { continue }
            leaving[flow] = nil
            flows.stop(flow)
            for link in connection.route.links { sharers[Int(link)] -= 1 }
        }
        arrivals.removeAll { $0.key.source == source && $0.key.target == target }
    }

    /// An endpoint is gone: nothing of it arrives any more, and nothing arrives there.
    func detach(_ endpoint: Int) {
        cores[endpoint] = nil
        let first = endpoint - links.rank(at: endpoint).rawValue
        for other in links.nodes.indices { drop(from: endpoint, to: first + other) }
    }
}

// MARK: - Events

extension SimulatedNetwork {
    var nextMoment: UInt64? {
        [flows.nextEnd(), arrivals.first?.moment, pendingFaults.first?.nanoseconds]
            .compactMap { $0 }.min()
    }

    func happen(at moment: UInt64) {
        let ended = flows.advance(to: moment).compactMap { flow in
            leaving.removeValue(forKey: flow)
        }
        for key in ended.sorted() { leave(key, at: moment) }
        while let event = pendingFaults.first, event.nanoseconds <= moment {
            pendingFaults.removeFirst()
            for link in event.links {
                flows.setRate(
                    of: link, bytesPerSecond: links.links[link].bytesPerSecond * event.share)
            }
        }
        let due = arrivals.prefix { $0.moment <= moment }
        arrivals.removeFirst(due.count)
        for arrival in due {
            guard let target = cores[arrival.key.target] else { continue }
            cores[arrival.key.source]?.arrived(arrival.piece, at: arrival.key.target)
            target.land(arrival.piece, from: arrival.key.source, plane: arrival.key.plane)
        }
    }

    /// The last byte of a connection's first piece has left.
    private func leave(_ key: SimulatedConnection.Key, at moment: UInt64) {
        guard let connection = connections[key],
            let piece = connections[key]?.removeFirst()
        else { return }
        for link in connection.route.links { sharers[Int(link)] -= 1 }
        var late: UInt64 = 0
        if faults.jitterNanoseconds > 0 {
            pieceCount += 1
            late = draw(pieceCount) % (faults.jitterNanoseconds + 1)
        }
        let arrival = max(
            connection.lastArrival, moment + connection.route.latencyNanoseconds + late)
        connections[key]?.flow = nil
        connections[key]?.lastArrival = arrival
        insert(Arrival(moment: arrival, key: key, piece: piece))
        beginNext(key)
    }

    /// Keeps arrivals in the order of moments; those of one moment in the order of connections.
    private func insert(_ arrival: Arrival) {
        var (low, high) = (0, arrivals.count)
        while low < high {
            let middle = (low + high) / 2
            let other = arrivals[middle]
            let isBefore =
                (other.moment, other.key) <= (arrival.moment, arrival.key)
            if isBefore { low = middle + 1 } else { high = middle }
        }
        arrivals.insert(arrival, at: low)
    }
}
