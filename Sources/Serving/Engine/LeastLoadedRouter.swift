import Foundation
import Synchronization
public import Topology

/// Takes requests to the engines of several ranks, through whatever carries bytes to them.
///
/// A request goes to the rank with the fewest under way, the lowest of equals. A spare rank gets
/// requests when the others are full.
public final class LeastLoadedRouter: RequestRouter {
    private struct State {
        var statistics: [EngineStatistics?]
        var capacities: [EngineCapacity]
        /// Statistics received, all ranks together.
        var received = 0
        var lost: [Int: String] = [:]
        /// Why nothing is taken any more.
        var closed: String?
    }

    private let streams = EventStreams()
    private let send: @Sendable (Rank, [UInt8]) -> Void
    private let state: Mutex<State>
    private let rankCount: Int

    /// Routes to ranks `0 ..< rankCount`.
    ///
    /// - Parameter send: Carries bytes to a rank; the rank's `EngineEndpoint` receives them.
    public init(rankCount: Int, send: @escaping @Sendable (Rank, [UInt8]) -> Void) {
        self.rankCount = rankCount
        self.send = send
        state = Mutex(
            State(
                statistics: Array(repeating: nil, count: rankCount),
                capacities: Array(repeating: EngineCapacity(runningLimit: .max), count: rankCount)))
    }

    public func submit(
        _ request: GenerationRequest
    ) async throws -> AsyncThrowingStream<GenerationEvent, any Error> {
        if let refusal { throw refusal }
        let rank = choose(streams.load(rankCount: rankCount))
        let payload = try JSONEncoder().encode(EngineCommand.submit(request))
        let stream = streams.open(request.id, rank: rank) { [send] in
            Self.withdraw(request.id, from: rank, send)
        }
        // The job may have ended since the check above: nothing would end this stream.
        if let refusal { streams.fail(rank: rank, refusal) }
        send(Rank(rawValue: rank), Array(payload))
        return stream
    }

    /// Why nothing is taken any more.
    private var refusal: ServingError? {
        let (lost, closed) = state.withLock { ($0.lost, $0.closed) }
        if let (rank, reason) = lost.min(by: { $0.key < $1.key }) {
            return .rankLost(message: "rank \(rank) left: \(reason)")
        }
        return closed.map { .unavailable(message: $0) }
    }

    private func choose(_ load: [Int]) -> Int {
        let open = state.withLock { state in
            load.indices.filter { rank in
                let capacity = state.capacities[rank]
                return !capacity.isSpare && load[rank] < capacity.runningLimit
                    && (state.statistics[rank]?.waiting ?? 0) == 0
            }
        }
        let ranks = open.isEmpty ? Array(load.indices) : open
        return ranks.min { load[$0] < load[$1] } ?? 0
    }

    public func cancel(_ id: RequestID) async {
        guard let rank = streams.rank(of: id) else { return }
        Self.withdraw(id, from: rank, send)
    }

    /// Asks every rank, and waits a little for their answers.
    public func statistics() async -> [EngineStatistics] {
        let before = state.withLock { $0.received }
        for rank in 0 ..< rankCount { Self.give(.askStatistics, to: rank, send) }
        let limit = ContinuousClock.now + Self.statisticsPatience
        while state.withLock({ $0.received }) < before + rankCount, .now < limit {
            do { try await Task.sleep(for: .milliseconds(2)) } catch { break }
        }
        return state.withLock { $0.statistics.compactMap { $0 } }
    }

    /// A rank that does not answer within this is shown as it last was.
    private static let statisticsPatience = Duration.milliseconds(100)

    /// Takes what a rank sent.
    ///
    /// - Throws: `DecodingError` for bytes that no endpoint of this version sends.
    public func receive(_ payload: [UInt8], from rank: Rank) throws {
        switch try JSONDecoder().decode(EngineMessage.self, from: Data(payload)) {
        case .reports(let reports): for report in reports { streams.deliver(report) }
        case .statistics(var statistics):
            guard (0 ..< rankCount).contains(rank.rawValue) else { return }
            // A rank knows its number in its group; the job's number tells groups apart.
            statistics.rank = rank.rawValue
            state.withLock {
                $0.statistics[rank.rawValue] = statistics
                $0.received += 1
            }
        case .capacity(let capacity):
            guard (0 ..< rankCount).contains(rank.rawValue) else { return }
            state.withLock { $0.capacities[rank.rawValue] = capacity }
        }
    }

    /// Ends every request: without one rank's experts no step can be made.
    public func lost(_ rank: Rank, reason: String) {
        state.withLock { $0.lost[rank.rawValue] = reason }
        for other in 0 ..< rankCount {
            streams.fail(
                rank: other, .rankLost(message: "\(rank) left: \(reason)"))
        }
    }

    /// Ends every request with the reason, and refuses later ones with it.
    public func close(reason: String) {
        state.withLock { $0.closed = $0.closed ?? reason }
        for rank in 0 ..< rankCount { streams.fail(rank: rank, .unavailable(message: reason)) }
    }

    private static func withdraw(
        _ id: RequestID, from rank: Int, _ send: @Sendable (Rank, [UInt8]) -> Void
    ) { give(.cancel(id), to: rank, send) }

    private static func give(
        _ command: EngineCommand, to rank: Int, _ send: @Sendable (Rank, [UInt8]) -> Void
    ) {
        do {
            send(Rank(rawValue: rank), Array(try JSONEncoder().encode(command)))
        } catch { preconditionFailure("a command does not encode: \(error)") }
    }
}
