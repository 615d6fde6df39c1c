import Foundation
import Synchronization

/// An engine's end of the way to a router elsewhere.
public final class EngineEndpoint: Sendable {
    private let engine: Engine
    private let send: @Sendable ([UInt8]) throws -> Void
    private let lastStatistics = Mutex<ContinuousClock.Instant?>(nil)
    private let capacity: Mutex<EngineCapacity>

    /// The shortest time between two messages of statistics.
    private static let statisticsInterval = Duration.milliseconds(500)

    /// Joins an engine to whatever carries bytes to the router, and announces its capacity.
    ///
    /// Pass `report` to its `run`.
    public init(
        _ engine: Engine, capacity: EngineCapacity,
        send: @escaping @Sendable ([UInt8]) throws -> Void
    ) {
        self.engine = engine
        self.send = send
        self.capacity = Mutex(capacity)
        engine.handovers?.meet { [weak self] in self?.give(.handover($0)) }
        announce(capacity)
    }

    /// Tells the router what the rank can take from now on.
    public func announce(_ capacity: EngineCapacity) {
        self.capacity.withLock { $0 = capacity }
        give(.capacity(capacity))
    }

    /// The router is gone: nobody waits for what it asked.
    public func leaveRouter() { engine.dropAll() }

    /// Another router is there.
    public func meetRouter() { announce(capacity.withLock { $0 }) }

    /// Takes what the router sent.
    ///
    /// - Throws: `DecodingError` for bytes that no router of this version sends.
    public func receive(_ payload: [UInt8]) throws {
        switch try JSONDecoder().decode(EngineCommand.self, from: Data(payload)) {
        case .submit(let request): engine.submit(request)
        case .cancel(let id): engine.cancel(id)
        case .askStatistics: sendStatistics()
        case .askClock(let question):
            give(.clock(question, nanoseconds: RankRecorder.now))
        case .record(let seconds, let limit):
            engine.recorder.record(seconds: seconds, limit: limit)
        case .takeRecord(let first): give(.recorded(engine.recorder.part(from: first)))
        case .handover(let command): engine.handovers?.receive(command)
        }
    }

    /// Sends an engine's reports, and now and then its statistics.
    public func report(_ reports: [EngineReport]) {
        deliver(reports)
        let isDue = lastStatistics.withLock { last in
            let now = ContinuousClock.now
            if let last, last + Self.statisticsInterval > now { return false }
            last = now
            return true
        }
        if isDue { sendStatistics() }
    }

    /// Sends the engine's statistics now.
    package func sendStatistics() { give(.statistics(engine.statistics)) }

    /// Sends reports together, else each alone; a request whose report cannot travel fails by it,
    /// so that nobody waits for what was dropped.
    private func deliver(_ reports: [EngineReport]) {
        do {
            try encodeAndSend(.reports(reports))
        } catch {
            guard let only = reports.first, reports.count == 1 else {
                for report in reports { deliver([report]) }
                return
            }
            engine.cancel(only.id)
            let failure = ServingError.engine(message: "an answer cannot travel: \(error)")
            give(.reports([EngineReport(id: only.id, event: .failed(failure))]))
        }
    }

    private func encodeAndSend(_ message: EngineMessage) throws {
        try send(Array(JSONEncoder().encode(message)))
    }

    private func give(_ message: EngineMessage) {
        // The control plane reports a cut connection and names the rank to everybody who waits;
        // there is nobody to report it to here.
        do { try encodeAndSend(message) } catch { return }
    }
}
