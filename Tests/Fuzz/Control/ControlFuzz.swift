import FuzzSupport
import Topology

@testable import Cluster

/// Feeds bytes to the control plane's decoders, and what they make of them to the membership.
///
/// Whatever the bytes: no trap, a frame that is taken survives being written and read, and the
/// membership keeps its invariants.
private func fuzzControl(_ bytes: [UInt8]) {
    shakeHands(bytes)
    var job = Membership(
        configuration: Membership.Configuration(
            rankCount: 3, identity: identity, deadlines: [.join: .seconds(9)],
            silenceLimit: .seconds(5)), now: .zero)
    var phase = job.phase
    var ends = 0
    // A pair of 0xff bytes parts the input into frames, one per connection and tenth of a second.
    for (index, part) in parts(bytes).enumerated() {
        guard let frame = try? ControlFrame(decoding: part) else { continue }
        do {
            let again = try ControlFrame(decoding: frame.encoded())
            precondition(again == frame)
        } catch { preconditionFailure("\(error)") }
        let id = ConnectionID(rawValue: index % 4)
        guard let event = event(of: frame, id) else { continue }
        for case .end in job.apply(event, now: .milliseconds(100 * index)) { ends += 1 }
        precondition(job.phase >= phase && ends <= 1)
        phase = job.phase
        precondition(job.snapshot(now: .seconds(1)).members.count == 3)
    }
}

/// The bytes as the first ones of a connection, and as the answer to a caller's.
private func shakeHands(_ bytes: [UInt8]) {
    if let greeting = Greeting(bytes) { precondition(greeting.encoded() == bytes) }
    if let answer = GreetingAnswer(bytes) {
        precondition(answer.encoded() == bytes)
    }
    var coordinator = CoordinatorHandshake(token, key: key)
    var caller = CallerHandshake(token, role: .worker, key: key)
    var (atCoordinator, atCaller) = (bytes[...], bytes[...])
    var isPending = true
    while isPending, !atCoordinator.isEmpty {
        let part = atCoordinator.prefix(min(coordinator.missing, 1 + Int(bytes[0])))
        atCoordinator = atCoordinator.dropFirst(part.count)
        switch coordinator.take(Array(part)) {
        case .wait, .send: break
        case .admit: preconditionFailure("random bytes proved to have the token")
        case .reject: isPending = false
        }
    }
    while caller.missing > 0, !atCaller.isEmpty {
        let part = atCaller.prefix(min(caller.missing, 1 + Int(bytes[0])))
        atCaller = atCaller.dropFirst(part.count)
        if case .prove = caller.take(Array(part)) {
            preconditionFailure("random bytes proved to be the coordinator")
        }
    }
}

private let token = ControlToken.random()
private let key = HandshakeKey.random()

private let identity = JobIdentity(build: "b", files: ["f": "1"], settings: ["s": "2"])

private func parts(_ bytes: [UInt8]) -> [[UInt8]] {
    var parts: [[UInt8]] = [[]]
    var index = 0
    while index < bytes.count {
        if index + 1 < bytes.count, bytes[index] == 0xff, bytes[index + 1] == 0xff {
            parts.append([])
            index += 2
        } else {
            parts[parts.count - 1].append(bytes[index])
            index += 1
        }
    }
    return parts
}

private func event(of frame: ControlFrame, _ id: ConnectionID) -> Membership.Event? {
    switch frame {
    case .hello(let hello): .arrived(id, hello)
    case .entered(let phase): .entered(id, phase)
    case .progress(let progress): .progressed(id, progress)
    case .heartbeat(let statistics): .beat(id, statistics)
    case .contribution(let gather, let blob): .contributed(id, gather, blob: blob)
    case .finished: .finished(id)
    case .failed(let reason, let lost): .failed(id, reason: reason, lost: lost)
    case .suspected(let rank, let epoch, let reason):
        .suspected(id, rank: rank, epoch: epoch, reason: reason)
    case .recovered(let epoch): .recovered(id, epoch: epoch)
    case .prepared(let epoch): .prepared(id, epoch: epoch)
    case .notPrepared(let epoch, let reason, let lacksMemory):
        .notPrepared(id, epoch: epoch, reason: reason, lacksMemory: lacksMemory)
    case .stop: .stopped
    case .end: .closed(id, reason: "closed")
    case .counts(let counts): .counted(id, counts)
    case .place(let request): .place(request.placements, group: request.group)
    case .welcome, .refusal, .gathered, .epoch, .prepare, .snapshot, .payload, .abandon,
        .askPlacement, .placement, .notPlaced, .askTrace, .traced, .notTraced, .drained,
        .notDrained, .drainedRanks, .returned, .notReturned, .askWeights, .weights:
        .tick
    case .askDrain(let rank): .drain(rank)
    case .askReturn(let rank): .recall(rank)
    }
}

@main enum ControlFuzz {
    static func main() { FuzzRun.main(fuzzControl) }
}
