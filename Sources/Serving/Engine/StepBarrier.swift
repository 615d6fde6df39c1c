public import Topology
public import Transport

/// Lets all ranks perform the same steps, and lets ranks without work sleep.
///
/// A rank that has work begins a step by telling every rank what it wants; a sleeping rank wakes,
/// and joins. One signal word per rank holds the epoch, the step's number and the request, from the
/// top down, so it only grows.
///
/// 1. A rank begins step s + 1 only after all living ranks have begun step s.
/// 2. All ranks of a step are in one epoch.
public final class StepBarrier: @unchecked Sendable {
    // Safe because: `window` may be signalled from any thread, `wakes` is guarded by the fabric's
    // own atomics through `signal`, and all else is used by the engine's thread alone.
    private let fabric: any Fabric
    private let window: Window
    private let limit: Duration
    private let firstLimit: Duration
    /// The last step of this rank, counted from 1 in each epoch.
    private var step: UInt64 = 0
    private var epoch: UInt64 = 0
    private var seenWakes: UInt64 = 0
    private let wakes = WakeCounter()

    /// Makes the window.
    ///
    /// Collective.
    ///
    /// - Parameters:
    ///   - limit: How long a step may wait for a rank before that rank is named as lost.
    ///   - firstLimit: The same for an epoch's first step, before which ranks may read experts;
    ///     nil is `limit`.
    public init(fabric: any Fabric, limit: Duration, firstLimit: Duration? = nil) throws {
        self.fabric = fabric
        self.limit = limit
        self.firstLimit = max(limit, firstLimit ?? limit)
        window = try fabric.makeWindow(
            name: "steps", byteCount: 8, signalCount: fabric.rankCount + 1,
            deadline: fabric.deadline(limit, "making the window of steps"))
    }

    /// The rank whose engine this serves.
    public var rank: Rank { fabric.rank }

    /// The clock of the rank's steps.
    var clock: FabricClock { fabric.clock }

    private var wakeSignal: Int { fabric.rankCount }

    /// Wakes the engine's thread.
    ///
    /// Any thread may call.
    public func wake() {
        wakes.next { value in
            // A fabric that is gone needs no wake: the engine's own wait reports it.
            do { try window.signal(wakeSignal, of: fabric.rank, value: value) } catch { return }
        }
    }

    /// Sleeps until another rank begins the next step, someone calls `wake`, or time is up.
    ///
    /// - Throws: `TransportError.rankLost`.
    func sleep(atMost patience: Duration, in map: ExpertMap) throws {
        var conditions = others(in: map).map {
            SignalCondition(
                signal: $0.rawValue, atLeast: word(nextStep(in: map), in: map), source: $0)
        }
        conditions.append(
            SignalCondition(signal: wakeSignal, atLeast: seenWakes + 1, source: fabric.rank))
        do throws(TransportError) {
            _ = try window.waitAny(conditions, deadline: fabric.deadline(patience, "idle"))
        } catch {
            if case .deadline = error { return }
            throw error
        }
        seenWakes = max(seenWakes, window.signalValue(wakeSignal))
    }

    /// Whether another rank has begun the next step.
    func othersHaveBegun(in map: ExpertMap) -> Bool {
        let next = word(nextStep(in: map), in: map)
        return others(in: map).contains { window.signalValue($0.rawValue) >= next }
    }

    private func others(in map: ExpertMap) -> some Sequence<Rank> {
        map.livingRanks.lazy.filter { [own = fabric.rank] in $0 != own }
    }

    /// The number of the next step: counted from 1 in each epoch, the same on all ranks.
    func nextStep(in map: ExpertMap) -> UInt64 { map.epoch == epoch ? step + 1 : 1 }

    private func word(_ step: UInt64, in map: ExpertMap) -> UInt64 {
        map.epoch << 48 | step << 8
    }

    /// Begins the next step with all ranks that live in the map.
    ///
    /// - Returns: How the ranks perform it, after what each of them wants.
    /// - Throws: `ServingError.engine` if a rank is in another epoch.
    func begin(_ request: StepRequest, in map: ExpertMap) throws -> StepAgreement {
        step = nextStep(in: map)
        epoch = map.epoch
        let least = word(step, in: map)
        for rank in others(in: map) {
            try window.signal(
                fabric.rank.rawValue, of: rank, value: least | UInt64(request.rawValue))
        }
        var requests = [fabric.rank: request]
        let deadline = fabric.deadline(step == 1 ? firstLimit : limit, "step")
        for rank in others(in: map) {
            let theirs = try window.wait(
                signal: rank.rawValue, atLeast: least, from: rank, deadline: deadline)
            guard theirs >> 48 == map.epoch else {
                throw ServingError.engine(
                    message: "\(rank) began a step in epoch \(theirs >> 48), this rank began "
                        + "step \(step) in epoch \(map.epoch)")
            }
            requests[rank] = StepRequest(rawValue: UInt8(theirs & 0xFF))
        }
        return StepAgreement(requests, of: fabric.rank, node: fabric.node)
    }
}
